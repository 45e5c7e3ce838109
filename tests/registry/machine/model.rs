//! What a registry promises, as plainly as it can be said: no shards, rosters, generations or shared handles.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use fugue_server::{ClientId, Delivery, SessionId};

use super::operation::{NAMED, Operation, Outcome, Way};
use crate::registry::{counts, session, sorted};

#[derive(Clone, Default)]
pub(super) struct Model {
    /// Who is registered, and under which registration.
    pub(super) clients: BTreeMap<u64, usize>,
    /// Every registration there ever was, in order. Its number outlives it: a queue may still be read, or held.
    pub(super) registrations: Vec<Registration>,
    /// The registration each guard stands for.
    guards: Vec<usize>,
    pub(super) publishers: BTreeMap<u64, Publisher>,
    pub(super) deliveries: Delivery,
    /// Who was unregistered, in whatever way, and what each left behind.
    pub(super) departures: Vec<(ClientId, Option<(SessionId, usize)>)>,
    ids_drawn: u64,
    messages: u32,
    /// What the last operation must have given back.
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone)]
pub(super) struct Registration {
    client: u64,
    pub(super) depth: usize,
    pub(super) attached: Option<u64>,
    pub(super) skipped: u64,
    pub(super) queue: VecDeque<u32>,
    pub(super) receiver: Receiving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    Closed,
    Gone,
}

#[derive(Clone)]
pub(super) struct Publisher {
    session: u64,
    /// Whom it knew of when it last looked: it keeps their channels from being freed.
    roster: BTreeSet<usize>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a registry of {} clients", self.clients.len())
    }
}

impl Model {
    /// Every client there was a word of.
    pub(super) fn known(&self) -> impl Iterator<Item = u64> {
        0..=NAMED.max(self.ids_drawn)
    }

    /// The clients there are guards of.
    pub(super) fn guarded(&self) -> impl Iterator<Item = u64> {
        self.guards.iter().map(|number| self.registrations[*number].client)
    }

    pub(super) fn registration(&self, client: u64) -> Option<&Registration> {
        self.clients.get(&client).map(|number| &self.registrations[*number])
    }

    /// Whether the client is registered and takes no more.
    pub(super) fn is_gone(&self, client: u64) -> bool {
        self.registration(client).is_some_and(|registration| registration.receiver != Receiving::Open)
    }

    /// The registrations of those who watch `of`.
    fn watching(&self, of: u64) -> BTreeSet<usize> {
        let attached = |number: &usize| self.registrations[*number].attached == Some(of);
        self.clients.values().copied().filter(attached).collect()
    }

    pub(super) fn members(&self, of: u64) -> Vec<ClientId> {
        sorted(self.watching(of).into_iter().map(|number| ClientId(self.registrations[number].client)))
    }

    /// The sessions that have a member or a publisher.
    pub(super) fn sessions(&self) -> Vec<SessionId> {
        let attached = self.clients.values().filter_map(|number| self.registrations[*number].attached);
        let all: BTreeSet<u64> = attached.chain(self.publishers.values().map(|by| by.session)).collect();
        sorted(all.into_iter().map(session))
    }

    /// Whether anything holds a sender of this registration's channel.
    pub(super) fn is_held(&self, number: usize) -> bool {
        self.clients.values().any(|registered| *registered == number)
            || self.publishers.values().any(|publisher| publisher.roster.contains(&number))
    }

