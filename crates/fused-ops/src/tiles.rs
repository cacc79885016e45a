//! Products of large matrices in the processor's tiles, where it has some (Intel AMX).
//!
//! ```text
//! pack the left matrix                        all threads
//! for each panel of columns                   one thread each
//!   for each chunk of K
//!     pack the chunk of the right matrix
//!     for each 32 columns                     of the right matrix, stay in the cache
//!       for each block of 32 x 32 sums        in tiles over the whole chunk
//! ```
//!
//! Tiles multiply bfloat16. A float32 goes in as the sum of three; of the nine products those six are added up that float32's
//! own rounding doesn't swallow. So the result is as near to the exact one as a product in float32, in a fraction of its time.
//! Numbers below 1e-38 count as zero.
//!
//! Every sum adds its products in the order of `K`, whatever the number of threads.

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod pack;
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod product;
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux", not(miri))),
    allow(dead_code)
)]
mod source;
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod unit;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
mod nowhere;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
pub(crate) use self::nowhere::{Unit, multiply};
pub(crate) use self::source::{Matrix, Source};
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
pub(crate) use self::{product::multiply, unit::Unit};

/// Sizes of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// `M`.
    pub(crate) rows: usize,
    /// `K`.
    pub(crate) depth: usize,
    /// `N`.
    pub(crate) columns: usize,
}

/// A number has no parts: it is infinite, none, or nearly too large.
#[derive(Debug)]
pub(crate) struct Special;
