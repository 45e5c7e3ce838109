//! Threads at once: what each is told fits together, and nobody sees a change half done.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use fugue_server::ClientRegistry;

use super::{connect, drain, sent, session, sorted, together, watch, with_registries};

#[test]
fn ids_are_unique_across_threads() {
    with_registries::<u32>(|registry| {
        let ids = together(4, |_| (0..1000).map(|_| registry.next_client_id()).collect::<Vec<_>>());
        let mut ids = sorted(ids.concat());
        ids.dedup();
        assert_eq!(ids.len(), 4000);
    });
}

#[test]
fn of_threads_registering_one_id_exactly_one_succeeds() {
    with_registries::<u32>(|registry| {
        for _ in 0..100 {
            let id = registry.next_client_id();
            let registered = together(4, |_| {
                let (sender, queue) = tokio::sync::mpsc::channel(1);
                registry.register_client(id, sender).is_ok().then_some(queue)
            });
            assert_eq!(registered.iter().flatten().count(), 1);
            let unregistered = together(4, |_| registry.unregister_client(id).is_some());
            assert_eq!(unregistered.into_iter().filter(|did| *did).count(), 1);
        }
    });
}

#[test]
fn of_members_leaving_at_once_exactly_one_is_the_last() {
    const MEMBERS: usize = 8;
    with_registries::<u32>(|registry| {
        for _ in 0..100 {
            let clients: Vec<_> = (0..MEMBERS).map(|_| watch(&registry, session(1), 1).0).collect();
            let left = together(MEMBERS, |thread| match thread % 2 {
                0 => registry.detach_from_session(clients[thread]).unwrap().members,
                _ => registry.unregister_client(clients[thread]).unwrap().detached.unwrap().members,
            });
            assert_eq!(sorted(left), (0..MEMBERS).collect::<Vec<_>>(), "each count is told once");
            assert_eq!(registry.session_count(), 0);
        }
    });
}

#[test]
fn of_members_moving_away_at_once_exactly_one_is_the_last() {
    const MEMBERS: usize = 8;
    with_registries::<u32>(|registry| {
        for _ in 0..100 {
            let clients: Vec<_> = (0..MEMBERS).map(|_| watch(&registry, session(1), 1).0).collect();
            let left = together(MEMBERS, |thread| {
                let to = session(2 + thread as u64 % 3);
                registry.attach_to_session(clients[thread], to).unwrap().previous.unwrap()
            });
            assert!(left.iter().all(|left| left.session == session(1)));
            let members = left.iter().map(|left| left.members);
            assert_eq!(sorted(members), (0..MEMBERS).collect::<Vec<_>>(), "each count is told once");
            assert_eq!(registry.unregister_all(), MEMBERS);
        }
    });
}

#[test]
fn a_move_to_another_session_is_never_seen_half_done() {
    // With one shard, `session_count` is one look at both sessions; with more it would be two looks, between which
    // the client may well move. The other half of the promise, the client's entry, is checked by the mover.
    let registry = ClientRegistry::<u32>::builder().shards(1).build().unwrap();
    let (client, _queue) = watch(&registry, session(1), 1);
    thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for target in (0..5000).map(|step| session(1 + step % 2)) {
                registry.attach_to_session(client, target).unwrap();
                assert_eq!(registry.get_client(client).unwrap().attached_session, Some(target));
            }
        });
        while !mover.is_finished() {
            assert_eq!(registry.session_count(), 1);
        }
    });
}

#[test]
fn attaches_from_all_sides_leave_a_client_in_exactly_one_session() {
    const SESSIONS: u64 = 5;
    with_registries::<u32>(|registry| {
        let clients: Vec<_> = (0..6).map(|_| connect(&registry, 1)).collect();
        together(4, |thread| {
            for step in 0..500_u64 {
                let (client, _) = clients[(step as usize * 7 + thread) % clients.len()];
                match (step + thread as u64) % 7 {
                    5 => drop(registry.detach_from_session(client)),
                    6 => drop(registry.close_session(session(step % SESSIONS))),
                    to => drop(registry.attach_to_session(client, session((step + to) % SESSIONS))),
                }
            }
        });
        let mut listed = Vec::new();
        for number in 0..SESSIONS {
            for client in registry.session_clients(session(number)) {
                assert_eq!(registry.get_client(client).unwrap().attached_session, Some(session(number)));
                listed.push(client);
            }
        }
        let attached = clients
            .iter()
            .map(|(client, _)| *client)
            .filter(|client| registry.get_client(*client).unwrap().attached_session.is_some());
        assert_eq!(sorted(listed), sorted(attached));
    });
}

