//! The binary as a person runs it: in real terminals, in pipes, with the server killed under it.

#[cfg(feature = "bench")]
mod bench;
mod choosing;
mod completing;
mod config;
mod faults;
mod finding;
mod hostile;
mod hung;
mod inside;
mod kept;
mod keys;
mod leaving;
mod lifecycle;
mod logs;
mod lost_lines;
mod memory;
mod nesting;
mod new_terminals;
mod outlasting;
mod provided;
mod recorders;
mod recording;
mod relay;
mod reloading;
mod remote;
mod scripts;
mod security;
mod shares;
mod stats;
mod supervised;
mod surroundings;
mod surroundings_of_clients;
mod table;
mod terminals;
mod unkillable;
mod usage;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::Permissions,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use pty_process::blocking::{Pts, Pty};
use rustix::{
    process::{Pid, Signal, kill_process, kill_process_group},
    termios::{Action, Termios, tcflow, tcgetattr, tcgetpgrp},
};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it: a machine may be slow, and run many tests at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines that a terminal keeps above its screen.
const SCROLLBACK: usize = 200;

/// A socket of one's own, and whatever runs on it; nothing of that outlives this.
pub(crate) struct Home {
    directory: TempDir,
    socket_name: &'static str,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), socket_name: "server.sock" }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("fugue").join(self.socket_name)
    }

    fn environment(&self) -> [(&'static str, PathBuf); 6] {
        [
            ("FUGUE_SOCKET", self.socket()),
            // Nobody's settings change what the tests see.
            ("XDG_CONFIG_HOME", self.directory.path().join("config")),
            ("TERM", "xterm-256color".into()),
            ("SHELL", "/bin/sh".into()),
            ("PS1", "ready> ".into()),
            ("ENV", "".into()),
        ]
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
        for inherited in inherited() {
            command.env_remove(inherited);
        }
        command.args(arguments).envs(self.environment()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(arguments)).unwrap()
    }

    /// The one session of this name in `list`.
    pub(crate) fn session(&self, name: &str) -> Value {
        let sessions = self.json(&["list", "--json"]);
        sessions.as_array().unwrap().iter().find(|session| session["name"] == name).unwrap().clone()
    }

    pub(crate) fn server_pid(&self) -> u64 {
        self.json(&["stats", "--json"])["pid"].as_u64().unwrap()
    }

    /// The keepers of this socket's servers.
    pub(crate) fn keepers(&self) -> Vec<u64> {
        let place = format!("\0fugue-keeper\0{}.keeper\0", self.socket().display());
        let processes = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_it = |pid: &String| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(place.as_bytes()))
        };
        processes.filter(is_it).filter_map(|pid| pid.parse().ok()).collect()
    }

    pub(crate) fn signal_server(&self, with: Signal) {
        signal(self.server_pid(), with);
    }

    /// Waits until this many clients are connected, beside those that only ask for this.
    pub(crate) fn has_connections(&self, count: usize) {
        let mut before = BTreeSet::new();
        eventually("so many clients are connected", || {
            let stats = self.json(&["stats", "--json"]);
            let clients = stats["by_client"].as_array().unwrap();
            let now: BTreeSet<_> = clients.iter().map(|client| client["id"].as_u64().unwrap()).collect();
            // One that asked may still be there when the next one asks, but not when the one after that does.
            let stay = now.intersection(&before).count();
            before = now;
            stay == count
        });
    }

    /// Kills the server and its keeper, which none of them notices of the other.
    pub(crate) fn kill_all(&self) {
        let server = self.server_pid();
        signal(server, Signal::STOP);
        for keeper in self.keepers() {
            signal(keeper, Signal::KILL);
        }
        signal(server, Signal::KILL);
    }

    /// Runs the binary in a terminal of its own.
    pub(crate) fn terminal(&self, arguments: &[&str]) -> Terminal {
        self.terminal_of(24, 80, arguments)
    }

    /// Runs the binary in a terminal of this many rows and columns.
    pub(crate) fn terminal_of(&self, rows: u16, cols: u16, arguments: &[&str]) -> Terminal {
        Terminal::start(self, rows, cols, env!("CARGO_BIN_EXE_fugue-server"), arguments)
    }

    /// Runs a script of the shell in a terminal. The shell finds the binary by its name.
    pub(crate) fn shell_terminal(&self, script: &str) -> Terminal {
        Terminal::start(self, 24, 80, "/bin/sh", &["-c", script])
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let stats = self.command(&["stats", "--json"]).output();
        let pid = stats.ok().and_then(|stats| serde_json::from_slice::<Value>(&stats.stdout).ok());
        // In a container it may be 1, which is another here.
        let pid = pid.and_then(|stats| stats["pid"].as_u64()).filter(|pid| *pid > 1);
        if let Some(pid) = pid {
            signal(pid, Signal::TERM);
            let start = Instant::now();
            while lives(pid) && start.elapsed() < PATIENCE {
                thread::park_timeout(Duration::from_millis(2));
            }
        }
        // Of a server that could not be asked any more, the programs go with their terminals.
        for keeper in self.keepers() {
            signal(keeper, Signal::KILL);
        }
    }
}

