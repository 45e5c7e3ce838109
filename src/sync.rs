//! The one place that names the locks, the atomics, the counted pointer and the channel that the registry and the
//! sessions are made of.
//!
//! Ordinary builds get std's and tokio's. A build for a model checker, with `--cfg fugue_model` and either `--cfg
//! fugue_loom` or `--cfg fugue_shuttle`, gets those of the checker, which runs the models (`models` in the registry and
//! in the session) under every interleaving, or under thousands of random ones; tokio's channel and its notification,
//! which the checkers can't see into, are then replaced by small ones made of checked parts. Ordinary tests run the
//! models too, some times each on real threads. See CONTRIBUTING.
//!
//! Every lock has a [`Rank`], and debug builds panic where locks are taken in an order that isn't theirs.

#[cfg(any(
    all(fugue_model, not(any(fugue_loom, fugue_shuttle))),
    all(not(fugue_model), any(fugue_loom, fugue_shuttle))
))]
compile_error!(
    "a model checker takes `--cfg fugue_model` and either `fugue_loom` or `fugue_shuttle`: see .ci/models.sh"
);

#[cfg(test)]
pub(crate) mod channel;
#[cfg(test)]
pub(crate) mod model;
#[cfg(fugue_model)]
mod notify;
mod order;

use std::{fmt, sync::PoisonError};

use self::order::Order;
pub(crate) use self::{
    names::*,
    order::{Rank, assert_no_lock_is_held},
};

#[cfg(not(fugue_model))]
mod names {
    pub(super) use std::sync::Mutex as Lock;
    #[cfg(any(test, feature = "server"))]
    pub(crate) use std::sync::atomic::AtomicBool;
    #[cfg(feature = "server")]
    pub(crate) use std::sync::atomic::fence;
    pub(crate) use std::sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    };

    #[cfg(feature = "server")]
    pub(crate) use tokio::sync::Notify;
    #[cfg(any(test, feature = "server"))]
    pub(crate) use tokio::sync::mpsc::Receiver;
    #[cfg(test)]
    pub(crate) use tokio::sync::mpsc::channel as queue;
    pub(crate) use tokio::sync::mpsc::{Sender, error::TrySendError};
}

#[cfg(fugue_loom)]
mod names {
    pub(super) use loom::sync::Mutex as Lock;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use tokio::sync::mpsc::error::TrySendError;

    pub(crate) use super::{
        channel::{Receiver, Sender, channel as queue},
        model::Arc,
        notify::Notify,
    };
}

#[cfg(fugue_shuttle)]
mod names {
    pub(super) use shuttle::sync::Mutex as Lock;
    pub(crate) use shuttle::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    };
    pub(crate) use tokio::sync::mpsc::error::TrySendError;

    pub(crate) use super::{
        channel::{Receiver, Sender, channel as queue},
        notify::Notify,
    };
}

/// A lock with a place in the order of locks.
///
/// Critical sections are closures: their extent is visible, they can't cross an `.await`, and no guard outlives them.
/// What runs in one can't leave what it guards half changed, so the poison flag carries no news.
pub(crate) struct Mutex<T> {
    order: Order,
    lock: Lock<T>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(rank: Rank, guarded: T) -> Self {
        Self { order: Order::new(rank), lock: Lock::new(guarded) }
    }

    /// Runs `critical` under the lock.
    ///
    /// # Panics
    /// In debug builds, when this thread holds a lock that must not be held when this one is taken.
    #[inline]
    #[track_caller]
    pub(crate) fn with<R>(&self, critical: impl FnOnce(&mut T) -> R) -> R {
        let _held = self.order.take();
        critical(&mut self.lock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// The hashing of shards and maps: its keys differ for each registry, so that nobody can aim at one shard, and are the
/// same in every run of a model, which must do the same things again.
pub(crate) fn hasher() -> ahash::RandomState {
    if cfg!(fugue_model) { ahash::RandomState::with_seeds(1, 2, 3, 4) } else { ahash::RandomState::new() }
}
