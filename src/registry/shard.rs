//! A map cut into cache-padded shards: the only place in the registry that takes a lock.
//!
//! A key's hash picks its shard; each shard is a [`Mutex`] around a [`HashMap`] on cache lines of its own, so that
//! threads working on different shards share no line. Critical sections are closures: their extent is visible, they
//! can't cross an `.await`, and no guard outlives them. What they may do is look up, insert, remove and clone a
//! handle; never send, wake, drop a last handle, log, or call a caller's code. So nothing can panic in one.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher},
};

use crossbeam_utils::CachePadded;

use super::{error::ShardCountError, stats::Totals};
use crate::sync::{self, Mutex, Rank};

/// One shard's map.
pub(super) type Map<K, V> = HashMap<Key<K>, V, IdentityHasher>;

/// An id and its hash, which picks the shard and the place in the shard's map: it is computed once for both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<K> {
    hash: u64,
    pub(super) id: K,
}

impl<K> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on the hash that a [`Key`] has.
#[derive(Clone, Copy, Default)]
pub(super) struct IdentityHasher(u64);

impl BuildHasher for IdentityHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for IdentityHasher {
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "a key writes its hash as an integer");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How many shards a map is cut into: a power of two from 1 to 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardCount(usize);

impl ShardCount {
    pub(super) const MAX: usize = 4096;

    /// Shards for each hardware thread when the embedder does not say.
    ///
    /// Of 1 to 4096 shards on two hardware threads, 256 came closest to being as fast as any in each of 32 cases (four
    /// mixes of operations, 1 to 8 threads, sessions of their own or shared): within the best one's spread in 29, and
    /// within 5 % of it in all, where 64 were up to 37 % slower and 16 up to 48 % (`perf/runs/2026-11-25/shards.txt`).
    /// Walking all shards, for counts, stays in the microseconds.
    const PER_THREAD: usize = 128;

    pub(super) fn new(count: usize) -> Result<Self, ShardCountError> {
        if count.is_power_of_two() && count <= Self::MAX {
            Ok(Self(count))
        } else {
            Err(ShardCountError { requested: count })
        }
    }

    /// So many for each hardware thread, rounded up to a power of two.
    pub(super) fn for_this_machine() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self((threads * Self::PER_THREAD).next_power_of_two().min(Self::MAX))
    }

    pub(super) fn get(self) -> usize {
        self.0
    }
}

/// A lock, what it guards, and the shard's share of the delivery counts.
struct Shard<K, V> {
    map: Mutex<Map<K, V>>,
    totals: Totals,
}

pub(super) struct Shards<K, V> {
    shards: Box<[CachePadded<Shard<K, V>>]>,
    /// Its seeds differ for each registry, so that nobody can aim at one shard.
    hasher: ahash::RandomState,
}

