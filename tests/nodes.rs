//! Nodes, from outside: the binary that people run, on two machines that are two sockets here, and a real nats-server.
//!
//! `FUGUE_NATS_SERVER` says which nats-server; otherwise it is the one in the PATH. Without any, the tests say so.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[path = "nodes/broker.rs"]
mod broker;
#[path = "nodes/chaos.rs"]
mod chaos;
#[path = "nodes/commands.rs"]
mod commands;
#[path = "nodes/machine.rs"]
mod machine;
#[path = "nodes/mirrors.rs"]
mod mirrors;
#[path = "nodes/operating.rs"]
mod operating;
#[path = "nodes/proxy.rs"]
mod proxy;
#[path = "support/random.rs"]
mod random;
#[path = "nodes/sessions.rs"]
mod sessions;
#[path = "nodes/slow.rs"]
mod slow;
#[path = "nodes/viewer.rs"]
mod viewer;
#[path = "nodes/walkthrough.rs"]
mod walkthrough;
