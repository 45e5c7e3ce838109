//! A lost connection: another one is made, on which the session is watched on from where it was, and what was typed and
//! not answered is sent again.
//!
//! The terminal keeps its picture. Who loses the connection for longer is told so on its last line, until the next
//! screen is drawn; what they type waits, and the detach key works.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

#[cfg(feature = "nodes")]
use super::super::node;
use super::{
    super::{
        Globals,
        link::HeldLink,
        signals::{Job, JobSignals},
    },
    current::Current,
    display::Display,
    io_threads::Keys,
    notices::Notices,
    outbox::{ClientAction, Outbox},
    outcome::Outcome,
    sender::{from_here, stop},
    typing::Typing,
};
#[cfg(feature = "nodes")]
use crate::SessionId;
use crate::{
    client::{Backoff, Client, ClientError, Missed, NotResumed, Reached, resume},
    message::{Attach, AttachOptions, RequestError},
};

/// How long a lost connection is not spoken of.
const UNSAID: Duration = Duration::from_secs(1);

/// What is kept of what is typed meanwhile, in bytes.
const KEPT_KEYS: usize = 4 * 1024;

/// A server forgets a stream of input ten minutes after its last use. Who is away for this long does not know whether
/// it did, and sends nothing again.
const KNOWN_FOR: Duration = Duration::from_secs(540);

const SAID: &str = "[the connection to the server is lost; trying again; the detach key leaves]";

/// What goes on from one connection to the next.
pub(super) struct SessionLine<'a> {
    pub(super) common: &'a Globals,
    /// How to watch, as this terminal is now.
    pub(super) options: &'a dyn Fn() -> AttachOptions,
    pub(super) current: &'a Current,
    pub(super) typing: &'a Typing,
    pub(super) display: &'a Display,
    /// The terminal's title begins with the session's name.
    pub(super) names_titles: bool,
    /// What each connection redeems before it can watch.
    pub(super) link: Option<HeldLink>,
    /// A session of another node that is watched, and the node.
    #[cfg(feature = "nodes")]
    pub(super) host: Option<(SessionId, &'a str)>,
}

