//! The processor's tiles (Intel AMX): each holds 16 lines of 64 bytes, and one instruction adds the products of two of them to a
//! third, 16 x 16 sums of 32 products.
#![allow(unsafe_code)]

use std::{
    arch::{asm, x86_64::__cpuid_count},
    sync::OnceLock,
};

use pulp::x86::V4;

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

/// A block of 32 x 32 sums: four tiles of 16 x 16, the left ones first.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[[f32; 16]; 16]; 4]);

impl Sums {
    /// No sum yet.
    pub(super) const ZERO: Self = Self([[[0.0; 16]; 16]; 4]);

    /// The columns `16 half ..` of a row.
    pub(super) fn half(&self, row: usize, half: usize) -> &[f32; 16] {
        &self.0[row / 16 * 2 + half][row % 16]
    }
}

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

/// Leave to use the tiles, and the vectors of the processors that have some.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    pub(super) simd: V4,
}

impl Unit {
    /// The tiles, where processor and system have them, and `UNIMOE_TILES` isn't 0.
    pub(crate) fn get() -> Option<Self> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        if !FOUND.get_or_init(|| wanted() && found()) {
            return None;
        }
        V4::try_new().map(|simd| Self { simd })
    }

    /// Adds to each block of sums, or stores in it where it is `fresh`, the products of its own `stride` pairs of `left` and all of
    /// `right` that `terms` name, exact to float32's rounding.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer pairs than the terms and blocks need.
    pub(super) fn add(
        self,
        left: &[Pair],
        stride: usize,
        right: &[Pair],
        terms: &Terms,
        sums: &mut [Sums],
        fresh: bool,
    ) {
        let Some(last) = sums.len().checked_sub(1) else {
            return;
        };
        assert!(left.len() >= last * stride + terms.pairs[0] && right.len() >= terms.pairs[1]);
        let offsets = terms.offsets.as_ptr_range();
        if offsets.is_empty() {
            return;
        }
        let fixed = Fixed {
            first: offsets.start,
            end: offsets.end,
            stride: stride * size_of::<Pair>(),
            fresh: fresh.into(),
        };
        // SAFETY: `Unit` exists only where `found` saw the instructions and the system granted their state. Each offset lies at
        // a whole pair of a block of `left`, or of `right` (`Terms::new` counts them, the assertion compares, for the last block
        // too), from which 2,048 bytes are read. Of each block of sums its 4,096 bytes are read and written. All tile registers are
        // named as overwritten, and their state is released at the end.
        unsafe {
            asm!(
                "ldtilecfg [{term}]",
                "3:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "cmp qword ptr [{fixed} + 24], 0",
                "jne 4f",
                "tileloadd tmm0, [{sums} + {line}]",
                "tileloadd tmm1, [{sums} + {line} + 1024]",
                "tileloadd tmm2, [{sums} + {line} + 2048]",
                "tileloadd tmm3, [{sums} + {line} + 3072]",
                "4:",
                "mov {term}, qword ptr [{fixed}]",
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
                "cmp {term}, qword ptr [{fixed} + 8]",
                "jne 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 1024], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 3072], tmm3",
                "add {left}, qword ptr [{fixed} + 16]",
                "add {sums}, 4096",
                "dec {blocks}",
                "jnz 3b",
                "tilerelease",
                term = inout(reg) &raw const CONFIG => _,
                fixed = in(reg) &raw const fixed,
                left = inout(reg) left.as_ptr() => _,
                right = in(reg) right.as_ptr(),
                sums = inout(reg) sums.as_mut_ptr() => _,
                blocks = inout(reg) sums.len() => _,
                line = in(reg) 64usize,
                a = out(reg) _,
                b = out(reg) _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

/// What doesn't change from block to block.
#[repr(C)]
struct Fixed {
    /// The first term's offsets, and where those of the last one end.
    first: *const [u32; 2],
    end: *const [u32; 2],
    /// Bytes from one block of the left matrix to the next.
    stride: usize,
    /// Other than 0 where the sums start anew.
    fresh: usize,
}

/// Palette 1: eight tiles of 16 lines of 64 bytes.
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
#[repr(C, align(64))]
struct Config([u8; 64]);

/// Whether the user leaves tiles on.
fn wanted() -> bool {
    std::env::var_os("UNIMOE_TILES").is_none_or(|value| value != "0")
}

/// Asks the processor for the instructions and the system for leave to use their registers.
fn found() -> bool {
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
