//! Threads and tasks work on the same few ids of one registry, and leave nothing behind: no client, no session, no
//! publisher, no channel, no message.
//!
//! Each client's queue has a task that reads it to its end, which comes only when every sender has been freed. While
//! it reads, what one worker sent must come in the order it was sent.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fugue_server::{ClientGuard, ClientId, ClientRegistry, Delivery, Publisher, SessionId};
use tokio::{
    sync::mpsc::{self, Receiver},
    task::JoinSet,
};

use crate::random::Random;

const THREADS: usize = 4;
const WORKERS: u64 = 32;
/// So few that the workers are in each other's way all the time.
const CLIENTS: u64 = 12;
const SESSIONS: u64 = 4;

/// A message that is counted for as long as it lives anywhere.
#[derive(Clone, Debug)]
struct Message {
    from: u64,
    number: u64,
    _lives: Arc<()>,
}

/// What all workers did.
#[derive(Debug, Default)]
struct Counts {
    operations: AtomicU64,
    registrations: AtomicU64,
    received: AtomicU64,
    dropped_receivers: AtomicU64,
}

pub(super) fn threads_and_tasks_on_few_ids_leave_nothing_behind(time: Duration) {
    let random = Random::seeded("registry");
    for (number, shards) in [1, 2, 64].into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(run(shards, time / 3, random.branch(number as u64)));
    }
}

async fn run(shards: usize, time: Duration, random: Random) {
    let registry = ClientRegistry::<Message>::builder().shards(shards).build().unwrap();
    let counts = Arc::new(Counts::default());
    let lives = Arc::new(());
    let over = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker {
            number,
            registry: registry.clone(),
            random: random.branch(number),
            publishers: Vec::new(),
            guards: Vec::new(),
            readers: JoinSet::new(),
            sent: 0,
            delivered: Delivery::default(),
            counts: Arc::clone(&counts),
            lives: Arc::clone(&lives),
        };
        workers.spawn(worker.work(Arc::clone(&over)));
    }
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut delivered = Delivery::default();
    let mut readers = Vec::new();
    while let Some(worker) = workers.join_next().await {
        let (deliveries, reading) = worker.unwrap();
        delivered += deliveries;
        readers.push(reading);
    }
    // Publishers and guards went with their workers. Who is still registered is taken out now.
    for client in (0..CLIENTS).map(ClientId) {
        registry.unregister_client(client);
    }
    let stats = registry.stats();
    assert_eq!((stats.clients(), stats.sessions(), stats.publishers), (0, 0, 0));
    assert_eq!(stats.deliveries, delivered, "what was counted is not what the workers were told");
    assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
    let ends = async {
        for reading in &mut readers {
            while let Some(reader) = reading.join_next().await {
                reader.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ends).await.expect("a channel was never freed");
    assert_eq!(Arc::strong_count(&lives), 1, "messages live on");

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{shards} shards: {} operations, {} registrations, {} receivers dropped; {delivered:?}, {} received; \
         all freed",
        count(&counts.operations),
        count(&counts.registrations),
        count(&counts.dropped_receivers),
        count(&counts.received),
    );
}

struct Worker {
    number: u64,
    registry: ClientRegistry<Message>,
    random: Random,
    publishers: Vec<Publisher<Message>>,
    guards: Vec<ClientGuard<Message>>,
    readers: JoinSet<()>,
    sent: u64,
    delivered: Delivery,
    counts: Arc<Counts>,
    lives: Arc<()>,
}

impl Worker {
    async fn work(mut self, over: Arc<AtomicBool>) -> (Delivery, JoinSet<()>) {
        while !over.load(Ordering::Relaxed) {
            for _ in 0..64 {
                self.step();
            }
            self.counts.operations.fetch_add(64, Ordering::Relaxed);
            // Those that have ended are not kept.
            while let Some(reader) = self.readers.try_join_next() {
                reader.unwrap();
            }
            tokio::task::yield_now().await;
        }
        (self.delivered, std::mem::take(&mut self.readers))
    }

