//! What the crate promises, tested from outside: one module for each part, one file for each promise.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[cfg(feature = "cli")]
mod cli;
#[path = "support/random.rs"]
mod random;
mod registry;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod support;
#[cfg(feature = "server")]
mod terminals;
