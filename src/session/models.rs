//! What a session promises its readers, under every interleaving of its pump and their followers.
//!
//! All of it is the code that ships: session, pump, feed, output, history, pace, follower and registry. Only a
//! program's terminal and a client's socket are stand-ins, of which one prints what it is told and the other counts.

use std::{future::poll_fn, io};

use bytes::Bytes;

use super::{
    follower::Draw,
    output::OutputSink,
    pump::{Pump, Source, Taken},
    *,
};
use crate::{
    message::{AttachOptions, Event, OnLag, Pace, SizePolicy, StartAt},
    sync::{Rank, model, queue},
    terminal::ScreenModel,
};

/// Nothing is missed: not the last message, not the end, whatever was skipped.
mod delivery;
/// A feed's prints are in the log once they are accepted, whatever ends it.
mod feeds;
/// The pump waits for whom it should, and for nobody else.
mod pace;
/// Pump, followers, history and pace together, for the checker of random schedules.
#[cfg(not(fugue_loom))]
mod together;

/// Longer than what any model prints.
pub(super) const LARGE: usize = 1 << 20;

/// So small that its window is four bytes, and that nothing is held which nobody needs.
pub(super) const SMALL: usize = 16;

pub(super) const STATUS: ExitStatus = ExitStatus::Code(7);

pub(super) fn registry() -> ClientRegistry<Arc<ServerMessage>> {
    ClientRegistry::builder().shards(1).build().unwrap()
}

/// A session without a terminal and without a model of its screen.
pub(super) fn session(
    registry: &ClientRegistry<Arc<ServerMessage>>,
    history_bytes: usize,
    pace: Pace,
) -> Arc<Session> {
    session_with(registry, history_bytes, pace, None)
}

pub(super) fn session_with(
    registry: &ClientRegistry<Arc<ServerMessage>>,
    history_bytes: usize,
    pace: Pace,
    screen: Option<Box<dyn ScreenModel>>,
) -> Arc<Session> {
    let size = TerminalSize::DEFAULT;
    let history = History::new(history_bytes, pace);
    if screen.is_some() {
        history.set_floor(0);
    }
    let answers = Arc::new(Answers::new(screen.is_some()));
    Arc::new(Session {
        id: SessionId::from(1_u64),
        name: Mutex::new(Rank::Name, "model".parse().unwrap()),
        command: String::new(),
        started: Instant::now(),
        pid: None,
        pty: None,
        feed: None,
        drawn: AtomicU64::new(0),
        kept: Mutex::new(Rank::Leaf, None),
        sizing: Mutex::new(Rank::Size, Sizing::new(SizePolicy::Fixed, Window { size, pixels: None })),
        surroundings: Surroundings::none(),
        size: AtomicU32::new(packed(size)),
        history,
        screen: Screen::new(screen, 0, size, Arc::clone(&answers)),
        answers,
        registry: registry.clone(),
        hang_up: CancellationToken::new(),
        survivor: std::sync::OnceLock::new(),
        gone: CancellationToken::new(),
        stands: CancellationToken::new(),
        title: None,
        times: Times::default(),
        resized_at: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        awaited: AtomicUsize::new(0),
        terminals: AtomicUsize::new(0),
        events: SessionEvents::none(),
    })
}

pub(super) fn output(session: &Arc<Session>) -> OutputSink {
    OutputSink::new(Arc::clone(session), session.registry.publisher(session.id), None)
}

/// The byte at an offset, of every model's output.
fn byte(offset: u64) -> u8 {
    b'a' + (offset % 26) as u8
}

/// What stands in for a program's terminal: it prints so many bytes, and is gone.
struct FakeTerminal {
    at: u64,
    end: u64,
    /// The most bytes of a turn, and of a chunk.
    turn: u64,
    chunk: usize,
}

impl Source for FakeTerminal {
    type End = ();

