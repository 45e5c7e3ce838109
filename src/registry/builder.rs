//! How an embedder sizes a registry.

use std::marker::PhantomData;

use super::{
    ClientRegistry, Inner,
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
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct RegistryBuilder<M> {
    shards: Option<usize>,
    expected_clients: usize,
    message: PhantomData<fn() -> M>,
}

impl<M> RegistryBuilder<M> {
    pub(super) fn new() -> Self {
        Self { shards: None, expected_clients: 0, message: PhantomData }
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
            }),
        }
    }
}
