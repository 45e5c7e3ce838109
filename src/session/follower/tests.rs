use std::future::poll_fn;

use super::*;
use crate::{
    message::{ClientState::*, ClientStats, Pace},
    session::{
        models::{LARGE, SMALL, STATUS, output as sink, registry, session, session_with},
        output::OutputSink,
    },
    sync::{model::block_on, queue},
    terminal::{Picture, ScreenModel},
};

/// A session that is printed to by hand, and one client of it.
struct Fixture {
    session: Arc<Session>,
    output: OutputSink,
    follower: Follower,
    pieces: Vec<Bytes>,
}

const NOW: StartAt = StartAt::Now;
const TERMINAL: AttachOptions = AttachOptions::new(NOW, OnLag::Resync).with_size(Some(TerminalSize::DEFAULT));

fn follower(session: &Arc<Session>, places: usize) -> Follower {
    let client = session.registry.next_client_id();
    let (sender, queue) = queue(places);
    session.registry.register_client(client, sender).unwrap();
    Follower::new(client, session.registry.clone(), Arc::new(ClientStatus::new(client, None)), queue, places)
}

impl Fixture {
    /// The client's queue has two places.
    fn new(history_bytes: usize, options: AttachOptions) -> Self {
        Self::of(session(&registry(), history_bytes, Pace::Free), options)
    }

    fn of(session: Arc<Session>, options: AttachOptions) -> Self {
        let mut follower = follower(&session, 2);
        block_on(follower.attach(Arc::clone(&session), &options)).ok().unwrap();
        Self { output: sink(&session), session, follower, pieces: Vec::new() }
    }

