//! Servers that are restarted, and lines that are lost: how long a key then takes to come back. And what it costs that
//! programs outlive their server: starting one, and the memory of the process that has them.

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fugue_server::{
    Client, Server, SessionId,
    client::{ConnectError, Incoming, ReconnectingClient, Watched},
    message::{AttachOptions, OnLag, StartAt},
};
use tempfile::TempDir;
use tokio::{net::UnixStream as TokioStream, runtime::Runtime, time::timeout};

use crate::{
    contest::Contest,
    process::{binary, private},
    row::{Row, Spread},
    suite::Scale,
    terminal::{create, role_program},
};

/// Between two keys.
const PAUSE: Duration = Duration::from_millis(2);
/// Keys that come back before an outage, so that all is warm.
const KEYS_BEFORE: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let outages = if scale.quick { 5 } else { 100 };
    let mut rows = pauses(outages)?;
    let runs = if scale.quick { 3 } else { 21 };
    let mut contest = Contest::new("outages", "start of a program", 1, ("ms", "ms"), "child");
    contest.enter("kept", || start_of_program(true, runs));
    contest.enter("child", || start_of_program(false, runs));
    rows.extend(contest.run(scale.rounds));
    let memory = row("memory", "keeper", 1, ("bytes", "bytes"));
    let samples = (0..scale.rounds.min(3)).map(|_| keeper_memory()).collect::<anyhow::Result<_>>()?;
    rows.push(memory.with_samples(samples));
    Ok(rows)
}

fn row(case: &str, system: &'static str, n: u64, (metric, unit): (&'static str, &'static str)) -> Row {
    Row { suite: "outages", case: case.to_owned(), system, n, metric, unit, ..Row::default() }
}

