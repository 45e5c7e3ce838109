//! Telling the embedder of clients that left: once each, outside every lock, and never one telling within another.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use super::{ClientRegistry, Detached};
use crate::{
    ClientId,
    sync::{self, Mutex, Rank},
};

/// A client that is no longer registered, as [`RegistryBuilder::on_departure`](super::RegistryBuilder::on_departure)
/// is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure {
    /// The client. Its id is free, and may have been registered again.
    pub client: ClientId,
    /// What it left behind in the session it watched, if any.
    pub detached: Option<Detached>,
}

/// What an embedder wants done about a departure.
pub(super) type Hook<M> = Box<dyn FnMut(&ClientRegistry<M>, Departure) + Send>;

/// The hook, and who it has not been told of.
///
/// A hook that broadcasts may find other clients gone, and telling of those would be a call deeper each time. So
/// the thread that has the hook tells of all departures, and others leave theirs to it.
pub(super) struct Departures<M>(Mutex<Telling<M>>);

struct Telling<M> {
    /// `None` while a thread has it.
    hook: Option<Hook<M>>,
    /// Empty unless a thread has the hook. There are no more than clients that left while it ran.
    untold: VecDeque<Departure>,
}

impl<M> Departures<M> {
    pub(super) fn new(hook: Hook<M>) -> Self {
        Self(Mutex::new(Rank::Leaf, Telling { hook: Some(hook), untold: VecDeque::new() }))
    }

    /// Tells of `departure`, and of those that others leave to this thread meanwhile; or leaves it to a thread that is
    /// telling.
    ///
    /// # Panics
    /// As the hook does, once all have been told.
    pub(super) fn tell(&self, registry: &ClientRegistry<M>, departure: Departure) {
        sync::assert_no_lock_is_held("a departure was told of");
        let mut hook = self.0.with(|telling| {
            telling.untold.push_back(departure);
            telling.hook.take()
        });
        let mut panic = None;
        while let Some((next, mut tell)) = hook.and_then(|hook| self.next(hook)) {
            let told = catch_unwind(AssertUnwindSafe(|| tell(registry, next)));
            panic = panic.or(told.err());
            hook = Some(tell);
        }
        if let Some(panic) = panic
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    /// The next one to be told of; or puts the hook back, if all have been.
    fn next(&self, hook: Hook<M>) -> Option<(Departure, Hook<M>)> {
        self.0.with(|telling| match telling.untold.pop_front() {
            Some(next) => Some((next, hook)),
            None => {
                telling.hook = Some(hook);
                None
            }
        })
    }
}
