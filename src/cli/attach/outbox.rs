//! What was typed and is yet to be sent: searched for the detach key and the key for the next session, and gathered so
//! that a paste arrives as one piece.
//!
//! Either key typed twice within [`TWICE`] is typed: the program gets it once.
//!
//! What waits is joined, up to what one message holds. The beginning of a bracketed paste waits for its end, as long as
//! more of it comes; so pastes of two people do not mix. Anything else is ready at once.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    terminal::{KeyFinder, MOMENT},
    wire::MAX_INPUT,
};

const ESC: u8 = 0x1b;

/// How long a second press of a key is waited for, before the first one counts.
const TWICE: Duration = Duration::from_millis(300);

/// With this much waiting, in bytes, nothing more is taken. A terminal keeps what is typed then.
const ENOUGH: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Outbox {
    finder: KeyFinder,
    /// None of them empty, each at most [`MAX_INPUT`].
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The last piece is a paste whose end may come soon.
    is_open: bool,
    /// When what is kept back is given up, unless something comes before.
    gives_up: Option<Instant>,
    /// Which key was pressed, and when, if a second press would type it.
    pressed: Option<(ClientAction, Instant)>,
    /// What was typed after the key for the next session: it is for that one.
    kept: Vec<u8>,
}

/// What a key does that the program does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAction {
    /// Detaches.
    Detach,
    /// Shows the next session.
    Next,
}

