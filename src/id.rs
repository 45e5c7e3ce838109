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

impl From<ClientId> for u64 {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

/// What the names of sessions are hashed with. It must never change.
const NAMES: Uuid = Uuid::from_u128(0x4f5a_86f0_3cfb_4a5b_9d1e_6e0c_2b7d_91a4);

/// Names one session: a room, a topic, or here the output of one terminal.
///
/// The server draws session ids at random and never reuses one. An embedder may make them from integers or
/// [names](Self::named); if it uses
/// an id again after the session ended, messages still in flight from the old session reach the members of the new.
///
/// ```
/// use fugue_server::SessionId;
///
/// let room = SessionId::from(7_u64);
/// assert_eq!(room.to_string(), "00000000-0000-0000-0000-000000000007");
/// assert_eq!("00000000-0000-0000-0000-000000000007".parse(), Ok(room));
///
/// assert_eq!(SessionId::named("lobby"), SessionId::named("lobby"));
/// assert_ne!(SessionId::named("lobby"), SessionId::named("Lobby"));
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

    /// The id that belongs to `name`, the same one in every process: a room's or a topic's, say.
    ///
    /// It is a SHA-1 hash of the name (a UUID of version 5), so it never equals one drawn at random or made from a
    /// `u64`. Each call hashes: where that counts, keep the id. Somebody may prepare two names of one id, at great
    /// cost; nobody can find another name for yours.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(Uuid::new_v5(&NAMES, name.as_bytes()))
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

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Self {
        id.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_same_id_in_every_process_and_release() {
        for (name, id) in
            [("lobby", "08f6d1ce-a47e-5cd0-bcae-2dfa8484f3c8"), ("", "9d9447d3-4e26-5235-b83a-8e8c4b102489")]
        {
            assert_eq!(SessionId::named(name).to_string(), id, "{name:?}");
        }
        assert_eq!(SessionId::named("lobby").as_uuid().get_version_num(), 5);
    }

    #[test]
    fn ids_come_out_as_they_went_in() {
        assert_eq!(u64::from(ClientId::from(7)), 7);
        let id = Uuid::from_u128(7);
        assert_eq!(Uuid::from(SessionId::from(id)), id);
        assert_eq!(SessionId::from_bytes(SessionId::from(7_u64).to_bytes()), SessionId::from(7_u128));
    }
}
