//! Frames to messages, and back.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Frame, Header, INPUT_HEAD, Kind, PRINT_HEAD, WireError};
use crate::{
    SessionId,
    message::{
        ClientMessage, Event, InputPosition, InputStreamId, ProviderNews, ProviderStatement, Relay, Reply,
        RequestError,
    },
};

/// Reads a request from a client's frame.
///
/// # Errors
/// [`WireError::Payload`] when the payload is none of its kind, or the frame is no request.
pub fn decode_request(frame: &Frame) -> Result<ClientMessage, WireError> {
    let payload = &frame.payload;
    Ok(match frame.kind {
        Kind::List => ClientMessage::List,
        Kind::Create => ClientMessage::Create(from_postcard(payload, "create request")?),
        Kind::Attach => ClientMessage::Attach(from_postcard(payload, "attach request")?),
        Kind::Detach => ClientMessage::Detach,
        Kind::Input => {
            let (session, position) = input_head(payload).ok_or(WireError::Payload { what: "input" })?;
            ClientMessage::Input { session, position, data: payload.slice(INPUT_HEAD..) }
        }
        Kind::RemoteInput => {
            let head = input_head(payload).and_then(|(session, position)| Some((session, position?)));
            let (session, position) = head.ok_or(WireError::Payload { what: "remote input" })?;
            ClientMessage::RemoteInput { session, position, data: payload.slice(INPUT_HEAD..) }
        }
        Kind::Provide => ClientMessage::Provide(from_postcard(payload, "request to provide a session")?),
        Kind::Print => decode_print(frame)?,
        Kind::Statement => {
            let (session, statement) = from_postcard(payload, "statement of a provider")?;
            if let ProviderStatement::Print { .. } = statement {
                return Err(WireError::Payload { what: "statement of a provider" });
            }
            ClientMessage::Statement { session, statement }
        }
        Kind::Resize => {
            let (session, size, pixels) = from_postcard(payload, "resize request")?;
            ClientMessage::Resize { session, size, pixels }
        }
        Kind::RemoteResize => {
            let (session, window) = from_postcard(payload, "size of a terminal elsewhere")?;
            ClientMessage::RemoteResize { session, window }
        }
        Kind::Rules => ClientMessage::Rules { session: from_postcard(payload, "request for rules")? },
        Kind::Kill => ClientMessage::Kill { session: from_postcard(payload, "kill request")? },
        Kind::Environment => {
            ClientMessage::Environment { session: from_postcard(payload, "environment request")? }
        }
        Kind::ReadScreen => {
            let (session, lines) = from_postcard(payload, "request for a screen")?;
            ClientMessage::ReadScreen { session, lines }
        }
        Kind::Wait => ClientMessage::Wait { session: from_postcard(payload, "wait request")? },
        Kind::Find => ClientMessage::Find { session: from_postcard(payload, "request to find a session")? },
        Kind::Change => {
            let (session, change) = from_postcard(payload, "change request")?;
            ClientMessage::Change { session, change }
        }
        Kind::Listen => ClientMessage::Listen,
        Kind::Share => ClientMessage::Share(from_postcard(payload, "request for a link")?),
        Kind::Shares => ClientMessage::Shares,
        Kind::Unshare => ClientMessage::Unshare(from_postcard(payload, "request to revoke links")?),
        Kind::Redeem => {
            let (token, viewer) = from_postcard(payload, "link")?;
            ClientMessage::Redeem { token, viewer }
        }
        Kind::Stats => ClientMessage::Stats,
        Kind::Ping => ClientMessage::Ping,
        Kind::Resync => ClientMessage::Resync,
        Kind::Hello => return Err(WireError::Payload { what: "request: a second hello" }),
        Kind::Relay => return Err(WireError::Payload { what: "request: a relay after the hello" }),
        Kind::HelloReply | Kind::Reply | Kind::Output | Kind::Event | Kind::Screen | Kind::Provider => {
            return Err(WireError::Payload { what: "request" });
        }
    })
}

