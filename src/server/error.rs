//! Why a server could not be set up.

use super::listener::BindError;
use crate::registry::ShardCountError;

/// A server was not bound; nothing was left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The shard count is not a power of two from 1 to 4096.
    #[error(transparent)]
    Shards(#[from] ShardCountError),
    /// A setting is out of bounds.
    #[error("{what} is {value}, but must be from {min} to {max}")]
    OutOfBounds {
        /// Which setting.
        what: &'static str,
        /// What was asked for.
        value: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// The socket could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
}
