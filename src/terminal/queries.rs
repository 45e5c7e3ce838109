//! Who answers what the program asks the terminal.
//!
//! A program that asks for the cursor's place, or for the terminal's kind or colours, expects one answer, and every
//! client that watches it is a terminal that gives one. Here the queries are noted as they are printed, and what a
//! client types is searched for replies. One client answers for all; a reply of another, or one to a query that was
//! only replayed, never reaches the program. Keys, mouse and pastes pass byte for byte, in order.
//!
//! Three limits follow from what a terminal sends. A reply that pauses for [`HOLD_TIME`] in its middle cannot be told
//! from keys and passes as typed. A report that nobody asked for but that looks like a reply, such as a change of the
//! colour scheme, is dropped. A key that looks like a cursor report is taken for one while one is awaited.
//!
//! Nothing here reads, writes, waits or looks at a clock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::{
    scanner::Scanner,
    sequences::{Input, Kind},
};
use crate::ClientId;

#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod scanner;
mod sequences;
#[cfg(test)]
mod tests;

/// How long the beginning of what may be a reply is kept back: a terminal sends a reply at once, a person is slower.
pub(crate) const HOLD_TIME: Duration = Duration::from_millis(50);

/// How long a query is outstanding. Programs themselves seldom wait as long; a client further away than this is not
/// one to answer for the others.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How many queries may be outstanding, so that a program that prints them in a loop costs no memory.
const MAX_OUTSTANDING: usize = 512;

/// How many bytes of a string are kept until it ends, in what is printed and in what is typed: more than any query,
/// and than any reply but a large clipboard.
const MAX_KEPT: usize = 4096;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

/// What ends a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// One per session: which queries are outstanding, and who answers.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    scanner: Scanner,
    /// Oldest first.
    outstanding: VecDeque<Query>,
    /// The first client to answer while there was none. It stays that while it watches and answers.
    answerer: Option<ClientId>,
}

#[derive(Debug)]
struct Query {
    kind: Kind,
    printed: Instant,
    /// The answerer answered something since this was printed: it is there, and if it leaves this one unanswered it
    /// has no answer. Programs often ask for what few terminals know, and then for what all of them do.
    heard: bool,
}

impl Queries {
    /// Takes note of the queries in what the program printed just now; they may be split over calls at any byte.
    ///
    /// Costs one vectorised search on text without escape sequences.
    pub(crate) fn printed(&mut self, output: &[u8], now: Instant) {
        // The scanner is taken out for as long as it reports to the rest of this.
        let mut scanner = std::mem::take(&mut self.scanner);
        scanner.scan(output, &mut |kind| self.note(kind, now));
        self.scanner = scanner;
    }

    /// The client no longer watches: it is no longer the one that answers.
    pub(crate) fn left(&mut self, client: ClientId) {
        if self.answerer == Some(client) {
            self.answerer = None;
        }
    }

    fn note(&mut self, kind: Kind, now: Instant) {
        self.expire(now);
        if self.outstanding.len() == MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Query { kind, printed: now, heard: false });
    }

    /// Whether a reply of `kind` may pass, which then uses up the query that it answers.
    fn answer(&mut self, kind: Kind, client: ClientId, now: Instant) -> bool {
        self.expire(now);
        let Some(index) = self.outstanding.iter().position(|query| query.kind == kind) else { return false };
        if *self.answerer.get_or_insert(client) != client {
            return false;
        }
        self.outstanding.remove(index);
        for query in &mut self.outstanding {
            query.heard = true;
        }
        true
    }

    fn is_outstanding(&mut self, kind: Kind, now: Instant) -> bool {
        self.expire(now);
        self.outstanding.iter().any(|query| query.kind == kind)
    }

    fn is_any_outstanding(&mut self, now: Instant) -> bool {
        self.expire(now);
        !self.outstanding.is_empty()
    }

    fn expire(&mut self, now: Instant) {
        let is_over = |query: &Query| now.saturating_duration_since(query.printed) >= ANSWER_TIME;
        while self.outstanding.front().is_some_and(is_over) {
            if self.outstanding.pop_front().is_some_and(|query| !query.heard) {
                self.answerer = None;
            }
        }
    }
}

/// One per client that watches as a terminal: the parse state of what it types.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    within: Within,
    /// What is kept back, from its ESC on; at most [`MAX_KEPT`] bytes.
    held: Vec<u8>,
    /// The ESC in `held` has passed already, at this moment, because nothing followed it at once and it may have been
    /// the escape key. What follows soon is still read as the rest of its sequence.
    escape_passed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Within {
    #[default]
    Text,
    /// `held` may become a key or a reply.
    Sequence,
    /// `held` began as a reply that is a string, and lacks its end.
    Reply(Kind),
    /// The rest of a reply that is too long to keep. It was decided when `held` was full, and what follows goes the
    /// same way up to its end. Only the ESC of that end is held.
    LongReply { passes: bool },
    /// So many bytes of a bracketed paste's end were seen.
    Paste { matched: usize },
}

/// What one call of [`Typed::filter`] works with.
struct Turn<'a> {
    queries: &'a mut Queries,
    client: ClientId,
    now: Instant,
    passed: Vec<u8>,
}

