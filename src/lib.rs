//! Knowing which clients watch which terminal session, and getting large bursts of PTY output to all of them.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "server")]
pub mod client;
mod id;
#[cfg(feature = "server")]
pub mod message;
#[cfg(not(feature = "server"))]
mod message;
#[cfg(feature = "server")]
mod name;
mod registry;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod session;
mod sync;
#[cfg(feature = "server")]
pub mod wire;

#[cfg(feature = "server")]
pub use client::Client;
pub use id::{ClientId, SessionId};
pub use message::ServerMessage;
#[cfg(feature = "server")]
pub use name::{NameError, SessionName, SizeError, TerminalSize};
pub use registry::{
    AttachError, Attached, ClientEntry, ClientGuard, ClientRegistry, Delivery, DetachError, Detached,
    Publisher, RegisterError, RegistryBuilder, RegistryStats, SendError, ShardCountError, Unregistered,
};
#[cfg(feature = "server")]
pub use server::{BindError, Server, ServerBuilder, ServerError, default_socket_path};
