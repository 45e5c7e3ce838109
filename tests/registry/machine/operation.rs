//! What may be done to a registry, what it may answer, and how operations are drawn.

use std::fmt;

use fugue_server::{ClientId, Delivery, SessionId};
use proptest::{collection::vec, prelude::*, sample::select, strategy::Union};

use super::model::Model;

/// Few of each, so that operations meet.
const SESSIONS: u64 = 3;
const PUBLISHERS: u64 = 4;
/// Clients that operations name without looking who is registered.
pub(super) const NAMED: u64 = 10;

/// An operation as it is printed: on one line of its own, however the list around it is.
#[derive(Clone)]
pub(super) struct Step(pub(super) Operation);

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Everything goes by a number of its own, so that an operation means the same when one before it is left out.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Register {
        client: u64,
        depth: usize,
    },
    RegisterGuarded {
        client: u64,
        depth: usize,
    },
    /// With a channel whose receiver is gone.
    RegisterClosed {
        client: u64,
    },
    /// The oldest there is of this client.
    DropGuard {
        client: u64,
    },
    /// As dropping it, and takes what that took out.
    UnregisterGuard {
        client: u64,
    },
    Unregister {
        client: u64,
    },
    UnregisterAll,
    TakeSkipped {
        client: u64,
    },
    /// Unregisters the client, and registers it anew.
    Replace {
        client: u64,
        depth: usize,
    },
    Attach {
        client: u64,
        session: u64,
    },
    Detach {
        client: u64,
    },
    /// So many clients draw an id, register and attach.
    Join {
        clients: usize,
        depth: usize,
        session: u64,
    },
    CloseSession {
        session: u64,
    },
    Send {
        client: u64,
    },
    Broadcast {
        session: u64,
        way: Way,
    },
    BroadcastToAll {
        way: Way,
    },
    /// In the place of the one that had this number, if any.
    MakePublisher {
        publisher: u64,
        session: u64,
    },
    Publish {
        publisher: u64,
        way: Way,
    },
    Refresh {
        publisher: u64,
    },
    DropPublisher {
        publisher: u64,
    },
    /// The client takes at most so many messages out of its queue.
    Receive {
        client: u64,
        at_most: usize,
    },
    /// The client takes no more, and what it has not taken stays in its queue.
    CloseReceiver {
        client: u64,
    },
    DropReceiver {
        client: u64,
    },
}

/// How a broadcast is made.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) except: Option<u64>,
    /// What an observer does, if there is one, when it is told of the last client.
    pub(super) observer: Option<Vec<Operation>>,
    /// As a burst of so many; else one message.
    pub(super) burst: Option<usize>,
}

impl Way {
    pub(super) fn messages(&self) -> usize {
        self.burst.unwrap_or(1)
    }
}

/// What an operation gave back, and what became of each client's messages where that was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Registered,
    DuplicateId,
    ReceiverGone,
    UnknownClient,
    NotAttached,
    Unregistered { attached: Option<SessionId>, skipped: u64, detached: Option<(SessionId, usize)> },
    Count(usize),
    Skipped(u64),
    Attached { previous: Option<(SessionId, usize)>, members: usize },
    Detached { session: SessionId, members: usize },
    Closed(Vec<ClientId>),
    Sent(Delivery),
    Broadcast { total: Delivery, each: Vec<(ClientId, Delivery)>, meanwhile: Vec<Self> },
    Received(Vec<u32>),
    Each(Vec<Self>),
}