    pub(super) fn perform(&mut self, operation: &Operation) -> Outcome {
        match *operation {
            Operation::Register { client, depth } => self.register(client, depth),
            Operation::RegisterGuarded { client, depth } => {
                let outcome = self.register(client, depth);
                if outcome == Outcome::Registered {
                    self.guards.push(self.registrations.len() - 1);
                }
                outcome
            }
            Operation::RegisterClosed { .. } => Outcome::ReceiverGone,
            Operation::DropGuard { client } => {
                self.end_guard(client);
                Outcome::Nothing
            }
            Operation::UnregisterGuard { client } => self.end_guard(client),
            Operation::UnregisterAll => {
                let clients: Vec<u64> = self.clients.keys().copied().collect();
                clients.iter().for_each(|client| drop(self.unregister(*client)));
                Outcome::Count(clients.len())
            }
            Operation::TakeSkipped { client } => match self.clients.get(&client) {
                Some(number) => Outcome::Skipped(std::mem::take(&mut self.registrations[*number].skipped)),
                None => Outcome::UnknownClient,
            },
            Operation::Unregister { client } => self.unregister(client),
            Operation::Replace { client, depth } => {
                Outcome::Each(vec![self.unregister(client), self.register(client, depth)])
            }
            Operation::Attach { client, session } => self.attach(client, session),
            Operation::Detach { client } => self.detach(client),
            Operation::Join { clients, depth, session } => Outcome::Each(
                (0..clients)
                    .flat_map(|_| {
                        self.ids_drawn += 1;
                        let client = self.ids_drawn;
                        [self.register(client, depth), self.attach(client, session)]
                    })
                    .collect(),
            ),
            Operation::CloseSession { session } => {
                let members = self.members(session);
                members.iter().for_each(|client| drop(self.detach(client.0)));
                Outcome::Closed(members)
            }
            Operation::Send { client } => self.send(client),
            Operation::Broadcast { session, ref way } => {
                let roster = self.watching(session);
                self.broadcast(&roster, way)
            }
            Operation::BroadcastToAll { ref way } => {
                let roster = self.clients.values().copied().collect();
                self.broadcast(&roster, way)
            }
            Operation::MakePublisher { publisher, session } => {
                let roster = self.watching(session);
                self.publishers.insert(publisher, Publisher { session, roster });
                Outcome::Nothing
            }
            Operation::Publish { publisher, ref way } => {
                // A burst of none does nothing at all.
                if way.messages() > 0 {
                    self.refresh(publisher);
                }
                let roster = self.publishers[&publisher].roster.clone();
                self.broadcast(&roster, way)
            }
            Operation::Refresh { publisher } => {
                self.refresh(publisher);
                Outcome::Nothing
            }
            Operation::DropPublisher { publisher } => {
                self.publishers.remove(&publisher);
                Outcome::Nothing
            }
            Operation::Receive { client, at_most } => self.receive(client, at_most),
            Operation::CloseReceiver { client } => {
                if let Some(latest) = self.latest(client).filter(|it| it.receiver == Receiving::Open) {
                    latest.receiver = Receiving::Closed;
                }
                Outcome::Nothing
            }
            Operation::DropReceiver { client } => {
                if let Some(latest) = self.latest(client) {
                    latest.receiver = Receiving::Gone;
                    latest.queue.clear();
                }
                Outcome::Nothing
            }
        }
    }

    fn register(&mut self, client: u64, depth: usize) -> Outcome {
        if self.clients.contains_key(&client) {
            return Outcome::DuplicateId;
        }
        self.clients.insert(client, self.registrations.len());
        self.registrations.push(Registration {
            client,
            depth,
            attached: None,
            skipped: 0,
            queue: VecDeque::new(),
            receiver: Receiving::Open,
        });
        Outcome::Registered
    }

    fn unregister(&mut self, client: u64) -> Outcome {
        let Some(number) = self.clients.remove(&client) else { return Outcome::UnknownClient };
        let Registration { attached, skipped, .. } = self.registrations[number];
        let detached = attached.map(|of| (session(of), self.watching(of).len()));
        self.departures.push((ClientId(client), detached));
        Outcome::Unregistered { attached: attached.map(session), skipped, detached }
    }

    /// Takes a registration out, unless it has ended; one that came after it under the same id stays.
    fn unregister_registration(&mut self, number: usize) -> Outcome {
        let client = self.registrations[number].client;
        if self.clients.get(&client) == Some(&number) {
            self.unregister(client)
        } else {
            Outcome::UnknownClient
        }
    }

