//! What a session promises its readers, under every interleaving of its pump and their writers.
//!
//! Session, printer, history, pace and registry are the real ones. In place of the pump and of a connection's writer
//! stand loops without a terminal and without a socket, which decide as those do.

use bytes::Bytes;

use super::{printer::Printer, *};
use crate::{
    message::{Pace, SizePolicy},
    sync::{
        Rank,
        channel::{self, Receiver},
        model,
    },
};

/// Nothing is missed: not the last message, not the end, whatever was skipped.
mod delivery;
/// The pump waits for whom it should, and for nobody else.
mod pace;
/// Pump, writers, history and pace together, for the checker of random schedules.
#[cfg(fugue_shuttle)]
mod together;

/// Longer than what any model prints.
const LARGE: usize = 1 << 20;

/// So small that its window is four bytes, and that nothing is held which nobody needs.
const SMALL: usize = 16;

const STATUS: ExitStatus = ExitStatus::Code(7);

fn registry() -> ClientRegistry<Arc<ServerMessage>> {
    ClientRegistry::builder().shards(1).build().unwrap()
}

/// A session without a terminal and without a model of its screen.
fn session(registry: &ClientRegistry<Arc<ServerMessage>>, history_bytes: usize, pace: Pace) -> Arc<Session> {
    let size = TerminalSize::DEFAULT;
    Arc::new(Session {
        id: SessionId::from(1_u64),
        name: "model".parse().unwrap(),
        command: String::new(),
        started: Instant::now(),
        pid: None,
        pty: None,
        sizing: Mutex::new(Rank::Size, Sizing::new(SizePolicy::Fixed, size)),
        size: AtomicU32::new(packed(size)),
        history: History::new(history_bytes, pace),
        waiting: Waiting::default(),
        screen: Screen::new(None),
        queries: Mutex::new(Rank::Leaf, Queries::default()),
        registry: registry.clone(),
        hang_up: CancellationToken::new(),
        gone: CancellationToken::new(),
    })
}

/// The byte at an offset, of every model's output.
fn byte(offset: u64) -> u8 {
    b'a' + (offset % 26) as u8
}

/// What stands in for a pump.
struct Pump {
    session: Arc<Session>,
    printer: Printer,
    waits: usize,
}

impl Pump {
    fn new(session: &Arc<Session>) -> Self {
        let publisher = session.registry.publisher(session.id);
        Self {
            session: Arc::clone(session),
            printer: Printer::new(Arc::clone(session), publisher, None),
            waits: 0,
        }
    }

    /// Prints these many chunks of one byte as one burst, whoever has room.
    fn burst(&mut self, chunks: u64) {
        let head = self.printer.head();
        let mut chunks = (head..head + chunks).map(|at| Bytes::copy_from_slice(&[byte(at)])).collect();
        self.printer.print(&mut chunks, Instant::now());
    }

    /// Waits for room as the pump does, and returns it.
    fn room(&mut self) -> u64 {
        loop {
            let room = self.session.history.room();
            if room > 0 {
                return room;
            }
            self.waits += 1;
            model::block_on(self.session.waiting.wait());
        }
    }

    /// Prints `bytes` more, at most `turn` at a time, as its readers have room.
    fn pump(&mut self, bytes: u64, turn: u64) {
        let end = self.printer.head() + bytes;
        while self.printer.head() < end {
            let room = self.room().min(turn).min(end - self.printer.head());
            let at = self.printer.head();
            let chunk: Vec<u8> = (at..at + room).map(byte).collect();
            self.printer.print(&mut vec![Bytes::from(chunk)], Instant::now());
        }
    }

    fn end(self) {
        self.printer.finish(STATUS);
    }
}

/// What stands in for a connection's writer, with a client that takes all it is sent.
struct Writer {
    session: Arc<Session>,
    client: ClientId,
    queue: Receiver<Arc<ServerMessage>>,
    /// What it was woken by.
    inbox: Option<Arc<ServerMessage>>,
    reader: Reader,
    cursor: u64,
    /// What the client has, from `reader.start()` on.
    taken: Vec<u8>,
    /// What was no longer held when it came to it, by offsets.
    gaps: Vec<(u64, u64)>,
}

impl Writer {
    /// A client with a queue of this many places that watches the session.
    fn attach(session: &Arc<Session>, places: usize, start: StartAt, on_lag: OnLag) -> Self {
        let client = session.registry.next_client_id();
        let (sender, queue) = channel::channel(places);
        session.registry.register_client(client, sender).unwrap();
        // In the order of a connection: first what keeps the bytes, then what announces them.
        let reader = session.read_from(start, on_lag).unwrap();
        session.registry.attach_to_session(client, session.id).unwrap();
        let cursor = reader.start();
        Self {
            session: Arc::clone(session),
            client,
            queue,
            inbox: None,
            reader,
            cursor,
            taken: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Takes all there is until the session has ended, and returns how.
    fn run(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.take_what_is_there() {
                return status;
            }
            self.sleep();
        }
    }

    /// Takes all there is until it has every byte before `end`. Nothing else is a doorbell after the last of them, so who
    /// missed that would sleep for ever.
    fn run_until(&mut self, end: u64) {
        while self.cursor < end {
            self.take_what_is_there();
            if self.cursor < end {
                self.sleep();
            }
        }
    }

    /// Sleeps until there is a message.
    fn sleep(&mut self) {
        let message = model::block_on(self.queue.recv());
        self.inbox = Some(message.expect("it is registered"));
    }

    /// Until there is nothing to take; the status if that is for good.
    fn take_what_is_there(&mut self) -> Option<ExitStatus> {
        loop {
            let before = self.cursor;
            while let Some(message) = self.inbox.take().or_else(|| self.queue.try_recv().ok()) {
                if !self.take_message(message) {
                    break;
                }
            }
            if self.cursor == before {
                let mut pieces = Vec::new();
                match self.session.read(self.cursor, LARGE, &mut pieces) {
                    Read::Data => pieces.iter().for_each(|piece| self.take(piece)),
                    Read::AtHead => return None,
                    Read::Ended(status) => return Some(status),
                    Read::Evicted { oldest } => {
                        self.gaps.push((self.cursor, oldest));
                        self.cursor = oldest;
                    }
                }
            }
            if self.cursor != before {
                self.session.advance(&self.reader, self.cursor);
            }
        }
    }

    /// Takes what comes next of a message. Returns whether nothing was missed before it.
    fn take_message(&mut self, message: Arc<ServerMessage>) -> bool {
        let ServerMessage::Output { offset, data, .. } = &*message else { return true };
        let Some(written) = self.cursor.checked_sub(*offset) else { return false };
        if let Some(rest) = data.get(written as usize..) {
            self.take(rest);
        }
        true
    }

    fn take(&mut self, data: &[u8]) {
        for taken in data {
            assert_eq!(*taken, byte(self.cursor), "at offset {}", self.cursor);
            self.taken.push(*taken);
            self.cursor += 1;
        }
    }

    fn leave(self) {
        self.session.registry.unregister_client(self.client);
        self.session.leave(&self.reader);
    }

    /// That the client has every byte from its start to `end`, but for the gaps.
    fn assert_whole(&self, end: u64) {
        assert_eq!(self.cursor, end);
        let missing: u64 = self.gaps.iter().map(|(from, to)| to - from).sum();
        assert_eq!(self.taken.len() as u64 + missing, end - self.reader.start());
    }
}
