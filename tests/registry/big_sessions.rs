//! Sessions of a thousand, checked against a plain model while they grow, shrink and move.
//!
//! This is what exercises the inside of a big session: chunks that fill, empty and are copied while a publisher holds
//! them, members that take the place of one that left, and the map of positions.

use std::collections::{HashMap, HashSet};

use fugue_server::{ClientId, ClientRegistry, Publisher, SessionId};
use tokio::sync::mpsc::Receiver;

use super::{connect, drain, is_freed, session, with_registries};
use crate::random::Random;

const CLIENTS: usize = 1000;

/// A registry's clients beside what a plain set says of them.
struct Model {
    registry: ClientRegistry<usize>,
    queues: HashMap<ClientId, Receiver<usize>>,
    members: HashMap<SessionId, HashSet<ClientId>>,
    next_message: usize,
}

impl Model {
    fn new(registry: &ClientRegistry<usize>, sessions: &[SessionId]) -> Self {
        Self {
            registry: registry.clone(),
            queues: (0..CLIENTS).map(|_| connect(registry, 1)).collect(),
            members: sessions.iter().map(|session| (*session, HashSet::new())).collect(),
            next_message: 0,
        }
    }

    /// The clients in random order.
    fn shuffled(&self, random: &mut Random) -> Vec<ClientId> {
        let mut clients = super::sorted(self.queues.keys().copied());
        random.shuffle(&mut clients);
        clients
    }

    fn attach(&mut self, client: ClientId, session: SessionId) {
        for members in self.members.values_mut() {
            members.remove(&client);
        }
        let members = self.members.get_mut(&session).unwrap();
        members.insert(client);
        assert_eq!(self.registry.attach_to_session(client, session).unwrap().members, members.len());
    }

    fn detach(&mut self, client: ClientId) {
        match self
            .members
            .iter_mut()
            .find_map(|(session, members)| members.remove(&client).then_some((session, members)))
        {
            Some((session, members)) => {
                let detached = self.registry.detach_from_session(client).unwrap();
                assert_eq!((detached.session, detached.members), (*session, members.len()));
            }
            None => assert!(self.registry.detach_from_session(client).is_err()),
        }
    }

    /// Checks that `session` has the model's members, and that a broadcast reaches exactly them: through `publisher`
    /// if there is one, so that its roster is shared while membership changes.
    fn check(&mut self, session: SessionId, publisher: Option<&mut Publisher<usize>>) {
        let expected = &self.members[&session];
        let members = self.registry.session_clients(session);
        assert_eq!(members.len(), expected.len(), "nobody is listed twice");
        assert_eq!(members.into_iter().collect::<HashSet<_>>(), *expected);

        let message = self.next_message;
        self.next_message += 1;
        let delivery = match publisher {
            Some(publisher) => publisher.broadcast(message),
            None => self.registry.broadcast_to_session(session, message),
        };
        assert_eq!(delivery, super::sent(expected.len()));
        for (client, queue) in &mut self.queues {
            let received = drain(queue);
            assert_eq!(received, if expected.contains(client) { vec![message] } else { vec![] });
        }
    }

    fn check_every(
        &mut self,
        steps: usize,
        step: usize,
        session: SessionId,
        publisher: Option<&mut Publisher<usize>>,
    ) {
        if step.is_multiple_of(steps) {
            self.check(session, publisher);
        }
    }
}

#[test]
fn a_thousand_members_join_and_leave_in_random_order() {
    with_registries(|registry| {
        let mut random = Random::seeded("registry");
        for shared in [false, true] {
            let mut publisher = shared.then(|| registry.publisher(session(1)));
            let mut model = Model::new(&registry, &[session(1)]);
            for (at, client) in model.shuffled(&mut random).into_iter().enumerate() {
                model.attach(client, session(1));
                model.check_every(50, at, session(1), publisher.as_mut());
            }
            for (at, client) in model.shuffled(&mut random).into_iter().enumerate() {
                model.check_every(50, at, session(1), publisher.as_mut());
                model.detach(client);
            }
            model.check(session(1), publisher.as_mut());
            drop(publisher);
            assert_eq!(registry.session_count(), 0);
            model.queues.into_keys().for_each(|client| drop(registry.unregister_client(client)));
        }
    });
}

#[test]
fn a_thousand_clients_move_between_sessions_at_random() {
    let sessions = [session(1), session(2), session(3)];
    with_registries(|registry| {
        let mut random = Random::seeded("registry");
        let mut model = Model::new(&registry, &sessions);
        // Two of the three sessions have a publisher.
        let mut publishers =
            sessions.map(|session| (session != sessions[0]).then(|| registry.publisher(session)));
        let clients = model.shuffled(&mut random);
        for step in 0..6000 {
            let client = clients[random.index(CLIENTS)];
            match random.index(4) {
                0 => model.detach(client),
                to => model.attach(client, sessions[to - 1]),
            }
            let checked = random.index(3);
            model.check_every(60, step, sessions[checked], publishers[checked].as_mut());
        }
        for (session, publisher) in sessions.into_iter().zip(&mut publishers) {
            model.check(session, publisher.as_mut());
            let closed: HashSet<_> = registry.close_session(session).into_iter().collect();
            assert_eq!(closed, std::mem::take(model.members.get_mut(&session).unwrap()));
            model.check(session, publisher.as_mut());
        }
        drop(publishers);
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn members_that_vanish_at_random_are_cleaned_up_by_the_next_broadcast() {
    with_registries(|registry| {
        let mut random = Random::seeded("registry");
        let mut model = Model::new(&registry, &[session(1)]);
        let mut publisher = registry.publisher(session(1));
        for client in model.shuffled(&mut random) {
            model.attach(client, session(1));
        }
        while !model.queues.is_empty() {
            let vanishing = random.index(model.queues.len()) + 1;
            for client in model.shuffled(&mut random).into_iter().take(vanishing) {
                model.queues.remove(&client);
                model.members.get_mut(&session(1)).unwrap().remove(&client);
            }
            let delivery = publisher.broadcast(usize::MAX);
            assert_eq!(delivery, super::counts(model.queues.len(), 0, vanishing));
            model.queues.values_mut().for_each(|queue| assert_eq!(drain(queue), [usize::MAX]));
            model.check(session(1), Some(&mut publisher));
            assert_eq!(registry.client_count(), model.queues.len());
        }
        drop(publisher);
        assert_eq!(registry.session_count(), 0);
    });
}

#[test]
fn a_big_sessions_channels_are_freed_as_its_members_unregister() {
    with_registries(|registry| {
        let mut random = Random::seeded("registry");
        let mut model = Model::new(&registry, &[session(1)]);
        let mut publisher = registry.publisher(session(1));
        for client in model.shuffled(&mut random) {
            model.attach(client, session(1));
        }
        publisher.refresh();
        for client in model.shuffled(&mut random) {
            registry.unregister_client(client).unwrap();
            publisher.refresh();
            assert!(is_freed(model.queues.get_mut(&client).unwrap()));
        }
    });
}
