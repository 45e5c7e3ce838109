use super::*;

/// Three clients with queues of one place, two of which come while output is on its way.
fn flood(history_bytes: usize, pace: Pace, on_lag: OnLag) {
    const PRINTED: u64 = 24;

    model::check(move || {
        let session = session(&registry(), history_bytes, pace);
        let mut printing = terminal_pump(&session);
        let first = Client::attach(&session, 1, StartAt::Oldest, on_lag);
        let pumping = model::spawn(move || {
            pump(&mut printing, PRINTED, 3, LARGE);
            printing
        });
        let mut clients = vec![model::spawn(move || until_printed(first))];
        for places in [1, 2] {
            let session = Arc::clone(&session);
            clients.push(model::spawn(move || {
                until_printed(Client::attach(&session, places, StartAt::Now, on_lag))
            }));
        }
        let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        end(pumping.join().unwrap());
        for mut client in clients {
            assert_eq!(client.run(), STATUS);
            client.assert_whole(PRINTED);
            let gaps = &client.gaps;
            assert!(on_lag != OnLag::Lossless || gaps.is_empty(), "a lossless client has gaps: {gaps:?}");
            assert!(history_bytes < LARGE || gaps.is_empty(), "all is held, and there are gaps: {gaps:?}");
            client.leave();
        }
        assert_eq!((session.registry.client_count(), session.registry.session_count()), (0, 0));
    });

    fn until_printed(mut client: Client) -> Client {
        client.run_until(PRINTED);
        client
    }
}

#[test]
fn skipped_clients_are_replayed_every_byte_once() {
    flood(LARGE, Pace::Free, OnLag::Resync);
}

#[test]
fn clients_that_fall_out_of_the_history_have_what_is_not_in_a_gap() {
    flood(SMALL, Pace::Free, OnLag::Resync);
}

#[test]
fn the_fastest_is_waited_for_and_the_others_have_what_is_not_in_a_gap() {
    flood(SMALL, Pace::Fastest, OnLag::Resync);
}

#[test]
fn lossless_clients_get_every_byte_through_a_small_history() {
    flood(SMALL, Pace::Fastest, OnLag::Lossless);
}

#[test]
fn the_slowest_is_waited_for_so_that_nobody_has_a_gap() {
    flood(SMALL, Pace::Slowest, OnLag::Lossless);
}
