//! The integration tests, in one binary. Long runs have a binary of their own.

#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod support;
