//! Hints to the memory.
#![allow(unsafe_code)]

/// Bytes that come from the memory together.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks the memory for values that are read soon. Changes nothing but time.
#[inline(always)]
pub(super) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let bytes = values.as_ptr().cast::<i8>();
        for offset in (0..size_of_val(values)).step_by(LINE) {
            // SAFETY: the address lies within the slice. A prefetch reads nothing that the program sees, and can't fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
