//! Who answers what the program asks its terminal.
//!
//! A program that asks expects one answer, in the order of its questions; and every client that watches it is a
//! terminal that gives one. Here each question is noted as it is printed, in a log, and its answer is typed when all
//! before it are. The model of the screen answers what it knows, where it stands right after the question, attached or
//! not. What it does not know, one terminal is asked: the one used last of those that may type, whatever its size.
//! Replies of others, and to what the model answered, never reach the program. Keys, mouse and pastes pass byte for
//! byte, in order.
//!
//! Terminals answer in order. So a terminal that answers a later question has no answer to those before: programs often
//! ask for what few terminals know, and then for what all do. Time counts from when the terminal was sent the question.
//! After [`ORDER_TIME`] another one is asked; the only one there is, and one that may have to ask its person, may
//! answer later all the same, but the questions behind no longer wait for it. A terminal that does not show the
//! program's output, or skipped the question, is passed it beside its picture.
//!
//! Three limits follow from what a terminal sends. A reply that pauses for [`HOLD_TIME`] in its middle cannot be told
//! from keys and passes as typed. A report that nobody asked for but that looks like a reply is dropped, unless the
//! program has asked to be told. A key that looks like a cursor report is taken for one while one is awaited.
//!
//! Nothing here reads, writes, waits or looks at a clock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::{
    asides::Asides,
    kinds::QuestionKind,
    scanner::{Scanned, Scanner},
};
pub(crate) use self::{
    modes::Reports,
    mouse::Part,
    reply_filter::{Passed, ReplyFilter},
};
use crate::ClientId;

mod asides;
mod control;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod kinds;
mod modes;
mod mouse;
mod reply_filter;
mod scanner;
mod strings;
#[cfg(test)]
mod tests;
mod turns;

/// How long the beginning of what may be a reply is kept back: a terminal sends a reply at once, a person is slower.
pub(crate) const HOLD_TIME: Duration = Duration::from_millis(50);

/// How long the questions behind one wait for the terminal that was sent it. Programs seldom wait longer themselves.
const ORDER_TIME: Duration = Duration::from_secs(3);

/// How long a terminal has to take its output up to the question.
const SENT_TIME: Duration = Duration::from_secs(2);

/// How long a person has to permit an answer, where there are other terminals.
const PERSON_TIME: Duration = Duration::from_secs(60);

/// How long replies of terminals to a question that is settled are recognised as such.
const REPLY_TIME: Duration = Duration::from_secs(10);

/// How long a lone ESC may be the beginning of such a reply.
const ESCAPE_TIME: Duration = Duration::from_secs(1);

/// How long answers wait for the rest of a paste, so that they do not become a part of it.
const PASTE_TIME: Duration = Duration::from_secs(1);

/// How many questions are noted, and the bytes of theirs and of their replies, so that a program that prints them in a
/// loop costs no memory. The oldest goes first.
const MAX_QUESTIONS: usize = 512;
const MAX_BYTES: usize = 256 * 1024;

/// How much may wait to be typed, in bytes. Beyond that, it waits in the log.
const MAX_OUTBOX: usize = 16 * 1024;

/// How many bytes of a string are kept until it ends, in what is printed and in what is typed: more than any question,
/// and than any reply but a large clipboard.
const MAX_KEPT: usize = 4096;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

/// What a terminal that was passed a question is asked after it: all of them answer, in order.
const THEN: &[u8] = b"\x1b[5n";

/// One per session: what was asked, whose turn it is to answer, and what stands for itself.
#[derive(Debug)]
pub(crate) struct Queries {
    scanner: Scanner,
    asides: Asides,
    /// The oldest first.
    log: VecDeque<Question>,
    /// Where in the log the first is that others wait for.
    next: usize,
    /// Of what the log holds, in bytes.
    held: usize,
    last_id: u64,
    /// The one used last comes last.
    terminals: Vec<AskedTerminal>,
    /// Who is asked the next question.
    asked: Option<Asked>,
    /// What a terminal has yet to be passed.
    passing: Option<Passing>,
    /// To be typed.
    outbox: Vec<u8>,
    /// Who is in the middle of a paste, and until when that is waited for.
    pasting: Option<(ClientId, Instant)>,
    has_model: bool,
    /// Whoever prints has all of it answered: nothing is asked, and nothing typed.
    is_answered_elsewhere: bool,
    modes: Reports,
    /// The last terminal left, and none has come since.
    is_left: bool,
    /// What the program was told last of the focus, and whether that was because its last terminal left.
    is_focused: bool,
    is_told_of_leaving: bool,
}

