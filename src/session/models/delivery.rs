use super::*;

/// A writer with a queue of one place, and a pump whose messages are skipped while it is full.
fn skipped_last_message(bursts: &'static [u64]) {
    model::check(move || {
        let session = session(&registry(), LARGE, Pace::Free);
        let mut writer = Writer::attach(&session, 1, StartAt::Now, OnLag::Resync);
        let mut pump = Pump::new(&session);
        let pumping = model::spawn(move || {
            for chunks in bursts {
                pump.burst(*chunks);
            }
            // Not dropped before the end: that is nobody's doorbell.
            pump
        });
        let all = bursts.iter().sum();
        writer.run_until(all);
        writer.assert_whole(all);
        assert!(writer.gaps.is_empty());
        drop(pumping.join().unwrap());
    });
}

#[test]
fn a_skipped_last_message_is_found_by_a_writer_on_its_way_to_sleep() {
    skipped_last_message(&[1, 1]);
}

#[test]
fn the_skipped_rest_of_a_burst_is_found_by_a_writer_on_its_way_to_sleep() {
    skipped_last_message(&[2]);
}

#[test]
fn who_attaches_while_a_session_ends_gets_every_byte_and_the_end() {
    model::check(|| {
        let session = session(&registry(), LARGE, Pace::Free);
        let mut pump = Pump::new(&session);
        let pumping = model::spawn(move || {
            pump.burst(1);
            pump.end();
        });
        let mut writer = Writer::attach(&session, 1, StartAt::Oldest, OnLag::Resync);
        assert_eq!(writer.run(), STATUS);
        writer.assert_whole(1);
        assert!(writer.gaps.is_empty());
        pumping.join().unwrap();
        writer.leave();
        assert_eq!((session.registry.client_count(), session.registry.session_count()), (0, 0));
    });
}

#[test]
fn who_attaches_between_bursts_gets_what_follows_its_start_once() {
    model::check(|| {
        let session = session(&registry(), LARGE, Pace::Free);
        let mut pump = Pump::new(&session);
        let pumping = model::spawn(move || {
            pump.burst(1);
            pump.burst(1);
            pump.end();
        });
        let mut writer = Writer::attach(&session, 2, StartAt::Now, OnLag::Resync);
        assert_eq!(writer.run(), STATUS);
        writer.assert_whole(2);
        pumping.join().unwrap();
    });
}
