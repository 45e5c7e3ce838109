//! What the registry counts, and how it counts without slowing a delivery that goes well.

use super::Delivery;
use crate::sync::{AtomicU64, Ordering};

/// Deliveries by outcome since the registry was made.
///
/// All accesses are `Relaxed`: the counts order nothing, and readers want sums, not a moment in time.
#[derive(Debug, Default)]
pub(super) struct Totals {
    sent: AtomicU64,
    full: AtomicU64,
    closed: AtomicU64,
}

impl Totals {
    /// Adds from any thread. An outcome that did not occur costs nothing.
    pub(super) fn add(&self, delivery: Delivery) {
        for (total, count) in self.by_outcome(delivery) {
            if count != 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Adds where the caller is the only writer, so that no locked instruction is needed.
    pub(super) fn add_as_only_writer(&self, delivery: Delivery) {
        for (total, count) in self.by_outcome(delivery) {
            if count != 0 {
                total.store(total.load(Ordering::Relaxed) + count, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn read(&self) -> Delivery {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Delivery { sent: read(&self.sent), full: read(&self.full), closed: read(&self.closed) }
    }

    fn by_outcome(&self, delivery: Delivery) -> [(&AtomicU64, u64); 3] {
        let Delivery { sent, full, closed } = delivery;
        [(&self.sent, sent), (&self.full, full), (&self.closed, closed)]
    }
}

/// A reading of the whole registry, from [`ClientRegistry::stats`](crate::ClientRegistry::stats).
///
/// Shards are read one after another while others change, so the figures belong to about the same time, not to one
/// moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryStats {
    /// Clients in each shard of the client map.
    pub clients_per_shard: Vec<usize>,
    /// Sessions in each shard of the session map: those with a member or a publisher.
    pub sessions_per_shard: Vec<usize>,
    /// Publishers that are alive.
    pub publishers: usize,
    /// Deliveries by outcome since the registry was made, one for each message and client it was meant for.
    pub deliveries: Delivery,
}

impl RegistryStats {
    /// Registered clients.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients_per_shard.iter().sum()
    }

    /// Sessions with a member or a publisher.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions_per_shard.iter().sum()
    }
}
