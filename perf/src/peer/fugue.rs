//! Our own registry: by session, by publisher, and in bursts.

use bytes::Bytes;
use fugue_server::{ClientRegistry, Publisher, SessionId};
use tokio::sync::mpsc::Sender;

use super::FanOut;

/// The session everyone is in.
pub(crate) const SESSION: u64 = 1;

/// A registry whose session has a member for each of `senders`.
pub(crate) fn registry_with(senders: Vec<Sender<Bytes>>) -> ClientRegistry<Bytes> {
    let registry = ClientRegistry::new();
    for sender in senders {
        let client = registry.next_client_id();
        registry.register_client(client, sender).expect("an id of its own");
        registry.attach_to_session(client, SessionId::from(SESSION)).expect("a registered client");
    }
    registry
}

/// A broadcast through the registry: look up, lock, clone the roster's handle, send.
pub(crate) struct BySession(pub(crate) ClientRegistry<Bytes>);

impl BySession {
    pub(crate) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        Self(registry_with(senders))
    }
}

impl FanOut for BySession {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            sent += self.0.broadcast_to_session(SessionId::from(SESSION), message.clone()).sent as usize;
        }
        sent
    }
}

/// A broadcast through a publisher: one atomic load, send.
pub(crate) struct ByPublisher(pub(crate) Publisher<Bytes>);

impl ByPublisher {
    pub(crate) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        Self(registry_with(senders).publisher(SessionId::from(SESSION)))
    }
}

impl FanOut for ByPublisher {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            sent += self.0.broadcast(message.clone()).sent as usize;
        }
        sent
    }
}

/// All messages through a publisher at once: one reservation in each queue.
pub(crate) struct Bursts(pub(crate) Publisher<Bytes>);

impl Bursts {
    pub(crate) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        Self(registry_with(senders).publisher(SessionId::from(SESSION)))
    }
}

impl FanOut for Bursts {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        self.0.broadcast_burst(messages).sent as usize
    }
}
