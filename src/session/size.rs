//! Whose terminal the session's is sized by.

use crate::{TerminalSize, message::SizePolicy};

/// Names one client's stay; a client that attaches again has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim(u64);

impl Claim {
    /// The stay's number, which no other of the session has.
    pub(super) fn stay(self) -> u64 {
        self.0
    }
}

/// The session's size, and the sizes of the clients that count.
#[derive(Debug)]
pub(super) struct Sizing {
    policy: SizePolicy,
    size: TerminalSize,
    /// The latest to be used, attach or be resized comes last.
    claims: Vec<(Claim, TerminalSize)>,
    last_claim: u64,
}

impl Sizing {
    pub(super) fn new(policy: SizePolicy, size: TerminalSize) -> Self {
        Self { policy, size, claims: Vec::new(), last_claim: 0 }
    }

    pub(super) fn size(&self) -> TerminalSize {
        self.size
    }

    /// A client with a terminal of this size joins. The second is the session's new size, if it changed.
    pub(super) fn join(&mut self, size: TerminalSize) -> (Claim, Option<TerminalSize>) {
        self.last_claim += 1;
        let claim = Claim(self.last_claim);
        self.claims.push((claim, size));
        (claim, self.settle())
    }

    /// A client's terminal has another size. Returns the session's new size, if it changed.
    pub(super) fn resize(&mut self, claim: Claim, size: TerminalSize) -> Option<TerminalSize> {
        let at = self.claims.iter().position(|(other, _)| *other == claim)?;
        self.claims.remove(at);
        self.claims.push((claim, size));
        self.settle()
    }

    /// A client was used: a key, a paste, a button or the wheel. Returns the session's new size, if it changed.
    pub(super) fn used(&mut self, claim: Claim) -> Option<TerminalSize> {
        let at = self.claims.iter().position(|(other, _)| *other == claim)?;
        if at + 1 == self.claims.len() {
            return None;
        }
        let claim = self.claims.remove(at);
        self.claims.push(claim);
        self.settle()
    }

    /// A client is gone. Returns the session's new size, if it changed.
    pub(super) fn leave(&mut self, claim: Claim) -> Option<TerminalSize> {
        self.claims.retain(|(other, _)| *other != claim);
        self.settle()
    }

    /// One who does not watch asks for a size.
    pub(super) fn ask(&mut self, size: TerminalSize) -> Option<TerminalSize> {
        match self.policy {
            SizePolicy::Latest => self.change(size),
            _ => None,
        }
    }

    /// How many clients count.
    #[cfg(test)]
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    fn settle(&mut self) -> Option<TerminalSize> {
        let sizes = || self.claims.iter().map(|(_, size)| *size);
        let cols = || sizes().map(|size| size.cols());
        let rows = || sizes().map(|size| size.rows());
        let size = match self.policy {
            SizePolicy::Latest => sizes().next_back(),
            SizePolicy::Smallest => cols().min().zip(rows().min()).and_then(|(c, r)| TerminalSize::new(c, r)),
            SizePolicy::Largest => cols().max().zip(rows().max()).and_then(|(c, r)| TerminalSize::new(c, r)),
            SizePolicy::Fixed => None,
        };
        self.change(size?)
    }

    fn change(&mut self, size: TerminalSize) -> Option<TerminalSize> {
        (std::mem::replace(&mut self.size, size) != size).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cols: u16, rows: u16) -> TerminalSize {
        TerminalSize::new(cols, rows).unwrap()
    }

    fn sizing(policy: SizePolicy) -> Sizing {
        Sizing::new(policy, TerminalSize::DEFAULT)
    }

    #[test]
    fn the_latest_to_be_used_decides_and_who_remains_after_it() {
        let mut sizing = sizing(SizePolicy::Latest);
        let (a, changed) = sizing.join(size(100, 30));
        assert_eq!(changed, Some(size(100, 30)));
        let (b, changed) = sizing.join(size(90, 40));
        assert_eq!(changed, Some(size(90, 40)));
        assert_eq!(sizing.used(b), None);
        assert_eq!(sizing.used(a), Some(size(100, 30)));
        assert_eq!(sizing.resize(b, size(95, 40)), Some(size(95, 40)));
        assert_eq!(sizing.leave(b), Some(size(100, 30)));
        assert_eq!(sizing.leave(a), None, "with nobody left it stays");
        assert_eq!(sizing.used(a), None);
        assert_eq!(sizing.resize(a, size(1, 1)), None, "who left does not count");
        assert_eq!(sizing.ask(size(10, 10)), Some(size(10, 10)));
    }

    #[test]
    fn the_smallest_and_the_largest_are_taken_side_by_side() {
        let mut smallest = sizing(SizePolicy::Smallest);
        smallest.join(size(100, 30));
        let (b, changed) = smallest.join(size(90, 40));
        assert_eq!(changed, Some(size(90, 30)));
        assert_eq!(smallest.leave(b), Some(size(100, 30)));
        let mut largest = sizing(SizePolicy::Largest);
        let (a, _) = largest.join(size(100, 30));
        assert_eq!(largest.join(size(90, 40)).1, Some(size(100, 40)));
        assert_eq!(largest.used(a), None);
    }

    #[test]
    fn a_fixed_size_stays() {
        let mut fixed = sizing(SizePolicy::Fixed);
        assert_eq!(fixed.join(size(100, 30)).1, None);
        assert_eq!(fixed.ask(size(10, 10)), None);
        assert_eq!(fixed.size(), TerminalSize::DEFAULT);
    }
}
