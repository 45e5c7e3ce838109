//! What is said between clients and server, apart from how it looks on the wire.
//!
//! [`ServerMessage`] travels through the registry to a connection's writer. `ClientMessage` is a client's request;
//! each is answered once, by a `Reply`. `Event`s tell a client what it did not ask for.

#[cfg(feature = "server")]
mod environment;
#[cfg(feature = "server")]
mod input_place;
#[cfg(feature = "server")]
mod link_token;
#[cfg(feature = "server")]
mod pace;
#[cfg(feature = "server")]
mod pixels;
#[cfg(feature = "server")]
mod provide;
#[cfg(feature = "server")]
mod relay;
#[cfg(feature = "server")]
mod reply;
#[cfg(feature = "server")]
mod request;
#[cfg(feature = "server")]
mod settings;
#[cfg(feature = "server")]
mod share;
#[cfg(feature = "server")]
mod statement;

use bytes::Bytes;

#[cfg(feature = "server")]
pub(crate) use self::share::kept_label;
#[cfg(feature = "server")]
pub use self::{
    environment::{ClientEnvironment, VARIABLES},
    input_place::{InputPosition, InputStreamId},
    link_token::{LinkId, LinkToken, NotAToken, ViewerId},
    pace::{Pace, SizePolicy},
    pixels::PixelSize,
    provide::{Provide, Provided, ProviderId, Takes, WhenLost},
    relay::Relay,
    reply::{
        AttachedTo, ChangedSession, ClientState, ClientStats, CloseReason, Event, ExitStatus, Happened,
        ProviderState, Reply, RequestError, ServerStats, SessionEvent, SessionInfo, SessionRules,
        SessionScreen, SessionState, SessionStats,
    },
    request::{
        Access, Attach, AttachOptions, ClientMessage, Create, DetachWhich, OnLag, SessionChange, Share,
        StartAt, Target, UnshareWhich,
    },
    settings::{ControlCharacter, TerminalFlag, TerminalSettings},
    share::{LinkInfo, LinkedSession, Redeemed, SharedLink, Unshared},
    statement::{
        MAX_DRAWING, MAX_DRAWING_PIECE, MAX_NOTICE, MAX_PRINT, ProviderNews, ProviderStatement,
        STATEMENT_COST,
    },
};
use crate::SessionId;

/// The server's message to its clients' queues, and the registry's default message type.
///
/// Cloning one copies no output, which is shared. The server's own registry shares the messages as well:
/// `ClientRegistry<Arc<ServerMessage>>`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerMessage {
    /// A piece of a session's output stream.
    ///
    /// The stream is addressed by absolute byte offset. A receiver that was skipped sees it in the offset: equal to
    /// the end of what it has, this is next; lower, it has it already; higher, it missed what lies between.
    Output {
        /// Whose output this is. A client that just left a session may still receive some of it.
        session: SessionId,
        /// Where `data` starts in the session's stream.
        offset: u64,
        /// Raw bytes as the program printed them; characters and escape sequences may be cut anywhere.
        data: Bytes,
    },
    /// The session's log has its final entry: look there for the last bytes and the exit status.
    Ended {
        /// The session that ended.
        session: SessionId,
    },
    /// The session's terminal has another size.
    Resized {
        /// Whose terminal.
        session: SessionId,
    },
    /// A line for the person at the terminal, delivered beside the output and never in it. Best effort: a client
    /// whose queue is full is skipped.
    Notice {
        /// The text, without a trailing newline.
        text: String,
    },
}
