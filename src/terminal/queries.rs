//! Who answers what the program asks its terminal.
//!
//! A program that asks expects one answer, in the order of its questions; and every client that watches it is a terminal
//! that gives one. Here each question is noted as it is printed, in a log, and its answer is typed when all before it
//! are. The model of the screen answers what it knows, where it stands right after the question, attached or not. What
//! it does not know, one terminal is asked: the one used last of those that may type, whatever its size. Replies of
//! others, and to what the model answered, never reach the program. Keys, mouse and pastes pass byte for byte, in order.
//!
//! Terminals answer in order. So a terminal that answers a later question has no answer to those before: programs often
//! ask for what few terminals know, and then for what all do. Time counts from when the terminal was sent the question.
//! After [`ORDER_TIME`] another one is asked; the only one there is, and one that may have to ask its person, may answer
//! later all the same, but the questions behind no longer wait for it. A terminal that does not show the program's
//! output, or skipped the question, is passed it beside its picture.
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
    kinds::Kind,
    scanner::{Found, Scanner},
};
pub(crate) use self::{
    modes::Modes,
    mouse::Part,
    typed::{Passed, Typed},
};
use crate::ClientId;

mod asides;
mod control;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod kinds;
mod modes;
mod mouse;
mod scanner;
#[cfg(test)]
mod tests;
mod typed;

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
    terminals: Vec<Terminal>,
    /// Who is asked the next question.
    asked: Option<Asked>,
    /// What a terminal has yet to be passed.
    passing: Option<Passing>,
    /// To be typed.
    outbox: Vec<u8>,
    has_model: bool,
    modes: Modes,
    /// The last terminal left, and none has come since.
    is_left: bool,
    /// What the program was told last of the focus, and whether that was because its last terminal left.
    is_focused: bool,
    is_told_of_leaving: bool,
}

#[derive(Debug)]
struct Question {
    id: u64,
    kind: Kind,
    /// The offset after it. Those of one string have the same.
    at: u64,
    /// As printed; empty where it was too long to keep, and of all but the first of a string.
    bytes: Bytes,
    is_first: bool,
    state: State,
    /// What terminals replied before their turn.
    heard: Vec<(ClientId, Vec<u8>)>,
}

#[derive(Debug)]
enum State {
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
struct Terminal {
    client: ClientId,
    stay: u64,
    shows: Shows,
    /// It can be drawn anew at any time, and so be passed something.
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
struct Verdict {
    /// What is due before it.
    before: Vec<u8>,
    passes: bool,
}

impl Question {
    fn weight(&self) -> usize {
        let known = if let State::Known(reply) = &self.state { reply.len() } else { 0 };
        self.bytes.len() + known + self.heard.iter().map(|(_, reply)| reply.len()).sum::<usize>()
    }

    fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled(_))
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
            has_model,
            modes: Modes::default(),
            is_left: false,
            is_focused: true,
            is_told_of_leaving: false,
        }
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
                Found::Question { kinds, bytes } => {
                    last = Some(at);
                    self.note(kinds, bytes.into(), at, now);
                }
                Found::Bell => self.asides.bell(at),
                Found::Aside(bytes) => self.asides.push(at, bytes.into()),
            }
        });
        self.scanner = scanner;
        last
    }

    fn note(&mut self, kinds: &[Kind], bytes: Bytes, at: u64, now: Instant) {
        let mut bytes = Some(bytes);
        for (place, kind) in kinds.iter().enumerate() {
            let state = match kind {
                kind if self.has_model && kind.is_for_the_model() => State::Unknown,
                kind if kind.is_for_a_terminal() => State::Ask,
                _ => State::Settled(now),
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
        let question = log.find(|question| matches!(question.state, State::Unknown))?;
        Some((question.at, question.bytes.clone()))
    }

    /// What the model said to the question before offset `at`: its answer, which may be that there is none, or `None`.
    pub(crate) fn model_says(&mut self, at: u64, mut answer: Option<Vec<u8>>, now: Instant) {
        let is_known = answer.is_some();
        for index in self.next..self.log.len() {
            let question = &self.log[index];
            if question.at != at || !matches!(question.state, State::Unknown) {
                continue;
            }
            let state = match answer.take() {
                Some(reply) => State::Known(reply),
                None if !is_known && question.kind.is_for_a_terminal() => State::Ask,
                None => State::Settled(now),
            };
            self.set(index, state);
        }
        self.keep_bounds();
        self.settle(now);
    }

    /// There is no model any more.
    pub(crate) fn model_is_gone(&mut self, now: Instant) {
        self.has_model = false;
        self.modes = Modes::default();
        self.settle(now);
    }

    pub(crate) fn set_modes(&mut self, modes: Modes) {
        self.modes = modes;
        // The model may come late to what the program wants to know.
        self.tell_of_leaving();
    }

    fn modes(&self) -> &Modes {
        &self.modes
    }

    /// A client that may type watches with a terminal, for a stay of this number. If `is_drawn`, it can be drawn anew at
    /// any time.
    pub(crate) fn joined(&mut self, client: ClientId, stay: u64, shows: Shows, is_drawn: bool) {
        self.is_left = false;
        self.terminals.retain(|terminal| terminal.client != client);
        let mut terminal =
            Terminal { client, stay, shows, is_drawn, reached: 0, answered: 0, tried: 0, owes_status: false };
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
        let is_it = |terminal: &Terminal| terminal.client == client && terminal.stay == stay;
        let Some(index) = self.terminals.iter().position(is_it) else { return };
        self.terminals.remove(index);
        if self.asked.as_ref().is_some_and(|asked| asked.client == client) {
            self.asked = None;
        }
        self.passing.take_if(|passing| passing.client == client);
        for index in 0..self.log.len() {
            if matches!(self.log[index].state, State::Overdue { client: asked, .. } if asked == client) {
                self.set(index, State::Settled(now));
            }
        }
        self.is_left |= self.terminals.is_empty();
        self.tell_of_leaving();
        self.settle(now);
    }

    /// Tells a program that thinks it has the focus that its last terminal left.
    fn tell_of_leaving(&mut self) {
        if self.is_left && self.modes.focus && std::mem::take(&mut self.is_focused) {
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
        if self.modes.size && self.outbox.len() < MAX_OUTBOX {
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

    /// Whether something is to be typed.
    pub(crate) fn has_outbox(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Moves on as far as time allows, and returns when to look again.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Instant> {
        self.settle(now);
        Some(self.asked.as_ref()?.deadline())
    }

    fn set(&mut self, index: usize, state: State) {
        let Some(question) = self.log.get_mut(index) else { return };
        self.held -= question.weight();
        question.state = state;
        if question.is_settled() {
            question.bytes = Bytes::new();
            question.heard = Vec::new();
        }
        self.held += question.weight();
    }

    /// Settles what can be, in order.
    fn settle(&mut self, now: Instant) {
        self.forget(now);
        while let Some(question) = self.log.get_mut(self.next) {
            match &mut question.state {
                State::Settled(_) | State::Overdue { .. } => {
                    self.next += 1;
                    self.asked = None;
                }
                State::Unknown if self.has_model => return,
                State::Unknown if question.kind.is_for_a_terminal() => self.set(self.next, State::Ask),
                State::Unknown => self.set(self.next, State::Settled(now)),
                State::Known(_) if self.outbox.len() >= MAX_OUTBOX => return,
                State::Known(reply) => {
                    self.outbox.extend_from_slice(reply);
                    self.set(self.next, State::Settled(now));
                }
                State::Ask => {
                    if let Some(asked) = &self.asked {
                        if now < asked.deadline() {
                            return;
                        }
                        self.give_up_waiting(now);
                    } else if !self.ask(now) {
                        return;
                    }
                }
            }
        }
    }

    /// Chooses who is to answer the next question. Returns whether that settled it.
    fn ask(&mut self, now: Instant) -> bool {
        let Some(question) = self.log.get(self.next) else { return true };
        let (id, at) = (question.id, question.at);
        let index = self.terminals.iter().rposition(|terminal| {
            let sees_it = matches!(terminal.shows, Shows::Output { from } if from < at);
            let has_no_answer =
                sees_it && terminal.answered >= id && question.heard_from(terminal.client).is_none();
            let can_be_asked = sees_it || terminal.is_drawn && self.bytes_to_pass().is_some();
            terminal.tried != id && !has_no_answer && can_be_asked
        });
        let heard =
            |terminal: &Terminal| question.heard_from(terminal.client).map(|(_, reply)| reply.clone());
        let Some(index) = index else {
            // One that was asked in vain may have answered meanwhile.
            let state = self.terminals.iter().rev().find_map(heard).map_or(State::Settled(now), State::Known);
            self.set(self.next, state);
            return true;
        };
        if let Some(reply) = heard(&self.terminals[index]) {
            self.set(self.next, State::Known(reply));
            return true;
        }
        let terminal = &self.terminals[index];
        let sees_it = matches!(terminal.shows, Shows::Output { from } if from < at);
        let mut asked = Asked { client: terminal.client, since: now, sent: None, is_passed: !sees_it };
        if sees_it {
            asked.sent = (terminal.reached >= at).then_some(now);
        } else if let Some(bytes) = self.bytes_to_pass() {
            if bytes.is_empty() {
                // It was passed with another of its string.
                asked.sent = Some(now);
            } else {
                self.passing = Some(Passing { client: terminal.client, id, bytes });
            }
        }
        self.asked = Some(asked);
        false
    }

    /// The bytes to pass to ask the next question: none where those before it in its string were passed. `None` where it
    /// was too long to keep.
    fn bytes_to_pass(&self) -> Option<Bytes> {
        let question = self.log.get(self.next)?;
        (!question.bytes.is_empty() || !question.is_first).then(|| question.bytes.clone())
    }

    /// The terminal that is asked did not answer in time.
    fn give_up_waiting(&mut self, now: Instant) {
        let (Some(asked), Some(question)) = (self.asked.take(), self.log.get(self.next)) else { return };
        let (client, id) = (asked.client, question.id);
        let is_only = self.terminals.len() == 1;
        if is_only || question.kind.asks_a_person() && asked.sent.is_some() {
            let until = (!is_only).then(|| asked.sent.unwrap_or(now) + PERSON_TIME);
            self.set(self.next, State::Overdue { client, until });
            return;
        }
        self.passing.take_if(|passing| passing.client == client);
        if let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) {
            terminal.tried = id;
        }
    }

    /// The terminal that is asked has no answer, unless its person is asked.
    fn give_up(&mut self, now: Instant) {
        let (Some(asked), Some(question)) = (self.asked.take(), self.log.get(self.next)) else { return };
        let state = if question.kind.asks_a_person() {
            let until = (self.terminals.len() > 1).then(|| asked.sent.unwrap_or(now) + PERSON_TIME);
            State::Overdue { client: asked.client, until }
        } else {
            State::Settled(now)
        };
        self.set(self.next, state);
    }

    /// Forgets questions that no terminal will reply to any more.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.log.front_mut() {
            if let State::Overdue { until: Some(until), .. } = oldest.state
                && now >= until
            {
                self.set(0, State::Settled(now));
                continue;
            }
            let State::Settled(since) = oldest.state else { return };
            let id = oldest.id;
            let all_replied = self
                .terminals
                .iter()
                .all(|terminal| matches!(terminal.shows, Shows::Pictures(_)) || terminal.answered >= id);
            if !all_replied && now.saturating_duration_since(since) < REPLY_TIME {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Which question a reply of this kind answers.
    fn asked_of(&self, client: ClientId, kind: Kind) -> Option<usize> {
        let terminal = self.terminals.iter().find(|terminal| terminal.client == client)?;
        self.log.iter().enumerate().position(|(index, question)| {
            let is_asked = self.asked.as_ref().is_some_and(|asked| asked.client == client && asked.is_passed);
            question.kind == kind
                && match (&question.state, terminal.shows) {
                    (State::Overdue { client: asked, .. }, _) if *asked == client => true,
                    (State::Ask, _) if index == self.next && is_asked => true,
                    (_, Shows::Output { from }) => question.at > from && question.id > terminal.answered,
                    _ => false,
                }
        })
    }

    /// Whether a reply of this kind is to come from this terminal.
    fn expects(&mut self, client: ClientId, kind: Kind, now: Instant) -> bool {
        self.settle(now);
        self.asked_of(client, kind).is_some()
    }

    /// Whether any reply is to come from this terminal soon.
    fn awaits_reply(&mut self, client: ClientId, now: Instant) -> bool {
        self.settle(now);
        let Some(terminal) = self.terminals.iter().find(|terminal| terminal.client == client) else {
            return false;
        };
        terminal.owes_status
            || self.log.iter().rev().take_while(|question| question.id > terminal.answered).any(|question| {
                match question.state {
                    State::Unknown | State::Ask | State::Known(_) => true,
                    State::Settled(since) => now.saturating_duration_since(since) < ESCAPE_TIME,
                    State::Overdue { .. } => false,
                }
            })
    }

    /// Whether a reply passes.
    fn hear(&mut self, client: ClientId, kind: Kind, heard: Heard<'_>, now: Instant) -> Verdict {
        self.settle(now);
        let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) else {
            return Verdict::default();
        };
        if terminal.owes_status && Some(kind) == Kind::dsr() {
            terminal.owes_status = false;
            if self.asked.as_ref().is_some_and(|asked| asked.client == client && asked.is_passed) {
                self.give_up(now);
            }
            return self.verdict(false, now);
        }
        let Some(index) = self.asked_of(client, kind) else {
            let is_last = self.terminals.last().is_some_and(|last| last.client == client);
            let is_told = kind.is_theme() && self.modes.theme && is_last
                || kind.is_clipboard_packet() && self.modes.pastes;
            return Verdict { before: Vec::new(), passes: is_told };
        };
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.client == client);
        let (reply, goes_on) = match heard {
            Heard::Whole(reply) => (reply, kind.goes_on_after(reply)),
            Heard::Beginning => (&[][..], false),
        };
        let passes = match self.log[index].state {
            State::Ask if index == self.next && is_asked => true,
            State::Overdue { client: asked, .. } => asked == client,
            State::Ask | State::Unknown => {
                self.remember(index, client, reply);
                false
            }
            _ => false,
        };
        let before = if passes { std::mem::take(&mut self.outbox) } else { Vec::new() };
        if !goes_on {
            self.answered(client, index, kind.answers(reply), passes, now);
        } else if passes && let Some(asked) = &mut self.asked {
            asked.sent = Some(now);
        }
        if passes {
            self.settle(now);
            return Verdict { before, passes };
        }
        self.verdict(false, now)
    }

    /// With what came to be due.
    fn verdict(&mut self, passes: bool, now: Instant) -> Verdict {
        self.settle(now);
        Verdict { before: std::mem::take(&mut self.outbox), passes }
    }

    /// A terminal answered this question, and as many of its string as its reply answers. It has no answer to those
    /// before.
    fn answered(&mut self, client: ClientId, index: usize, count: usize, passed: bool, now: Instant) {
        let at = self.log[index].at;
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.client == client);
        if is_asked && self.next < index {
            self.give_up(now);
        }
        for before in 0..index {
            let question = &self.log[before];
            let is_its_own =
                matches!(question.state, State::Overdue { client: asked, .. } if asked == client);
            if is_its_own && !question.kind.asks_a_person() {
                self.set(before, State::Settled(now));
            }
        }
        let kind = self.log[index].kind;
        let same = |question: &Question| question.at == at && question.kind == kind;
        let answered = self.log.iter().skip(index).take(count).take_while(|question| same(question)).count();
        let last = index + answered.saturating_sub(1);
        if passed {
            (index..=last).for_each(|index| self.set(index, State::Settled(now)));
        }
        let id = self.log[last].id;
        if let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) {
            terminal.answered = terminal.answered.max(id);
        }
    }

    /// Keeps a reply whose turn it is not, as far as there is room.
    fn remember(&mut self, index: usize, client: ClientId, reply: &[u8]) {
        /// How many terminals' replies are kept for one question.
        const MAX_HEARD: usize = 4;
        let question = &mut self.log[index];
        if reply.is_empty() || question.heard.len() >= MAX_HEARD || self.held + reply.len() > MAX_BYTES {
            return;
        }
        self.held += reply.len();
        question.heard.push((client, reply.to_vec()));
    }
}

impl Asked {
    fn deadline(&self) -> Instant {
        self.sent.map_or(self.since + SENT_TIME, |sent| sent + ORDER_TIME)
    }
}
