//! Who watches what: attach, re-attach, detach, and what each says it found and left behind.

use super::{connect, drain, sent, session, sorted, watch, with_registries};

#[test]
fn attaching_counts_the_members() {
    with_registries::<u32>(|registry| {
        for members in 1..=10 {
            let (client, _queue) = connect(&registry, 1);
            let attached = registry.attach_to_session(client, session(1)).unwrap();
            assert_eq!((attached.previous, attached.members), (None, members));
            assert_eq!(registry.session_client_count(session(1)), members);
        }
    });
}

#[test]
fn re_attaching_leaves_the_old_session_and_names_it() {
    with_registries(|registry| {
        let (mover, mut queue) = watch(&registry, session(1), 4);
        let (stays, _queue_of_stays) = watch(&registry, session(1), 4);
        let (other, _queue_of_other) = watch(&registry, session(2), 4);

        let attached = registry.attach_to_session(mover, session(2)).unwrap();
        assert_eq!(attached.members, 2);
        let left = attached.previous.unwrap();
        assert_eq!((left.session, left.members), (session(1), 1));
        assert_eq!(registry.get_client(mover).unwrap().attached_session, Some(session(2)));
        assert_eq!(registry.session_clients(session(1)), [stays]);
        assert_eq!(sorted(registry.session_clients(session(2))), sorted([other, mover]));

        assert_eq!(registry.broadcast_to_session(session(1), "the old one"), sent(1));
        assert_eq!(registry.broadcast_to_session(session(2), "the new one"), sent(2));
        assert_eq!(drain(&mut queue), ["the new one"]);
    });
}

#[test]
fn re_attaching_works_for_any_two_sessions() {
    // Enough sessions that pairs in one shard, in ascending and in descending shards all occur.
    const SESSIONS: u64 = 32;
    with_registries::<u32>(|registry| {
        let (client, _queue) = watch(&registry, session(0), 1);
        let mut previous = session(0);
        for (from, to) in (0..SESSIONS).flat_map(|from| (0..SESSIONS).map(move |to| (from, to))) {
            for next in [session(from), session(to)] {
                let attached = registry.attach_to_session(client, next).unwrap();
                let left = attached.previous.unwrap();
                let expected = if next == previous { 1 } else { 0 };
                assert_eq!((left.session, left.members, attached.members), (previous, expected, 1));
                assert_eq!(registry.sessions(), [next]);
                previous = next;
            }
        }
    });
}

#[test]
fn attaching_to_the_same_session_again_changes_nothing() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 4);
        let (_other, _other_queue) = watch(&registry, session(1), 4);

        let again = registry.attach_to_session(client, session(1)).unwrap();
        let same = again.previous.unwrap();
        assert_eq!((same.session, same.members, again.members), (session(1), 2, 2));
        assert_eq!(registry.session_client_count(session(1)), 2);

        assert_eq!(registry.broadcast_to_session(session(1), "once"), sent(2));
        assert_eq!(drain(&mut queue), ["once"]);

        assert_eq!(registry.detach_from_session(client).unwrap().members, 1);
        assert_eq!(registry.broadcast_to_session(session(1), "not for it"), sent(1));
        assert!(drain(&mut queue).is_empty(), "one detach undoes any number of attaches");
    });
}

#[test]
fn detaching_says_how_many_are_left() {
    with_registries::<u32>(|registry| {
        let clients: Vec<_> = (0..10).map(|_| watch(&registry, session(1), 1)).collect();
        for (left, (client, _)) in clients.iter().enumerate().rev() {
            let detached = registry.detach_from_session(*client).unwrap();
            assert_eq!((detached.session, detached.members), (session(1), left));
        }
    });
}

#[test]
fn a_detached_client_stays_registered_and_can_attach_again() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 1);
        registry.detach_from_session(client).unwrap();
        assert_eq!(registry.client_count(), 1);
        assert_eq!(registry.broadcast_to_session(session(1), "while away"), sent(0));

        let back = registry.attach_to_session(client, session(1)).unwrap();
        assert_eq!((back.previous, back.members), (None, 1));
        assert_eq!(registry.broadcast_to_session(session(1), "back"), sent(1));
        assert_eq!(drain(&mut queue), ["back"]);
    });
}

#[test]
fn a_member_may_leave_from_any_position() {
    // Four members are kept inline, the fifth spills them to the heap.
    with_registries(|registry| {
        for members in 1..=9 {
            for leaving in 0..members {
                let mut clients: Vec<_> = (0..members).map(|_| watch(&registry, session(1), 1)).collect();
                let (gone, mut queue_of_gone) = clients.remove(leaving);
                assert_eq!(registry.detach_from_session(gone).unwrap().members, members - 1);

                assert_eq!(registry.broadcast_to_session(session(1), "hi"), sent(members - 1));
                assert!(drain(&mut queue_of_gone).is_empty());
                for (client, queue) in &mut clients {
                    assert_eq!(drain(queue), ["hi"]);
                    registry.unregister_client(*client).unwrap();
                }
                assert_eq!(registry.session_count(), 0);
            }
        }
    });
}

#[test]
fn a_session_remembers_its_members_after_shrinking_to_a_few() {
    with_registries(|registry| {
        let mut clients: Vec<_> = (0..20).map(|_| watch(&registry, session(1), 4)).collect();
        for (client, _) in clients.drain(2..) {
            registry.detach_from_session(client).unwrap();
        }
        clients.extend((0..3).map(|_| watch(&registry, session(1), 4)));

        let ids = clients.iter().map(|(client, _)| *client);
        assert_eq!(sorted(registry.session_clients(session(1))), sorted(ids));
        assert_eq!(registry.broadcast_to_session(session(1), "hi"), sent(5));
        assert!(clients.iter_mut().all(|(_, queue)| drain(queue) == ["hi"]));
    });
}

#[test]
fn unregistering_takes_the_client_out_of_its_session() {
    with_registries::<u32>(|registry| {
        let (a, _queue_a) = watch(&registry, session(1), 1);
        let (b, _queue_b) = watch(&registry, session(1), 1);
        registry.unregister_client(a);
        assert_eq!(registry.session_clients(session(1)), [b]);
        assert_eq!(registry.broadcast_to_session(session(1), 1), sent(1));
    });
}
