//! The pauses between tries to make a connection again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The pause before the second try, which doubles with each, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses of 50 ms, doubling to 5 s, with jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// `None` before the first try.
    next: Option<Duration>,
}

impl Backoff {
    /// How long to wait before the next try: not at all before the first.
    pub(crate) fn pause(&mut self) -> Duration {
        let Some(pause) = self.next else {
            self.next = Some(FIRST_PAUSE);
            return Duration::ZERO;
        };
        self.next = Some((pause * 2).min(LONGEST_PAUSE));
        // From half of it on, so that those that lost a server together do not all come back at once.
        let part = RandomState::new().hash_one(()) % 512;
        pause / 2 + pause * u32::try_from(part).unwrap_or_default() / 1024
    }

    /// A connection was lost that had stood for so long. If it was of use, or stood for longer than any pause, the next
    /// one is tried at once.
    pub(crate) fn lost(&mut self, stood: Duration, was_of_use: bool) {
        if was_of_use || stood >= LONGEST_PAUSE {
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_again_after_use() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(), Duration::ZERO);
        for doubled in [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let pause = backoff.pause().as_millis();
            assert!((doubled / 2..=doubled).contains(&pause), "{pause} of {doubled}");
        }
        backoff.lost(Duration::from_secs(1), false);
        assert_ne!(backoff.pause(), Duration::ZERO, "it was made, and of no use");
        for (stood, was_of_use) in [(Duration::ZERO, true), (LONGEST_PAUSE, false)] {
            backoff.lost(stood, was_of_use);
            assert_eq!(backoff.pause(), Duration::ZERO);
        }
    }
}
