//! What each thread does, on what.

use anyhow::ensure;
use bytes::Bytes;
use fugue_server::{ClientId, ClientRegistry, SessionId};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::peer;

/// Operations between two drains: by each thread on its own sessions, by all together on shared ones.
pub(super) const OPERATIONS: usize = 16 * 1024;
/// Sessions that a thread works on, one after another.
const SESSIONS: usize = 64;
const MEMBERS: usize = 4;
/// What a session's members are sent between two drains, and as much again.
const DEPTH: usize = 2 * OPERATIONS / SESSIONS;

#[derive(Clone, Copy, Debug)]
pub(super) enum Mix {
    /// Registering and unregistering in turn. Sessions play no part in it: disjoint and shared should be equal.
    Register,
    /// Attaching and detaching in turn.
    Attach,
    Broadcast,
    /// Nine broadcasts, then one step of a client that comes, attaches, detaches and goes.
    Mixed,
}

impl Mix {
    pub(super) const EVERY: [Self; 4] = [Self::Register, Self::Attach, Self::Broadcast, Self::Mixed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Attach => "attach",
            Self::Broadcast => "broadcast4",
            Self::Mixed => "mixed90",
        }
    }
}

/// A registry, and all that its threads need.
pub(super) struct Load {
    mix: Mix,
    shared: bool,
    threads: usize,
    registry: ClientRegistry<Bytes>,
    message: Bytes,
    members: Vec<Receiver<Bytes>>,
    /// Each thread's own queue for the clients that come and go, and one of them that stays registered.
    own: Vec<(Sender<Bytes>, Receiver<Bytes>, ClientId)>,
}

impl Load {
    pub(super) fn new(mix: Mix, threads: usize, shared: bool, shards: usize) -> anyhow::Result<Self> {
        let registry = ClientRegistry::builder().shards(shards).build()?;
        let sessions = SESSIONS * if shared { 1 } else { threads };
        let mut members = Vec::new();
        for index in 0..sessions * MEMBERS {
            let (sender, queue) = mpsc::channel(DEPTH);
            let client = registry.next_client_id();
            registry.register_client(client, sender)?;
            registry.attach_to_session(client, SessionId::from((index / MEMBERS) as u64))?;
            members.push(queue);
        }
        let mut own = Vec::new();
        for _ in 0..threads {
            let (sender, queue) = mpsc::channel(OPERATIONS);
            let client = registry.next_client_id();
            registry.register_client(client, sender.clone())?;
            own.push((sender, queue, client));
        }
        Ok(Self { mix, shared, threads, registry, message: peer::message(4096), members, own })
    }

    pub(super) fn worker(&self, thread: usize) -> Worker<'_> {
        let (sender, _, stays) = &self.own[thread];
        Worker {
            load: self,
            sender,
            stays: *stays,
            // Threads that share sessions begin at different ones, so that they meet by chance and not in step.
            first: if self.shared { thread * SESSIONS / self.threads } else { thread * SESSIONS },
            operations: OPERATIONS / if self.shared { self.threads } else { 1 },
            sent: 0,
        }
    }

    /// Empties all queues, which should have got `sent` messages.
    pub(super) fn drain(&mut self, sent: usize) -> anyhow::Result<()> {
        let queues = self.members.iter_mut().chain(self.own.iter_mut().map(|(_, queue, _)| queue));
        let received: usize = queues.map(|queue| std::iter::from_fn(|| queue.try_recv().ok()).count()).sum();
        ensure!(received == sent, "{sent} messages were sent and {received} received");
        Ok(())
    }
}

/// One thread's part.
pub(super) struct Worker<'a> {
    load: &'a Load,
    sender: &'a Sender<Bytes>,
    stays: ClientId,
    first: usize,
    operations: usize,
    sent: usize,
}

impl Worker<'_> {
    /// Says how many messages got into queues.
    pub(super) fn run(&mut self) -> usize {
        // Clients that come and go have ids of their own thread's, each used again once it is free.
        let guest = ClientId::from(u64::MAX - self.first as u64);
        for operation in 0..self.operations {
            match self.load.mix {
                Mix::Register => self.step(guest, [0, 3][operation % 2], operation),
                Mix::Attach => self.step(self.stays, [1, 2][operation % 2], operation),
                Mix::Mixed if operation % 10 == 9 => self.step(guest, operation / 10 % 4, operation),
                Mix::Broadcast | Mix::Mixed => self.broadcast(operation),
            }
        }
        self.load.registry.unregister_client(guest);
        self.sent
    }

    fn session(&self, operation: usize) -> SessionId {
        let (shared, turn) = (self.load.shared, operation % SESSIONS);
        let index = if shared { (self.first + turn) % SESSIONS } else { self.first + turn };
        SessionId::from(index as u64)
    }

    fn broadcast(&mut self, operation: usize) {
        let message = self.load.message.clone();
        let delivery = self.load.registry.broadcast_to_session(self.session(operation), message);
        assert!(
            delivery.sent as usize >= MEMBERS && delivery.is_complete(),
            "every member gets it: {delivery:?}"
        );
        self.sent += delivery.sent as usize;
    }

    /// One step of a client's life.
    fn step(&self, client: ClientId, step: usize, operation: usize) {
        let registry = &self.load.registry;
        let done = match step {
            0 => registry.register_client(client, self.sender.clone()).is_ok(),
            1 => registry.attach_to_session(client, self.session(operation / 2)).is_ok(),
            2 => registry.detach_from_session(client).is_ok(),
            _ => registry.unregister_client(client).is_some(),
        };
        assert!(done, "step {step} of a client's life");
    }
}