/// The longest that a key took around each outage, the kinds of outage in turn.
fn pauses(outages: usize) -> anyhow::Result<Vec<Row>> {
    let mut typing = Typing::begin()?;
    let (mut restarts, mut cuts, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..outages {
        restarts.push(typing.longest(Outage::Restart)?);
        cuts.push(typing.longest(Outage::Cut)?);
        none.push(typing.longest(Outage::None)?);
    }
    let mut rows = Vec::new();
    for (system, mut samples) in [("restart", restarts), ("cut line", cuts), ("nothing", none)] {
        samples.sort_by(f64::total_cmp);
        let at = |percent: usize| samples[(samples.len() * percent / 100).min(samples.len() - 1)];
        for (metric, value) in [("pause_ms_p50", at(50)), ("pause_ms_p99", at(99))] {
            let row = row("echo", system, outages as u64, (metric, "ms"));
            rows.push(row.with_samples(vec![value]));
        }
    }
    Ok(rows)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// `fugue-server restart`.
    Restart,
    /// The client's connection is cut.
    Cut,
    None,
}

/// The connection that there is, to be cut.
type Line = Arc<Mutex<Option<OwnedFd>>>;

/// One who types, on a server of the binary's.
struct Typing {
    runtime: Runtime,
    client: ReconnectingClient,
    line: Line,
    server: BinaryServer,
}

impl Typing {
    fn begin() -> anyhow::Result<Self> {
        let server = BinaryServer::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ready = server.directory.path().join("ready");
        let program = role_program(&["role-echo", &ready.display().to_string()])?;
        let line = Line::default();
        let client = runtime.block_on(async {
            let (_, session) = create(&server.socket, &program).await?;
            let (socket, held) = (server.socket.clone(), Arc::clone(&line));
            let connect = move || connect(socket.clone(), Arc::clone(&held));
            let options = AttachOptions::new(StartAt::Oldest, OnLag::Lossless);
            ReconnectingClient::attach(connect, session, options).await.map_err(anyhow::Error::from)
        })?;
        while !ready.exists() {
            std::thread::yield_now();
        }
        Ok(Self { runtime, client, line, server })
    }

    /// Types keys around an outage, each as the one before is back; the longest that one took, in milliseconds.
    fn longest(&mut self, outage: Outage) -> anyhow::Result<f64> {
        let Self { runtime, client, line, server } = self;
        runtime.block_on(async {
            let mut longest = Duration::ZERO;
            let mut command = None;
            let mut after = 0;
            for key in 0.. {
                if key == KEYS_BEFORE {
                    match outage {
                        Outage::Restart => command = Some(server.command(&["restart"]).spawn()?),
                        Outage::Cut => cut(line)?,
                        Outage::None => {}
                    }
                }
                let begun = Instant::now();
                client.type_in(b"x")?;
                timeout(PATIENCE, echo(client)).await.context("a key did not come back")??;
                longest = longest.max(begun.elapsed());
                // What has ended has done so for good.
                let is_over =
                    command.as_mut().map_or(Ok(true), |one| one.try_wait().map(|done| done.is_some()))?;
                if key > KEYS_BEFORE && is_over {
                    after += 1;
                }
                if after == KEYS_BEFORE {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            if command.is_some_and(|mut command| !command.wait().is_ok_and(|status| status.success())) {
                bail!("`restart` failed");
            }
            Ok(longest.as_secs_f64() * 1000.0)
        })
    }
}

async fn connect(socket: PathBuf, line: Line) -> Result<Client, ConnectError> {
    let stream = UnixStream::connect(&socket)?;
    stream.set_nonblocking(true)?;
    let held = OwnedFd::from(stream.try_clone()?);
    *line.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    Client::from_stream(TokioStream::from_std(stream)?).await
}

fn cut(line: &Line) -> anyhow::Result<()> {
    let line = line.lock().ok().and_then(|mut line| line.take()).context("there is no line")?;
    Ok(rustix::net::shutdown(line, rustix::net::Shutdown::Both)?)
}

/// Waits until one key is back.
async fn echo(client: &mut ReconnectingClient) -> anyhow::Result<()> {
    loop {
        if let Watched::Output { .. } = client.next().await? {
            return Ok(());
        }
    }
}

/// A server of the binary, with a socket of its own. Ends when dropped.
struct BinaryServer {
    directory: TempDir,
    socket: PathBuf,
    binary: PathBuf,
}

impl BinaryServer {
    fn start() -> anyhow::Result<Self> {
        let binary = binary()?;
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("fugue/server.sock");
        let server = Self { directory, socket, binary };
        if !server.command(&["new", "first", "-d", "--", "sleep", "3600"]).status()?.success() {
            bail!("no session was started");
        }
        Ok(server)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--socket").arg(&self.socket).args(arguments).env("FUGUE_CONFIG", "");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for BinaryServer {
    fn drop(&mut self) {
        let _ = self.command(&["stop"]).status();
    }
}

/// From asking for a program until its first byte is here: the median of some, in milliseconds.
fn start_of_program(kept: bool, runs: usize) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let runtime = crate::system::runtime()?;
    let inside = runtime.enter();
    let server = Server::builder(&socket);
    let server = if kept { server.keep_programs() } else { server };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.bind()?.serve(async { drop(stopped.await) }));
    drop(inside);
    let samples = runtime.block_on(async {
        // With it starts what has the programs.
        first_byte(&socket).await?;
        let mut samples = Vec::new();
        for _ in 0..runs {
            samples.push(first_byte(&socket).await?);
        }
        anyhow::Ok(samples)
    })?;
    drop(stop);
    runtime.block_on(serving)?;
    Ok(Spread::of(samples).context("nothing was run")?.median)
}

async fn first_byte(socket: &Path) -> anyhow::Result<f64> {
    let program = ["sh", "-c", "echo x; read x"].map(str::to_owned);
    let begun = Instant::now();
    let (mut client, session): (Client, SessionId) = create(socket, &program).await?;
    client.attach(session, AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
    while !matches!(client.next().await?, Incoming::Output { .. }) {}
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    client.kill(session).await?;
    Ok(took)
}

/// What the process that has the programs shares with no other, in bytes.
fn keeper_memory() -> anyhow::Result<f64> {
    let server = BinaryServer::start()?;
    let place = format!("fugue-keeper\0{}.keeper\0", server.socket.display());
    let is_it = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.ends_with(&place))
    };
    let processes = fs::read_dir("/proc")?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    private(numbers.find(is_it).context("no process has the programs")?)
}
