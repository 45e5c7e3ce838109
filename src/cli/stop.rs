//! `stop`: ends the server.

use std::os::fd::OwnedFd;

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
async fn server(common: &Globals) -> anyhow::Result<Option<(i32, OwnedFd)>> {
    let mut client = match common.connect().await {
        Ok(client) => client,
        // That is what was wanted.
        Err(NotConnected::NoServer(none)) => {
            print_error(format_args!("{none}"));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    // By its number here, and not by that which it has for itself: in a container it may be 1 there.
    let process = client.server_process().and_then(Pid::from_raw).context(
        "the server's process is not seen from here, as from within another container; end it where it runs",
    )?;
    let number = process.as_raw_nonzero().get();
    let server = pidfd_open(process, PidfdFlags::empty()).context("finding the server's process failed")?;
    // It still answers, so the handle is on it.
    client.ping().await?;
    Ok(Some((number, server)))
}
