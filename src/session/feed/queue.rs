//! The prints of a feed that wait for its pump, and what else belongs into the output: gaps and sizes.
//!
//! What [`print`](PrintQueue::print) accepted is in here until the pump takes it, also after the queue was closed:
//! there is no place that was promised and not used yet, so a pump that finds a closed queue empty has everything.
//! Wakers are called outside the lock.
//!
//! An embedder waits for room. A client that provides the session has a credit in its place, which is granted again as
//! the pump takes what was queued: so the pump's readers bound both.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::FeedClosed;
use crate::{
    TerminalSize,
    message::{ExitStatus, STATEMENT_COST},
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

/// What the gaps and sizes may cost with which connections begin, one after another, beyond what they may spend.
const MARKS_OF_ALL: u64 = 16 * STATEMENT_COST;

/// What a print is not: it has its place in the output, and no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) enum Mark {
    /// What lies before this offset is missing. If there are bytes, they draw the screen there.
    Skip { to: u64, screen: Bytes },
    /// The terminal has this size from here on.
    Resized(TerminalSize),
}

enum Queued {
    Print(Bytes),
    Mark(Mark),
}

impl Queued {
    fn len(&self) -> usize {
        match self {
            Self::Print(output) => output.len(),
            Self::Mark(_) => 0,
        }
    }

    fn cost(&self) -> u64 {
        self.len() as u64 + STATEMENT_COST
    }
}

/// What a provider has to spend. All are sums since the queue was made.
#[derive(Default)]
struct Credit {
    /// The connection that may print, by its number.
    stay: u64,
    /// What may be spent and not taken, at most. None of a feed that waits for room.
    window: u64,
    spent: u64,
    taken: u64,
    granted: u64,
    /// Of the task that tells the provider.
    teller: Option<Waker>,
}

impl Credit {
    /// Whether there is enough to grant that the provider is to be told.
    fn is_due(&self) -> bool {
        self.taken + self.window >= self.granted + (self.window / 4).max(1)
    }
}

/// Why a provider's statement is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) enum NotQueued {
    /// The session was ended from this side, which the provider may not know yet.
    Closed,
    /// This is against the rules.
    Broken(String),
}

#[derive(Default)]
struct PrintState {
    prints: VecDeque<Queued>,
    bytes: usize,
    /// The offset after all that was accepted.
    head: u64,
    /// The terminal's size there, where that counts.
    size: Option<TerminalSize>,
    credit: Credit,
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
    fn push(&mut self, queued: Queued) {
        self.bytes += queued.len();
        self.accepted += 1;
        self.credit.spent += queued.cost();
        match &queued {
            Queued::Print(output) => self.head += output.len() as u64,
            Queued::Mark(Mark::Skip { to, .. }) => self.head = self.head.max(*to),
            Queued::Mark(Mark::Resized(size)) => self.size = Some(*size),
        }
        self.prints.push_back(queued);
    }

    fn wait(&mut self, context: &Context<'_>) {
        if !self.embedder.iter().any(|waker| waker.will_wake(context.waker())) {
            self.embedder.push(context.waker().clone());
        }
    }
}

/// What the pump found.
pub(super) enum NextPrint {
    Print(Bytes),
    Mark(Mark),
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
    /// Of a session of this size whose first byte is at `start`, and whose provider may be so many bytes ahead of the
    /// pump.
    pub(in crate::session) fn begin_at(start: u64, size: TerminalSize, window: u64) -> Self {
        let credit = Credit { window, ..Credit::default() };
        let state = PrintState { head: start, size: Some(size), credit, ..PrintState::default() };
        Self { state: Mutex::new(Rank::Leaf, state) }
    }

    /// Accepts `output` once there is room.
    ///
    /// # Cancel safety
    /// Cancel safe: it is accepted or not.
    pub(in crate::session) async fn print(&self, output: Bytes) -> Result<(), FeedClosed> {
        self.accept(Queued::Print(output)).await
    }

    /// Accepts what belongs into the output here, once there is room. A skip to what lies before the head skips
    /// nothing.
    ///
    /// # Cancel safety
    /// Cancel safe: it is accepted or not.
    pub(in crate::session) async fn mark(&self, mark: Mark) -> Result<(), FeedClosed> {
        self.accept(Queued::Mark(mark)).await
    }

    async fn accept(&self, queued: Queued) -> Result<(), FeedClosed> {
        let mut queued = Some(queued);
        poll_fn(|context| {
            let (poll, pump) = self.state.with(|state| {
                if state.closed {
                    let Some(Queued::Print(output)) = queued.take() else {
                        return (Poll::Ready(Err(FeedClosed(Bytes::new()))), None);
                    };
                    return (Poll::Ready(Err(FeedClosed(output))), None);
                }
                let is_full = state.prints.len() >= MAX_PRINTS || state.bytes >= MAX_BYTES;
                if is_full {
                    state.wait(context);
                    return (Poll::Pending, None);
                }
                queued.take().into_iter().for_each(|queued| state.push(queued));
                (Poll::Ready(Ok(())), state.pump.take())
            });
            if let Some(pump) = pump {
                pump.wake();
            }
            poll
        })
        .await
    }

