//! No lock is held while a receiver is woken or a caller's code runs.
//!
//! The receivers here have a waker that walks every shard of both maps before it returns, on a thread of its own: it
//! gets through only if the thread that woke it holds none of their locks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use fugue_server::{ClientId, ClientRegistry};
use tokio::sync::mpsc::{self, Receiver};

use super::{drain, sent, session, watch, with_registries};

/// Long enough for a thread to start on a busy machine; waited out only when the test fails.
const DEADLINE: Duration = Duration::from_secs(10);

struct WalksEveryShard {
    registry: ClientRegistry<u32>,
    woken: AtomicUsize,
    blocked: AtomicUsize,
}

impl Wake for WalksEveryShard {
    fn wake(self: Arc<Self>) {
        let (walked, through) = sync_channel(1);
        let registry = self.registry.clone();
        thread::spawn(move || {
            let _ = registry.stats();
            let _ = walked.send(());
        });
        self.woken.fetch_add(1, Ordering::SeqCst);
        if through.recv_timeout(DEADLINE).is_err() {
            self.blocked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits on `queue` as a task would, runs `act`, and checks that it woke the task once and under no lock.
fn wakes_outside_locks<T>(
    registry: &ClientRegistry<u32>,
    queue: &mut Receiver<u32>,
    act: impl FnOnce() -> T,
) -> T {
    let walker = Arc::new(WalksEveryShard {
        registry: registry.clone(),
        woken: AtomicUsize::new(0),
        blocked: AtomicUsize::new(0),
    });
    let waker = Waker::from(Arc::clone(&walker));
    assert_eq!(queue.poll_recv(&mut Context::from_waker(&waker)), Poll::Pending);
    let result = act();
    assert_eq!(walker.woken.load(Ordering::SeqCst), 1);
    assert_eq!(walker.blocked.load(Ordering::SeqCst), 0, "woken under a lock");
    drain(queue);
    result
}

#[test]
fn a_message_wakes_its_receiver_outside_every_lock() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 4);
        let mut publisher = registry.publisher(session(1));
        let woken = wakes_outside_locks(&registry, &mut queue, || registry.send_to_client(client, 1));
        assert_eq!(woken, Ok(()));
        let woken = [
            wakes_outside_locks(&registry, &mut queue, || registry.broadcast_to_session(session(1), 2)),
            wakes_outside_locks(&registry, &mut queue, || registry.broadcast_burst(session(1), &[3])),
            wakes_outside_locks(&registry, &mut queue, || registry.broadcast_to_all(4)),
            wakes_outside_locks(&registry, &mut queue, || publisher.broadcast(5)),
            wakes_outside_locks(&registry, &mut queue, || publisher.broadcast_burst(&[6])),
        ];
        assert_eq!(woken, [sent(1); 5]);
    });
}

#[test]
fn a_channels_end_wakes_its_receiver_outside_every_lock() {
    with_registries(|registry| {
        let (client, mut queue) = watch(&registry, session(1), 1);
        wakes_outside_locks(&registry, &mut queue, || drop(registry.unregister_client(client)));

        let (sender, mut queue) = mpsc::channel(1);
        let guard = registry.register_guarded(ClientId(7), sender).unwrap();
        registry.attach_to_session(ClientId(7), session(1)).unwrap();
        wakes_outside_locks(&registry, &mut queue, || drop(guard));

        let (client, mut queue) = watch(&registry, session(1), 1);
        let mut publisher = registry.publisher(session(1));
        drop(registry.unregister_client(client));
        wakes_outside_locks(&registry, &mut queue, || publisher.refresh());

        let (client, mut queue) = watch(&registry, session(1), 1);
        publisher.refresh();
        drop(registry.unregister_client(client));
        wakes_outside_locks(&registry, &mut queue, || drop(publisher));
    });
}
