//! The signals that a client acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those that end it, once it has put its terminal back.
pub(super) struct DeadlySignals([Signal; 4]);

impl DeadlySignals {
    const KINDS: [SignalKind; 4] =
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];

    pub(super) fn new() -> io::Result<Self> {
        let [term, int, hup, quit] = Self::KINDS.map(signal);
        // With a handler, a write beyond the largest file that is allowed (`ulimit -f`) is an error, which is told.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        Ok(Self([term?, int?, hup?, quit?]))
    }

    /// Waits for one of them, and says which.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> i32 {
        let [term, int, hup, quit] = &mut self.0;
        let caught = tokio::select! {
            _ = term.recv() => 0,
            _ = int.recv() => 1,
            _ = hup.recv() => 2,
            _ = quit.recv() => 3,
        };
        Self::KINDS[caught].as_raw_value()
    }
}

/// Those that a terminal and a shell send to what runs in them.
pub(super) struct JobSignals {
    resized: Signal,
    stopped: Signal,
    continued: Signal,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// The terminal has another size.
    Resized,
    /// It is to stop.
    Stopped,
    /// It goes on after a stop.
    Continued,
}

impl JobSignals {
    pub(super) fn new() -> io::Result<Self> {
        let of = |number: rustix::process::Signal| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            stopped: of(rustix::process::Signal::TSTP)?,
            continued: of(rustix::process::Signal::CONT)?,
        })
    }

    /// Waits for one of them, and says which.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Job {
        tokio::select! {
            // Where both came meanwhile, it was told to stop first.
            biased;
            _ = self.stopped.recv() => Job::Stopped,
            _ = self.continued.recv() => Job::Continued,
            _ = self.resized.recv() => Job::Resized,
        }
    }

    /// Whether it was told to go on since the last job.
    pub(super) async fn is_continued(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.continued.recv() => true,
            // By then the runtime has looked for signals.
            () = tokio::task::yield_now() => false,
        }
    }
}
