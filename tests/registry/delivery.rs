//! Messages reach whom they should, in order, and what does not arrive is counted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fugue_server::{ClientId, Delivery, SendError};

use super::{closed, connect, counts, drain, full, sent, session, sorted, watch, with_registries};

#[test]
fn messages_of_one_thread_arrive_in_order() {
    with_registries(|registry| {
        let (_client, mut queue) = watch(&registry, session(1), 100);
        for message in 0..100 {
            assert_eq!(registry.broadcast_to_session(session(1), message), sent(1));
        }
        assert_eq!(drain(&mut queue), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn except_leaves_one_member_out() {
    with_registries(|registry| {
        let mut clients: Vec<_> = (0..5).map(|_| watch(&registry, session(1), 4)).collect();
        for excluded in 0..5 {
            let (id, _) = clients[excluded];
            assert_eq!(registry.broadcast_to_session_except(session(1), id, "one"), sent(4));
            assert_eq!(registry.broadcast_to_session_except(session(1), id, "two"), sent(4));
            for (at, (_, queue)) in clients.iter_mut().enumerate() {
                let expected: &[&str] = if at == excluded { &[] } else { &["one", "two"] };
                assert_eq!(drain(queue), expected);
            }
        }
    });
}

#[test]
fn except_somebody_else_leaves_nobody_out() {
    with_registries(|registry| {
        let (_client, mut queue) = watch(&registry, session(1), 4);
        let (elsewhere, _queue_elsewhere) = watch(&registry, session(2), 4);
        assert_eq!(registry.broadcast_to_session_except(session(1), elsewhere, "hi"), sent(1));
        assert_eq!(registry.broadcast_to_session_except(session(1), ClientId(99), "hi"), sent(1));
        assert_eq!(drain(&mut queue), ["hi", "hi"]);
    });
}

#[test]
fn an_excluded_member_with_a_closed_channel_is_not_looked_at() {
    with_registries(|registry| {
        let (excluded, queue) = watch(&registry, session(1), 1);
        drop(queue);
        assert_eq!(registry.broadcast_to_session_except(session(1), excluded, "hi"), sent(0));
        assert!(registry.get_client(excluded).is_some());
    });
}

#[test]
fn an_observer_is_told_what_became_of_each_members_message() {
    with_registries(|registry| {
        let (room, _queue) = watch(&registry, session(1), 2);
        let (busy, _busy_queue) = watch(&registry, session(1), 1);
        let (gone, queue) = watch(&registry, session(1), 2);
        assert_eq!(registry.broadcast_to_session(session(1), 1), sent(3));
        drop(queue);

        let mut seen = Vec::new();
        let total = registry
            .to(session(1))
            .observe(|client, outcome| {
                seen.push((client, outcome.sent, outcome.full, outcome.closed));
            })
            .send(2);
        assert_eq!(sorted(seen), [(room, 1, 0, 0), (busy, 0, 1, 0), (gone, 0, 0, 1)]);
        assert_eq!(total, counts(1, 1, 1));
    });
}

#[test]
fn an_observer_may_use_the_registry() {
    with_registries(|registry| {
        let (a, _queue_a) = watch(&registry, session(1), 1);
        let (b, _queue_b) = watch(&registry, session(1), 1);
        let both = registry
            .to(session(1))
            .observe(|client, _| {
                registry.unregister_client(client).unwrap();
            })
            .send("last words");
        assert_eq!(both, sent(2));
        assert!(registry.get_client(a).is_none() && registry.get_client(b).is_none());
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn a_panicking_observer_harms_nobody_else() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 4);
        let broadcast = catch_unwind(AssertUnwindSafe(|| {
            registry.to(session(1)).observe(|_, _| panic!("the observer gives up")).send("one")
        }));
        assert!(broadcast.is_err());
        assert_eq!(registry.broadcast_to_session(session(1), "two"), sent(1));
        assert_eq!(drain(&mut queue), ["one", "two"]);
        assert!(registry.unregister_client(client).is_some());
    });
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    with_registries(|registry| {
        let burst: Vec<u32> = (0..100).collect();
        let mut queues: Vec<_> = (0..6).map(|_| watch(&registry, session(1), 100).1).collect();
        assert_eq!(registry.broadcast_burst(session(1), &burst), sent(600));
        for queue in &mut queues {
            assert_eq!(drain(queue), burst);
        }
    });
}

#[test]
fn a_burst_gives_each_member_the_longest_prefix_that_fits() {
    const DEPTH: usize = 8;
    with_registries(|registry| {
        let burst: Vec<usize> = (100..105).collect();
        let mut clients: Vec<_> = (0..=DEPTH).map(|_| watch(&registry, session(1), DEPTH)).collect();
        // The client at index `used` has that many messages waiting.
        for (used, (client, _)) in clients.iter().enumerate() {
            (0..used).for_each(|message| registry.send_to_client(*client, message).unwrap());
        }

        let mut outcomes = Vec::new();
        let total = registry.to(session(1)).observe(|_, outcome| outcomes.push(outcome)).burst(&burst);
        for (used, (client, queue)) in clients.iter_mut().enumerate() {
            let fits = (DEPTH - used).min(burst.len());
            let partial = counts(fits, burst.len() - fits, 0);
            assert!(outcomes.contains(&partial), "{partial:?} in {outcomes:?}");
            assert_eq!(drain(queue)[used..], burst[..fits]);
            assert_eq!(registry.get_client(*client).unwrap().skipped, partial.full);
        }
        assert_eq!(total.total(), (burst.len() * clients.len()) as u64);
        assert_eq!(outcomes.len(), clients.len());
    });
}

#[test]
fn every_delivery_asked_for_is_counted_as_one_outcome() {
    with_registries(|registry| {
        for messages in [1, 2, 7, 40] {
            let burst = vec!["x"; messages];
            let mut clients: Vec<_> = (1..=12).map(|depth| watch(&registry, session(1), depth)).collect();
            let gone = clients.split_off(9);
            let ids: Vec<_> = clients.iter().chain(&gone).map(|(client, _)| *client).collect();
            drop(gone);

            let delivery = registry.broadcast_burst(session(1), &burst);
            let received: usize = clients.iter_mut().map(|(_, queue)| drain(queue).len()).sum();
            assert_eq!(delivery, counts(received, messages * 9 - received, messages * 3));
            ids.into_iter().for_each(|client| drop(registry.unregister_client(client)));
        }
    });
}

#[test]
fn a_burst_into_a_queue_of_one_leaves_its_first_message() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.broadcast_burst(session(1), &[1, 2, 3]), counts(1, 2, 0));
        assert_eq!(registry.broadcast_burst(session(1), &[4, 5]), full(2));
        assert_eq!(drain(&mut queue), [1]);
        assert_eq!(registry.broadcast_burst(session(1), &[6]), sent(1));
        assert_eq!(drain(&mut queue), [6]);
        assert_eq!(registry.get_client(client).unwrap().skipped, 4);
    });
}

