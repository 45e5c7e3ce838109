//! Clients come and go: registration, its guard, and what a look at a client shows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fugue_server::{ClientId, RegisterError};
use tokio::sync::mpsc;

use super::{connect, drain, is_freed, session, sorted, watch, with_registries};

#[test]
fn client_ids_are_handed_out_in_order_and_never_twice() {
    with_registries::<u32>(|registry| {
        assert_eq!(registry.next_client_id(), ClientId(1));
        let (client, _queue) = connect(&registry, 1);
        assert_eq!(client, ClientId(2));
        registry.unregister_client(client);
        assert_eq!(registry.next_client_id(), ClientId(3));
        assert_eq!(registry.clone().next_client_id(), ClientId(4), "a clone is the same registry");
    });
}

#[test]
fn debug_texts_say_whose_they_are() {
    with_registries::<u32>(|registry| {
        assert!(format!("{registry:?}").contains(&registry.shard_count().to_string()));
        let (sender, _queue) = mpsc::channel(1);
        let id = registry.next_client_id();
        let guard = registry.register_guarded(id, sender).unwrap();
        assert!(format!("{guard:?}").contains("ClientId(1)"));
        registry.attach_to_session(id, session(77)).unwrap();
        assert!(format!("{:?}", registry.get_client(id).unwrap()).contains(&format!("{:?}", session(77))));
    });
}

#[test]
fn a_new_client_is_attached_to_nothing() {
    with_registries::<u32>(|registry| {
        let (client, _queue) = connect(&registry, 1);
        let entry = registry.get_client(client).unwrap();
        assert_eq!((entry.attached_session, entry.skipped), (None, 0));
    });
}

#[test]
fn an_entry_holds_a_handle_on_the_clients_queue() {
    with_registries(|registry| {
        let (client, mut queue) = connect(&registry, 1);
        let entry = registry.get_client(client).unwrap();
        entry.sender.try_send("straight into the queue").unwrap();
        assert_eq!(drain(&mut queue), ["straight into the queue"]);

        registry.unregister_client(client);
        assert!(!is_freed(&mut queue), "the entry outlives the registration and keeps the channel open");
        drop(entry);
        assert!(is_freed(&mut queue));
    });
}

#[test]
fn clients_lists_each_client_once() {
    with_registries::<u32>(|registry| {
        let clients: Vec<_> = (0..100).map(|_| connect(&registry, 1)).collect();
        assert_eq!(sorted(registry.clients()), clients.iter().map(|(client, _)| *client).collect::<Vec<_>>());
        registry.unregister_client(clients[0].0).unwrap();
        assert!(!registry.clients().contains(&clients[0].0));
    });
}

#[test]
fn unregistering_all_frees_every_channel_and_counts_the_clients() {
    with_registries::<u32>(|registry| {
        let mut clients: Vec<_> = (0..100).map(|number| watch(&registry, session(number % 7), 1)).collect();
        clients.push(connect(&registry, 1));
        assert_eq!(registry.unregister_all(), 101);
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
        assert!(clients.iter_mut().all(|(_, queue)| is_freed(queue)));
        assert_eq!(registry.unregister_all(), 0);
    });
}

#[test]
fn skips_that_were_taken_are_not_counted_again() {
    with_registries(|registry| {
        let (client, _queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.broadcast_burst(session(1), &[1, 2, 3]).full, 2);
        assert_eq!(registry.take_skipped(client), Some(2));
        assert_eq!(registry.get_client(client).unwrap().skipped, 0);
        assert_eq!(registry.broadcast_to_session(session(1), 4).full, 1);
        assert_eq!(registry.take_skipped(client), Some(1));
        assert_eq!(registry.stats().deliveries.full, 3, "the registry's own count goes on");
        registry.unregister_client(client).unwrap();
        assert_eq!(registry.take_skipped(client), None);
    });
}

#[test]
fn client_count_follows_every_registration() {
    with_registries::<u32>(|registry| {
        let clients: Vec<_> = (0..100).map(|_| connect(&registry, 1)).collect();
        assert_eq!(registry.client_count(), 100);
        for (left, (client, _)) in clients.iter().enumerate().rev() {
            registry.unregister_client(*client);
            assert_eq!(registry.client_count(), left);
        }
    });
}

#[test]
fn unregistering_gives_back_the_client_as_it_stood() {
    with_registries::<u32>(|registry| {
        let (client, _queue) = watch(&registry, session(1), 1);
        let (_other, _other_queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.send_to_client(client, 1), Ok(()));
        assert!(registry.send_to_client(client, 2).unwrap_err().is_full());

        let gone = registry.unregister_client(client).unwrap();
        assert_eq!((gone.entry.attached_session, gone.entry.skipped), (Some(session(1)), 1));
        let detached = gone.detached.unwrap();
        assert_eq!((detached.session, detached.members), (session(1), 1));
    });
}

