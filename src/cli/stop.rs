//! `stop`: ends the server.

use std::{
    fs::{self, Metadata},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Exit, Globals, block_on, connect::NotConnected, print_error};

/// How long the server has to end: longer than a shutdown takes whose every step is waited for in full.
const STOP_SECONDS: i64 = 30;

/// Ends the server and all of its sessions, as SIGTERM does, and waits until it has gone
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(common: &Globals, Args {}: Args) -> anyhow::Result<Exit> {
    let Some((number, server)) = block_on(server(common))? else { return Ok(Exit::SUCCESS) };
    pidfd_send_signal(&server, Signal::TERM)
        .with_context(|| format!("ending the server, process {number}, failed"))?;
    let mut polled = [PollFd::new(&server, PollFlags::IN)];
    let time = Timespec { tv_sec: STOP_SECONDS, tv_nsec: 0 };
    if rustix::io::retry_on_intr(|| poll(&mut polled, Some(&time)))? == 0 {
        bail!(
            "the server has not ended within {STOP_SECONDS} s; `kill -9 {number}` ends it, and its sessions with it"
        );
    }
    Ok(Exit::SUCCESS)
}

/// The server's process, by its number and as a handle that no other process can take the place of; `None` where no
/// server runs, which is said.
pub(super) async fn server(common: &Globals) -> anyhow::Result<Option<(i32, OwnedFd)>> {
    let (mut client, socket) = match common.connect_somewhere().await {
        Ok(connected) => connected,
        // That is what was wanted.
        Err(NotConnected::NoServer(none)) => {
            print_error(format_args!("{none}"));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    // In a container it has another number than here; and who listened first may have been a service manager. Where the
    // two agree, there is no doubt.
    let own = i32::try_from(client.stats().await?.pid).ok().and_then(Pid::from_raw);
    let listener = client.server_process().and_then(Pid::from_raw);
    let lock = fs::metadata(lock_path(&socket)).ok();
    let is_server =
        |process: &Pid| own == listener || lock.as_ref().is_some_and(|lock| has_open(*process, lock));
    let process = own.into_iter().chain(listener).find(is_server).context(
        "the server's process is not seen from here, as from within another container; end it where it runs",
    )?;
    let number = process.as_raw_nonzero().get();
    let server = pidfd_open(process, PidfdFlags::empty()).context("finding the server's process failed")?;
    // It still answers, so the handle is on it.
    client.ping().await?;
    Ok(Some((number, server)))
}

/// Whether a process has this file open, under whatever name.
fn has_open(process: Pid, file: &Metadata) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero()));
    descriptors.into_iter().flatten().flatten().any(|descriptor| {
        let open = fs::metadata(descriptor.path());
        open.is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
    })
}

/// What a server locks, beside its socket, as long as it lives.
fn lock_path(socket: &Path) -> PathBuf {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}
