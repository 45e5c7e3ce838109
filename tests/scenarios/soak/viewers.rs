//! Clients that connect, attach, read, stall, attach elsewhere, detach, and go, with or without a word.

use std::time::Duration;

use fugue_server::{
    Client, TerminalSize,
    client::{ClientError, Incoming},
    message::{Access, AttachOptions, ClientMessage, CloseReason, OnLag, Reply, RequestError, StartAt},
};
use tokio::time::timeout;

use super::{
    round::{Live, Stage, Tally, patiently},
    stream::Seen,
};
use crate::{random::Random, support::attach_id};

pub(super) async fn come_and_go(stage: Stage, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    let mut viewer = None;
    while !stage.is_over() {
        let Some(live) = stage.any(&mut random) else {
            stage.stall(&mut random, 5).await;
            continue;
        };
        let mut staying = match viewer.take() {
            Some(viewer) => viewer,
            None => {
                tally.clients += 1;
                Viewer { client: stage.connect().await, seen: None, view: view(&mut random) }
            }
        };
        match staying.stay(&stage, live, &mut random, &mut tally).await {
            Ok(()) => viewer = staying.leave(&mut random, &mut tally).await,
            Err(()) => {
                // It asked for that.
                assert_eq!(staying.view.on_lag, OnLag::Disconnect);
                tally.closed += 1;
                staying.count(&mut tally);
            }
        }
    }
    tally
}

struct Viewer {
    client: Client,
    /// What it has seen of the session it watches, and how it watches it, or watched the last one.
    seen: Option<Seen>,
    view: AttachOptions,
}

fn view(random: &mut Random) -> AttachOptions {
    let start = match random.below(4) {
        0 => StartAt::Screen,
        1 => StartAt::Now,
        2 => StartAt::Oldest,
        _ => StartAt::Last(random.below(1 << 20)),
    };
    // Few are lossless: while one of those stands still, nobody falls behind.
    let on_lag = match random.below(10) {
        0 => OnLag::Lossless,
        1..4 => OnLag::Disconnect,
        _ => OnLag::Resync,
    };
    let mut view = AttachOptions::new(start, on_lag);
    if random.one_in(4) {
        let (cols, rows) = (20 + random.below(150) as u16, 5 + random.below(60) as u16);
        view.size = Some(TerminalSize::new(cols, rows).unwrap());
    }
    view.access = random.of(&[Access::ReadWrite, Access::ReadOnly]);
    view
}

impl Viewer {
    /// Watches for a while. An error says that the server closed the connection.
    async fn stay(
        &mut self,
        stage: &Stage,
        live: Live,
        random: &mut Random,
        tally: &mut Tally,
    ) -> Result<(), ()> {
        self.attach(live, view(random), tally).await?;
        // It goes when it has enough, or when nothing comes for a while.
        let enough = random.below(1 << 20);
        let idle = Duration::from_millis(10 + random.below(300));
        while self.seen.as_ref().is_some_and(|seen| seen.bytes < enough) && !stage.is_over() {
            let Ok(next) = timeout(idle, self.client.next()).await else { break };
            self.take(next, tally)?;
            if random.one_in(20) {
                tally.stalls += 1;
                stage.stall(random, 1500).await;
            }
        }
        if random.one_in(40) {
            // Longer than a session waits for it.
            tally.stalls += 1;
            stage.stall(random, 12_000).await;
        }
        Ok(())
    }

    /// Attaches from wherever it is. What comes before the answer is the old session's, and after it the new one's.
    async fn attach(&mut self, live: Live, view: AttachOptions, tally: &mut Tally) -> Result<(), ()> {
        let sent = patiently(self.client.send(&attach_id(live.session, view))).await;
        let Ok(request) = sent else { return Err(()) };
        loop {
            match patiently(self.client.next()).await {
                Ok(Incoming::Reply { request: to, answer }) if to == request => match answer {
                    Ok(Reply::Attached(to)) => {
                        self.count(tally);
                        tally.stays += 1;
                        self.view = view;
                        self.seen = Some(Seen::from(live.tag, to.start, view.size.is_some()));
                        return Ok(());
                    }
                    Err(RequestError::SessionEnded { .. } | RequestError::UnknownSession(_)) => return Ok(()),
                    other => panic!("{other:?}"),
                },
                other => self.take(other, tally)?,
            }
        }
    }

    /// Takes in one thing from the server.
    fn take(&mut self, next: Result<Incoming, ClientError>, tally: &mut Tally) -> Result<(), ()> {
        match next {
            Ok(incoming) => match &mut self.seen {
                Some(seen) => {
                    if seen.check(incoming).is_some() {
                        self.count(tally);
                    }
                }
                None => {
                    let is_output = matches!(incoming, Incoming::Output { .. } | Incoming::Screen { .. });
                    assert!(!is_output, "output of a session that it does not watch: {incoming:?}");
                }
            },
            Err(ClientError::Closed(CloseReason::FellBehind { .. })) => return Err(()),
            // One that stands still for longer than a second is not waited for, and not told why.
            Err(ClientError::Lost) if self.view.on_lag == OnLag::Disconnect => return Err(()),
            Err(other) => panic!("{other:?} after {:?}, {:?}", self.seen, self.view),
        }
        Ok(())
    }

    /// Goes without a word, detaches, or is about to attach elsewhere.
    async fn leave(mut self, random: &mut Random, tally: &mut Tally) -> Option<Self> {
        match random.below(4) {
            0 => Some(self),
            1 => {
                let Ok(detach) = patiently(self.client.send(&ClientMessage::Detach)).await else {
                    self.count(tally);
                    return None;
                };
                loop {
                    match patiently(self.client.next()).await {
                        Ok(Incoming::Reply { request, answer }) if request == detach => {
                            assert_eq!(answer, Ok(Reply::Detached));
                            self.count(tally);
                            return Some(self);
                        }
                        other => {
                            if self.take(other, tally).is_err() {
                                assert_eq!(self.view.on_lag, OnLag::Disconnect);
                                tally.closed += 1;
                                self.count(tally);
                                return None;
                            }
                        }
                    }
                }
            }
            _ => {
                self.count(tally);
                None
            }
        }
    }

    /// Adds what it saw of the session it leaves.
    fn count(&mut self, tally: &mut Tally) {
        if let Some(seen) = self.seen.take() {
            tally.verified += seen.bytes;
            tally.gaps += seen.gaps;
            tally.screens += seen.screens;
        }
    }
}
