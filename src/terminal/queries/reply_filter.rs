//! What a terminal sends, taken apart into what a person did with it and what it says of itself.

use std::time::Instant;

use super::{
    BEL, ESC, HOLD_TIME, Heard, MAX_KEPT, Queries, ReplyVerdict,
    control::{Control, is_intermediate},
    kinds::{self, QuestionKind, ReplyMatch},
    mouse::{Did, Mouse},
};
use crate::ClientId;

/// What ends a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// The most bytes of a mouse report in its oldest form.
const MAX_MOUSE: usize = 3 + 3 * 4;

/// One per client that watches as a terminal: the parse state of what it types.
#[derive(Debug, Default)]
pub(crate) struct ReplyFilter {
    within: ReplyState,
    /// What is kept back, from its ESC on; at most [`MAX_KEPT`] bytes.
    held: Vec<u8>,
    /// The ESC in `held` has passed already, at this moment, because nothing followed it at once and it may have been
    /// the escape key. What follows soon is still read as the rest of its sequence.
    escape_passed: Option<Instant>,
    /// A button was pressed within the session and not released since.
    is_button_held: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum ReplyState {
    #[default]
    Text,
    /// `held` may become a key or a reply.
    Sequence,
    /// `held` began as a reply that is a string, and lacks its end.
    ReplyMatch(QuestionKind),
    /// The rest of a reply that is too long to keep. It was decided when `held` was full, and what follows goes the
    /// same way up to its end. Only the ESC of that end is held.
    LongReply { passes: bool },
    /// `held` began as a mouse report of the oldest form, in bytes or in UTF-8.
    Mouse { is_utf8: bool },
    /// So many bytes of a bracketed paste's end were seen.
    Paste { matched: usize },
}

/// What of a terminal's input may reach the program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) bytes: Vec<u8>,
    /// A person used the terminal: a key, a paste, a button, the wheel.
    pub(crate) is_use: bool,
}

/// What one call of [`ReplyFilter::filter`] works with.
struct Call<'a> {
    queries: &'a mut Queries,
    client: ClientId,
    now: Instant,
    passed: Passed,
}

impl Call<'_> {
    /// A person did this.
    fn person(&mut self, bytes: &[u8]) {
        if !self.passed.is_use {
            self.passed.is_use = true;
            if let Some(report) = self.queries.used(self.client) {
                self.passed.bytes.extend_from_slice(report);
            }
        }
        self.passed.bytes.extend_from_slice(bytes);
    }
}

impl ReplyFilter {
    /// What of `input` may reach the program. Keeps back the beginning of what may be a reply.
    ///
    /// A sequence that turns out to be no reply passes as typed, also when it is too long to keep. A string that began
    /// as a reply and is too long to keep is decided by its beginning. Any control character but its terminator ends
    /// a string and passes, so that a person who got into one by accident gets out with any control key. A lone ESC
    /// passes at once unless a reply is awaited.
    pub(crate) fn filter(
        &mut self,
        queries: &mut Queries,
        client: ClientId,
        input: &[u8],
        now: Instant,
    ) -> Passed {
        let is_late = |at| now.saturating_duration_since(at) >= HOLD_TIME;
        if self.held.len() == 1 && self.escape_passed.is_some_and(is_late) {
            // It was the escape key.
            self.settle(false);
        }
        let bytes = Vec::with_capacity(self.held.len() + input.len());
        let mut turn = Call { queries, client, now, passed: Passed { bytes, is_use: false } };
        for byte in input {
            self.take(*byte, &mut turn);
        }
        let lone_escape = matches!(self.within, ReplyState::Sequence) && self.held == [ESC];
        if lone_escape && self.escape_passed.is_none() && !turn.queries.awaits_reply(client, now) {
            turn.person(&[ESC]);
            self.escape_passed = Some(now);
        }
        turn.queries.pastes(client, matches!(self.within, ReplyState::Paste { .. }), now);
        turn.passed
    }

