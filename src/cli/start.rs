//! Starting a server when none runs.

use std::{
    env, fs,
    io::{self, IsTerminal},
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{Globals, connect::NotConnected, print_error, serve};
use crate::client::Client;

/// How long a server may take to start. It is ready at once, unless its disk is not.
const START_TIME: Duration = Duration::from_secs(10);

/// How long a server that was started by another process at the same time may take until it listens.
const OTHER_START_TIME: Duration = Duration::from_secs(1);

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
        Err(_) => bail!(
            "the server that was started was not ready within {} s; {}",
            START_TIME.as_secs(),
            match log_of(common) {
                Some(log) => format!("see {log}"),
                None => "the disk of its socket may not answer".to_owned(),
            }
        ),
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
                sleep(Duration::from_millis(20)).await;
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

/// A server in the background that begins, and takes no socket before it is let to.
struct StartingServer(Child);

impl StartingServer {
    fn begin(common: &Globals) -> anyhow::Result<Self> {
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
    async fn give_up(mut self) -> anyhow::Result<()> {
        self.0.kill().await.context("ending a server that has just begun failed")
    }

    /// Lets it go on, and waits until it is ready or has failed; returns what it complained of.
    async fn finish(self, common: &Globals) -> anyhow::Result<String> {
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

/// The server's log, if there is one.
fn log_of(common: &Globals) -> Option<String> {
    let log = serve::log_path(&common.socket);
    fs::exists(&log).unwrap_or(false).then(|| log.display().to_string())
}
