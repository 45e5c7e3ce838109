//! A session's program: a child of this process, or one that the [keeper](super::kept) has; and seeing it out.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::kept::KeptProgram;
use crate::message::ExitStatus;

/// How long a program has to be gone once it was killed, and again once its terminal was closed.
pub(super) const KILLED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Process {
    Child(Child),
    Kept(KeptProgram),
}

impl Process {
    /// Its number, until its end was waited for.
    pub(super) fn id(&self) -> Option<u32> {
        match self {
            Self::Child(child) => child.id(),
            Self::Kept(kept) => kept.id(),
        }
    }

    /// Waits until it has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn wait(&mut self) -> ExitStatus {
        match self {
            Self::Child(child) => child.wait().await.map_or(ExitStatus::Unknown, ExitStatus::from),
            Self::Kept(kept) => kept.ended().await,
        }
    }

    /// How it ended, if it does in time.
    pub(super) async fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.wait()).await.ok()
    }

    /// Sends a signal to the process group that it leads, unless its end was waited for: so its number can't have been
    /// given to another process.
    fn signal(&self, signal: Signal) {
        let group = self.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(group) = group
            && let Err(errno) = kill_process_group(group, signal)
        {
            debug!(%errno, ?signal, "signal not delivered");
        }
    }
}

/// Waits for the program to exit; hangs it up when asked, and kills it when it has not gone within `grace` of that.
/// Hands it back if it is still there [a second](KILLED) later: it runs as another user, or the kernel does not let it
/// go.
pub(super) async fn supervise(
    mut program: Process,
    hang_up: CancellationToken,
    grace: Duration,
) -> Result<ExitStatus, Process> {
    tokio::select! {
        biased;
        status = program.wait() => return Ok(status),
        () = hang_up.cancelled() => {}
    }
    program.signal(Signal::HUP);
    // A stopped program can't act on a hangup.
    program.signal(Signal::CONT);
    if let Some(status) = program.ends_within(grace).await {
        return Ok(status);
    }
    program.signal(Signal::KILL);
    program.ends_within(KILLED).await.ok_or(program)
}
