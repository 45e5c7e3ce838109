//! The one place that names the lock, the atomics and the channel the registry is made of.
//!
//! Everything in `registry` takes them from here, so that a build for a model checker can put its own in their place.

pub(crate) use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

pub(crate) use tokio::sync::mpsc::{Sender, error::TrySendError};
