//! Random choices that a seed repeats: the one source of them in these tests.

#![allow(dead_code, reason = "each of the test programs needs some of it")]

use std::{collections::hash_map::RandomState, hash::BuildHasher};

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to choose by.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// What SplitMix64 adds between two numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// Takes its seed from `SEED`, or draws one. Prints it, which shows when a test fails.
    pub(crate) fn seeded(what: &str) -> Self {
        let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
        println!("{what}: SEED={seed}");
        Self(seed)
    }

    /// Of a seed that is given some other way.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another, of its own, which the same number gives again.
    pub(crate) fn branch(&self, number: u64) -> Self {
        let mut branch = Self(self.0 ^ number.wrapping_mul(STEP));
        // So that a branch is not its parent, some numbers on.
        branch.0 = branch.number();
        branch
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    /// An index of something of this length; 0 if that is 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time of at most so many milliseconds.
    pub(crate) fn ms(&mut self, limit: u64) -> std::time::Duration {
        std::time::Duration::from_millis(self.below(limit + 1))
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}
