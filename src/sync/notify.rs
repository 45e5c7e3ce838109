//! What model builds have in place of tokio's `Notify`: the same promise, made of checked parts, for one waiter.

use std::{
    future::poll_fn,
    sync::PoisonError,
    task::{Poll, Waker},
};

use super::names::Lock;

#[derive(Debug)]
pub(crate) struct Notify {
    state: Lock<NotifyState>,
}

#[derive(Debug, Default)]
struct NotifyState {
    /// Somebody was to be notified, and nobody waited.
    permit: bool,
    waiter: Option<Waker>,
}

impl Default for Notify {
    fn default() -> Self {
        Self { state: Lock::new(NotifyState::default()) }
    }
}

impl Notify {
    pub(crate) fn notify_one(&self) {
        let waiter = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.permit = true;
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    pub(crate) async fn notified(&self) {
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut state.permit) {
                return Poll::Ready(());
            }
            state.waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
