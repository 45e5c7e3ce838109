//! Who leaves is told of, once, however it left and whoever found it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
    time::Duration,
};

use fugue_server::{ClientGuard, ClientId, ClientRegistry, Departure, SessionId};
use tokio::sync::mpsc::{self, Receiver};

use super::{connect, drain, session, sorted, together, watch};

/// Long enough for a thread to start on a busy machine; waited out only when the test fails.
const DEADLINE: Duration = Duration::from_secs(10);

type Told = Arc<Mutex<Vec<Departure>>>;

/// As `with_registries`, with registries that note who leaves.
fn with_departures(test: impl Fn(ClientRegistry<u32>, Told)) {
    for shards in [1, 2, 64] {
        println!("{shards} shards"); // shown when the test fails
        let told = Told::default();
        let noted = Arc::clone(&told);
        let note = move |_: &ClientRegistry<u32>, gone| noted.lock().unwrap().push(gone);
        test(ClientRegistry::builder().shards(shards).on_departure(note).build().unwrap(), told);
    }
}

fn watch_guarded(registry: &ClientRegistry<u32>, of: SessionId) -> (ClientGuard<u32>, Receiver<u32>) {
    let (sender, queue) = mpsc::channel(4);
    let guard = registry.register_guarded(registry.next_client_id(), sender).unwrap();
    registry.attach_to_session(guard.id(), of).unwrap();
    (guard, queue)
}

/// Takes what was told: each client, and what it left.
fn take(told: &Told) -> Vec<(ClientId, Option<(SessionId, usize)>)> {
    let left = |gone: &Departure| (gone.client, gone.detached.map(|left| (left.session, left.members)));
    std::mem::take(&mut *told.lock().unwrap()).iter().map(left).collect()
}

#[test]
fn a_client_found_closed_is_told_of_whatever_found_it() {
    let finders: [fn(&ClientRegistry<u32>, ClientId); 9] = [
        |registry, _| _ = registry.broadcast_to_session(session(1), 1),
        |registry, _| _ = registry.broadcast_to_session_except(session(1), ClientId(99), 1),
        |registry, _| _ = registry.broadcast_burst(session(1), &[1, 2]),
        |registry, _| _ = registry.broadcast_to_all(1),
        |registry, _| _ = registry.to_all().burst(&[1, 2]),
        |registry, client| _ = registry.send_to_client(client, 1),
        |registry, _| _ = registry.publisher(session(1)).broadcast(1),
        |registry, _| _ = registry.publisher(session(1)).broadcast_burst(&[1, 2]),
        |registry, _| _ = registry.publisher(session(1)).observe(|_, _| {}).send(1),
    ];
    with_departures(|registry, told| {
        for find in finders {
            let (stays, _queue) = watch(&registry, session(1), 4);
            let (gone, queue) = watch(&registry, session(1), 4);
            drop(queue);
            find(&registry, gone);
            assert_eq!(take(&told), [(gone, Some((session(1), 1)))]);
            find(&registry, gone);
            assert_eq!(take(&told), []);
            registry.unregister_client(stays).unwrap();
            assert_eq!(take(&told), [(stays, Some((session(1), 0)))]);
        }
    });
}

#[test]
fn a_client_that_is_taken_out_is_told_of() {
    with_departures(|registry, told| {
        let (client, _queue) = connect(&registry, 1);
        registry.unregister_client(client).unwrap();
        assert_eq!(take(&told), [(client, None)]);
        assert!(registry.unregister_client(client).is_none());

        let (guard, _queue) = watch_guarded(&registry, session(1));
        let client = guard.id();
        drop(guard);
        assert_eq!(take(&told), [(client, Some((session(1), 0)))]);

        let (guard, _queue) = watch_guarded(&registry, session(1));
        let client = guard.id();
        assert_eq!(guard.unregister().unwrap().detached.unwrap().members, 0);
        assert_eq!(take(&told), [(client, Some((session(1), 0)))]);

        let queues: Vec<_> = (0..100).map(|number| watch(&registry, session(number % 3), 1)).collect();
        assert_eq!(registry.unregister_all(), 100);
        let clients = queues.iter().map(|(client, _)| *client);
        assert_eq!(sorted(take(&told).into_iter().map(|(client, _)| client)), sorted(clients));
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    });
}

#[test]
fn a_guard_whose_client_has_left_takes_nothing_out_and_tells_nothing() {
    with_departures(|registry, told| {
        let (guard, queue) = watch_guarded(&registry, session(1));
        drop(queue);
        assert_eq!(registry.broadcast_to_session(session(1), 1).closed, 1);
        assert_eq!(take(&told).len(), 1);
        assert!(guard.unregister().is_none());
        assert_eq!(take(&told), []);
    });
}

#[test]
fn detaching_moving_and_the_registrys_end_are_no_departures() {
    with_departures(|registry, told| {
        let (client, _queue) = watch(&registry, session(1), 1);
        registry.attach_to_session(client, session(2)).unwrap();
        registry.detach_from_session(client).unwrap();
        registry.attach_to_session(client, session(2)).unwrap();
        assert_eq!(registry.close_session(session(2)), [client]);
        drop(registry);
        assert_eq!(take(&told), []);
        assert_eq!(Arc::strong_count(&told), 1, "the hook was freed with the registry");
    });
}