/// Draws what may be done next.
pub(super) fn next(model: &Model) -> BoxedStrategy<Step> {
    let guarded: Vec<u64> = model.guarded().collect();
    let publishers: Vec<u64> = model.publishers.keys().copied().collect();
    let clients = clients(model);
    let client = || clients.clone();
    let mut all = vec![
        (4, change(clients.clone())),
        (
            2,
            (client(), depth())
                .prop_map(|(client, depth)| Operation::RegisterGuarded { client, depth })
                .boxed(),
        ),
        (1, client().prop_map(|client| Operation::RegisterClosed { client }).boxed()),
        (
            2,
            (count(), depth(), session())
                .prop_map(|(clients, depth, session)| Operation::Join { clients, depth, session })
                .boxed(),
        ),
        (3, client().prop_map(|client| Operation::Send { client }).boxed()),
        (
            6,
            (session(), way(clients.clone()))
                .prop_map(|(session, way)| Operation::Broadcast { session, way })
                .boxed(),
        ),
        (2, way_to_look(clients.clone()).prop_map(|way| Operation::BroadcastToAll { way }).boxed()),
        (1, client().prop_map(|client| Operation::TakeSkipped { client }).boxed()),
        (
            2,
            (0..PUBLISHERS, session())
                .prop_map(|(publisher, session)| Operation::MakePublisher { publisher, session })
                .boxed(),
        ),
        (
            3,
            (client(), prop_oneof![1..3_usize, Just(usize::MAX)])
                .prop_map(|(client, at_most)| Operation::Receive { client, at_most })
                .boxed(),
        ),
        (2, client().prop_map(|client| Operation::CloseReceiver { client }).boxed()),
        (2, client().prop_map(|client| Operation::DropReceiver { client }).boxed()),
    ];
    if !guarded.is_empty() {
        let guarded = || select(guarded.clone());
        all.push((2, guarded().prop_map(|client| Operation::DropGuard { client }).boxed()));
        all.push((1, guarded().prop_map(|client| Operation::UnregisterGuard { client }).boxed()));
    }
    if !publishers.is_empty() {
        let publisher = || select(publishers.clone());
        all.push((
            6,
            (publisher(), way(clients.clone()))
                .prop_map(|(publisher, way)| Operation::Publish { publisher, way })
                .boxed(),
        ));
        all.push((1, publisher().prop_map(|publisher| Operation::Refresh { publisher }).boxed()));
        all.push((1, publisher().prop_map(|publisher| Operation::DropPublisher { publisher }).boxed()));
    }
    Union::new_weighted(all).prop_map(Step).boxed()
}

/// A change of who is registered and who watches what: what an observer may do as well.
fn change(clients: BoxedStrategy<u64>) -> BoxedStrategy<Operation> {
    let client = || clients.clone();
    prop_oneof![
        4 => (client(), depth()).prop_map(|(client, depth)| Operation::Register { client, depth }),
        6 => (client(), session()).prop_map(|(client, session)| Operation::Attach { client, session }),
        2 => client().prop_map(|client| Operation::Detach { client }),
        2 => client().prop_map(|client| Operation::Unregister { client }),
        2 => (client(), depth()).prop_map(|(client, depth)| Operation::Replace { client, depth }),
        // Rare, for little happens to nobody.
        1 => prop_oneof![
            4 => client().prop_map(|client| Operation::Unregister { client }),
            1 => Just(Operation::UnregisterAll),
        ],
        1 => session().prop_map(|session| Operation::CloseSession { session }),
    ]
    .boxed()
}

fn way(clients: BoxedStrategy<u64>) -> impl Strategy<Value = Way> {
    // Most tempting is to put another registration in the place of one that was found closed.
    let replace = (clients.clone(), depth()).prop_map(|(client, depth)| Operation::Replace { client, depth });
    let meanwhile = vec(prop_oneof![change(clients.clone()), replace], 0..4);
    (way_to_look(clients), meanwhile).prop_map(|(way, meanwhile)| {
        let observer = way.observer.map(|_| meanwhile);
        Way { observer, ..way }
    })
}

/// With an observer that does nothing but look, if there is one: of a broadcast to all, it depends on the shards
/// whether clients that were found closed are still there when it is told of the last one.
fn way_to_look(clients: BoxedStrategy<u64>) -> impl Strategy<Value = Way> {
    let observer = prop_oneof![2 => Just(None), 1 => Just(Some(Vec::new()))];
    let burst = prop_oneof![Just(None), (0..5_usize).prop_map(Some)];
    let except = prop_oneof![2 => Just(None), 1 => clients.prop_map(Some)];
    (except, observer, burst).prop_map(|(except, observer, burst)| Way { except, observer, burst })
}

/// Most often one that is registered, and of those one whose receiver is gone: the next send will find it.
fn clients(model: &Model) -> BoxedStrategy<u64> {
    let mut all = vec![(1, (0..NAMED).boxed())];
    let registered: Vec<u64> = model.clients.keys().copied().collect();
    let gone: Vec<u64> = registered.iter().copied().filter(|client| model.is_gone(*client)).collect();
    for (weight, some) in [(3, registered), (1, gone)] {
        if !some.is_empty() {
            all.push((weight, select(some).boxed()));
        }
    }
    Union::new_weighted(all).boxed()
}

fn session() -> impl Strategy<Value = u64> {
    0..SESSIONS
}

/// Queues are shallow, so that they are full soon.
fn depth() -> impl Strategy<Value = usize> {
    1..5_usize
}

/// A few; or so many that they need a second chunk of a roster, which holds 64.
fn count() -> impl Strategy<Value = usize> {
    prop_oneof![5 => 1..7_usize, 2 => 1..80_usize]
}

pub(super) fn sessions() -> impl Iterator<Item = u64> {
    0..SESSIONS
}
