//! The gateway, from outside: the binary that people run, asked over TCP and websockets as browsers do.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[path = "web/configured.rs"]
mod configured;
#[path = "web/crowds.rs"]
mod crowds;
#[path = "web/flow.rs"]
mod flow;
#[path = "web/gateway.rs"]
mod gateway;
#[path = "web/handshake.rs"]
mod handshake;
#[path = "web/http.rs"]
mod http;
#[path = "web/index.rs"]
mod index;
#[path = "web/interrupt.rs"]
mod interrupt;
#[path = "web/metrics.rs"]
mod metrics;
#[path = "web/monitoring.rs"]
mod monitoring;
#[path = "web/resuming.rs"]
mod resuming;
#[allow(dead_code, unused_imports, reason = "shared with the other tests, which need more of it")]
#[path = "support/mod.rs"]
mod support;