#[test]
fn a_burst_to_a_closed_channel_is_closed_as_a_whole() {
    with_registries(|registry| {
        let (client, queue) = watch(&registry, session(1), 2);
        drop(queue);
        assert_eq!(registry.broadcast_burst(session(1), &[1, 2, 3]), closed(3));
        assert!(registry.get_client(client).is_none());
    });
}

#[test]
fn a_message_to_all_reaches_every_client_attached_or_not() {
    with_registries(|registry| {
        let mut clients: Vec<_> = (0..10).map(|number| watch(&registry, session(number % 3), 1)).collect();
        clients.extend((0..10).map(|_| connect(&registry, 1)));
        assert_eq!(registry.broadcast_to_all("notice"), sent(20));

        let busy = clients[0].0;
        let (gone, queue) = clients.pop().unwrap();
        drop(queue);
        let delivery = registry.broadcast_to_all("again");
        assert_eq!(delivery, counts(0, 19, 1));
        assert!(registry.get_client(gone).is_none());
        assert_eq!(registry.get_client(busy).unwrap().skipped, 1);
        for (_, queue) in &mut clients {
            assert_eq!(drain(queue), ["notice"]);
        }
    });
}

#[test]
fn any_broadcast_may_leave_one_out_and_be_observed() {
    with_registries(|registry| {
        let mut clients: Vec<_> = (0..5).map(|_| watch(&registry, session(1), 100)).collect();
        let excluded = clients[2].0;
        let mut publisher = registry.publisher(session(1));
        let (mut seen, mut expected) = (Vec::new(), Delivery::default());
        let mut note = |client, delivery: Delivery| seen.push((client, delivery.sent));

        expected += registry.to(session(1)).except(excluded).send(0);
        expected += registry.to(session(1)).except(excluded).burst(&[1, 2]);
        expected += registry.to(session(1)).except(excluded).observe(&mut note).send(3);
        expected += registry.to(session(1)).observe(&mut note).except(excluded).burst(&[4, 5]);
        expected += registry.to_all().except(excluded).send(6);
        expected += registry.to_all().except(excluded).burst(&[7, 8]);
        expected += registry.to_all().except(excluded).observe(&mut note).send(9);
        expected += registry.to_all().except(excluded).observe(&mut note).burst(&[10, 11]);
        expected += publisher.except(excluded).burst(&[12, 13]);
        expected += publisher.except(excluded).observe(&mut note).send(14);
        expected += publisher.observe(&mut note).except(excluded).burst(&[15, 16]);

        assert_eq!(expected, sent(17 * 4));
        assert_eq!(registry.stats().deliveries, expected);
        for (client, queue) in &mut clients {
            let received = if *client == excluded { 0..0 } else { 0..17 };
            assert!(drain(queue).into_iter().eq(received));
            let observed: Vec<u64> =
                seen.iter().filter(|(of, _)| of == client).map(|(_, sent)| *sent).collect();
            assert_eq!(observed, if *client == excluded { vec![] } else { vec![1, 2, 1, 2, 1, 2] });
        }
    });
}

