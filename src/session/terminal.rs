//! A program's terminal as the pump's source, and the order in which a program's output and its end enter the log.
//!
//! A turn reads until the terminal runs dry, 2 ms have passed, or 1 MiB is gathered. Under load it gathers many reads,
//! because Linux hands out at most 4 KiB at a time; a single echo goes out alone.

use std::{
    cell::RefCell,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::oneshot, task::JoinHandle};
use tracing::warn;

use super::{
    program::Process,
    pty::{Pty, ReadOutcome},
    pump::{CHUNK, Pump, Source, TURN_BYTES, Taken},
};
use crate::message::ExitStatus;

/// The most a turn gathers, in time.
const TURN_TIME: Duration = Duration::from_millis(2);

/// How long the terminal is read on after an exited program's last words, should another process keep it open.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How much of the last words is read however slow the readers are: all that the kernel holds of a terminal's output
/// (64 KiB and one page), twice over.
const DRAIN_BYTES: u64 = 136 * 1024;

thread_local! {
    /// What a turn reads into. One for each worker is enough: no turn waits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

pub(super) struct ProgramTerminal {
    pty: Arc<Pty>,
    /// No process had the terminal open when it was last looked at.
    is_hung_up: bool,
    /// The program is gone: once no process has the terminal open, nothing more will come. Before, the program may have
    /// closed it and live, and open it again.
    ends_when_hung_up: bool,
}

impl ProgramTerminal {
    pub(super) fn new(pty: Arc<Pty>) -> Self {
        Self { pty, is_hung_up: false, ends_when_hung_up: false }
    }

    /// As [`take`](Source::take), by way of `scratch`.
    fn take_by(&mut self, scratch: &mut [u8], room: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<()>> {
        let started = Instant::now();
        let mut left = usize::try_from(room.min(TURN_BYTES)).unwrap_or(CHUNK);
        let mut filled = 0;
        let taken = loop {
            let end = scratch.len().min(filled + left);
            match self.pty.read(&mut scratch[filled..end]) {
                Ok(ReadOutcome::Bytes(bytes)) => {
                    filled += bytes;
                    left -= bytes;
                }
                Ok(ReadOutcome::WouldBlock) => break Ok(Taken::WouldBlock),
                Ok(ReadOutcome::Hangup) if self.ends_when_hung_up => break Ok(Taken::Ended(())),
                Ok(ReadOutcome::Hangup) => {
                    self.is_hung_up = true;
                    break Ok(Taken::WouldBlock);
                }
                Err(error) => break Err(error),
            }
            if filled == scratch.len() {
                cut_chunk(scratch, chunks);
                filled = 0;
            }
            if left == 0 || started.elapsed() >= TURN_TIME {
                break Ok(Taken::Full);
            }
        };
        cut_chunk(&scratch[..filled], chunks);
        taken
    }
}

/// Takes what was read as a chunk of exactly its size, so that what the history is charged is what it holds. The copy
/// runs at a hundred times the terminal's speed.
fn cut_chunk(read: &[u8], chunks: &mut Vec<Bytes>) {
    if !read.is_empty() {
        chunks.push(Bytes::copy_from_slice(read));
    }
}

impl Source for ProgramTerminal {
    type End = ();

    fn take(&mut self, room: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<()>> {
        SCRATCH.with_borrow_mut(|scratch| self.take_by(scratch, room, chunks))
    }

    async fn ready(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_hung_up) {
            self.pty.reopened().await;
            return Ok(());
        }
        self.pty.readable().await
    }
}

impl Pump<ProgramTerminal> {
    /// Pumps until the program is gone and all of its output is in the log; returns how it ended. Hands the program
    /// back if it can't be killed.
    ///
    /// Starts once `start` fires or is dropped, or the session is hung up.
    pub(super) async fn run(
        &mut self,
        start: oneshot::Receiver<()>,
        mut supervisor: JoinHandle<Result<ExitStatus, Process>>,
    ) -> Result<ExitStatus, Process> {
        tokio::select! {
            biased;
            // An error says that the client that was to attach first is gone; the session runs all the same.
            _ = start => {}
            () = self.session.hang_up.cancelled() => {}
        }
        let status = tokio::select! {
            biased;
            Err(error) = self.pump() => Err(error),
            status = &mut supervisor => Ok(status),
        };
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                warn!(session = %self.session.id, %error, "reading the terminal failed; hanging up");
                self.session.hang_up();
                return supervisor.await.unwrap_or(Ok(ExitStatus::Unknown));
            }
        };
        if let Err(error) = self.drain().await {
            warn!(session = %self.session.id, %error, "reading what an exited program left failed");
        }
        status.unwrap_or(Ok(ExitStatus::Unknown))
    }

    /// Reads what an exited program left behind, then for a while what others print that keep its terminal open.
    async fn drain(&mut self) -> io::Result<()> {
        self.source.ends_when_hung_up = true;
        // The program's own last words are in the kernel by now, so a read that comes back empty has seen them all.
        // Neither slow readers nor a server that gets to them late may cost a byte of them.
        let owed = self.head() + DRAIN_BYTES;
        loop {
            match self.turn(owed - self.head())? {
                Taken::Full if self.head() < owed => tokio::task::yield_now().await,
                Taken::Full | Taken::WouldBlock => break,
                Taken::Ended(()) => return Ok(()),
            }
        }
        tokio::time::timeout(DRAIN_TIME, self.pump()).await.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests {
    use super::{super::models, *};
    use crate::{
        message::{Create, OnLag, Pace, StartAt},
        session::{program, pty},
    };

    #[tokio::test]
    async fn last_words_are_in_the_log_though_no_reader_has_room() {
        let session = models::session(&models::registry(), models::SMALL, Pace::Free);
        let _stands_still = session.history.attach(StartAt::Now, OnLag::Lossless).unwrap();
        // As much as its terminal holds, after which it is gone.
        let script = "stty -opost; head -c 3000 /dev/zero | tr '\\0' x; exit 7";
        let words = ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec());
        let mut create = Create::new("a".parse().unwrap(), words.to_vec());
        create.env = vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())];
        let (pty, program) = pty::spawn(&create, std::path::Path::new("/nowhere")).unwrap();
        let supervisor = tokio::spawn(program::supervise(program, session.hang_up.clone(), Duration::ZERO));
        let terminal = ProgramTerminal::new(Arc::new(pty));
        let mut pump = Pump::new(Arc::clone(&session), terminal, models::output(&session));
        let (_, start) = oneshot::channel();
        let ended = pump.run(start, supervisor).await;
        assert_eq!((ended.ok(), session.head()), (Some(ExitStatus::Code(7)), 3000));
    }
}
