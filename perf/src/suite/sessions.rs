//! What a session costs in memory: one whose program is silent from the start, and one that has printed and fallen
//! silent; and what a server costs that has none.
//!
//! A session without a server of its own is measured by what its processes share with no other. Programs and the
//! clients that started them are not counted.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fugue_server::{Client, message::Create};

use crate::{
    process::{private, resident},
    row::Row,
    served::Served,
    suite::Scale,
    system::{Load, Rig, System},
};

/// What fugue's sessions hold of their output, in bytes: less than is printed.
const HISTORY: usize = 64 * 1024;
/// Numbers that each prints, a line each: about 1 MiB.
const NUMBERS: usize = 150_000;
/// A screen that heard nothing for ten seconds rests.
const SILENCE: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let sessions = if scale.quick { 10 } else { 300 };
    let mut rows = Vec::new();
    let systems: [(&'static str, Measure); 3] = [("fugue", fugue), ("tmux", tmux), ("dtach", dtach)];
    for (case, numbers) in [("idle", 0), ("silent after 1 MiB", NUMBERS)] {
        for (name, measure) in systems {
            let row = row(case, name, sessions, "bytes_per_session");
            rows.push(sampled(row, scale.rounds.min(3), || measure(sessions, numbers)));
        }
    }
    let empty: [(&'static str, MeasureOne); 6] = [
        ("fugue", || Ok(fugue_server()?.1)),
        ("tmux", || Ok(tmux_server()?.1)),
        ("dtach", || dtach(1, 0)),
        ("redis", || broker(System::Redis)),
        ("nats", || broker(System::Nats)),
        ("mosquitto", || broker(System::Mosquitto)),
    ];
    for (name, measure) in empty {
        let row = row("a server", name, usize::from(name == "dtach"), "bytes");
        rows.push(sampled(row, scale.rounds.min(3), measure));
    }
    Ok(rows)
}

/// Bytes that each of so many sessions takes whose program prints so many numbers.
type Measure = fn(usize, usize) -> anyhow::Result<f64>;

/// Bytes that a server takes.
type MeasureOne = fn() -> anyhow::Result<f64>;

fn row(case: &str, system: &'static str, sessions: usize, metric: &'static str) -> Row {
    let case = case.to_owned();
    Row { suite: "sessions", case, system, n: sessions as u64, metric, unit: "bytes", ..Row::default() }
}

fn sampled(row: Row, rounds: usize, measure: impl Fn() -> anyhow::Result<f64>) -> Row {
    match (0..rounds).map(|_| measure()).collect() {
        Ok(samples) => row.with_samples(samples),
        Err(error) => Row { reason: Some(format!("{error:#}")), ..row },
    }
}

/// The program: it prints, makes a file to say so, and sleeps for longer than anything here takes.
fn program(directory: &Path, number: usize, numbers: usize) -> [String; 3] {
    let done = directory.join(format!("done-{number}"));
    let print = if numbers == 0 { String::new() } else { format!("seq 1 {numbers}; ") };
    ["sh".into(), "-c".into(), format!("{print}: > '{}'; exec sleep 3600", done.display())]
}

/// Waits until every program has printed; then for the silence.
fn settle(directory: &Path, sessions: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    for number in 0..sessions {
        while !directory.join(format!("done-{number}")).exists() {
            if start.elapsed() > PATIENCE {
                bail!("program {number} did not get to its end in {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    std::thread::sleep(SILENCE);
    Ok(())
}

fn fugue_server() -> anyhow::Result<((Served, tempfile::TempDir), f64)> {
    let directory = tempfile::tempdir()?;
    let server = Served::start_with(&directory.path().join("fugue/server.sock"), HISTORY)?;
    let empty = resident(server.pid())?;
    Ok(((server, directory), empty))
}

fn fugue(sessions: usize, numbers: usize) -> anyhow::Result<f64> {
    let ((server, directory), empty) = fugue_server()?;
    let socket = directory.path().join("fugue/server.sock");
    crate::system::runtime()?.block_on(async {
        let mut client = Client::connect(&socket).await?;
        for number in 0..sessions {
            let words = program(directory.path(), number, numbers).map(String::into_bytes);
            let mut create = Create::new(format!("s{number}").parse()?, words.to_vec());
            create.env = vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())];
            client.create(create).await?;
        }
        anyhow::Ok(())
    })?;
    settle(directory.path(), sessions)?;
    Ok((resident(server.pid())? - empty) / sessions as f64)
}

struct Tmux {
    directory: tempfile::TempDir,
    pid: u32,
}

impl Tmux {
    fn command(directory: &Path) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(directory.join("tmux.sock")).args(["-f", "/dev/null"]).env_remove("TMUX");
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Self::command(self.directory.path()).arg("kill-server").stdout(Stdio::null()).status();
    }
}

fn tmux_server() -> anyhow::Result<(Tmux, f64)> {
    let directory = tempfile::tempdir()?;
    let start = [
        "start-server",
        ";",
        "set-option",
        "-g",
        "exit-empty",
        "off",
        ";",
        "display-message",
        "-p",
        "#{pid}",
    ];
    let output = Tmux::command(directory.path()).args(start).output();
    let output = output.context("not installed; Debian's package tmux brings it")?;
    let pid = String::from_utf8(output.stdout)?.trim().parse().context("tmux did not say its process")?;
    Ok((Tmux { directory, pid }, resident(pid)?))
}

fn tmux(sessions: usize, numbers: usize) -> anyhow::Result<f64> {
    let (tmux, empty) = tmux_server()?;
    let directory = tmux.directory.path();
    for number in 0..sessions {
        let mut new = Tmux::command(directory);
        new.args(["new-session", "-d", "-x", "80", "-y", "24", "-s"]).arg(format!("s{number}"));
        if !new.args(program(directory, number, numbers)).status()?.success() {
            bail!("tmux did not start a session");
        }
    }
    settle(directory, sessions)?;
    Ok((resident(tmux.pid)? - empty) / sessions as f64)
}

/// Processes that end with the measurement.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A process of its own for each session.
fn dtach(sessions: usize, numbers: usize) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let mut masters = Processes(Vec::new());
    for number in 0..sessions {
        let mut dtach = Command::new("dtach");
        dtach.arg("-N").arg(directory.path().join(format!("{number}.sock"))).args(["-E", "-z"]);
        dtach.args(program(directory.path(), number, numbers));
        dtach.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        masters.0.push(dtach.spawn().context("not installed; Debian's package dtach brings it")?);
    }
    settle(directory.path(), sessions)?;
    let each = masters.0.iter().map(|master| private(master.id())).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(each.iter().sum::<f64>() / sessions as f64)
}

/// What a broker takes that has one subscriber.
fn broker(system: System) -> anyhow::Result<f64> {
    let rig = Rig::start(system, Load { readers: 1, stalled: 0, message_bytes: 64, messages: 1 })?;
    resident(rig.broker().context("it has no process of its own")?.0)
}