/// A server of chosen settings. It ends with the test.
pub(crate) struct Served(pub(crate) Child);

/// Starts a server; it is ready when this returns.
pub(crate) fn serve(home: &Home, settings: &[&str]) -> Served {
    let mut command = home.command(&["serve"]);
    command.args(settings).stderr(Stdio::null());
    Served::start(&mut command)
}

impl Served {
    /// Runs a command that is or becomes a server; it is ready when this returns.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Self(child)
    }

    pub(crate) fn pid(&self) -> u64 {
        self.0.id().into()
    }

    /// Tells it to stop, and waits until it has, without a failure.
    pub(crate) fn stop(&mut self) {
        signal(self.pid(), Signal::TERM);
        assert_eq!(wait(&mut self.0).code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn signal(pid: u64, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

pub(crate) fn lives(pid: u64) -> bool {
    // A zombie has ended; only its parent has not looked yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Waits until a condition that no event tells of holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits for a child, and gives up on one that never ends.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    eventually("the process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// A terminal with the binary in it, as a person has it.
pub(crate) struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    /// Keeps the terminal open when the program has ended.
    slave: Pts,
    before: String,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

pub(crate) struct Shown {
    pub(crate) screen: vt100::Parser,
    pub(crate) bytes: Vec<u8>,
}

impl Shown {
    /// The screen's text, without the spaces that lines end with.
    pub(crate) fn text(&self) -> String {
        let contents = self.screen.screen().contents();
        contents.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

impl Terminal {
    fn start(home: &Home, rows: u16, cols: u16, program: &str, arguments: &[&str]) -> Self {
        let (pty, slave) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(rows, cols)).unwrap();
        let before = modes(&tcgetattr(&pty).unwrap());
        let command = pty_process::blocking::Command::new(program).args(arguments);
        let command = inherited().fold(command, |command, variable| command.env_remove(variable));
        let mut command = command.envs(home.environment()).env("PATH", path());
        let child = command.spawn_borrowed(&slave).unwrap();
        let pty = Arc::new(pty);
        let shown = Shown { screen: vt100::Parser::new(rows, cols, SCROLLBACK), bytes: Vec::new() };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let (reader, sink) = (Arc::clone(&pty), Arc::clone(&shown));
        // Ends with the terminal, or with the tests.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = (&*reader).read(&mut buffer) {
                let mut shown = sink.0.lock().unwrap();
                shown.screen.process(&buffer[..read]);
                shown.bytes.extend_from_slice(&buffer[..read]);
                sink.1.notify_all();
            }
        });
        Self { child, pty, slave, before, shown }
    }

    pub(crate) fn type_in(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until what is shown satisfies `condition`.
    pub(crate) fn wait_until<T>(&self, what: &str, mut condition: impl FnMut(&Shown) -> Option<T>) -> T {
        let start = Instant::now();
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            if let Some(found) = condition(&shown) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "never shown: {what}; the screen is:\n{}", shown.text());
            shown = self.shown.1.wait_timeout(shown, Duration::from_millis(100)).unwrap().0;
        }
    }

    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, |shown| shown.text().contains(text).then_some(()));
    }

    pub(crate) fn text(&self) -> String {
        self.shown.0.lock().unwrap().text()
    }

    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        self.shown.0.lock().unwrap().screen.screen_mut().set_size(rows, cols);
        self.pty.resize(pty_process::Size::new(rows, cols)).unwrap();
    }

    /// Takes nothing more, as after ctrl-S at a terminal that minds it; until [`go_on`](Self::go_on).
    pub(crate) fn stop(&self) {
        tcflow(&self.slave, Action::OOff).unwrap();
    }

    pub(crate) fn go_on(&self) {
        tcflow(&self.slave, Action::OOn).unwrap();
    }

    pub(crate) fn pid(&self) -> u64 {
        self.child.id().into()
    }

    /// Sends a signal as the terminal does for a key: to the processes in front.
    pub(crate) fn signal_foreground(&self, signal: Signal) {
        kill_process_group(tcgetpgrp(&*self.pty).unwrap(), signal).unwrap();
    }

    pub(crate) fn is_as_it_was(&self) -> bool {
        modes(&tcgetattr(&*self.pty).unwrap()) == self.before
    }

    /// Waits for the end, and for the terminal to be as it was before.
    pub(crate) fn ends_with(&mut self, code: i32) {
        let status = wait(&mut self.child);
        assert_eq!(status.code(), Some(code), "the screen is:\n{}", self.shown.0.lock().unwrap().text());
        assert!(self.is_as_it_was(), "the terminal's modes are not as they were");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modes(termios: &Termios) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        termios.input_modes, termios.output_modes, termios.control_modes, termios.local_modes
    )
}

