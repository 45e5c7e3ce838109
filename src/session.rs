//! A session: a program on a PTY, and the log of what it printed.
//!
//! The output is one append-only stream addressed by absolute byte offset. The pump reads it from the PTY into the
//! history and then broadcasts it; every client's writer has a cursor into it. Nothing here knows about sockets.

mod history;
mod manager;
mod pace;
mod pty;
mod pump;

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use self::{history::History, pace::Pace, pty::Pty};
pub(crate) use self::{
    history::{MAX_PIECES, NotHeld, Read, Reader, Span},
    manager::{Manager, SessionSettings},
    pump::TurnLog,
};
use crate::{
    SessionId, SessionName, TerminalSize,
    message::{ExitStatus, OnLag, SessionInfo, SessionState, StartAt},
};

/// One live session, or one that ended and is still being read.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    name: SessionName,
    /// The program and its arguments, for people.
    command: String,
    started: Instant,
    pid: u32,
    pty: Pty,
    /// The terminal's size as last set. A leaf lock.
    size: Mutex<TerminalSize>,
    history: History,
    pace: Pace,
    /// Asks for the program to be hung up.
    hang_up: CancellationToken,
    /// Set once the log has its final entry and the session left the manager.
    gone: CancellationToken,
}

impl Session {
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn name(&self) -> &SessionName {
        &self.name
    }

    pub(crate) fn size(&self) -> TerminalSize {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn span(&self) -> Span {
        self.history.span()
    }

    /// Starts reading the stream. From this moment on nothing this reader needs is evicted while it is entitled to
    /// hold the program back.
    pub(crate) fn read_from(&self, start: StartAt, on_lag: OnLag) -> Result<Reader, NotHeld> {
        self.history.attach(start, on_lag == OnLag::Lossless)
    }

    /// Copies handles on what follows the reader's place into `pieces`, at most `max` bytes; or says why there is
    /// nothing.
    pub(crate) fn read(&self, from: u64, max: usize, pieces: &mut Vec<bytes::Bytes>) -> Read {
        self.history.read(from, max, pieces)
    }

    /// Says how far a reader is, which may let the pump go on.
    pub(crate) fn advance(&self, reader: &Reader, cursor: u64) {
        reader.advance(cursor);
        self.pace.changed();
    }

    /// Says whether a lossless reader may still hold the program back.
    pub(crate) fn set_holding(&self, reader: &Reader, holding: bool) {
        if reader.set_holding(holding) {
            self.pace.changed();
        }
    }

    /// Ends a reader's stay.
    pub(crate) fn leave(&self, reader: &Reader) {
        self.history.detach(reader);
        self.pace.changed();
    }

    /// Types into the terminal. What several clients type is not mixed within one call. Waits while the program does
    /// not read; ends early with an error when the session ends.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of `data` typed.
    pub(crate) async fn type_in(&self, data: &[u8]) -> std::io::Result<()> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(std::io::ErrorKind::BrokenPipe.into()),
            typed = self.pty.write_all(data) => typed,
        }
    }

    pub(crate) fn resize(&self, size: TerminalSize) -> std::io::Result<()> {
        let mut current = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        self.pty.resize(size)?;
        *current = size;
        Ok(())
    }

    /// Asks for the program to be hung up: SIGHUP, then SIGKILL. Returns at once.
    pub(crate) fn hang_up(&self) {
        self.hang_up.cancel();
    }

    /// Waits until the program is gone, its last output is in the log, and its name is free again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn gone(&self) -> ExitStatus {
        self.gone.cancelled().await;
        self.span().ended.unwrap_or(ExitStatus::Unknown)
    }

    /// The session for `list`; how many watch it is the registry's to say.
    pub(crate) fn info(&self, clients: usize) -> SessionInfo {
        let Span { head, ended, .. } = self.span();
        SessionInfo {
            id: self.id,
            name: self.name.clone(),
            command: self.command.clone(),
            state: ended.map_or(SessionState::Running { pid: self.pid }, SessionState::Ended),
            clients,
            printed: head,
            size: self.size(),
            age_seconds: self.started.elapsed().as_secs(),
        }
    }
}
