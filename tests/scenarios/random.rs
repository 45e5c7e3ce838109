//! Random choices that a seed repeats.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// A small generator of no quality at all, which is enough here.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Takes its seed from `SEED`, or draws one, and says which.
    pub(super) fn seeded(what: &str) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("{what}: SEED={seed}");
        Self(seed | 1)
    }

    /// Another, of its own, which the same number gives again.
    pub(super) fn branch(&self, number: u64) -> Self {
        let mut branch = Self((self.0 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        // Neighbours are alike at first.
        for _ in 0..8 {
            branch.below(2);
        }
        branch
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(super) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
