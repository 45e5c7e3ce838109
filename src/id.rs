//! The two ids everything else is keyed by.
//!
//! Both are plain values: copying, comparing and hashing them costs a few instructions. Neither says anything about
//! whether the client or the session exists; only the registry knows that.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use uuid::Uuid;

/// Names one connection to a server, for as long as the registry lives.
///
/// [`ClientRegistry::next_client_id`](crate::ClientRegistry::next_client_id) hands them out in rising order and never
/// twice. An embedder may choose its own; both kinds share one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientId(pub u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client-{}", self.0)
    }
}

impl From<u64> for ClientId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

/// Names one session: a room, a topic, or here the output of one terminal.
///
/// The server draws session ids at random and never reuses one. An embedder may make them from integers; if it uses
/// an id again after the session ended, messages still in flight from the old session reach the members of the new.
///
/// ```
/// use fugue_server::SessionId;
///
/// let room = SessionId::from(7_u64);
/// assert_eq!(room.to_string(), "00000000-0000-0000-0000-000000000007");
/// assert_eq!("00000000-0000-0000-0000-000000000007".parse(), Ok(room));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "server", derive(serde::Serialize, serde::Deserialize))]
pub struct SessionId(Uuid);

impl Hash for SessionId {
    /// As one integer: hashed as a slice of bytes, as derived, it takes several times as long.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.to_bytes()));
    }
}

impl SessionId {
    /// Draws an id from the system's random source: 122 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id as the UUID it is.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// The id as 16 bytes, in the order they travel in.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id that [`to_bytes`](Self::to_bytes) gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<u64> for SessionId {
    fn from(id: u64) -> Self {
        Self(Uuid::from_u128(u128::from(id)))
    }
}

impl From<u128> for SessionId {
    fn from(id: u128) -> Self {
        Self(Uuid::from_u128(id))
    }
}

impl std::str::FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}
