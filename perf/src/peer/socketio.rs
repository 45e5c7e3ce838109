//! socketioxide's rooms, driven without its connections.
//!
//! The rooms are the crate's own (`CoreLocalAdapter`); beneath them is, in place of its sockets, a map of the same
//! shape as its namespace keeps, with the queues that everyone else here has. No payload is encoded, and each member
//! gets one clone of it, which is less than a whole server does.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::{FusedStream, Stream};
use serde::{Deserialize, Serialize};
use socketioxide_core::{
    Uid, Value,
    adapter::{
        BroadcastIter, BroadcastOptions, CoreLocalAdapter, RemoteSocketData, Room, SocketEmitter,
        errors::SocketError,
    },
    packet::{Packet, PacketData, Sid, Str},
    parser::{Parse, ParseConfig, ParseError, ParserError, ParserState},
};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::FanOut;

const ROOM: Room = Room::Borrowed("room");

pub(super) struct Rooms {
    adapter: CoreLocalAdapter<Sockets>,
    members: usize,
}

impl Rooms {
    pub(super) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        let members = senders.len();
        let sockets: HashMap<Sid, Sender<Bytes>> =
            senders.into_iter().map(|sender| (Sid::new(), sender)).collect();
        let ids: Vec<Sid> = sockets.keys().copied().collect();
        let adapter = CoreLocalAdapter::new(Sockets { sockets: RwLock::new(sockets), path: Str::from("/") });
        for id in ids {
            adapter.add_all(id, ROOM);
        }
        Self { adapter, members }
    }
}

impl FanOut for Rooms {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            let mut to = BroadcastOptions::default();
            to.rooms.push(ROOM);
            let packet = Packet::event("/", Value::Bytes(message.clone()));
            let refused = self.adapter.broadcast(packet, to).err().unwrap_or_default();
            sent += self.members - refused.len();
        }
        sent
    }
}

struct Sockets {
    sockets: RwLock<HashMap<Sid, Sender<Bytes>>>,
    path: Str,
}

impl SocketEmitter for Sockets {
    type AckError = SocketError;
    type AckStream = NoAcks;

    /// Sends under the lock and keeps going past an error, as the crate's own does.
    fn send_many(&self, ids: BroadcastIter<'_>, data: Value) -> Result<(), Vec<SocketError>> {
        let Value::Bytes(data) = data else { return Ok(()) };
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        let refusal = |sender: &Sender<Bytes>| match sender.try_send(data.clone()) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => Some(SocketError::InternalChannelFull),
            Err(TrySendError::Closed(_)) => Some(SocketError::Closed),
        };
        let errors: Vec<SocketError> = ids.filter_map(|id| sockets.get(&id)).filter_map(refusal).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn parser(&self) -> impl Parse {
        AsItIs
    }

    fn path(&self) -> &Str {
        &self.path
    }

    fn server_id(&self) -> Uid {
        Uid::ZERO
    }

    // The rest is for what nobody here asks of it.

    fn get_all_sids(&self, _: impl Fn(&Sid) -> bool) -> Vec<Sid> {
        Vec::new()
    }

    fn get_remote_sockets(&self, _: BroadcastIter<'_>) -> Vec<RemoteSocketData> {
        Vec::new()
    }

    fn send_many_volatile(&self, _: BroadcastIter<'_>, _: Value) {}

    fn send_many_with_ack(
        &self,
        _: BroadcastIter<'_>,
        _: Packet,
        _: Option<Duration>,
    ) -> (Self::AckStream, u32) {
        (NoAcks, 0)
    }

    fn disconnect_many(&self, _: Vec<Sid>) -> Result<(), Vec<SocketError>> {
        Ok(())
    }

    fn ack_timeout(&self) -> Duration {
        Duration::ZERO
    }
}

struct NoAcks;

impl Stream for NoAcks {
    type Item = (Sid, Result<Value, SocketError>);

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

impl FusedStream for NoAcks {
    fn is_terminated(&self) -> bool {
        true
    }
}

/// A wire format that is the payload itself, and that nothing can be read from.
#[derive(Clone, Copy, Default)]
struct AsItIs;

fn refused() -> ParserError {
    ParserError::new(std::fmt::Error)
}

impl Parse for AsItIs {
    fn encode(self, packet: Packet) -> Value {
        match packet.inner {
            PacketData::Event(data, _) => data,
            _ => Value::Bytes(Bytes::new()),
        }
    }

    fn decode_str(self, _: &ParseConfig, _: &ParserState, _: Str) -> Result<Packet, ParseError> {
        Err(ParseError::ParserError(refused()))
    }

    fn decode_bin(self, _: &ParseConfig, _: &ParserState, _: Bytes) -> Result<Packet, ParseError> {
        Err(ParseError::ParserError(refused()))
    }

    fn encode_value<T: ?Sized + Serialize>(self, _: &T, _: Option<&str>) -> Result<Value, ParserError> {
        Err(refused())
    }

    fn decode_value<'de, T: Deserialize<'de>>(self, _: &'de mut Value, _: bool) -> Result<T, ParserError> {
        Err(refused())
    }

    fn decode_default<'de, T: Deserialize<'de>>(self, _: Option<&'de Value>) -> Result<T, ParserError> {
        Err(refused())
    }

    fn encode_default<T: ?Sized + Serialize>(self, _: &T) -> Result<Value, ParserError> {
        Err(refused())
    }

    fn read_event(self, _: &Value) -> Result<&str, ParserError> {
        Err(refused())
    }
}
