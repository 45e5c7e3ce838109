//! What a connection's reader, and others, ask of its writer.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    SessionId, TerminalSize,
    message::{AttachOptions, ClientEnvironment, CloseReason},
    session::{Claim, Session},
};

#[derive(Debug)]
pub(super) enum Command {
    /// Write this frame.
    Frame(Bytes),
    /// Write the list of sessions. Made by the writer, like the next, because it may be large.
    List { request: u64 },
    /// Write the list of links.
    Shares { request: u64 },
    /// Write the server's statistics.
    Stats { request: u64 },
    /// Write what a session shows, with so many lines above it.
    ReadScreen { request: u64, session: Arc<Session>, lines: u32 },
    /// Watch a session from now on, and reply.
    Attach(Box<AttachCommand>),
    /// Watch nothing from now on, and reply to this request.
    Detach { request: u64 },
    /// The client's terminal has this size now.
    Resize { request: u64, size: TerminalSize },
    /// Draw the screen again, and reply to this request.
    Resync { request: u64 },
    /// The client interrupted the program: it is not to see what was printed before, if it watches this session.
    Purge(SessionId),
    /// Write the reason, and end.
    Close(CloseReason),
    /// The server is stopping.
    Stop,
}

#[derive(Debug)]
pub(super) struct AttachCommand {
    pub(super) request: u64,
    pub(super) session: Arc<Session>,
    pub(super) options: AttachOptions,
    /// That of the client, if it is one of a person's.
    pub(super) environment: Option<Box<ClientEnvironment>>,
    /// Dropping it lets a new session begin to print, now that it is watched.
    pub(super) begin: Option<oneshot::Sender<()>>,
    /// Told what the client got: its claim on the session's size, if it has one. Dropped where it got nothing.
    pub(super) attached: oneshot::Sender<Option<Claim>>,
}
