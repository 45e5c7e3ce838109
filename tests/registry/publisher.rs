//! The hot-path handle sees every change of membership at its next broadcast, and keeps nothing for longer.

use fugue_server::Delivery;
use tokio::sync::mpsc;

use super::{counts, drain, full, is_freed, sent, session, sorted, watch, with_registries};

#[test]
fn a_publisher_reaches_members_from_before_and_after_it_was_made() {
    with_registries(|registry| {
        let (_before, mut queue_before) = watch(&registry, session(1), 4);
        let mut publisher = registry.publisher(session(1));
        assert_eq!(publisher.session(), session(1));
        let (_after, mut queue_after) = watch(&registry, session(1), 4);
        assert_eq!(publisher.broadcast("hi"), sent(2));
        assert_eq!((drain(&mut queue_before), drain(&mut queue_after)), (vec!["hi"], vec!["hi"]));
    });
}

#[test]
fn a_publisher_sees_each_change_of_membership_at_its_next_broadcast() {
    with_registries(|registry| {
        let mut publisher = registry.publisher(session(1));
        assert_eq!(publisher.broadcast(0), sent(0));

        let (a, mut queue_a) = watch(&registry, session(1), 16);
        assert_eq!(publisher.broadcast(1), sent(1), "an attach");
        let (b, mut queue_b) = watch(&registry, session(1), 16);
        assert_eq!(publisher.broadcast(2), sent(2), "another");
        registry.detach_from_session(a).unwrap();
        assert_eq!(publisher.broadcast(3), sent(1), "a detach");
        registry.attach_to_session(a, session(1)).unwrap();
        assert_eq!(publisher.broadcast(4), sent(2), "coming back");
        registry.attach_to_session(b, session(2)).unwrap();
        assert_eq!(publisher.broadcast(5), sent(1), "a move elsewhere");
        registry.attach_to_session(b, session(1)).unwrap();
        assert_eq!(publisher.broadcast(6), sent(2), "and back");
        registry.unregister_client(a).unwrap();
        assert_eq!(publisher.broadcast(7), sent(1), "an unregistration");
        registry.close_session(session(1));
        assert_eq!(publisher.broadcast(8), sent(0), "a close");

        assert_eq!(drain(&mut queue_a), [1, 2, 4, 5, 6]);
        assert_eq!(drain(&mut queue_b), [2, 3, 4, 6, 7]);
    });
}

