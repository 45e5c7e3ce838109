//! Sessions without a program of this server's: what an embedder prints is what the clients see, or what a client
//! prints that provides the session.
//!
//! Everything else is as it is with a program: the history and exact replay, the pace, the model of the screen, lag and
//! its choices. Gaps and sizes have their places in the output. What is typed, sizes that are wanted and kills go to
//! whoever prints, if that takes them.

mod providing;
mod queue;
mod requests;

use std::io;

use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use self::queue::NextPrint;
pub(crate) use self::{
    providing::{Broken, LOST_TIME, ProvidedNews, ProvidedSession},
    requests::Answered,
};
pub(super) use self::{
    providing::{FeedSide, MAX_OFFSET},
    queue::{Mark, PrintQueue},
};
use super::{
    Session,
    pump::{CHUNK, Pump, Source, Taken},
};
use crate::{
    ServerMessage, SessionId, TerminalSize,
    message::{ExitStatus, ProviderNews, RequestError},
    registry::ClientRegistry,
    sync::Arc,
};

/// A session that its embedder prints to. It ends when this is dropped.
pub struct Feed {
    session: SessionId,
    registry: ClientRegistry<std::sync::Arc<ServerMessage>>,
    side: std::sync::Arc<FeedSide>,
}

/// The session was killed, or the server is shutting down; the output is handed back and was not printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended, or its server is shutting down")]
pub struct FeedClosed(pub Bytes);

impl Feed {
    /// The handle on a session that prints what is in the queue.
    pub(super) fn new(session: &Session, side: std::sync::Arc<FeedSide>) -> Self {
        Self { session: session.id(), registry: session.registry.clone(), side }
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// How many clients watch the session now.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.registry.session_client_count(self.session)
    }

    /// Prints `output`, of any size, after everything printed before. Waits while the clients have no room for more, as
    /// the session's pace says.
    ///
    /// Returns once `output` is accepted: it reaches the log, and every client that reads, also if the session is
    /// killed or the server is shut down right after. Up to 32 prints and 2 MiB wait to be taken;
    /// [`flush`](Self::flush) waits until they are.
    ///
    /// The history holds what the handle holds: a small slice of a large buffer keeps all of that alive.
    ///
    /// # Cancel safety
    /// Cancel safe: `output` is printed whole or not at all.
    ///
    /// # Errors
    /// [`FeedClosed`] once somebody killed the session, or the server is shutting down.
    pub async fn print(&self, output: Bytes) -> Result<(), FeedClosed> {
        self.side.prints.print(output).await
    }

    /// The offset of the byte that is printed next.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.side.prints.head()
    }

    /// Says that what lies before offset `to` is missing, after everything printed before: clients are told of that
    /// gap. `screen`, if it is not empty, draws what the screen shows there, and resets the terminal first. It may also
    /// be given where nothing is missing, as for a session that begins in the middle. Nothing is skipped if `to` lies
    /// before the [head](Self::head). Waits as [`print`](Self::print).
    ///
    /// # Cancel safety
    /// Cancel safe: it is said or not.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn skip(&self, to: u64, screen: Bytes) -> Result<(), FeedClosed> {
        self.side.prints.mark(Mark::Skip { to: to.min(MAX_OFFSET), screen }).await
    }

    /// Gives the terminal this size, from after everything printed before on. Waits as [`print`](Self::print).
    ///
    /// # Cancel safety
    /// Cancel safe: it is said or not.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn resized(&self, size: TerminalSize) -> Result<(), FeedClosed> {
        self.side.prints.mark(Mark::Resized(size)).await
    }

    /// What is asked of a session that [takes requests](crate::message::Takes::Requests): what was typed, a size that
    /// is wanted, a kill. `None` once the session was ended, or the server is shutting down.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&self) -> Option<ProviderNews> {
        tokio::select! {
            biased;
            () = self.side.prints.closed() => None,
            news = self.side.requests.next(0) => Some(news),
        }
    }

    /// Answers what was [asked](Self::next) under this number: it was done, or why it was not. Does nothing if it is
    /// answered already.
    pub fn answer(&self, number: u64, answer: Result<(), RequestError>) {
        let _ = self.side.requests.answer(number, answer);
    }

    /// Waits until everything printed before is in the session's log, where every client finds it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn flush(&self) {
        self.side.prints.flush().await;
    }

    /// Completes when somebody kills the session, or the server shuts down.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn killed(&self) {
        self.side.prints.closed().await;
    }

    /// Ends the session after everything printed before, and tells the clients this status. Does not wait for that.
    /// Dropping the feed ends it with [`ExitStatus::Unknown`].
    pub fn end(self, status: ExitStatus) {
        self.side.prints.end(status);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Does nothing after `end`.
        self.side.prints.end(ExitStatus::Unknown);
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What a feed's pump takes its output from.
pub(super) struct Prints {
    queue: Arc<PrintQueue>,
    /// What was taken out of the queue and is not printed yet.
    left: Bytes,
    /// What was taken out and is to be done before anything else.
    mark: Option<Mark>,
    /// Prints and marks that were taken out.
    taken: u64,
}

/// Why a feed's pump stops.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FeedStop {
    /// There is a mark.
    Marked,
    Ended(ExitStatus),
}

