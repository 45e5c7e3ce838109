//! A server in thirty lines around `tokio::sync::broadcast`: a task for each subscriber writes what it receives. Paced,
//! so that nobody lags and loses: one subscriber that stalls stops it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    net::UnixListener,
    runtime::Runtime,
    sync::{Notify, broadcast},
};

use super::{FanOut, Starting};
use crate::receiver::{Address, Protocol};

/// Messages that the channel holds.
const DEPTH: usize = 64;

pub(super) struct Broadcast {
    runtime: Runtime,
    messages: broadcast::Sender<Bytes>,
    progress: Arc<Progress>,
}

/// Says when the slowest may have moved.
#[derive(Default)]
struct Progress {
    received: AtomicU64,
    changed: Notify,
}

pub(super) fn start(starting: &mut Starting<'_>) -> anyhow::Result<Broadcast> {
    let socket = starting.directory.join("broadcast.sock");
    let runtime = super::runtime()?;
    let (messages, _) = broadcast::channel::<Bytes>(DEPTH);
    let progress = Arc::new(Progress::default());
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(&socket)?
    };
    starting.subscribe(Address::Unix(socket), Protocol::Raw)?;
    for _ in 0..starting.clients() {
        let mut stream = runtime.block_on(listener.accept())?.0;
        let (mut queue, progress) = (messages.subscribe(), Arc::clone(&progress));
        runtime.spawn(async move {
            while let Ok(message) = queue.recv().await {
                if stream.write_all(&message).await.is_err() {
                    return;
                }
                progress.received.fetch_add(1, Ordering::Relaxed);
                progress.changed.notify_one();
            }
        });
    }
    Ok(Broadcast { runtime, messages, progress })
}

impl FanOut for Broadcast {
    fn publish(&mut self, message: &Bytes, times: u64) -> anyhow::Result<()> {
        let (messages, progress, message) =
            (self.messages.clone(), Arc::clone(&self.progress), message.clone());
        let publishing = self.runtime.spawn(async move {
            for _ in 0..times {
                while messages.len() >= DEPTH {
                    progress.changed.notified().await;
                }
                let _ = messages.send(message.clone());
                if messages.len() % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        Ok(self.runtime.block_on(publishing)?)
    }
}
