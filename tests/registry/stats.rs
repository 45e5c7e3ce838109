//! The registry's figures add up, and count everything once.

use fugue_server::{Delivery, RegistryStats};

use super::{closed, connect, counts, full, sent, session, watch, with_registries};

#[test]
fn an_empty_registry_counts_nothing_in_every_shard() {
    with_registries::<u32>(|registry| {
        let stats = registry.stats();
        assert_eq!(stats.clients_per_shard, vec![0; registry.shard_count()]);
        assert_eq!(stats.sessions_per_shard, vec![0; registry.shard_count()]);
        assert_eq!((stats.publishers, stats.deliveries), (0, Delivery::default()));
    });
}

#[test]
fn occupancy_adds_up_over_the_shards() {
    with_registries::<u32>(|registry| {
        let clients: Vec<_> = (0..300).map(|number| watch(&registry, session(number % 100), 1)).collect();
        let publishers: Vec<_> = (90..110).map(|number| registry.publisher(session(number))).collect();
        let stats = registry.stats();
        assert_eq!(stats.clients_per_shard.len(), registry.shard_count());
        assert_eq!(stats.sessions_per_shard.len(), registry.shard_count());
        assert_eq!((stats.clients(), registry.client_count()), (300, 300));
        assert_eq!((stats.sessions(), registry.session_count()), (110, 110));
        assert_eq!(stats.publishers, 20);

        drop(publishers);
        clients.iter().for_each(|(client, _)| drop(registry.unregister_client(*client)));
        let stats = registry.stats();
        assert_eq!((stats.clients(), stats.sessions(), stats.publishers), (0, 0, 0));
    });
}

#[test]
fn clients_and_sessions_spread_over_the_shards() {
    with_registries::<u32>(|registry| {
        let clients: Vec<_> = (0..4096).map(|number| watch(&registry, session(number), 1)).collect();
        let stats = registry.stats();
        // With 64 shards, 64 are expected in each, give or take 8: beyond 128 lies no luck but a bad hash.
        let most = 2 * clients.len() / registry.shard_count();
        for shard in stats.clients_per_shard.iter().chain(&stats.sessions_per_shard) {
            assert!((1..=most).contains(shard), "{shard} of {} in one shard", clients.len());
        }
    });
}

#[test]
fn every_way_to_deliver_is_counted_by_its_outcome() {
    with_registries(|registry| {
        let (busy, _busy_queue) = watch(&registry, session(1), 1);
        let (_room, _queue) = watch(&registry, session(1), 100);
        let mut publisher = registry.publisher(session(1));
        let mut expected = Delivery::default();

        expected += registry.broadcast_to_session(session(1), 1);
        expected += registry.broadcast_to_session_except(session(1), busy, 2);
        expected += registry.to(session(1)).observe(|_, _| {}).send(3);
        expected += registry.broadcast_burst(session(1), &[4, 5]);
        expected += registry.to(session(1)).observe(|_, _| {}).burst(&[6, 7]);
        expected += registry.broadcast_to_all(8);
        expected += publisher.broadcast(9);
        expected += publisher.except(busy).send(10);
        expected += publisher.observe(|_, _| {}).send(11);
        expected += publisher.broadcast_burst(&[12, 13]);
        expected += publisher.observe(|_, _| {}).burst(&[14, 15]);
        assert!(registry.send_to_client(busy, 16).unwrap_err().is_full());
        expected += full(1);
        let (gone, queue) = connect(&registry, 1);
        registry.send_to_client(gone, 17).unwrap();
        expected += sent(1);
        drop(queue);
        registry.send_to_client(gone, 18).unwrap_err();
        expected += closed(1);

        // One message for `busy`, fifteen for the other, one for the client that went.
        assert_eq!(expected, counts(17, 13, 1));
        assert_eq!(registry.stats().deliveries, expected);
        drop(publisher);
        assert_eq!(registry.stats().deliveries, expected);
    });
}

#[test]
fn a_publishers_deliveries_are_counted_once_alive_and_after_its_drop() {
    with_registries(|registry| {
        let (_client, _queue) = watch(&registry, session(1), 2);
        let (_gone, queue) = watch(&registry, session(1), 2);
        let mut publisher = registry.publisher(session(1));
        let mut other = registry.publisher(session(1));
        assert_eq!(publisher.broadcast_burst(&[1, 2, 3]).total(), 6);
        drop(queue);
        assert_eq!(other.broadcast(4).total(), 2);

        let expected = counts(4, 3, 1);
        assert_eq!(registry.stats().deliveries, expected);
        drop(publisher);
        assert_eq!((registry.stats().deliveries, registry.stats().publishers), (expected, 1));
        drop(other);
        assert_eq!((registry.stats().deliveries, registry.stats().publishers), (expected, 0));
    });
}

#[test]
fn totals_outlive_the_clients_and_sessions_they_counted() {
    with_registries(|registry| {
        for number in 0..50 {
            let (client, queue) = watch(&registry, session(number), 1);
            assert_eq!(registry.broadcast_burst(session(number), &[1, 2]).total(), 2);
            assert_eq!(registry.publisher(session(number)).broadcast(3).full, 1);
            registry.unregister_client(client).unwrap();
            drop(queue);
        }
        let RegistryStats { deliveries, .. } = registry.stats();
        assert_eq!(deliveries, counts(50, 100, 0));
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    });
}
