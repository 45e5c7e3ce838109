//! Starting a server when none runs.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use super::{Common, serve};
use crate::client::{Client, ConnectError};

/// Connects to the server, after starting one in the background if none runs.
pub(super) async fn connect_or_start(common: &Common) -> anyhow::Result<Client> {
    match common.connect().await {
        Err(ConnectError::NoServer(_)) => {}
        connected => return Ok(connected?),
    }
    let complaint = start(common)?;
    // Of several servers started at once one gets the socket, and it serves all who wanted one.
    match common.connect().await {
        Ok(client) => Ok(client),
        Err(ConnectError::NoServer(_)) if !complaint.is_empty() => {
            bail!("no server runs, and starting one failed: {complaint}")
        }
        Err(error) => Err(error).context("a server was started, but could not be reached"),
    }
}

/// Starts a server and waits until it is ready or has failed; returns what it complained of.
fn start(common: &Common) -> anyhow::Result<String> {
    let program = env::current_exe().context("finding this program's own file failed")?;
    let mut server = Command::new(program)
        .arg("--socket")
        .arg(&common.socket)
        .args(["--log", &common.log.to_string(), "serve", "--background"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting a server failed")?;
    let (Some(stdout), Some(mut stderr)) = (server.stdout.take(), server.stderr.take()) else {
        bail!("starting a server failed: its output was not to be had");
    };
    let mut ready = String::new();
    // The end of its output means that it failed; then the reason is on the other stream.
    BufReader::new(stdout).read_line(&mut ready).context("waiting for the server failed")?;
    if ready.trim_end() == serve::READY {
        return Ok(String::new());
    }
    let mut complaint = String::new();
    stderr.read_to_string(&mut complaint).context("waiting for the server failed")?;
    server.wait().context("waiting for the server failed")?;
    let complaint = complaint.trim().trim_start_matches("fugue-server: ").to_owned();
    if complaint.is_empty() {
        let log = serve::log_path(&common.socket);
        let log = fs::exists(&log).unwrap_or(false).then(|| format!("; see {}", log.display()));
        return Ok(format!("it ended without a word{}", log.unwrap_or_default()));
    }
    Ok(complaint)
}
