//! Output on its way to a file or pipe that may be slow: what that does not take at once waits in a temporary file.
//!
//! One thread puts output in and another writes it out, in order. A few pieces wait in memory. What comes while those
//! wait is appended to an unlinked file of a bounded size, so that whoever puts output in goes on. Only once the file
//! is full, or can't be written, does it wait for the reader, and says so once.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::super::bytes::about;

/// How many pieces wait in memory.
const PIECES: usize = 4;

/// The most that is read back and written out at once, in bytes.
const BLOCK: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Spool {
    /// The most that waits in the file, in bytes.
    limit: u64,
    /// Tells the person something, without waiting.
    tell: fn(String),
    state: Mutex<Spooled>,
    changed: Condvar,
}

/// What waits: first the pieces, then what the file holds.
#[derive(Debug, Default)]
struct Spooled {
    /// Each is here until it is written.
    pieces: VecDeque<Bytes>,
    file: Option<Arc<File>>,
    /// How much of what was put into the file is written out. Its place in the file is the remainder by the limit: what
    /// was read back is written over.
    read: u64,
    /// How much was put into the file.
    filled: u64,
    /// The file can't be used, or no longer.
    is_broken: bool,
    was_full: bool,
    /// Nothing comes any more.
    is_closed: bool,
    /// Nothing can be written any more.
    has_failed: bool,
}

/// Where a piece can go.
enum Room {
    /// It is with the others in memory.
    Taken,
    /// To the end of the file.
    File,
    /// Nowhere, until some of what waits is written.
    Full,
    /// Nothing can be written any more.
    Gone,
}

/// What is to be written next.
enum Oldest {
    Piece(Bytes),
    /// From this place in the file, so many bytes.
    InFile(Arc<File>, u64, u64),
    End,
}

impl Spooled {
    fn in_file(&self) -> u64 {
        self.filled - self.read
    }

    fn room(&mut self, piece: &Bytes, limit: u64) -> Room {
        let all = self.in_file().saturating_add(piece.len() as u64);
        if self.has_failed {
            Room::Gone
        } else if self.in_file() == 0 && self.pieces.len() < PIECES {
            self.pieces.push_back(piece.clone());
            Room::Taken
        } else if self.is_broken || all > limit {
            Room::Full
        } else {
            Room::File
        }
    }

    fn oldest(&self, limit: u64) -> Option<Oldest> {
        if let Some(piece) = self.pieces.front() {
            return Some(Oldest::Piece(piece.clone()));
        }
        if let Some(file) = self.file.as_ref().filter(|_| self.in_file() > 0) {
            let place = self.read % limit;
            let length = BLOCK.min(self.in_file()).min(limit - place);
            return Some(Oldest::InFile(Arc::clone(file), place, length));
        }
        self.is_closed.then_some(Oldest::End)
    }
}