#[test]
fn deliveries_add_up_beyond_32_bits() {
    let mut many = Delivery::default();
    (many.sent, many.full, many.closed) = (u64::from(u32::MAX), 1, 2);
    let sum: Delivery = [many, many].into_iter().sum();
    assert_eq!(sum, many + many);
    assert_eq!((sum.sent, sum.full, sum.closed), (2 * u64::from(u32::MAX), 2, 4));
    assert_eq!(sum.total(), 2 * u64::from(u32::MAX) + 6);
}

#[test]
fn a_full_queue_refuses_a_send_and_returns_the_message() {
    with_registries(|registry| {
        let (client, mut queue) = connect(&registry, 1);
        assert_eq!(registry.send_to_client(client, "fits"), Ok(()));
        let refused = registry.send_to_client(client, "does not").unwrap_err();
        assert!(refused.is_full());
        assert_eq!(refused.into_inner(), "does not");
        assert_eq!(registry.get_client(client).unwrap().skipped, 1);
        assert_eq!(drain(&mut queue), ["fits"]);
        assert_eq!(registry.send_to_client(client, "fits again"), Ok(()));
    });
}

#[test]
fn a_closed_channel_refuses_a_send_and_is_unregistered() {
    with_registries(|registry| {
        let (client, queue) = watch(&registry, session(1), 1);
        drop(queue);
        assert_eq!(registry.send_to_client(client, "hi"), Err(SendError::Closed("hi")));
        assert_eq!(registry.send_to_client(client, "hi"), Err(SendError::UnknownClient("hi")));
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    });
}
