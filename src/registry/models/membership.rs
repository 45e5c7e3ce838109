use super::*;

#[test]
fn a_broadcast_that_starts_after_an_attach_reaches_it() {
    model::check(|| {
        let registry = registry(1);
        let (_other, _others_queue) = member(&registry, SESSION);
        let (client, mut queue) = client(&registry, 4);
        let attached = Flag::new();
        let attaching = {
            let (registry, attached) = (registry.clone(), attached.clone());
            model::spawn(move || {
                registry.attach_to_session(client, SESSION).unwrap();
                attached.set();
            })
        };
        // May hold the roster while the other joins.
        let first = registry.broadcast_to_session(SESSION, 1);
        let is_later = attached.is_set();
        let second = registry.broadcast_to_session(SESSION, 2);
        assert!(second.sent >= first.sent);
        assert!(!is_later || second.sent == 2, "attached, and not reached");
        attaching.join().unwrap();
        assert_eq!(registry.broadcast_to_session(SESSION, 3).sent, 2);
        let expected = [1, 2, 3].split_at((4 - first.sent - second.sent) as usize).1.to_vec();
        assert_eq!(received(&mut queue), expected);
    });
}

#[test]
fn a_publishers_cached_roster_is_renewed_by_every_attach() {
    model::check(|| {
        let registry = registry(1);
        let (first, mut firsts_queue) = client(&registry, 4);
        let (second, mut seconds_queue) = client(&registry, 4);
        let mut publisher = registry.publisher(SESSION);
        let attached = Flag::new();
        let attaching = {
            let (registry, attached) = (registry.clone(), attached.clone());
            model::spawn(move || {
                registry.attach_to_session(first, SESSION).unwrap();
                // While the publisher renews its roster for the one before, perhaps.
                registry.attach_to_session(second, SESSION).unwrap();
                attached.set();
            })
        };
        let before = publisher.broadcast(1).sent;
        let is_later = attached.is_set();
        let then = publisher.broadcast(2).sent;
        assert!(before <= then, "reached before, and no longer");
        assert!(!is_later || then == 2, "attached, and not reached");
        attaching.join().unwrap();
        assert_eq!(publisher.broadcast_burst(&[3, 4]).sent, 4);
        let (first, second) = (received(&mut firsts_queue), received(&mut seconds_queue));
        assert_eq!((first.len() + second.len()) as u64, before + then + 4);
        assert!([1, 2, 3, 4].ends_with(&first) && [1, 2, 3, 4].ends_with(&second));
    });
}

#[test]
fn no_broadcast_that_starts_after_a_detach_reaches_it() {
    model::check(|| {
        let registry = registry(1);
        let (_other, _others_queue) = member(&registry, SESSION);
        let (client, _queue) = member(&registry, SESSION);
        let mut publisher = registry.publisher(SESSION);
        let detached = Flag::new();
        let detaching = {
            let (registry, detached) = (registry.clone(), detached.clone());
            model::spawn(move || {
                registry.detach_from_session(client).unwrap();
                detached.set();
            })
        };
        let _ = publisher.broadcast(1);
        let is_later = detached.is_set();
        let (published, looked_up) = (publisher.broadcast(2), registry.broadcast_to_session(SESSION, 3));
        assert!(!is_later || (published.sent, looked_up.sent) == (1, 1), "detached, and reached");
        detaching.join().unwrap();
        assert_eq!(publisher.broadcast(4).sent, 1);
    });
}

/// Two clients change places, while somebody looks at both sessions in one look.
fn change_places(shards: usize) {
    model::check(move || {
        let registry = registry(shards);
        let [a, b] = two_sessions(&registry);
        let (one, _ones_queue) = member(&registry, a);
        let (two, _twos_queue) = member(&registry, b);
        let moving = [(one, b), (two, a)].map(|(client, to)| {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(client, to).unwrap())
        });
        let [key_a, key_b] = [a, b].map(|session| registry.inner.sessions.key(session));
        let [in_a, in_b] = registry.inner.sessions.with_two(&key_a, &key_b, |mut sessions| {
            let in_a = sessions.first().get(&key_a).map_or_else(Vec::new, |a| a.members().to_vec());
            let in_b = sessions.second().get(&key_b).map_or_else(Vec::new, |b| b.members().to_vec());
            [in_a, in_b]
        });
        for client in [one, two] {
            assert!(in_a.contains(&client) ^ in_b.contains(&client), "{client} in both or in neither");
        }
        for moved in moving {
            moved.join().unwrap();
        }
        assert_eq!((registry.session_clients(a), registry.session_clients(b)), (vec![two], vec![one]));
    });
}

#[test]
fn clients_that_change_places_are_in_one_session_each_in_one_shard() {
    change_places(1);
}

#[test]
fn clients_that_swap_sessions_do_not_deadlock_in_two_shards() {
    change_places(2);
}

#[test]
fn a_moving_client_is_reached_by_exactly_one_of_two_broadcasts() {
    model::check(|| {
        let registry = registry(2);
        let [from, to] = two_sessions(&registry);
        let (client, mut queue) = member(&registry, from);
        let moving = {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(client, to).unwrap())
        };
        let (old, new) = (registry.broadcast_to_session(from, 1), registry.broadcast_to_session(to, 2));
        assert!(old.sent + new.sent >= 1, "missed by both");
        let (new, old) = (registry.broadcast_to_session(to, 3), registry.broadcast_to_session(from, 4));
        assert!(new.sent + old.sent <= 1, "reached by both");
        moving.join().unwrap();
        let in_order = received(&mut queue).is_sorted();
        assert!(in_order);
    });
}

#[test]
fn a_clients_entry_says_the_session_it_is_in_when_both_are_looked_at() {
    model::check(|| {
        let registry = registry(2);
        let [from, to] = two_sessions(&registry);
        let (client, _queue) = member(&registry, from);
        let moving = {
            let registry = registry.clone();
            model::spawn(move || registry.attach_to_session(client, to).unwrap())
        };
        let said = |registry: &Registry| registry.get_client(client).unwrap().attached_session;
        if registry.session_clients(to).contains(&client) {
            assert_eq!(said(&registry), Some(to), "in the new session, and the entry says the old one");
        }
        if said(&registry) == Some(to) {
            assert!(registry.session_clients(to).contains(&client), "the entry is ahead of the session");
            assert!(registry.session_clients(from).is_empty());
        }
        moving.join().unwrap();
        assert_eq!(said(&registry), Some(to));
    });
}