impl Spool {
    pub(super) fn new(limit: u64, tell: fn(String)) -> Self {
        Self { limit, tell, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Puts a piece in. Waits only once the file is full, or can't be used. Returns whether anything can still be
    /// written.
    pub(super) fn push(&self, piece: &Bytes) -> bool {
        loop {
            self.give_back();
            let room = self.with(|state| state.room(piece, self.limit));
            let appended = match room {
                Room::Taken => return true,
                Room::Gone => return false,
                Room::File => self.append(piece),
                Room::Full => {
                    self.wait_for_room(piece);
                    continue;
                }
            };
            match appended {
                Ok(()) => return true,
                Err(error) => {
                    self.with(|state| state.is_broken = true);
                    (self.tell)(format!(
                        "output can't wait in a temporary file ({error}): from here on, the program waits while this \
                         is read too slowly"
                    ));
                }
            }
        }
    }

    /// Waits until all is written. Returns whether it could be.
    pub(super) fn drained(&self) -> bool {
        self.wait_for(|state| {
            let is_empty = state.pieces.is_empty() && state.in_file() == 0;
            (is_empty || state.has_failed).then_some(!state.has_failed)
        })
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.with(|state| state.is_closed = true);
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> u64 {
        self.with(|state| state.in_file() + state.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>())
    }

    /// Writes out what is put in, until nothing comes any more.
    pub(super) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let written = self.write_all_to(out);
        if written.is_err() {
            self.with(|state| state.has_failed = true);
        }
        written
    }

    fn write_all_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut block = Vec::new();
        loop {
            match self.wait_for(|state| state.oldest(self.limit)) {
                Oldest::Piece(piece) => {
                    out.write_all(&piece)?;
                    self.with(|state| state.pieces.pop_front());
                }
                Oldest::InFile(file, place, length) => {
                    block.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
                    file.read_exact_at(&mut block, place).map_err(|error| {
                        io::Error::other(format!("reading back the temporary file failed: {error}"))
                    })?;
                    out.write_all(&block)?;
                    self.with(|state| state.read += length);
                }
                Oldest::End => return Ok(()),
            }
        }
    }

    /// Appends to the file, which has room for it.
    fn append(&self, piece: &[u8]) -> io::Result<()> {
        let (file, filled) = self.with(|state| (state.file.clone(), state.filled));
        let file = match file {
            Some(file) => file,
            None => Arc::new(tempfile::tempfile()?),
        };
        let place = filled % self.limit;
        let to_end = usize::try_from(self.limit - place).unwrap_or(usize::MAX);
        let (first, rest) = piece.split_at(piece.len().min(to_end));
        file.write_all_at(first, place)?;
        file.write_all_at(rest, 0)?;
        self.with(|state| {
            state.file = Some(file);
            state.filled += piece.len() as u64;
        });
        Ok(())
    }

    /// Gives the file's space back if all of it is read. Only what puts output in fills it meanwhile.
    fn give_back(&self) {
        let emptied = self.with(|state| {
            let is_emptied = state.in_file() == 0 && state.filled > 0;
            is_emptied.then(|| {
                (state.read, state.filled) = (0, 0);
                state.file.clone()
            })
        });
        if let Some(file) = emptied.flatten() {
            // It is written over if it can't be cut.
            let _ = file.set_len(0);
        }
    }

    fn wait_for_room(&self, piece: &Bytes) {
        let (is_first, waiting) = self.with(|state| {
            // Of a broken file this was told, and where nothing may wait it was asked for.
            let is_first = !state.was_full && !state.is_broken && self.limit > 0;
            state.was_full = true;
            (is_first, state.in_file())
        });
        if is_first {
            (self.tell)(format!(
                "{} wait to be read, the most that may: from here on, the program waits while this is read too slowly",
                about(waiting)
            ));
        }
        self.wait_for(|state| {
            let fits = state.in_file().saturating_add(piece.len() as u64) <= self.limit && !state.is_broken;
            let is_emptied = state.in_file() == 0 && state.pieces.len() < PIECES;
            (fits || is_emptied || state.has_failed).then_some(())
        });
    }

    fn lock(&self) -> MutexGuard<'_, Spooled> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, and wakes the other thread.
    fn with<T>(&self, change: impl FnOnce(&mut Spooled) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }

    fn wait_for<T>(&self, mut found: impl FnMut(&mut Spooled) -> Option<T>) -> T {
        let mut state = self.lock();
        loop {
            if let Some(found) = found(&mut state) {
                return found;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
    };

    use proptest::prelude::*;

    use super::*;

    /// Takes a write for each token.
    struct Gated {
        tokens: mpsc::Receiver<()>,
        taken: Vec<u8>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.tokens.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn numbered(length: usize, from: usize) -> Bytes {
        (from..from + length).map(|number| (number % 251) as u8).collect()
    }

    /// Puts pieces in while so many writes are taken before each, and the rest at the end.
    fn passes(limit: u64, pieces: &[(usize, usize)]) {
        let spool = Spool::new(limit, drop);
        let (token, tokens) = mpsc::sync_channel(4096);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut out = Gated { tokens, taken: Vec::new() };
                spool.write_to(&mut out).map(|()| out.taken)
            });
            let mut all = 0;
            for (length, taken) in pieces {
                for _ in 0..*taken {
                    token.send(()).unwrap();
                }
                assert!(spool.push(&numbered(*length, all)));
                all += length;
            }
            spool.close();
            // More than there can be writes.
            for _ in 0..pieces.len() * 3 + 100 {
                // It ends once all is written.
                let _ = token.send(());
            }
            assert!(spool.drained());
            assert_eq!(writer.join().unwrap().unwrap(), numbered(all, 0));
        });
        assert_eq!(spool.waiting(), 0);
    }

