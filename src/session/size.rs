//! Whose terminal the session's is sized by.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    TerminalSize,
    message::{AttachOptions, PixelSize, SizePolicy},
};

/// A terminal's size in cells, and in pixels where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) size: TerminalSize,
    pub(crate) pixels: Option<PixelSize>,
}

impl Window {
    /// Of a client that watches as a terminal.
    pub(crate) fn of(view: &AttachOptions) -> Option<Self> {
        view.size.map(|size| Self { size, pixels: view.pixels })
    }

    /// A window of this size, whose cells have as many pixels.
    pub(super) fn with_size(self, size: TerminalSize) -> Self {
        Self { size, pixels: self.pixels.map(|pixels| pixels.scaled(self.size, size)) }
    }
}

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
    window: Window,
    /// The latest to be used, attach or be resized comes last.
    claims: Vec<(Claim, Window)>,
    last_claim: u64,
    /// It has the size that its provider says: what clients want is asked for, and may be again.
    is_given: bool,
    /// What its provider was told last that clients want.
    told: Option<Window>,
    log: SizeLog,
}

/// Where in the output the size changed, for those that read it later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SizeLog {
    /// The size before the first of them.
    base: TerminalSize,
    /// The newest changes, and the offsets from which they hold.
    changes: VecDeque<(u64, TerminalSize)>,
}

/// Changes that are kept, 16 bytes each. Of older ones, only what they led to is known.
const MAX_CHANGES: usize = 64;

impl SizeLog {
    /// Of one size so far.
    pub(super) fn new(size: TerminalSize) -> Self {
        Self { base: size, changes: VecDeque::new() }
    }

    /// Where the last change is.
    pub(super) fn last(&self) -> Option<u64> {
        self.changes.back().map(|(at, _)| *at)
    }
}

impl Sizing {
    pub(super) fn new(policy: SizePolicy, window: Window) -> Self {
        Self {
            policy,
            window,
            claims: Vec::new(),
            last_claim: 0,
            is_given: false,
            told: None,
            log: SizeLog::new(window.size),
        }
    }

    /// That of a session that an earlier server had.
    pub(super) fn with_log(self, log: SizeLog) -> Self {
        Self { log, ..self }
    }

    pub(super) fn log(&self) -> &SizeLog {
        &self.log
    }

    /// The size is this one from offset `at` on.
    pub(super) fn changed_at(&mut self, at: u64, size: TerminalSize) {
        let SizeLog { base, changes } = &mut self.log;
        // Nothing was printed in the size before, if it began here.
        if changes.back().is_some_and(|(from, _)| *from == at) {
            changes.pop_back();
        }
        if changes.len() == MAX_CHANGES
            && let Some((_, oldest)) = changes.pop_front()
        {
            *base = oldest;
        }
        changes.push_back((at, size));
    }

    /// The size that the output at `offset` was printed in.
    pub(super) fn size_at(&self, offset: u64) -> TerminalSize {
        let before = self.log.changes.iter().rev().find(|(from, _)| *from <= offset);
        before.map_or(self.log.base, |(_, size)| *size)
    }

    /// The first change beyond `offset`, and where it is.
    pub(super) fn change_beyond(&self, offset: u64) -> Option<(u64, TerminalSize)> {
        self.log.changes.iter().find(|(from, _)| *from > offset).copied()
    }