#[derive(Debug)]
struct Question {
    id: u64,
    kind: QuestionKind,
    /// The offset after it. Those of one string have the same.
    at: u64,
    /// As printed; empty where it was too long to keep, and of all but the first of a string.
    bytes: Bytes,
    is_first: bool,
    state: TurnState,
    /// What terminals replied before their turn.
    heard: Vec<(ClientId, Vec<u8>)>,
}

#[derive(Debug)]
enum TurnState {
    /// The model has not come here.
    Unknown,
    /// For a terminal.
    Ask,
    /// Its terminal may still answer, until then, but nothing waits for it.
    Overdue {
        client: ClientId,
        until: Option<Instant>,
    },
    Known(Vec<u8>),
    /// Answered, or given up.
    Settled(Instant),
}

/// A client's terminal.
#[derive(Debug)]
struct AskedTerminal {
    client: ClientId,
    stay: u64,
    shows: Shows,
    /// It can be redrawn at any time, and so be passed something.
    is_drawn: bool,
    /// Up to which offset it was sent output, as far as was told.
    reached: u64,
    /// The last question that it answered, and was asked in vain.
    answered: u64,
    tried: u64,
    /// It was asked something that all terminals answer, after what it was passed.
    owes_status: bool,
}

/// What a terminal is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// Output from this offset on.
    Output { from: u64 },
    /// Pictures; this part, once there was one.
    Pictures(Option<Part>),
}

#[derive(Debug)]
struct Asked {
    client: ClientId,
    since: Instant,
    sent: Option<Instant>,
    /// It does not find the question in its output.
    is_passed: bool,
}

#[derive(Debug)]
struct Passing {
    client: ClientId,
    id: u64,
    bytes: Bytes,
}

/// A terminal's reply.
#[derive(Clone, Copy, Debug)]
enum Heard<'a> {
    Whole(&'a [u8]),
    /// It is too long to keep.
    Beginning,
}

/// What becomes of a reply.
#[derive(Debug, Default, PartialEq, Eq)]
struct ReplyVerdict {
    /// What is due before it.
    before: Vec<u8>,
    passes: bool,
}

impl Question {
    fn weight(&self) -> usize {
        let known = if let TurnState::Known(reply) = &self.state { reply.len() } else { 0 };
        self.bytes.len() + known + self.heard.iter().map(|(_, reply)| reply.len()).sum::<usize>()
    }

    fn is_settled(&self) -> bool {
        matches!(self.state, TurnState::Settled(_))
    }

    fn heard_from(&self, client: ClientId) -> Option<&(ClientId, Vec<u8>)> {
        self.heard.iter().find(|(from, _)| *from == client)
    }
}

impl Queries {
    pub(crate) fn new(has_model: bool) -> Self {
        Self {
            scanner: Scanner::default(),
            asides: Asides::default(),
            log: VecDeque::new(),
            next: 0,
            held: 0,
            last_id: 0,
            terminals: Vec::new(),
            asked: None,
            passing: None,
            outbox: Vec::new(),
            pasting: None,
            has_model,
            is_answered_elsewhere: false,
            modes: Reports::default(),
            is_left: false,
            is_focused: true,
            is_told_of_leaving: false,
        }
    }

    /// These, where none of them is answered here: they are noted to recognise what terminals reply to them.
    pub(crate) fn answered_elsewhere(self) -> Self {
        Self { is_answered_elsewhere: true, ..self }
    }

    /// Takes note of what the program printed just now, from offset `at` on; it may be split over calls at any byte.
    /// Returns the offset after the last question in it.
    ///
    /// Costs one vectorised search on text without escape sequences.
    pub(crate) fn printed(&mut self, output: &[u8], at: u64, now: Instant) -> Option<u64> {
        // The scanner is taken out for as long as it reports to the rest of this.
        let mut scanner = std::mem::take(&mut self.scanner);
        let mut last = None;
        scanner.scan(output, &mut |found, end| {
            let at = at + end as u64;
            match found {
                Scanned::Question { kinds, bytes } => {
                    last = Some(at);
                    self.note(kinds, bytes.into(), at, now);
                }
                Scanned::Bell => self.asides.bell(at),
                Scanned::Aside(bytes) => self.asides.push(at, bytes.into()),
            }
        });
        self.scanner = scanner;
        last
    }