    fn step(&mut self) {
        let client = ClientId(self.random.below(CLIENTS));
        let session = SessionId::from(self.random.below(SESSIONS));
        match self.random.below(24) {
            0..4 => self.register(client),
            4..9 => {
                if let Ok(attached) = self.registry.attach_to_session(client, session) {
                    assert!((1..=CLIENTS as usize).contains(&attached.members));
                }
            }
            9..11 => drop(self.registry.detach_from_session(client)),
            11..13 => drop(self.registry.unregister_client(client)),
            13 => drop(self.registry.close_session(session)),
            14 => {
                let message = self.messages(1)[0].clone();
                match self.registry.send_to_client(client, message) {
                    Ok(()) => self.delivered.sent += 1,
                    Err(refused) if refused.is_full() => self.delivered.full += 1,
                    Err(fugue_server::SendError::Closed(_)) => self.delivered.closed += 1,
                    Err(_) => {}
                }
            }
            15..17 => {
                let message = self.messages(1)[0].clone();
                self.delivered += self.registry.broadcast_to_session(session, message);
            }
            17 => {
                let message = self.messages(1)[0].clone();
                self.delivered += self.registry.broadcast_to_session_except(session, client, message);
            }
            18 => {
                let burst = self.burst();
                let delivery = self.registry.broadcast_burst(session, &burst);
                assert_eq!(delivery.total() % burst.len() as u64, 0, "a part of a burst was not counted");
                self.delivered += delivery;
            }
            19 => {
                let message = self.messages(1)[0].clone();
                self.delivered += self.registry.broadcast_to_all(message);
            }
            20 if self.publishers.len() < 3 => self.publishers.push(self.registry.publisher(session)),
            20 => drop(self.publishers.swap_remove(self.random.below(3) as usize)),
            _ => self.publish(client),
        }
    }

    fn publish(&mut self, client: ClientId) {
        let (burst, way) = (self.burst(), self.random.below(4));
        let chosen = self.random.below(self.publishers.len().max(1) as u64) as usize;
        let Some(publisher) = self.publishers.get_mut(chosen) else { return };
        let delivery = match way {
            0 => publisher.broadcast(burst[0].clone()),
            1 => publisher.except(client).send(burst[0].clone()),
            2 => publisher.broadcast_burst(&burst),
            _ => {
                publisher.refresh();
                return;
            }
        };
        self.delivered += delivery;
    }

    fn register(&mut self, client: ClientId) {
        let (sender, queue) = mpsc::channel(1 + self.random.below(8) as usize);
        let registered = if self.random.one_in(2) {
            self.registry.register_client(client, sender).is_ok()
        } else {
            let guard = self.registry.register_guarded(client, sender).ok();
            let registered = guard.is_some();
            self.guards.extend(guard);
            if self.guards.len() > 2 {
                drop(self.guards.swap_remove(self.random.below(3) as usize));
            }
            registered
        };
        if registered {
            self.counts.registrations.fetch_add(1, Ordering::Relaxed);
            let enough = if self.random.one_in(2) { self.random.below(40) } else { u64::MAX };
            self.readers.spawn(read(queue, enough, Arc::clone(&self.counts)));
        }
    }

    /// As many as hardly fit into a queue.
    fn burst(&mut self) -> Vec<Message> {
        let messages = 1 + self.random.below(8);
        self.messages(messages)
    }

    fn messages(&mut self, count: u64) -> Vec<Message> {
        let first = self.sent;
        self.sent += count;
        let message = |number| Message { from: self.number, number, _lives: Arc::clone(&self.lives) };
        (first..self.sent).map(message).collect()
    }
}

/// Reads a queue to its end, or drops it once it has read enough.
async fn read(mut queue: Receiver<Message>, enough: u64, counts: Arc<Counts>) {
    let mut received = 0;
    let mut latest = HashMap::new();
    while let Some(message) = queue.recv().await {
        let before = latest.insert(message.from, message.number);
        assert!(before < Some(message.number), "{message:?} came after {before:?}");
        received += 1;
        if received >= enough {
            counts.dropped_receivers.fetch_add(1, Ordering::Relaxed);
            break;
        }
    }
    counts.received.fetch_add(received, Ordering::Relaxed);
}
