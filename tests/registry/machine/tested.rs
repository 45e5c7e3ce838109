//! A real registry under test: carries operations out, and says of each what it gave back.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
};

use fugue_server::{
    AttachError, Broadcast, ClientGuard, ClientId, ClientRegistry, Delivery, Departure, DetachError,
    Detached, Publisher, RegisterError, SendError, SessionId, Unregistered,
};
use tokio::sync::mpsc::{self, Receiver};

use super::{
    model::{Model, Receiving},
    operation::{self, Operation, Outcome, Way},
};
use crate::registry::{counts, session, sorted};

/// A registry, with the ends that its users hold.
pub(super) struct Tested {
    registry: ClientRegistry<u32>,
    /// In order of registration; none once it was dropped.
    queues: Vec<(ClientId, Option<Receiver<u32>>)>,
    guards: Vec<ClientGuard<u32>>,
    publishers: BTreeMap<u64, Publisher<u32>>,
    messages: u32,
    /// What the registry told of.
    departures: Arc<Mutex<Vec<Departure>>>,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "with {} shards", self.registry.shard_count())
    }
}

impl Tested {
    pub(super) fn new(shards: usize) -> Self {
        let departures = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&departures);
        let registry = ClientRegistry::builder()
            .shards(shards)
            .on_departure(move |_, gone| told.lock().unwrap().push(gone))
            .build()
            .unwrap();
        Self {
            registry,
            queues: Vec::new(),
            guards: Vec::new(),
            publishers: BTreeMap::new(),
            messages: 0,
            departures,
        }
    }

    pub(super) fn perform(&mut self, operation: &Operation) -> Outcome {
        match *operation {
            Operation::Register { client, depth } => self.register(ClientId(client), depth),
            Operation::RegisterGuarded { client, depth } => self.register_guarded(ClientId(client), depth),
            Operation::RegisterClosed { client } => {
                let (sender, _) = mpsc::channel(1);
                refused(self.registry.register_client(ClientId(client), sender))
            }
            Operation::DropGuard { client } => {
                drop(self.oldest_guard(client));
                Outcome::Nothing
            }
            Operation::UnregisterGuard { client } => {
                unregistered(self.oldest_guard(client).and_then(ClientGuard::unregister))
            }
            Operation::Unregister { client } => self.unregister(ClientId(client)),
            Operation::UnregisterAll => Outcome::Count(self.registry.unregister_all()),
            Operation::TakeSkipped { client } => match self.registry.take_skipped(ClientId(client)) {
                Some(skipped) => Outcome::Skipped(skipped),
                None => Outcome::UnknownClient,
            },
            Operation::Replace { client, depth } => {
                let client = ClientId(client);
                Outcome::Each(vec![self.unregister(client), self.register(client, depth)])
            }
            Operation::Attach { client, session } => self.attach(ClientId(client), session),
            Operation::Detach { client } => match self.registry.detach_from_session(ClientId(client)) {
                Ok(detached) => Outcome::Detached { session: detached.session, members: detached.members },
                Err(DetachError::UnknownClient(_)) => Outcome::UnknownClient,
                Err(DetachError::NotAttached(_)) => Outcome::NotAttached,
                Err(other) => panic!("{other}"),
            },
            Operation::Join { clients, depth, session } => Outcome::Each(
                (0..clients)
                    .flat_map(|_| {
                        let client = self.registry.next_client_id();
                        [self.register(client, depth), self.attach(client, session)]
                    })
                    .collect(),
            ),
            Operation::CloseSession { session: of } => {
                Outcome::Closed(sorted(self.registry.close_session(session(of))))
            }
            Operation::Send { client } => self.send(ClientId(client)),
            Operation::Broadcast { session: to, ref way } => self.broadcast(to, way),
            Operation::BroadcastToAll { ref way } => self.broadcast_to_all(way),
            Operation::MakePublisher { publisher, session: to } => {
                self.publishers.insert(publisher, self.registry.publisher(session(to)));
                Outcome::Nothing
            }
            Operation::Publish { publisher, ref way } => self.publish(publisher, way),
            Operation::Refresh { publisher } => {
                self.publishers.entry(publisher).and_modify(Publisher::refresh);
                Outcome::Nothing
            }
            Operation::DropPublisher { publisher } => {
                drop(self.publishers.remove(&publisher));
                Outcome::Nothing
            }
            Operation::Receive { client, at_most } => match self.latest(client) {
                Some(Some(queue)) => Outcome::Received(take(queue, at_most)),
                _ => Outcome::Nothing,
            },
            Operation::CloseReceiver { client } => {
                if let Some(Some(queue)) = self.latest(client) {
                    queue.close();
                }
                Outcome::Nothing
            }
            Operation::DropReceiver { client } => {
                if let Some(queue) = self.latest(client) {
                    drop(queue.take());
                }
                Outcome::Nothing
            }
        }
    }

    fn register(&mut self, client: ClientId, depth: usize) -> Outcome {
        let (sender, queue) = mpsc::channel(depth);
        match self.registry.register_client(client, sender) {
            Ok(()) => {
                self.queues.push((client, Some(queue)));
                Outcome::Registered
            }
            refusal => refused(refusal),
        }
    }

    fn register_guarded(&mut self, client: ClientId, depth: usize) -> Outcome {
        let (sender, queue) = mpsc::channel(depth);
        match self.registry.register_guarded(client, sender) {
            Ok(guard) => {
                assert_eq!(guard.id(), client);
                self.guards.push(guard);
                self.queues.push((client, Some(queue)));
                Outcome::Registered
            }
            refusal => refused(refusal.map(drop)),
        }
    }

    fn unregister(&self, client: ClientId) -> Outcome {
        unregistered(self.registry.unregister_client(client))
    }

    fn oldest_guard(&mut self, client: u64) -> Option<ClientGuard<u32>> {
        let oldest = self.guards.iter().position(|guard| guard.id() == ClientId(client));
        oldest.map(|oldest| self.guards.remove(oldest))
    }

    fn attach(&self, client: ClientId, to: u64) -> Outcome {
        match self.registry.attach_to_session(client, session(to)) {
            Ok(attached) => {
                Outcome::Attached { previous: attached.previous.map(left), members: attached.members }
            }
            Err(AttachError::UnknownClient(_)) => Outcome::UnknownClient,
            Err(other) => panic!("{other}"),
        }
    }

    fn send(&mut self, client: ClientId) -> Outcome {
        let message = self.messages(1)[0];
        let sent = self.registry.send_to_client(client, message);
        if let Err(refused) = sent {
            assert_eq!(refused.into_inner(), message, "another message was handed back");
        }
        Outcome::Sent(match sent {
            Ok(()) => counts(1, 0, 0),
            Err(SendError::Full(_)) => counts(0, 1, 0),
            Err(SendError::Closed(_)) => counts(0, 0, 1),
            Err(SendError::UnknownClient(_)) => return Outcome::UnknownClient,
            Err(other) => panic!("{other}"),
        })
    }

    fn broadcast(&mut self, to: u64, way: &Way) -> Outcome {
        let (registry, to, messages) = (self.registry.clone(), session(to), self.messages(way.messages()));
        let mut observer = Observer::new(self, registry.session_clients(to), way);
        let total = match *way {
            Way { except: None, observer: None, burst: None } => {
                registry.broadcast_to_session(to, messages[0])
            }
            Way { except: Some(client), observer: None, burst: None } => {
                registry.broadcast_to_session_except(to, ClientId(client), messages[0])
            }
            Way { except: None, observer: None, burst: Some(_) } => registry.broadcast_burst(to, &messages),
            _ => observer.offer(registry.to(to), way, &messages),
        };
        observer.outcome(total)
    }

    fn broadcast_to_all(&mut self, way: &Way) -> Outcome {
        let (registry, messages) = (self.registry.clone(), self.messages(way.messages()));
        let mut observer = Observer::new(self, registry.clients(), way);
        let total = match *way {
            Way { except: None, observer: None, burst: None } => registry.broadcast_to_all(messages[0]),
            _ => observer.offer(registry.to_all(), way, &messages),
        };
        observer.outcome(total)
    }

    fn publish(&mut self, publisher: u64, way: &Way) -> Outcome {
        let messages = self.messages(way.messages());
        // It leaves its place while it publishes, for the observer has the rest to itself.
        let mut by = self.publishers.remove(&publisher).unwrap();
        let members = self.registry.session_clients(by.session());
        let mut observer = Observer::new(self, members, way);
        let total = match *way {
            Way { except: None, observer: None, burst: None } => by.broadcast(messages[0]),
            Way { except: None, observer: None, burst: Some(_) } => by.broadcast_burst(&messages),
            Way { except: Some(client), .. } => observer.offer(by.except(ClientId(client)), way, &messages),
            Way { except: None, .. } => observer.offer(by.observe(|_, _| {}), way, &messages),
        };
        let outcome = observer.outcome(total);
        self.publishers.insert(publisher, by);
        outcome
    }

    /// Messages that nobody sent before.
    fn messages(&mut self, count: usize) -> Vec<u32> {
        let messages: Vec<u32> = (self.messages..).take(count).collect();
        self.messages += count as u32;
        messages
    }

    /// The queue of a client's latest registration.
    fn latest(&mut self, client: u64) -> Option<&mut Option<Receiver<u32>>> {
        let latest = self.queues.iter_mut().rfind(|(id, _)| *id == ClientId(client));
        latest.map(|(_, queue)| queue)
    }

    /// Asks everything there is to ask.
    pub(super) fn compare(&self, model: &Model) {
        for client in model.known() {
            let (entry, expected) = (self.registry.get_client(ClientId(client)), model.registration(client));
            assert_eq!(entry.is_some(), expected.is_some(), "client {client} is registered, {self}");
            let Some((entry, expected)) = entry.zip(expected) else { continue };
            assert_eq!(entry.attached_session, expected.attached.map(session), "of client {client}, {self}");
            assert_eq!(entry.skipped, expected.skipped, "of client {client}, {self}");
            assert_eq!(entry.sender.max_capacity(), expected.depth, "of client {client}, {self}");
        }
        for number in operation::sessions() {
            let members = model.members(number);
            let count = self.registry.session_client_count(session(number));
            assert_eq!(count, members.len(), "members of session {number}, {self}");
            let clients = sorted(self.registry.session_clients(session(number)));
            assert_eq!(clients, members, "of session {number}, {self}");
        }
        let (clients, sessions) = (model.clients.len(), model.sessions());
        assert_eq!(self.registry.client_count(), clients, "clients, {self}");
        let ids: Vec<ClientId> = model.clients.keys().copied().map(ClientId).collect();
        assert_eq!(sorted(self.registry.clients()), ids, "{self}");
        // Of those who are found closed together, the registry says who is first; so what they leave is compared apart.
        let told = self.departures.lock().unwrap();
        let who = sorted(told.iter().map(|gone| gone.client));
        assert_eq!(who, sorted(model.departures.iter().map(|(client, _)| *client)), "who left, {self}");
        let what = sorted(told.iter().map(|gone| gone.detached.map(left)));
        assert_eq!(what, sorted(model.departures.iter().map(|(_, left)| *left)), "what was left, {self}");
        assert_eq!(self.registry.session_count(), sessions.len(), "sessions, {self}");
        assert_eq!(sorted(self.registry.sessions()), sessions, "{self}");
        let stats = self.registry.stats();
        assert_eq!((stats.clients(), stats.sessions()), (clients, sessions.len()), "{self}");
        assert_eq!(stats.publishers, model.publishers.len(), "publishers, {self}");
        assert_eq!(stats.deliveries, model.deliveries, "{self}");

        for (number, ((client, queue), expected)) in self.queues.iter().zip(&model.registrations).enumerate()
        {
            assert_eq!(queue.is_none(), expected.receiver == Receiving::Gone);
            let Some(queue) = queue else { continue };
            assert_eq!(queue.len(), expected.queue.len(), "in registration {number}, of {client}, {self}");
            let held = queue.sender_strong_count() > 0;
            assert_eq!(held, model.is_held(number), "registration {number}, of {client}, is held, {self}");
        }
    }

    /// Everybody leaves: what was sent is what is in the queues, and nothing else is left.
    pub(super) fn end(mut self, model: &Model) {
        for ((client, queue), expected) in self.queues.iter_mut().zip(&model.registrations) {
            let received = queue.as_mut().map_or_else(Vec::new, |queue| take(queue, usize::MAX));
            assert_eq!(VecDeque::from(received), expected.queue, "in a queue of {client}");
        }
        self.publishers.clear();
        self.guards.clear();
        for client in model.known() {
            self.registry.unregister_client(ClientId(client));
        }
        assert_eq!((self.registry.client_count(), self.registry.session_count()), (0, 0), "{self}");
        assert_eq!(self.registry.stats().publishers, 0, "{self}");
        assert_eq!(self.registry.stats().deliveries, model.deliveries, "{self}");
        let mut open = self.queues.iter().filter_map(|(_, queue)| queue.as_ref());
        assert!(open.all(|queue| queue.sender_strong_count() == 0), "a channel is not freed, {self}");
    }
}

