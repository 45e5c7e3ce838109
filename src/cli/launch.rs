//! Starting a server's process.

use std::{env, fs, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{Globals, serve};

/// How long a server may take to start. It is ready at once, unless its disk is not.
pub(super) const START_TIME: Duration = Duration::from_secs(10);

/// Starts a server and waits until it is ready or has failed; returns what it complained of.
pub(super) async fn launch(common: &Globals) -> anyhow::Result<String> {
    let started = timeout(START_TIME, StartingServer::begin(common)?.finish(common)).await;
    started.unwrap_or_else(|_| Ok(not_ready(common)))
}

/// A server in the background that begins, and takes no socket before it is let to.
pub(super) struct StartingServer(Child);

impl StartingServer {
    pub(super) fn begin(common: &Globals) -> anyhow::Result<Self> {
        let program = env::current_exe().context("finding this program's own file failed")?;
        let mut server = Command::new(program);
        server.args(["serve", "--background", "--socket"]).arg(&common.socket);
        if common.says_log {
            // Otherwise it is as the settings say, also when they change.
            server.args(["--log", &common.log.to_string()]);
        }
        let server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(server.spawn().context("starting a server failed")?))
    }

    /// It is not needed, and ends before it has done anything.
    pub(super) async fn give_up(mut self) -> anyhow::Result<()> {
        self.0.kill().await.context("ending a server that has just begun failed")
    }

    /// Lets it go on, and waits until it is ready or has failed; returns what it complained of.
    pub(super) async fn finish(self, common: &Globals) -> anyhow::Result<String> {
        let Self(mut server) = self;
        drop(server.stdin.take());
        let (Some(stdout), Some(mut stderr)) = (server.stdout.take(), server.stderr.take()) else {
            bail!("starting a server failed: could not capture its output");
        };
        let mut ready = String::new();
        // The end of its output means that it failed; then the reason is on the other stream.
        BufReader::new(stdout).read_line(&mut ready).await.context("waiting for the server failed")?;
        if ready.trim_end() == serve::READY {
            return Ok(String::new());
        }
        let mut complaint = String::new();
        stderr.read_to_string(&mut complaint).await.context("waiting for the server failed")?;
        server.wait().await.context("waiting for the server failed")?;
        let complaint = complaint.trim().trim_start_matches("fugue-server: ").to_owned();
        if complaint.is_empty() {
            let log = log_of(common).map(|log| format!("; see {log}"));
            return Ok(format!("it exited without an error message{}", log.unwrap_or_default()));
        }
        Ok(complaint)
    }
}

/// What is said of a server that was not ready in time.
pub(super) fn not_ready(common: &Globals) -> String {
    let where_to_look = match log_of(common) {
        Some(log) => format!("see {log}"),
        None => "the disk of its socket may not answer".to_owned(),
    };
    format!("the server that was started was not ready within {} s; {where_to_look}", START_TIME.as_secs())
}

/// The server's log, if there is one.
fn log_of(common: &Globals) -> Option<String> {
    let log = serve::log_path(&common.socket);
    fs::exists(&log).unwrap_or(false).then(|| log.display().to_string())
}
