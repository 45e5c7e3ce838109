//! How long a person waits: for a command to end, or for the first screen of a session that is attached to.
//!
//! The binaries themselves are run, each with settings and a socket of its own. A figure is the median of some runs.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::{
    contest::Contest,
    process::binary,
    row::{Row, Spread},
    suite::Scale,
};

/// What the session shows that is attached to.
const SHOWN: &str = "the-first-screen";

#[derive(Clone, Copy, Debug)]
enum Case {
    /// `new -d` where no server runs.
    ColdStart,
    /// `new -d` on a server.
    New,
    /// `list` of one session.
    List,
    /// From the start of `attach` until the terminal has what the session shows.
    Attach,
}

const CASES: [(&str, Case); 4] = [
    ("cold start", Case::ColdStart),
    ("new -d", Case::New),
    ("list", Case::List),
    ("attach to first screen", Case::Attach),
];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let runs = if scale.quick { 3 } else { 21 };
    let mut rows = Vec::new();
    for (name, case) in CASES {
        let mut contest = Contest::new("commands", name, 1, ("ms", "ms"), "tmux");
        contest.enter("fugue", || measure(Tool::fugue, case, runs));
        contest.enter("tmux", || measure(Tool::tmux, case, runs));
        rows.extend(contest.run(scale.rounds));
    }
    Ok(rows)
}

/// The median of some runs, in milliseconds.
fn measure(tool: fn() -> anyhow::Result<Tool>, case: Case, runs: usize) -> anyhow::Result<f64> {
    let started = tool()?;
    // So that it has printed, and the binary is in memory.
    started.start("shown", &format!("printf {SHOWN}; exec sleep 3600"))?;
    started.attach()?;
    let run = || match case {
        // Another each time, as tmux' server still ends when it says that it has.
        Case::ColdStart => tool()?.start("first", "exec sleep 3600"),
        Case::New => {
            let took = started.start("another", "exec sleep 3600")?;
            started.run(&[started.kill, &["another"]].concat())?;
            Ok(took)
        }
        Case::List => started.run(&[started.list]),
        Case::Attach => started.attach(),
    };
    let samples = (0..runs).map(|_| run()).collect::<anyhow::Result<_>>()?;
    Ok(Spread::of(samples).context("nothing was run")?.median)
}

/// A binary, and how it is told the same things. Its server ends with it.
struct Tool {
    directory: TempDir,
    binary: PathBuf,
    /// What comes before a command.
    socket: [String; 2],
    /// `new`, with what comes before the session's name.
    new: &'static [&'static str],
    /// What comes between the name and the program.
    program: &'static [&'static str],
    list: &'static str,
    attach: &'static [&'static str],
    kill: &'static [&'static str],
    stop: &'static str,
}

impl Tool {
    fn fugue() -> anyhow::Result<Self> {
        let binary = binary()?;
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("fugue/server.sock").display().to_string();
        Ok(Self {
            directory,
            binary,
            socket: ["--socket".to_owned(), socket],
            new: &["new", "-d"],
            program: &["--"],
            list: "list",
            attach: &["attach"],
            kill: &["kill"],
            stop: "stop",
        })
    }

    fn tmux() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        // It reads this in place of a person's settings.
        fs::write(directory.path().join(".tmux.conf"), "")?;
        let socket = directory.path().join("tmux.sock").display().to_string();
        Ok(Self {
            directory,
            binary: "tmux".into(),
            socket: ["-S".to_owned(), socket],
            new: &["new-session", "-d", "-s"],
            program: &[],
            list: "list-sessions",
            attach: &["attach-session", "-t"],
            kill: &["kill-session", "-t"],
            stop: "kill-server",
        })
    }

    /// Starts a session; returns how long the command took.
    fn start(&self, name: &str, script: &str) -> anyhow::Result<f64> {
        self.run(&[self.new, &[name], self.program, &["sh", "-c", script]].concat())
    }

    /// Runs a command to its end; returns how long that took.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.binary);
        command.args(&self.socket).args(arguments).env_clear().envs(environment(self.directory.path()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().with_context(|| {
            format!("not installed; Debian's package {} brings it", self.binary.display())
        })?;
        let took = milliseconds(start);
        if !status.success() {
            bail!("{arguments:?} ended with {status}");
        }
        Ok(took)
    }

    /// Attaches, from a terminal of its own; returns how long it took until that had what the session shows.
    fn attach(&self) -> anyhow::Result<f64> {
        let (mut terminal, slave) = pty_process::blocking::open()?;
        terminal.resize(pty_process::Size::new(24, 80))?;
        let command = pty_process::blocking::Command::new(&self.binary)
            .args(&self.socket)
            .args(self.attach)
            .arg("shown")
            .env_clear()
            .envs(environment(self.directory.path()));
        let start = Instant::now();
        let mut client = command.spawn(slave)?;
        let (mut screen, mut buffer) = (Vec::new(), [0; 4096]);
        let shown = loop {
            match terminal.read(&mut buffer) {
                Ok(read) if read > 0 => screen.extend_from_slice(&buffer[..read]),
                _ => bail!("attach ended: {}", String::from_utf8_lossy(&screen)),
            }
            if screen.windows(SHOWN.len()).any(|part| part == SHOWN.as_bytes()) {
                break milliseconds(start);
            }
        };
        client.kill()?;
        client.wait()?;
        Ok(shown)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // An error says that none runs.
        let mut stop = Command::new(&self.binary);
        stop.args(&self.socket).arg(self.stop).env_clear().envs(environment(self.directory.path()));
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Nobody's settings, and no session around this one.
fn environment(home: &Path) -> [(&'static str, String); 5] {
    [
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOME", home.display().to_string()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("SHELL", "/bin/sh".to_owned()),
        ("TERM", "xterm-256color".to_owned()),
    ]
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
