//! Random numbers that are the same on every machine and in every version.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A generator of its own for each purpose and place.
pub(super) fn generator(seed: u64, purpose: &str, place: [u64; 2]) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    let parts = [seed, fnv(purpose), place[0], place[1]];
    for (slot, part) in bytes.chunks_exact_mut(8).zip(parts) {
        slot.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}

/// A number below `n`, which is positive.
fn below(generator: &mut impl Rng, n: usize) -> usize {
    // The high half of a product: the bias is below n / 2^64.
    ((u128::from(generator.next_u64()) * n as u128) >> 64) as usize
}

/// Fisher and Yates' shuffle. Written out, so that a resumed run does not depend on a library's version.
pub(super) fn shuffle<T>(items: &mut [T], generator: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(generator, last + 1));
    }
}

/// FNV-1a.
pub(super) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_three_comes_equally_often() {
        let mut counts = std::collections::HashMap::new();
        for place in 0..6000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, &mut generator(1, "test", [place, 0]));
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Binomial(6000, 1/6): 1000 with deviation 29.
        assert!(
            counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }
}