    fn take(&mut self, room: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<()>> {
        let end = self.end.min(self.at + room.min(self.turn));
        let taken: Vec<u8> = (self.at..end).map(byte).collect();
        self.at = end;
        chunks.extend(taken.chunks(self.chunk).map(Bytes::copy_from_slice));
        Ok(if self.at == self.end { Taken::Ended(()) } else { Taken::Full })
    }

    async fn ready(&mut self) -> io::Result<()> {
        unreachable!("it never runs dry")
    }
}

/// Pumps `bytes` more, `turn` at a time, as the readers have room.
fn pump(pump: &mut Pump<FakeTerminal>, bytes: u64, turn: u64, chunk: usize) {
    pump.source = FakeTerminal { at: pump.head(), end: pump.head() + bytes, turn, chunk };
    model::block_on(pump.pump()).unwrap();
}

fn terminal_pump(session: &Arc<Session>) -> Pump<FakeTerminal> {
    let source = FakeTerminal { at: 0, end: 0, turn: 0, chunk: 1 };
    Pump::new(Arc::clone(session), source, output(session))
}

fn end<S: Source>(pump: Pump<S>) {
    pump.into_printer().finish(STATUS);
}

/// A client that takes all it is sent, and what stands in for its socket: it counts.
struct Client {
    follower: Follower,
    session: Arc<Session>,
    pieces: Vec<Bytes>,
    /// The offset of what comes next.
    at: u64,
    /// What it was not sent, by offsets; and how often it was drawn something.
    gaps: Vec<(u64, u64)>,
    skipped: u64,
    screens: usize,
    now: Instant,
}

/// What a client that took all there was waits for.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    More,
    Nothing(ExitStatus),
}

impl Client {
    /// A client with a queue of this many places that watches the session.
    fn attach(session: &Arc<Session>, places: usize, start: StartAt, on_lag: OnLag) -> Self {
        Self::attach_as(session, places, AttachOptions::new(start, on_lag))
    }

    fn attach_as(session: &Arc<Session>, places: usize, view: AttachOptions) -> Self {
        let registry = &session.registry;
        let client = registry.next_client_id();
        let (sender, queue) = queue(places);
        registry.register_client(client, sender).unwrap();
        let status = Arc::new(ClientStatus::new(client, None));
        let mut follower = Follower::new(client, registry.clone(), status, queue, places);
        let followed = model::block_on(follower.attach(Arc::clone(session), &view)).ok().unwrap();
        Self {
            follower,
            session: Arc::clone(session),
            pieces: Vec::new(),
            at: followed.to.start,
            gaps: Vec::new(),
            skipped: 0,
            screens: 0,
            now: Instant::now(),
        }
    }

    /// Takes all there is until the session has ended, and returns how.
    fn run(&mut self) -> ExitStatus {
        loop {
            if let Then::Nothing(status) = self.take_what_is_there() {
                return status;
            }
            self.sleep();
        }
    }

    /// Takes all there is until it has every byte before `end`. Nothing else is a doorbell after the last of them, so a
    /// client that missed that would sleep forever.
    fn run_until(&mut self, end: u64) {
        while self.at < end {
            self.take_what_is_there();
            if self.at < end {
                self.sleep();
            }
        }
    }

    fn sleep(&mut self) {
        assert!(model::block_on(poll_fn(|context| self.follower.poll_message(context))), "it is registered");
    }

    fn take_what_is_there(&mut self) -> Then {
        loop {
            match self.follower.next(self.now, &mut self.pieces) {
                Next::Output { offset, length } => {
                    assert_eq!(offset, self.at, "it was sent something twice, or not at all");
                    for byte_taken in self.pieces.drain(..).flatten() {
                        assert_eq!(byte_taken, byte(self.at), "at offset {}", self.at);
                        self.at += 1;
                    }
                    assert_eq!(self.at, offset + length as u64);
                    self.follower.wrote(length, 0);
                }
                Next::Screen(draw) => self.draw(draw),
                Next::Event(Event::Ended { status, .. }) => return Then::Nothing(status),
                Next::NotBefore(time) => self.now = time,
                Next::CaughtUp => return Then::More,
                other => panic!("{other:?}"),
            }
        }
    }

    fn draw(&mut self, draw: Draw) {
        let Some((gap, drawn)) = model::block_on(self.follower.draw(draw)) else { return };
        if let Some(gap) = gap {
            assert_eq!(gap, Event::Gap { from: self.at, to: drawn.at });
            self.gaps.push((self.at, drawn.at));
        }
        self.screens += 1;
        self.skipped += drawn.at.checked_sub(self.at).expect("a screen of the past");
        self.at = drawn.at;
        self.follower.wrote(drawn.bytes.len(), 0);
    }

    fn leave(mut self) {
        self.follower.leave();
        self.session.registry.unregister_client(self.follower.client());
    }

    /// That the client has every byte from its start to `end`, but for what it was drawn instead.
    fn assert_whole(&self, end: u64) {
        assert_eq!(self.at, end);
        let missing: u64 = self.gaps.iter().map(|(from, to)| to - from).sum();
        assert_eq!(self.skipped, missing);
    }
}