impl Typed {
    /// What of `input` may reach the program. Keeps back the beginning of what may be a reply.
    ///
    /// A sequence that turns out to be no reply passes as typed, also when it is too long to keep. A string that began
    /// as a reply and is too long to keep is decided by its beginning. Any control character but its terminator ends
    /// a string and passes, so that a person who got into one by accident gets out with any control key. A lone ESC
    /// passes at once unless a query is outstanding.
    pub(crate) fn filter(
        &mut self,
        queries: &mut Queries,
        client: ClientId,
        input: &[u8],
        now: Instant,
    ) -> Vec<u8> {
        let is_late = |at| now.saturating_duration_since(at) >= HOLD_TIME;
        if self.held.len() == 1 && self.escape_passed.is_some_and(is_late) {
            // It was the escape key.
            self.settle(false);
        }
        let mut turn =
            Turn { queries, client, now, passed: Vec::with_capacity(self.held.len() + input.len()) };
        for byte in input {
            self.take(*byte, &mut turn);
        }
        let lone_escape = matches!(self.within, Within::Sequence) && self.held == [ESC];
        if lone_escape && self.escape_passed.is_none() && !turn.queries.is_any_outstanding(now) {
            turn.passed.push(ESC);
            self.escape_passed = Some(now);
        }
        turn.passed
    }

    /// Whether what comes next is read as it is from a terminal that has sent nothing yet.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.within, Within::Text) && self.held.is_empty()
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

    fn take(&mut self, byte: u8, turn: &mut Turn<'_>) {
        match self.within {
            Within::Text if byte == ESC => self.begin(),
            Within::Text => turn.passed.push(byte),
            Within::Sequence => self.take_in_sequence(byte, turn),
            Within::Reply(kind) => self.take_in_reply(byte, kind, turn),
            Within::LongReply { passes } => self.take_in_long_reply(byte, passes, turn),
            Within::Paste { matched } => {
                turn.passed.push(byte);
                let matched = if byte == PASTE_END[matched] { matched + 1 } else { usize::from(byte == ESC) };
                self.within =
                    if matched < PASTE_END.len() { Within::Paste { matched } } else { Within::Text };
            }
        }
    }

    fn take_in_sequence(&mut self, byte: u8, turn: &mut Turn<'_>) {
        if byte == ESC {
            turn.passed.append(&mut self.settle(true));
            self.begin();
            return;
        }
        self.held.push(byte);
        match sequences::input(&self.held) {
            Input::Beginning if self.held.len() < MAX_KEPT => {}
            Input::Beginning | Input::Key => turn.passed.append(&mut self.settle(true)),
            Input::PasteStart => {
                turn.passed.append(&mut self.settle(true));
                self.within = Within::Paste { matched: 0 };
            }
            Input::StringReply(kind) => self.within = Within::Reply(kind),
            Input::Reply(kind) => self.decide(kind, turn),
            Input::KeyOrReply(kind) if turn.queries.is_outstanding(kind, turn.now) => self.decide(kind, turn),
            Input::KeyOrReply(_) => turn.passed.append(&mut self.settle(true)),
        }
    }

    fn take_in_reply(&mut self, byte: u8, kind: Kind, turn: &mut Turn<'_>) {
        if self.held.last() == Some(&ESC) && byte != b'\\' {
            // Not the string's end but the beginning of something else.
            self.held.pop();
            turn.passed.append(&mut self.settle(true));
            self.begin();
            self.take_in_sequence(byte, turn);
            return;
        }
        let ends = byte == BEL || self.held.last() == Some(&ESC);
        self.held.push(byte);
        if ends {
            self.decide(kind, turn);
        } else if byte < b' ' && byte != ESC {
            turn.passed.append(&mut self.settle(true));
        } else if self.held.len() >= MAX_KEPT && byte != ESC {
            let passes = turn.queries.answer(kind, turn.client, turn.now);
            let mut held = self.settle(passes);
            turn.passed.append(&mut held);
            self.within = Within::LongReply { passes };
        }
    }

    fn take_in_long_reply(&mut self, byte: u8, passes: bool, turn: &mut Turn<'_>) {
        match (byte, self.held.is_empty()) {
            (b'\\', false) => {
                self.held.push(byte);
                turn.passed.append(&mut self.settle(passes));
            }
            (_, false) => {
                self.within = Within::Sequence;
                self.take_in_sequence(byte, turn);
            }
            (ESC, true) => self.held.push(byte),
            (BEL, true) => {
                self.settle(false);
                turn.passed.extend(passes.then_some(byte));
            }
            (..b' ', true) => {
                self.settle(false);
                turn.passed.push(byte);
            }
            (_, true) => turn.passed.extend(passes.then_some(byte)),
        }
    }

    fn begin(&mut self) {
        self.held.push(ESC);
        self.within = Within::Sequence;
    }

    fn decide(&mut self, kind: Kind, turn: &mut Turn<'_>) {
        let passes = turn.queries.answer(kind, turn.client, turn.now);
        turn.passed.append(&mut self.settle(passes));
    }

    /// Ends the sequence, and returns what of it has yet to pass.
    fn settle(&mut self, passes: bool) -> Vec<u8> {
        self.within = Within::Text;
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
