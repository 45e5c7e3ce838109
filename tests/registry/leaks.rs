//! Whatever clients do and in whatever order, nothing of them stays behind.

use std::sync::Arc;

use fugue_server::ClientRegistry;
use tokio::{
    sync::mpsc::{self, Receiver, WeakSender},
    task::{JoinSet, yield_now},
};

use super::{drain, is_freed, runtime, session, with_registries};

/// Counted by its own `Arc`, so that a message kept anywhere shows.
type Message = Arc<()>;

const TASKS: u64 = 24;
const ROUNDS: u64 = 40;

/// Lives the life of one client after another, each a little different, and returns what is left of their channels.
async fn come_and_go(
    registry: ClientRegistry<Message>,
    task: u64,
    message: Message,
) -> Vec<(WeakSender<Message>, Receiver<Message>)> {
    let mut channels = Vec::new();
    for round in 0..ROUNDS {
        let step = task * ROUNDS + round;
        let (here, there) = (session(step % 3), session(step % 5));
        let (sender, queue) = mpsc::channel(1 + step as usize % 4);
        let weak = sender.downgrade();
        let guard = registry.register_guarded(registry.next_client_id(), sender).unwrap();
        let client = guard.id();

        registry.attach_to_session(client, here).unwrap();
        yield_now().await;
        let _ = registry.broadcast_to_session(here, message.clone());
        // Nobody is sure to have stayed from here on: any broadcast may find a dropped receiver.
        let _ = registry.detach_from_session(client);
        yield_now().await;
        let _ = registry.attach_to_session(client, here);
        let _ = registry.attach_to_session(client, there);
        let mut publisher = registry.publisher(there);
        let _ = publisher.broadcast_burst(&[message.clone(), message.clone()]);
        yield_now().await;
        let _ = publisher.broadcast(message.clone());
        let _ = registry.send_to_client(client, message.clone());

        match step % 6 {
            0 => drop(registry.unregister_client(client)),
            1 => drop(registry.close_session(there)),
            // The receiver goes first, and whoever sends next cleans up, unless the guard did.
            2 => {
                drop(queue);
                yield_now().await;
                let _ = registry.broadcast_to_all(message.clone());
                continue;
            }
            // The guard goes with the round, and the publisher before or after it.
            3 => drop(publisher),
            _ => {}
        }
        channels.push((weak, queue));
    }
    channels
}

#[test]
fn clients_that_come_and_go_on_many_tasks_leave_no_trace() {
    let runtime = runtime();
    with_registries(|registry| {
        let message = Message::default();
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            tasks.spawn_on(come_and_go(registry.clone(), task, message.clone()), runtime.handle());
        }
        let channels = runtime.block_on(tasks.join_all()).into_iter().flatten();

        assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
        let stats = registry.stats();
        assert_eq!(stats.clients_per_shard, vec![0; registry.shard_count()]);
        assert_eq!(stats.sessions_per_shard, vec![0; registry.shard_count()]);
        assert_eq!(stats.publishers, 0);
        assert!(stats.deliveries.sent > 0 && stats.deliveries.full > 0, "{:?}", stats.deliveries);

        for (weak, mut queue) in channels {
            drain(&mut queue);
            assert!(is_freed(&mut queue));
            assert_eq!(weak.strong_count(), 0);
        }
        assert_eq!(Arc::strong_count(&message), 1, "every message was freed");
    });
}

#[test]
fn a_dropped_registry_frees_every_channel() {
    with_registries::<Message>(|registry| {
        let message = Message::default();
        let mut clients: Vec<_> =
            (0..100).map(|number| super::watch(&registry, session(number % 3), 4)).collect();
        assert_eq!(registry.broadcast_to_all(message.clone()).sent, 100);
        drop(registry);
        for (_, queue) in &mut clients {
            assert_eq!(drain(queue).len(), 1);
            assert!(is_freed(queue));
        }
        assert_eq!(Arc::strong_count(&message), 1);
    });
}
