//! A machine: a server's socket, and the node that serves it.

use std::{
    fs::Permissions,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for something, which is asked for again and again.
pub(crate) fn eventually<T>(what: &str, mut try_it: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = try_it() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A process that ends with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A nats-server on a port of its own. `None` where there is none to be run.
pub(crate) struct Broker {
    directory: TempDir,
    process: Process,
    pub(crate) port: u16,
}

pub(crate) fn nats_server() -> PathBuf {
    std::env::var_os("FUGUE_NATS_SERVER").map_or_else(|| "nats-server".into(), Into::into)
}

impl Broker {
    /// Starts one with these lines in its configuration.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        if Command::new(nats_server()).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("not shown: there is no nats-server (Debian's package nats-server has one)");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("nats.conf"), configuration).unwrap();
        let (process, port) = Self::run(directory.path(), -1);
        Some(Self { directory, process, port })
    }

    /// Runs one, and finds its port where it writes that.
    fn run(directory: &Path, port: i32) -> (Process, u16) {
        let mut command = Command::new(nats_server());
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"]).arg(directory.join("nats.conf"));
        command.arg("--ports_file_dir").arg(directory).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().unwrap());
        let id = process.0.id();
        let port = eventually("nats-server's ports", || {
            let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            let is_it = |path: &PathBuf| path.to_string_lossy().ends_with(&format!("_{id}.ports"));
            let text = std::fs::read_to_string(files.into_iter().find(is_it)?).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            let url = ports["nats"][0].as_str()?.to_owned();
            url.rsplit_once(':')?.1.parse().ok()
        });
        (process, port)
    }

    /// Kills it, and starts another one on its port.
    pub(crate) fn restart(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        self.process = Self::run(self.directory.path(), i32::from(self.port)).0;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn url(&self, user: Option<&str>) -> String {
        let user = user.map_or_else(String::new, |user| format!("{user}:secret@"));
        format!("nats://{user}127.0.0.1:{}", self.port)
    }
}

/// Where a machine's server is.
#[derive(Clone)]
pub(crate) struct Address(PathBuf);

impl Address {
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
        command.arg("--socket").arg(&self.0).args(words);
        command.stdin(Stdio::null()).env_remove("FUGUE_SESSION").env_remove("FUGUE_SESSION_ID");
        command
    }
}

/// A machine with a server, and perhaps a node.
pub(crate) struct Machine {
    pub(crate) directory: TempDir,
    node: Option<Process>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        Self { directory, node: None }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("server.sock")
    }

    pub(crate) fn address(&self) -> Address {
        Address(self.socket())
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.address().command(words)
    }

    /// The process of its server.
    pub(crate) fn server(&self) -> Pid {
        let stats: serde_json::Value = serde_json::from_str(&self.ok(&["stats", "--json"])).unwrap();
        Pid::from_raw(stats["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that must succeed. What it prints.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts its node, and waits until it is connected.
    pub(crate) fn start_node(&mut self, name: &str, url: &str, more: &[&str]) {
        let mut command = self.command(&["node", "--name", name, "--nats", url]);
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("{name}\n"));
        self.node = Some(Process(child));
    }

    pub(crate) fn node(&self) -> &Process {
        self.node.as_ref().unwrap()
    }

    pub(crate) fn kill_node(&mut self) {
        self.node = None;
    }

    /// Starts to watch a session of another node into a pipe, and waits until it is there.
    pub(crate) fn record(&self, session: &str) -> Recorder {
        let (name, node) = session.split_once('@').unwrap();
        // So that the node has heard of the other one.
        eventually("the node", || {
            let nodes: serde_json::Value =
                serde_json::from_str(&self.ok(&["list", "--nodes", "--json"])).unwrap();
            let nodes = nodes.as_array().unwrap().clone();
            nodes.iter().any(|known| known["name"] == *node && known["is_lost"] == false).then_some(())
        });
        let mut command = self.command(&["attach", session]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let recorder = Recorder { child: Process(child) };
        eventually("the session", || {
            let listed: serde_json::Value = serde_json::from_str(&self.ok(&["list", "--json"])).unwrap();
            let sessions = listed.as_array().unwrap().clone();
            sessions.iter().any(|found| found["name"] == *name && found["clients"] == 1).then_some(())
        });
        recorder
    }

    /// Types a line into a session.
    pub(crate) fn send(&self, session: &str, text: &str) -> Output {
        let mut command = self.command(&["send", session]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.node = None;
        let _ = self.run(&["stop"]);
    }
}

/// A client that writes what it sees into a pipe.
pub(crate) struct Recorder {
    child: Process,
}

impl Recorder {
    /// All that it wrote, what it said, and its exit code.
    pub(crate) fn finish(mut self) -> (Vec<u8>, String, Option<i32>) {
        let (mut output, mut errors) = (Vec::new(), String::new());
        let mut stderr = self.child.0.stderr.take().unwrap();
        let said = thread::spawn(move || {
            stderr.read_to_string(&mut errors).unwrap();
            errors
        });
        self.child.0.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        (output, said.join().unwrap(), self.child.0.wait().unwrap().code())
    }
}
