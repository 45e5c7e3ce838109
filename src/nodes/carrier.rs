//! What carries messages between nodes: at most once, in order for each lane of each sender, and only while there is a
//! connection. It promises nothing else, and stores nothing.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::subject::{Lane, NodeName, Subject};

/// A message, as a carrier has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CarrierMessage {
    pub(crate) subject: Subject,
    /// The number under which the sender awaits an answer. If nobody is there who could give one, the sender is told.
    pub(crate) reply: Option<u64>,
    pub(crate) payload: Bytes,
}

/// What a carrier tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CarrierEvent {
    /// There is a connection, which has asked for all subscriptions of the lane. What was sent on the one before may be
    /// lost.
    Connected { lane: Lane, max_payload: usize },
    /// There is none.
    Disconnected { lane: Lane },
    /// A message came.
    Message(CarrierMessage),
    /// Nobody subscribes to what was sent with this number.
    NobodyThere { to: NodeName, reply: u64 },
    /// The broker does not let this node publish to this subject.
    Denied(Subject),
}

/// A node's two connections to the others. Bounded: what finds no room is not taken.
pub(crate) trait Carrier {
    /// Whether [`publish`](Self::publish) has room for a message of this lane.
    fn has_room(&self, lane: Lane) -> bool;

    /// Takes a message that there is room for; it may be lost from here on.
    fn publish(&mut self, message: CarrierMessage);

    /// The next thing to tell; what it wakes if there is none.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent>;
}
