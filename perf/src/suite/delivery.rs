//! Fan-out with those who receive: a task for each client, on a runtime of two workers.
//!
//! One turn sends a burst to everyone and ends when everyone has it; `n` is the clients, and the figure the wall time
//! for each message that was received. Everybody sleeps when a turn begins, so waking them is part of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::{
    runtime::Runtime,
    sync::{Notify, broadcast, mpsc},
    task::JoinHandle,
};

use crate::{
    contest::Contest,
    peer::{self, Bursts, ByPublisher, FanOut, Floor, TokioBroadcast},
    row::Row,
    suite::Scale,
};

const CLIENTS: [usize; 4] = [1, 16, 128, 1000];
const BURSTS: [(&str, usize); 3] =
    [("burst=1,receivers", 1), ("burst=8,receivers", 8), ("burst=32,receivers", 32)];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let mut rows = Vec::new();
    for (case, burst) in BURSTS {
        for clients in if scale.quick { vec![16, 1000] } else { CLIENTS.to_vec() } {
            rows.extend(contest(case, burst, clients, scale, &runtime));
        }
    }
    Ok(rows)
}

fn contest(case: &str, burst: usize, clients: usize, scale: Scale, runtime: &Runtime) -> Vec<Row> {
    let mut contest = Contest::new("delivery", case, clients, ("ns_per_delivery", "ns"), "floor");
    let singly = |way: fn(Vec<mpsc::Sender<Bytes>>) -> Box<dyn FanOut + Send>| {
        let (senders, queues) = peer::queues(clients, peer::DEPTH);
        let turn = Turn::new(clients, burst);
        let tasks = queues.into_iter().map(|queue| runtime.spawn(one_by_one(queue, turn.clone()))).collect();
        Crowd { way: Some(way(senders)), turn, tasks, clients }
    };
    let mut floor = singly(|senders| Box::new(Floor(senders)));
    contest.enter("floor", move || floor.sample(runtime, scale));
    let mut publisher = singly(|senders| Box::new(ByPublisher::with(senders)));
    contest.enter("fugue-publisher", move || publisher.sample(runtime, scale));

    let (senders, queues) = peer::queues(clients, peer::DEPTH);
    let turn = Turn::new(clients, burst);
    let tasks = queues.into_iter().map(|queue| runtime.spawn(together(queue, turn.clone()))).collect();
    let mut bursts = Crowd { way: Some(Box::new(Bursts::with(senders))), turn, tasks, clients };
    contest.enter("fugue-burst", move || bursts.sample(runtime, scale));

    let (sender, queues) = TokioBroadcast::with(clients);
    let turn = Turn::new(clients, burst);
    let tasks = queues.into_iter().map(|queue| runtime.spawn(from_ring(queue, turn.clone()))).collect();
    let mut ring = Crowd { way: Some(Box::new(sender)), turn, tasks, clients };
    contest.enter("tokio-broadcast", move || ring.sample(runtime, scale));
    contest.run(scale.rounds)
}

/// What a turn's sender and its receivers agree on.
#[derive(Clone)]
struct Turn {
    messages: Vec<Bytes>,
    /// Clients that have not had the whole burst yet.
    waiting: Arc<AtomicUsize>,
    over: Arc<Notify>,
    clients: usize,
}

impl Turn {
    fn new(clients: usize, burst: usize) -> Self {
        // Each length occurs once in a burst, so that a message's length says which one it is.
        let messages = (1..=burst).map(|index| peer::message(4096 + index)).collect();
        Self { messages, waiting: Arc::default(), over: Arc::default(), clients }
    }

    /// Counts a client that has had the whole burst. The last one wakes the sender.
    fn had(&self) {
        // AcqRel: whoever counts last has seen that all others are done.
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.notify_one();
        }
    }

    /// Whether `message` is the one at `index` of a burst.
    fn is_at(&self, index: usize, message: &Bytes) -> bool {
        message.len() == self.messages[index].len()
    }

    async fn run(&self, way: &mut (dyn FanOut + Send)) -> anyhow::Result<()> {
        // Release: pairs with the subtractions of those that this turn's messages wake.
        self.waiting.store(self.clients, Ordering::Release);
        let sent = way.send(&self.messages);
        let asked = self.clients * self.messages.len();
        ensure!(sent == asked, "{sent} of {asked} deliveries were made");
        self.over.notified().await;
        Ok(())
    }
}

/// Receives message by message. Ends with its channel, and fails when a message is out of place.
async fn one_by_one(mut queue: mpsc::Receiver<Bytes>, turn: Turn) -> anyhow::Result<()> {
    let mut index = 0;
    while let Some(message) = queue.recv().await {
        ensure!(turn.is_at(index, &message), "a message of {} bytes came as number {index}", message.len());
        index = (index + 1) % turn.messages.len();
        if index == 0 {
            turn.had();
        }
    }
    Ok(())
}

/// Receives whatever is there at once.
async fn together(mut queue: mpsc::Receiver<Bytes>, turn: Turn) -> anyhow::Result<()> {
    let (mut index, mut batch) = (0, Vec::with_capacity(turn.messages.len()));
    while queue.recv_many(&mut batch, turn.messages.len()).await > 0 {
        for message in batch.drain(..) {
            ensure!(
                turn.is_at(index, &message),
                "a message of {} bytes came as number {index}",
                message.len()
            );
            index = (index + 1) % turn.messages.len();
            if index == 0 {
                turn.had();
            }
        }
    }
    Ok(())
}

async fn from_ring(mut queue: broadcast::Receiver<Bytes>, turn: Turn) -> anyhow::Result<()> {
    let mut index = 0;
    loop {
        let message = match queue.recv().await {
            Ok(message) => message,
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
            Err(lagged) => return Err(lagged.into()),
        };
        ensure!(turn.is_at(index, &message), "a message of {} bytes came as number {index}", message.len());
        index = (index + 1) % turn.messages.len();
        if index == 0 {
            turn.had();
        }
    }
}

/// A room whose clients receive in tasks of their own.
struct Crowd {
    /// Absent only while a task has it.
    way: Option<Box<dyn FanOut + Send>>,
    turn: Turn,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
    clients: usize,
}

impl Crowd {
    /// Nanoseconds per message received, of turns that together take as long as a sample should.
    fn sample(&mut self, runtime: &Runtime, scale: Scale) -> anyhow::Result<f64> {
        let mut way = self.way.take().context("an earlier sample failed")?;
        let turn = self.turn.clone();
        // The sender is a task as well, as a session's pump is. One turn goes before those that are timed.
        let timed = runtime.spawn(async move {
            turn.run(&mut *way).await?;
            let (start, mut turns) = (Instant::now(), 0_usize);
            while start.elapsed() < scale.at_least() {
                turn.run(&mut *way).await?;
                turns += 1;
            }
            Ok::<_, anyhow::Error>((start.elapsed(), turns, way))
        });
        let limit = tokio::time::Duration::from_secs(30);
        let timed = async { tokio::time::timeout(limit, timed).await };
        let (took, turns, way) = runtime.block_on(timed).context("a message went missing")???;
        self.way = Some(way);
        ensure!(self.tasks.iter().all(|task| !task.is_finished()), "a receiver found a message out of place");
        Ok(took.as_nanos() as f64 / (turns * self.clients * self.turn.messages.len()) as f64)
    }
}

impl Drop for Crowd {
    /// The next contest should find the runtime idle.
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