    pub(super) fn policy(&self) -> SizePolicy {
        self.policy
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// A client with a terminal of this size joins. The second is the session's new size, if it changed.
    pub(super) fn join(&mut self, window: Window) -> (Claim, Option<Window>) {
        self.last_claim += 1;
        let claim = Claim(self.last_claim);
        self.claims.push((claim, window));
        (claim, self.settle())
    }

    /// A client's terminal has another size. Returns the session's new size, if it changed.
    pub(super) fn resize(&mut self, claim: Claim, window: Window) -> Option<Window> {
        let at = self.claims.iter().position(|(other, _)| *other == claim)?;
        self.claims.remove(at);
        self.claims.push((claim, window));
        self.settle()
    }

    /// A client was used: a key, a paste, a button or the wheel. Returns the session's new size, if it changed.
    pub(super) fn used(&mut self, claim: Claim) -> Option<Window> {
        let at = self.claims.iter().position(|(other, _)| *other == claim)?;
        if at + 1 == self.claims.len() && !self.is_given {
            return None;
        }
        let claim = self.claims.remove(at);
        self.claims.push(claim);
        self.settle()
    }

    /// A client is gone. Returns the session's new size, if it changed.
    pub(super) fn leave(&mut self, claim: Claim) -> Option<Window> {
        self.claims.retain(|(other, _)| *other != claim);
        self.settle()
    }

    /// Its provider says that it has this size.
    pub(super) fn give(&mut self, size: TerminalSize) -> Window {
        self.is_given = true;
        self.window = self.window.with_size(size);
        self.window
    }

    /// What its provider is to be told that clients want, if that is another than before or is `asked` for again.
    pub(super) fn tell(&mut self, asked: Option<Window>) -> Option<Option<Window>> {
        let wanted = asked.or_else(|| self.wanted().filter(|_| self.policy != SizePolicy::Fixed));
        let before = std::mem::replace(&mut self.told, wanted);
        (asked.is_some() || before != wanted).then_some(wanted)
    }

    /// One who does not watch asks for a size.
    pub(super) fn ask(&mut self, window: Window) -> Option<Window> {
        match self.policy {
            SizePolicy::Latest => self.change(window),
            _ => None,
        }
    }

    /// It is sized in this way from now on, and has this size now, if one is given. Returns what changed.
    pub(super) fn set_policy(&mut self, policy: SizePolicy, size: Option<TerminalSize>) -> Option<Window> {
        self.policy = policy;
        match size {
            Some(size) => self.change(self.window.with_size(size)),
            None => self.settle(),
        }
    }

    /// How many clients count.
    #[cfg(test)]
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    fn settle(&mut self) -> Option<Window> {
        let wanted = self.wanted()?;
        self.change(wanted)
    }

    /// What those that count want together.
    fn wanted(&self) -> Option<Window> {
        let windows = || self.claims.iter().map(|(_, window)| *window);
        let cols = || windows().map(|window| window.size.cols());
        let rows = || windows().map(|window| window.size.rows());
        let size = match self.policy {
            SizePolicy::Latest => return windows().next_back(),
            SizePolicy::Smallest => cols().min().zip(rows().min()).and_then(|(c, r)| TerminalSize::new(c, r)),
            SizePolicy::Largest => cols().max().zip(rows().max()).and_then(|(c, r)| TerminalSize::new(c, r)),
            SizePolicy::Fixed => Some(self.window.size),
        };
        // Of several terminals' cells there is only one size to be had: that of the one used last.
        let cells = windows().rev().find(|window| window.pixels.is_some()).unwrap_or(self.window);
        Some(cells.with_size(size?))
    }

    fn change(&mut self, window: Window) -> Option<Window> {
        (std::mem::replace(&mut self.window, window) != window).then_some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cols: u16, rows: u16) -> Window {
        Window { size: TerminalSize::new(cols, rows).unwrap(), pixels: None }
    }

    /// A window whose cells have this many pixels.
    fn of_cells(window: Window, width: u16, height: u16) -> Window {
        let pixels = PixelSize::new(width * window.size.cols(), height * window.size.rows());
        Window { pixels, ..window }
    }

    fn sizing(policy: SizePolicy) -> Sizing {
        Sizing::new(policy, size(80, 24))
    }

    #[test]
    fn pixels_are_those_of_the_terminal_that_was_used_last() {
        let mut latest = sizing(SizePolicy::Latest);
        let one = of_cells(size(100, 30), 10, 20);
        let (a, changed) = latest.join(one);
        assert_eq!(changed, Some(one));
        // A larger font in a larger window.
        let large = of_cells(size(100, 30), 20, 40);
        assert_eq!(latest.resize(a, large), Some(large));
        let (b, changed) = latest.join(size(90, 40));
        assert_eq!(changed, Some(size(90, 40)), "it knows none");
        assert_eq!(latest.leave(b), Some(large));

        let mut smallest = sizing(SizePolicy::Smallest);
        let (a, _) = smallest.join(one);
        let (b, changed) = smallest.join(of_cells(size(90, 40), 7, 9));
        assert_eq!(changed, Some(of_cells(size(90, 30), 7, 9)));
        assert_eq!(smallest.used(a), Some(of_cells(size(90, 30), 10, 20)));
        assert_eq!(smallest.leave(b), Some(one));

        let mut fixed = Sizing::new(SizePolicy::Fixed, of_cells(size(80, 24), 5, 5));
        assert_eq!(fixed.join(size(100, 30)).1, None);
        assert_eq!(fixed.join(one).1, Some(of_cells(size(80, 24), 10, 20)));
    }

    #[test]
    fn the_client_used_last_decides_and_after_it_those_that_remain() {
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
    fn where_the_size_changed_is_kept_within_a_bound() {
        let mut sizing = sizing(SizePolicy::Fixed);
        let of = |rows: u16| size(80, rows).size;
        for (at, rows) in [(0, 30), (10, 31), (10, 32), (20, 33)] {
            sizing.changed_at(at, of(rows));
        }
        assert_eq!([0, 9, 10, 19, 20, 99].map(|at| sizing.size_at(at)), [30, 30, 32, 32, 33, 33].map(of));
        assert_eq!(
            [0, 9, 10, 20].map(|at| sizing.change_beyond(at).map(|(at, _)| at)),
            [Some(10), Some(10), Some(20), None]
        );
        for change in 0..1000 {
            sizing.changed_at(100 + u64::from(change), of(1 + change % 100));
        }
        assert_eq!(sizing.log.changes.len(), MAX_CHANGES);
        assert_eq!(sizing.size_at(0), of(1 + 935 % 100), "of older ones, what they led to");
    }

    #[test]
    fn a_fixed_size_stays() {
        let mut fixed = sizing(SizePolicy::Fixed);
        assert_eq!(fixed.join(size(100, 30)).1, None);
        assert_eq!(fixed.ask(size(10, 10)), None);
        assert_eq!(fixed.window(), size(80, 24));
    }
}
