//! The signals that a server is told by, and those that it was started to block or ignore.

use std::{fs, future::pending, io};

use nix::sys::signal::SigSet;
use rustix::{
    fs::{Mode, OFlags, open},
    process::Signal,
};
use tokio::signal::unix::{self, SignalKind, signal};
use tracing::debug;

/// A server that was started with signals blocked could not be told to stop.
pub(super) fn unblock() {
    // It can't fail with a mask that is one; and it would then be as it was.
    let _ = SigSet::empty().thread_set_mask();
}

/// What a server is told by signals.
///
/// A hangup means two things. The terminal that a server was started at has gone, and so does the server. One without a
/// terminal, or whose starter had it ignore hangups as `nohup` does, reads its configuration again.
pub(super) struct ServerSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// One that ends it, until it is asked for as what has it reload.
    hangup: Option<unix::Signal>,
    /// One that has another server take over, until it is asked for.
    restart: Option<unix::Signal>,
    ends_on_hangup: bool,
}

impl ServerSignals {
    /// Listens to them, and has programs ignore none of those that this process does.
    pub(super) fn new(leaves_terminal: bool) -> io::Result<Self> {
        // Before there is a handler for any.
        let ignored = ignored();
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: Some(signal(SignalKind::hangup())?),
            restart: Some(signal(SignalKind::user_defined2())?),
            ends_on_hangup: !leaves_terminal && !ignored.contains(&Signal::HUP.as_raw()) && has_terminal(),
        };
        ignore_none(ignored);
        // With a handler, a write beyond a limit of file sizes is refused, and does not end the server.
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        Ok(signals)
    }

    /// The hangups that ask for a reload, if any do.
    pub(super) fn reloads(&mut self) -> Option<unix::Signal> {
        if self.ends_on_hangup { None } else { self.hangup.take() }
    }

    /// The signals that ask for another server to take over. To be asked for once.
    pub(super) fn restarts(&mut self) -> Option<unix::Signal> {
        self.restart.take()
    }

    /// Completes when an end is asked for.
    pub(super) async fn stop(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hangup => {}
        }
    }

    /// Completes when somebody will not wait for the shutdown. A hangup says nothing of the kind: it comes with SIGTERM
    /// as a person logs out.
    pub(super) async fn stop_at_once(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The signals that this process ignores, without those for real-time programs.
fn ignored() -> Vec<i32> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return Vec::new() };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..32).filter(|number| ignored & 1 << (number - 1) != 0).collect()
}

/// Gives every signal that this process ignores a handler that does nothing, because `nohup` and shells without job
/// control have programs ignore some: a program that can't be interrupted or hung up is not what its user started.
///
/// A signal that has a handler is back to its default in the programs, one that is ignored stays so.
fn ignore_none(ignored: Vec<i32>) {
    // The standard library itself puts SIGPIPE back.
    for number in ignored.into_iter().filter(|number| *number != Signal::PIPE.as_raw()) {
        if let Err(error) = signal(SignalKind::from_raw(number)) {
            debug!(number, %error, "programs ignore this signal, as this process does");
        }
    }
}

/// Whether a terminal controls this process.
fn has_terminal() -> bool {
    open("/dev/tty", OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .is_ok()
}