/// What the tests may have been started with, and what they start must not see: settings, a session that they run in, a
/// service manager.
fn inherited() -> impl Iterator<Item = OsString> {
    let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"FUGUE_");
    let manager =
        ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"];
    let ours = std::env::vars_os().map(|(name, _)| name).filter(is_ours);
    ours.chain(manager.map(OsString::from))
}

/// Where the shell finds the binary and its own tools.
fn path() -> String {
    let path = Path::new(env!("CARGO_BIN_EXE_fugue-server")).parent().unwrap();
    format!("{}:/usr/bin:/bin", path.display())
}

/// A script of the shell, which finds the binary by its name.
pub(crate) fn shell(home: &Home, script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    for inherited in inherited() {
        shell.env_remove(inherited);
    }
    shell.args(["-c", script]).envs(home.environment()).env("PATH", path()).stdin(Stdio::null());
    shell
}

/// Runs a script of the shell; for pipes and redirections as people write them.
pub(crate) fn script(home: &Home, script: &str) -> Output {
    let mut shell = shell(home, script);
    shell.output().unwrap()
}

/// The user nobody.
pub(crate) const NOBODY: u32 = 65534;

/// Another user than the one who runs the tests, with a home of its own and the binary where it can be reached.
pub(crate) struct Other {
    pub(crate) home: Home,
    binary: PathBuf,
}

impl Other {
    /// `None` where the tests can't become another user, which is said.
    pub(crate) fn new() -> Option<Self> {
        let home = Home::new();
        if chown(home.directory.path(), Some(NOBODY), Some(NOBODY)).is_err() {
            println!("not shown: only root can become another user");
            return None;
        }
        std::fs::set_permissions(home.directory.path(), Permissions::from_mode(0o755)).unwrap();
        let (built, binary) = (env!("CARGO_BIN_EXE_fugue-server"), home.directory.path().join("binary"));
        std::fs::hard_link(built, &binary).or_else(|_| std::fs::copy(built, &binary).map(drop)).unwrap();
        Some(Self { home, binary })
    }

    fn become_it(&self, mut command: Command) -> Command {
        for inherited in inherited() {
            command.env_remove(inherited);
        }
        command.envs(self.home.environment()).stdin(Stdio::null());
        command.current_dir("/").uid(NOBODY).gid(NOBODY);
        command
    }

    /// The binary as that user.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.become_it(Command::new(&self.binary));
        command.args(arguments);
        command
    }

    /// A script of that user's, who finds the binary as `$0`.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = self.become_it(Command::new("/bin/sh"));
        command.args(["-c", script]).arg(&self.binary);
        command
    }

    pub(crate) fn serve(&self) -> Served {
        Served::start(self.command(&["serve"]).stderr(Stdio::null()))
    }
}
