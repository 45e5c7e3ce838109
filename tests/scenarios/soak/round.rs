//! One round of the soak: everybody who takes part in it, and what they have to report.

use std::{
    future::Future,
    ops::AddAssign,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fugue_server::{Client, SessionId};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{programs, recorders, viewers};
use crate::{
    random::Random,
    support::{sessions, stats},
};

/// Sessions at a time, clients on sockets of their own, and clients that are processes.
const SLOTS: u64 = 5;
const VIEWERS: u64 = 12;
const RECORDERS: u64 = 3;

/// How long anything may take before the soak has failed. A session may wait for several lossless clients that stand
/// still, one after the other, ten seconds for each.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what must come.
pub(super) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("what was waited for never came")
}

/// A session that runs, and what it prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) slot: u64,
    pub(super) session: SessionId,
    pub(super) tag: u64,
}

/// What all share.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) socket: PathBuf,
    pub(super) slots: Arc<Vec<Mutex<Option<Live>>>>,
    /// The round is over: everybody leaves.
    pub(super) over: CancellationToken,
}

impl Stage {
    pub(super) async fn connect(&self) -> Client {
        patiently(Client::connect(&self.socket)).await.unwrap()
    }

    /// A session that ran a moment ago.
    pub(super) fn any(&self, random: &mut Random) -> Option<Live> {
        let slot = random.below(SLOTS) as usize;
        *self.slots[slot].lock().unwrap()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Stands still for up to so many milliseconds, but no longer than the round.
    pub(super) async fn stall(&self, random: &mut Random, up_to_ms: u64) {
        let time = Duration::from_millis(random.below(up_to_ms));
        let _ = timeout(time, self.over.cancelled()).await;
    }
}

/// What a round, or all of them, came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Clients that connected, and how often they attached.
    pub(super) clients: u64,
    pub(super) stays: u64,
    /// Bytes that were right.
    pub(super) verified: u64,
    /// Gaps that clients were told of, and screens that were drawn for them.
    pub(super) gaps: u64,
    pub(super) screens: u64,
    pub(super) stalls: u64,
    pub(super) killed: u64,
    /// Clients the server closed because they had asked for that on a lag.
    pub(super) closed: u64,
    pub(super) sessions: u64,
    pub(super) slowest_answer: Duration,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.clients += other.clients;
        self.stays += other.stays;
        self.verified += other.verified;
        self.gaps += other.gaps;
        self.screens += other.screens;
        self.stalls += other.stalls;
        self.killed += other.killed;
        self.closed += other.closed;
        self.sessions += other.sessions;
        self.slowest_answer = self.slowest_answer.max(other.slowest_answer);
    }
}

/// Runs a round of about this long. Whoever panics in it ends it.
pub(super) async fn run(socket: &Path, control: &mut Client, random: &Random, time: Duration) -> Tally {
    let slots = (0..SLOTS).map(|_| Mutex::new(None)).collect();
    let stage = Stage { socket: socket.into(), slots: Arc::new(slots), over: CancellationToken::new() };
    let mut parts = JoinSet::new();
    for slot in 0..SLOTS {
        parts.spawn(programs::drive(stage.clone(), slot, random.branch(slot)));
    }
    for number in 0..VIEWERS {
        parts.spawn(viewers::come_and_go(stage.clone(), random.branch(100 + number)));
    }
    for number in 0..RECORDERS {
        parts.spawn(recorders::are_killed(stage.clone(), random.branch(200 + number)));
    }
    let mut tally = Tally::default();
    let start = Instant::now();
    while start.elapsed() < time {
        // Whoever ends before the round has panicked.
        while let Some(part) = parts.try_join_next() {
            tally += part.unwrap();
        }
        // Whatever the others do, the server answers.
        let asked = Instant::now();
        patiently(sessions(control)).await;
        patiently(stats(control)).await;
        tally.slowest_answer = tally.slowest_answer.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.over.cancel();
    while let Some(part) = patiently(parts.join_next()).await {
        tally += part.unwrap();
    }
    tally
}
