//! Sessions whose program is a client: what a provider asks for.

use serde::{Deserialize, Serialize};

use super::{InputStreamId, Pace, SizePolicy};
use crate::{SessionId, SessionName, TerminalSize};

/// A session that its sender is going to print to. It lives in the server, and is watched, typed into, recorded and
/// ended as any other.
///
/// What the provider prints is addressed by absolute offset, which may begin anywhere. A provider that lost its
/// connection provides the same id again within 30 s, and goes on at the head that the reply names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provide {
    /// The session's id.
    pub id: SessionId,
    /// Who provides it. The same provider takes its session over from a connection that it lost.
    pub provider: ProviderId,
    /// Its name, unique among live sessions. One that is provided again keeps the name that it has.
    pub name: SessionName,
    /// The size of its terminal now.
    pub size: TerminalSize,
    /// The offset of the first byte that the provider can give.
    pub start: u64,
    /// What its terminal is sized by. With [`SizePolicy::Fixed`], the provider is not asked for another size.
    pub size_policy: SizePolicy,
    /// Which readers its provider waits for.
    pub pace: Pace,
    /// What lists show as its program.
    pub command: String,
    /// What lists show as its title until its output sets one.
    pub title: Option<String>,
    /// Whether it can be typed into.
    pub takes: Takes,
    /// What becomes of typing while its provider is lost.
    pub when_lost: WhenLost,
}

impl Provide {
    /// A session of this name and size that begins at offset 0, keeps its size, and can't be typed into.
    ///
    /// # Panics
    /// If the system has no random source.
    #[must_use]
    pub fn new(name: SessionName, size: TerminalSize) -> Self {
        Self {
            id: SessionId::random(),
            provider: ProviderId::random(),
            name,
            size,
            start: 0,
            size_policy: SizePolicy::Fixed,
            pace: Pace::Fastest,
            command: String::new(),
            title: None,
            takes: Takes::Nothing,
            when_lost: WhenLost::Refused,
        }
    }
}

/// Who provides sessions: drawn at random, once a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProviderId([u8; 16]);

impl ProviderId {
    /// Draws an id from the system's random source.
    ///
    /// # Panics
    /// If the system has no random source.
    #[must_use]
    pub fn random() -> Self {
        Self(InputStreamId::random().to_bytes())
    }
}

/// What a provider takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Takes {
    /// Nothing: typing is refused, and a kill ends the session in the server.
    #[default]
    Nothing,
    /// What is typed, sizes that are wanted, kills, and whether somebody wants every byte.
    Requests,
}

/// What becomes of typing while a provider's connection is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WhenLost {
    /// It is refused. What the provider was given and did not answer waits for it all the same.
    #[default]
    Refused,
    /// It waits for the provider, or for the session's end.
    Waits,
}

/// A session that is provided now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provided {
    /// Its id.
    pub session: SessionId,
    /// Its name.
    pub name: SessionName,
    /// The offset of the byte that comes next.
    pub head: u64,
    /// What the provider may spend until it is granted more. Each
    /// [statement](crate::message::ProviderStatement) says what it costs.
    pub credit: u64,
}

impl Provided {
    pub(crate) const fn new(session: SessionId, name: SessionName, head: u64, credit: u64) -> Self {
        Self { session, name, head, credit }
    }
}
