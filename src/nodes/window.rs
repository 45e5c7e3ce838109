//! Credit: how much a host may send on a stream before its watcher says more.
//!
//! A window grows while it is used up in half of [`FLOW_TIME`], and shrinks when that takes longer than the whole: an
//! echo waits behind what is on its way. All windows of a node come out of one pool.

use std::time::Duration;

use super::message::MAX_MESSAGE;

/// The window of a new stream, in bytes.
const FIRST_WINDOW: usize = 256 * 1024;

/// The smallest, so that the longest message fits.
const SMALLEST_WINDOW: usize = MAX_MESSAGE;

/// The largest.
const LARGEST_WINDOW: usize = 1024 * 1024;

/// All windows of a node together.
pub(crate) const POOL: usize = 16 * 1024 * 1024;

/// For how long a stream may take to deliver its window.
const FLOW_TIME: Duration = Duration::from_millis(100);

/// What is left for windows, in bytes.
#[derive(Debug)]
pub(crate) struct Pool(usize);

#[cfg(test)]
impl Pool {
    pub(crate) fn left(&self) -> usize {
        self.0
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self(POOL)
    }
}

/// The window of one stream.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    /// Bytes that came.
    received: u64,
    /// Bytes that the host was told it may send, in all.
    granted: u64,
    /// What was granted when, until it has come.
    sample: Option<(u64, Duration)>,
}

impl Window {
    /// A window, unless the pool is empty.
    pub(crate) fn new(now: Duration, pool: &mut Pool) -> Option<Self> {
        let size = if pool.0 > POOL / 2 { FIRST_WINDOW } else { SMALLEST_WINDOW };
        pool.0 = pool.0.checked_sub(size)?;
        let granted = size as u64;
        Some(Self { size, received: 0, granted, sample: Some((granted, now)) })
    }

    /// Gives back what it had of the pool.
    pub(crate) fn close(self, pool: &mut Pool) {
        pool.0 += self.size;
    }

    /// Bytes that the host may send, in all.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Starts again for a new stream, with the size that the one before had come to.
    pub(crate) fn restart(&mut self, now: Duration) {
        self.received = 0;
        self.granted = self.size as u64;
        self.sample = Some((self.granted, now));
    }

    /// Takes in a message. Whether the host kept to its credit.
    #[must_use]
    pub(crate) fn receive(&mut self, now: Duration, bytes: usize, pool: &mut Pool) -> bool {
        self.received += bytes as u64;
        if let Some((granted, since)) = self.sample
            // As near as whole messages get.
            && self.received + MAX_MESSAGE as u64 > granted
        {
            self.sample = None;
            self.adapt(now.saturating_sub(since), pool);
        }
        self.received <= self.granted
    }

    fn adapt(&mut self, took: Duration, pool: &mut Pool) {
        if took > FLOW_TIME {
            let less = (self.size / 2).max(SMALLEST_WINDOW);
            pool.0 += self.size - less;
            self.size = less;
        } else if took <= FLOW_TIME / 2 {
            let more = (self.size * 2).min(LARGEST_WINDOW);
            if let Some(left) = pool.0.checked_sub(more - self.size) {
                (pool.0, self.size) = (left, more);
            }
        }
    }

    /// What the host is to be told, if that is worth a message, where so many bytes are not used up yet.
    pub(crate) fn grant(&mut self, now: Duration, unused: usize) -> Option<u64> {
        let limit = self.received + self.size.saturating_sub(unused) as u64;
        if limit < self.granted + (self.size / 2) as u64 {
            return None;
        }
        self.granted = limit;
        self.sample.get_or_insert((limit, now));
        Some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers so many bytes a second, and returns the largest window and the last.
    fn deliver(bytes_per_ms: usize, pool: &mut Pool) -> (usize, usize) {
        let mut now = Duration::ZERO;
        let mut window = Window::new(now, pool).unwrap();
        let mut largest = window.size;
        for _ in 0..2000 {
            now += Duration::from_millis(1);
            assert!(window.receive(now, bytes_per_ms, pool));
            window.grant(now, 0);
            largest = largest.max(window.size);
        }
        let last = window.size;
        window.close(pool);
        (largest, last)
    }

    #[test]
    fn a_window_is_what_comes_in_a_tenth_of_a_second() {
        let mut pool = Pool::default();
        assert_eq!(deliver(30_000, &mut pool), (LARGEST_WINDOW, LARGEST_WINDOW));
        let (_, slow) = deliver(1000, &mut pool);
        assert!((SMALLEST_WINDOW..=128 * 1024).contains(&slow), "{slow}");
        assert_eq!(pool.0, POOL);
    }

    #[test]
    fn windows_share_one_pool() {
        let mut pool = Pool::default();
        let mut windows = Vec::new();
        while let Some(window) = Window::new(Duration::ZERO, &mut pool) {
            windows.push(window);
        }
        assert!(windows.iter().map(|window| window.size).sum::<usize>() <= POOL);
        assert!(windows.len() > POOL / FIRST_WINDOW);
        windows.into_iter().for_each(|window| window.close(&mut pool));
        assert_eq!(pool.0, POOL);
    }

    #[test]
    fn what_is_not_used_up_is_not_granted_again() {
        let mut pool = Pool::default();
        let mut window = Window::new(Duration::ZERO, &mut pool).unwrap();
        assert!(window.receive(Duration::from_millis(70), FIRST_WINDOW, &mut pool));
        assert_eq!(window.grant(Duration::from_millis(70), FIRST_WINDOW), None);
        assert_eq!(window.grant(Duration::from_millis(70), 0), Some(2 * FIRST_WINDOW as u64));
        assert!(!window.receive(Duration::from_millis(71), FIRST_WINDOW + 1, &mut pool), "beyond its credit");
    }
}
