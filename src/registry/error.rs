//! One small error for each operation that can be refused. What was refused is handed back.

use std::fmt;

use crate::{ClientId, sync::Sender};

/// The builder was asked for a number of shards that is not a power of two from 1 to 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{requested} shards asked for, but the count must be a power of two from 1 to 4096")]
pub struct ShardCountError {
    /// What was asked for.
    pub requested: usize,
}

/// A client was not registered; its sender is handed back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError<M> {
    /// Another client is registered under this id. Unregister it, or take an id from `next_client_id`.
    #[error("{id} is already registered")]
    DuplicateId {
        /// The id that is taken.
        id: ClientId,
        /// The refused client's sender.
        sender: Sender<M>,
    },
    /// The receiving end is already gone, so nothing could ever be delivered.
    #[error("the channel of {id} is already closed")]
    Closed {
        /// The id that was to be used; it is still free.
        id: ClientId,
        /// The refused client's sender.
        sender: Sender<M>,
    },
}

impl<M> RegisterError<M> {
    /// Gives the refused client's sender back.
    pub fn into_inner(self) -> Sender<M> {
        match self {
            Self::DuplicateId { sender, .. } | Self::Closed { sender, .. } => sender,
        }
    }
}

/// A client was not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// No client is registered under this id: it never was, or it has been unregistered.
    #[error("{0} is not registered")]
    UnknownClient(ClientId),
}

/// A client was not detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// No client is registered under this id: it never was, or it has been unregistered.
    #[error("{0} is not registered")]
    UnknownClient(ClientId),
    /// The client watches no session.
    #[error("{0} is not attached to a session")]
    NotAttached(ClientId),
}

/// A message was not sent to a client; it is handed back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// No client is registered under this id: it never was, or it has been unregistered.
    #[error("the client is not registered")]
    UnknownClient(M),
    /// The client's queue has no room. The client stays registered and the skip is counted.
    #[error("the client's queue is full")]
    Full(M),
    /// The client's receiving end is gone. The client has been unregistered.
    #[error("the client's channel is closed")]
    Closed(M),
}

impl<M> SendError<M> {
    /// Gives the refused message back.
    pub fn into_inner(self) -> M {
        match self {
            Self::UnknownClient(message) | Self::Full(message) | Self::Closed(message) => message,
        }
    }

    /// Whether a later try may succeed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

// Written by hand, because a derived `Debug` would ask for `M: Debug` and so keep these from being errors for every
// message type.
impl<M> fmt::Debug for RegisterError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId { id, .. } => {
                f.debug_struct("DuplicateId").field("id", id).finish_non_exhaustive()
            }
            Self::Closed { id, .. } => f.debug_struct("Closed").field("id", id).finish_non_exhaustive(),
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownClient(_) => "UnknownClient(..)",
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}
