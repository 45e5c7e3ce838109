//! Knowing which clients watch which terminal session, and getting large bursts of PTY output to all of them: fast,
//! without one slow client hurting another, and without a byte lost silently.
//!
//! - [`ClientRegistry`] knows who is connected and who watches what, and broadcasts without waiting for anyone. It
//!   serves any program whose clients are in a room or on a topic each, and is all that `default-features = false`
//!   builds.
//! - `Server` (feature `server`) runs programs on real PTYs and broadcasts each one's output to its clients over a Unix
//!   socket; `Client` is the other end.
//! - The `fugue-server` binary (feature `cli`) is both, for people.
//!
//! ```
//! use fugue_server::{ClientRegistry, SessionId};
//! use tokio::sync::mpsc;
//!
//! let registry = ClientRegistry::builder().shards(64).build()?;
//! let (sender, mut queue) = mpsc::channel(16);
//! let client = registry.next_client_id();
//! registry.register_client(client, sender)?;
//! registry.attach_to_session(client, SessionId::from(1_u64))?;
//!
//! assert_eq!(registry.broadcast_to_session(SessionId::from(1_u64), "hello").sent, 1);
//! assert_eq!(queue.try_recv()?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Models are of the registry and the sessions; what has sockets would want tokio's channel.
#![cfg_attr(fugue_model, allow(dead_code, unused_imports, private_interfaces, unreachable_pub))]

#[cfg(all(feature = "cli", not(fugue_model)))]
#[doc(hidden)]
pub mod cli;
#[cfg(all(feature = "server", not(fugue_model)))]
pub mod client;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
#[doc(hidden)]
pub mod fuzz;
mod id;
#[cfg(feature = "server")]
pub mod keeper;
#[cfg(feature = "server")]
pub mod message;
#[cfg(not(feature = "server"))]
mod message;
#[cfg(feature = "server")]
mod name;
#[cfg(all(feature = "cli", any(test, fuzzing, feature = "nodes"), not(fugue_model)))]
#[cfg_attr(not(feature = "nodes"), allow(dead_code, reason = "tests and fuzzing use a part of it"))]
mod nodes;
#[cfg(all(test, feature = "server", not(fugue_model)))]
#[path = "../tests/support/random.rs"]
mod random;
mod registry;
#[cfg(all(feature = "server", not(fugue_model)))]
mod server;
#[cfg(feature = "server")]
mod session;
mod sync;
#[cfg(feature = "server")]
mod terminal;
#[cfg(all(feature = "web", not(fugue_model)))]
mod web;
#[cfg(feature = "server")]
pub mod wire;

#[cfg(all(feature = "server", not(fugue_model)))]
pub use client::Client;
pub use id::{ClientId, SessionId};
pub use message::ServerMessage;
#[cfg(feature = "server")]
pub use name::{NameError, SessionName};
pub use registry::{
    AttachError, Attached, Broadcast, ClientEntry, ClientGuard, ClientRegistry, Delivery, Departure,
    DetachError, Detached, Publisher, RegisterError, RegistryBuilder, RegistryStats, SendError,
    ShardCountError, Unregistered,
};
#[cfg(all(feature = "server", not(fugue_model)))]
pub use server::{BindError, Clients, Server, ServerBuilder, ServerError, Sessions, default_socket_path};
#[cfg(feature = "server")]
pub use session::{Feed, FeedClosed, Feeds};
#[cfg(feature = "server")]
pub use terminal::{Picture, ScreenModel, SizeError, TerminalSize};

/// The README's example, compiled and run with the other documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
