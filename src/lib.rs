//! Knowing which clients watch which terminal session, and getting large bursts of PTY output to all of them.

mod id;
mod message;
mod registry;
mod sync;

pub use id::{ClientId, SessionId};
pub use message::ServerMessage;
pub use registry::{
    AttachError, Attached, ClientEntry, ClientGuard, ClientRegistry, Delivery, DetachError, Detached,
    Publisher, RegisterError, RegistryBuilder, RegistryStats, SendError, ShardCountError, Unregistered,
};
