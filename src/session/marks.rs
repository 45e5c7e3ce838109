//! What has to be known of a session though its server was killed in the middle of something: in a memory file, which
//! the keeper holds as well. Each mark is one short write, made before what it speaks of is told to anybody.
//!
//! ```text
//! 0      the offset after the newest byte of output that clients may have been told of
//! 8      1 while more is being read from the terminal, which nothing says of yet
//! 16     the terminal: its file system, its device
//! 32     64 streams of input: id, bytes that were typed or are being typed, when it was used
//! 2080   the terminal's size: columns, rows, and both in pixels, of two bytes each
//! 4096   the last picture of the screen: its length, its offset, its bytes
//! 512 Ki 960 more streams of input
//! ```

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::{pread, pwrite},
};
use tracing::debug;

use super::{pty::TerminalId, size::Window};
use crate::{
    TerminalSize,
    message::{InputStreamId, PixelSize},
};

const READING: u64 = 8;
const TERMINAL: u64 = 16;
const STREAMS: u64 = 32;
const SIZE: u64 = 2080;
const PICTURE: u64 = 4096;

/// Streams of input whose places are kept. A server keeps as many of a session.
const MAX_STREAMS: usize = 1024;

/// As many of them as are kept first.
const FIRST_STREAMS: usize = 64;
const MORE_STREAMS: u64 = 512 * 1024;

/// What a stream takes: 16 bytes of id, 8 of place, 8 of time.
const STREAM: usize = 32;

/// The largest picture that is kept, in bytes.
const MAX_PICTURE: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct SessionMarks {
    file: OwnedFd,
    /// Counts what is written about streams, so that the one used last is known.
    clock: AtomicU64,
    /// The offset of the last picture.
    pictured: AtomicU64,
}

/// Where a stream's place is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputMark {
    stream: InputStreamId,
    slot: usize,
}

impl SessionMarks {
    pub(super) fn new(terminal: TerminalId, window: Window) -> io::Result<Self> {
        let file = memfd_create("fugue-marks", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, PICTURE + 16)?;
        let marks = Self { file, clock: AtomicU64::new(1), pictured: AtomicU64::new(0) };
        marks.write(TERMINAL, &[terminal.file_system, terminal.device].map(u64::to_ne_bytes).concat());
        marks.set_window(window);
        Ok(marks)
    }

    /// Those that another server made.
    pub(super) fn of(file: OwnedFd) -> Self {
        let marks = Self { file, clock: AtomicU64::new(0), pictured: AtomicU64::new(0) };
        let last = marks.streams().into_iter().map(|(_, _, used)| used).max().unwrap_or(0);
        marks.clock.store(last + 1, Ordering::Relaxed);
        marks.pictured.store(marks.number(PICTURE + 8), Ordering::Relaxed);
        marks
    }

    pub(super) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Something may be read from the terminal, until the next head is set.
    pub(super) fn set_reading(&self) {
        self.write(READING, &1_u64.to_ne_bytes());
    }

    /// Clients may be told of output before this offset from now on, and nothing else was read.
    pub(super) fn set_head(&self, head: u64) {
        self.write(0, &[head, 0].map(u64::to_ne_bytes).concat());
    }

    /// Whether all that was read is before the head.
    pub(super) fn is_exact(&self) -> bool {
        self.number(READING) == 0
    }

    pub(super) fn head(&self) -> u64 {
        self.number(0)
    }

    pub(super) fn terminal(&self) -> TerminalId {
        TerminalId { file_system: self.number(TERMINAL), device: self.number(TERMINAL + 8) }
    }

    /// The terminal has this size: what the system says may be another for a moment.
    pub(super) fn set_window(&self, window: Window) {
        let (width, height) = window.pixels.map_or((0, 0), |pixels| (pixels.width(), pixels.height()));
        let numbers = [window.size.cols(), window.size.rows(), width, height];
        self.write(SIZE, &numbers.map(u16::to_ne_bytes).concat());
    }