impl SessionLine<'_> {
    /// Waits for a connection on which the session is watched on. Or the person leaves, or there will be none.
    pub(super) async fn resume(
        &self,
        keys: &mut Option<(Keys, JobSignals)>,
        outbox: &mut Outbox,
        notices: &mut Notices,
        backoff: &mut Backoff,
    ) -> Result<Client, Outcome> {
        let lost = Instant::now();
        self.typing.lost();
        self.current.stays();
        // The terminal shows something else than the session's screen.
        let is_covered = Cell::new(false);
        let resumed = tokio::select! {
            resumed = self.connect(&is_covered, backoff) => resumed,
            left = self.meanwhile(keys, outbox, &is_covered) => Err(left),
        };
        let unsent = match resumed {
            Ok(_) if lost.elapsed() < KNOWN_FOR => 0,
            Ok(_) => self.typing.give_up(),
            Err(_) => self.typing.give_up() + outbox.bytes(),
        };
        if unsent > 0 {
            notices.push(format!("of {unsent} bytes typed into {}, some may be lost", self.current.name()));
        }
        resumed
    }

    /// Tries until it works, or it is known that it won't.
    async fn connect(&self, is_covered: &Cell<bool>, backoff: &mut Backoff) -> Result<Client, Outcome> {
        loop {
            tokio::time::sleep(backoff.pause()).await;
            if let Some(client) = self.try_to_connect(is_covered).await? {
                return Ok(client);
            }
        }
    }

    /// Connects and attaches; `None` where that may work later.
    async fn try_to_connect(&self, is_covered: &Cell<bool>) -> Result<Option<Client>, Outcome> {
        let mut client = match self.common.connect().await {
            Ok(client) => client,
            Err(error) if error.may_pass() => return Ok(None),
            Err(_) if self.watches_again().await? => return Ok(None),
            Err(error) => return Err(Outcome::NotResumed(error.to_string())),
        };
        let reached = self.current.how_far();
        if let Some(link) = self.link {
            match link.redeem(&mut client).await {
                Ok(_) => {}
                Err(ClientError::Refused(refused)) => return Err(self.refused(refused, reached)),
                Err(_) => return Ok(None),
            }
        }
        let attach = Attach::new(self.current.session().into(), (self.options)());
        let attach = from_here(attach, client.is_local());
        // A file has its own beginning.
        let missed = if self.display.is_terminal() { Missed::Screen } else { Missed::Nothing };
        match resume(&mut client, attach, reached, missed, is_covered.get()).await {
            Ok(_) => Ok(Some(client)),
            Err(NotResumed::Passing) => Ok(None),
            Err(NotResumed::Gap(bytes)) => {
                Err(Outcome::NotResumed(format!("the next {bytes} bytes are no longer held")))
            }
            Err(NotResumed::Refused(RequestError::UnknownSession(_))) if self.watches_again().await? => {
                Ok(None)
            }
            Err(NotResumed::Refused(refused)) => Err(self.refused(refused, reached)),
        }
    }

    /// A server that was killed leaves nothing of a session of another node. Has the node provide it to the next one,
    /// which is started if there is none. Returns whether there is such a session.
    #[cfg(feature = "nodes")]
    async fn watches_again(&self) -> Result<bool, Outcome> {
        let session = self.current.session();
        let Some((_, host)) = self.host.filter(|(of, _)| *of == session) else { return Ok(false) };
        match node::watch(self.common, host, &session.into(), false).await {
            Ok(_) => Ok(true),
            Err(error) => Err(Outcome::NotResumed(format!("{error:#}"))),
        }
    }

    #[cfg(not(feature = "nodes"))]
    #[expect(clippy::unused_async, reason = "as with nodes")]
    async fn watches_again(&self) -> Result<bool, Outcome> {
        Ok(false)
    }

    /// How watching ends, where the session can't be watched on.
    fn refused(&self, refused: RequestError, reached: Reached) -> Outcome {
        let why = match refused {
            RequestError::SessionEnded { status, .. } if self.display.is_terminal() => {
                return Outcome::Ended(status);
            }
            RequestError::SessionEnded { status, .. } => format!("the session ended meanwhile: {status}"),
            RequestError::UnknownSession(_) => format!("session {} is gone", self.current.name()),
            other => other.to_string(),
        };
        if self.display.is_terminal() {
            return Outcome::NotResumed(why);
        }
        Outcome::NotResumed(format!("{why}; what it printed after byte {} is missing here", reached.offset()))
    }

    /// Sees to the person while there is no connection; where there is none, to the reader of the output. Returns how
    /// they left.
    async fn meanwhile(
        &self,
        keys: &mut Option<(Keys, JobSignals)>,
        outbox: &mut Outbox,
        is_covered: &Cell<bool>,
    ) -> Outcome {
        let Some((Keys { typed }, signals)) = keys else {
            if let Some(room) = self.display.room().await {
                room.closed().await;
            }
            return Outcome::NobodyReads;
        };
        let (most, say_at) = (outbox.bytes() + KEPT_KEYS, tokio::time::Instant::now() + UNSAID);
        let (mut is_said, mut rings) = (false, false);
        loop {
            let gives_up_in = outbox.gives_up_in(Instant::now());
            let say = async {
                tokio::time::sleep_until(say_at).await;
                self.display.room().await
            };
            let leaves = tokio::select! {
                keys = typed.recv() => {
                    let Some(keys) = keys else { return Outcome::Detached };
                    let leaves = leaves(outbox, |outbox| outbox.take(&keys, Instant::now()));
                    rings |= outbox.drop_beyond(most);
                    leaves
                }
                () = tokio::time::sleep(gives_up_in.unwrap_or_default()), if gives_up_in.is_some() => {
                    leaves(outbox, |outbox| outbox.give_up(Instant::now()))
                }
                room = say, if !is_said => {
                    is_said = true;
                    is_covered.set(true);
                    room.into_iter().for_each(|room| self.display.say(room, SAID));
                    false
                }
                room = self.display.room(), if rings => {
                    rings = false;
                    room.into_iter().for_each(|room| room.show("\x07".into()));
                    false
                }
                job = signals.next() => {
                    is_covered.set(true);
                    match job {
                        Job::Resized => {}
                        Job::Stopped => if stop(self.display, signals).await { self.display.go_on() },
                        Job::Continued => self.display.go_on(),
                    }
                    false
                }
            };
            if leaves {
                return Outcome::Detached;
            }
        }
    }
}

/// Whether what is done to the outbox leaves the session. There is no other one to go to now: what was typed after that
/// key is for this one.
fn leaves(outbox: &mut Outbox, take: impl FnOnce(&mut Outbox) -> Option<ClientAction>) -> bool {
    let mut action = take(outbox);
    while action == Some(ClientAction::Next) {
        action = outbox.resume(Instant::now());
    }
    action == Some(ClientAction::Detach)
}