fn decode_print(frame: &Frame) -> Result<ClientMessage, WireError> {
    let session = frame.payload.first_chunk().ok_or(WireError::Payload { what: "print" })?;
    let statement = ProviderStatement::Print { offset: frame.a, data: frame.payload.slice(PRINT_HEAD..) };
    Ok(ClientMessage::Statement { session: SessionId::from_bytes(*session), statement })
}

/// What input begins with: its session, and its place in a stream, if it has one.
fn input_head(payload: &[u8]) -> Option<(SessionId, Option<InputPosition>)> {
    let (session, rest) = payload.split_first_chunk::<16>()?;
    let (stream, rest) = rest.split_first_chunk::<16>()?;
    let offset = u64::from_le_bytes(*rest.first_chunk()?);
    let position = match InputStreamId::from_bytes(*stream) {
        Some(stream) => Some(InputPosition { stream, offset }),
        None if offset == 0 => None,
        None => return None,
    };
    Some((SessionId::from_bytes(*session), position))
}

/// A request as a frame.
///
/// # Errors
/// [`WireError::TooLong`] when it exceeds its kind's limit: too much input at once, or too large a command line and
/// environment.
pub fn encode_request(id: u64, request: &ClientMessage) -> Result<Bytes, WireError> {
    match request {
        ClientMessage::List => encode(Kind::List, id, &()),
        ClientMessage::Create(create) => encode(Kind::Create, id, create),
        ClientMessage::Attach(attach) => encode(Kind::Attach, id, attach),
        ClientMessage::Detach => encode(Kind::Detach, id, &()),
        ClientMessage::Input { session, position, data } => {
            encode_input((Kind::Input, id), *session, *position, data)
        }
        ClientMessage::RemoteInput { session, position, data } => {
            encode_input((Kind::RemoteInput, id), *session, Some(*position), data)
        }
        ClientMessage::Provide(provide) => encode(Kind::Provide, id, provide),
        ClientMessage::Statement { session, statement: ProviderStatement::Print { offset, data } } => {
            let length = PRINT_HEAD + data.len();
            check_length(Kind::Print, length)?;
            let header = Header { length, kind: Kind::Print, a: *offset }.encode();
            Ok([&header[..], &session.to_bytes(), data].concat().into())
        }
        ClientMessage::Statement { session, statement } => encode(Kind::Statement, id, &(session, statement)),
        ClientMessage::Resize { session, size, pixels } => encode(Kind::Resize, id, &(session, size, pixels)),
        ClientMessage::RemoteResize { session, window } => encode(Kind::RemoteResize, id, &(session, window)),
        ClientMessage::Rules { session } => encode(Kind::Rules, id, session),
        ClientMessage::Kill { session } => encode(Kind::Kill, id, session),
        ClientMessage::Environment { session } => encode(Kind::Environment, id, session),
        ClientMessage::ReadScreen { session, lines } => encode(Kind::ReadScreen, id, &(session, lines)),
        ClientMessage::Wait { session } => encode(Kind::Wait, id, session),
        ClientMessage::Find { session } => encode(Kind::Find, id, session),
        ClientMessage::Change { session, change } => encode(Kind::Change, id, &(session, change)),
        ClientMessage::Listen => encode(Kind::Listen, id, &()),
        ClientMessage::Share(share) => encode(Kind::Share, id, share),
        ClientMessage::Shares => encode(Kind::Shares, id, &()),
        ClientMessage::Unshare(which) => encode(Kind::Unshare, id, which),
        ClientMessage::Redeem { token, viewer } => encode(Kind::Redeem, id, &(token, viewer)),
        ClientMessage::Stats => encode(Kind::Stats, id, &()),
        ClientMessage::Ping => encode(Kind::Ping, id, &()),
        ClientMessage::Resync => encode(Kind::Resync, id, &()),
    }
}

