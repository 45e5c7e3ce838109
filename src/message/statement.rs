//! What a provider says of its session, and what it is told.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ExitStatus, InputStreamId, PixelSize, RequestError};
use crate::TerminalSize;

/// What each print, skip and size costs a provider beside its data, in bytes.
pub const STATEMENT_COST: u64 = 128;

/// The most bytes of one print.
pub const MAX_PRINT: usize = 64 * 1024;

/// The most bytes of one piece of a drawing, and of all pieces before a skip.
pub const MAX_DRAWING_PIECE: usize = 256 * 1024;
/// See [`MAX_DRAWING_PIECE`].
pub const MAX_DRAWING: usize = 4 * 1024 * 1024;

/// The longest line for those who watch, in bytes.
pub const MAX_NOTICE: usize = 1024;

/// What a provider says of its session. None of this is answered. One that breaks a rule closes the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProviderStatement {
    /// Output, from 1 byte to [`MAX_PRINT`].
    Print {
        /// Where it begins, which is where the output before it ended.
        offset: u64,
        /// What the program printed.
        data: Bytes,
    },
    /// A piece of a drawing, which belongs to the next skip: up to [`MAX_DRAWING_PIECE`] each, and [`MAX_DRAWING`] in
    /// all. The first resets the terminal, as in [`Incoming::Screen`](crate::client::Incoming::Screen).
    Drawing {
        /// Bytes for a terminal.
        data: Bytes,
    },
    /// What lies before this offset is missing. Viewers are told of that gap. If there was a drawing, it is what the
    /// screen shows there; it may also stand where nothing is missing.
    Skip {
        /// Where the output goes on.
        to: u64,
    },
    /// The terminal has this size from here on.
    Resized {
        /// The size.
        size: TerminalSize,
    },
    /// The session ends, after all that was said before.
    EndWith {
        /// How its program ended.
        status: ExitStatus,
    },
    /// A line for those who watch, at most [`MAX_NOTICE`] bytes. Control characters are left out. Who is behind may not
    /// be told.
    Notice {
        /// The line.
        text: String,
    },
    /// The program is out of reach since so many seconds, though this connection stands; `None` once it is not. Lists
    /// say so.
    Silent {
        /// Seconds.
        seconds: Option<u64>,
    },
    /// A request is answered: what was typed is, or the session is going to end.
    Answer {
        /// The request's number.
        number: u64,
        /// Why it was not done, if it was not.
        answer: Result<(), RequestError>,
    },
}

impl ProviderStatement {
    /// What it costs the provider.
    #[must_use]
    pub fn cost(&self) -> u64 {
        match self {
            Self::Print { data, .. } => data.len() as u64 + STATEMENT_COST,
            Self::Skip { .. } | Self::Resized { .. } => STATEMENT_COST,
            Self::Drawing { .. } | Self::EndWith { .. } | Self::Answer { .. } => 0,
            Self::Notice { .. } | Self::Silent { .. } => 0,
        }
    }
}

/// What a provider is told of its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProviderNews {
    /// It may have spent so much by now, since it provided the session on this connection.
    Credit {
        /// All that was granted.
        granted: u64,
    },
    /// Somebody typed. Answered once the program has it: until then it is told again on each connection, under another
    /// number. The stream and the offset say whether it was typed already.
    Typed {
        /// What to answer by.
        number: u64,
        /// Which stream of input.
        stream: InputStreamId,
        /// Bytes of it before these.
        offset: u64,
        /// They come from a terminal that shows the session, and may hold what it answered to the program's questions.
        /// See [`ClientMessage::RemoteInput`](super::ClientMessage::RemoteInput).
        from_terminal: bool,
        /// At most 64 KiB.
        data: Bytes,
    },
    /// Those who watch want this size, all together. The latest counts. Not answered.
    Resize {
        /// The size; `None` once nobody watches who wants one, so that the size stays as it is.
        size: Option<TerminalSize>,
        /// The same in pixels, where that is known.
        pixels: Option<PixelSize>,
    },
    /// Whether somebody watches who wants every byte, and may hold the program back for that. Until this is said, there
    /// is nobody. Not answered.
    Lossless {
        /// Whether there is.
        is_wanted: bool,
    },
    /// Somebody wants the session ended. Answered with what comes of that; the end follows. If it does not within 10 s,
    /// the server ends the session by itself.
    Kill {
        /// What to answer by.
        number: u64,
    },
    /// The session is over, and nothing more is said of it.
    Ended {
        /// How.
        status: ExitStatus,
    },
}