    /// Whether what comes next is read as it is from a terminal that has sent nothing yet.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.within, ReplyState::Text) && self.held.is_empty()
    }

    /// Whether something is kept back; if nothing follows within [`HOLD_TIME`], the caller takes it with
    /// [`flush`](Self::flush) and types it.
    pub(crate) fn is_holding(&self) -> bool {
        self.held.len() > usize::from(self.escape_passed.is_some())
    }

    /// Gives back what is kept. What follows it is not taken for its rest.
    pub(crate) fn flush(&mut self) -> Vec<u8> {
        if self.is_holding() { self.settle(true) } else { Vec::new() }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    fn take(&mut self, byte: u8, turn: &mut Call<'_>) {
        match self.within {
            ReplyState::Text if byte == ESC => self.begin(),
            ReplyState::Text => turn.person(&[byte]),
            ReplyState::Sequence => self.take_in_sequence(byte, turn),
            ReplyState::ReplyMatch(kind) => self.take_in_reply(byte, kind, turn),
            ReplyState::LongReply { passes } => self.take_in_long_reply(byte, passes, turn),
            ReplyState::Mouse { is_utf8 } => self.take_in_mouse(byte, is_utf8, turn),
            ReplyState::Paste { matched } => {
                turn.person(&[byte]);
                let matched = if byte == PASTE_END[matched] { matched + 1 } else { usize::from(byte == ESC) };
                self.within =
                    if matched < PASTE_END.len() { ReplyState::Paste { matched } } else { ReplyState::Text };
            }
        }
    }

    fn take_in_sequence(&mut self, byte: u8, turn: &mut Call<'_>) {
        if byte == ESC {
            turn.person(&self.settle(true));
            self.begin();
            return;
        }
        self.held.push(byte);
        match &self.held[1..] {
            [b'[', .., before, b'0'..=b'?'] if is_intermediate(*before) => self.key(turn),
            [b'['] | [b'[', .., b' '..=b'?'] if self.held.len() < MAX_KEPT => {}
            [b'[', body @ .., b'@'..=b'~'] => {
                let is_bare = body.is_empty();
                self.take_control(is_bare, turn);
            }
            [b'[', ..] => self.key(turn),
            string => match kinds::string_reply(string) {
                ReplyMatch::Beginning if self.held.len() < MAX_KEPT => {}
                ReplyMatch::Yes(kind) => self.within = ReplyState::ReplyMatch(kind),
                _ => self.key(turn),
            },
        }
    }

    /// A control sequence is whole.
    fn take_control(&mut self, is_bare: bool, turn: &mut Call<'_>) {
        let Some(control) = Control::parse(&self.held[2..]) else { return self.key(turn) };
        match (control.private, control.intermediates, control.last) {
            (b"", b"", b'~') if control.parameters == b"200" => {
                self.key(turn);
                self.within = ReplyState::Paste { matched: 0 };
            }
            (b"", b"", b'I' | b'O') if is_bare => {
                turn.queries.focus(control.last == b'I');
                turn.passed.bytes.append(&mut self.settle(true));
            }
            (b"", b"", b'M') if is_bare && let Some(is_utf8) = turn.queries.modes().oldest_mouse() => {
                self.within = ReplyState::Mouse { is_utf8 };
            }
            _ => {
                if let Some(mouse) = Mouse::parse(&control) {
                    return self.mouse(mouse, turn);
                }
                let is_release = control.parameters.ends_with(b":3");
                match kinds::reply(&control) {
                    ReplyMatch::Yes(kind) => self.decide(kind, turn),
                    ReplyMatch::Perhaps(kind) if turn.queries.expects(turn.client, kind, turn.now) => {
                        self.decide(kind, turn);
                    }
                    // A key that is let go, perhaps on the way to another window.
                    _ if is_release => turn.passed.bytes.append(&mut self.settle(true)),
                    _ => self.key(turn),
                }
            }
        }
    }

    fn take_in_mouse(&mut self, byte: u8, is_utf8: bool, turn: &mut Call<'_>) {
        self.held.push(byte);
        match Mouse::parse_x10(&self.held[3..], is_utf8) {
            Some(Some(mouse)) => self.mouse(mouse, turn),
            None if self.held.len() < MAX_MOUSE => {}
            Some(None) | None => self.key(turn),
        }
    }

    fn mouse(&mut self, mouse: Mouse, turn: &mut Call<'_>) {
        let mut held = self.settle(true);
        let did = mouse.did();
        let bytes = match turn.queries.part(turn.client) {
            None => Some(held),
            // ReplyState the picture there is no telling where.
            Some(_) if turn.queries.modes().pixels => None,
            Some(part) => {
                let is_dragged = self.is_button_held && !matches!(did, Did::Press { .. });
                let mouse = part.and_then(|part| mouse.within(part, is_dragged));
                let is_out = mouse.is_none();
                if let Did::Press { wheel: false } = did {
                    self.is_button_held = !is_out;
                }
                held.clear();
                mouse.and_then(|mouse| mouse.encode())
            }
        };
        if did == Did::Release {
            self.is_button_held = false;
        }
        match (bytes, did) {
            (Some(bytes), Did::Press { .. }) => turn.person(&bytes),
            (Some(bytes), _) => turn.passed.bytes.extend_from_slice(&bytes),
            // Outside of the session, but on its terminal.
            (None, Did::Press { .. }) => turn.person(b""),
            (None, _) => {}
        }
    }

    fn take_in_reply(&mut self, byte: u8, kind: QuestionKind, turn: &mut Call<'_>) {
        if self.held.last() == Some(&ESC) && byte != b'\\' {
            // Not the string's end but the beginning of something else.
            self.held.pop();
            turn.person(&self.settle(true));
            self.begin();
            self.take_in_sequence(byte, turn);
            return;
        }
        let ends = byte == BEL || self.held.last() == Some(&ESC);
        self.held.push(byte);
        if ends {
            self.decide(kind, turn);
        } else if byte < b' ' && byte != ESC {
            self.key(turn);
        } else if self.held.len() >= MAX_KEPT && byte != ESC {
            let verdict = turn.queries.hear(turn.client, kind, Heard::Beginning, turn.now);
            let passes = verdict.passes;
            self.pass(verdict, turn);
            self.within = ReplyState::LongReply { passes };
        }
    }

    fn take_in_long_reply(&mut self, byte: u8, passes: bool, turn: &mut Call<'_>) {
        match (byte, self.held.is_empty()) {
            (b'\\', false) => {
                self.held.push(byte);
                turn.passed.bytes.append(&mut self.settle(passes));
            }
            (_, false) => {
                self.within = ReplyState::Sequence;
                self.take_in_sequence(byte, turn);
            }
            (ESC, true) => self.held.push(byte),
            (BEL, true) => {
                self.settle(false);
                turn.passed.bytes.extend(passes.then_some(byte));
            }
            (..b' ', true) => {
                self.settle(false);
                turn.person(&[byte]);
            }
            (_, true) => turn.passed.bytes.extend(passes.then_some(byte)),
        }
    }

    fn begin(&mut self) {
        self.held.push(ESC);
        self.within = ReplyState::Sequence;
    }

    /// What is held is a key.
    fn key(&mut self, turn: &mut Call<'_>) {
        turn.person(&self.settle(true));
    }

    /// What is held is a reply.
    fn decide(&mut self, kind: QuestionKind, turn: &mut Call<'_>) {
        if kind.is_event(&self.held) {
            turn.passed.bytes.append(&mut self.settle(true));
            return;
        }
        let verdict = turn.queries.hear(turn.client, kind, Heard::Whole(&self.held), turn.now);
        self.pass(verdict, turn);
    }

    fn pass(&mut self, verdict: ReplyVerdict, turn: &mut Call<'_>) {
        let ReplyVerdict { mut before, passes } = verdict;
        turn.passed.bytes.append(&mut before);
        turn.passed.bytes.append(&mut self.settle(passes));
    }

    /// Ends the sequence, and returns what of it has yet to pass.
    fn settle(&mut self, passes: bool) -> Vec<u8> {
        self.within = ReplyState::Text;
        let escape_passed = self.escape_passed.take().is_some();
        let mut held = std::mem::take(&mut self.held);
        if !passes {
            held.clear();
        } else if escape_passed {
            held.remove(0);
        }
        held
    }
}