impl Prints {
    pub(super) fn new(queue: Arc<PrintQueue>) -> Self {
        Self { queue, left: Bytes::new(), mark: None, taken: 0 }
    }
}

impl Source for Prints {
    type End = FeedStop;

    fn take(&mut self, mut room: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<FeedStop>> {
        while room > 0 {
            if self.mark.is_some() {
                return Ok(Taken::Ended(FeedStop::Marked));
            }
            if self.left.is_empty() {
                match self.queue.take() {
                    NextPrint::Print(output) => {
                        self.left = output;
                        self.taken += 1;
                    }
                    NextPrint::Mark(mark) => {
                        self.mark = Some(mark);
                        self.taken += 1;
                        continue;
                    }
                    NextPrint::Ended(status) => return Ok(Taken::Ended(FeedStop::Ended(status))),
                    NextPrint::Empty => return Ok(Taken::WouldBlock),
                }
            }
            let length = self.left.len().min(CHUNK).min(usize::try_from(room).unwrap_or(CHUNK));
            // An empty print counts too, or there would be no end of them.
            room -= length.max(1) as u64;
            let chunk = self.left.split_to(length);
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        Ok(Taken::Full)
    }

    fn printed(&mut self) {
        let is_unfinished = !self.left.is_empty() || self.mark.is_some();
        self.queue.logged(self.taken - u64::from(is_unfinished));
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.queue.ready().await;
        Ok(())
    }
}

impl Pump<Prints> {
    /// Prints until the feed ends, or is killed after all that it accepted; returns how it ended.
    ///
    /// Once `stopping` fires nothing more is accepted, and `undrained` drops as soon as what was accepted is in the
    /// log, the end included where it is there.
    pub(super) async fn run(
        &mut self,
        stopping: CancellationToken,
        undrained: &mut Option<TaskTrackerToken>,
    ) -> ExitStatus {
        let hang_up = self.session.hang_up.clone();
        tokio::select! {
            biased;
            status = self.print_all() => return status,
            () = hang_up.cancelled() => {}
            () = stopping.cancelled() => {}
        }
        if let Some(status) = self.drain().await {
            return status;
        }
        *undrained = None;
        hang_up.cancelled().await;
        ExitStatus::Unknown
    }

    /// Prints, as the readers have room, until the feed ends.
    ///
    /// # Cancel safety
    /// Cancel safe: what was taken is printed, and a mark stays until it is done.
    async fn print_all(&mut self) -> ExitStatus {
        loop {
            match self.pump().await {
                Ok(FeedStop::Marked) => self.carry_out_mark().await,
                Ok(FeedStop::Ended(status)) => return status,
                // There is no such error.
                Err(_) => return ExitStatus::Unknown,
            }
        }
    }

    /// Closes the feed and prints what it accepted, whether readers have room or not, as a program's last words are.
    /// Returns how it ended, if it did.
    async fn drain(&mut self) -> Option<ExitStatus> {
        self.source.queue.close();
        loop {
            match self.turn(u64::MAX) {
                Ok(Taken::Full) => {}
                Ok(Taken::Ended(FeedStop::Marked)) => self.carry_out_mark().await,
                Ok(Taken::Ended(FeedStop::Ended(status))) => return Some(status),
                Ok(Taken::WouldBlock) | Err(_) => return None,
            }
        }
    }

    /// Does what is due before the next print. All before it is in the log.
    ///
    /// # Cancel safety
    /// Cancel safe: it is done, or still to be done.
    async fn carry_out_mark(&mut self) {
        let Some(mark) = self.source.mark.clone() else { return };
        match mark {
            Mark::Resized(size) => self.session.resize_to(size),
            Mark::Skip { to, screen } => self.session.skip_to(to, &screen).await,
        }
        // Nothing is awaited from there to here.
        self.skipped();
        self.source.mark = None;
        self.source.printed();
    }
}
