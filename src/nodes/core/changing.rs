//! What is done once at another node, however often it is asked for: sessions that are created there, and changes that
//! can't be made twice.
//!
//! Each request names the run of the host that it is for, and that run remembers what it did lately, by who asked and
//! under which number. So a request that is said again, or comes twice, is answered as at first.

use std::{collections::VecDeque, time::Duration};

use super::{LocalCommand, NodeCore, Purpose, ReplyTo, Report, nobody};
use crate::{
    message::SessionChange,
    nodes::{
        message::{Answer, HostChange, Incarnation, MAX_CHANGE, Refusal, WriteRequest, encode, encoded_len},
        subject::{Class, NodeName},
    },
};

/// How long an answer is waited for. A program may take ten seconds to start.
const CHANGE_TIME: Duration = Duration::from_secs(15);

/// Requests that are remembered, and for how long: well after the last time that one is said.
const MAX_REMEMBERED: usize = 1024;
const ANSWER_KEPT: Duration = Duration::from_secs(60);

/// The requests that came lately, each with its answer once there is one.
#[derive(Debug, Default)]
pub(super) struct Remembered(VecDeque<(Duration, ReplyTo, Option<Answer>)>);

impl Remembered {
    fn find(&mut self, reply: &ReplyTo) -> Option<&mut Option<Answer>> {
        let found = self.0.iter_mut().find(|(_, asked, _)| asked == reply);
        found.map(|(_, _, answer)| answer)
    }

    /// Whether there was room for another one.
    fn begin(&mut self, now: Duration, reply: &ReplyTo) -> bool {
        while self.0.front().is_some_and(|(asked, ..)| now >= *asked + ANSWER_KEPT) {
            self.0.pop_front();
        }
        let has_room = self.0.len() < MAX_REMEMBERED;
        if has_room {
            self.0.push_back((now, reply.clone(), None));
        }
        has_room
    }

    fn answered(&mut self, reply: &ReplyTo, answer: &Answer) {
        if let Some(of) = self.find(reply) {
            *of = Some(answer.clone());
        }
    }
}

impl NodeCore {
    /// Asks a node to change something. Brings [`Report::Changed`] of the number that this returns.
    ///
    /// # Errors
    /// [`Refusal`]: it is this node, or not known; or it is too much for one message, or too much is asked already.
    pub(crate) fn change(
        &mut self,
        now: Duration,
        host: &NodeName,
        change: HostChange,
    ) -> Result<u64, Refusal> {
        if *host == self.name {
            return Err(Refusal::failed("it is this machine: leave out its node's name"));
        }
        let run = self.run_of(host).ok_or_else(|| nobody(host))?;
        let most = if self.quick.is_up { MAX_CHANGE.min(self.quick.most) } else { MAX_CHANGE };
        let bytes = encoded_len(&change);
        if bytes > most {
            let why = format!("its command and variables take {bytes} bytes, and {most} can be sent");
            return Err(Refusal::failed(&why));
        }
        let request = WriteRequest::Once { run, change };
        let number = self.draw_number();
        let message = (host.clone(), Class::Write, encode(&request));
        let asked = self.requests.ask(
            now,
            number,
            message,
            Some(now + CHANGE_TIME),
            Purpose::Change { change: number, host: host.clone() },
        );
        asked.map(|()| number).map_err(|_| Refusal::TooMany)
    }

    fn run_of(&self, host: &NodeName) -> Option<Incarnation> {
        self.nodes().find(|(name, _)| *name == host).map(|(_, known)| known.beat.incarnation)
    }

    /// What was asked to be changed is answered.
    pub(super) fn changed(&mut self, change: u64, answer: Answer) {
        let result = match answer {
            Answer::Created { session } => Ok(Some(session)),
            Answer::Refused(why) => Err(why),
            _ => Ok(None),
        };
        self.reports.push_back(Report::Changed { change, result });
    }

    /// Nobody answered: it may be done or not.
    pub(super) fn change_unanswered(&mut self, change: u64, host: &NodeName) {
        let why = format!("{host} does not answer; once it does, `list --nodes` shows whether it was done");
        self.changed(change, Answer::Refused(Refusal::failed(&why)));
    }

    /// Changes something for another node, once.
    pub(super) fn change_once(
        &mut self,
        now: Duration,
        reply: ReplyTo,
        (run, change): (Incarnation, HostChange),
    ) {
        if let Some(answer) = self.remembered.find(&reply) {
            // While it is being done, its answer will come.
            if let Some(answer) = answer.clone() {
                self.answer(&reply, &answer);
            }
            return;
        }
        let refused = match &change {
            _ if run != self.incarnation => {
                let why = "its node was started again; `list --nodes` shows whether it was done before";
                Some(Refusal::failed(why))
            }
            HostChange::Session(_, SessionChange::Size { .. } | SessionChange::Signal(_))
            | HostChange::Create(_) => None,
            HostChange::Session(..) => Some(Refusal::failed("only who is there may do that")),
        };
        let refused = refused.or_else(|| (!self.remembered.begin(now, &reply)).then_some(Refusal::TooMany));
        if let Some(why) = refused {
            return self.answer(&reply, &Answer::Refused(why));
        }
        self.commands.push_back(match change {
            HostChange::Create(create) => LocalCommand::Create { reply, create },
            HostChange::Session(session, change) => LocalCommand::Change { reply, session, change },
        });
    }

    /// Something that was asked for is done, or not.
    pub(super) fn done(&mut self, reply: &ReplyTo, answer: &Answer) {
        self.remembered.answered(reply, answer);
        self.answer(reply, answer);
    }
}
