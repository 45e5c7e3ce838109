//! The threads that block on stdin and on what output is written to, so that nothing else has to.
//!
//! They are not joined when the command ends: one may be waiting for a key, or for a terminal that was stopped, and the
//! process's exit ends both.

use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{super::print_note, recording_file::RecordingFile, spool::Spool};
use crate::wire::MAX_INPUT;

/// Bytes that no hand types at once: a part of a paste, of which a terminal hands out at most 4 KiB at a time.
const PASTED: usize = 1024;

/// How long the next part of a paste is waited for.
const NEXT_PART: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// Pieces of output on their way to the screen, at most 256 KiB each.
const PIECES: usize = 2;

/// The most that is written at once, in bytes: as much of a piece still gets to a screen that is left.
const SLICE: usize = 16 * 1024;

/// How long a terminal has to take what puts it back.
pub(super) const UNDO_TIME: Duration = Duration::from_secs(1);

/// How long a terminal may take nothing at all before the last output is given up: as long as the server itself waits
/// for a client that takes nothing. It may be a laptop's that sleeps.
const STUCK_TIME: Duration = Duration::from_secs(600);

/// What the person types.
#[derive(Debug)]
pub(in super::super) struct Keys {
    /// Ends when stdin does. Each piece has at most [`MAX_INPUT`] bytes.
    pub(in super::super) typed: mpsc::Receiver<Bytes>,
}

impl Keys {
    pub(in super::super) fn start() -> Self {
        let (sender, typed) = mpsc::channel(1);
        thread::spawn(move || {
            let mut buffer = vec![0; MAX_INPUT];
            while let Ok(read @ 1..) = read(&mut buffer) {
                let mut filled = read;
                while filled >= PASTED && filled < buffer.len() && more_comes() {
                    match self::read(&mut buffer[filled..]) {
                        Ok(read @ 1..) => filled += read,
                        // The next read finds out.
                        _ => break,
                    }
                }
                if sender.blocking_send(Bytes::copy_from_slice(&buffer[..filled])).is_err() {
                    return;
                }
            }
        });
        Self { typed }
    }
}

fn read(buffer: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut *buffer))
}

fn more_comes() -> bool {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    !matches!(poll(&mut polled, Some(&NEXT_PART)), Ok(0) | Err(Errno::INTR))
}

/// Standard output, or a file.
#[derive(Debug)]
pub(in super::super) struct ScreenThread {
    pieces: mpsc::Sender<Piece>,
    progress: Arc<Progress>,
    done: oneshot::Receiver<io::Result<()>>,
    /// Cancelled once nobody reads what this writes, or it can't be written.
    unread: CancellationToken,
    /// What waits to be written, where that is no terminal.
    spool: Option<Arc<Spool>>,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// It is dropped once the progress's is another.
    era: u64,
    /// Told once it is written.
    written: Option<oneshot::Sender<()>>,
}

/// Relaxed throughout: nothing else is read by what these say, and pieces come by a channel.
#[derive(Debug, Default)]
struct Progress {
    era: AtomicU64,
    slices: AtomicU64,
}

/// DisplayPermit for one piece.
#[derive(Debug)]
pub(in super::super) struct DisplayPermit<'a> {
    screen: &'a ScreenThread,
    permit: mpsc::Permit<'a, Piece>,
}

impl ScreenThread {
    /// Writes to the terminal that standard output is.
    pub(in super::super) fn start() -> Self {
        let progress = Arc::new(Progress::default());
        let made = Arc::clone(&progress);
        Self::with(progress, CancellationToken::new(), None, move |queue| {
            let mut stdout = stdout()?;
            while let Some(Piece { bytes, era, written }) = queue.blocking_recv() {
                for slice in bytes.chunks(SLICE) {
                    if era != made.era.load(Ordering::Relaxed) {
                        break;
                    }
                    stdout.write_all(slice)?;
                    made.slices.fetch_add(1, Ordering::Relaxed);
                }
                // An error says that it is no longer waited for.
                let _ = written.map(|written| written.send(()));
            }
            Ok(())
        })
    }

    /// Writes to a file, or to what standard output is. Of what comes faster than that takes it, up to `limit` bytes
    /// wait in a temporary file.
    pub(super) fn start_spooled(file: Option<RecordingFile>, limit: u64) -> io::Result<Self> {
        let (reader, out): (File, Box<dyn Write + Send>) = match file {
            Some(file) => (file.file().try_clone()?, Box::new(file)),
            None => (stdout()?, Box::new(stdout()?)),
        };
        let unread = watch_reader(reader);
        let spool = Arc::new(Spool::new(limit, tell));
        let (put_in, failed) = (Arc::clone(&spool), unread.clone());
        let progress = Arc::new(Progress::default());
        Ok(Self::with(progress, unread, Some(spool), move |queue| write_spooled(queue, out, &put_in, failed)))
    }

