//! The handshake: the one exchange whose bytes are the same in every version, so that any two versions can tell each
//! other apart and say what to do.

use bytes::{Bytes, BytesMut};

use super::{HEADER_LEN, Header, Kind, VERSION, WireError};
use crate::ClientId;

/// Starts both payloads: five letters, a zero, then the sender's version in two bytes.
const MAGIC: [u8; 6] = *b"fugue\0";
const FIXED_LEN: usize = 8;

/// The client's first frame: who speaks which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The client's protocol version.
    pub version: u16,
}

impl Hello {
    /// This version's hello, as a frame.
    #[must_use]
    pub fn encode() -> Bytes {
        frame(Kind::Hello, &fixed(VERSION))
    }

    /// Reads the payload of a hello frame. Bytes after the fixed ones are a later version's business.
    ///
    /// # Errors
    /// [`WireError::Payload`] when it does not start as every version's does.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let (version, _) = split(payload).ok_or(WireError::Payload { what: "hello" })?;
        Ok(Self { version })
    }
}

/// The server's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloReply {
    /// The connection stands.
    Welcome {
        /// The id the registry knows this connection by.
        client: ClientId,
    },
    /// The server will not talk; it closes after this.
    Refused {
        /// The server's protocol version.
        version: u16,
        /// What to do about it.
        why: String,
    },
}

impl HelloReply {
    /// The reply as a frame: fixed bytes, 1 and the client's id; or 0 and the reason as text.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (version, rest) = match self {
            Self::Welcome { client } => (VERSION, [&[1], &client.0.to_le_bytes()[..]].concat()),
            Self::Refused { version, why } => (*version, [&[0], why.as_bytes()].concat()),
        };
        frame(Kind::HelloReply, &[&fixed(version)[..], &rest].concat())
    }

    /// Reads the payload of a hello reply.
    ///
    /// # Errors
    /// [`WireError::Payload`] when it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let malformed = WireError::Payload { what: "hello reply" };
        let Some((version, rest)) = split(payload) else { return Err(malformed) };
        match rest {
            [1, id @ ..] => match id.try_into() {
                Ok(id) => Ok(Self::Welcome { client: ClientId(u64::from_le_bytes(id)) }),
                Err(_) => Err(malformed),
            },
            [0, why @ ..] => Ok(Self::Refused { version, why: String::from_utf8_lossy(why).into_owned() }),
            _ => Err(malformed),
        }
    }
}

fn fixed(version: u16) -> [u8; FIXED_LEN] {
    let mut bytes = [0; FIXED_LEN];
    bytes[..6].copy_from_slice(&MAGIC);
    bytes[6..].copy_from_slice(&version.to_le_bytes());
    bytes
}

fn split(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (fixed, rest) = payload.split_first_chunk::<FIXED_LEN>()?;
    let version = u16::from_le_bytes([fixed[6], fixed[7]]);
    (fixed[..6] == MAGIC).then_some((version, rest))
}

fn frame(kind: Kind, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_LEN + payload.len());
    frame.extend_from_slice(&Header { length: payload.len(), kind, a: 0 }.encode());
    frame.extend_from_slice(payload);
    frame.freeze()
}