#[test]
fn closing_a_session_spares_clients_that_just_left_it() {
    const MEMBERS: usize = 64;
    with_registries::<u32>(|registry| {
        for _ in 0..50 {
            let clients: Vec<_> = (0..MEMBERS).map(|_| watch(&registry, session(1), 1)).collect();
            together(2, |thread| match thread {
                0 => drop(registry.close_session(session(1))),
                _ => clients.iter().for_each(|(client, _)| {
                    registry.attach_to_session(*client, session(2)).unwrap();
                }),
            });
            // Closed before it moved or after: either way the move was the last thing asked of each client.
            assert_eq!(registry.session_client_count(session(2)), MEMBERS);
            assert_eq!(registry.close_session(session(2)).len(), MEMBERS);
            clients.iter().for_each(|(client, _)| drop(registry.unregister_client(*client)));
        }
    });
}

#[test]
fn a_broadcast_includes_a_client_from_attach_to_detach_and_no_longer() {
    with_registries::<usize>(|registry| {
        // How many broadcasts have started, counted before each: whoever reads `n` knows that broadcast `n` and all
        // after it start later.
        let started = AtomicUsize::new(0);
        let now = || started.load(Ordering::SeqCst);
        // A broadcast is over once the publisher has started the next.
        let wait_until_over = |broadcast| {
            while now() < broadcast + 2 {
                thread::yield_now();
            }
        };
        let watch_again_and_again = || {
            let (client, mut queue) = connect(&registry, 4096);
            for _ in 0..60 {
                registry.attach_to_session(client, session(1)).unwrap();
                let attached = now();
                wait_until_over(attached);
                let first = queue.try_recv().unwrap();
                assert!(first <= attached, "{attached} started after the attach, but {first} came first");

                registry.detach_from_session(client).unwrap();
                let detached = now();
                // One was under way at the detach, and may have reached the client or not.
                wait_until_over(detached);
                let rest = drain(&mut queue);
                assert!(rest.is_sorted_by(|a, b| a < b), "{rest:?}");
                assert!(rest.iter().all(|message| (first + 1..detached).contains(message)), "{rest:?}");
            }
        };
        thread::scope(|scope| {
            let watchers = [(); 3].map(|()| scope.spawn(watch_again_and_again));
            let mut publisher = registry.publisher(session(1));
            while watchers.iter().any(|watcher| !watcher.is_finished()) {
                let _ = publisher.broadcast(started.fetch_add(1, Ordering::SeqCst));
                thread::yield_now();
            }
        });
    });
}

#[test]
fn a_member_that_stays_misses_nothing_while_others_come_and_go() {
    const MESSAGES: usize = 2000;
    with_registries::<usize>(|registry| {
        let mut residents: Vec<_> = (0..5).map(|_| watch(&registry, session(1), MESSAGES)).collect();
        thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let mut publisher = registry.publisher(session(1));
                for message in 0..MESSAGES {
                    assert!(publisher.broadcast(message).sent >= 5);
                }
            });
            while !publishing.is_finished() {
                let (client, _queue) = watch(&registry, session(1), 1);
                registry.attach_to_session(client, session(2)).unwrap();
                assert_eq!(registry.attach_to_session(client, session(1)).unwrap().members, 6);
                registry.unregister_client(client);
            }
        });
        for (client, queue) in &mut residents {
            assert_eq!(drain(queue), (0..MESSAGES).collect::<Vec<_>>());
            registry.unregister_client(*client).unwrap();
        }
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    });
}

#[test]
fn bursts_from_several_threads_each_keep_their_order() {
    const THREADS: usize = 3;
    const BURST: usize = 40;
    const ROUNDS: usize = 50;
    with_registries::<(usize, usize)>(|registry| {
        let (_client, mut queue) = watch(&registry, session(1), THREADS * BURST * ROUNDS);
        together(THREADS, |thread| {
            for round in 0..ROUNDS {
                let burst: Vec<_> = (0..BURST).map(|at| (thread, round * BURST + at)).collect();
                assert_eq!(registry.broadcast_burst(session(1), &burst), sent(BURST));
            }
        });
        let received = drain(&mut queue);
        for thread in 0..THREADS {
            let of_thread = received.iter().filter(|(from, _)| *from == thread).map(|(_, at)| *at);
            assert!(of_thread.eq(0..BURST * ROUNDS));
        }
    });
}
