//! That the locks of a session and of the book have their places in the order of locks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::session::{Feeds, feed::Feed};

fn panics<R>(section: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(section)).is_err()
}

fn start(registry: &ClientRegistry) -> (Arc<Manager>, Arc<Session>, Feed) {
    let settings = SessionSettings {
        socket: PathBuf::new(),
        history_bytes: 4096,
        hang_up_grace: Duration::ZERO,
        make_model: None,
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
    assert!(panics(|| session.queries.with(|_| session.span())), "a log under the queries");
    assert!(panics(|| session.queries.with(|_| registry.client_count())), "a shard under the queries");
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