    fn note(&mut self, kinds: &[QuestionKind], bytes: Bytes, at: u64, now: Instant) {
        let mut bytes = Some(bytes);
        for (place, kind) in kinds.iter().enumerate() {
            let state = match kind {
                _ if self.is_answered_elsewhere => TurnState::Settled(now),
                kind if self.has_model && kind.is_for_the_model() => TurnState::Unknown,
                kind if kind.is_for_a_terminal() => TurnState::Ask,
                _ => TurnState::Settled(now),
            };
            self.last_id += 1;
            // One has the bytes for all of its string.
            let bytes = bytes.take().unwrap_or_default();
            let (id, is_first) = (self.last_id, place == 0);
            let question = Question { id, kind: *kind, at, bytes, is_first, state, heard: Vec::new() };
            self.held += question.weight();
            self.log.push_back(question);
        }
        self.keep_bounds();
    }

    fn keep_bounds(&mut self) {
        while self.log.len() > MAX_QUESTIONS || self.held > MAX_BYTES {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.log.pop_front() else { return };
        self.held -= oldest.weight();
        if self.next == 0 {
            self.asked = None;
        }
        self.next = self.next.saturating_sub(1);
    }

    /// The first question that the model has not answered: the offset after it, and its bytes.
    pub(crate) fn question(&self) -> Option<(u64, Bytes)> {
        if !self.has_model {
            return None;
        }
        let mut log = self.log.iter().skip(self.next);
        let question = log.find(|question| matches!(question.state, TurnState::Unknown))?;
        Some((question.at, question.bytes.clone()))
    }

    /// What the model said to the question before offset `at`: its answer, which may be that there is none, or `None`.
    pub(crate) fn model_says(&mut self, at: u64, mut answer: Option<Vec<u8>>, now: Instant) {
        let is_known = answer.is_some();
        for index in self.next..self.log.len() {
            let question = &self.log[index];
            if question.at != at || !matches!(question.state, TurnState::Unknown) {
                continue;
            }
            let state = match answer.take() {
                Some(reply) => TurnState::Known(reply),
                None if !is_known && question.kind.is_for_a_terminal() => TurnState::Ask,
                None => TurnState::Settled(now),
            };
            self.set(index, state);
        }
        self.keep_bounds();
        self.settle(now);
    }

    /// There is no model any more.
    pub(crate) fn model_is_gone(&mut self, now: Instant) {
        self.has_model = false;
        self.modes = Reports::default();
        self.settle(now);
    }

    pub(crate) fn set_modes(&mut self, modes: Reports) {
        self.modes = modes;
        // The model may come late to what the program wants to know.
        self.tell_of_leaving();
    }

    fn modes(&self) -> &Reports {
        &self.modes
    }

    /// The terminal used last.
    pub(crate) fn latest(&self) -> Option<ClientId> {
        self.terminals.last().map(|terminal| terminal.client)
    }

    /// The offset after the newest bell; 0 if none was rung.
    pub(crate) fn newest_bell(&self) -> u64 {
        self.asides.newest_bell()
    }

    /// A client that may type watches with a terminal, for a stay of this number. If `is_drawn`, it can be redrawn at
    /// any time.
    pub(crate) fn joined(&mut self, client: ClientId, stay: u64, shows: Shows, is_drawn: bool) {
        self.is_left = false;
        self.terminals.retain(|terminal| terminal.client != client);
        let mut terminal = AskedTerminal {
            client,
            stay,
            shows,
            is_drawn,
            reached: 0,
            answered: 0,
            tried: 0,
            owes_status: false,
        };
        if let Shows::Output { from } = shows {
            terminal.reached = from;
        }
        self.terminals.push(terminal);
    }

    /// What a terminal is sent has changed.
    pub(crate) fn shows(&mut self, client: ClientId, shows: Shows) {
        if let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) {
            terminal.shows = shows;
        }
    }

