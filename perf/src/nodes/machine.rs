//! Servers, nodes, and the nats-server between them.

use std::{
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fugue_server::{
    Client, SessionId,
    message::{Pace, SessionInfo},
};
use tempfile::TempDir;

use crate::{
    process::binary,
    system::start_nats,
    terminal::create_paced,
    web::{Process, start_process},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something, which is asked for again and again.
pub(super) async fn eventually<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            bail!("{what}: not in {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A nats-server on loopback. Ends when dropped.
pub(crate) struct Broker {
    process: Process,
    pub(crate) address: String,
    _directory: TempDir,
}

impl Broker {
    /// With these lines in its configuration.
    pub(crate) fn start(configuration: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let (process, address, _) = start_nats(directory.path(), configuration)?;
        Ok(Self { process: Process(process), address, _directory: directory })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

/// A machine. Ends when dropped.
pub(crate) struct Machine {
    name: &'static str,
    url: String,
    binary: PathBuf,
    pub(crate) socket: PathBuf,
    node: Option<Process>,
    server: Process,
    pub(crate) directory: TempDir,
}

impl Machine {
    /// Starts both, and waits until the node is connected.
    pub(crate) fn start(name: &'static str, broker: &Broker) -> anyhow::Result<Self> {
        let (binary, directory) = (binary()?, tempfile::tempdir()?);
        let socket = directory.path().join("fugue/server.sock");
        let mut serve = command(&binary, &socket);
        let serve = serve.args(["serve", "--max-clients", "1000"]).stdout(Stdio::null()).spawn()?;
        let server = Process(serve);
        let url = broker.url();
        let mut machine = Self { name, url, binary, socket, node: None, server, directory };
        let begun = Instant::now();
        while UnixStream::connect(&machine.socket).is_err() {
            if begun.elapsed() > PATIENCE {
                bail!("the server did not start");
            }
            std::thread::yield_now();
        }
        machine.start_node()?;
        Ok(machine)
    }

    fn command(&self) -> Command {
        command(&self.binary, &self.socket)
    }

    pub(crate) fn start_node(&mut self) -> anyhow::Result<()> {
        let mut node = self.command();
        node.args(["node", "--name", self.name, "--nats", &self.url]);
        let (process, name) = start_process(&mut node)?;
        if name != self.name {
            bail!("the node did not start; build it: cargo build --release --features nodes");
        }
        self.node = Some(process);
        Ok(())
    }

    /// Ends the node with SIGKILL.
    pub(crate) fn kill_node(&mut self) {
        self.node = None;
    }

    pub(crate) fn node(&self) -> anyhow::Result<&Child> {
        Ok(&self.node.as_ref().context("there is no node")?.0)
    }

    /// The processes that it consists of: its server and its node.
    pub(crate) fn pids(&self) -> anyhow::Result<[u32; 2]> {
        Ok([self.server.0.id(), self.node()?.id()])
    }

    /// Starts a program in a session whose output waits for those who watch.
    pub(crate) async fn session(&self, program: &[String]) -> anyhow::Result<(Client, SessionInfo)> {
        create_paced(&self.socket, program, Pace::Slowest).await
    }

    /// Has a session of another machine mirrored. It stays while the process that is returned watches it, or another.
    pub(crate) async fn mirror(&self, host: &Self, session: &SessionInfo) -> anyhow::Result<Process> {
        let mut client = Client::connect(&self.socket).await?;
        let place = format!("{}@{}", session.name, host.name);
        let attach = || {
            let mut command = self.command();
            command.args(["attach", "--read-only", &place]).stdout(Stdio::null());
            Ok::<_, anyhow::Error>(Process(command.spawn()?))
        };
        let mut watching = attach()?;
        eventually("a mirror", async || {
            if watching.0.try_wait()?.is_some() {
                // The nodes have not heard of each other yet.
                watching = attach()?;
            }
            Ok(client
                .list()
                .await?
                .iter()
                .any(|found| found.id == session.id && found.clients > 0)
                .then_some(()))
        })
        .await?;
        Ok(watching)
    }

    pub(crate) async fn info(&self, client: &mut Client, session: SessionId) -> anyhow::Result<SessionInfo> {
        client.list().await?.into_iter().find(|found| found.id == session).context("there is no such session")
    }
}

fn command(binary: &PathBuf, socket: &PathBuf) -> Command {
    let mut command = Command::new(binary);
    command.arg("--socket").arg(socket).env("FUGUE_CONFIG", "").stdin(Stdio::null()).stderr(Stdio::null());
    command
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.node = None;
        // Programs are of a process beside the server, which a server that is told to stop ends.
        let _ = self.command().arg("stop").stdout(Stdio::null()).status();
    }
}
