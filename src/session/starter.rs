//! Where programs are started: on threads of their own, because opening a terminal, changing to a directory and `exec`
//! may block, for as long as a file server that doesn't answer keeps them.
//!
//! A start that blocks costs its thread, and nothing else: neither the runtime's workers nor other starts wait for it.

use std::{io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Mutex, Semaphore, oneshot},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    program::{self, Process},
    pty::Pty,
};
use crate::message::RequestError;

/// Programs that may be being started at once. Each has a thread; the next ones wait.
pub(super) const MOST_AT_ONCE: usize = 8;

/// How long a program has to start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a start keeps the others waiting: far longer than a terminal takes to be opened and a process to be forked.
/// A start that takes longer than this waits for its `exec`.
const FORKED: Duration = Duration::from_secs(1);

/// Held by a start, of any server of this process, until its program is forked.
///
/// `pty_process` marks a terminal's master close-on-exec with a second system call; a program that is forked between
/// the two would inherit another session's terminal.
static TURN: Mutex<()> = Mutex::const_new(());

/// Why a program was not started.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The system's reason.
    Failed(io::Error),
    /// It took too long.
    TooLate,
    /// The server stops.
    Stopping,
}

impl NotStarted {
    /// What the client is told that wanted `program`.
    pub(super) fn into_refusal(self, program: String) -> RequestError {
        let why = match self {
            Self::Stopping => return RequestError::ShuttingDown,
            Self::Failed(error) => error.to_string(),
            Self::TooLate => format!(
                "it has not started within {} s; is it, or its directory, on a file system that doesn't answer?",
                START_LIMIT.as_secs(),
            ),
        };
        RequestError::NotStarted { program, why }
    }
}

/// The threads that start programs.
#[derive(Debug)]
pub(super) struct Starter {
    /// Its threads live as long as it does: a program that asks to be signalled when its parent is gone
    /// (`PR_SET_PDEATHSIG`) means the *thread* that started it. The runtime's own end when they have been idle.
    threads: Option<Runtime>,
    places: Arc<Semaphore>,
    turn: &'static Mutex<()>,
}

impl Starter {
    pub(super) fn new() -> Self {
        Self::in_turn(&TURN)
    }

    /// A starter that waits for no other's turn, where `turn` is its own.
    pub(super) fn in_turn(turn: &'static Mutex<()>) -> Self {
        let threads = Builder::new_current_thread()
            .max_blocking_threads(MOST_AT_ONCE)
            .thread_keep_alive(Duration::MAX)
            .thread_name("fugue-starter")
            .build();
        // It has no poller and no worker, whose making is all that could fail.
        Self { threads: threads.ok(), places: Arc::new(Semaphore::new(MOST_AT_ONCE)), turn }
    }

    /// Starts a program by `spawn`, which may block, unless that takes too long or the server stops meanwhile. What
    /// starts later is ended, with `grace`, and is nobody's.
    pub(super) async fn start(
        &self,
        spawn: impl FnOnce() -> io::Result<(Pty, Process)> + Send + 'static,
        stopping: &CancellationToken,
        grace: Duration,
    ) -> Result<(Pty, Process), NotStarted> {
        let mut too_late = pin!(too_late(stopping));
        let begun = tokio::select! {
            biased;
            begun = self.begin(spawn) => begun,
            why = &mut too_late => return Err(why),
        };
        let mut starting = begun.ok_or(NotStarted::Failed(io::ErrorKind::OutOfMemory.into()))?;
        tokio::select! {
            biased;
            started = &mut starting => started.map_err(io::Error::other).flatten().map_err(NotStarted::Failed),
            why = &mut too_late => {
                // Not among the sessions' tasks: a shutdown does not wait for what may never start.
                tokio::spawn(end_if_it_starts(starting, grace));
                Err(why)
            }
        }
    }

    /// Waits for a program that another process starts, unless that takes too long or the server stops meanwhile.
    pub(super) async fn start_elsewhere<T>(
        &self,
        starting: impl Future<Output = io::Result<T>>,
        stopping: &CancellationToken,
    ) -> Result<T, NotStarted> {
        let starting = async {
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            starting.await
        };
        tokio::select! {
            biased;
            started = starting => started.map_err(NotStarted::Failed),
            why = too_late(stopping) => Err(why),
        }
    }

    /// Runs `start` on a thread, in the caller's runtime, once it is its turn.
    ///
    /// # Cancel safety
    /// Cancel safe: it is begun when this returns, and not before.
    async fn begin<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> T + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let turn = self.turn.lock().await;
        let (ends, ended) = oneshot::channel::<()>();
        let runtime = Handle::current();
        let started = self.threads.as_ref()?.spawn_blocking(move || {
            // They drop when it has started, failed or panicked.
            let _held = (place, ends);
            let _entered = runtime.enter();
            start()
        });
        tokio::spawn(async move {
            // Either way the program is forked by now, or will never be.
            let _ = tokio::time::timeout(FORKED, ended).await;
            drop(turn);
        });
        Some(started)
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Nobody waits for a start that blocks.
            threads.shutdown_background();
        }
    }
}

/// Completes once a start is not waited for any more.
async fn too_late(stopping: &CancellationToken) -> NotStarted {
    tokio::select! {
        () = stopping.cancelled() => NotStarted::Stopping,
        () = sleep(START_LIMIT) => NotStarted::TooLate,
    }
}

/// Ends a program that starts too late to be anybody's.
async fn end_if_it_starts(starting: JoinHandle<io::Result<(Pty, Process)>>, grace: Duration) {
    let Ok(Ok((pty, program))) = starting.await else { return };
    info!(pid = program.id(), "a program that started too late is ended");
    drop(pty);
    let hang_up = CancellationToken::new();
    hang_up.cancel();
    // The runtime waits for one that outlives this.
    let _ = program::supervise(program, hang_up, grace).await;
}
