//! What the registry refuses, what it hands back, and what it says about it.

use fugue_server::{
    AttachError, ClientId, ClientRegistry, Delivery, DetachError, RegisterError, SendError, ServerMessage,
    ShardCountError,
};
use tokio::sync::mpsc;

use super::{connect, drain, full, sent, session, watch, with_registries};

const NOBODY: ClientId = ClientId(99);

#[test]
fn an_unknown_client_is_refused_everywhere() {
    with_registries(|registry| {
        assert!(registry.get_client(NOBODY).is_none());
        assert!(registry.unregister_client(NOBODY).is_none());
        assert_eq!(registry.attach_to_session(NOBODY, session(1)), Err(AttachError::UnknownClient(NOBODY)));
        assert_eq!(registry.detach_from_session(NOBODY), Err(DetachError::UnknownClient(NOBODY)));
        assert_eq!(registry.send_to_client(NOBODY, "hi"), Err(SendError::UnknownClient("hi")));
        assert_eq!(
            (registry.client_count(), registry.session_count()),
            (0, 0),
            "nothing was made on the way"
        );
        assert_eq!(registry.stats().deliveries, Delivery::default());
    });
}

#[test]
fn an_unregistered_client_is_unknown() {
    with_registries(|registry| {
        let (client, _queue) = watch(&registry, session(1), 1);
        registry.unregister_client(client).unwrap();
        assert!(registry.unregister_client(client).is_none());
        assert_eq!(registry.attach_to_session(client, session(1)), Err(AttachError::UnknownClient(client)));
        assert_eq!(registry.detach_from_session(client), Err(DetachError::UnknownClient(client)));
        assert_eq!(registry.send_to_client(client, "hi"), Err(SendError::UnknownClient("hi")));
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn detaching_a_client_that_watches_nothing_is_refused() {
    with_registries::<u32>(|registry| {
        let (client, _queue) = connect(&registry, 1);
        assert_eq!(registry.detach_from_session(client), Err(DetachError::NotAttached(client)));
        registry.attach_to_session(client, session(1)).unwrap();
        registry.detach_from_session(client).unwrap();
        assert_eq!(registry.detach_from_session(client), Err(DetachError::NotAttached(client)));
    });
}

#[test]
fn a_duplicate_id_is_refused_and_its_sender_handed_back() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 1);
        let (sender, mut other_queue) = mpsc::channel(1);
        let refused = registry.register_client(client, sender).unwrap_err();
        assert!(matches!(&refused, RegisterError::DuplicateId { id, .. } if *id == client));
        refused.into_inner().try_send("handed back").unwrap();
        assert_eq!(drain(&mut other_queue), ["handed back"]);

        assert_eq!(registry.broadcast_to_session(session(1), "to the first"), sent(1));
        assert_eq!(drain(&mut queue), ["to the first"], "the first registration is untouched");
    });
}

#[test]
fn a_closed_channel_is_not_registered_and_its_sender_handed_back() {
    with_registries::<u32>(|registry| {
        let (sender, queue) = mpsc::channel(1);
        drop(queue);
        let refused = registry.register_client(ClientId(1), sender.clone()).unwrap_err();
        assert!(matches!(&refused, RegisterError::Closed { id, .. } if *id == ClientId(1)));
        assert!(refused.into_inner().same_channel(&sender));
        assert!(matches!(registry.register_guarded(ClientId(1), sender), Err(RegisterError::Closed { .. })));
        assert_eq!(registry.client_count(), 0);
    });
}