#[test]
fn every_way_to_broadcast_through_a_publisher_sees_the_latest_member() {
    with_registries(|registry| {
        let mut publisher = registry.publisher(session(1));
        let (first, mut queue) = watch(&registry, session(1), 16);
        assert_eq!(publisher.except(first).send(0), sent(0));
        let mut more = vec![watch(&registry, session(1), 16)];
        assert_eq!(publisher.except(first).send(1), sent(1));
        more.push(watch(&registry, session(1), 16));
        assert_eq!(publisher.broadcast_burst(&[2, 3]), sent(6));

        more.push(watch(&registry, session(1), 16));
        let mut seen = Vec::new();
        assert_eq!(publisher.observe(|client, _| seen.push(client)).send(4), sent(4));
        assert_eq!(sorted(seen), sorted(registry.session_clients(session(1))));

        more.push(watch(&registry, session(1), 16));
        let mut seen = Vec::new();
        let burst = publisher.observe(|client, outcome| seen.push((client, outcome.sent))).burst(&[5, 6, 7]);
        assert_eq!(burst, sent(15));
        let everyone = registry.session_clients(session(1)).into_iter().map(|client| (client, 3));
        assert_eq!(sorted(seen), sorted(everyone));
        assert_eq!(drain(&mut queue), [2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn an_empty_burst_through_a_publisher_does_nothing() {
    with_registries::<u32>(|registry| {
        let (_client, mut queue) = watch(&registry, session(1), 1);
        let mut publisher = registry.publisher(session(1));
        assert_eq!(publisher.broadcast_burst(&[]), Delivery::default());
        let observed = publisher.observe(|_, _| panic!("there is nothing to observe")).burst(&[]);
        assert_eq!(observed, Delivery::default());
        assert!(drain(&mut queue).is_empty());
    });
}

#[test]
fn messages_of_one_publisher_arrive_in_order_singly_and_in_bursts() {
    with_registries(|registry| {
        let mut publisher = registry.publisher(session(1));
        let (_first, mut queue) = watch(&registry, session(1), 1000);
        let mut others = Vec::new();
        let mut next = 0;
        for round in 0..20 {
            let burst: Vec<u32> = (next..next + round).collect();
            next += round;
            assert!(publisher.broadcast_burst(&burst).is_complete());
            assert!(publisher.broadcast(next).is_complete());
            next += 1;
            others.push(watch(&registry, session(1), 1000));
        }
        assert_eq!(drain(&mut queue), (0..next).collect::<Vec<_>>());
    });
}

#[test]
fn a_publisher_gives_a_busy_member_the_prefix_that_fits() {
    with_registries(|registry| {
        let (busy, mut queue) = watch(&registry, session(1), 4);
        let mut publisher = registry.publisher(session(1));
        assert_eq!(publisher.broadcast(0), sent(1));
        assert_eq!(publisher.broadcast_burst(&[1, 2, 3, 4, 5]), counts(3, 2, 0));
        assert_eq!(publisher.broadcast(6), full(1));
        assert_eq!(drain(&mut queue), [0, 1, 2, 3]);
        assert_eq!(registry.get_client(busy).unwrap().skipped, 3);
    });
}

#[test]
fn a_publisher_unregisters_a_member_it_finds_closed() {
    with_registries(|registry| {
        let mut publisher = registry.publisher(session(1));
        let (gone, queue) = watch(&registry, session(1), 1);
        let (stays, _queue_of_stays) = watch(&registry, session(1), 4);
        drop(queue);
        assert_eq!(publisher.broadcast(1), counts(1, 0, 1));
        assert!(registry.get_client(gone).is_none());
        assert_eq!(registry.session_clients(session(1)), [stays]);
        assert_eq!(publisher.broadcast(2), sent(1));
    });
}

#[test]
fn refreshing_frees_the_channels_of_clients_that_left() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 4);
        let mut publisher = registry.publisher(session(1));
        assert_eq!(publisher.broadcast("hi"), sent(1));
        registry.unregister_client(client).unwrap();
        assert_eq!(drain(&mut queue), ["hi"]);
        assert!(!is_freed(&mut queue), "the publisher's roster still holds a sender");
        publisher.refresh();
        assert!(is_freed(&mut queue));
    });
}

#[test]
fn a_broadcast_or_a_drop_frees_the_channels_as_a_refresh_does() {
    with_registries::<u32>(|registry| {
        let (a, mut queue_a) = watch(&registry, session(1), 4);
        let (b, mut queue_b) = watch(&registry, session(1), 4);
        let mut publisher = registry.publisher(session(1));
        registry.unregister_client(a).unwrap();
        assert_eq!(publisher.broadcast(1), sent(1));
        assert!(is_freed(&mut queue_a));

        registry.unregister_client(b).unwrap();
        assert_eq!(drain(&mut queue_b), [1]);
        assert!(!is_freed(&mut queue_b));
        drop(publisher);
        assert!(is_freed(&mut queue_b));
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn two_publishers_of_one_session_both_reach_its_members() {
    with_registries(|registry| {
        let mut one = registry.publisher(session(1));
        let mut two = registry.publisher(session(1));
        let (_client, mut queue) = watch(&registry, session(1), 4);
        assert_eq!(one.broadcast("one"), sent(1));
        drop(one);
        assert_eq!(two.broadcast("two"), sent(1));
        assert_eq!(drain(&mut queue), ["one", "two"]);
    });
}

#[test]
fn a_publisher_works_on_when_every_other_handle_is_gone() {
    with_registries(|registry| {
        let (sender, mut queue) = mpsc::channel(1);
        let client = registry.next_client_id();
        registry.register_client(client, sender).unwrap();
        registry.attach_to_session(client, session(1)).unwrap();
        let mut publisher = registry.publisher(session(1));
        drop(registry);
        assert_eq!(publisher.broadcast("still here"), sent(1));
        assert_eq!(drain(&mut queue), ["still here"]);
        drop(publisher);
        assert!(is_freed(&mut queue), "the registry went with its last handle");
    });
}