    pub(super) fn window(&self) -> Option<Window> {
        let bytes = self.number(SIZE).to_ne_bytes();
        let [cols, rows, width, height] =
            [0, 2, 4, 6].map(|at| u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
        Some(Window { size: TerminalSize::new(cols, rows)?, pixels: PixelSize::new(width, height) })
    }

    /// Where a stream's place is kept, and how far it is. A new one takes the place of the one that was not used for
    /// the longest time.
    pub(super) fn stream(&self, stream: InputStreamId) -> (InputMark, u64) {
        let streams = self.streams();
        let known = streams.iter().position(|(id, ..)| *id == stream.to_bytes());
        let place = || streams.iter().enumerate().min_by_key(|(_, (.., used))| used).map_or(0, |(at, _)| at);
        let mark = InputMark { stream, slot: known.unwrap_or_else(place) };
        (mark, known.map_or(0, |at| streams[at].1))
    }

    /// So much of a stream was typed, or is going to be typed now.
    pub(super) fn set_typed(&self, InputMark { stream, slot }: InputMark, bytes: u64) {
        let used = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut written = stream.to_bytes().to_vec();
        written.extend(bytes.to_ne_bytes());
        written.extend(used.to_ne_bytes());
        let place = match slot.checked_sub(FIRST_STREAMS) {
            None => STREAMS + (slot * STREAM) as u64,
            Some(after) => MORE_STREAMS + (after * STREAM) as u64,
        };
        self.write(place, &written);
    }

    /// Whether the picture is of the screen at this offset.
    pub(super) fn is_pictured(&self, at: u64) -> bool {
        self.pictured.load(Ordering::Relaxed) == at
    }

    /// Keeps a picture of the screen at an offset, unless it is too large. Until it is whole there is none.
    pub(super) fn set_picture(&self, at: u64, picture: &[u8]) {
        self.pictured.store(at, Ordering::Relaxed);
        if picture.len() <= MAX_PICTURE {
            self.write(PICTURE, &[0; 8]);
            if self.write(PICTURE + 16, picture) {
                self.write(PICTURE, &[picture.len() as u64, at].map(u64::to_ne_bytes).concat());
            }
        }
    }

    /// The last picture, and its offset. It is empty where there is none.
    pub(super) fn picture(&self) -> (Vec<u8>, u64) {
        let length = usize::try_from(self.number(PICTURE)).unwrap_or(0).min(MAX_PICTURE);
        let mut picture = vec![0; length];
        let read = pread(&self.file, &mut picture, PICTURE + 16).unwrap_or(0);
        picture.truncate(read);
        (picture, self.number(PICTURE + 8))
    }

    /// The streams: id, place, and when each was used.
    fn streams(&self) -> Vec<([u8; 16], u64, u64)> {
        let mut bytes = vec![0; MAX_STREAMS * STREAM];
        let (first, more) = bytes.split_at_mut(FIRST_STREAMS * STREAM);
        // What was never written is zeros, or beyond the end.
        for (part, at) in [(first, STREAMS), (more, MORE_STREAMS)] {
            if let Err(errno) = pread(&self.file, part, at) {
                debug!(%errno, "marks could not be read");
            }
        }
        let (streams, _) = bytes.as_chunks::<STREAM>();
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let stream = |bytes: &[u8; STREAM]| {
            let mut id = [0; 16];
            id.copy_from_slice(&bytes[..16]);
            (id, number(&bytes[16..24]), number(&bytes[24..]))
        };
        streams.iter().map(stream).collect()
    }

    fn number(&self, at: u64) -> u64 {
        let mut number = [0; 8];
        match pread(&self.file, &mut number, at) {
            Ok(8) => u64::from_ne_bytes(number),
            _ => 0,
        }
    }

    /// Returns whether all is written. Without memory for a page there is no mark, as without a keeper.
    fn write(&self, at: u64, bytes: &[u8]) -> bool {
        match pwrite(&self.file, bytes, at) {
            Ok(written) => written == bytes.len(),
            Err(errno) => {
                debug!(%errno, "a mark could not be written");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_marked_is_there_for_the_next_server() {
        let window = |cols, pixels| Window { size: TerminalSize::new(cols, 2).unwrap(), pixels };
        let marks = SessionMarks::new(TerminalId { file_system: 3, device: 4 }, window(80, None)).unwrap();
        assert_eq!(marks.window(), Some(window(80, None)));
        marks.set_window(window(90, PixelSize::new(7, 8)));
        marks.set_head(5);
        marks.set_picture(1, b"a longer picture");
        marks.set_picture(1, b"picture");
        marks.set_picture(2, &vec![0; MAX_PICTURE + 1]);
        let ids: Vec<_> = (0..=MAX_STREAMS).map(|_| InputStreamId::random()).collect();
        for (at, id) in ids.iter().enumerate() {
            let (mark, before) = marks.stream(*id);
            assert_eq!(before, 0);
            marks.set_typed(mark, at as u64 + 10);
        }
        let next = SessionMarks::of(marks.file().try_clone().unwrap());
        assert_eq!((next.head(), next.terminal()), (5, TerminalId { file_system: 3, device: 4 }));
        assert_eq!(next.picture(), (b"picture".to_vec(), 1));
        assert_eq!(next.window(), Some(window(90, PixelSize::new(7, 8))));
        assert!(next.is_exact());
        marks.set_reading();
        assert!(!next.is_exact());
        marks.set_head(6);
        assert!(next.is_exact());
        assert_eq!(next.stream(ids[0]).1, 0, "the oldest made room for the last");
        for (at, id) in ids.iter().enumerate().skip(1) {
            assert_eq!(next.stream(*id).1, at as u64 + 10);
        }
        // What is used goes on being kept.
        next.set_typed(next.stream(ids[1]).0, 100);
        next.set_typed(next.stream(InputStreamId::random()).0, 1);
        assert_eq!((next.stream(ids[1]).1, next.stream(ids[2]).1), (100, 0));
    }
}
