//! The six tests the feature request asks for, under the names it gives them. Each walks one path from end to end; the
//! other files take it apart.

use std::sync::Arc;

use fugue_server::{ClientId, SendError};
use tokio::{sync::Barrier, task::JoinSet};

use super::{connect, drain, runtime, sent, session, sorted, watch, with_registries};

#[test]
fn client_registration_and_unregistration() {
    with_registries::<u32>(|registry| {
        let (a, _queue_a) = connect(&registry, 1);
        let (b, _queue_b) = connect(&registry, 1);
        assert_ne!(a, b);
        assert_eq!(registry.client_count(), 2);

        assert!(registry.unregister_client(a).is_some());
        assert!(registry.get_client(a).is_none());
        assert!(registry.get_client(b).is_some());
        assert_eq!(registry.client_count(), 1);
    });
}

#[test]
fn session_attach_and_detach() {
    with_registries::<u32>(|registry| {
        let (client, _queue) = connect(&registry, 1);

        let attached = registry.attach_to_session(client, session(1)).unwrap();
        assert_eq!((attached.previous, attached.members), (None, 1));
        assert_eq!(registry.get_client(client).unwrap().attached_session, Some(session(1)));
        assert_eq!(registry.session_clients(session(1)), [client]);

        let detached = registry.detach_from_session(client).unwrap();
        assert_eq!((detached.session, detached.members), (session(1), 0));
        assert_eq!(registry.get_client(client).unwrap().attached_session, None);
        assert!(registry.session_clients(session(1)).is_empty());
    });
}

#[test]
fn send_to_specific_client() {
    with_registries(|registry| {
        let (a, mut queue_a) = connect(&registry, 1);
        let (_b, mut queue_b) = connect(&registry, 1);

        assert_eq!(registry.send_to_client(a, "for a"), Ok(()));
        assert_eq!(drain(&mut queue_a), ["for a"]);
        assert!(drain(&mut queue_b).is_empty());
        assert_eq!(
            registry.send_to_client(ClientId(99), "for nobody"),
            Err(SendError::UnknownClient("for nobody"))
        );
    });
}

#[test]
fn broadcast_to_session() {
    with_registries(|registry| {
        let (_a, mut queue_a) = watch(&registry, session(1), 1);
        let (_b, mut queue_b) = watch(&registry, session(1), 1);
        let (_elsewhere, mut queue_elsewhere) = watch(&registry, session(2), 1);
        let (_nowhere, mut queue_nowhere) = connect(&registry, 1);

        assert_eq!(registry.broadcast_to_session(session(1), "hello"), sent(2));
        assert_eq!(drain(&mut queue_a), ["hello"]);
        assert_eq!(drain(&mut queue_b), ["hello"]);
        assert!(drain(&mut queue_elsewhere).is_empty());
        assert!(drain(&mut queue_nowhere).is_empty());
    });
}

#[test]
fn concurrent_access_from_multiple_tasks() {
    const TASKS: usize = 8;
    let runtime = runtime();
    with_registries::<usize>(|registry| {
        let everyone_is = Arc::new(Barrier::new(TASKS));
        let handler = |task| {
            let (registry, everyone_is) = (registry.clone(), Arc::clone(&everyone_is));
            async move {
                let (client, mut queue) = watch(&registry, session(1), TASKS);
                everyone_is.wait().await; // attached
                assert_eq!(registry.broadcast_to_session(session(1), task), sent(TASKS));
                everyone_is.wait().await; // done sending
                assert_eq!(sorted(drain(&mut queue)), (0..TASKS).collect::<Vec<_>>());
                assert!(registry.unregister_client(client).is_some());
            }
        };
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn_on(handler(task), runtime.handle());
        }
        runtime.block_on(tasks.join_all());
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    });
}

#[test]
fn disconnected_client_cleanup() {
    with_registries(|registry| {
        let (gone, queue) = watch(&registry, session(1), 4);
        let (_stays, mut queue_of_the_other) = watch(&registry, session(1), 4);
        drop(queue);

        let delivery = registry.broadcast_to_session(session(1), "first");
        assert_eq!((delivery.sent, delivery.full, delivery.closed), (1, 0, 1));
        assert!(registry.get_client(gone).is_none());
        assert_eq!(registry.session_client_count(session(1)), 1);
        assert_eq!(registry.broadcast_to_session(session(1), "second"), sent(1));
        assert_eq!(drain(&mut queue_of_the_other), ["first", "second"]);
    });
}