    proptest! {
        #[test]
        fn all_comes_out_in_order_however_slowly_it_is_read(
            pieces in prop::collection::vec((1_usize..3000, 0_usize..3), 1..60),
        ) {
            // All fits, at whatever pace.
            passes(200_000, &pieces);
        }

        #[test]
        fn what_was_read_back_is_written_over(pieces in prop::collection::vec(1_usize..300, 1..200)) {
            // Nothing waits for long: each piece comes with the tokens for it.
            let pieces: Vec<_> = pieces.into_iter().map(|length| (length, 3)).collect();
            passes(1000, &pieces);
        }
    }

    #[test]
    fn a_full_spool_waits_for_the_reader_and_says_so_once() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let tell = |text: String| {
            assert!(text.contains("1.00 KiB wait to be read"), "{text}");
            TOLD.fetch_add(1, Ordering::Relaxed);
        };
        let spool = Spool::new(1024, tell);
        let (token, tokens) = mpsc::sync_channel(100);
        thread::scope(|scope| {
            let (is_pushed, pushed) = mpsc::sync_channel(100);
            let spool = &spool;
            scope.spawn(move || {
                for number in 0..12 {
                    assert!(spool.push(&numbered(256, number * 256)));
                    is_pushed.send(()).unwrap();
                }
                spool.close();
            });
            let writer = scope.spawn(move || {
                let mut out = Gated { tokens, taken: Vec::new() };
                spool.write_to(&mut out).map(|()| out.taken)
            });
            for _ in 0..PIECES + 4 {
                pushed.recv().unwrap();
            }
            let is_full = || spool.with(|state| state.was_full);
            while !is_full() {
                thread::yield_now();
            }
            assert_eq!(spool.waiting(), 256 * (PIECES as u64 + 4));
            assert!(pushed.try_recv().is_err(), "it waits");
            for _ in 0..100 {
                let _ = token.send(());
            }
            assert_eq!(writer.join().unwrap().unwrap(), numbered(12 * 256, 0));
        });
        assert_eq!(TOLD.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_reader_that_goes_ends_a_wait_for_room() {
        let spool = Spool::new(0, |text| panic!("this was asked for: {text}"));
        let (token, tokens) = mpsc::sync_channel::<()>(1);
        thread::scope(|scope| {
            let writer = scope.spawn(|| spool.write_to(&mut Gated { tokens, taken: Vec::new() }));
            for _ in 0..PIECES {
                assert!(spool.push(&numbered(1, 0)));
            }
            let waits = scope.spawn(|| spool.push(&numbered(1, 0)));
            drop(token);
            assert!(!waits.join().unwrap());
            assert_eq!(writer.join().unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert!(!spool.drained());
        });
    }

    #[test]
    fn a_file_that_cannot_be_written_is_gone_without() {
        let told = |text: String| assert!(text.contains("can't wait in a temporary file"), "{text}");
        let spool = Spool::new(1 << 20, told);
        // It can only be read.
        spool.with(|state| state.file = Some(Arc::new(File::open("/dev/null").unwrap())));
        let (token, tokens) = mpsc::sync_channel(100);
        thread::scope(|scope| {
            let spool = &spool;
            let pushes = scope.spawn(move || (0..20).all(|number| spool.push(&numbered(10, number * 10))));
            let writer = scope.spawn(move || {
                let mut out = Gated { tokens, taken: Vec::new() };
                spool.write_to(&mut out).map(|()| out.taken)
            });
            while !spool.with(|state| state.is_broken) {
                thread::yield_now();
            }
            for _ in 0..20 {
                let _ = token.send(());
            }
            assert!(pushes.join().unwrap());
            spool.close();
            assert_eq!(writer.join().unwrap().unwrap(), numbered(200, 0));
        });
    }
}