/// Notes what becomes of each client's messages, and does what is to be done meanwhile.
struct Observer<'a> {
    tested: &'a mut Tested,
    /// How many clients it will be told of.
    members: usize,
    meanwhile: &'a [Operation],
    each: Vec<(ClientId, Delivery)>,
    outcomes: Vec<Outcome>,
}

impl<'a> Observer<'a> {
    /// Of a broadcast to these, save whom it leaves out.
    fn new(tested: &'a mut Tested, mut to: Vec<ClientId>, way: &'a Way) -> Self {
        to.retain(|client| way.except != Some(client.0));
        let meanwhile = way.observer.as_deref().unwrap_or_default();
        Self { tested, members: to.len(), meanwhile, each: Vec::new(), outcomes: Vec::new() }
    }

    /// Makes a broadcast in `way`.
    fn offer<F: FnMut(ClientId, Delivery)>(
        &mut self,
        broadcast: Broadcast<'_, u32, F>,
        way: &Way,
        messages: &[u32],
    ) -> Delivery {
        let broadcast = match way.except {
            Some(client) => broadcast.except(ClientId(client)),
            None => broadcast,
        };
        match (&way.observer, way.burst) {
            (None, None) => broadcast.send(messages[0]),
            (None, Some(_)) => broadcast.burst(messages),
            (Some(_), None) => broadcast.observe(|client, what| self.observe(client, what)).send(messages[0]),
            (Some(_), Some(_)) => {
                broadcast.observe(|client, what| self.observe(client, what)).burst(messages)
            }
        }
    }

