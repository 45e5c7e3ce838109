//! Keystroke to screen: one byte typed at fixed times, whatever became of the last (an open loop), until it is back.
//! Latency is counted from the moment it should have been typed, so that a stall is charged to all that it delayed.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use fugue_server::{
    Client, Server, SessionId,
    client::Incoming,
    message::{AttachOptions, ClientMessage, OnLag, StartAt},
};
use hdrhistogram::Histogram;

use crate::{
    receiver::{Address, Plan, Protocol, Receivers},
    row::Row,
    suite::Scale,
    terminal::{create, role_program},
};

/// Between two keystrokes.
const PAUSE: Duration = Duration::from_millis(4);
const VIEWERS: usize = 16;
/// More than is printed while the keys are typed.
const FLOOD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

const FIGURES: [(&str, f64); 5] = [
    ("latency_us_p50", 50.0),
    ("latency_us_p90", 90.0),
    ("latency_us_p99", 99.0),
    ("latency_us_p99.9", 99.9),
    ("latency_us_max", 100.0),
];

/// What one round recorded.
pub(super) struct Typed {
    /// Until a key was back.
    pub(super) shown: Histogram<u64>,
    /// How late it was typed, which is in the figures above too.
    pub(super) late: Histogram<u64>,
}

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let keys = if scale.quick { 250 } else { 2000 };
    let mut rows = Vec::new();
    for case in ["idle", "flood"] {
        let (mut fugue, mut kept, mut floor, mut harness) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            let typed = measure(case == "flood", keys, Way::Server)?;
            fugue.push(typed.shown);
            harness.push(typed.late);
            kept.push(measure(case == "flood", keys, Way::Kept)?.shown);
            floor.push(measure(case == "flood", keys, Way::Bare)?.shown);
        }
        for (metric, percentile) in FIGURES {
            let at = |histogram: &Histogram<u64>| histogram.value_at_percentile(percentile) as f64;
            let row = |system, histograms: &[Histogram<u64>]| {
                let row = Row {
                    suite: "echo",
                    case: case.to_owned(),
                    system,
                    n: if case == "flood" { VIEWERS as u64 } else { 0 },
                    metric,
                    unit: "us",
                    ..Row::default()
                };
                row.with_samples(histograms.iter().map(at).collect())
            };
            let bare = row("floor", &floor);
            // How late the harness typed is in both.
            let kept = row("fugue-kept", &kept).with_ratio_to(&bare);
            rows.extend([row("fugue", &fugue).with_ratio_to(&bare), kept, bare, row("harness", &harness)]);
        }
    }
    Ok(rows)
}

/// Which way a key goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Server,
    /// The same, of a program that outlives the server.
    Kept,
    Bare,
}

fn measure(flood: bool, keys: u64, way: Way) -> anyhow::Result<Typed> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let runtime = crate::system::runtime()?;
    let inside = runtime.enter();
    let server = Server::builder(&socket);
    let server = if way == Way::Kept { server.keep_programs() } else { server };
    runtime.spawn(server.bind()?.serve(std::future::pending()));
    drop(inside);
    let _flood = if flood { Some(start_flood(directory.path(), &socket, &runtime)?) } else { None };
    if way == Way::Bare {
        return type_to_floor(directory.path(), keys);
    }
    // Of its own, as a client is another process.
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    client.block_on(type_to_fugue(directory.path(), &socket, keys))
}

