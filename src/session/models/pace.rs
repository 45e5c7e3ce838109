use super::{history::Reader, *};

/// More than a window, by one byte: the pump has to wait once for a reader that takes nothing.
const PRINTED: u64 = SMALL as u64 / 4 + 1;

/// A reader of the log alone, from before the pump runs: without a queue it has no doorbell, and the pump no business
/// with it.
fn reader(session: &Arc<Session>, on_lag: OnLag) -> Reader {
    let reader = session.history.attach(StartAt::Now, on_lag).unwrap();
    // Attaching leaves a wake-up, which would stand in for one that is missing later.
    model::block_on(session.history.woken());
    reader
}

/// A pump on its way through `PRINTED` bytes, and its readers' doings. A pump that nobody wakes is a deadlock.
fn while_it_pumps(session: &Arc<Session>, doings: impl FnOnce()) {
    let mut printing = terminal_pump(session);
    let pumping = model::spawn(move || {
        pump(&mut printing, PRINTED, LARGE as u64, LARGE);
        assert_eq!(printing.head(), PRINTED);
    });
    doings();
    pumping.join().unwrap();
}

#[test]
fn the_pump_does_not_sleep_once_its_only_reader_has_left() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Fastest);
        let reader = reader(&session, OnLag::Resync);
        while_it_pumps(&session, || session.history.detach(&reader));
    });
}

#[test]
fn the_pump_does_not_sleep_with_nobody_attached() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Slowest);
        while_it_pumps(&session, || {
            let reader = session.history.attach(StartAt::Now, OnLag::Lossless).unwrap();
            session.history.detach(&reader);
        });
    });
}

#[test]
fn the_pump_does_not_sleep_once_a_reader_has_room() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Fastest);
        let reader = reader(&session, OnLag::Resync);
        while_it_pumps(&session, || {
            // Whatever it has by now; there is a first byte, for there was room for that.
            while session.history.span().head == 0 {
                model::yield_now();
            }
            session.history.advance(&reader, 1);
        });
    });
}

#[test]
fn the_pump_waits_for_the_fastest_reader_only() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Fastest);
        let _slow = reader(&session, OnLag::Resync);
        let fast = reader(&session, OnLag::Resync);
        while_it_pumps(&session, || {
            while session.history.span().head == 0 {
                model::yield_now();
            }
            session.history.advance(&fast, 1);
        });
    });
}

#[test]
fn the_pump_does_not_sleep_once_a_reader_attaches_that_is_not_behind() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Fastest);
        let _stopped = reader(&session, OnLag::Resync);
        while_it_pumps(&session, || {
            while session.history.span().head == 0 {
                model::yield_now();
            }
            session.history.attach(StartAt::Now, OnLag::Resync).unwrap();
        });
    });
}

#[test]
fn the_pump_does_not_wait_for_a_reader_that_lost_its_hold() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Free);
        let stopped = reader(&session, OnLag::Lossless);
        while_it_pumps(&session, || session.history.set_holding(&stopped, false));
    });
}

#[test]
fn the_pump_wakes_when_one_reader_leaves_and_one_reads() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Slowest);
        let (leaves, reads) = (reader(&session, OnLag::Lossless), reader(&session, OnLag::Lossless));
        let leaving = {
            let session = Arc::clone(&session);
            model::spawn(move || session.history.detach(&leaves))
        };
        while_it_pumps(&session, || session.history.advance(&reads, 1));
        leaving.join().unwrap();
    });
}

#[test]
fn a_lossless_reader_holds_the_pump_until_it_has_read() {
    model::check(|| {
        let session = session(&registry(), SMALL, Pace::Free);
        let mut printing = terminal_pump(&session);
        let mut client = Client::attach(&session, 1, StartAt::Now, OnLag::Lossless);
        // As for `reader`.
        model::block_on(session.history.woken());
        let pumping = model::spawn(move || {
            pump(&mut printing, PRINTED, LARGE as u64, LARGE);
            end(printing);
        });
        assert_eq!(client.run(), STATUS);
        client.assert_whole(PRINTED);
        assert!(client.gaps.is_empty(), "a lossless reader lost {:?}", client.gaps);
        pumping.join().unwrap();
    });
}
