//! The pump: takes output from its source, writes the log, and broadcasts.
//!
//! Each turn takes what there is without waiting, up to what the readers have room for, and publishes that at once as
//! one burst. There is no flush timer, so nothing is ever held back. The source is a program's terminal
//! ([`ProgramTerminal`](super::terminal::ProgramTerminal)), what an embedder prints
//! ([`Prints`](super::feed::Prints)), or a fake one in the models.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{Session, output::OutputSink};

/// The most a turn takes, in bytes: what other sessions' pumps and the writers on this thread wait for.
pub(super) const TURN_BYTES: u64 = 1024 * 1024;

/// The most in one message, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;

/// Where a session's output comes from.
pub(super) trait Source {
    /// What it says once it has ended.
    type End;

    /// Takes at most `room` bytes without waiting, as chunks of at most [`CHUNK`], and puts them into `chunks`.
    ///
    /// # Errors
    /// The system's, after which nothing more comes. What is in `chunks` by then is output all the same.
    fn take(&mut self, room: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<Self::End>>;

    /// What was taken is in the log.
    fn printed(&mut self) {}

    /// Waits until there may be something to take.
    ///
    /// # Cancel safety
    /// Cancel safe: what was taken out of somewhere is left for [`take`](Self::take).
    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Why a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<End> {
    /// It took its share; there may be more.
    Full,
    /// There is nothing more now.
    WouldBlock,
    /// Nothing more will come.
    Ended(End),
}

pub(super) struct Pump<S> {
    pub(super) session: Arc<Session>,
    pub(super) source: S,
    output: OutputSink,
    chunks: Vec<Bytes>,
}

impl<S: Source> Pump<S> {
    pub(super) fn new(session: Arc<Session>, source: S, output: OutputSink) -> Self {
        Self { session, source, output, chunks: Vec::new() }
    }

    /// The offset after the newest byte.
    pub(super) fn head(&self) -> u64 {
        self.output.head()
    }

    /// The log's head may have moved without the pump.
    pub(super) fn skipped(&mut self) {
        self.output.skipped();
    }

    /// What the pump printed with.
    pub(super) fn into_printer(self) -> OutputSink {
        self.output
    }

    /// Prints what the source has, as the readers have room for it, until the source ends.
    ///
    /// # Cancel safety
    /// Cancel safe: what was taken is printed.
    pub(super) async fn pump(&mut self) -> io::Result<S::End> {
        let session = Arc::clone(&self.session);
        loop {
            // First the room: a program whose readers are behind is not read.
            let room = session.history.credit().await;
            match self.turn(room)? {
                Taken::Full => tokio::task::yield_now().await,
                Taken::WouldBlock => self.source.ready().await?,
                Taken::Ended(end) => return Ok(end),
            }
        }
    }

    /// Prints at most `room` bytes without waiting.
    pub(super) fn turn(&mut self, room: u64) -> io::Result<Taken<S::End>> {
        let started = Instant::now();
        self.output.begin();
        let taken = self.source.take(room.min(TURN_BYTES), &mut self.chunks);
        self.output.print(&mut self.chunks, started);
        self.source.printed();
        taken
    }
}
