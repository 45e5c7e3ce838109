//! Which clients count: for how fast a session goes on, and for its size.

use serde::{Deserialize, Serialize};

/// Which clients a session's program waits for. A lossless one it always waits for, while that makes progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Pace {
    /// The fastest: some client is always close to the newest byte.
    #[default]
    Fastest,
    /// The slowest that takes at least 64 KiB in 10 s.
    Slowest,
    /// None.
    Free,
}

/// What a session's terminal is sized by. Read-only clients never count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SizePolicy {
    /// The client that typed, attached or was resized last.
    #[default]
    Latest,
    /// The fewest columns and the fewest lines of all clients.
    Smallest,
    /// The most columns and the most lines of all clients.
    Largest,
    /// Nothing: it stays as it was at the start.
    Fixed,
}
