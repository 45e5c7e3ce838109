//! The server that goes on with what this one does, when it is restarted.

use std::{
    env,
    ffi::OsString,
    future::pending,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    signal::unix::Signal,
    time::timeout,
};
use tracing::warn;

use super::WAITING;
use crate::{Clients, Server, server::Handover};

/// How long it may take to be ready to take over.
const START_TIME: Duration = Duration::from_secs(10);

/// What it is started with, beside what this one was.
const TAKE_OVER: &str = "--take-over";

/// What clients are told a server could not be restarted by.
pub(in crate::cli) const NOT_RESTARTED: &str = "the server could not be restarted";

/// What asks for restarts, and what they take.
pub(super) struct Restarts {
    handover: Handover,
    clients: Clients,
    socket: PathBuf,
    asked: Option<Signal>,
    /// Nobody sees what this server says.
    is_quiet: bool,
}

impl Restarts {
    pub(super) fn new(server: &Server, asked: Option<Signal>, is_quiet: bool) -> Self {
        let socket = server.socket().to_owned();
        Self { handover: server.handover(), clients: server.clients(), socket, asked, is_quiet }
    }

    /// Completes once another server waits for this one, which was asked for; with its process.
    pub(super) async fn next_server(mut self) -> u32 {
        let Some(mut asked) = self.asked.take() else { return pending().await };
        loop {
            asked.recv().await;
            match start(&self.handover, &self.socket, self.is_quiet).await {
                Ok(pid) => return pid,
                Err(error) => {
                    warn!(error = format!("{error:#}"), "not restarted");
                    let _ = self.clients.notify_all(format!("{NOT_RESTARTED}: {error:#}; it goes on"));
                }
            }
        }
    }
}

/// Starts it, by the file that this program was started by, and with the same options. Returns its process once it
/// waits for nothing but this one.
async fn start(handover: &Handover, socket: &Path, is_quiet: bool) -> anyhow::Result<u32> {
    handover.prepare().await.context("what runs can't be handed over")?;
    // Another version may have that name by now.
    let program = env::current_exe().context("finding this program's own file failed")?;
    let program = program.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    let arguments: Vec<OsString> = env::args_os().skip(1).filter(|argument| argument != TAKE_OVER).collect();
    let mut next = Command::new(&program)
        .args(arguments)
        .arg(TAKE_OVER)
        .env("FUGUE_SOCKET", socket)
        // What a service manager says of this process holds for the next one.
        .env_remove("WATCHDOG_PID")
        .env_remove("LISTEN_PID")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if is_quiet { Stdio::piped() } else { Stdio::inherit() })
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {program} failed"))?;
    let Some(stdout) = next.stdout.take() else { bail!("capturing its output failed") };
    let mut said = String::new();
    let waiting = async { BufReader::new(stdout).read_line(&mut said).await };
    timeout(START_TIME, waiting).await.context("the next one was not ready in time")??;
    if said.trim_end() == WAITING {
        let pid = next.id().context("the next one has ended")?;
        // This process ends by itself, and not the other.
        std::mem::forget(next);
        return Ok(pid);
    }
    let mut why = String::new();
    if let Some(mut stderr) = next.stderr.take() {
        timeout(START_TIME, stderr.read_to_string(&mut why)).await.context("the next one does not end")??;
    }
    let why = why.trim().trim_start_matches("fugue-server: ").to_owned();
    if why.is_empty() {
        bail!("the next one ended before it was ready")
    }
    bail!("{why}")
}
