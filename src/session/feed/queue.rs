//! The prints of a feed that wait for its pump.
//!
//! What [`print`](PrintQueue::print) accepted is in here until the pump takes it, also after the queue was closed:
//! there is no place that was promised and not used yet, so a pump that finds a closed queue empty has everything.
//! Wakers are called outside the lock.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::FeedClosed;
use crate::{
    message::ExitStatus,
    sync::{Mutex, Rank},
};

/// Prints that may wait, and their bytes; one of any size may always. Under load the pump gathers them into bursts.
///
/// A model has so few that it fills them.
const MAX_PRINTS: usize = if cfg!(fugue_model) { 1 } else { 32 };
const MAX_BYTES: usize = 2 * 1024 * 1024;

pub(in crate::session) struct PrintQueue {
    state: Mutex<PrintState>,
}

#[derive(Default)]
struct PrintState {
    prints: VecDeque<Bytes>,
    bytes: usize,
    /// Prints so far that were accepted, and those of them that are in the log.
    accepted: u64,
    logged: u64,
    /// How the embedder ended the feed.
    ended: Option<ExitStatus>,
    /// No more is accepted.
    closed: bool,
    pump: Option<Waker>,
    /// Tasks that wait for room, for the log, or for the end.
    embedder: Vec<Waker>,
}

impl PrintState {
    fn wait(&mut self, context: &Context<'_>) {
        if !self.embedder.iter().any(|waker| waker.will_wake(context.waker())) {
            self.embedder.push(context.waker().clone());
        }
    }
}

/// What the pump found.
pub(super) enum NextPrint {
    Print(Bytes),
    Ended(ExitStatus),
    /// Nothing now.
    Empty,
}

impl Default for PrintQueue {
    fn default() -> Self {
        Self { state: Mutex::new(Rank::Leaf, PrintState::default()) }
    }
}

impl PrintQueue {
    /// Accepts `output` once there is room.
    ///
    /// # Cancel safety
    /// Cancel safe: it is accepted or not.
    pub(in crate::session) async fn print(&self, output: Bytes) -> Result<(), FeedClosed> {
        let mut output = Some(output);
        poll_fn(|context| {
            let (poll, pump) = self.state.with(|state| {
                if state.closed {
                    return (Poll::Ready(Err(FeedClosed(output.take().unwrap_or_default()))), None);
                }
                let is_full = state.prints.len() >= MAX_PRINTS || state.bytes >= MAX_BYTES;
                if is_full {
                    state.wait(context);
                    return (Poll::Pending, None);
                }
                let output = output.take().unwrap_or_default();
                state.bytes += output.len();
                state.accepted += 1;
                state.prints.push_back(output);
                (Poll::Ready(Ok(())), state.pump.take())
            });
            if let Some(pump) = pump {
                pump.wake();
            }
            poll
        })
        .await
    }

    /// Waits until everything that was accepted so far is in the log.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(in crate::session) async fn flush(&self) {
        let mut awaited = None;
        poll_fn(|context| {
            self.state.with(|state| {
                if state.logged >= *awaited.get_or_insert(state.accepted) {
                    return Poll::Ready(());
                }
                state.wait(context);
                Poll::Pending
            })
        })
        .await;
    }

    /// Waits until the queue is closed.
    pub(super) async fn closed(&self) {
        poll_fn(|context| {
            self.state.with(|state| {
                if state.closed {
                    return Poll::Ready(());
                }
                state.wait(context);
                Poll::Pending
            })
        })
        .await;
    }

    /// The embedder ends the feed, unless it is closed already.
    pub(in crate::session) fn end(&self, status: ExitStatus) {
        let pump = self.state.with(|state| {
            if !state.closed {
                state.ended.get_or_insert(status);
            }
            state.pump.take()
        });
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    /// Accepts no more. What was accepted is still there to be taken.
    pub(super) fn close(&self) {
        let embedder = self.state.with(|state| {
            state.closed = true;
            std::mem::take(&mut state.embedder)
        });
        embedder.into_iter().for_each(Waker::wake);
    }

    /// Takes the next print; or says how the feed ended, once there is none before that.
    pub(super) fn take(&self) -> NextPrint {
        let (next, embedder) = self.state.with(|state| {
            let was_full = state.prints.len() >= MAX_PRINTS || state.bytes >= MAX_BYTES;
            match (state.prints.pop_front(), state.ended) {
                (Some(print), _) => {
                    state.bytes -= print.len();
                    let embedder = if was_full { std::mem::take(&mut state.embedder) } else { Vec::new() };
                    (NextPrint::Print(print), embedder)
                }
                (None, Some(status)) => (NextPrint::Ended(status), Vec::new()),
                (None, None) => (NextPrint::Empty, Vec::new()),
            }
        });
        embedder.into_iter().for_each(Waker::wake);
        next
    }

    /// Says how many prints so far are in the log.
    pub(super) fn logged(&self, prints: u64) {
        let embedder = self.state.with(|state| {
            state.logged = prints;
            std::mem::take(&mut state.embedder)
        });
        embedder.into_iter().for_each(Waker::wake);
    }

    /// Waits until there is something to take.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn ready(&self) {
        poll_fn(|context| {
            self.state.with(|state| {
                if !state.prints.is_empty() || state.ended.is_some() {
                    return Poll::Ready(());
                }
                state.pump = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }
}

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::*;

    fn is_accepted(queue: &PrintQueue, bytes: usize) -> bool {
        let mut print = pin!(queue.print(vec![b'x'; bytes].into()));
        print.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn prints_wait_once_2_mib_are_queued() {
        let queue = PrintQueue::default();
        assert!(is_accepted(&queue, (2 << 20) - 1));
        assert!(is_accepted(&queue, 1));
        assert!(!is_accepted(&queue, 1));
    }
}
