//! Sessions of other machines: a node follows sessions of its own server for the nodes that watch them, and provides
//! the sessions of others that somebody watches here.
//!
//! The protocol is pure: no I/O and no clock. `now` is the time since any moment of the caller's. `nats` carries it
//! between machines, `local` is what a node is to its server, and `run` is the process that has all of them.

mod allow;
#[cfg(test)]
mod bus;
mod carrier;
#[cfg(feature = "nodes")]
mod control;
mod core;
mod directory;
mod figure;
mod host;
#[cfg(feature = "nodes")]
mod journal;
#[cfg(feature = "nodes")]
mod local;
mod message;
#[cfg(feature = "nodes")]
mod nats;
mod permissions;
mod requests;
#[cfg(feature = "nodes")]
mod run;
mod subject;
#[cfg(test)]
mod tests;
mod typing;
mod watch;
mod window;

#[cfg(all(feature = "nodes", feature = "web"))]
pub(crate) use self::control::figures_soon;
#[cfg(feature = "nodes")]
pub(crate) use self::{
    allow::{AllowList, AllowRule},
    control::{ControlAnswer, ControlRequest, NodeLine, ask},
    figure::NodeFigure,
    nats::{NatsAddress, NatsConfig},
    permissions::{nsc_options, permissions},
    run::{NodeConfig, RunningNode},
    subject::{NodeName, Tenant},
};

/// What takes bytes from other nodes.
#[cfg(all(feature = "cli", any(test, fuzzing)))]
pub(crate) mod fuzz {
    pub(crate) use super::message::fuzz as messages;
}