#[test]
fn a_broadcast_to_a_session_nobody_watches_is_empty_and_complete() {
    with_registries(|registry| {
        let empty = [
            registry.broadcast_to_session(session(1), 1),
            registry.broadcast_to_session_except(session(1), NOBODY, 1),
            registry.to(session(1)).observe(|_, _| panic!("there is nobody to observe")).send(1),
            registry.broadcast_burst(session(1), &[1, 2]),
            registry.to(session(1)).observe(|_, _| panic!("there is nobody to observe")).burst(&[1]),
            registry.broadcast_to_all(1),
            registry.publisher(session(1)).broadcast(1),
        ];
        assert_eq!(empty, [Delivery::default(); 7]);
        assert!(empty[0].is_complete());
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn a_burst_of_no_messages_does_nothing() {
    with_registries::<u32>(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.broadcast_burst(session(1), &[]), Delivery::default());
        let observed =
            registry.to(session(1)).observe(|_, _| panic!("there is nothing to observe")).burst(&[]);
        assert_eq!(observed, Delivery::default());
        assert!(drain(&mut queue).is_empty());

        drop(queue);
        assert_eq!(registry.broadcast_burst(session(1), &[]), Delivery::default());
        assert!(registry.get_client(client).is_some(), "it looks at no channel either");
    });
}

#[test]
fn a_queue_of_one_takes_one_message_at_a_time() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 1);
        for message in 0..10 {
            assert_eq!(registry.broadcast_to_session(session(1), message), sent(1));
            assert_eq!(registry.broadcast_to_session(session(1), 99), full(1));
            assert_eq!(drain(&mut queue), [message]);
        }
        assert_eq!(registry.get_client(client).unwrap().skipped, 10);
    });
}

#[test]
fn a_shard_count_that_is_no_power_of_two_up_to_4096_is_refused() {
    for requested in [0, 3, 4095, 4097, 8192, usize::MAX] {
        let refused = ClientRegistry::<u32>::builder().shards(requested).build().unwrap_err();
        assert_eq!(refused, ShardCountError { requested });
        let text = refused.to_string();
        assert!(text.contains(&requested.to_string()), "{text}");
        assert!(text.contains("a power of two from 1 to 4096"), "{text}");
    }
}

#[test]
fn any_power_of_two_up_to_4096_shards_is_accepted() {
    for shards in (0..=12).map(|power| 1 << power) {
        let registry = ClientRegistry::builder().shards(shards).expected_clients(1000).build().unwrap();
        assert_eq!(registry.shard_count(), shards);
        let (client, mut queue) = watch(&registry, session(1), 1);
        assert_eq!(registry.broadcast_to_session(session(1), "hi"), sent(1));
        assert_eq!(drain(&mut queue), ["hi"]);
        assert!(registry.unregister_client(client).is_some());
    }
}

#[test]
fn the_default_shard_count_is_one_the_builder_accepts() {
    let chosen: ClientRegistry = ClientRegistry::new();
    let shards = chosen.shard_count();
    let built = ClientRegistry::<ServerMessage>::builder().shards(shards).build().unwrap();
    assert_eq!(built.shard_count(), shards);
    assert_eq!(ClientRegistry::<ServerMessage>::default().shard_count(), shards);
}

#[test]
fn errors_are_lower_case_phrases_without_a_full_stop() {
    let sender = || mpsc::channel::<u32>(1).0;
    let (id, client) = (ClientId(7), "client-7");
    let errors: [(Box<dyn std::error::Error>, &str); 9] = [
        (ShardCountError { requested: 3 }.into(), "3 shards asked for"),
        (RegisterError::DuplicateId { id, sender: sender() }.into(), client),
        (RegisterError::Closed { id, sender: sender() }.into(), client),
        (AttachError::UnknownClient(id).into(), client),
        (DetachError::UnknownClient(id).into(), client),
        (DetachError::NotAttached(id).into(), client),
        (SendError::UnknownClient(1).into(), "not registered"),
        (SendError::Full(1).into(), "full"),
        (SendError::Closed(1).into(), "closed"),
    ];
    for (error, names) in errors {
        let text = error.to_string();
        assert!(text.contains(names), "{text}");
        assert!(!text.starts_with(char::is_uppercase) && !text.ends_with('.'), "{text}");
        assert!(!format!("{error:?}").is_empty());
    }
}

#[test]
fn only_a_full_queue_is_worth_another_try() {
    assert!(SendError::Full(1).is_full());
    assert!(!SendError::Closed(1).is_full());
    assert!(!SendError::UnknownClient(1).is_full());
    for refused in [SendError::Full("back"), SendError::Closed("back"), SendError::UnknownClient("back")] {
        assert_eq!(refused.into_inner(), "back");
    }
}
