//! What a client asks for.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{SessionId, SessionName, TerminalSize};

/// A client's request. Each has exactly one reply, under the id it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientMessage {
    /// Which sessions there are. Answered by `Reply::Sessions`.
    List,
    /// Starts a session, and attaches to it if asked. Answered by `Reply::Created` or `Reply::Attached`.
    Create(Create),
    /// Starts watching a session. A client watches one: this leaves the one it watched before. Answered by
    /// `Reply::Attached`; every output before that reply is the old session's, every one after it the new one's.
    Attach(Attach),
    /// Stops watching. Answered by `Reply::Detached`, after which no output follows.
    Detach,
    /// Bytes for a session's terminal, as if typed there. Answered by `Reply::Written` once the terminal has them; a
    /// client may have 64 of these and 256 KiB outstanding.
    Input {
        /// The session to type into; watching it is not needed.
        session: SessionId,
        /// At most 64 KiB.
        data: Bytes,
    },
    /// Changes the size of a session's terminal. Answered by `Reply::Resized`.
    Resize {
        /// The session whose terminal it is.
        session: SessionId,
        /// The new size.
        size: TerminalSize,
    },
    /// Hangs up a session's program, and kills it if it won't go. Answered by `Reply::Killed` once it is gone.
    Kill {
        /// Which session.
        session: Target,
    },
    /// What the server counts. Answered by `Reply::Stats`.
    Stats,
    /// Answered by `Reply::Pong`.
    Ping,
}

/// A session to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Its name, unique among live sessions.
    pub name: SessionName,
    /// The program and its arguments, as the bytes they are; at least the program.
    pub command: Vec<Vec<u8>>,
    /// Its whole environment. The server adds `FUGUE_SESSION` and `FUGUE_SOCKET`, and `TERM` where it is
    /// missing.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where it starts; `None` for the server's own directory.
    pub cwd: Option<Vec<u8>>,
    /// Its terminal's size at the start.
    pub size: TerminalSize,
    /// Whether this client watches it, from its first byte. Its output waits for the attach.
    pub attach: Option<View>,
}

/// Which session to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which session.
    pub session: Target,
    /// How to watch it.
    pub view: View,
}

/// A session by what people call it, or by what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The live session of this name.
    Name(SessionName),
    /// This session and no other: what resuming after a lost connection needs.
    Id(SessionId),
}

/// How a client watches a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Where in the stream to start.
    pub start: StartAt,
    /// What happens when the client can't keep up.
    pub on_lag: OnLag,
}

/// Where in a session's stream a client starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartAt {
    /// With what is printed from now on.
    Now,
    /// With the oldest byte that is still held.
    Oldest,
    /// With exactly this byte, or not at all: where a lost connection left off.
    Offset(u64),
}

/// What happens to a client that can't keep up with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnLag {
    /// It is closed, with the reason, once what it needs next is no longer held. It holds nobody back, unless no
    /// other client is faster.
    #[default]
    Disconnect,
    /// The program waits for it, as long as it takes at least 64 KiB in 10 s.
    Lossless,
}