    /// Accepts output that a provider says is at `offset`.
    pub(in crate::session) fn print_at(
        &self,
        stay: u64,
        offset: u64,
        output: Bytes,
    ) -> Result<(), NotQueued> {
        self.spend(stay, Queued::Print(output), |head| {
            let is_there = offset == head;
            is_there.then_some(()).ok_or_else(|| format!("a print at offset {offset}, where {head} is next"))
        })
    }

    /// Accepts what a provider says belongs into the output here.
    pub(in crate::session) fn mark_here(&self, stay: u64, mark: Mark) -> Result<(), NotQueued> {
        let to = if let Mark::Skip { to, .. } = &mark { Some(*to) } else { None };
        self.spend(stay, Queued::Mark(mark), |head| match to {
            Some(to) if to < head => Err(format!("a skip to offset {to}, where {head} is next")),
            _ => Ok(()),
        })
    }

    fn spend(
        &self,
        stay: u64,
        queued: Queued,
        check: impl FnOnce(u64) -> Result<(), String>,
    ) -> Result<(), NotQueued> {
        let cost = queued.cost();
        let pump = self.state.with(|state| {
            if state.closed || state.credit.stay != stay {
                return Err(NotQueued::Closed);
            }
            if state.ended.is_some() {
                return Err(NotQueued::Broken("output after the end that it had said".to_owned()));
            }
            check(state.head).map_err(NotQueued::Broken)?;
            let left = state.credit.granted - state.credit.spent;
            if cost > left {
                return Err(NotQueued::Broken(format!("{cost} bytes of output with a credit of {left}")));
            }
            state.push(queued);
            Ok(state.pump.take())
        })?;
        if let Some(pump) = pump {
            pump.wake();
        }
        Ok(())
    }

    /// The connection of this number prints from now on, and none before it: from offset `start` on at the earliest,
    /// where the terminal has this size. Returns the offset that comes next, how much it may spend, and the sum of
    /// what was granted to all;
    /// `None` if others have done so again and again, and nobody takes what they began with.
    pub(in crate::session) fn begin_credit(
        &self,
        stay: u64,
        start: u64,
        size: TerminalSize,
    ) -> Option<(u64, u64, u64)> {
        let (begun, pump) = self.state.with(|state| {
            let mut pump = None;
            let is_resized = state.size != Some(size);
            if (start > state.head || is_resized) && !state.closed && state.ended.is_none() {
                if state.credit.spent > state.credit.taken + state.credit.window + MARKS_OF_ALL {
                    return (None, None);
                }
                if start > state.head {
                    state.push(Queued::Mark(Mark::Skip { to: start, screen: Bytes::new() }));
                }
                if is_resized {
                    state.push(Queued::Mark(Mark::Resized(size)));
                }
                pump = state.pump.take();
            }
            let credit = &mut state.credit;
            credit.stay = credit.stay.max(stay);
            credit.granted = (credit.taken + credit.window).max(credit.spent);
            (Some((state.head, credit.granted - credit.spent, credit.granted)), pump)
        });
        pump.into_iter().for_each(Waker::wake);
        begun
    }

    /// Waits until there is more to grant than this sum, by enough to tell of it. Returns the new sum. For a connection
    /// that has no stay any more, for ever.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(in crate::session) async fn granted(&self, stay: u64, told: u64) -> u64 {
        poll_fn(|context| {
            self.state.with(|state| {
                let credit = &mut state.credit;
                if credit.stay != stay {
                    return Poll::Pending;
                }
                if credit.is_due() {
                    credit.granted = credit.taken + credit.window;
                }
                if credit.granted > told {
                    return Poll::Ready(credit.granted);
                }
                credit.teller = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await
    }

    /// The offset after all that was accepted.
    pub(in crate::session) fn head(&self) -> u64 {
        self.state.with(|state| state.head)
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

    /// The connection of this number ends the feed.
    pub(in crate::session) fn end_at(&self, stay: u64, status: ExitStatus) {
        if self.state.with(|state| state.credit.stay == stay) {
            self.end(status);
        }
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
        let (next, embedder, teller) = self.state.with(|state| {
            let was_full = state.prints.len() >= MAX_PRINTS || state.bytes >= MAX_BYTES;
            let Some(queued) = state.prints.pop_front() else {
                return (state.ended.map_or(NextPrint::Empty, NextPrint::Ended), Vec::new(), None);
            };
            state.bytes -= queued.len();
            state.credit.taken += queued.cost();
            let embedder = if was_full { std::mem::take(&mut state.embedder) } else { Vec::new() };
            let teller = if state.credit.is_due() { state.credit.teller.take() } else { None };
            let next = match queued {
                Queued::Print(print) => NextPrint::Print(print),
                Queued::Mark(mark) => NextPrint::Mark(mark),
            };
            (next, embedder, teller)
        });
        embedder.into_iter().chain(teller).for_each(Waker::wake);
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

impl std::fmt::Debug for PrintQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrintQueue").finish_non_exhaustive()
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