    fn end_guard(&mut self, client: u64) -> Outcome {
        let of_client = |number: &usize| self.registrations[*number].client == client;
        let Some(oldest) = self.guards.iter().position(of_client) else { return Outcome::UnknownClient };
        let number = self.guards.remove(oldest);
        self.unregister_registration(number)
    }

    fn attach(&mut self, client: u64, to: u64) -> Outcome {
        let Some(number) = self.clients.get(&client) else { return Outcome::UnknownClient };
        let previous = self.registrations[*number].attached.replace(to);
        let previous = previous.map(|from| (session(from), self.watching(from).len()));
        Outcome::Attached { previous, members: self.watching(to).len() }
    }

    fn detach(&mut self, client: u64) -> Outcome {
        let Some(number) = self.clients.get(&client) else { return Outcome::UnknownClient };
        let Some(from) = self.registrations[*number].attached.take() else { return Outcome::NotAttached };
        Outcome::Detached { session: session(from), members: self.watching(from).len() }
    }

    fn refresh(&mut self, publisher: u64) {
        let roster = self.watching(self.publishers[&publisher].session);
        self.publishers.entry(publisher).and_modify(|publisher| publisher.roster = roster);
    }

    fn send(&mut self, client: u64) -> Outcome {
        let message = self.messages;
        self.messages += 1;
        let Some(number) = self.clients.get(&client).copied() else { return Outcome::UnknownClient };
        let delivery = self.offer(number, &[message]);
        if delivery.closed > 0 {
            self.unregister_registration(number);
        }
        Outcome::Sent(delivery)
    }

    fn broadcast(&mut self, roster: &BTreeSet<usize>, way: &Way) -> Outcome {
        let messages: Vec<u32> = (self.messages..).take(way.messages()).collect();
        self.messages += messages.len() as u32;
        let (mut total, mut each, mut closed) = (Delivery::default(), Vec::new(), Vec::new());
        for number in roster.iter().copied().filter(|_| !messages.is_empty()) {
            let client = self.registrations[number].client;
            if way.except == Some(client) {
                continue;
            }
            let delivery = self.offer(number, &messages);
            if delivery.closed > 0 {
                closed.push(number);
            }
            total += delivery;
            each.push((ClientId(client), delivery));
        }
        each.sort_by_key(|(client, _)| *client);
        let mut outcomes = Vec::new();
        match &way.observer {
            Some(meanwhile) if !each.is_empty() => {
                outcomes.extend(meanwhile.iter().map(|operation| self.perform(operation)));
            }
            Some(_) => {}
            None => each.clear(),
        }
        closed.into_iter().for_each(|number| drop(self.unregister_registration(number)));
        Outcome::Broadcast { total, each, meanwhile: outcomes }
    }

    /// Puts as many messages into a queue as it has room for.
    fn offer(&mut self, number: usize, messages: &[u32]) -> Delivery {
        let to = &mut self.registrations[number];
        let delivery;
        if to.receiver == Receiving::Open {
            let room = messages.len().min(to.depth - to.queue.len());
            delivery = counts(room, messages.len() - room, 0);
            to.queue.extend(&messages[..room]);
            to.skipped += delivery.full;
        } else {
            delivery = counts(0, 0, messages.len());
        }
        self.deliveries += delivery;
        delivery
    }

    fn receive(&mut self, client: u64, at_most: usize) -> Outcome {
        let Some(latest) = self.latest(client) else { return Outcome::Nothing };
        let taken = at_most.min(latest.queue.len());
        Outcome::Received(latest.queue.drain(..taken).collect())
    }

    /// The latest registration of a client whose receiver is still there.
    fn latest(&mut self, client: u64) -> Option<&mut Registration> {
        let latest = self.registrations.iter_mut().rfind(|registration| registration.client == client);
        latest.filter(|registration| registration.receiver != Receiving::Gone)
    }
}
