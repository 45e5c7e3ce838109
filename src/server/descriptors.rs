//! How many clients the process has file descriptors for.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rustix::process::{Resource, getrlimit};

/// Descriptors that are left for sessions, which take a handful each, and for the server's own use, at least.
const LEAST_RESERVE: u64 = 24;

/// The most clients at once, and why no more.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) most: usize,
    open_files: Option<u64>,
}

impl Places {
    /// As many as were asked for, if a client each leaves a quarter of the descriptors.
    ///
    /// The limit is not raised: programs inherit it, and some go through all descriptors that it allows.
    pub(super) fn of(asked: usize) -> Self {
        Self::within(asked, getrlimit(Resource::Nofile).current)
    }

    fn within(asked: usize, open_files: Option<u64>) -> Self {
        let Some(limit) = open_files else { return Self { most: asked, open_files: None } };
        let fit = limit.saturating_sub(LEAST_RESERVE.max(limit / 4)).max(1);
        match usize::try_from(fit) {
            Ok(fit) if fit < asked => Self { most: fit, open_files },
            _ => Self { most: asked, open_files: None },
        }
    }

    /// What a client is told that finds none.
    pub(super) fn refusal(&self) -> String {
        let most = self.most;
        match self.open_files {
            None => format!("the server has {most} clients, which is its limit; try again later"),
            Some(files) => format!(
                "the server has {most} clients, the most for its limit of {files} open files; try again later, or \
                 start it with a larger `ulimit -n`"
            ),
        }
    }
}

/// A connection's place. It is given back when this drops.
#[derive(Debug)]
pub(super) struct ConnectionPlace(Arc<AtomicUsize>);

impl ConnectionPlace {
    /// Takes a place, unless as many as may be are taken already. The count is all that is shared, so it is Relaxed.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let one_more = |taken| (taken < most).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_a_lower_bound_waits_for_those_that_are_taken() {
        let taken = Arc::default();
        let places: Vec<_> = (0..3).map_while(|_| ConnectionPlace::take(&taken, 2)).collect();
        assert_eq!(places.len(), 2);
        assert!(ConnectionPlace::take(&taken, 1).is_none());
        drop(places);
        let _one = ConnectionPlace::take(&taken, 1).unwrap();
        assert!(ConnectionPlace::take(&taken, 1).is_none());
    }

    #[test]
    fn clients_leave_a_quarter_of_the_descriptors_and_at_least_24() {
        let most = |asked, limit| Places::within(asked, limit).most;
        assert_eq!(most(10_000, None), 10_000);
        assert_eq!(most(10_000, Some(1_048_576)), 10_000);
        assert_eq!(most(10_000, Some(1024)), 768);
        assert_eq!(most(10_000, Some(64)), 40);
        assert_eq!(most(10_000, Some(8)), 1);
        assert_eq!(most(3, Some(64)), 3);
        assert!(Places::within(10_000, Some(64)).refusal().contains("64 open files"));
        assert!(!Places::within(3, Some(64)).refusal().contains("files"));
    }
}
