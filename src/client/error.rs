//! Why a connection was not made, or ended, or a request was not answered.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    message::{CloseReason, RequestError},
    wire::{VERSION, WireError},
};

/// A connection was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing listens there.
    #[error("no server listens on {}; `fugue-server new` starts one, with a session", .0.display())]
    NoServer(PathBuf),
    /// A server listens, and will not talk to this client.
    #[error("the server refused the connection: {0}")]
    Refused(String),
    /// A server of another version of the protocol listens there.
    #[error(
        "the server{} speaks protocol version {server}, and this client version {}; use the client of the server's \
         version, or end the server, and its sessions with it, and start it again",
        named(*process), VERSION
    )]
    OtherVersion {
        /// The server's version.
        server: u16,
        /// The server's process, where that is known.
        process: Option<i32>,
    },
    /// Something listens there, and does not answer: it may be stopped, or too busy.
    #[error("the server{} did not answer within {} s; {}", on(path.as_deref()), waited.as_secs(), remedy(*process))]
    NoAnswer {
        /// The socket, if it was connected to by its path.
        path: Option<PathBuf>,
        /// The server's process, where that is known.
        process: Option<i32>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server belongs to another user, who must not get what this one types.
    #[error(
        "the server on {} belongs to user {owner}; choose a socket in a directory of your own",
        path.display()
    )]
    NotOurs {
        /// The socket.
        path: PathBuf,
        /// The user id its server runs as.
        owner: u32,
    },
    /// The system refused.
    #[error("connecting to {} failed", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The stream to the server could not be opened.
    #[error("opening a stream to the server failed")]
    Stream(#[source] io::Error),
    /// What answered is no server of ours.
    #[error("what listens there does not speak this protocol")]
    Wire(#[from] WireError),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// A request failed, or the connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused the request; the connection stands.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The server closed the connection and said why.
    #[error("closed by the server: {0}")]
    Closed(CloseReason),
    /// The connection ended without a word: the server is gone.
    #[error("the connection to the server was lost")]
    Lost,
    /// The server did not answer in time. The connection stands: an answer that comes later is still to be received.
    #[error(
        "the server did not answer within {} s, and may still do what was asked; {}",
        waited.as_secs(), remedy(*process)
    )]
    NoAnswer {
        /// The server's process, where that is known.
        process: Option<i32>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// More has arrived than is kept while an answer is awaited. Nothing is lost: receive it with `next`.
    #[error(
        "too much arrived before the answer; receive it with `next`, where the answer will come too, and use `send` \
         while a session prints"
    )]
    Backlog {
        /// The id that the answer will bear; `None` when the request was not sent.
        request: Option<u64>,
    },
    /// The server is older than links are; nothing was asked.
    #[error(
        "this server is of an older build, which knows no links; `fugue-server restart` has the installed one go on"
    )]
    NoLinks,
    /// The server is older than provided sessions are; nothing was asked.
    #[error(
        "this server is of an older build, in which clients can't provide sessions; `fugue-server restart` has the \
         installed one go on"
    )]
    NoProviders,
    /// The server sent what can't be understood.
    #[error(
        "the server sent what this client does not understand, though both speak protocol version {VERSION}: they may \
         be of different builds; what was asked may have been done. Use the client that came with the server, or end \
         the server, and its sessions with it, and start it again"
    )]
    Wire(#[source] WireError),
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Cut | WireError::Io(_) => Self::Lost,
            other => Self::Wire(other),
        }
    }
}

fn on(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!(" on {}", path.display()))
}

fn named(process: Option<i32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}

/// What to do about a server that does not answer.
fn remedy(process: Option<i32>) -> String {
    match process {
        Some(process) => format!(
            "its process {process} may be stopped (`kill -CONT {process}` lets it go on) or too busy: try again, or \
             end it, and its sessions with it, with `kill -9 {process}`"
        ),
        None => {
            "its process may be stopped or too busy: try again, or find it with `ps` and end it".to_owned()
        }
    }
}
