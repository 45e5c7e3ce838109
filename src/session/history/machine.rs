//! Random operations on a log, against a model that keeps nothing but offsets: what is printed is known by where it
//! stands, so that every byte that is read can be checked, and what is held, evicted, charged and waited for as well.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*};

use super::*;

const LIMIT: usize = 32 * 1024;
const WINDOW: u64 = LIMIT as u64 / 4;

/// The largest piece that is printed. Sixteen of those are more than the log holds.
const LARGEST: u64 = 3000;

/// Everything that is drawn as a `u64` is taken modulo what there is.
#[derive(Clone, Debug)]
enum Operation {
    Print(Vec<u64>),
    Attach {
        start: StartAt,
        lossless: bool,
    },
    Detach(u64),
    /// A reader takes at most so many bytes from its cursor on, if they are held, and advances.
    Take {
        reader: u64,
        at_most: usize,
    },
    /// A reader is entitled to hold the program back, or not.
    Entitle {
        reader: u64,
        is: bool,
    },
    Read {
        from: u64,
        at_most: usize,
    },
    /// The screen's model is so many bytes further.
    Feed(u64),
    End,
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = || prop_oneof![1..20_u64, 1..LARGEST];
    let at_most = || prop_oneof![1..100_usize, 1..2 * LIMIT];
    let reader = 0..100_u64;
    prop_oneof![
        8 => vec(size(), 1..PIECES).prop_map(Operation::Print),
        3 => (start(), any::<bool>()).prop_map(|(start, lossless)| Operation::Attach { start, lossless }),
        1 => reader.clone().prop_map(Operation::Detach),
        8 => (reader.clone(), at_most()).prop_map(|(reader, at_most)| Operation::Take { reader, at_most }),
        1 => (reader, any::<bool>()).prop_map(|(reader, is)| Operation::Entitle { reader, is }),
        3 => (any::<u64>(), at_most()).prop_map(|(from, at_most)| Operation::Read { from, at_most }),
        4 => (0..LIMIT as u64).prop_map(Operation::Feed),
        1 => Just(Operation::End),
    ]
}

fn start() -> impl Strategy<Value = StartAt> {
    prop_oneof![
        Just(StartAt::Now),
        Just(StartAt::Oldest),
        Just(StartAt::Screen),
        (0..LIMIT as u64).prop_map(StartAt::Last),
        (0..3 * LIMIT as u64).prop_map(StartAt::Offset),
    ]
}

/// Operations in a case, and pieces that one of them prints.
const OPERATIONS: usize = 60;
const PIECES: usize = 20;

/// All that a case can print: letters, and now and then a line feed.
static STREAM: LazyLock<Bytes> = LazyLock::new(|| {
    let letter = |offset: u64| b'a' + (offset % 26) as u8;
    let is_feed = |offset: u64| offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58 == 0;
    let all = OPERATIONS as u64 * PIECES as u64 * LARGEST;
    (0..all).map(|offset| if is_feed(offset) { b'\n' } else { letter(offset) }).collect()
});