impl<K: Copy + Eq + Hash, V> Shards<K, V> {
    /// Cuts a map into `count` shards with room for about `expected` entries between them. `rank` gives the rank of
    /// the lock at an index.
    pub(super) fn new(rank: impl Fn(usize) -> Rank, count: ShardCount, expected: usize) -> Self {
        let per_shard = expected.div_ceil(count.get());
        let shards = (0..count.get())
            .map(|index| {
                let map = Map::with_capacity_and_hasher(per_shard, IdentityHasher::default());
                CachePadded::new(Shard { map: Mutex::new(rank(index), map), totals: Totals::default() })
            })
            .collect();
        Self { shards, hasher: sync::hasher() }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    /// What finds `id` here.
    pub(super) fn key(&self, id: K) -> Key<K> {
        Key { hash: self.hasher.hash_one(id), id }
    }

    /// The shard of `key`.
    ///
    /// The map inside uses the hash's lowest bits for its buckets and its highest seven for its tags, so the shard
    /// comes from bits between them: keys of one shard still spread over its buckets.
    pub(super) fn index(&self, key: &Key<K>) -> usize {
        (key.hash >> 40) as usize & (self.shards.len() - 1)
    }

    /// Runs `critical` under the lock of `key`'s shard.
    pub(super) fn with<R>(&self, key: &Key<K>, critical: impl FnOnce(&mut Map<K, V>) -> R) -> R {
        self.at(self.index(key), critical)
    }

    /// Runs `critical` under the locks of both keys' shards, taken in ascending index; once when they are the same.
    pub(super) fn with_two<R>(
        &self,
        a: &Key<K>,
        b: &Key<K>,
        critical: impl FnOnce(Pair<'_, K, V>) -> R,
    ) -> R {
        let (first, second) = (self.index(a), self.index(b));
        match first.cmp(&second) {
            std::cmp::Ordering::Equal => self.at(first, |map| critical(Pair::Same(map))),
            std::cmp::Ordering::Less => self.at(first, |a| self.at(second, |b| critical(Pair::Two(a, b)))),
            std::cmp::Ordering::Greater => self.at(second, |b| self.at(first, |a| critical(Pair::Two(a, b)))),
        }
    }

    /// Runs `visit` on each shard's delivery counts and map in turn, one lock at a time.
    pub(super) fn each(&self, mut visit: impl FnMut(&Totals, &mut Map<K, V>)) {
        for (index, shard) in self.shards.iter().enumerate() {
            self.at(index, |map| visit(&shard.totals, map));
        }
    }

    /// The delivery counts of `key`'s shard; no lock guards them.
    pub(super) fn totals(&self, key: &Key<K>) -> &Totals {
        &self.shards[self.index(key)].totals
    }

    /// As [`with`](Self::with), and gives the shard's totals as well.
    pub(super) fn with_and_totals<R>(
        &self,
        key: &Key<K>,
        critical: impl FnOnce(&mut Map<K, V>) -> R,
    ) -> (R, &Totals) {
        let index = self.index(key);
        (self.at(index, critical), &self.shards[index].totals)
    }

    /// Runs `critical` under the lock of the shard at `index`.
    pub(super) fn at<R>(&self, index: usize, critical: impl FnOnce(&mut Map<K, V>) -> R) -> R {
        self.shards[index].map.with(critical)
    }
}

/// The maps of two keys, which may share one shard.
pub(super) enum Pair<'a, K, V> {
    Same(&'a mut Map<K, V>),
    Two(&'a mut Map<K, V>, &'a mut Map<K, V>),
}

impl<K, V> Pair<'_, K, V> {
    pub(super) fn first(&mut self) -> &mut Map<K, V> {
        match self {
            Self::Same(map) | Self::Two(map, _) => map,
        }
    }

    pub(super) fn second(&mut self) -> &mut Map<K, V> {
        match self {
            Self::Same(map) | Self::Two(_, map) => map,
        }
    }
}

#[cfg(test)]
#[cfg(all(debug_assertions, not(fugue_model)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::ClientRegistry;

    fn panics(section: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(section)).is_err()
    }

    #[test]
    fn shards_are_locked_clients_first_then_sessions_in_ascending_order() {
        let registry = ClientRegistry::<()>::builder().shards(4).build().unwrap().inner;
        let (clients, sessions) = (&registry.clients, &registry.sessions);

        clients.at(3, |_| sessions.at(0, |_| sessions.at(1, |_| sessions.at(3, |_| {}))));

        assert!(panics(|| clients.at(0, |_| clients.at(1, |_| {}))), "two clients' shards");
        assert!(panics(|| sessions.at(0, |_| clients.at(0, |_| {}))), "clients under sessions");
        assert!(panics(|| sessions.at(1, |_| sessions.at(0, |_| {}))), "descending");
        assert!(panics(|| sessions.at(1, |_| sessions.at(1, |_| {}))), "the same once more");
        assert!(panics(|| sessions.at(0, |_| sessions.each(|_, _| {}))), "a walk under a shard");
    }
}
