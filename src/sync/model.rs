//! Running a model: a small piece of concurrent code, under many interleavings, each of which must keep its promise.
//!
//! loom tries every interleaving within a bound on preemptions, and every value that an atomic load may see; a deadlock
//! or something leaked fails as well. shuttle tries random schedules, of models that may be larger. An ordinary build
//! runs each some times on real threads, which finds what is wrong in most schedules.

#[cfg(fugue_loom)]
pub(crate) use self::with_loom::{Arc, block_on, check, spawn, yield_now};
#[cfg(fugue_shuttle)]
pub(crate) use self::with_shuttle::{below, block_on, check, spawn, yield_now};

#[cfg(not(fugue_model))]
pub(crate) use self::with_threads::{below, check, spawn};
// The registry's models wait for nothing.
#[cfg(all(feature = "server", not(fugue_model)))]
pub(crate) use self::with_threads::{block_on, yield_now};

#[cfg(not(fugue_model))]
mod with_threads {
    use std::{
        hash::{BuildHasher, RandomState},
        sync::mpsc::{self, RecvTimeoutError},
        time::Duration,
    };

    pub(crate) use std::thread::spawn;
    #[cfg(feature = "server")]
    pub(crate) use std::thread::yield_now;

    /// How often each model is run.
    const RUNS: usize = 50;

    /// How long a run may take before it is called a deadlock: thousands of times as long as it does.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A random number below `bound`.
    pub(crate) fn below(bound: usize) -> usize {
        // Each state has keys of its own.
        usize::try_from(RandomState::new().hash_one(bound)).unwrap_or_default() % bound
    }

    #[cfg(feature = "server")]
    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime needs nothing").block_on(future)
    }

    /// Runs `model` on real threads, again and again.
    pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
        let (done, is_done) = mpsc::sync_channel(RUNS);
        let running = spawn(move || {
            for _ in 0..RUNS {
                model();
                // An error says that the test has given up.
                let _ = done.send(());
            }
        });
        // Ends when the sender is gone: after the last run, or by a panic.
        loop {
            match is_done.recv_timeout(PATIENCE) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the model does not end"),
            }
        }
        running.join().expect("the model panicked");
    }
}

/// The running test's name: what a model is called.
#[cfg(fugue_model)]
fn name() -> String {
    std::thread::current().name().unwrap_or("model").to_owned()
}

#[cfg(fugue_loom)]
mod with_loom {
    use std::{
        fmt, ops,
        sync::atomic::{AtomicU64, Ordering},
    };

    pub(crate) use loom::{future::block_on, thread::yield_now};

    /// Switches to a thread that could go on by itself, where the environment does not say (`LOOM_MAX_PREEMPTIONS`).
    /// Nearly all defects in concurrent code need no more than two.
    const PREEMPTIONS: usize = 3;

    /// The most steps in one interleaving; a model that needs more does not end.
    const STEPS: usize = 20_000;

    /// In bytes. The default is too small for code that was not optimised.
    const STACK: usize = 256 * 1024;

    /// Runs `model` under every interleaving, and says how many those were.
    pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = STEPS;
        let preemptions = *builder.preemption_bound.get_or_insert(PREEMPTIONS);
        let count = std::sync::Arc::new(AtomicU64::new(0));
        let counted = std::sync::Arc::clone(&count);
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model();
        });
        let count = count.load(Ordering::Relaxed);
        println!("{}: {count} interleavings with up to {preemptions} preemptions", super::name());
    }

    pub(crate) fn spawn<T: Send + 'static>(
        body: impl FnOnce() -> T + Send + 'static,
    ) -> loom::thread::JoinHandle<T> {
        let thread = loom::thread::Builder::new().stack_size(STACK);
        thread.spawn(body).expect("loom spawns what it is told to")
    }

    /// loom's counted pointer, which it watches for leaks, with what else of std's is used.
    pub(crate) struct Arc<T>(loom::sync::Arc<T>);

    impl<T: Default> Default for Arc<T> {
        fn default() -> Self {
            Self::new(T::default())
        }
    }

    impl<T> Arc<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Arc::new(value))
        }

        pub(crate) fn ptr_eq(this: &Self, other: &Self) -> bool {
            loom::sync::Arc::ptr_eq(&this.0, &other.0)
        }

        pub(crate) fn strong_count(this: &Self) -> usize {
            loom::sync::Arc::strong_count(&this.0)
        }

        pub(crate) fn get_mut(this: &mut Self) -> Option<&mut T> {
            loom::sync::Arc::get_mut(&mut this.0)
        }

        pub(crate) fn make_mut(this: &mut Self) -> &mut T
        where
            T: Clone,
        {
            if Self::get_mut(this).is_none() {
                *this = Self::new(T::clone(this));
            }
            Self::get_mut(this).expect("nobody else has what was just made")
        }
    }

    impl<T> Clone for Arc<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> ops::Deref for Arc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T: fmt::Debug> fmt::Debug for Arc<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }
}

#[cfg(fugue_shuttle)]
mod with_shuttle {
    pub(crate) use shuttle::{
        future::block_on,
        thread::{spawn, yield_now},
    };

    /// A random number below `bound`, which belongs to the schedule.
    pub(crate) fn below(bound: usize) -> usize {
        shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..bound)
    }

    /// Random schedules of each model, where the environment does not say (`FUGUE_SCHEDULES`).
    const SCHEDULES: usize = 2_000;

    /// In bytes. The default is too small for code that was not optimised.
    const STACK: usize = 256 * 1024;

    /// Runs `model` under random schedules. One that fails is named by a seed; with that in `SHUTTLE_RANDOM_SEED` it
    /// comes first.
    pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
        let asked =
            std::env::var("FUGUE_SCHEDULES").map(|asked| asked.parse().expect("a number of schedules"));
        let schedules = asked.unwrap_or(SCHEDULES);
        let mut config = shuttle::Config::new();
        config.stack_size = STACK;
        let scheduler = shuttle::scheduler::RandomScheduler::new(schedules);
        shuttle::Runner::new(scheduler, config).run(model);
        println!("{}: {schedules} schedules", super::name());
    }
}
