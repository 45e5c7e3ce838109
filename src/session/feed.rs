//! Sessions without a program: what an embedder prints is what the clients see.
//!
//! Everything else is as it is with a program: the history and exact replay, the pace, the model of the screen, lag and
//! its choices. There is no terminal to type into or to size.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Manager, Session, printer::Printer};
use crate::{
    SessionId, SessionName, TerminalSize,
    message::{ExitStatus, Pace, RequestError},
};

/// Prints that wait to be taken, before [`Feed::print`] waits. Under load they are gathered into bursts.
const QUEUED: usize = 32;

/// The most of a burst, in bytes, as of a turn of the pump.
const BURST_BYTES: u64 = 1024 * 1024;

/// The most in one message.
const CHUNK: usize = 64 * 1024;

/// Starts [`Feed`]s on a server, from beside it: see [`Server::feeds`](crate::Server::feeds).
#[derive(Clone, Debug)]
pub struct Feeds {
    manager: Arc<Manager>,
}

impl Feeds {
    pub(crate) fn new(manager: Arc<Manager>) -> Self {
        Self { manager }
    }

    /// Starts a session under a free name, to be printed to through the [`Feed`].
    ///
    /// # Errors
    /// [`RequestError::NameTaken`]; [`RequestError::ShuttingDown`] once the server has been told to stop.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(&self, name: SessionName, size: TerminalSize, pace: Pace) -> Result<Feed, RequestError> {
        let (output, queue) = mpsc::channel(QUEUED);
        let session = self.manager.create_feed(&name, size, pace, queue)?;
        Ok(Feed { session: session.id(), hang_up: session.hang_up.clone(), output })
    }
}

/// A session that its embedder prints to. It ends when this is dropped.
#[derive(Debug)]
pub struct Feed {
    session: SessionId,
    hang_up: CancellationToken,
    output: mpsc::Sender<Fed>,
}

/// The session was killed, or the server is shutting down; the output is handed back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct FeedClosed(pub Bytes);

/// What a feed's task is told.
#[derive(Debug)]
pub(super) enum Fed {
    Output(Bytes),
    Ended(ExitStatus),
}

impl Feed {
    /// The session's id.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Prints `output`, of any size, after everything printed before. Waits while the clients have no room for more, as
    /// the session's pace says.
    ///
    /// The history holds what the handle holds: a small slice of a large buffer keeps all of that alive.
    ///
    /// # Cancel safety
    /// Cancel safe: `output` is printed whole or not at all.
    ///
    /// # Errors
    /// [`FeedClosed`] once somebody killed the session.
    pub async fn print(&self, output: Bytes) -> Result<(), FeedClosed> {
        let refused = match self.output.send(Fed::Output(output)).await {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        match refused.0 {
            Fed::Output(output) => Err(FeedClosed(output)),
            Fed::Ended(_) => Err(FeedClosed(Bytes::new())),
        }
    }

    /// Completes when somebody kills the session, or the server shuts down.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn killed(&self) {
        self.hang_up.cancelled().await;
    }

    /// Ends the session after everything printed before, and tells the clients this status. Dropping the feed
    /// ends it with [`ExitStatus::Unknown`].
    pub async fn end(self, status: ExitStatus) {
        // An error says that it was killed; then it has ended.
        let _ = self.output.send(Fed::Ended(status)).await;
    }
}

/// What a feed has in the place of a pump.
pub(super) struct Feeder {
    session: Arc<Session>,
    printer: Printer,
    queue: mpsc::Receiver<Fed>,
    /// What was taken out of the queue and is not printed yet.
    left: Bytes,
    burst: Vec<Bytes>,
}

impl Feeder {
    pub(super) fn new(session: Arc<Session>, printer: Printer, queue: mpsc::Receiver<Fed>) -> Self {
        Self { session, printer, queue, left: Bytes::new(), burst: Vec::new() }
    }

    /// Prints until the feed ends or is killed; returns how, and what it printed with.
    pub(super) async fn run(mut self) -> (ExitStatus, Printer) {
        let session = Arc::clone(&self.session);
        let status = tokio::select! {
            biased;
            status = self.print_all() => status,
            () = session.hang_up.cancelled() => {
                // What was taken from the embedder is printed whoever has room, as a program's last words are.
                self.queue.close();
                while self.gather(u64::MAX).is_none() {}
                ExitStatus::Unknown
            }
        };
        (status, self.printer)
    }

    /// # Cancel safety
    /// Cancel safe: what was taken out of the queue is printed or left.
    async fn print_all(&mut self) -> ExitStatus {
        let session = Arc::clone(&self.session);
        loop {
            let room = session.history.room();
            if room == 0 {
                session.waiting.wait().await;
                continue;
            }
            if self.left.is_empty() {
                match self.queue.recv().await {
                    Some(Fed::Output(output)) => self.left = output,
                    Some(Fed::Ended(status)) => return status,
                    None => return ExitStatus::Unknown,
                }
            }
            if let Some(status) = self.gather(room.min(BURST_BYTES)) {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Prints what there is, at most `room` bytes, without waiting. Returns the status when that was all.
    fn gather(&mut self, mut room: u64) -> Option<ExitStatus> {
        let started = Instant::now();
        let mut ended = None;
        while room > 0 {
            if self.left.is_empty() {
                match self.queue.try_recv() {
                    Ok(Fed::Output(output)) => self.left = output,
                    Ok(Fed::Ended(status)) => ended = Some(status),
                    Err(mpsc::error::TryRecvError::Disconnected) => ended = Some(ExitStatus::Unknown),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                }
                if ended.is_some() {
                    break;
                }
            }
            let length = self.left.len().min(CHUNK).min(usize::try_from(room).unwrap_or(CHUNK));
            room -= length as u64;
            let chunk = self.left.split_to(length);
            if !chunk.is_empty() {
                self.burst.push(chunk);
            }
        }
        self.printer.print(&mut self.burst, started);
        ended
    }
}
