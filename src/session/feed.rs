//! Sessions without a program: what an embedder prints is what the clients see.
//!
//! Everything else is as it is with a program: the history and exact replay, the pace, the model of the screen, lag and
//! its choices. There is no terminal to type into or to size.

mod queue;

use std::io;

use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use self::queue::NextPrint;
pub(super) use self::queue::PrintQueue;
use super::{
    Session,
    pump::{CHUNK, Pump, Source, Taken},
};
use crate::{ServerMessage, SessionId, message::ExitStatus, registry::ClientRegistry, sync::Arc};

/// A session that its embedder prints to. It ends when this is dropped.
pub struct Feed {
    session: SessionId,
    registry: ClientRegistry<std::sync::Arc<ServerMessage>>,
    prints: Arc<PrintQueue>,
}

/// The session was killed, or the server is shutting down; the output is handed back and was not printed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended, or its server is shutting down")]
pub struct FeedClosed(pub Bytes);

impl Feed {
    /// The handle on a session that prints what is in the queue.
    pub(super) fn new(session: &Session, prints: Arc<PrintQueue>) -> Self {
        Self { session: session.id(), registry: session.registry.clone(), prints }
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
        self.prints.print(output).await
    }

    /// Waits until everything printed before is in the session's log, where every client finds it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn flush(&self) {
        self.prints.flush().await;
    }

    /// Completes when somebody kills the session, or the server shuts down.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn killed(&self) {
        self.prints.closed().await;
    }

    /// Ends the session after everything printed before, and tells the clients this status. Does not wait for that.
    /// Dropping the feed ends it with [`ExitStatus::Unknown`].
    pub fn end(self, status: ExitStatus) {
        self.prints.end(status);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Does nothing after `end`.
        self.prints.end(ExitStatus::Unknown);
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
    /// Prints that were taken out.
    taken: u64,
}

impl Prints {
    pub(super) fn new(queue: Arc<PrintQueue>) -> Self {
        Self { queue, left: Bytes::new(), taken: 0 }
    }
}

impl Source for Prints {
    type End = ExitStatus;

    fn take(&mut self, mut room: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<ExitStatus>> {
        while room > 0 {
            if self.left.is_empty() {
                match self.queue.take() {
                    NextPrint::Print(output) => {
                        self.left = output;
                        self.taken += 1;
                    }
                    NextPrint::Ended(status) => return Ok(Taken::Ended(status)),
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
        self.queue.logged(self.taken - u64::from(!self.left.is_empty()));
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
            Ok(status) = self.pump() => return status,
            () = hang_up.cancelled() => {}
            () = stopping.cancelled() => {}
        }
        if let Some(status) = self.drain() {
            return status;
        }
        *undrained = None;
        hang_up.cancelled().await;
        ExitStatus::Unknown
    }

    /// Closes the feed and prints what it accepted, whether readers have room or not, as a program's last words are.
    /// Returns how it ended, if it did.
    pub(super) fn drain(&mut self) -> Option<ExitStatus> {
        self.source.queue.close();
        loop {
            match self.turn(u64::MAX) {
                Ok(Taken::Full) => {}
                Ok(Taken::Ended(status)) => return Some(status),
                Ok(Taken::WouldBlock) | Err(_) => return None,
            }
        }
    }
}
