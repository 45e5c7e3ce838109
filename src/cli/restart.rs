//! `restart`: another server goes on with what one does.

use std::{fs, time::Duration};

use anyhow::{Context, bail};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::{Instant, sleep, timeout};

use super::{Exit, Globals, block_on, print_note, serve::NOT_RESTARTED, stop::server};
use crate::{client::Incoming, message::Event};

/// How long it may take: several times what its steps are given.
const RESTART_TIME: Duration = Duration::from_secs(30);

/// The pause between two looks for the next server.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the server again, as of a new version: sessions go on, and clients reconnect by themselves
///
/// No output is lost, and what is typed is typed once. Where the new one can't start, the running one goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(common: &Globals, Args {}: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let Some((before, process)) = server(common).await? else { return Ok(Exit::FAILURE) };
        if !takes_restarts(before) {
            bail!(
                "the server, process {before}, is of a version that can't be restarted; `stop` ends it, with its sessions"
            );
        }
        let mut client = common.connect().await?;
        pidfd_send_signal(&process, Signal::USR2)
            .with_context(|| format!("telling the server, process {before}, failed"))?;
        let begun = Instant::now();
        let lost = async {
            loop {
                match client.next().await {
                    Ok(Incoming::Event(Event::Notice(text))) if text.starts_with(NOT_RESTARTED) => {
                        return Some(text);
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        if let Some(why) = timeout(RESTART_TIME, lost).await.context("the server does not restart")? {
            bail!("{why}");
        }
        loop {
            // One that has much to take over may not answer at once.
            let found = match common.connect().await {
                Ok(mut client) => client.stats().await.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            match found {
                Ok(stats) if i64::from(stats.pid) != i64::from(before) => {
                    let (next, sessions) = (stats.pid, stats.sessions.len());
                    print_note(format_args!(
                        "[process {next} goes on for {before}, with {sessions} sessions]"
                    ));
                    return Ok(Exit::SUCCESS);
                }
                Err(error) if begun.elapsed() > RESTART_TIME => return Err(error),
                Ok(_) if begun.elapsed() > RESTART_TIME => bail!("the server does not restart"),
                _ => sleep(PAUSE).await,
            }
        }
    })
}

/// Whether a process has a handler for the signal: without one, it would end.
fn takes_restarts(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & 1 << (Signal::USR2.as_raw() - 1) != 0
}