    fn observe(&mut self, client: ClientId, delivery: Delivery) {
        self.each.push((client, delivery));
        // Once all were offered theirs: whom it takes before that is nobody's to say.
        if self.each.len() == self.members {
            self.outcomes.extend(self.meanwhile.iter().map(|operation| self.tested.perform(operation)));
        }
    }

    fn outcome(self, total: Delivery) -> Outcome {
        Outcome::Broadcast { total, each: sorted_by_client(self.each), meanwhile: self.outcomes }
    }
}

fn sorted_by_client(mut each: Vec<(ClientId, Delivery)>) -> Vec<(ClientId, Delivery)> {
    each.sort_by_key(|(client, _)| *client);
    each
}

fn left(detached: Detached) -> (SessionId, usize) {
    (detached.session, detached.members)
}

fn unregistered(unregistered: Option<Unregistered<u32>>) -> Outcome {
    match unregistered {
        None => Outcome::UnknownClient,
        Some(Unregistered { entry, detached, .. }) => Outcome::Unregistered {
            attached: entry.attached_session,
            skipped: entry.skipped,
            detached: detached.map(left),
        },
    }
}

fn refused(refusal: Result<(), RegisterError<u32>>) -> Outcome {
    match refusal.unwrap_err() {
        RegisterError::DuplicateId { .. } => Outcome::DuplicateId,
        RegisterError::Closed { .. } => Outcome::ReceiverGone,
        other => panic!("{other}"),
    }
}

fn take(queue: &mut Receiver<u32>, at_most: usize) -> Vec<u32> {
    std::iter::from_fn(|| queue.try_recv().ok()).take(at_most).collect()
}