#[test]
fn unregistering_a_client_attached_to_nothing_detaches_nothing() {
    with_registries::<u32>(|registry| {
        let (client, mut queue) = connect(&registry, 1);
        assert!(registry.unregister_client(client).unwrap().detached.is_none());
        assert!(is_freed(&mut queue));
    });
}

#[test]
fn an_id_can_be_registered_again_once_it_is_free() {
    with_registries(|registry| {
        let (client, mut old) = watch(&registry, session(1), 1);
        registry.unregister_client(client);

        let (sender, mut new) = mpsc::channel(1);
        registry.register_client(client, sender).unwrap();
        assert_eq!(registry.get_client(client).unwrap().attached_session, None, "nothing is inherited");
        assert_eq!(registry.send_to_client(client, "to the newer one"), Ok(()));
        assert_eq!(drain(&mut new), ["to the newer one"]);
        assert!(is_freed(&mut old));
    });
}

#[test]
fn a_guard_unregisters_and_detaches_when_it_drops() {
    with_registries::<u32>(|registry| {
        let (sender, mut queue) = mpsc::channel(1);
        let guard = registry.register_guarded(ClientId(7), sender).unwrap();
        assert_eq!(guard.id(), ClientId(7));
        registry.attach_to_session(guard.id(), session(1)).unwrap();

        drop(guard);
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
        assert!(is_freed(&mut queue));
    });
}

#[test]
fn a_guard_that_unregisters_returns_what_it_took_out() {
    with_registries::<u32>(|registry| {
        let (sender, mut queue) = mpsc::channel(1);
        let guard = registry.register_guarded(ClientId(7), sender).unwrap();
        registry.attach_to_session(guard.id(), session(1)).unwrap();
        let gone = guard.unregister().unwrap();
        assert_eq!((gone.entry.attached_session, gone.detached.unwrap().members), (Some(session(1)), 0));
        drop(gone);
        assert!(is_freed(&mut queue));

        let (sender, _queue) = mpsc::channel(1);
        let guard = registry.register_guarded(ClientId(7), sender).unwrap();
        registry.unregister_client(ClientId(7)).unwrap();
        let (_newer, _newer_queue) = (guard.unregister(), connect(&registry, 1));
        assert_eq!(registry.client_count(), 1);
    });
}

#[test]
fn a_guard_unregisters_when_its_handler_panics() {
    with_registries::<u32>(|registry| {
        let handler = catch_unwind(AssertUnwindSafe(|| {
            let (sender, _queue) = mpsc::channel(1);
            let guard = registry.register_guarded(ClientId(7), sender).unwrap();
            registry.attach_to_session(guard.id(), session(1)).unwrap();
            panic!("the handler gives up");
        }));
        assert!(handler.is_err());
        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    });
}

#[test]
fn a_guard_leaves_a_newer_registration_under_its_id_alone() {
    with_registries::<u32>(|registry| {
        let (sender, _queue) = mpsc::channel(1);
        let guard = registry.register_guarded(ClientId(7), sender).unwrap();
        registry.unregister_client(ClientId(7)).unwrap();
        let (sender, _newer_queue) = mpsc::channel(1);
        registry.register_client(ClientId(7), sender).unwrap();

        drop(guard);
        assert!(registry.get_client(ClientId(7)).is_some());
    });
}

#[test]
fn a_guard_leaves_a_newer_registration_of_the_same_channel_alone() {
    with_registries::<u32>(|registry| {
        let (sender, _queue) = mpsc::channel(1);
        let guard = registry.register_guarded(ClientId(7), sender.clone()).unwrap();
        registry.unregister_client(ClientId(7)).unwrap();
        let newer = registry.register_guarded(ClientId(7), sender).unwrap();

        drop(guard);
        assert!(registry.get_client(ClientId(7)).is_some());
        drop(newer);
        assert!(registry.get_client(ClientId(7)).is_none());
    });
}

#[test]
fn a_refused_guard_takes_nothing_out() {
    with_registries::<u32>(|registry| {
        let (client, _queue) = connect(&registry, 1);
        let (sender, _other_queue) = mpsc::channel(1);
        let refused = registry.register_guarded(client, sender);
        assert!(matches!(refused, Err(RegisterError::DuplicateId { id, .. }) if id == client));
        assert!(registry.get_client(client).is_some());
    });
}

#[test]
fn clients_chosen_by_the_embedder_share_the_space_with_those_handed_out() {
    with_registries::<u32>(|registry| {
        let chosen = [ClientId(0), ClientId(u64::MAX), ClientId(1 << 40)];
        let queues: Vec<_> = chosen
            .map(|id| {
                let (sender, queue) = mpsc::channel(1);
                registry.register_client(id, sender).unwrap();
                registry.attach_to_session(id, session(1)).unwrap();
                queue
            })
            .into();
        assert_eq!(sorted(registry.session_clients(session(1))), sorted(chosen));
        drop(queues);
    });
}
