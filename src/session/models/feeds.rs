use tokio_util::task::TaskTracker;

use super::{
    feed::{Mark, PrintQueue, Prints},
    *,
};
use crate::sync;

/// A feed, its pump as its task has it, and what a server's stop waits for.
struct FeedTask {
    session: Arc<Session>,
    prints: sync::Arc<PrintQueue>,
    stopping: CancellationToken,
    undrained: TaskTracker,
}

impl FeedTask {
    fn new() -> Self {
        Self {
            session: session(&registry(), LARGE, Pace::Free),
            prints: sync::Arc::new(PrintQueue::default()),
            stopping: CancellationToken::new(),
            undrained: TaskTracker::new(),
        }
    }

    /// Runs the pump in a thread of its own, until the session has ended.
    fn run(&self) -> impl FnOnce() -> ExitStatus + Send + 'static {
        let source = Prints::new(sync::Arc::clone(&self.prints));
        let mut pump = Pump::new(Arc::clone(&self.session), source, output(&self.session));
        let (stopping, mut undrained) = (self.stopping.clone(), Some(self.undrained.token()));
        move || {
            let status = model::block_on(pump.run(stopping, &mut undrained));
            pump.into_printer().finish(status);
            drop(undrained);
            status
        }
    }

    /// Prints up to `most` bytes, one at a time, in a thread of its own; returns how many were accepted.
    fn print(&self, most: u64) -> impl FnOnce() -> u64 + Send + 'static {
        let prints = sync::Arc::clone(&self.prints);
        move || {
            let accepted = |at: &u64| model::block_on(prints.print(Bytes::from(vec![byte(*at)]))).is_ok();
            (0..most).take_while(accepted).count() as u64
        }
    }

    /// As a server's stop does: whatever was accepted is to be in the log after this.
    fn stop(&self) -> Span {
        self.stopping.cancel();
        self.undrained.close();
        model::block_on(self.undrained.wait());
        self.session.span()
    }
}

#[test]
fn a_feed_killed_while_it_is_printed_to_has_what_it_accepted_and_ends() {
    model::check(|| {
        let fed = FeedTask::new();
        let pumping = model::spawn(fed.run());
        let printing = model::spawn(fed.print(2));
        fed.session.hang_up();
        let accepted = printing.join().unwrap();
        assert_eq!(pumping.join().unwrap(), ExitStatus::Unknown);
        let span = fed.session.span();
        assert_eq!((span.head, span.ended), (accepted, Some(ExitStatus::Unknown)));
    });
}

#[test]
fn a_stop_finds_in_the_log_whatever_a_feed_accepted() {
    model::check(|| {
        let fed = FeedTask::new();
        let pumping = model::spawn(fed.run());
        let printing = model::spawn(fed.print(2));
        let span = fed.stop();
        // What is accepted later would be missed by clients that have all until then.
        assert_eq!((span.head, span.ended), (printing.join().unwrap(), None));
        fed.session.hang_up();
        assert_eq!(pumping.join().unwrap(), ExitStatus::Unknown);
    });
}

#[test]
fn a_stop_finds_the_end_of_a_feed_that_ended_before() {
    model::check(|| {
        let fed = FeedTask::new();
        let pumping = model::spawn(fed.run());
        assert_eq!(fed.print(1)(), 1);
        fed.prints.end(STATUS);
        let span = fed.stop();
        assert_eq!((span.head, span.ended), (1, Some(STATUS)));
        assert_eq!(pumping.join().unwrap(), STATUS);
    });
}

#[test]
fn a_flush_returns_once_what_was_printed_before_is_in_the_log() {
    model::check(|| {
        let fed = FeedTask::new();
        let pumping = model::spawn(fed.run());
        assert_eq!(fed.print(1)(), 1);
        model::block_on(fed.prints.flush());
        assert_eq!(fed.session.head(), 1);
        fed.prints.end(STATUS);
        assert_eq!(pumping.join().unwrap(), STATUS);
    });
}

#[test]
fn a_client_that_has_all_until_the_stop_has_the_end_as_well() {
    model::check(|| {
        let fed = FeedTask::new();
        let mut client = Client::attach(&fed.session, 1, StartAt::Oldest, OnLag::Resync);
        let pumping = model::spawn(fed.run());
        assert_eq!(fed.print(1)(), 1);
        fed.prints.end(STATUS);
        fed.stop();
        // As a writer does that finds the server stopping before each look.
        let mut ended = None;
        while !client.follower.has_all() {
            match client.take_what_is_there() {
                Then::Nothing(status) => ended = Some(status),
                Then::More => client.sleep(),
            }
        }
        client.assert_whole(1);
        assert_eq!(ended, Some(STATUS));
        pumping.join().unwrap();
    });
}

#[test]
fn a_client_finds_a_gap_whose_doorbell_it_missed() {
    model::check(|| {
        let fed = FeedTask::new();
        let mut client = Client::attach(&fed.session, 1, StartAt::Oldest, OnLag::Resync);
        model::block_on(fed.prints.mark(Mark::Skip { to: 5, screen: Bytes::new() })).unwrap();
        fed.prints.end(STATUS);
        let pumping = model::spawn(fed.run());
        assert_eq!(client.run(), STATUS);
        client.assert_whole(5);
        assert_eq!(client.gaps, [(0, 5)]);
        assert_eq!(pumping.join().unwrap(), STATUS);
    });
}
