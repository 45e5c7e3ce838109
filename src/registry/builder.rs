//! How an embedder sizes a registry.

use std::fmt;

use super::{
    ClientRegistry, Departure, Inner,
    departures::{Departures, Hook},
    error::ShardCountError,
    shard::{ShardCount, Shards},
};
use crate::sync::{Arc, AtomicU64, Rank};

/// Sets up a [`ClientRegistry`], from [`ClientRegistry::builder`].
///
/// ```
/// use fugue_server::ClientRegistry;
///
/// let registry: ClientRegistry<String> = ClientRegistry::builder().shards(64).expected_clients(10_000).build()?;
/// assert_eq!(registry.shard_count(), 64);
/// # Ok::<(), fugue_server::ShardCountError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct RegistryBuilder<M> {
    shards: Option<usize>,
    expected_clients: usize,
    on_departure: Option<Hook<M>>,
}

impl<M> RegistryBuilder<M> {
    pub(super) fn new() -> Self {
        Self { shards: None, expected_clients: 0, on_departure: None }
    }

    /// How many shards the clients are hashed into, and the sessions likewise: a power of two from 1 to 4096.
    ///
    /// More shards let more threads register, attach and look up at once; each costs a cache-padded lock (128 to
    /// 256 bytes) in both maps and a step in every walk over all of them. The default is 128 for each hardware
    /// thread, rounded up to a power of two, and 4096 at most.
    pub fn shards(mut self, count: usize) -> Self {
        self.shards = Some(count);
        self
    }

    /// About how many clients there will be at once, so that their map need not grow. Not a limit. The default is 0.
    pub fn expected_clients(mut self, count: usize) -> Self {
        self.expected_clients = count;
        self
    }

    /// Calls `hook` once for each client that is no longer registered: unregistered, its guard dropped, or taken out by
    /// whatever found its channel closed. Where leaving is announced, or something is kept for each client, this is the
    /// place to do it: nothing leaves past it.
    ///
    /// The hook runs outside every lock, and may use the registry it is given, also to broadcast. (One that held a
    /// handle of its own would keep the registry from ever being freed.) It runs on one thread at a time: that which
    /// found the departure, or one that was telling already and takes it over. So it may run a little later than what
    /// it is told of, and not in the order in which clients left; it should be short. If it panics, so does whatever
    /// called it, once it has been told of all others. The registry's end is no departure.
    ///
    /// # Examples
    /// Names for the clients, and a word when one leaves:
    /// ```
    /// use std::{collections::HashMap, sync::{Arc, Mutex}};
    ///
    /// use fugue_server::{ClientId, ClientRegistry, SessionId};
    /// use tokio::sync::mpsc;
    ///
    /// let names = Arc::new(Mutex::new(HashMap::<ClientId, String>::new()));
    /// let registry = {
    ///     let names = Arc::clone(&names);
    ///     ClientRegistry::builder()
    ///         .on_departure(move |registry, gone| {
    ///             let name = names.lock().unwrap().remove(&gone.client).unwrap_or_default();
    ///             if let Some(left) = gone.detached {
    ///                 let _ = registry.broadcast_to_session(left.session, format!("{name} left"));
    ///             }
    ///         })
    ///         .build()?
    /// };
    ///
    /// let room = SessionId::from(1_u64);
    /// let mut queues = Vec::new();
    /// for name in ["ann", "bob"] {
    ///     let (sender, queue) = mpsc::channel(8);
    ///     let client = registry.next_client_id();
    ///     names.lock().unwrap().insert(client, name.to_owned());
    ///     registry.register_client(client, sender)?;
    ///     registry.attach_to_session(client, room)?;
    ///     queues.push(queue);
    /// }
    /// drop(queues.remove(0));
    /// let _ = registry.broadcast_to_session(room, "is anybody there?".to_owned());
    /// assert_eq!(queues[0].try_recv()?, "is anybody there?");
    /// assert_eq!(queues[0].try_recv()?, "ann left");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_departure(mut self, hook: impl FnMut(&ClientRegistry<M>, Departure) + Send + 'static) -> Self {
        self.on_departure = Some(Box::new(hook));
        self
    }

    /// Makes the registry.
    ///
    /// # Errors
    /// [`ShardCountError`] when the shard count is not a power of two from 1 to 4096.
    pub fn build(self) -> Result<ClientRegistry<M>, ShardCountError> {
        let count = self.shards.map_or_else(|| Ok(ShardCount::for_this_machine()), ShardCount::new)?;
        Ok(self.with_shards(count))
    }

    pub(super) fn with_shards(self, count: ShardCount) -> ClientRegistry<M> {
        ClientRegistry {
            inner: Arc::new(Inner {
                clients: Shards::new(|_| Rank::Clients, count, self.expected_clients),
                sessions: Shards::new(Rank::Sessions, count, 0),
                next_client_id: AtomicU64::new(1),
                departures: self.on_departure.map(Departures::new),
            }),
        }
    }
}

impl<M> fmt::Debug for RegistryBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("shards", &self.shards)
            .field("expected_clients", &self.expected_clients)
            .finish_non_exhaustive()
    }
}