fn printed(range: std::ops::Range<u64>) -> Bytes {
    STREAM.slice(range.start as usize..range.end as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_does_what_the_model_does(
        pace in prop_oneof![Just(Pace::Fastest), Just(Pace::Slowest), Just(Pace::Free)],
        has_screen: bool,
        operations in vec(operation(), 1..OPERATIONS),
    ) {
        let mut model = Reference::new(pace, has_screen);
        for operation in &operations {
            model.perform(operation);
            model.compare();
        }
    }
}

struct Reference {
    log: History,
    pace: Pace,
    head: u64,
    oldest: u64,
    readers: Vec<ModelReader>,
    /// How far the screen's model is, where there is one.
    floor: Option<u64>,
    waits: u64,
    ended: bool,
}

struct ModelReader {
    reader: Reader,
    cursor: u64,
    lossless: bool,
    is_holding: bool,
    /// Whether it was entitled to hold the program all the time, so that nothing it needs may be gone.
    is_safe: bool,
}

const STATUS: ExitStatus = ExitStatus::Code(7);

impl Reference {
    fn new(pace: Pace, has_screen: bool) -> Self {
        let log = History::new(LIMIT, pace);
        let floor = has_screen.then_some(0);
        floor.into_iter().for_each(|floor| log.set_floor(floor));
        Self { log, pace, head: 0, oldest: 0, readers: Vec::new(), floor, waits: 0, ended: false }
    }

    /// Whose needs the session's pace puts before the bound.
    fn hold(&self) -> Option<u64> {
        let cursors = |of: &dyn Fn(&ModelReader) -> bool| -> Vec<u64> {
            self.readers.iter().filter(|reader| of(reader)).map(|reader| reader.cursor).collect()
        };
        let fastest = cursors(&|_| true).into_iter().max();
        let slowest = cursors(&|reader| reader.is_holding).into_iter().min();
        let lossless = cursors(&|reader| reader.is_holding && reader.lossless).into_iter().min();
        let every = match self.pace {
            Pace::Fastest => fastest,
            Pace::Slowest => slowest.or(fastest),
            Pace::Free => None,
        };
        [every, lossless].into_iter().flatten().min()
    }

    fn perform(&mut self, operation: &Operation) {
        let readers = self.readers.len() as u64;
        match *operation {
            // Nothing is printed after the end.
            Operation::Print(ref sizes) if !self.ended => self.print(sizes),
            Operation::Attach { start, lossless } => self.attach(start, lossless),
            Operation::Detach(reader) if readers > 0 => {
                let gone = self.readers.remove((reader % readers) as usize);
                self.log.detach(&gone.reader);
            }
            Operation::Take { reader, at_most } if readers > 0 => {
                let at = (reader % readers) as usize;
                let taken = self.read(self.readers[at].cursor, at_most);
                let reader = &mut self.readers[at];
                reader.cursor += taken;
                self.log.advance(&reader.reader, reader.cursor);
            }
            Operation::Entitle { reader, is } if readers > 0 => {
                let reader = &mut self.readers[(reader % readers) as usize];
                self.log.set_holding(&reader.reader, is);
                reader.is_holding = is;
                reader.is_safe &= is;
            }
            Operation::Read { from, at_most } => {
                self.read(from % (self.head + 10), at_most);
            }
            Operation::Feed(bytes) => {
                if let Some(floor) = self.floor.as_mut() {
                    *floor = (*floor + bytes).min(self.head);
                    self.log.set_floor(*floor);
                }
            }
            Operation::End => {
                self.log.end(STATUS);
                self.ended = true;
            }
            _ => {}
        }
    }

    fn print(&mut self, sizes: &[u64]) {
        let mut data = Vec::new();
        for size in sizes {
            data.push(printed(self.head..self.head + size));
            self.head += size;
        }
        assert_eq!(self.log.append(&data), self.head);

        let oldest = self.log.with(|log| log.oldest());
        let held = self.log.span().held_bytes;
        let keep = self.hold().unwrap_or(u64::MAX).min(self.floor.unwrap_or(u64::MAX));
        assert!(oldest <= keep.max(self.oldest), "evicted up to {oldest}, but {keep} is needed");
        let next = self.log.with(|log| log.chunks.front().map_or(0, LogChunk::end));
        assert!(held <= LIMIT || next > keep, "{held} bytes are held, and nobody needs the oldest");
        let piece = MERGE_UP_TO.max(LARGEST as usize) + CHUNK_COST;
        assert!(oldest == self.oldest || held + piece > LIMIT, "more was evicted than had to be");
        self.oldest = oldest;
    }

    fn attach(&mut self, start: StartAt, lossless: bool) {
        let (oldest, head) = (self.oldest, self.head);
        let expected = match start {
            StartAt::Now => Ok(head),
            StartAt::Screen => Ok(self.line_start(head.saturating_sub(TAIL).max(oldest))),
            StartAt::Oldest => Ok(oldest),
            StartAt::Last(bytes) => Ok(self.line_start(head.saturating_sub(bytes).max(oldest))),
            StartAt::Offset(offset) if offset >= oldest && offset <= head => Ok(offset),
            StartAt::Offset(offset) => Err(NotHeld { offset, oldest, head }),
        };
        let on_lag = if lossless { OnLag::Lossless } else { OnLag::Resync };
        let attached = self.log.attach(start, on_lag);
        assert_eq!(attached.as_ref().map(Reader::start), expected.as_ref().copied(), "{start:?}");
        if let Ok(reader) = attached {
            let cursor = reader.start();
            self.readers.push(ModelReader { reader, cursor, lossless, is_holding: true, is_safe: lossless });
        }
    }

    /// The first line that begins at `from` or later, as far as what is held shows it.
    fn line_start(&self, from: u64) -> u64 {
        let mut begins =
            (from.max(self.oldest + 1)..self.head).filter(|start| STREAM[*start as usize - 1] == b'\n');
        if from == 0 { 0 } else { begins.next().unwrap_or(from) }
    }

    /// Reads and checks what comes; returns how many bytes that was.
    fn read(&self, from: u64, at_most: usize) -> u64 {
        let mut pieces = Vec::new();
        let outcome = self.log.read(from, at_most, &mut pieces);
        assert!(pieces.len() <= MAX_PIECES && pieces.iter().all(|piece| !piece.is_empty()));
        let data = pieces.concat();
        let expected = if from >= self.head {
            if self.ended { Read::Ended(STATUS) } else { Read::AtHead }
        } else if from < self.oldest {
            Read::Evicted { oldest: self.oldest }
        } else {
            let all = at_most.min((self.head - from) as usize);
            let is_all = data.len() == all || pieces.len() == MAX_PIECES && (1..all).contains(&data.len());
            assert!(is_all, "{} bytes of {all} in {} pieces", data.len(), pieces.len());
            Read::Data
        };
        assert_eq!(outcome, expected, "from {from}");
        assert!(outcome == Read::Data || data.is_empty());
        assert!(data == printed(from..from + data.len() as u64), "wrong bytes from {from} on");
        data.len() as u64
    }

    fn compare(&mut self) {
        let span = self.log.span();
        assert_eq!((span.head, self.log.head()), (self.head, self.head));
        assert_eq!(span.ended, self.ended.then_some(STATUS));
        // The chunks follow one another up to the head, and are charged.
        let (charged, end) = self.log.with(|log| {
            let end = log.chunks.iter().fold(log.oldest(), |end, chunk| {
                assert_eq!(chunk.offset, end);
                chunk.end()
            });
            (log.chunks.iter().map(LogChunk::charge).sum::<usize>(), end)
        });
        assert_eq!((span.held_bytes, end), (charged, self.head));
        assert_eq!(self.log.with(|log| log.oldest()), self.oldest, "evicted without an append");

        let room = |from: Option<u64>, ahead: u64| from.map(|from| (from + ahead).saturating_sub(self.head));
        let (readers, screen) = (room(self.hold(), WINDOW), room(self.floor, LIMIT as u64 / 2));
        if screen == Some(0) && readers != Some(0) {
            self.waits += 1;
        }
        let expected = readers.into_iter().chain(screen).min().unwrap_or(u64::MAX);
        assert_eq!(self.log.room(), expected);
        assert_eq!(self.log.span().model_waits, self.waits);
        for reader in &self.readers {
            assert!(!reader.is_safe || reader.cursor >= self.oldest, "a lossless reader lost bytes");
            self.read(reader.cursor, 4096);
        }
        for edge in [self.oldest, self.head] {
            self.read(edge.saturating_sub(1), 100);
            self.read(edge, 100);
            let passing = self.log.attach(StartAt::Offset(edge), OnLag::Resync).unwrap();
            assert_eq!(passing.start(), edge);
            self.log.detach(&passing);
        }
        if let Some(floor) = self.floor {
            assert!(floor >= self.oldest, "what the screen's model needs next is gone");
            self.read(floor, 4096);
        }
    }
}