    /// Prints each of these as a chunk of its own, as one burst.
    fn print(&mut self, chunks: &[&'static str]) {
        let mut chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect();
        self.output.print(&mut chunks, Instant::now());
    }

    fn next(&mut self) -> Next {
        self.next_at(Instant::now())
    }

    fn next_at(&mut self, now: Instant) -> Next {
        assert!(self.pieces.is_empty());
        self.follower.next(now, &mut self.pieces)
    }

    /// What comes next, which must be output, and is taken by the client.
    fn output(&mut self) -> (u64, String) {
        let Next::Output { offset, length } = self.next() else { panic!("no output") };
        let bytes = self.pieces.drain(..).flatten().collect::<Vec<_>>();
        assert_eq!(bytes.len(), length);
        self.follower.wrote(length, 0);
        (offset, String::from_utf8(bytes).unwrap())
    }

    fn stats(&self) -> ClientStats {
        self.follower.status().stats(None)
    }
}

fn output(offset: u64, text: &str) -> (u64, String) {
    (offset, text.to_owned())
}

#[test]
fn messages_are_sent_in_step_and_what_was_skipped_comes_from_the_log() {
    let mut room = Fixture::new(LARGE, AttachOptions::new(NOW, OnLag::Resync));
    room.print(&["one ", "two "]);
    assert_eq!(room.output(), output(0, "one two "));
    assert_eq!((room.next(), room.stats().state), (Next::CaughtUp, Live));
    // Two fit the queue, and the third is skipped.
    room.print(&["three ", "four ", "five "]);
    assert_eq!(room.output(), output(8, "three four "));
    assert_eq!(room.stats().state, Live);
    assert_eq!(room.output(), output(19, "five "));
    assert_eq!((room.stats().state, room.stats().replays), (Behind, 1));
    // The queue was read before the log, so what comes next is beyond neither.
    room.print(&["six"]);
    assert_eq!(room.output(), output(24, "six"));
    assert_eq!((room.stats().state, room.stats().messages), (Live, 5));
}

#[test]
fn a_message_that_the_log_was_read_past_is_not_sent_again() {
    let mut room = Fixture::new(LARGE, AttachOptions::new(NOW, OnLag::Resync));
    room.print(&["a", "b", "c"]);
    assert_eq!(room.output(), output(0, "ab"));
    room.print(&["d"]);
    // Its message lies beyond what was skipped, so both come from the log; then it is recognised.
    assert_eq!(room.output(), output(2, "cd"));
    assert_eq!(room.next(), Next::CaughtUp);
}

#[test]
fn a_large_message_is_sent_in_pieces() {
    let mut room = Fixture::new(4 * MAX_OUTPUT, AttachOptions::new(NOW, OnLag::Resync));
    let mut chunks = vec![Bytes::from(vec![b'x'; MAX_OUTPUT + 10]), Bytes::from_static(b"y")];
    room.output.print(&mut chunks, Instant::now());
    for (offset, length) in [(0, MAX_OUTPUT), (MAX_OUTPUT as u64, 11)] {
        assert_eq!(room.next(), Next::Output { offset, length });
        room.pieces.clear();
    }
    assert_eq!(room.next(), Next::CaughtUp);
}

#[test]
fn what_another_session_printed_is_not_sent() {
    let mut room = Fixture::new(LARGE, AttachOptions::new(NOW, OnLag::Resync));
    let stray = ServerMessage::Output { session: SessionId::random(), offset: 0, data: "stray".into() };
    room.session.registry.send_to_client(room.follower.client(), Arc::new(stray)).unwrap();
    room.print(&["own"]);
    assert_eq!(room.output(), output(0, "own"));
}

#[test]
fn a_notice_comes_between_the_messages_that_it_was_sent_between() {
    for options in [AttachOptions::new(NOW, OnLag::Resync), TERMINAL.with_size(TerminalSize::new(10, 5))] {
        let mut room = Fixture::new(LARGE, options);
        room.print(&["before"]);
        let notice = ServerMessage::Notice { text: "notice".to_owned() };
        room.session.registry.send_to_client(room.follower.client(), Arc::new(notice)).unwrap();
        assert_eq!(room.output(), output(0, "before"));
        assert_eq!(room.next(), Next::Event(Event::Notice("notice".to_owned())));
        room.print(&["after"]);
        assert_eq!(room.output(), output(6, "after"));
    }
}

#[test]
fn a_client_that_watches_nothing_is_told_notices_only() {
    let session = session(&registry(), LARGE, Pace::Free);
    let mut follower = follower(&session, 2);
    let notice = ServerMessage::Notice { text: "notice".to_owned() };
    session.registry.send_to_client(follower.client(), Arc::new(notice)).unwrap();
    assert!(block_on(poll_fn(|context| follower.poll_message(context))));
    let mut next = || follower.next(Instant::now(), &mut Vec::new());
    assert_eq!(next(), Next::Event(Event::Notice("notice".to_owned())));
    assert_eq!(next(), Next::CaughtUp);
    assert!(follower.has_all());
    session.registry.unregister_client(follower.client());
    assert!(!block_on(poll_fn(|context| follower.poll_message(context))));
}

#[test]
fn what_is_gathered_holds_the_program_until_it_is_taken() {
    let mut room = Fixture::new(SMALL, AttachOptions::new(NOW, OnLag::Lossless));
    room.print(&["1234"]);
    assert!(matches!(room.next(), Next::Output { length: 4, .. }));
    room.pieces.clear();
    assert_eq!(room.session.history.room(), 0);
    for (unwritten, room_for) in [(3, 1), (1, 3), (0, 4)] {
        room.follower.wrote(100, unwritten);
        assert_eq!(room.session.history.room(), room_for, "{unwritten}");
    }
    room.print(&["5678"]);
    assert_eq!(room.session.history.room(), 0);
    room.follower.set_holding(false);
    assert_ne!(room.session.history.room(), 0, "one that makes no progress holds nobody");
    room.follower.set_holding(true);
    assert_eq!(room.session.history.room(), 0);
    room.follower.leave();
    assert_eq!(room.session.history.room(), u64::MAX);
    assert_eq!((room.stats().writes, room.follower.status().totals().bytes_written), (3, 300));
}

#[test]
fn a_client_that_fell_out_of_the_history_is_told_of_the_gap() {
    let mut room = Fixture::new(SMALL, AttachOptions::new(NOW, OnLag::Resync));
    room.print(&["x", "lost ", "kept "]);
    // The first two are in its queue, whatever the log holds.
    assert_eq!(room.output(), output(0, "xlost "));
    for chunk in ["gone ", "gone too", "new"] {
        room.print(&[chunk]);
        while room.follower.take_message().is_some() {}
    }
    let head = room.session.head();
    assert_eq!(room.next(), Next::Screen(Draw::RedrawAfterGap));
    assert_eq!((room.stats().state, room.stats().gaps), (Gap, 1));
    let (gap, drawn) = block_on(room.follower.draw(Draw::RedrawAfterGap)).unwrap();
    // A history as small as this holds nothing that nobody waits for.
    assert_eq!(gap, Some(Event::Gap { from: 6, to: head }));
    assert_eq!((drawn.at, room.stats().skipped_bytes), (head, head - 6));
    room.print(&["next"]);
    assert_eq!(room.output(), output(head, "next"));
    assert_eq!(room.stats().state, Live);

    let mut room = Fixture::new(SMALL, AttachOptions::new(NOW, OnLag::Disconnect));
    room.print(&["a", "b", "lost ", "new"]);
    assert_eq!(room.output(), output(0, "ab"));
    assert_eq!(room.next(), Next::FellBehind { from: 2, to: 10 });
}

#[test]
fn an_interrupt_drops_what_a_resync_client_has_not_got_of_that_session() {
    for (on_lag, is_purged) in [(OnLag::Resync, true), (OnLag::Disconnect, false), (OnLag::Lossless, false)] {
        let mut room = Fixture::new(LARGE, AttachOptions::new(NOW, on_lag));
        room.follower.purge(room.session.id());
        assert_eq!((room.next(), room.stats().purges), (Next::CaughtUp, 0), "there is nothing to drop");
        room.print(&["backlog"]);
        room.follower.purge(SessionId::random());
        assert_eq!(room.stats().purges, 0);
        room.follower.purge(room.session.id());
        assert_eq!(room.stats().purges, u64::from(is_purged));
        if is_purged {
            assert_eq!(room.next(), Next::Screen(Draw::Redraw));
        } else {
            assert_eq!(room.output(), output(0, "backlog"));
        }
    }
}

#[test]
fn a_terminal_is_drawn_again_when_a_size_changes_and_a_recorder_is_not() {
    let sizes = [TerminalSize::DEFAULT, TerminalSize::new(90, 30).unwrap()];
    let is_drawn = [
        (TERMINAL, true),
        (TERMINAL.with_on_lag(OnLag::Lossless), false),
        (AttachOptions::new(NOW, OnLag::Resync), false),
    ];
    for (options, is_drawn) in is_drawn {
        let mut room = Fixture::new(LARGE, options);
        room.session.size.store(super::super::packed(sizes[1]), std::sync::atomic::Ordering::Relaxed);
        let told = Event::Resized { session: room.session.id(), size: sizes[1] };
        assert_eq!(room.next(), Next::Event(told));
        let expected = if is_drawn { Next::Screen(Draw::Redraw) } else { Next::CaughtUp };
        assert_eq!(room.next(), expected);
        room.follower.set_size(sizes[0]);
        assert_eq!(room.next(), Next::CaughtUp, "it had that size");
        room.follower.set_size(sizes[1]);
        assert_eq!(room.next(), expected);
        room.follower.resync();
        assert_eq!(room.next(), Next::Screen(Draw::Redraw), "whoever asks");
    }
}

#[test]
fn the_end_is_told_once_and_nothing_is_watched_then() {
    let mut room = Fixture::new(LARGE, AttachOptions::new(NOW, OnLag::Resync));
    room.print(&["last"]);
    assert!(!room.follower.has_all());
    let (id, session) = (room.session.id(), Arc::clone(&room.session));
    room.output.finish(STATUS);
    room.output = sink(&session);
    // The stop came before the end.
    assert_eq!(room.output(), output(0, "last"));
    assert!(room.follower.has_all());
    room.follower.stop = None;
    assert!(!room.follower.has_all(), "the end counts as printed");
    assert_eq!(room.next(), Next::Event(Event::Ended { session: id, status: STATUS }));
    assert_eq!(room.next(), Next::CaughtUp);
    assert!(room.follower.has_all());
    assert!(session.registry.session_clients(id).is_empty());
}

/// Draws its name.
struct Named(&'static str);

impl ScreenModel for Named {
    fn advance(&mut self, _: &[u8]) {}
    fn resize(&mut self, _: TerminalSize) {}
    fn redraw(&mut self) -> Vec<u8> {
        self.0.into()
    }
    fn picture(&mut self, size: TerminalSize) -> Picture {
        let bytes = format!("{} in {} columns", self.0, size.cols()).into_bytes();
        Picture { bytes, ..Picture::default() }
    }
}

fn modelled() -> Arc<Session> {
    session_with(&registry(), LARGE, Pace::Free, Some(Box::new(Named("screen"))))
}

#[test]
fn a_terminal_of_another_size_is_sent_pictures_and_not_too_many() {
    let size = TerminalSize::new(10, 5).unwrap();
    let picture = Next::Screen(Draw::Picture(size));
    let mut room = Fixture::of(modelled(), TERMINAL.with_size(Some(size)));
    let start = Instant::now();
    // The first, though nothing was printed: the terminal shows something else.
    assert_eq!(room.next_at(start), picture);
    let draw = |room: &mut Fixture| block_on(room.follower.draw(Draw::Picture(size))).unwrap();
    let (gap, drawn) = draw(&mut room);
    assert_eq!((gap, &drawn.bytes[..]), (None, &b"screen in 10 columns"[..]));
    assert_eq!(room.next_at(start + PICTURE_TIME), Next::CaughtUp);
    room.print(&["more"]);
    let next = start + PICTURE_TIME;
    assert_eq!(room.next_at(start), Next::NotBefore(next));
    assert_eq!(room.next_at(next), picture);
    assert_eq!((draw(&mut room).1.at, room.stats().skipped_bytes), (4, 4));
    room.print(&["last"]);
    room.output.finish(STATUS);
    room.output = sink(&room.session);
    assert_eq!(room.next_at(next), picture, "the end does not wait");
    assert_eq!(draw(&mut room).1.at, 8);
    let ended = Event::Ended { session: room.session.id(), status: STATUS };
    assert_eq!(room.next_at(next), Next::Event(ended));
}

#[test]
fn attaching_begins_with_the_screen_where_there_is_something_on_it() {
    let session = modelled();
    let mut follower = follower(&session, 2);
    let mut attach = |options: AttachOptions| {
        let followed = block_on(follower.attach(Arc::clone(&session), &options)).ok().unwrap();
        (followed.to.start, followed.drawn.map(|drawn| drawn.bytes), followed.claim.is_some())
    };
    let screen = TERMINAL.with_start(StartAt::Screen);
    assert_eq!(attach(screen), (0, None, true), "nothing was printed yet");
    sink(&session).print(&mut vec!["text".into()], Instant::now());
    assert_eq!(attach(screen), (4, Some("screen".into()), true));
    assert_eq!(attach(screen.with_access(Access::ReadOnly)), (4, Some("screen".into()), false));
    assert_eq!(attach(screen.with_size(None)), (4, Some("screen".into()), false));
    assert_eq!(attach(screen.with_size(TerminalSize::new(9, 9))), (4, None, true), "a picture comes instead");
    assert_eq!(attach(TERMINAL.with_start(StartAt::Oldest)), (0, None, true));
    follower.leave();
    assert_eq!(session.history.room(), LARGE as u64 / 2, "no place was left behind");
    assert_eq!(session.sizing.with(|sizing| sizing.claims()), 0);
}

#[test]
fn a_refused_attach_leaves_the_client_where_it_is() {
    let mut room = Fixture::new(LARGE, TERMINAL);
    let options = TERMINAL.with_start(StartAt::Offset(7));
    let refused = block_on(room.follower.attach(Arc::clone(&room.session), &options)).err().unwrap();
    assert_eq!(refused, NotFollowed::NotHeld(NotHeld { offset: 7, oldest: 0, head: 0 }));
    room.print(&["text"]);
    assert_eq!(room.output(), output(0, "text"));
    room.session.registry.unregister_client(room.follower.client());
    let refused = block_on(room.follower.attach(Arc::clone(&room.session), &TERMINAL)).err().unwrap();
    assert_eq!(refused, NotFollowed::Unregistered);
    assert_eq!(room.session.sizing.with(|sizing| sizing.claims()), 1, "the one that it has");
}
