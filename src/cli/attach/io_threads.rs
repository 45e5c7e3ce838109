//! The threads that block on stdin and stdout, so that nothing else has to.
//!
//! They are not joined when the command ends: one may be waiting for a key, or for a terminal that was stopped, and the
//! process's exit ends both.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// The most keys in one piece: what a terminal hands out at once.
const KEYS: usize = 4096;

/// Pieces of output on their way to the screen, at most 256 KiB each.
const PIECES: usize = 2;

/// What the person types.
#[derive(Debug)]
pub(super) struct Keys {
    /// Ends when stdin does.
    pub(super) typed: mpsc::Receiver<Bytes>,
}

impl Keys {
    pub(super) fn start() -> Self {
        let (sender, typed) = mpsc::channel(1);
        thread::spawn(move || {
            let mut buffer = [0; KEYS];
            loop {
                match io::stdin().lock().read(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => {
                        if sender.blocking_send(Bytes::copy_from_slice(&buffer[..read])).is_err() {
                            return;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self { typed }
    }
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    pieces: mpsc::Sender<Bytes>,
    done: oneshot::Receiver<io::Result<()>>,
}

/// Room for one piece.
#[derive(Debug)]
pub(super) struct Room<'a> {
    screen: &'a mpsc::Sender<Bytes>,
    permit: mpsc::Permit<'a, Bytes>,
}

impl Screen {
    pub(super) fn start() -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
        let (result, done) = oneshot::channel();
        thread::spawn(move || {
            let mut write_all = || {
                // The descriptor itself: what has been written must be out, however this process ends.
                let mut stdout = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
                while let Some(piece) = queue.blocking_recv() {
                    stdout.write_all(&piece)?;
                }
                Ok(())
            };
            let written = write_all();
            drop(queue);
            // Nobody asks when the command has ended by then.
            let _ = result.send(written);
        });
        Self { pieces, done }
    }

    /// Waits for room; `None` once nothing can be written any more.
    pub(super) async fn room(&self) -> Option<Room<'_>> {
        let permit = self.pieces.reserve().await.ok()?;
        Some(Room { screen: &self.pieces, permit })
    }

    /// Waits until all is written.
    pub(super) async fn finish(self) -> io::Result<()> {
        drop(self.pieces);
        match self.done.await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

impl Room<'_> {
    pub(super) fn show(self, piece: Bytes) {
        self.permit.send(piece);
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn closed(&self) {
        self.screen.closed().await;
    }
}