#[test]
fn of_clients_that_leave_at_once_each_is_told_of_once() {
    const CLIENTS: usize = 400;
    const THREADS: usize = 8;
    with_departures(|registry, told| {
        let watching = |number: usize| watch(&registry, session(number as u64 % 2), 4);
        let (clients, queues): (Vec<_>, Vec<_>) = (0..CLIENTS).map(watching).unzip();
        let queues = Mutex::new(queues);
        together(THREADS, |thread| {
            let of = session(thread as u64 % 2);
            let mut publisher = registry.publisher(of);
            for (step, client) in clients.iter().enumerate() {
                // The clients at the end go first, and those at the front are sent to.
                let gone = queues.lock().unwrap().pop();
                drop(gone);
                match (thread + step) % THREADS {
                    0 => _ = registry.broadcast_to_session(of, 1),
                    1 => _ = registry.broadcast_burst(of, &[1, 2]),
                    2 => _ = publisher.broadcast(1),
                    3 => _ = publisher.broadcast_burst(&[1, 2]),
                    4 => _ = registry.send_to_client(*client, 1),
                    5 => _ = registry.broadcast_to_all(1),
                    6 => _ = registry.unregister_client(*client),
                    _ => _ = registry.to(of).except(*client).send(1),
                }
            }
        });
        registry.unregister_all();
        let told = take(&told);
        assert_eq!(sorted(told.iter().map(|(client, _)| *client)), sorted(clients));
        for of in [session(0), session(1)] {
            let left = told.iter().filter_map(|(_, left)| left.filter(|(session, _)| *session == of));
            let members = sorted(left.map(|(_, members)| members));
            assert!(members.into_iter().eq(0..CLIENTS / 2), "each count of members left is told once");
        }
    });
}

#[test]
fn a_hook_that_finds_others_gone_is_told_of_them_after_and_not_within() {
    // A call deeper for each of them would end the stack.
    const CLIENTS: usize = 50_000;
    let queues = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::new(Mutex::new(0));
    let registry = {
        let (queues, told) = (Arc::clone(&queues), Arc::clone(&told));
        ClientRegistry::builder()
            .on_departure(move |registry, gone: Departure| {
                *told.lock().unwrap() += 1;
                // The next one goes, and this finds it.
                let next: Option<(ClientId, Receiver<u32>)> = queues.lock().unwrap().pop();
                if let Some((client, queue)) = next {
                    drop(queue);
                    registry.send_to_client(client, 1).unwrap_err();
                }
                assert!(registry.get_client(gone.client).is_none());
            })
            .build()
            .unwrap()
    };
    *queues.lock().unwrap() = (0..CLIENTS).map(|_| connect(&registry, 1)).collect();
    let (first, queue) = connect(&registry, 1);
    drop(queue);
    registry.send_to_client(first, 1).unwrap_err();
    assert_eq!((*told.lock().unwrap(), registry.client_count()), (CLIENTS + 1, 0));
}

#[test]
fn a_hook_that_panics_is_told_of_the_others_all_the_same() {
    let told = Told::default();
    let noted = Arc::clone(&told);
    let note = move |registry: &ClientRegistry<u32>, gone: Departure| {
        noted.lock().unwrap().push(gone);
        assert_eq!(registry.unregister_all() > 0, gone.client == ClientId(1));
        assert_ne!(gone.client, ClientId(1), "the hook gives up");
    };
    let registry = ClientRegistry::builder().on_departure(note).build().unwrap();
    let clients: Vec<_> = (0..3).map(|_| watch(&registry, session(1), 4)).collect();
    let panicked = catch_unwind(AssertUnwindSafe(|| registry.unregister_client(clients[0].0)));
    assert!(panicked.is_err());
    assert_eq!(sorted(take(&told).iter().map(|(client, _)| client.0)), [1, 2, 3]);

    let (another, mut queue) = watch(&registry, session(1), 4);
    assert_eq!(registry.broadcast_to_session(session(1), 1).sent, 1);
    assert_eq!(drain(&mut queue), [1]);
    registry.unregister_client(another).unwrap();
    assert_eq!(take(&told).len(), 1);
}

#[test]
fn a_guard_that_drops_in_a_panic_survives_a_hook_that_panics() {
    let registry = ClientRegistry::<u32>::builder().on_departure(|_, _| panic!("the hook")).build().unwrap();
    let handler = catch_unwind(AssertUnwindSafe(|| {
        let (_guard, _queue) = watch_guarded(&registry, session(1));
        panic!("the handler");
    }));
    assert_eq!(*handler.unwrap_err().downcast::<&str>().unwrap(), "the handler");
    assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
}

#[test]
fn a_hook_runs_under_no_lock() {
    let registry = ClientRegistry::<u32>::builder()
        .shards(1)
        .on_departure(|registry, _| {
            let (registry, (walked, through)) = (registry.clone(), sync_channel(1));
            // On a thread of its own: it does not get through if ours holds a lock.
            thread::spawn(move || {
                let _ = (registry.stats(), registry.clients(), registry.sessions());
                let _ = walked.send(());
            });
            through.recv_timeout(DEADLINE).expect("the hook runs under a lock");
        })
        .build()
        .unwrap();
    let (client, _queue) = watch(&registry, session(1), 1);
    let (guard, queue) = watch_guarded(&registry, session(1));
    registry.unregister_client(client).unwrap();
    drop(queue);
    assert_eq!(registry.publisher(session(1)).broadcast(1).closed, 1);
    drop(guard);
}
