//! The ways to get messages to everyone in a room, behind one trait: ours, the floor, and our peers.
//!
//! All that keep a queue for each member use the same one, a tokio channel of the same depth, and send the same
//! messages.

mod channel;
mod fugue;
mod map;
mod room;
mod socketio;

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};

pub(crate) use self::{
    channel::{Floor, TokioBroadcast},
    fugue::{Bursts, ByPublisher, BySession, SESSION, registry_with},
    map::TwoDashMaps,
    room::{Measured, Room},
};

/// Messages that fit in a queue: deep enough that a drain comes seldom, and small enough that ten thousand queues of
/// every system stay in memory nobody misses.
pub(crate) const DEPTH: usize = 128;
/// Messages in a burst: what a busy session's pump gathers in a turn.
pub(crate) const BURST: usize = 32;

/// One way to get messages to everyone in a room.
pub(crate) trait FanOut {
    /// Offers every message to every member, and says how many deliveries that made.
    fn send(&mut self, messages: &[Bytes]) -> usize;
}

/// A member's end of a room.
pub(crate) trait Queue {
    /// The next message, if there is one. A lost one shows in the count of those that came.
    fn take(&mut self) -> Option<Bytes>;
}

impl Queue for Receiver<Bytes> {
    fn take(&mut self) -> Option<Bytes> {
        self.try_recv().ok()
    }
}

/// A message of `bytes`, which all its receivers share.
pub(crate) fn message(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

/// A queue for each of `members`.
pub(crate) fn queues(members: usize, depth: usize) -> (Vec<Sender<Bytes>>, Vec<Receiver<Bytes>>) {
    (0..members).map(|_| mpsc::channel(depth)).unzip()
}

/// A room of each system, `members` large.
pub(crate) fn every(members: usize, bytes: usize) -> Vec<(&'static str, Box<dyn Measured>)> {
    fn own<W: FanOut + 'static>(
        members: usize,
        messages: Vec<Bytes>,
        way: impl FnOnce(Vec<Sender<Bytes>>) -> W,
    ) -> Box<dyn Measured> {
        let (senders, queues) = queues(members, DEPTH);
        Box::new(Room::new(way(senders), queues, messages))
    }
    let one = || vec![message(bytes)];
    let (tokio_broadcast, tokio_queues) = TokioBroadcast::with(members);
    let (async_broadcast, async_queues) = channel::AsyncBroadcast::with(members);
    vec![
        ("floor", own(members, one(), Floor)),
        ("fugue-publisher", own(members, one(), ByPublisher::with)),
        ("fugue-broadcast", own(members, one(), BySession::with)),
        ("fugue-burst32", own(members, vec![message(bytes); BURST], Bursts::with)),
        ("two-dashmaps", own(members, one(), <TwoDashMaps>::with)),
        ("two-dashmaps-ahash", own(members, one(), TwoDashMaps::<ahash::RandomState>::with)),
        ("dashmap-guard", own(members, one(), map::DashMapGuard::with)),
        ("rwlock-hashmap", own(members, one(), map::RwLockHashMap::with)),
        ("papaya", own(members, one(), map::Papaya::with)),
        ("scc", own(members, one(), map::Scc::with)),
        ("socketioxide", own(members, one(), socketio::Rooms::with)),
        ("tokio-broadcast", Box::new(Room::new(tokio_broadcast, tokio_queues, one()))),
        ("async-broadcast", Box::new(Room::new(async_broadcast, async_queues, one()))),
    ]
}
