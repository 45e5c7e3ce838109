//! Whether a line over which nothing comes still stands.
//!
//! A network that drops packets says nothing. So the server is pinged: often while it owes an answer, seldom while
//! nothing is awaited of it; and a line that brings no byte for too long after a question is taken as lost.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// When a server is pinged, and when a line that brings nothing is taken as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// The time between pings while something sent is unanswered, such as a key. The default is 2 s.
    pub waiting: Duration,
    /// The time between pings while nothing is, and nothing comes. The default is 30 s.
    pub idle: Duration,
    /// How long a line that owes an answer may bring no byte at all. The default is 6 s.
    pub timeout: Duration,
}

impl Keepalive {
    /// These times, in the order of the fields.
    #[must_use]
    pub const fn new(waiting: Duration, idle: Duration, timeout: Duration) -> Self {
        Self { waiting, idle, timeout }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self::new(Duration::from_secs(2), Duration::from_secs(30), Duration::from_secs(6))
    }
}

/// What is known of one connection's line. Its sender tells it of each request, and sends the pings that are due.
#[derive(Debug)]
pub(crate) struct Liveness {
    /// `None` where the line is not in question.
    times: Option<Keepalive>,
    /// Reads that brought bytes.
    heard: Arc<AtomicU64>,
    state: Mutex<LivenessState>,
    changed: Notify,
}

#[derive(Debug)]
struct LivenessState {
    /// The count of reads when it was looked at last.
    counted: u64,
    /// Since when the server owes a byte, if it does.
    owes_since: Option<Instant>,
    /// When something was heard or asked last.
    last: Instant,
    /// There is something that the server has not answered.
    is_waiting: bool,
    /// Since when this side does not read, if it does not: what came may be waiting for it.
    away_since: Option<Instant>,
}

impl Liveness {
    /// Of a line that begins now, of which `heard` counts the reads.
    pub(super) fn new(times: Option<Keepalive>, heard: Arc<AtomicU64>) -> Self {
        let state = LivenessState {
            counted: 0,
            owes_since: None,
            last: Instant::now(),
            is_waiting: false,
            away_since: None,
        };
        Self { times, heard, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Something is sent to which the server says something soon.
    pub(crate) fn asks(&self) {
        self.change(|state, now| {
            state.owes_since.get_or_insert(now);
            state.last = now;
        });
    }

    /// Whether something sent may stay unanswered for long, such as what a program does not read.
    pub(crate) fn waits(&self, is_waiting: bool) {
        self.change(|state, now| {
            if is_waiting && !state.is_waiting {
                state.owes_since.get_or_insert(now);
                state.last = now;
            }
            state.is_waiting = is_waiting;
        });
    }

    /// Whether this side reads from now on. The line is not waited for while it does not.
    pub(crate) fn reads(&self, is_reading: bool) {
        self.change(|state, now| {
            if !is_reading {
                state.away_since.get_or_insert(now);
            } else if let Some(away_since) = state.away_since.take() {
                state.owes_since = state.owes_since.map(|since| since + (now - away_since.max(since)));
            }
        });
    }

    /// Waits until a ping is to be sent; [`asks`](Self::asks) says that it is.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn ping_due(&self) {
        self.reached(|state, times| {
            let pause = if state.owes_since.is_some() { times.waiting } else { times.idle };
            Some(state.last + pause)
        })
        .await;
    }

    /// Waits until the line is lost.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn lost(&self) {
        self.reached(|state, times| {
            state.owes_since.filter(|_| state.away_since.is_none()).map(|since| since + times.timeout)
        })
        .await;
    }

    /// Waits until a time that changes.
    async fn reached(&self, time: impl Fn(&LivenessState, &Keepalive) -> Option<Instant>) {
        let Some(times) = &self.times else { return std::future::pending().await };
        loop {
            // From before the look on, so that no change after it is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.with(|state, now| time(state, times).map(|time| (time, time <= now))) {
                Some((_, true)) => return,
                Some((time, false)) => tokio::select! {
                    () = sleep_until(time) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut LivenessState, Instant)) {
        if self.times.is_some() {
            self.with(change);
            self.changed.notify_waiters();
        }
    }

    /// Looks whether anything was heard, and then does this.
    fn with<T>(&self, act: impl FnOnce(&mut LivenessState, Instant) -> T) -> T {
        let (mut state, now) = (self.state.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        // Relaxed: it stands for itself.
        let heard = self.heard.load(Ordering::Relaxed);
        if std::mem::replace(&mut state.counted, heard) != heard {
            state.owes_since = state.is_waiting.then_some(now);
            state.last = now;
        }
        act(&mut state, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Line {
        liveness: Liveness,
        heard: Arc<AtomicU64>,
        begun: Instant,
    }

    fn line() -> Line {
        let heard = Arc::new(AtomicU64::new(0));
        let liveness = Liveness::new(Some(Keepalive::default()), Arc::clone(&heard));
        Line { liveness, heard, begun: Instant::now() }
    }

    impl Line {
        fn hear(&self) {
            self.heard.fetch_add(1, Ordering::Relaxed);
        }

        /// Pings when they are due; a server that `answers` is heard at once. Returns when the pings were, in seconds,
        /// and when the line was lost, if that was before `until`.
        async fn run(&self, until: u64, answers: bool) -> (Vec<u64>, Option<u64>) {
            let mut pings = Vec::new();
            let at = |begun: Instant| begun.elapsed().as_secs();
            loop {
                tokio::select! {
                    biased;
                    () = self.liveness.lost() => return (pings, Some(at(self.begun))),
                    () = self.liveness.ping_due() => {
                        pings.push(at(self.begun));
                        self.liveness.asks();
                        if answers {
                            self.hear();
                        }
                    }
                    () = sleep_until(self.begun + Duration::from_secs(until)) => return (pings, None),
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_answer_is_awaited_a_dead_line_is_lost_after_six_seconds() {
        let line = line();
        line.liveness.waits(true);
        assert_eq!(line.run(100, false).await, (vec![2, 4], Some(6)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_answers_pings_stands_however_long_a_program_reads_nothing() {
        let line = line();
        line.liveness.waits(true);
        let (pings, lost) = line.run(11, true).await;
        assert_eq!((pings, lost), (vec![2, 4, 6, 8, 10], None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_line_is_asked_now_and_then_and_lost_if_it_is_dead() {
        let quiet = line();
        assert_eq!(quiet.run(100, true).await, (vec![30, 60, 90], None));
        let dead = line();
        assert_eq!(dead.run(100, false).await, (vec![30, 32, 34], Some(36)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_was_idle_for_long_is_not_lost_at_once() {
        let line = line();
        assert_eq!(line.run(20, false).await, (vec![], None));
        line.liveness.asks();
        assert_eq!(line.run(25, false).await, (vec![22, 24], None));
        line.hear();
        assert_eq!(line.run(40, false).await, (vec![], None), "it owes nothing any more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_this_side_does_not_read_makes_no_line_a_lost_one() {
        let line = line();
        line.liveness.waits(true);
        assert_eq!(line.run(5, false).await.1, None);
        line.liveness.reads(false);
        assert_eq!(line.run(20, false).await.1, None);
        line.liveness.reads(true);
        assert_eq!(line.run(100, false).await.1, Some(21), "it was waited for for 5 s before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_not_in_question_is_neither_pinged_nor_lost() {
        let liveness = Liveness::new(None, Arc::default());
        liveness.waits(true);
        tokio::select! {
            () = liveness.lost() => panic!("lost"),
            () = liveness.ping_due() => panic!("pinged"),
            () = tokio::time::sleep(Duration::from_secs(1000)) => {}
        }
    }
}
