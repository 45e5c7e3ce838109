//! What model builds have in place of tokio's bounded channel, made of parts that a model checker sees into.
//!
//! It has what the registry and its models use, no more, and keeps to the same contract (`tests`, which run against
//! both). It is no stricter than tokio's where that matters: `capacity` and `is_closed` are one acquiring load, so a
//! model that needs more from them goes wrong here too.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::PoisonError,
    task::{Context, Poll, Waker, ready},
};

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::names::{Arc, AtomicUsize, Lock, Ordering};

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests;

/// Set in `room` once the receiver is gone.
const CLOSED: usize = 1;
/// One free place, in `room`.
const PLACE: usize = 2;

struct ChannelState<T> {
    /// Free places, in units of [`PLACE`], and [`CLOSED`].
    room: AtomicUsize,
    senders: AtomicUsize,
    queue: Lock<ChannelQueue<T>>,
}

struct ChannelQueue<T> {
    messages: VecDeque<T>,
    /// The last sender is gone.
    ended: bool,
    waiter: Option<Waker>,
}

/// A bounded channel of `capacity` places.
pub(crate) fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a bounded channel has at least one place");
    let shared = Arc::new(ChannelState {
        room: AtomicUsize::new(capacity * PLACE),
        senders: AtomicUsize::new(1),
        queue: Lock::new(ChannelQueue { messages: VecDeque::new(), ended: false, waiter: None }),
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> ChannelState<T> {
    fn with<R>(&self, critical: impl FnOnce(&mut ChannelQueue<T>) -> R) -> R {
        critical(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes `places` of the room.
    fn reserve(&self, places: usize) -> Result<(), TrySendError<()>> {
        let mut room = self.room.load(Ordering::Acquire);
        loop {
            if room & CLOSED != 0 {
                return Err(TrySendError::Closed(()));
            }
            let Some(left) = room.checked_sub(places * PLACE) else {
                return Err(TrySendError::Full(()));
            };
            match self.room.compare_exchange(room, left, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => room = now,
            }
        }
    }

    fn give_back(&self, places: usize) {
        self.room.fetch_add(places * PLACE, Ordering::Release);
    }

    /// Puts a message where a place was reserved for it.
    fn push(&self, message: T) {
        let waiter = self.with(|queue| {
            queue.messages.push_back(message);
            queue.waiter.take()
        });
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

pub(crate) struct Sender<T> {
    shared: Arc<ChannelState<T>>,
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.shared.reserve(1) {
            Ok(()) => {
                self.shared.push(message);
                Ok(())
            }
            Err(TrySendError::Full(())) => Err(TrySendError::Full(message)),
            Err(TrySendError::Closed(())) => Err(TrySendError::Closed(message)),
        }
    }

    pub(crate) fn try_reserve_many(&self, places: usize) -> Result<Permits<'_, T>, TrySendError<()>> {
        self.shared.reserve(places)?;
        Ok(Permits { shared: &self.shared, left: places })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.shared.room.load(Ordering::Acquire) / PLACE
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.room.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(crate) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: what clones it has one, so the count is not zero and orders nothing.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Acquire and release: the last one to go comes after all others.
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let waiter = self.shared.with(|queue| {
            queue.ended = true;
            queue.waiter.take()
        });
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// Reserved places; those that are left when this drops are free again.
pub(crate) struct Permits<'a, T> {
    shared: &'a ChannelState<T>,
    left: usize,
}

/// A reserved place.
pub(crate) struct Permit<'a, T> {
    shared: &'a ChannelState<T>,
    used: bool,
}

impl<'a, T> Iterator for Permits<'a, T> {
    type Item = Permit<'a, T>;

    fn next(&mut self) -> Option<Permit<'a, T>> {
        self.left = self.left.checked_sub(1)?;
        Some(Permit { shared: self.shared, used: false })
    }
}

impl<T> Drop for Permits<'_, T> {
    fn drop(&mut self) {
        if self.left > 0 {
            self.shared.give_back(self.left);
        }
    }
}

impl<T> Permit<'_, T> {
    pub(crate) fn send(mut self, message: T) {
        self.used = true;
        self.shared.push(message);
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if !self.used {
            self.shared.give_back(1);
        }
    }
}

pub(crate) struct Receiver<T> {
    shared: Arc<ChannelState<T>>,
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let (message, ended) = self.shared.with(|queue| (queue.messages.pop_front(), queue.ended));
        match message {
            Some(message) => {
                self.shared.give_back(1);
                Ok(message)
            }
            None if ended => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub(crate) async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    #[cfg_attr(not(fugue_model), allow(dead_code, reason = "the follower's, in models"))]
    pub(crate) fn poll_recv_many(
        &mut self,
        context: &mut Context<'_>,
        messages: &mut Vec<T>,
        limit: usize,
    ) -> Poll<usize> {
        let Some(first) = ready!(self.poll_recv(context)) else { return Poll::Ready(0) };
        messages.push(first);
        let mut received = 1;
        while received < limit
            && let Ok(next) = self.try_recv()
        {
            messages.push(next);
            received += 1;
        }
        Poll::Ready(received)
    }

    fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Option<T>> {
        let (message, ended) = self.shared.with(|queue| {
            let message = queue.messages.pop_front();
            if message.is_none() {
                queue.waiter = Some(context.waker().clone());
            }
            (message, queue.ended)
        });
        match message {
            Some(message) => {
                self.shared.give_back(1);
                Poll::Ready(Some(message))
            }
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Release: a thread that finds it closed comes after this.
        self.shared.room.fetch_or(CLOSED, Ordering::Release);
        let messages = self.shared.with(|queue| std::mem::take(&mut queue.messages));
        self.shared.give_back(messages.len());
        drop(messages);
    }
}
