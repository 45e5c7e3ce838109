//! Full is not dead, and dead is not the next one under the same id.

use fugue_server::{ClientId, ClientRegistry, Delivery, SendError};
use tokio::sync::mpsc;

use super::{closed, connect, drain, full, sent, session, watch, with_registries};

#[test]
fn a_full_client_is_skipped_counted_and_stays() {
    with_registries(|registry| {
        let (slow, mut queue) = watch(&registry, session(1), 1);
        let (_quick, mut quick_queue) = watch(&registry, session(1), 16);
        assert_eq!(registry.broadcast_to_session(session(1), 0), sent(2));
        for message in 1..=10 {
            let delivery = registry.broadcast_to_session(session(1), message);
            assert_eq!((delivery.sent, delivery.full, delivery.closed), (1, 1, 0));
        }
        assert_eq!(registry.get_client(slow).unwrap().skipped, 10);
        assert_eq!(registry.session_client_count(session(1)), 2);

        assert_eq!(drain(&mut queue), [0]);
        assert_eq!(registry.broadcast_to_session(session(1), 11), sent(2), "room again");
        assert_eq!(drain(&mut queue), [11]);
        assert_eq!(drain(&mut quick_queue), (0..=11).collect::<Vec<_>>());
    });
}

#[test]
fn skips_are_counted_for_one_registration_across_sessions() {
    with_registries(|registry| {
        let (client, _queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.broadcast_to_session(session(1), 0), sent(1));
        assert_eq!(registry.broadcast_to_session(session(1), 1), full(1));
        registry.attach_to_session(client, session(2)).unwrap();
        assert_eq!(registry.broadcast_burst(session(2), &[2, 3]), full(2));
        assert_eq!(registry.publisher(session(2)).broadcast(4), full(1));
        assert_eq!(registry.send_to_client(client, 5), Err(SendError::Full(5)));
        assert_eq!(registry.broadcast_to_all(6), full(1));
        assert_eq!(registry.unregister_client(client).unwrap().entry.skipped, 6);

        let (sender, _newer_queue) = mpsc::channel(1);
        registry.register_client(client, sender).unwrap();
        assert_eq!(registry.get_client(client).unwrap().skipped, 0, "a new registration starts anew");
    });
}

/// A client whose queue is full and whose receiver takes no more: closed, and not yet drained.
fn full_and_closed(registry: &ClientRegistry<u32>) -> (ClientId, mpsc::Receiver<u32>) {
    let (client, mut queue) = watch(registry, session(1), 1);
    registry.send_to_client(client, 0).unwrap();
    queue.close();
    (client, queue)
}

#[test]
fn a_full_queue_whose_receiver_is_gone_is_closed_and_not_full() {
    let offers: [fn(&ClientRegistry<u32>) -> Delivery; 5] = [
        |registry| registry.broadcast_to_session(session(1), 1),
        |registry| registry.broadcast_burst(session(1), &[1]),
        |registry| registry.publisher(session(1)).broadcast(1),
        |registry| registry.publisher(session(1)).broadcast_burst(&[1]),
        |registry| registry.broadcast_to_all(1),
    ];
    with_registries(|registry| {
        for offer in offers {
            let (client, _queue) = full_and_closed(&registry);
            assert_eq!(offer(&registry), closed(1));
            assert!(registry.get_client(client).is_none());
        }
        let (client, _queue) = full_and_closed(&registry);
        assert_eq!(registry.send_to_client(client, 1), Err(SendError::Closed(1)));
        assert!(registry.get_client(client).is_none());
    });
}

#[test]
fn many_clients_gone_at_once_are_all_unregistered() {
    with_registries(|registry| {
        let mut clients: Vec<_> = (0..200).map(|_| watch(&registry, session(1), 1)).collect();
        // Every other one: the rest must keep its place in the roster while its neighbours leave.
        let mut at = 0;
        clients.retain(|_| {
            at += 1;
            at % 2 == 0
        });
        let delivery = registry.broadcast_to_session(session(1), "hi");
        assert_eq!((delivery.sent, delivery.full, delivery.closed), (100, 0, 100));
        assert_eq!(registry.client_count(), 100);
        assert_eq!(registry.session_client_count(session(1)), 100);
        assert!(clients.iter_mut().all(|(_, queue)| drain(queue) == ["hi"]));
    });
}

/// Puts a newer registration under `client`'s id, in a session of its own.
fn register_anew(registry: &ClientRegistry<u32>, client: ClientId) -> mpsc::Receiver<u32> {
    registry.unregister_client(client).unwrap();
    let (sender, queue) = mpsc::channel(4);
    registry.register_client(client, sender).unwrap();
    registry.attach_to_session(client, session(2)).unwrap();
    queue
}

#[test]
fn cleaning_up_a_closed_channel_leaves_a_newer_registration_alone() {
    with_registries(|registry| {
        let (client, queue) = watch(&registry, session(1), 1);
        drop(queue);
        let mut newer = None;
        // The observer runs between the refusal and the clean-up.
        let delivery = registry
            .to(session(1))
            .observe(|_, _| {
                newer = Some(register_anew(&registry, client));
            })
            .send(1);
        assert_eq!(delivery, closed(1));
        assert_eq!(registry.session_clients(session(2)), [client]);
        assert_eq!(registry.broadcast_to_session(session(2), 2), sent(1));
        assert_eq!(drain(&mut newer.unwrap()), [2]);
    });
}

#[test]
fn a_publisher_that_finds_a_closed_channel_spares_a_newer_client() {
    with_registries(|registry| {
        let (client, queue) = watch(&registry, session(1), 1);
        let mut publisher = registry.publisher(session(1));
        assert_eq!(publisher.broadcast(0), sent(1));
        drop(queue);
        let mut newer = None;
        let delivery = publisher
            .observe(|_, _| {
                newer = Some(register_anew(&registry, client));
            })
            .burst(&[1, 2]);
        assert_eq!(delivery, closed(2));
        assert_eq!(registry.session_clients(session(2)), [client]);
        assert_eq!(publisher.broadcast(3).total(), 0);
        assert_eq!(registry.broadcast_to_session(session(2), 4), sent(1));
        assert_eq!(drain(&mut newer.unwrap()), [4]);
    });
}

#[test]
fn a_broadcast_that_finds_one_client_closed_leaves_the_unattached_alone() {
    with_registries(|registry| {
        let (unattached, queue_of_unattached) = connect(&registry, 1);
        let (member, queue) = watch(&registry, session(1), 1);
        drop((queue, queue_of_unattached));
        assert_eq!(registry.broadcast_to_session(session(1), 1), closed(1));
        assert!(registry.get_client(member).is_none());
        assert!(registry.get_client(unattached).is_some(), "nothing was sent to it yet");
        assert_eq!(registry.broadcast_to_all(2), closed(1));
        assert_eq!(registry.client_count(), 0);
    });
}
