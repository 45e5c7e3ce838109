//! Whose turn it is: which question is next, who is asked, what becomes of a reply, and when one is given up.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Asked, AskedTerminal, ESCAPE_TIME, Heard, MAX_BYTES, MAX_OUTBOX, PERSON_TIME, Passing, Queries, Question,
    REPLY_TIME, ReplyVerdict, Shows, TurnState, kinds::QuestionKind,
};
use crate::ClientId;

/// How many terminals' replies are kept for one question.
const MAX_HEARD: usize = 4;

impl Queries {
    pub(super) fn set(&mut self, index: usize, state: TurnState) {
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
    pub(super) fn settle(&mut self, now: Instant) {
        self.forget(now);
        while let Some(question) = self.log.get_mut(self.next) {
            match &mut question.state {
                TurnState::Settled(_) | TurnState::Overdue { .. } => {
                    self.next += 1;
                    self.asked = None;
                }
                TurnState::Unknown if self.has_model => return,
                TurnState::Unknown if question.kind.is_for_a_terminal() => {
                    self.set(self.next, TurnState::Ask)
                }
                TurnState::Unknown => self.set(self.next, TurnState::Settled(now)),
                TurnState::Known(_) if self.outbox.len() >= MAX_OUTBOX => return,
                TurnState::Known(reply) => {
                    self.outbox.extend_from_slice(reply);
                    self.set(self.next, TurnState::Settled(now));
                }
                TurnState::Ask => {
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
            |terminal: &AskedTerminal| question.heard_from(terminal.client).map(|(_, reply)| reply.clone());
        let Some(index) = index else {
            // One that was asked in vain may have answered meanwhile.
            let state =
                self.terminals.iter().rev().find_map(heard).map_or(TurnState::Settled(now), TurnState::Known);
            self.set(self.next, state);
            return true;
        };
        if let Some(reply) = heard(&self.terminals[index]) {
            self.set(self.next, TurnState::Known(reply));
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

    /// The bytes to pass to ask the next question: none where those before it in its string were passed. `None` where
    /// it was too long to keep.
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
            self.set(self.next, TurnState::Overdue { client, until });
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
            TurnState::Overdue { client: asked.client, until }
        } else {
            TurnState::Settled(now)
        };
        self.set(self.next, state);
    }

    /// Forgets questions that no terminal will reply to any more.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.log.front_mut() {
            if let TurnState::Overdue { until: Some(until), .. } = oldest.state
                && now >= until
            {
                self.set(0, TurnState::Settled(now));
                continue;
            }
            let TurnState::Settled(since) = oldest.state else { return };
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

    /// Which question a reply of this kind answers: the one that the terminal is asked, or the first that it saw and
    /// has not answered.
    fn asked_of(&self, client: ClientId, kind: QuestionKind) -> Option<usize> {
        let terminal = self.terminals.iter().find(|terminal| terminal.client == client)?;
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.client == client);
        let next = self.log.get(self.next);
        if is_asked && next.is_some_and(|next| next.kind == kind && matches!(next.state, TurnState::Ask)) {
            return Some(self.next);
        }
        self.log.iter().position(|question| {
            question.kind == kind
                && match (&question.state, terminal.shows) {
                    (TurnState::Overdue { client: asked, .. }, _) if *asked == client => true,
                    (_, Shows::Output { from }) => question.at > from && question.id > terminal.answered,
                    _ => false,
                }
        })
    }

    /// Whether a reply of this kind is to come from this terminal.
    pub(super) fn expects(&mut self, client: ClientId, kind: QuestionKind, now: Instant) -> bool {
        self.settle(now);
        self.asked_of(client, kind).is_some()
    }

    /// Whether any reply is to come from this terminal soon.
    pub(super) fn awaits_reply(&mut self, client: ClientId, now: Instant) -> bool {
        self.settle(now);
        let Some(terminal) = self.terminals.iter().find(|terminal| terminal.client == client) else {
            return false;
        };
        terminal.owes_status
            || self.log.iter().rev().take_while(|question| question.id > terminal.answered).any(|question| {
                match question.state {
                    TurnState::Unknown | TurnState::Ask | TurnState::Known(_) => true,
                    TurnState::Settled(since) => now.saturating_duration_since(since) < ESCAPE_TIME,
                    TurnState::Overdue { .. } => false,
                }
            })
    }

    /// Whether a reply passes.
    pub(super) fn hear(
        &mut self,
        client: ClientId,
        kind: QuestionKind,
        heard: Heard<'_>,
        now: Instant,
    ) -> ReplyVerdict {
        self.settle(now);
        let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) else {
            return ReplyVerdict::default();
        };
        if terminal.owes_status && Some(kind) == QuestionKind::dsr() {
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
            return ReplyVerdict { before: Vec::new(), passes: is_told };
        };
        let is_asked = self.asked.as_ref().is_some_and(|asked| asked.client == client);
        let (reply, goes_on) = match heard {
            Heard::Whole(reply) => (reply, kind.goes_on_after(reply)),
            Heard::Beginning => (&[][..], false),
        };
        let passes = match self.log[index].state {
            TurnState::Ask if index == self.next && is_asked => true,
            TurnState::Overdue { client: asked, .. } => asked == client,
            TurnState::Ask | TurnState::Unknown => {
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
            return ReplyVerdict { before, passes };
        }
        self.verdict(false, now)
    }

    /// With what came to be due.
    fn verdict(&mut self, passes: bool, now: Instant) -> ReplyVerdict {
        self.settle(now);
        ReplyVerdict { before: std::mem::take(&mut self.outbox), passes }
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
                matches!(question.state, TurnState::Overdue { client: asked, .. } if asked == client);
            if is_its_own && !question.kind.asks_a_person() {
                self.set(before, TurnState::Settled(now));
            }
        }
        let kind = self.log[index].kind;
        let same = |question: &Question| question.at == at && question.kind == kind;
        let answered = self.log.iter().skip(index).take(count).take_while(|question| same(question)).count();
        let last = index + answered.saturating_sub(1);
        if passed {
            (index..=last).for_each(|index| self.set(index, TurnState::Settled(now)));
        }
        let id = self.log[last].id;
        if let Some(terminal) = self.terminals.iter_mut().find(|terminal| terminal.client == client) {
            terminal.answered = terminal.answered.max(id);
        }
    }

    /// Keeps a reply whose turn it is not, as far as there is room.
    fn remember(&mut self, index: usize, client: ClientId, reply: &[u8]) {
        let question = &mut self.log[index];
        if reply.is_empty() || question.heard.len() >= MAX_HEARD || self.held + reply.len() > MAX_BYTES {
            return;
        }
        self.held += reply.len();
        question.heard.push((client, reply.to_vec()));
    }
}
