use super::*;

#[test]
fn unregistering_while_attaching_leaves_no_trace() {
    model::check(|| {
        let registry = registry(2);
        let (client, queue) = client(&registry, 1);
        let attaching = {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(client, SESSION).is_ok())
        };
        let removed = registry.unregister_client(client).unwrap();
        let attached = attaching.join().unwrap();
        assert!(removed.detached.is_none() || attached);
        assert_empty(&registry);
        drop((removed, queue));
    });
}

#[test]
fn unregistering_while_moving_leaves_no_trace() {
    model::check(|| {
        let registry = registry(2);
        let [from, to] = two_sessions(&registry);
        let (client, _queue) = member(&registry, from);
        let moving = {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(client, to).is_ok())
        };
        let removed = registry.unregister_client(client).unwrap();
        let moved = moving.join().unwrap();
        assert_eq!(removed.detached.unwrap().session, if moved { to } else { from });
        assert_empty(&registry);
    });
}

#[test]
fn exactly_one_of_two_leavers_is_last() {
    model::check(|| {
        let registry = registry(1);
        let (one, _ones_queue) = member(&registry, SESSION);
        let (two, _twos_queue) = member(&registry, SESSION);
        let leaving = {
            let registry = registry.clone();
            model::spawn(move || registry.detach_from_session(one).unwrap().members)
        };
        let left = registry.detach_from_session(two).unwrap().members;
        let mut left = [left, leaving.join().unwrap()];
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn cleaning_up_a_closed_channel_spares_a_newer_client_of_its_id() {
    model::check(|| {
        let registry = registry(1);
        let (client, queue) = member(&registry, SESSION);
        drop(queue);
        let returning = {
            let registry = registry.clone();
            model::spawn(move || {
                registry.unregister_client(client);
                let queue = register(&registry, client, 2);
                registry.attach_to_session(client, SESSION).unwrap();
                queue
            })
        };
        let delivery = registry.broadcast_to_session(SESSION, 1);
        assert!(delivery.closed <= 1 && delivery.full == 0);
        let mut queue = returning.join().unwrap();
        assert!(registry.get_client(client).is_some(), "the newer registration was taken out");
        assert_eq!(registry.broadcast_to_session(SESSION, 2).sent, 1);
        assert_eq!(received(&mut queue).last(), Some(&2));
    });
}

#[test]
fn a_closed_channel_is_cleaned_up_once_however_many_find_it() {
    model::check(|| {
        let registry = registry(1);
        let (client, queue) = member(&registry, SESSION);
        drop(queue);
        let sending = {
            let registry = registry.clone();
            model::spawn(move || registry.send_to_client(client, 1).is_err())
        };
        let _ = registry.broadcast_to_session(SESSION, 2);
        assert!(sending.join().unwrap());
        assert_empty(&registry);
    });
}

#[test]
fn a_departure_is_told_once_however_many_find_it() {
    model::check(|| {
        // std's lock: it is held for a push, and no model's thread is switched then.
        let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = std::sync::Arc::clone(&told);
        let note = move |_: &Registry, gone| noted.lock().unwrap().push(gone);
        let registry = Registry::builder().shards(1).on_departure(note).build().unwrap();
        let (one, ones_queue) = member(&registry, SESSION);
        let (two, _twos_queue) = member(&registry, SESSION);
        drop(ones_queue);
        let leaving = {
            let registry = registry.clone();
            model::spawn(move || {
                let _ = registry.send_to_client(one, 1);
                registry.unregister_client(two).unwrap();
            })
        };
        let _ = registry.broadcast_to_session(SESSION, 2);
        leaving.join().unwrap();
        let mut told: Vec<Departure> = std::mem::take(&mut *told.lock().unwrap());
        told.sort_unstable_by_key(|gone| gone.client);
        assert_eq!([told[0].client, told[1].client], [one, two]);
        let mut left = [0, 1].map(|at: usize| told[at].detached.unwrap().members);
        left.sort_unstable();
        assert_eq!((told.len(), left), (2, [0, 1]));
    });
}

#[test]
fn exactly_one_of_two_that_move_away_is_last() {
    model::check(|| {
        let registry = registry(2);
        let [from, to] = two_sessions(&registry);
        let (one, _ones_queue) = member(&registry, from);
        let (two, _twos_queue) = member(&registry, from);
        let moving = {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(one, to).unwrap().previous.unwrap().members)
        };
        let left = registry.attach_to_session(two, to).unwrap().previous.unwrap().members;
        let mut left = [left, moving.join().unwrap()];
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
        assert_eq!(registry.sessions(), [to]);
    });
}

#[test]
fn a_guard_takes_out_its_own_registration_only() {
    model::check(|| {
        let registry = registry(1);
        let id = registry.next_client_id();
        let (sender, _queue) = queue(1);
        let guard = registry.register_guarded(id, sender).unwrap();
        let returning = {
            let registry = registry.clone();
            model::spawn(move || {
                // Whoever takes the old one out, the new one stays.
                registry.unregister_client(id);
                register(&registry, id, 1)
            })
        };
        drop(guard);
        let _queue = returning.join().unwrap();
        assert!(registry.get_client(id).is_some(), "the newer registration was taken out");
    });
}

#[test]
fn a_publisher_reaches_a_last_member_that_leaves_and_returns() {
    model::check(|| {
        let registry = registry(1);
        let (client, mut queue) = member(&registry, SESSION);
        let returning = {
            let registry = registry.clone();
            model::spawn(move || {
                registry.detach_from_session(client).unwrap();
                registry.attach_to_session(client, SESSION).unwrap();
            })
        };
        let mut publisher = registry.publisher(SESSION);
        returning.join().unwrap();
        assert_eq!(publisher.broadcast(1).sent, 1);
        assert_eq!(received(&mut queue), [1]);
        // Nor does it miss who joins from now on: its generation is that of the entry they join.
        let _more = [2, 3].map(|members| {
            let joined = member(&registry, SESSION);
            assert_eq!(
                publisher.broadcast(members).sent,
                u64::from(members),
                "the publisher's entry is a dead one"
            );
            joined
        });
    });
}

#[test]
fn a_session_goes_with_the_last_of_its_members_and_publishers() {
    model::check(|| {
        let registry = registry(1);
        let (client, _queue) = member(&registry, SESSION);
        let publisher = registry.publisher(SESSION);
        let leaving = {
            let registry = registry.clone();
            model::spawn(move || registry.detach_from_session(client).unwrap())
        };
        let publishing = {
            let registry = registry.clone();
            model::spawn(move || {
                let mut second = registry.publisher(SESSION);
                second.broadcast(1)
            })
        };
        drop(publisher);
        assert_eq!(leaving.join().unwrap().members, 0);
        let delivery = publishing.join().unwrap();
        assert!(delivery.total() <= 1);
        assert_eq!(registry.session_count(), 0);
        let stats = registry.stats();
        assert_eq!((stats.publishers, stats.deliveries), (0, delivery), "counted once");
    });
}

#[test]
fn a_client_that_attaches_to_a_closing_session_is_in_it_or_returned() {
    model::check(|| {
        let registry = registry(1);
        let (client, _queue) = client(&registry, 1);
        let attaching = {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(client, SESSION).unwrap())
        };
        let returned = registry.close_session(SESSION);
        attaching.join().unwrap();
        let stayed = registry.session_clients(SESSION);
        assert_eq!([returned, stayed].concat(), [client]);
    });
}
