//! The pump: reads a session's terminal, writes the log, and broadcasts.
//!
//! Each turn reads without waiting until the terminal runs dry, 2 ms have passed, or 1 MiB is gathered, and publishes
//! that at once as one burst. Under load a turn gathers many reads, for Linux hands out at most 4 KiB at a time; a
//! single echo goes out alone. There is no flush timer, so nothing is ever held back.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::oneshot, task::JoinHandle};
use tracing::{debug, warn};

use super::{Session, pty::Got};
use crate::{ServerMessage, message::ExitStatus, registry::Publisher};

/// The most a turn gathers, in bytes and in time: what other sessions' pumps and the writers on this thread wait for.
const TURN_BYTES: u64 = 1024 * 1024;
const TURN_TIME: Duration = Duration::from_millis(2);

/// The most in one message.
const CHUNK: usize = 64 * 1024;

/// How long the terminal is read after the program exited, should another process keep it open. Its own last words
/// are there already when its exit is.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How much of the last words is read however slow the readers are: all that the kernel holds of a terminal's output
/// (64 KiB and one page), twice over.
const DRAIN_BYTES: u64 = 136 * 1024;

/// When each turn's bytes were read, for measuring how long they take to arrive: the stream's offset after the turn,
/// and the moment its first byte was read.
#[derive(Debug, Default)]
pub(crate) struct TurnLog(Mutex<Vec<(u64, Instant)>>);

impl TurnLog {
    fn add(&self, end: u64, read_at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((end, read_at));
    }

    #[cfg(feature = "cli")]
    pub(crate) fn take(&self) -> Vec<(u64, Instant)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Pump {
    session: Arc<Session>,
    publisher: Publisher<ServerMessage>,
    supervisor: JoinHandle<ExitStatus>,
    head: u64,
    scratch: Box<[u8]>,
    chunks: Vec<Bytes>,
    burst: Vec<ServerMessage>,
    turns: Option<Arc<TurnLog>>,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It was not taken: the readers are behind.
    NoRoom,
    /// It took its share; there may be more.
    Full,
    Dry,
    Hangup,
}

impl Pump {
    pub(super) fn new(
        session: Arc<Session>,
        publisher: Publisher<ServerMessage>,
        supervisor: JoinHandle<ExitStatus>,
        turns: Option<Arc<TurnLog>>,
    ) -> Self {
        Self {
            session,
            publisher,
            supervisor,
            head: 0,
            scratch: vec![0; CHUNK].into_boxed_slice(),
            chunks: Vec::new(),
            burst: Vec::new(),
            turns,
        }
    }

    /// Pumps until the program is gone and all of its output is in the log; returns how it ended.
    ///
    /// Starts once `start` fires or is dropped.
    pub(super) async fn run(&mut self, start: oneshot::Receiver<()>) -> ExitStatus {
        // An error says that whoever was to attach first is gone; the session runs all the same.
        let _ = start.await;
        let status = match self.pump().await {
            Ok(status) => status,
            Err(error) => {
                warn!(session = %self.session.id, %error, "reading the terminal failed; hanging up");
                self.session.hang_up();
                return (&mut self.supervisor).await.unwrap_or(ExitStatus::Unknown);
            }
        };
        if let Err(error) = self.drain().await {
            warn!(session = %self.session.id, %error, "reading what an exited program left failed");
        }
        status
    }

    /// Writes the log's final entry, after the last byte.
    pub(super) fn finish(mut self, status: ExitStatus) {
        self.session.history.end(status);
        debug!(session = %self.session.id, %status, printed = self.head, "ended");
        // Only the doorbell: who misses it finds the end in the log before it sleeps.
        let _ = self.publisher.broadcast(ServerMessage::Ended { session: self.session.id });
    }

    /// Pumps until the program exits.
    async fn pump(&mut self) -> io::Result<ExitStatus> {
        let session = Arc::clone(&self.session);
        loop {
            // First the room: a program whose readers are behind is not read.
            let room = session.history.room();
            let turn = if room == 0 { Turn::NoRoom } else { self.turn(room)? };
            let next = async {
                match turn {
                    Turn::NoRoom => session.waiting.wait().await,
                    Turn::Full => tokio::task::yield_now().await,
                    Turn::Dry => return session.pty.readable().await,
                    // The program closed its terminal and lives. It may open it again.
                    Turn::Hangup => session.pty.reopened().await,
                }
                Ok(())
            };
            tokio::select! {
                biased;
                ready = next => ready?,
                status = &mut self.supervisor => return Ok(status.unwrap_or(ExitStatus::Unknown)),
            }
        }
    }

    /// Reads what an exited program left behind.
    async fn drain(&mut self) -> io::Result<()> {
        let session = Arc::clone(&self.session);
        let deadline = tokio::time::Instant::now() + DRAIN_TIME;
        let owed = self.head + DRAIN_BYTES;
        loop {
            let room = session.history.room().max(owed.saturating_sub(self.head));
            let turn = if room == 0 { Turn::NoRoom } else { self.turn(room)? };
            let next = async {
                match turn {
                    Turn::NoRoom => session.waiting.wait().await,
                    Turn::Full => tokio::task::yield_now().await,
                    Turn::Dry => return session.pty.readable().await,
                    Turn::Hangup => {}
                }
                Ok(())
            };
            match tokio::time::timeout_at(deadline, next).await {
                Ok(ready) if turn != Turn::Hangup => ready?,
                _ => return Ok(()),
            }
        }
    }

    /// Reads at most `room` bytes without waiting, and publishes them.
    fn turn(&mut self, room: u64) -> io::Result<Turn> {
        let started = Instant::now();
        let mut left = usize::try_from(room.min(TURN_BYTES)).unwrap_or(CHUNK);
        let mut filled = 0;
        let ended = loop {
            let end = self.scratch.len().min(filled + left);
            match self.session.pty.read(&mut self.scratch[filled..end])? {
                Got::Bytes(bytes) => {
                    filled += bytes;
                    left -= bytes;
                }
                Got::Dry => break Turn::Dry,
                Got::Hangup => break Turn::Hangup,
            }
            if filled == self.scratch.len() {
                self.cut_chunk(filled);
                filled = 0;
            }
            if left == 0 || started.elapsed() >= TURN_TIME {
                break Turn::Full;
            }
        };
        self.cut_chunk(filled);
        self.publish(started);
        Ok(ended)
    }

    /// Takes the first `filled` bytes as a chunk of exactly their size, so that what the history is charged is what
    /// it holds. The copy runs at a hundred times the terminal's speed.
    fn cut_chunk(&mut self, filled: usize) {
        if filled > 0 {
            self.chunks.push(Bytes::copy_from_slice(&self.scratch[..filled]));
        }
    }

    fn publish(&mut self, read_at: Instant) {
        if self.chunks.is_empty() {
            return;
        }
        // The log first: a client that is skipped below finds there what it missed.
        let mut offset = self.head;
        let now = Instant::now();
        for chunk in &self.chunks {
            self.session.printed(chunk, now);
        }
        self.head = self.session.history.append(&self.chunks);
        if let Some(turns) = &self.turns {
            turns.add(self.head, read_at);
        }
        for data in self.chunks.drain(..) {
            let length = data.len() as u64;
            self.burst.push(ServerMessage::Output { session: self.session.id, offset, data });
            offset += length;
        }
        // Skipped clients are counted by the registry and brought back by their writers.
        let _ = self.publisher.broadcast_burst(&self.burst);
        self.burst.clear();
        self.session.screen.appended();
    }
}
