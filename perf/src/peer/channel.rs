//! Channels without a registry: the floor, and the two that broadcast by themselves.
//!
//! Those two write each message once, whoever listens, and leave the rest to the receivers: with nobody receiving
//! inside the timed part their figures are not a delivery's whole cost. The `delivery` suite has that.

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc::Sender};

use super::{DEPTH, FanOut, Queue};

/// What the channels alone cost: a bare loop over the senders.
pub(crate) struct Floor(pub(crate) Vec<Sender<Bytes>>);

impl FanOut for Floor {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            sent += self.0.iter().filter(|sender| sender.try_send(Bytes::clone(message)).is_ok()).count();
        }
        sent
    }
}

/// One ring that all receivers read.
pub(crate) struct TokioBroadcast(pub(crate) broadcast::Sender<Bytes>);

impl TokioBroadcast {
    pub(crate) fn with(members: usize) -> (Self, Vec<broadcast::Receiver<Bytes>>) {
        let sender = broadcast::Sender::new(DEPTH);
        let queues = (0..members).map(|_| sender.subscribe()).collect();
        (Self(sender), queues)
    }
}

impl FanOut for TokioBroadcast {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            sent += self.0.send(message.clone()).unwrap_or(0);
        }
        sent
    }
}

impl Queue for broadcast::Receiver<Bytes> {
    fn take(&mut self) -> Option<Bytes> {
        self.try_recv().ok()
    }
}

/// One queue whose messages go once every receiver has had them.
pub(super) struct AsyncBroadcast(async_broadcast::Sender<Bytes>);

impl AsyncBroadcast {
    pub(super) fn with(members: usize) -> (Self, Vec<async_broadcast::Receiver<Bytes>>) {
        let (sender, first) = async_broadcast::broadcast(DEPTH);
        let mut queues: Vec<_> = (1..members).map(|_| first.clone()).collect();
        queues.push(first);
        (Self(sender), queues)
    }
}

impl FanOut for AsyncBroadcast {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let sent = messages.iter().filter(|message| self.0.try_broadcast(Bytes::clone(message)).is_ok());
        sent.count() * self.0.receiver_count()
    }
}

impl Queue for async_broadcast::Receiver<Bytes> {
    fn take(&mut self) -> Option<Bytes> {
        self.try_recv().ok()
    }
}
