//! Judging a slow client: by the bytes it takes while more is pending, never by how long one write takes.
//!
//! A client with data pending is watched in two windows. One that takes less than 64 KiB in the short window and does
//! not empty its backlog no longer holds the program back; in the long window, it is closed. One that resyncs is drawn
//! when it takes something again, and costs nobody anything until then: a laptop that sleeps. So its long window is far
//! longer. A client with nothing pending is never judged. Time is the runtime's, which is monotonic: a change of the
//! wall clock closes nobody.

use std::time::Duration;

use tokio::time::Instant;

/// What a client must take in a window, in bytes: about what a slow modem did.
const ENOUGH: usize = 64 * 1024;

/// The two windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallTimeouts {
    pub(super) hold: Duration,
    pub(super) close: Duration,
    /// In the place of `close`, for a client that resyncs.
    pub(super) close_resyncing: Duration,
}

impl StallTimeouts {
    /// The long window of a client.
    pub(super) fn close(&self, resyncs: bool) -> Duration {
        if resyncs { self.close_resyncing } else { self.close }
    }
}

/// What the windows say of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StallVerdict {
    Fine,
    /// It has taken too little to hold the program back any longer.
    TooSlowToHold,
    /// It has taken too little to be kept: less than 64 KiB in this long.
    TooSlow(Duration),
}

#[derive(Debug)]
pub(super) struct StallDetector {
    hold: StallWindow,
    close: StallWindow,
    /// Set from `TooSlowToHold` until the client makes up for it.
    lost_hold: bool,
}

#[derive(Debug)]
struct StallWindow {
    length: Duration,
    ends: Instant,
    taken: usize,
}

impl StallWindow {
    fn new(length: Duration) -> Self {
        Self { length, ends: Instant::now() + length, taken: 0 }
    }

    fn restart(&mut self) {
        *self = Self::new(self.length);
    }

    /// Whether the window is over with too little taken. A window that is over starts again.
    fn failed(&mut self) -> bool {
        if Instant::now() < self.ends {
            return false;
        }
        let failed = self.taken < ENOUGH;
        self.restart();
        failed
    }
}

impl StallDetector {
    pub(super) fn new(timing: &StallTimeouts) -> Self {
        Self { hold: StallWindow::new(timing.hold), close: StallWindow::new(timing.close), lost_hold: false }
    }

    /// The client took some bytes. Returns whether it may hold the program back again.
    pub(super) fn took(&mut self, bytes: usize) -> bool {
        self.hold.taken += bytes;
        self.close.taken += bytes;
        self.hold.taken >= ENOUGH && std::mem::take(&mut self.lost_hold)
    }

    /// Whether the client is not to hold the program back.
    pub(super) fn has_lost_hold(&self) -> bool {
        self.lost_hold
    }

    /// When to judge a client that takes nothing now, and is closed after `close`.
    pub(super) fn next_verdict(&mut self, close: Duration) -> Instant {
        if self.close.length != close {
            // It watches something in another way now.
            self.close = StallWindow::new(close);
        }
        self.hold.ends.min(self.close.ends)
    }

    pub(super) fn judge(&mut self) -> StallVerdict {
        if self.close.failed() {
            return StallVerdict::TooSlow(self.close.length);
        }
        if self.hold.failed() {
            self.lost_hold = true;
            return StallVerdict::TooSlowToHold;
        }
        StallVerdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: StallTimeouts = StallTimeouts {
        hold: Duration::from_secs(10),
        close: Duration::from_secs(30),
        close_resyncing: Duration::from_secs(600),
    };

    /// Lets the next verdict's time come, and gives it.
    async fn wait(progress: &mut StallDetector) -> StallVerdict {
        tokio::time::sleep_until(progress.next_verdict(TIMING.close(false))).await;
        progress.judge()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_resyncs_is_closed_much_later() {
        let mut progress = StallDetector::new(&TIMING);
        let start = Instant::now();
        loop {
            tokio::time::sleep_until(progress.next_verdict(TIMING.close(true))).await;
            match progress.judge() {
                StallVerdict::TooSlow(limit) => break assert_eq!(limit.as_secs(), 600),
                verdict => assert_eq!(verdict, StallVerdict::TooSlowToHold),
            }
        }
        assert_eq!(start.elapsed().as_secs(), 600);
        // Once it watches in another way it is judged as others are, from then on.
        while wait(&mut progress).await != StallVerdict::TooSlow(TIMING.close) {}
        assert_eq!(start.elapsed().as_secs(), 630);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_hold_and_is_then_closed() {
        let mut progress = StallDetector::new(&TIMING);
        let start = Instant::now();
        assert_eq!(wait(&mut progress).await, StallVerdict::TooSlowToHold);
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(wait(&mut progress).await, StallVerdict::TooSlowToHold);
        assert_eq!(wait(&mut progress).await, StallVerdict::TooSlow(TIMING.close));
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_enough_in_each_window_is_left_alone() {
        let mut progress = StallDetector::new(&TIMING);
        for _ in 0..100 {
            progress.next_verdict(TIMING.close);
            assert!(!progress.took(ENOUGH));
            assert_eq!(wait(&mut progress).await, StallVerdict::Fine);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_short_is_too_little() {
        let mut progress = StallDetector::new(&TIMING);
        progress.next_verdict(TIMING.close);
        assert!(!progress.took(ENOUGH - 1));
        assert_eq!(wait(&mut progress).await, StallVerdict::TooSlowToHold);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_gives_the_hold_back_once() {
        let mut progress = StallDetector::new(&TIMING);
        assert!(!progress.has_lost_hold());
        assert_eq!(wait(&mut progress).await, StallVerdict::TooSlowToHold);
        assert!(progress.has_lost_hold());
        assert!(progress.took(ENOUGH));
        assert!(!progress.took(ENOUGH));
        assert!(!progress.has_lost_hold());
    }
}
