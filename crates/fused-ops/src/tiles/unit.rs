//! The processor's tiles (Intel AMX): each holds 16 lines of 64 bytes, and one instruction adds the products of two of them to a
//! third, 16 x 16 sums of 32 products.
#![allow(unsafe_code)]

/// Rows and columns of a block of sums.
pub(super) const SIDE: usize = 32;
/// Products that a pair of tiles adds to each sum.
pub(super) const DEPTH: usize = 32;

/// A line of a tile: 32 bfloat16, two in each word, the first one in its lower half.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; 16]);

/// Two tiles.
///
/// Those of the left matrix hold a row in each line, 32 rows in all. Those of the right one hold two rows in each line, whose
/// values alternate: 32 rows of 16 columns each.
pub(super) type Pair = [Line; 32];

/// Nothing but zeros.
pub(super) const ZERO: Pair = [Line([0; 16]); 32];

/// A block of sums.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[f32; SIDE]; SIDE]);

/// Which pairs are multiplied by each other.
#[derive(Debug)]
pub(super) struct Terms {
    /// Where they begin, in bytes.
    offsets: Vec<[u32; 2]>,
    /// How many pairs there are at least on each side.
    pairs: [usize; 2],
}

impl Terms {
    /// For each of `steps` the products of `planes` pairs of the left matrix with those of the right one, without those that are
    /// smaller than the last plane's own rounding.
    pub(super) fn new(steps: usize, planes: [usize; 2]) -> Self {
        let [left, right] = planes;
        let last = left.max(right) - 1;
        let offset = |pair: usize| (pair * size_of::<Pair>()) as u32;
        let mut offsets = Vec::new();
        for step in 0..steps {
            for a in 0..left {
                for b in (0..right).filter(|b| a + b <= last) {
                    offsets.push([offset(step * left + a), offset(step * right + b)]);
                }
            }
        }
        Self {
            offsets,
            pairs: [steps * left, steps * right],
        }
    }
}

/// Leave to use the tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit(());

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
impl Unit {
    /// The tiles, where processor and system have them.
    pub(crate) fn get() -> Option<Self> {
        use std::sync::OnceLock;
        static FOUND: OnceLock<bool> = OnceLock::new();
        FOUND.get_or_init(found).then_some(Self(()))
    }

    /// The sums of the products of `left` and `right` over all `terms`, exact to float32's rounding.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer pairs than the terms name.
    pub(super) fn sum(self, left: &[Pair], right: &[Pair], terms: &Terms, sums: &mut Sums) {
        use std::arch::asm;

        assert!(left.len() >= terms.pairs[0] && right.len() >= terms.pairs[1]);
        let offsets = terms.offsets.as_ptr_range();
        if offsets.is_empty() {
            *sums = Sums([[0.0; SIDE]; SIDE]);
            return;
        }
        // SAFETY: `Unit` exists only where `found` saw the instructions and the system granted their state. Each offset lies at
        // a whole pair inside `left` or `right` (`Terms::new` counts them, the line above compares), from which 2,048 bytes
        // are read. 4 x 16 lines of 64 bytes, 128 apart, are written: all of `sums` and no more. All tile registers are
        // named as overwritten, and their state is released at the end.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "mov {a:e}, dword ptr [{term}]",
                "mov {b:e}, dword ptr [{term} + 4]",
                "add {a}, {left}",
                "add {b}, {right}",
                "tileloadd tmm4, [{a} + {line}]",
                "tileloadd tmm6, [{b} + {line}]",
                "tileloadd tmm7, [{b} + {line} + 1024]",
                "tileloadd tmm5, [{a} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {term}, 8",
                "cmp {term}, {end}",
                "jne 2b",
                "add {line}, {line}",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 64], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 2112], tmm3",
                "tilerelease",
                config = in(reg) &raw const CONFIG,
                term = inout(reg) offsets.start => _,
                end = in(reg) offsets.end,
                left = in(reg) left.as_ptr(),
                right = in(reg) right.as_ptr(),
                sums = in(reg) &raw mut *sums,
                line = inout(reg) 64usize => _,
                a = out(reg) _,
                b = out(reg) _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
impl Unit {
    /// There are no tiles here.
    pub(crate) fn get() -> Option<Self> {
        None
    }

    /// Is never reached: there is no `Unit` here.
    pub(super) fn sum(self, _: &[Pair], _: &[Pair], _: &Terms, _: &mut Sums) {
        unreachable!("there are no tiles here")
    }
}

/// Palette 1: eight tiles of 16 lines of 64 bytes.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
static CONFIG: Config = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = 16;
        tile += 1;
    }
    Config(bytes)
};

/// Bytes of a tile configuration.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
#[repr(C, align(64))]
struct Config([u8; 64]);

/// Asks the processor for the instructions and the system for leave to use their registers.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
fn found() -> bool {
    use std::arch::{asm, x86_64::__cpuid_count};

    /// Bits of leaf 7: products of bfloat16, and tiles.
    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_STATE: i64 = 0x1023;
    const TILE_DATA: i64 = 18;

    if __cpuid_count(0, 0).eax < 7 || __cpuid_count(7, 0).edx & BF16_AND_TILES != BF16_AND_TILES {
        return false;
    }
    let mut result = ARCH_PRCTL;
    // SAFETY: the call takes two numbers, touches no memory of the program, and either grants the state to the process or
    // answers with an error; `syscall` overwrites `rcx` and `r11`, which are named.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") REQUEST_STATE,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}