    fn with(
        progress: Arc<Progress>,
        unread: CancellationToken,
        spool: Option<Arc<Spool>>,
        write_all: impl FnOnce(&mut mpsc::Receiver<Piece>) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Piece>(PIECES);
        let (result, done) = oneshot::channel();
        thread::spawn(move || {
            let written = write_all(&mut queue);
            drop(queue);
            // Nobody asks when the command has ended by then.
            let _ = result.send(written);
        });
        Self { pieces, progress, done, unread, spool }
    }

    /// Waits for room; `None` once nothing can be written any more.
    pub(in super::super) async fn room(&self) -> Option<DisplayPermit<'_>> {
        let permit = self.pieces.reserve().await.ok()?;
        Some(DisplayPermit { screen: self, permit })
    }

    /// Waits until all is written, however long that takes, and says whether it could be.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        if self.write(Bytes::new(), self.era()).await {
            return Ok(());
        }
        (&mut self.done).await.unwrap_or(Ok(()))
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> u64 {
        self.spool.as_ref().map_or(0, |spool| spool.waiting())
    }

    /// Waits until all is written, or nothing was for a while.
    pub(super) async fn drain(&self) {
        let mut drained = std::pin::pin!(self.write(Bytes::new(), self.era()));
        loop {
            let before = self.progress.slices.load(Ordering::Relaxed);
            let is_over = tokio::time::timeout(STUCK_TIME, &mut drained).await.is_ok();
            if is_over || self.progress.slices.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    /// Drops what is not written yet, and writes this. Returns whether it was written within [`UNDO_TIME`]; it is
    /// dropped otherwise.
    pub(in super::super) async fn write_instead(&self, bytes: Bytes) -> bool {
        let era = self.next_era();
        let written = tokio::time::timeout(UNDO_TIME, self.write(bytes, era)).await;
        if written.is_err() {
            self.next_era();
        }
        written == Ok(true)
    }

    /// Writes this after what is queued. Returns whether it could be written.
    async fn write(&self, bytes: Bytes, era: u64) -> bool {
        let (written, is_written) = oneshot::channel();
        let piece = Piece { bytes, era, written: Some(written) };
        self.pieces.send(piece).await.is_ok() && is_written.await.is_ok()
    }

    fn era(&self) -> u64 {
        self.progress.era.load(Ordering::Relaxed)
    }

    fn next_era(&self) -> u64 {
        self.progress.era.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The descriptor itself: what has been written must be out, however this process ends.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Puts what comes into the spool, which another thread writes out.
fn write_spooled(
    queue: &mut mpsc::Receiver<Piece>,
    mut out: Box<dyn Write + Send>,
    spool: &Arc<Spool>,
    failed: CancellationToken,
) -> io::Result<()> {
    let spooled = Arc::clone(spool);
    let writer = thread::spawn(move || {
        let written = spooled.write_to(&mut out);
        if written.is_err() {
            failed.cancel();
        }
        written
    });
    while let Some(Piece { bytes, written, .. }) = queue.blocking_recv() {
        if !bytes.is_empty() && !spool.push(&bytes) {
            break;
        }
        if let Some(written) = written {
            if !spool.drained() {
                break;
            }
            // An error says that it is no longer waited for.
            let _ = written.send(());
        }
    }
    spool.close();
    writer.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes failed")))
}

/// Tells the person something, on a thread of its own: stderr may be stuck.
fn tell(text: String) {
    thread::spawn(move || print_note(format_args!("fugue-server: {text}")));
}

/// Watches for the reader to go, where this is a pipe or a socket: a write would find out, but none may come for long.
/// (Of a terminal that goes, a signal tells.)
fn watch_reader(out: File) -> CancellationToken {
    let unread = CancellationToken::new();
    let told = unread.clone();
    if out.is_terminal() {
        return unread;
    }
    thread::spawn(move || {
        let mut polled = [PollFd::new(&out, PollFlags::empty())];
        let polled = rustix::io::retry_on_intr(|| {
            poll(&mut polled, None)?;
            Ok(polled[0].revents())
        });
        if polled.is_ok_and(|events| events.intersects(PollFlags::ERR | PollFlags::HUP)) {
            told.cancel();
        }
    });
    unread
}

impl DisplayPermit<'_> {
    pub(in super::super) fn show(self, bytes: Bytes) {
        let era = self.screen.era();
        self.permit.send(Piece { bytes, era, written: None });
    }

    /// Waits until nothing can be written any more, or nobody reads it.
    pub(super) async fn closed(&self) {
        tokio::select! {
            () = self.screen.pieces.closed() => {}
            () = self.screen.unread.cancelled() => {}
        }
    }
}