impl Outbox {
    /// Empty. The keys are control characters, where there are any.
    pub(super) fn new(detach_key: Option<u8>, next_key: Option<u8>) -> Self {
        Self {
            finder: KeyFinder::of_two([detach_key, next_key]),
            pieces: VecDeque::new(),
            bytes: 0,
            is_open: false,
            gives_up: None,
            pressed: None,
            kept: Vec::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < ENOUGH
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the newest of what it has beyond so many bytes. Returns whether it had more.
    pub(super) fn drop_beyond(&mut self, most: usize) -> bool {
        let has_more = self.bytes > most;
        while self.bytes > most
            && let Some(last) = self.pieces.back_mut()
        {
            let dropped = last.len().min(self.bytes - most);
            last.truncate(last.len() - dropped);
            self.bytes -= dropped;
            if last.is_empty() {
                self.pieces.pop_back();
            }
        }
        has_more
    }

    /// Takes what was typed at `now`. Returns what it does, if anything: then all before the key is ready. What came
    /// after it is dropped, or kept for the [next session](Self::resume).
    pub(super) fn take(&mut self, mut typed: &[u8], now: Instant) -> Option<ClientAction> {
        loop {
            let was_pasting = self.finder.is_pasting();
            let (found, rest) = self.finder.find_first(typed, now);
            let is_pasting = self.finder.is_pasting();
            typed = rest;
            match self.pressed {
                // Only this comes between two presses: the beginning of the next, or the end of the first.
                Some(_) if found.passes.is_empty() || is_release(&found.passes) => {}
                Some((action, _)) => {
                    // A key that follows is looked for when it is this one's turn.
                    let press = if found.is_pressed { self.finder.press() } else { &[] };
                    let after = [&found.passes[..], press, typed].concat();
                    return Some(self.act(action, after));
                }
                None => self.push(&found.passes, is_pasting && !was_pasting),
            }
            if !found.is_pressed {
                self.is_open = is_pasting;
                let holds = self.is_open || self.finder.is_holding();
                let waits = self.pressed.map(|(_, pressed)| pressed + TWICE);
                self.gives_up = waits.or(holds.then(|| now + MOMENT));
                return None;
            }
            if let Some(before) = self.press(now) {
                let after = [self.finder.press(), typed].concat();
                return Some(self.act(before, after));
            }
        }
    }

    /// A key was pressed: for the first time, or for the second. Returns what the other key does, if that was pressed
    /// before and so was not typed twice.
    fn press(&mut self, now: Instant) -> Option<ClientAction> {
        self.is_open = false;
        let action = if self.finder.is_second() { ClientAction::Next } else { ClientAction::Detach };
        match self.pressed.take() {
            None => {
                self.pressed = Some((action, now));
                self.gives_up = Some(now + TWICE);
            }
            Some((before, _)) if before == action => {
                let press = self.finder.press().to_vec();
                self.push(&press, false);
            }
            Some((before, _)) => return Some(before),
        }
        None
    }

    /// A key counts; this came after it.
    fn act(&mut self, action: ClientAction, after: Vec<u8>) -> ClientAction {
        self.pressed = None;
        self.gives_up = None;
        self.kept = after;
        action
    }

    /// Another session is shown, or the one before still is: takes what was typed after the key, as
    /// [`take`](Self::take).
    pub(super) fn resume(&mut self, now: Instant) -> Option<ClientAction> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() { None } else { self.take(&kept, now) }
    }

    /// Drops what is ready: no session takes it any more.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }

    /// How long until [`give_up`](Self::give_up) is to be called, if nothing is typed before.
    pub(super) fn gives_up_in(&self, now: Instant) -> Option<Duration> {
        self.gives_up.map(|time| time.saturating_duration_since(now))
    }

    /// Nothing came for a moment, until `now`. Makes ready what was kept back. Returns what that does, if anything.
    pub(super) fn give_up(&mut self, now: Instant) -> Option<ClientAction> {
        self.gives_up = None;
        self.is_open = false;
        let found = self.finder.flush();
        match self.pressed {
            Some((action, _)) if !found.is_pressed => return Some(self.act(action, found.passes)),
            Some(_) => {}
            None => self.push(&found.passes, false),
        }
        if found.is_pressed
            && let Some(before) = self.press(now)
        {
            let after = self.finder.press().to_vec();
            return Some(self.act(before, after));
        }
        None
    }

    /// How long the next piece is that is ready, in bytes.
    pub(super) fn ready(&self) -> Option<usize> {
        let next = self.pieces.front()?.len();
        let waits = self.is_open && self.pieces.len() == 1 && next < MAX_INPUT;
        (!waits).then_some(next)
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    fn push(&mut self, mut bytes: &[u8], begins_piece: bool) {
        self.bytes += bytes.len();
        let mut begins_piece = begins_piece;
        while !bytes.is_empty() {
            let last = self.pieces.back_mut().filter(|last| !begins_piece && last.len() < MAX_INPUT);
            begins_piece = false;
            let Some(last) = last else {
                self.pieces.push_back(Vec::new());
                continue;
            };
            let (fits, rest) = bytes.split_at(bytes.len().min(MAX_INPUT - last.len()));
            last.extend_from_slice(fits);
            bytes = rest;
        }
    }
}

/// Whether keys are let go here and none is pressed, as terminals tell that report it: `CSI 92;5:3u` and the like, and
/// `CSI 220;43;28;0;8;1_`. The ESC of one may have come, or come, by itself.
fn is_release(keys: &[u8]) -> bool {
    keys.split(|byte| *byte == ESC).all(|sequence| {
        let is_of_windows =
            sequence.ends_with(b"_") && sequence.split(|byte| *byte == b';').nth(3) == Some(b"0");
        sequence.is_empty()
            || sequence.starts_with(b"[")
                && (is_of_windows || sequence.windows(2).any(|event| event == b":3"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETACH: u8 = 0x1c;

    fn pieces(outbox: &mut Outbox) -> Vec<usize> {
        std::iter::from_fn(|| outbox.ready().and_then(|_| outbox.pop())).map(|piece| piece.len()).collect()
    }

    #[test]
    fn keys_are_ready_at_once_and_those_that_wait_are_joined() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        assert_eq!(outbox.take(b"a", now), None);
        assert_eq!(outbox.ready(), Some(1));
        outbox.take(b"b\x1b", now);
        assert_eq!(outbox.gives_up_in(now), None);
        assert_eq!(outbox.pop().as_deref(), Some(&b"ab\x1b"[..]));
        assert_eq!((outbox.ready(), outbox.bytes), (None, 0));
    }

    #[test]
    fn what_was_typed_before_the_detach_key_is_ready() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        outbox.take(b"a\x1b[92", now);
        assert_eq!((outbox.ready(), outbox.gives_up_in(now)), (Some(1), Some(MOMENT)));
        assert_eq!(outbox.take(b";5uz", now), Some(ClientAction::Detach), "another key follows");
        assert_eq!((outbox.pop().as_deref(), outbox.pop()), (Some(&b"a"[..]), None));
    }

    #[test]
    fn what_may_become_the_key_is_kept_back_for_a_moment_only() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        outbox.take(b"\x1b[9", now);
        assert_eq!(outbox.ready(), None);
        assert_eq!(outbox.give_up(now), None);
        assert_eq!(outbox.pop().as_deref(), Some(&b"\x1b[9"[..]));
        let mut escape = Outbox::new(Some(0x1b), None);
        escape.take(b"\x1b", now);
        assert_eq!(escape.give_up(now), None, "it may be typed twice");
        assert_eq!(escape.gives_up_in(now), Some(TWICE));
        assert_eq!(escape.give_up(now), Some(ClientAction::Detach));
    }

    #[test]
    fn the_detach_key_typed_twice_is_typed_once() {
        for (twice, once) in [
            ("\x1c\x1c", "\x1c"),
            ("\x1b[92;5u\x1b[92;5u", "\x1b[92;5u"),
            ("\x1b[92;5:1u\x1b[92;5:3u\x1b[92;5:1u", "\x1b[92;5:1u"),
            ("\x1b[220;43;28;1;8;1_\x1b[220;43;28;0;8;1_\x1b[220;43;28;1;8;1_", "\x1b[220;43;28;1;8;1_"),
        ] {
            for cut in 0..twice.len() {
                let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
                let (before, after) = twice.split_at(cut);
                for keys in [before, after, "x"] {
                    assert_eq!(outbox.take(keys.as_bytes(), now), None, "{twice:?} cut at {cut}");
                }
                // By itself it may have been the key of that name.
                let escape =
                    if cut == 1 { twice.trim_start_matches('\x1c').get(..1).unwrap_or_default() } else { "" };
                assert_eq!(
                    outbox.pop(),
                    Some([escape, once, "x"].concat().into_bytes()),
                    "{twice:?} cut at {cut}"
                );
                assert_eq!(outbox.gives_up_in(now), None, "it does not detach");
            }
        }
    }

    #[test]
    fn a_single_detach_key_detaches_at_the_next_key_or_after_a_moment() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        assert_eq!(outbox.take(b"a\x1c", now), None);
        assert_eq!((outbox.pop().as_deref(), outbox.gives_up_in(now)), (Some(&b"a"[..]), Some(TWICE)));
        assert_eq!(outbox.give_up(now + TWICE), Some(ClientAction::Detach));
        let mut outbox = Outbox::new(Some(DETACH), None);
        assert_eq!(outbox.take(b"\x1cb", now), Some(ClientAction::Detach));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn without_a_detach_key_all_is_typed() {
        let (mut outbox, now) = (Outbox::new(None, None), Instant::now());
        assert_eq!(outbox.take(b"\x1c\x1b[92;5u\0\x1b", now), None);
        assert_eq!(outbox.pop().as_deref(), Some(&b"\x1c\x1b[92;5u\0\x1b"[..]));
    }

    #[test]
    fn a_paste_is_one_piece_however_it_comes() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        let paste = [b"\x1b[200~", vec![b'x'; 40_000].as_slice(), b"\x1b[201~"].concat();
        for part in paste.chunks(4095) {
            assert_eq!(outbox.ready(), None);
            outbox.take(part, now);
        }
        assert_eq!(pieces(&mut outbox), [paste.len()]);
        // One that a whole piece can't hold goes as it comes.
        outbox.take(b"ls\n", now);
        outbox.take(b"\x1b[200~", now);
        outbox.take(&vec![b'x'; MAX_INPUT], now);
        assert_eq!(pieces(&mut outbox), [3, MAX_INPUT]);
        // So does one that pauses.
        assert_eq!(outbox.give_up(now), None);
        assert_eq!(pieces(&mut outbox), [6]);
        outbox.take(b"\x1b[201~", now);
        assert_eq!(pieces(&mut outbox), [6]);
    }

    #[test]
    fn what_is_typed_last_is_dropped_beyond_a_bound() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        outbox.take(b"abc", now);
        assert!(!outbox.drop_beyond(3));
        outbox.take(&[b'x'; 2 * MAX_INPUT], now);
        assert!(outbox.drop_beyond(5));
        assert_eq!((outbox.bytes(), outbox.pop().as_deref(), outbox.pop()), (5, Some(&b"abcxx"[..]), None));
        outbox.take(b"yz\x1c", now);
        assert!(outbox.drop_beyond(0) && outbox.bytes() == 0);
        assert_eq!(
            outbox.give_up(now + TWICE),
            Some(ClientAction::Detach),
            "the detach key is no key that waits"
        );
    }

    #[test]
    fn what_follows_the_key_for_the_next_session_is_for_that_one() {
        const NEXT: u8 = 0x1d;
        for cut in 0..3 {
            let (mut outbox, now) = (Outbox::new(Some(DETACH), Some(NEXT)), Instant::now());
            let (before, after) = "a\x1dbc\x1cd".split_at(cut);
            let acted = [before, after].map(|keys| outbox.take(keys.as_bytes(), now));
            assert_eq!(acted.into_iter().flatten().next(), Some(ClientAction::Next), "cut at {cut}");
            assert_eq!(outbox.pop().as_deref(), Some(&b"a"[..]));
            assert_eq!(outbox.pop(), None, "the rest is for the next one");
            assert_eq!(outbox.resume(now), Some(ClientAction::Detach));
            assert_eq!(outbox.pop().as_deref(), Some(&b"bc"[..]));
        }
        let (mut outbox, now) = (Outbox::new(Some(DETACH), Some(NEXT)), Instant::now());
        assert_eq!(outbox.take(b"\x1d\x1dx", now), None, "typed twice, it is typed");
        assert_eq!(outbox.pop().as_deref(), Some(&b"\x1dx"[..]));
        assert_eq!(outbox.take(b"\x1d", now), None);
        assert_eq!(outbox.give_up(now + TWICE), Some(ClientAction::Next));
        assert_eq!(outbox.take(b"\x1d\x1c", now), Some(ClientAction::Next), "one after the other");
        assert_eq!((outbox.resume(now), outbox.give_up(now)), (None, Some(ClientAction::Detach)));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut outbox, now) = (Outbox::new(Some(DETACH), None), Instant::now());
        let mut taken = 0;
        while outbox.has_room() {
            outbox.take(&[b'x'; 5000], now);
            taken += 5000;
        }
        assert!(taken < ENOUGH + 5000);
        let pieces = pieces(&mut outbox);
        assert!(pieces.iter().all(|length| *length <= MAX_INPUT));
        assert_eq!(pieces.iter().sum::<usize>(), taken);
        assert!(outbox.has_room());
    }
}
