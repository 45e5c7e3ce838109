//! Streams of input, and places in them.

use std::num::NonZeroU128;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One stream of input to one session, from whichever connections: drawn at random, by whoever types.
///
/// A server keeps how far it has taken each, so that what is sent twice is typed once: of 1024 streams a session, for
/// ten minutes after the last use. What it has taken is typed, though the connection that brought it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputStreamId(NonZeroU128);

impl InputStreamId {
    /// Draws an id from the system's random source: 122 random bits.
    #[must_use]
    pub fn random() -> Self {
        // It says its version, so it is not zero.
        Self(NonZeroU128::new(Uuid::new_v4().as_u128()).unwrap_or(NonZeroU128::MIN))
    }

    /// The id as 16 bytes, in the order they travel in.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_le_bytes()
    }

    /// The id that [`to_bytes`](Self::to_bytes) gave; `None` of zeros, which are no stream.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        match NonZeroU128::new(u128::from_le_bytes(bytes)) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
}

/// A place in a stream of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputPosition {
    /// Which stream.
    pub stream: InputStreamId,
    /// Bytes of it before this place.
    pub offset: u64,
}
