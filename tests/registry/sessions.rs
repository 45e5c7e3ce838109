//! Sessions exist while someone needs them: from the first member or publisher to the last.

use super::{is_freed, session, sorted, watch, with_registries};

#[test]
fn a_session_comes_with_its_first_member_and_goes_with_its_last() {
    with_registries::<u32>(|registry| {
        let (a, _queue_a) = watch(&registry, session(1), 1);
        let (b, _queue_b) = watch(&registry, session(1), 1);
        assert_eq!(registry.sessions(), [session(1)]);

        registry.detach_from_session(a).unwrap();
        assert_eq!(registry.session_count(), 1);
        registry.unregister_client(b).unwrap();
        assert_eq!(registry.session_count(), 0);
        assert!(registry.sessions().is_empty());
    });
}

#[test]
fn a_session_lives_while_a_publisher_does() {
    with_registries::<u32>(|registry| {
        let publisher = registry.publisher(session(1));
        let second = registry.publisher(session(1));
        assert_eq!(registry.sessions(), [session(1)], "with no member at all");

        let (client, _queue) = watch(&registry, session(1), 1);
        registry.detach_from_session(client).unwrap();
        assert_eq!(registry.session_count(), 1);

        drop(publisher);
        assert_eq!(registry.session_count(), 1, "there is a second publisher");
        drop(second);
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn a_session_outlives_its_publishers_while_it_has_members() {
    with_registries::<u32>(|registry| {
        let publisher = registry.publisher(session(1));
        let (client, _queue) = watch(&registry, session(1), 1);
        drop(publisher);
        assert_eq!(registry.session_clients(session(1)), [client]);

        registry.detach_from_session(client).unwrap();
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn re_attaching_the_last_member_takes_its_old_session_away() {
    with_registries::<u32>(|registry| {
        let (client, _queue) = watch(&registry, session(1), 1);
        registry.attach_to_session(client, session(2)).unwrap();
        assert_eq!(registry.sessions(), [session(2)]);
    });
}

#[test]
fn sessions_lists_each_session_once() {
    with_registries::<u32>(|registry| {
        let queues: Vec<_> = (0..100).map(|client| watch(&registry, session(client % 50), 1)).collect();
        let _publisher = registry.publisher(session(50));
        assert_eq!(registry.session_count(), 51);
        assert_eq!(sorted(registry.sessions()), (0..=50).map(session).collect::<Vec<_>>());
        drop(queues);
    });
}

#[test]
fn looking_at_a_session_does_not_make_one() {
    with_registries::<u32>(|registry| {
        assert!(registry.session_clients(session(1)).is_empty());
        assert_eq!(registry.session_client_count(session(1)), 0);
        assert!(registry.close_session(session(1)).is_empty());
        assert!(registry.broadcast_to_session(session(1), 1).is_complete());
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn closing_a_session_detaches_all_and_keeps_them_registered() {
    with_registries::<u32>(|registry| {
        for members in [1, 4, 5, 64, 65, 200] {
            let mut clients: Vec<_> = (0..members).map(|_| watch(&registry, session(1), 1)).collect();
            let (elsewhere, _queue_elsewhere) = watch(&registry, session(2), 1);

            let ids = sorted(clients.iter().map(|(client, _)| *client));
            assert_eq!(sorted(registry.close_session(session(1))), ids);
            assert_eq!(registry.sessions(), [session(2)]);
            assert_eq!(registry.client_count(), members + 1);
            for (client, queue) in &mut clients {
                assert_eq!(registry.get_client(*client).unwrap().attached_session, None);
                registry.unregister_client(*client).unwrap();
                assert!(is_freed(queue));
            }
            assert_eq!(registry.session_clients(session(2)), [elsewhere]);
            registry.unregister_client(elsewhere).unwrap();
        }
    });
}

#[test]
fn closing_a_session_leaves_its_entry_to_a_living_publisher() {
    with_registries::<u32>(|registry| {
        let mut publisher = registry.publisher(session(1));
        let (client, mut queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.close_session(session(1)), [client]);
        assert_eq!(registry.session_count(), 1);
        assert_eq!(publisher.broadcast(1).total(), 0);
        assert!(queue.try_recv().is_err());
    });
}

#[test]
fn one_registry_serves_many_sessions_apart() {
    with_registries(|registry| {
        let mut queues: Vec<_> = (0..40).map(|number| watch(&registry, session(number), 4)).collect();
        for number in 0..40 {
            assert_eq!(registry.broadcast_to_session(session(number), number).sent, 1);
        }
        for (number, (_, queue)) in (0..).zip(&mut queues) {
            assert_eq!(super::drain(queue), [number]);
        }
    });
}