fn start_flood(
    directory: &Path,
    socket: &Path,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<Receivers> {
    let ready = directory.join("flood-ready").display().to_string();
    let program = role_program(&["role-print", &FLOOD_BYTES.to_string(), &ready])?;
    let (mut control, session) = runtime.block_on(create(socket, &program))?;
    let mut receivers = Receivers::start(&Plan {
        address: Address::Unix(socket.to_owned()),
        protocol: Protocol::Fugue { session },
        readers: VIEWERS,
        stalled: 0,
        round_bytes: FLOOD_BYTES,
        message_bytes: FLOOD_BYTES,
    })?;
    receivers.ready()?;
    while !Path::new(&ready).exists() {
        std::thread::yield_now();
    }
    runtime.block_on(control.input(session, "\n"))?;
    Ok(receivers)
}

pub(super) async fn type_to_fugue(directory: &Path, socket: &Path, keys: u64) -> anyhow::Result<Typed> {
    let ready = directory.join("echo-ready");
    let (mut client, session) = create(socket, &echo_program(&ready)?).await?;
    client.attach(session, AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
    while !ready.exists() {
        tokio::task::yield_now().await;
    }
    type_into(client, session, keys).await
}

/// Types into a session that echoes, and that this client has attached to from its first byte on.
pub(super) async fn type_into(client: Client, session: SessionId, keys: u64) -> anyhow::Result<Typed> {
    let (mut requests, mut incoming, _) = client.into_split();
    let keyboard = Keyboard::new();
    let runtime = tokio::runtime::Handle::current();
    // A thread, for tokio's clock ticks in milliseconds.
    let typing = tokio::task::spawn_blocking(move || {
        let late = keyboard.type_keys(keys, || {
            let press = ClientMessage::Input { session, position: None, data: "x".into() };
            runtime.block_on(requests.send(&press)).map(drop).map_err(Into::into)
        });
        // The connection stays open until the last key is back.
        (requests, late)
    });
    let mut screen = Screen::new(keyboard)?;
    while screen.keys < keys {
        if let Incoming::Output { offset, data } = incoming.next().await? {
            if offset != screen.keys {
                bail!("the echo of key {} came as byte {offset}", screen.keys);
            }
            screen.show(data.len())?;
        }
    }
    let (_requests, late) = typing.await?;
    Ok(Typed { shown: screen.latency, late: late? })
}

/// The same way with as little on it as can be: a socket, two threads that copy, and the program's PTY.
fn type_to_floor(directory: &Path, keys: u64) -> anyhow::Result<Typed> {
    let ready = directory.join("echo-ready");
    let program = echo_program(&ready)?;
    let (pty, slave) = pty_process::blocking::open()?;
    let mut child = pty_process::blocking::Command::new(&program[0]).args(&program[1..]).spawn(slave)?;
    while !ready.exists() {
        std::thread::yield_now();
    }
    let (client, server) = UnixStream::pair()?;
    let keyboard = Keyboard::new();
    let mut screen = Screen::new(keyboard)?;
    std::thread::scope(|scope| {
        scope.spawn(|| io::copy(&mut &server, &mut &pty));
        scope.spawn(|| io::copy(&mut &pty, &mut &server));
        let typing = scope.spawn(|| keyboard.type_keys(keys, || Ok((&client).write_all(b"x")?)));
        let shown = screen.show_all(keys, &client);
        // Ends both threads: one finds the end of the socket, the other that of the terminal.
        client.shutdown(Shutdown::Both)?;
        child.kill()?;
        child.wait()?;
        let late = typing.join().map_err(|_| anyhow!("typing failed"))?;
        shown?;
        Ok(Typed { shown: screen.latency, late: late? })
    })
}

pub(super) fn echo_program(ready: &Path) -> anyhow::Result<Vec<String>> {
    role_program(&["role-echo", &ready.display().to_string()])
}

/// When each key is due.
#[derive(Clone, Copy)]
pub(super) struct Keyboard {
    begin: Instant,
}

impl Keyboard {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now() + PAUSE }
    }

    fn micros_since_due(self, key: u64) -> u64 {
        let due = self.begin + PAUSE * u32::try_from(key).unwrap_or(u32::MAX);
        u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Returns how late the keys were typed.
    pub(super) fn type_keys(
        self,
        keys: u64,
        mut press: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Histogram<u64>> {
        let mut late = histogram()?;
        for key in 0..keys {
            let due = self.begin + PAUSE * u32::try_from(key)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            late.saturating_record(self.micros_since_due(key));
            press()?;
        }
        Ok(late)
    }
}

/// Where the keys come back to.
pub(super) struct Screen {
    keyboard: Keyboard,
    pub(super) latency: Histogram<u64>,
    pub(super) keys: u64,
}

impl Screen {
    pub(super) fn new(keyboard: Keyboard) -> anyhow::Result<Self> {
        Ok(Self { keyboard, latency: histogram()?, keys: 0 })
    }

    fn show_all(&mut self, keys: u64, mut socket: &UnixStream) -> anyhow::Result<()> {
        let mut buffer = [0; 64];
        while self.keys < keys {
            match socket.read(&mut buffer)? {
                0 => bail!("the floor ended after {} keys", self.keys),
                read => self.show(read)?,
            }
        }
        Ok(())
    }

    pub(super) fn show(&mut self, more: usize) -> anyhow::Result<()> {
        for key in self.keys..self.keys + u64::try_from(more)? {
            self.latency.saturating_record(self.keyboard.micros_since_due(key));
        }
        self.keys += u64::try_from(more)?;
        Ok(())
    }
}

pub(super) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}
