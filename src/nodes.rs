//! Sessions of other machines: a node follows sessions of its own server for the nodes that watch them, and provides
//! the sessions of others that somebody watches here.
//!
//! All but the carriers is pure: no I/O and no clock. `now` is the time since any moment of the caller's.

mod allow;
#[cfg(test)]
mod bus;
mod carrier;
mod core;
mod directory;
mod host;
mod message;
mod requests;
mod subject;
#[cfg(test)]
mod tests;
mod typing;
mod watch;
mod window;

/// What takes bytes from other nodes.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    pub(crate) use super::message::fuzz as messages;
}
