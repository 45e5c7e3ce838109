//! The pump: reads a session's terminal, writes the log, and broadcasts.
//!
//! Each turn reads without waiting until the terminal runs dry, 2 ms have passed, or 1 MiB is gathered, and publishes
//! that at once as one burst. Under load a turn gathers many reads, for Linux hands out at most 4 KiB at a time; a
//! single echo goes out alone. There is no flush timer, so nothing is ever held back.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::oneshot, task::JoinHandle};
use tracing::warn;

use super::{
    Session,
    printer::Printer,
    pty::{Got, Pty},
};
use crate::message::ExitStatus;

/// The most a turn gathers, in bytes and in time: what other sessions' pumps and the writers on this thread wait for.
const TURN_BYTES: u64 = 1024 * 1024;
const TURN_TIME: Duration = Duration::from_millis(2);

/// The most in one message.
const CHUNK: usize = 64 * 1024;

/// How long the terminal is read on after an exited program's last words, should another process keep it open.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How much of the last words is read however slow the readers are: all that the kernel holds of a terminal's output
/// (64 KiB and one page), twice over.
const DRAIN_BYTES: u64 = 136 * 1024;

pub(super) struct Pump {
    session: Arc<Session>,
    pty: Arc<Pty>,
    printer: Printer,
    scratch: Box<[u8]>,
    chunks: Vec<Bytes>,
}

/// Why a turn ended.
enum Turn {
    /// It took its share; there may be more.
    Full,
    Dry,
    Hangup,
}

/// What a terminal that no process has open means.
#[derive(Clone, Copy)]
enum WhenHungUp {
    /// The program closed it and lives. It may open it again.
    Wait,
    /// The program is gone, and nothing more will come.
    Return,
}

impl Pump {
    pub(super) fn new(session: Arc<Session>, pty: Arc<Pty>, printer: Printer) -> Self {
        let scratch = vec![0; CHUNK].into_boxed_slice();
        Self { session, pty, printer, scratch, chunks: Vec::new() }
    }

    /// Pumps until the program is gone and all of its output is in the log; returns how it ended.
    ///
    /// Starts once `start` fires or is dropped.
    pub(super) async fn run(
        &mut self,
        start: oneshot::Receiver<()>,
        mut supervisor: JoinHandle<ExitStatus>,
    ) -> ExitStatus {
        // An error says that whoever was to attach first is gone; the session runs all the same.
        let _ = start.await;
        let status = tokio::select! {
            biased;
            Err(error) = self.pump(WhenHungUp::Wait) => Err(error),
            status = &mut supervisor => Ok(status),
        };
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                warn!(session = %self.session.id, %error, "reading the terminal failed; hanging up");
                self.session.hang_up();
                return supervisor.await.unwrap_or(ExitStatus::Unknown);
            }
        };
        if let Err(error) = self.drain().await {
            warn!(session = %self.session.id, %error, "reading what an exited program left failed");
        }
        status.unwrap_or(ExitStatus::Unknown)
    }

    /// What the pump printed with, once it has run.
    pub(super) fn into_printer(self) -> Printer {
        self.printer
    }

    /// Reads the terminal as the readers have room for it.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read is published.
    async fn pump(&mut self, when_hung_up: WhenHungUp) -> io::Result<()> {
        let session = Arc::clone(&self.session);
        loop {
            // First the room: a program whose readers are behind is not read.
            let room = session.history.room();
            if room == 0 {
                session.waiting.wait().await;
                continue;
            }
            match (self.turn(room)?, when_hung_up) {
                (Turn::Full, _) => tokio::task::yield_now().await,
                (Turn::Dry, _) => self.pty.readable().await?,
                (Turn::Hangup, WhenHungUp::Wait) => self.pty.reopened().await,
                (Turn::Hangup, WhenHungUp::Return) => return Ok(()),
            }
        }
    }

    /// Reads what an exited program left behind, then for a while what others print that keep its terminal open.
    async fn drain(&mut self) -> io::Result<()> {
        // The program's own last words are in the kernel by now, so a read that comes back empty has seen them all.
        // Neither slow readers nor a server that gets to them late may cost a byte of them.
        let owed = self.printer.head() + DRAIN_BYTES;
        loop {
            match self.turn(owed - self.printer.head())? {
                Turn::Full if self.printer.head() < owed => tokio::task::yield_now().await,
                Turn::Full | Turn::Dry => break,
                Turn::Hangup => return Ok(()),
            }
        }
        tokio::time::timeout(DRAIN_TIME, self.pump(WhenHungUp::Return)).await.unwrap_or(Ok(()))
    }

    /// Reads at most `room` bytes without waiting, and publishes them.
    fn turn(&mut self, room: u64) -> io::Result<Turn> {
        let started = Instant::now();
        let mut left = usize::try_from(room.min(TURN_BYTES)).unwrap_or(CHUNK);
        let mut filled = 0;
        let ended = loop {
            let end = self.scratch.len().min(filled + left);
            match self.pty.read(&mut self.scratch[filled..end])? {
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
        self.printer.print(&mut self.chunks, started);
        Ok(ended)
    }

    /// Takes the first `filled` bytes as a chunk of exactly their size, so that what the history is charged is what
    /// it holds. The copy runs at a hundred times the terminal's speed.
    fn cut_chunk(&mut self, filled: usize) {
        if filled > 0 {
            self.chunks.push(Bytes::copy_from_slice(&self.scratch[..filled]));
        }
    }
}
