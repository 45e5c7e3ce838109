use super::*;
use crate::Picture;

/// A client with a queue of one place, and a pump whose messages are skipped while it is full.
fn skipped_last_message(bursts: &'static [u64]) {
    model::check(move || {
        let session = session(&registry(), LARGE, Pace::Free);
        let mut client = Client::attach(&session, 1, StartAt::Now, OnLag::Resync);
        let mut printing = terminal_pump(&session);
        let pumping = model::spawn(move || {
            for bytes in bursts {
                pump(&mut printing, *bytes, LARGE as u64, 1);
            }
            // Not dropped before the end: that is nobody's doorbell.
            printing
        });
        let all = bursts.iter().sum();
        client.run_until(all);
        client.assert_whole(all);
        assert!(client.gaps.is_empty());
        drop(pumping.join().unwrap());
    });
}

#[test]
fn a_skipped_last_message_is_found_by_a_client_on_its_way_to_sleep() {
    skipped_last_message(&[1, 1]);
}

#[test]
fn the_skipped_rest_of_a_burst_is_found_by_a_client_on_its_way_to_sleep() {
    skipped_last_message(&[2]);
}

#[test]
fn a_client_that_attaches_as_a_session_ends_gets_every_byte_and_the_end() {
    model::check(|| {
        let session = session(&registry(), LARGE, Pace::Free);
        let mut printing = terminal_pump(&session);
        let pumping = model::spawn(move || {
            pump(&mut printing, 1, LARGE as u64, 1);
            end(printing);
        });
        let mut client = Client::attach(&session, 1, StartAt::Oldest, OnLag::Resync);
        assert_eq!(client.run(), STATUS);
        client.assert_whole(1);
        assert!(client.gaps.is_empty());
        pumping.join().unwrap();
        client.leave();
        assert_eq!((session.registry.client_count(), session.registry.session_count()), (0, 0));
    });
}

#[test]
fn a_client_that_attaches_between_bursts_gets_what_follows_its_start_once() {
    model::check(|| {
        let session = session(&registry(), LARGE, Pace::Free);
        let mut printing = terminal_pump(&session);
        let pumping = model::spawn(move || {
            pump(&mut printing, 1, LARGE as u64, 1);
            pump(&mut printing, 1, LARGE as u64, 1);
            end(printing);
        });
        let mut client = Client::attach(&session, 2, StartAt::Now, OnLag::Resync);
        assert_eq!(client.run(), STATUS);
        client.assert_whole(2);
        pumping.join().unwrap();
    });
}

/// A model of the screen that fails once it is given anything.
struct Fails;

impl ScreenModel for Fails {
    fn advance(&mut self, _: &[u8]) {
        // As a panic, without its message on the terminal in every interleaving.
        std::panic::resume_unwind(Box::new(()));
    }
    fn resize(&mut self, _: TerminalSize) {}
    fn redraw(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        Picture { bytes: b"a picture".to_vec(), ..Picture::default() }
    }
}

#[test]
fn a_pictured_client_whose_model_fails_gets_the_last_output_all_the_same() {
    model::check(|| {
        let session = session_with(&registry(), LARGE, Pace::Free, Some(Box::new(Fails)));
        let view = AttachOptions::new(StartAt::Oldest, OnLag::Resync).with_size(TerminalSize::new(10, 5));
        let mut client = Client::attach_as(&session, 1, view);
        let mut printing = terminal_pump(&session);
        let pumping = model::spawn(move || {
            pump(&mut printing, 1, LARGE as u64, 1);
            // The program lives on and prints nothing more.
            printing
        });
        client.run_until(1);
        drop(pumping.join().unwrap());
    });
}