fn encode_input(
    (kind, id): (Kind, u64),
    session: SessionId,
    position: Option<InputPosition>,
    data: &[u8],
) -> Result<Bytes, WireError> {
    let length = INPUT_HEAD + data.len();
    check_length(kind, length)?;
    let header = Header { length, kind, a: id }.encode();
    let stream = position.map_or([0; 16], |position| position.stream.to_bytes());
    let offset = position.map_or(0, |position| position.offset).to_le_bytes();
    Ok([&header[..], &session.to_bytes(), &stream, &offset, data].concat().into())
}

/// Reads what a relay says of its client.
///
/// # Errors
/// [`WireError::Payload`] when it is not that, or has more than 1024 variables.
pub fn decode_relay(payload: &[u8]) -> Result<Relay, WireError> {
    let relay: Relay = from_postcard(payload, "relay")?;
    if relay.is_bounded() { Ok(relay) } else { Err(WireError::Payload { what: "relay" }) }
}

/// What a relay says of its client, as a frame.
///
/// # Errors
/// [`WireError::TooLong`] when the environment is too large.
pub fn encode_relay(relay: &Relay) -> Result<Bytes, WireError> {
    encode(Kind::Relay, 0, relay)
}

/// Reads the payload of a reply.
///
/// # Errors
/// [`WireError::Payload`] when it is none.
pub fn decode_reply(payload: &[u8]) -> Result<Result<Reply, RequestError>, WireError> {
    from_postcard(payload, "reply")
}

/// A reply as a frame. One too long for a frame, such as a list of very many sessions, becomes an error.
#[must_use]
pub fn encode_reply(id: u64, reply: &Result<Reply, RequestError>) -> Bytes {
    encode(Kind::Reply, id, reply).unwrap_or_else(|error| {
        let refused = RequestError::Failed { what: "encoding the reply".into(), why: error.to_string() };
        encode(Kind::Reply, id, &Err::<Reply, _>(refused)).unwrap_or_default()
    })
}

/// Reads the payload of an event.
///
/// # Errors
/// [`WireError::Payload`] when it is none.
pub fn decode_event(payload: &[u8]) -> Result<Event, WireError> {
    from_postcard(payload, "event")
}

/// An event as a frame.
///
/// # Errors
/// [`WireError::TooLong`] for a notice of more than 64 KiB.
pub fn encode_event(event: &Event) -> Result<Bytes, WireError> {
    encode(Kind::Event, 0, event)
}

fn from_postcard<T: DeserializeOwned>(payload: &[u8], what: &'static str) -> Result<T, WireError> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        _ => Err(WireError::Payload { what }),
    }
}

/// Reads what a provider is told, and of which session.
///
/// # Errors
/// [`WireError::Payload`] when it is none.
pub fn decode_news(payload: &[u8]) -> Result<(SessionId, ProviderNews), WireError> {
    from_postcard(payload, "news of a provided session")
}

/// What a provider is told of a session, as a frame.
///
/// # Errors
/// [`WireError::TooLong`] for more than 64 KiB that was typed at once.
pub fn encode_news(session: SessionId, news: &ProviderNews) -> Result<Bytes, WireError> {
    encode(Kind::Provider, 0, &(session, news))
}

fn encode(kind: Kind, a: u64, message: &impl Serialize) -> Result<Bytes, WireError> {
    let payload = postcard::to_stdvec(message).map_err(|_| WireError::Payload { what: "message" })?;
    check_length(kind, payload.len())?;
    let header = Header { length: payload.len(), kind, a }.encode();
    Ok([&header[..], &payload].concat().into())
}

fn check_length(kind: Kind, length: usize) -> Result<(), WireError> {
    let limit = kind.limit();
    if length > limit { Err(WireError::TooLong { kind: kind as u8, length, limit }) } else { Ok(()) }
}
