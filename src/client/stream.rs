//! The two halves of a connection: those of a socket, or of any other stream.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, split},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What a client receives from.
pub(super) struct StreamReader {
    half: ReadingHalf,
    /// Reads that brought bytes.
    heard: Arc<AtomicU64>,
}

enum ReadingHalf {
    Socket(OwnedReadHalf),
    Other(Shareable<Box<dyn AsyncRead + Send + Unpin>>),
}

/// What a client sends by.
pub(super) enum StreamWriter {
    Socket(OwnedWriteHalf),
    Other(Shareable<Box<dyn AsyncWrite + Send + Unpin>>),
}

/// What only its owner uses, and so may be referred to from any thread: `Sync` whether `T` is or not. The lock is never
/// taken.
pub(super) struct Shareable<T>(Mutex<T>);

impl<T> Shareable<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The halves of a socket, which share it without a lock.
pub(super) fn halves_of_socket(socket: UnixStream) -> (StreamReader, StreamWriter) {
    let (read, write) = socket.into_split();
    (StreamReader::new(ReadingHalf::Socket(read)), StreamWriter::Socket(write))
}

/// The halves of any stream.
pub(super) fn halves(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> (StreamReader, StreamWriter) {
    let (read, write) = split(stream);
    let (read, write) = (Shareable::new(Box::new(read) as _), Shareable::new(Box::new(write) as _));
    (StreamReader::new(ReadingHalf::Other(read)), StreamWriter::Other(write))
}

#[cfg(feature = "web")]
impl StreamWriter {
    /// Whether the other end of a socket is closed. Of any other stream that is not known.
    pub(super) fn is_hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let Self::Socket(half) = self else { return false };
        let socket: &UnixStream = half.as_ref();
        // A hangup is always told.
        let mut polled = [PollFd::new(socket, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }
}

impl StreamReader {
    fn new(half: ReadingHalf) -> Self {
        Self { half, heard: Arc::default() }
    }

    /// The count of reads that brought bytes, which goes on counting.
    pub(super) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = match &mut this.half {
            ReadingHalf::Socket(read) => Pin::new(read).poll_read(context, buffer),
            ReadingHalf::Other(read) => Pin::new(read.get_mut()).poll_read(context, buffer),
        };
        ready!(read)?;
        if buffer.filled().len() > before {
            // Relaxed: it stands for itself.
            this.heard.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(write) => Pin::new(write).poll_write(context, bytes),
            Self::Other(write) => Pin::new(write.get_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(write) => Pin::new(write).poll_flush(context),
            Self::Other(write) => Pin::new(write.get_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(write) => Pin::new(write).poll_shutdown(context),
            Self::Other(write) => Pin::new(write.get_mut()).poll_shutdown(context),
        }
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter").finish_non_exhaustive()
    }
}
