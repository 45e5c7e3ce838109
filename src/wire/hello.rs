//! The handshake: the one exchange whose bytes are the same in every version, so that any two versions can tell each
//! other apart, speak the newest that both know, or say what to do.

use bytes::{Bytes, BytesMut};

#[cfg(feature = "cli")]
use super::Side;
use super::{HEADER_LEN, Header, Kind, OLDEST_VERSION, VERSION, WireError};
use crate::ClientId;

/// Starts both payloads: five letters, a zero, then a version in two bytes.
const MAGIC: [u8; 6] = *b"fugue\0";
const FIXED_LEN: usize = 8;

/// Bytes of a hello's payload: what is fixed, the oldest version (2), features (8), and zeros, for later versions.
const HELLO_LEN: usize = 64;

/// The server knows clients whose terminal takes whatever size a session has.
pub(crate) const FOLLOWS: u64 = 1;

/// The server knows links.
pub(crate) const LINKS: u64 = 2;

/// The server knows sessions that a client provides, and terminals that show its own elsewhere.
pub(crate) const PROVIDES: u64 = 4;

/// Features of this side: bits that say what it can do beyond its version. Those that a receiver does not know it
/// ignores.
const FEATURES: u64 = FOLLOWS | LINKS | PROVIDES;

/// The client's first frame: who speaks which versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The newest version that the client speaks.
    pub version: u16,
    /// The oldest.
    pub oldest: u16,
    /// What it can do beyond, a bit each.
    pub features: u64,
}

impl Hello {
    /// This side's hello, as a frame.
    #[must_use]
    pub fn encode() -> Bytes {
        let mut payload = [0; HELLO_LEN];
        payload[..FIXED_LEN].copy_from_slice(&fixed(VERSION));
        payload[FIXED_LEN..10].copy_from_slice(&OLDEST_VERSION.to_le_bytes());
        payload[10..18].copy_from_slice(&FEATURES.to_le_bytes());
        frame(Kind::Hello, &payload)
    }

    /// Reads the payload of a hello frame. Up to version 3 it was the fixed bytes alone. What this version does not
    /// know of it is a later version's business.
    ///
    /// # Errors
    /// [`WireError::Payload`] when it does not start as every version's does.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let (version, rest) = split(payload).ok_or(WireError::Payload { what: "hello" })?;
        let Some((oldest, rest)) = rest.split_first_chunk() else {
            return Ok(Self { version, oldest: version, features: 0 });
        };
        let features = rest.first_chunk().map_or(0, |bits| u64::from_le_bytes(*bits));
        Ok(Self { version, oldest: u16::from_le_bytes(*oldest), features })
    }

    /// The version to speak with this client: the newest that it and this side know.
    #[must_use]
    pub fn agreed(&self) -> Option<u16> {
        let newest = self.version.min(VERSION);
        (newest >= self.oldest.max(OLDEST_VERSION)).then_some(newest)
    }
}

/// The server's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloReply {
    /// The connection stands.
    Welcome {
        /// The version that both speak from now on.
        version: u16,
        /// The id the registry knows this connection by.
        client: ClientId,
        /// What the server can do beyond that version, a bit each.
        features: u64,
    },
    /// The server will not talk; it closes after this.
    Refused {
        /// The server's newest protocol version.
        version: u16,
        /// What to do about it.
        why: String,
    },
}

impl HelloReply {
    /// The reply as a frame: fixed bytes; then 1, the client's id and features; or 0 and the reason as text.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (version, rest) = match self {
            Self::Welcome { version, client, features } => {
                (*version, [&[1], &client.0.to_le_bytes()[..], &features.to_le_bytes()].concat())
            }
            Self::Refused { version, why } => (*version, [&[0], why.as_bytes()].concat()),
        };
        frame(Kind::HelloReply, &[&fixed(version)[..], &rest].concat())
    }

    /// A reply that lets a client in.
    #[must_use]
    pub const fn welcome(version: u16, client: ClientId) -> Self {
        Self::Welcome { version, client, features: FEATURES }
    }

    /// Reads the payload of a hello reply. Bytes after those of a welcome are a later version's business.
    ///
    /// # Errors
    /// [`WireError::Payload`] when it is none.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let malformed = WireError::Payload { what: "hello reply" };
        let Some((version, rest)) = split(payload) else { return Err(malformed) };
        match rest {
            [1, rest @ ..] => {
                let Some((id, rest)) = rest.split_first_chunk() else { return Err(malformed) };
                let features = rest.first_chunk().map_or(0, |bits| u64::from_le_bytes(*bits));
                Ok(Self::Welcome { version, client: ClientId(u64::from_le_bytes(*id)), features })
            }
            [0, why @ ..] => Ok(Self::Refused { version, why: String::from_utf8_lossy(why).into_owned() }),
            _ => Err(malformed),
        }
    }

    /// The version that a hello reply's payload names, where it is in every version's, whatever follows it.
    #[must_use]
    pub fn version(payload: &[u8]) -> Option<u16> {
        split(payload).map(|(version, _)| version)
    }
}

/// Where a server's hello reply begins in bytes that may begin with something else.
#[cfg(feature = "cli")]
pub(crate) fn find_hello_reply(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(bytes, &MAGIC).find_map(|magic| {
        let at = magic.checked_sub(HEADER_LEN)?;
        let header = Header::decode(bytes[at..].first_chunk()?, Side::Server);
        matches!(header, Ok(Ok(Header { kind: Kind::HelloReply, .. }))).then_some(at)
    })
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