    /// A terminal was sent its output up to this offset.
    pub(crate) fn reached(&mut self, client: ClientId, at: u64, now: Instant) {
        let next = self.log.get(self.next).map(|question| question.at);
        if let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) {
            terminal.reached = at;
        }
        if let Some(asked) = &mut self.asked
            && asked.client == client
            && !asked.is_passed
            && next.is_some_and(|next| next <= at)
        {
            asked.sent.get_or_insert(now);
        }
    }

    /// A client's stay is over; it may have begun another.
    pub(crate) fn left(&mut self, client: ClientId, stay: u64, now: Instant) {
        let is_it = |terminal: &AskedTerminal| terminal.client == client && terminal.stay == stay;
        let Some(index) = self.terminals.iter().position(is_it) else { return };
        self.terminals.remove(index);
        if self.asked.as_ref().is_some_and(|asked| asked.client == client) {
            self.asked = None;
        }
        self.passing.take_if(|passing| passing.client == client);
        self.pastes(client, false, now);
        for index in 0..self.log.len() {
            if matches!(self.log[index].state, TurnState::Overdue { client: asked, .. } if asked == client) {
                self.set(index, TurnState::Settled(now));
            }
        }
        self.is_left |= self.terminals.is_empty();
        self.tell_of_leaving();
        self.settle(now);
    }

    /// Tells a program that thinks it has the focus that its last terminal left.
    fn tell_of_leaving(&mut self) {
        let is_here = self.is_left && !self.is_answered_elsewhere;
        if is_here && self.modes.focus && std::mem::take(&mut self.is_focused) {
            self.is_told_of_leaving = true;
            self.outbox.extend_from_slice(b"\x1b[O");
        }
    }

    /// A terminal is used. Returns what the program is to be told first: that a person is back.
    fn used(&mut self, client: ClientId) -> Option<&'static [u8]> {
        if self.terminals.last().is_some_and(|last| last.client != client)
            && let Some(index) = self.terminals.iter().position(|terminal| terminal.client == client)
        {
            let terminal = self.terminals.remove(index);
            self.terminals.push(terminal);
        }
        let is_back = std::mem::take(&mut self.is_told_of_leaving) && self.modes.focus;
        self.is_focused |= is_back;
        is_back.then_some(b"\x1b[I")
    }

    /// A terminal says whether it has the focus.
    fn focus(&mut self, is_focused: bool) {
        self.is_focused = is_focused;
        self.is_told_of_leaving = false;
    }

    /// What a terminal that is sent pictures shows; `None` for one that is sent output.
    #[allow(clippy::option_option, reason = "a terminal that is sent pictures may not have got one yet")]
    fn part(&self, client: ClientId) -> Option<Option<Part>> {
        let terminal = self.terminals.iter().find(|terminal| terminal.client == client)?;
        if let Shows::Pictures(part) = terminal.shows { Some(part) } else { None }
    }

    /// The session has another size now, in rows and columns.
    pub(crate) fn resized(&mut self, rows: u16, cols: u16) {
        if self.modes.size && !self.is_answered_elsewhere && self.outbox.len() < MAX_OUTBOX {
            self.outbox.extend_from_slice(format!("\x1b[48;{rows};{cols};0;0t").as_bytes());
        }
    }

    /// Bells, clipboard writes and notifications after offset `from`, up to `to`.
    pub(crate) fn asides(&self, from: u64, to: u64) -> Vec<u8> {
        self.asides.between(from, to)
    }

    /// Who is to be passed a question.
    pub(crate) fn is_passed_to(&self) -> Option<ClientId> {
        self.passing.as_ref().map(|passing| passing.client)
    }

    /// The question that a terminal is to be passed, which counts as sent then.
    pub(crate) fn take_passed(&mut self, client: ClientId, now: Instant) -> Option<Bytes> {
        let Passing { id, bytes, .. } = self.passing.take_if(|passing| passing.client == client)?;
        if let Some(asked) = &mut self.asked
            && self.log.get(self.next).is_some_and(|question| question.id == id)
        {
            asked.sent = Some(now);
        }
        let terminal = self.terminals.iter_mut().find(|terminal| terminal.client == client)?;
        terminal.owes_status = true;
        Some([&bytes[..], THEN].concat().into())
    }

    /// What is to be typed now.
    pub(crate) fn take_outbox(&mut self, now: Instant) -> Vec<u8> {
        let outbox = std::mem::take(&mut self.outbox);
        self.settle(now);
        outbox
    }

    /// Whether something is to be typed now.
    pub(crate) fn has_outbox(&self, now: Instant) -> bool {
        !self.outbox.is_empty() && self.pasting.is_none_or(|(_, until)| now >= until)
    }

    /// A terminal is in the middle of a paste, or is not.
    fn pastes(&mut self, client: ClientId, is_pasting: bool, now: Instant) {
        if is_pasting {
            self.pasting = Some((client, now + PASTE_TIME));
        } else {
            self.pasting.take_if(|(pasting, _)| *pasting == client);
        }
    }

    /// Whether nothing is asked, and nothing to be typed.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.next >= self.log.len() && self.passing.is_none()
    }

    /// Moves on as far as time allows, and returns when to look again.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Instant> {
        self.settle(now);
        let pasted = self.pasting.filter(|_| !self.outbox.is_empty()).map(|(_, until)| until);
        pasted.into_iter().chain(self.asked.as_ref().map(Asked::deadline)).filter(|time| *time > now).min()
    }
}

impl Asked {
    fn deadline(&self) -> Instant {
        self.sent.map_or(self.since + SENT_TIME, |sent| sent + ORDER_TIME)
    }
}
