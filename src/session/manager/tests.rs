//! That the locks of a session and of the book have their places in the order of locks, and that nobody is woken under
//! them.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Wake, Waker},
};

use super::*;
use crate::{
    TerminalSize,
    session::{Feeds, UNTIL_REST, feed::Feed, screen::Scrollback},
    terminal::{Picture, ScreenModel},
};

fn panics<R>(section: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(section)).is_err()
}

fn start(registry: &ClientRegistry<Arc<ServerMessage>>) -> (Arc<Manager>, Arc<Session>, Feed) {
    start_with(registry, None)
}

fn start_with(
    registry: &ClientRegistry<Arc<ServerMessage>>,
    make_model: Option<MakeModel>,
) -> (Arc<Manager>, Arc<Session>, Feed) {
    let settings = SessionSettings {
        socket: PathBuf::new(),
        history_bytes: 4096,
        hang_up_grace: Duration::ZERO,
        make_model,
        links: None,
        keeper: None,
        ended_bytes: 0,
        ended_time: Duration::ZERO,
        lost_time: Duration::ZERO,
    };
    let manager = Arc::new(Manager::new(registry.clone(), settings, None));
    let name: SessionName = "feed".parse().unwrap();
    let feed = Feeds::new(Arc::clone(&manager));
    let feed = feed.start(name.clone(), TerminalSize::DEFAULT, Pace::Free).unwrap();
    let session = manager.find(&Target::Name(name)).unwrap();
    (manager, session, feed)
}

#[tokio::test]
async fn nothing_is_locked_under_the_book_or_under_a_sessions_leaves() {
    let registry = ClientRegistry::new();
    let (manager, session, _feed) = start(&registry);

    assert!(panics(|| manager.with(|_| manager.list())), "the book under the book");
    assert!(panics(|| manager.with(|_| registry.session_count())), "a shard under the book");
    assert!(panics(|| manager.with(|_| session.span())), "a log under the book");
    assert!(panics(|| session.answers.queries.with(|_| session.span())), "a log under the queries");
    assert!(
        panics(|| session.answers.queries.with(|_| registry.client_count())),
        "a shard under the queries"
    );
}

#[tokio::test]
async fn under_a_sessions_size_only_leaves_are_locked() {
    let registry = ClientRegistry::new();
    let (_manager, session, _feed) = start(&registry);

    session.sizing.with(|_| session.screen.resized(0, TerminalSize::DEFAULT));
    assert!(panics(|| session.sizing.with(|_| registry.client_count())), "a shard");
    assert!(panics(|| session.sizing.with(|_| session.sizing.with(|_| {}))), "another's size");
    let size_under = |rank| panics(|| Mutex::new(rank, ()).with(|()| session.sizing.with(|_| {})));
    assert!(size_under(Rank::Leaf) && size_under(Rank::Clients) && size_under(Rank::Sessions(0)));
}

/// Looks into the book when it is woken, as a task on another thread might.
struct LooksIntoTheBook(Arc<Manager>);

impl Wake for LooksIntoTheBook {
    fn wake(self: Arc<Self>) {
        self.0.list();
    }
}

#[tokio::test]
async fn a_session_started_while_the_server_stops_is_hung_up() {
    let (manager, _session, _feed) = start(&ClientRegistry::new());
    let name: SessionName = "late".parse().unwrap();
    let new = NewSession::provided(&Provide::new(name.clone(), TerminalSize::DEFAULT));
    let late = manager.open(new, Runs::Nothing);
    let mut hung_up = pin!(late.hang_up.cancelled());
    let waker = Waker::from(Arc::new(LooksIntoTheBook(Arc::clone(&manager))));
    assert!(hung_up.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    manager.reserve(&name).unwrap();
    manager.hang_up_all();
    manager.enter(&late);

    assert_eq!(hung_up.poll(&mut Context::from_waker(&waker)), Poll::Ready(()));
}

/// Says when it is to rest.
struct Rests(tokio::sync::mpsc::Sender<tokio::time::Instant>);

impl ScreenModel for Rests {
    fn advance(&mut self, _: &[u8]) {}
    fn resize(&mut self, _: TerminalSize) {}
    fn redraw(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        Picture::default()
    }
    fn rest(&mut self) {
        self.0.try_send(tokio::time::Instant::now()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_rests_once_after_each_silence() {
    let (rested, mut rests) = tokio::sync::mpsc::channel(4);
    let make: MakeModel = Arc::new(move |_| Box::new(Rests(rested.clone())));
    let started = tokio::time::Instant::now();
    let (_manager, session, feed) = start_with(&ClientRegistry::new(), Some(make));
    assert_eq!(rests.recv().await.unwrap() - started, UNTIL_REST);

    let printed = tokio::time::Instant::now();
    feed.print("text".into()).await.unwrap();
    assert!(rests.recv().await.unwrap() - printed > UNTIL_REST);
    // What was drawn wakes it, too.
    let drawn = tokio::time::Instant::now();
    session.redraw(Scrollback::default()).await;
    assert!(rests.recv().await.unwrap() - drawn > UNTIL_REST);
    let again = tokio::time::timeout(10 * UNTIL_REST, rests.recv()).await;
    assert!(again.is_err(), "it rests already");
}
