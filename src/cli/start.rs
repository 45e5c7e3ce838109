//! Starting a server when none runs.

use std::{
    io::{self, IsTerminal},
    thread,
};

use anyhow::{Context, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Globals,
    connect::{NotConnected, OTHER_START_PAUSE, OTHER_START_TIME},
    launch::{START_TIME, StartingServer, not_ready},
    print_error,
};
use crate::client::Client;

/// When the server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    Before,
    Now,
}

/// Connects to the server, after starting one in the background if none runs. Also says whether it did that; and to
/// those who hand commands to what they start, that nobody reads them.
pub(super) async fn connect_or_start(common: &Globals) -> anyhow::Result<(Client, Started)> {
    let connected = find_or_start(common).await?;
    tell_of_input();
    Ok(connected)
}

/// Says that nobody reads standard input, once it has something: now, or as long as this runs. One that has nothing is
/// any script's.
pub(super) fn tell_of_input() {
    if io::stdin().is_terminal() {
        return;
    }
    let tell_if_any = || {
        let has_any = ioctl_fionread(io::stdin()).is_ok_and(|bytes| bytes > 0);
        if has_any {
            print_error(format_args!(
                "standard input is not typed into a session; `fugue-server send NAME` does that"
            ));
        }
        has_any
    };
    if !tell_if_any() {
        thread::spawn(move || {
            let stdin = io::stdin();
            let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
            // An error, or an end without anything before it, says that nothing comes.
            let _ = rustix::io::retry_on_intr(|| poll(&mut polled, None));
            tell_if_any();
        });
    }
}

pub(super) async fn find_or_start(common: &Globals) -> anyhow::Result<(Client, Started)> {
    if let Some(remote) = &common.remote {
        return Ok((remote.connect(true).await?, Started::Before));
    }
    let mut none = match common.try_sockets().await {
        Err(NotConnected::NoServer(none)) => none,
        connected => return Ok((connected?.0, Started::Before)),
    };
    // While it begins, others are looked for.
    let mut starting = StartingServer::begin(common)?;
    none.look_for_others(common);
    if none.may_come_back() {
        starting.give_up().await?;
        match common.connect().await {
            Err(NotConnected::NoServer(still_none)) => none = still_none,
            connected => return Ok((connected?, Started::Before)),
        }
        starting = StartingServer::begin(common)?;
    }
    if let Some(lost) = none.lost() {
        print_error(format_args!("{lost}"));
    }
    let complaint = match timeout(START_TIME, starting.finish(common)).await {
        Ok(started) => started?,
        Err(_) => bail!("{}", not_ready(common)),
    };
    // Of several servers started at once one gets the socket, and it serves all who wanted one.
    let started = Instant::now();
    loop {
        match common.connect().await {
            Ok(client) if complaint.is_empty() => return Ok((client, Started::Now)),
            Ok(client) => return Ok((client, Started::Before)),
            Err(NotConnected::NoServer(_)) if !complaint.is_empty() => {
                if started.elapsed() > OTHER_START_TIME {
                    bail!("no server runs, and starting one failed: {complaint}");
                }
                sleep(OTHER_START_PAUSE).await;
            }
            Err(error) => return Err(error).context("a server was started, but could not be reached"),
        }
    }
}

/// Ends a server that was started for a request which it refused, unless somebody uses it meanwhile.
pub(super) async fn end_if_unused(mut client: Client) {
    let Ok(stats) = client.stats().await else { return };
    let clients: usize = stats.clients_per_shard.iter().sum();
    let process = client.server_process().and_then(Pid::from_raw);
    if let Some(process) = process.filter(|_| clients == 1 && stats.sessions.is_empty()) {
        // An error says that it is gone.
        let _ = kill_process(process, Signal::TERM);
        // It tells its clients, and then ends.
        while client.next().await.is_ok() {}
    }
}
