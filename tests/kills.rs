//! Processes killed at random points of a flood, and servers started at the same moment.
//!
//! A plain `cargo test` does some; `cargo test --release --test kills -- 300` does 300 of each. What the flood prints
//! is known by its offset, so that every byte a survivor gets is checked. Random choices print their seed, and take it
//! from `SEED`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[path = "support/random.rs"]
mod random;
#[allow(dead_code, unused_imports, reason = "shared with the other tests, which need more of it")]
#[path = "support/mod.rs"]
mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{fs::MetadataExt, net::UnixListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use fugue_server::{
    Client, SessionId,
    client::{ClientError, Incoming},
    message::{AttachOptions, Event, ExitStatus, OnLag, RequestError, SessionInfo, SessionState, StartAt},
};
use random::Random;
use rustix::process::{Pid, Signal, kill_process};
use support::*;
use tokio::task::JoinHandle;

/// What the flood prints again and again, from offset 0 on.
const LINE: &[u8; 16] = b"0123456789abcde\n";

/// Servers that are killed, and pairs that are started at once, when nobody says how many.
const SHORT: u64 = 3;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let rounds = match arguments.iter().find(|argument| !argument.starts_with('-')) {
        None => SHORT,
        // What is no number is the name of some other test.
        Some(rounds) => rounds.parse().unwrap_or(0),
    };
    if rounds == 0 || arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let mut random = Random::seeded("kills");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let start = Instant::now();
    let home = Home::new();
    let open = descriptors(std::process::id());
    let (mut kills, mut bytes) = (0, 0);
    for round in 1..=rounds {
        let life = runtime.block_on(a_life(&home, &mut random));
        kills += life.kills;
        bytes += life.bytes;
        if round.is_multiple_of(50) {
            println!("{round} servers' lives in {:.0?}", start.elapsed());
        }
    }
    // The runtime's threads let go of the last sockets when they get to it.
    runtime.block_on(eventually("nothing is left open here", || descriptors(std::process::id()) <= open + 1));
    println!("{kills} kills in {rounds} servers' lives: survivors got {bytes} bytes, each of them right");
    let races = rounds.max(10);
    for round in 0..races {
        a_race(round);
    }
    println!("{races} pairs of servers started at once: one of each won ({:.1?} in all)", start.elapsed());
}

/// Where a server may be, and how the binary is told so.
struct Home {
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { socket: directory.path().join("fugue/server.sock"), _directory: directory }
    }

    /// By argument, not in the environment: only programs of sessions have it there.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
        command.arg("--socket").arg(&self.socket).args(arguments).stdin(Stdio::null());
        command.env_remove("FUGUE_SOCKET").env_remove("FUGUE_SESSION");
        command
    }

    /// The programs of sessions, and all that these started and left behind.
    fn programs(&self) -> Vec<u32> {
        self.processes("environ", &format!("FUGUE_SOCKET={}\0", self.socket.display()))
    }

    /// The processes that have this text in a file about them.
    fn processes(&self, file: &str, text: &str) -> Vec<u32> {
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let has_it = |pid: &u32| {
            contains(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default(), text.as_bytes())
        };
        pids.filter(has_it).collect()
    }

    fn keepers(&self) -> Vec<u32> {
        self.processes("cmdline", &format!("fugue-keeper\0{}.keeper\0", self.socket.display()))
    }

    async fn client(&self) -> Client {
        soon(Client::connect(&self.socket)).await.unwrap()
    }
}

/// Ends whatever a failure left behind.
impl Drop for Home {
    fn drop(&mut self) {
        if thread::panicking() {
            let others = self.processes("cmdline", &self.socket.display().to_string());
            self.programs().into_iter().chain(others).for_each(kill_9);
        }
    }
}

fn kill_9(pid: u32) {
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL);
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[derive(Default)]
struct Life {
    kills: u64,
    bytes: u64,
}

/// A server's life, from its start on whatever the last one left to its death in a flood.
async fn a_life(home: &Home, random: &mut Random) -> Life {
    let started =
        home.command(&["new", "idle", "-d", "--", "sh", "-c", "sleep 1000 & sleep 1000"]).output().unwrap();
    assert!(started.status.success(), "after a killed server: {started:?}");
    let mut control = home.client().await;
    let server = stats(&mut control).await.pid;
    // Who started it may just be leaving; at worst, its descriptor is counted here, and one that leaks is found by the
    // next life.
    while stats(&mut control).await.clients.len() > 1 {}
    let open = descriptors(server);
    let mut life = Life::default();

    // Clients, and then the program.
    let flood = Flood::start(home).await;
    for _ in 0..3 {
        let mut victim = home.command(&["attach", "flood"]).stdout(Stdio::piped()).spawn().unwrap();
        let output = victim.stdout.take().unwrap();
        let reading = thread::spawn(move || std::io::copy(&mut { output }, &mut std::io::sink()));
        flood.goes_on(random.below(1 << 20)).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        reading.join().unwrap().unwrap();
    }
    while session(&mut control, "flood").await.clients > flood.survivors.len() + 1 {}
    flood.goes_on(random.below(1 << 20)).await;
    kill_9(flood.pid);
    let (ends, code) = flood.ends().await;
    assert_eq!(code, Some(128 + 9), "how the recorder ended");
    let ended = session(&mut control, "flood").await;
    for (end, error) in ends {
        assert!(error.is_none(), "{error:?}");
        assert_eq!(end, ended.printed, "a survivor's last byte is not the program's");
        life.bytes += end;
    }
    eventually("what the killed had open is closed", || descriptors(server) <= open).await;
    life.kills += 4;

    // And the server. What it ran is the next one's, which any command starts.
    let flood = Flood::start(home).await;
    flood.goes_on(random.below(1 << 20)).await;
    kill_9(server);
    let Flood { pid, survivors, mut recorder, recording } = flood;
    let mut ends = Vec::new();
    for (_, survivor) in survivors {
        let (end, error) = soon(survivor).await.unwrap();
        assert!(matches!(error, Some(ClientError::Lost)), "{error:?}");
        ends.push(end);
    }
    let listed = home.command(&["list"]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let mut control = home.client().await;
    let found = session(&mut control, "flood").await;
    assert_eq!(found.state, SessionState::Running { pid: Some(pid) });
    for end in ends {
        life.bytes += end;
        goes_on_or_has_a_gap(home, found.id, end).await;
    }
    kill_9(pid);
    let mut status = None;
    eventually("the recorder ends", || {
        status = recorder.try_wait().unwrap();
        status.is_some()
    })
    .await;
    // With all, or with a word about what is missing.
    assert!([Some(128 + 9), Some(254)].contains(&status.unwrap().code()), "{status:?}");
    recording.join().unwrap();
    let killed = home.command(&["kill", "--all"]).output().unwrap();
    assert!(killed.status.success(), "{killed:?}");
    eventually("no program is left behind", || home.programs().is_empty()).await;
    kill_9(stats(&mut control).await.pid);
    eventually("no keeper is left behind", || home.keepers().is_empty()).await;
    assert!(home.socket.exists(), "there is no stale socket for the next one to replace");
    life.kills += 2;
    life
}

/// Resumes where a killed server's client was: its next bytes come, or it is told that they are gone.
async fn goes_on_or_has_a_gap(home: &Home, session: SessionId, end: u64) {
    let mut client = home.client().await;
    match client.attach(session, AttachOptions::new(StartAt::Offset(end), OnLag::Lossless)).await {
        Ok(attached) => {
            assert_eq!(attached.start, end);
            loop {
                if let Incoming::Output { offset, data } = soon(client.next()).await.unwrap() {
                    assert_eq!(offset, end);
                    return check(offset, &data);
                }
            }
        }
        Err(ClientError::Refused(RequestError::OffsetNotHeld { oldest, .. })) => assert!(oldest > end),
        Err(other) => panic!("{other:?}"),
    }
}

async fn session(control: &mut Client, name: &str) -> SessionInfo {
    sessions(control).await.into_iter().find(|session| session.name.as_str() == name).unwrap()
}

/// Where a survivor's bytes end, and what ended them but the session's own end.
type End = (u64, Option<ClientError>);

/// A session that prints [`LINE`] for ever, with those who watch all of it and are not killed.
struct Flood {
    pid: u32,
    /// How far the slowest of them is.
    survivors: Vec<(Arc<AtomicU64>, JoinHandle<End>)>,
    recorder: Child,
    recording: thread::JoinHandle<()>,
}

impl Flood {
    async fn start(home: &Home) -> Self {
        let mut control = home.client().await;
        let script = "stty -opost -echo; echo 0123456789abcde; read go; exec yes 0123456789abcde";
        let session = create(&mut control, "flood", script).await.id;
        // Until the terminal is set, it would echo.
        while self::session(&mut control, "flood").await.printed < LINE.len() as u64 {}
        let mut survivors = Vec::new();
        for _ in 0..2 {
            let mut client = home.client().await;
            assert_eq!(attached(&mut client, &attach_id(session, FROM_OLDEST)).await.start, 0);
            let at = Arc::new(AtomicU64::new(0));
            survivors.push((Arc::clone(&at), tokio::spawn(survive(client, at))));
        }
        let mut recorder = home.command(&["attach", "flood", "--from", "start"]);
        let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = recorder.stdout.take().unwrap();
        let recording = thread::spawn(move || check_recording(output));
        while self::session(&mut control, "flood").await.clients < 3 {}
        soon(control.input(session, "\n")).await.unwrap();
        let SessionState::Running { pid: Some(pid) } = self::session(&mut control, "flood").await.state
        else {
            panic!("the flood has ended")
        };
        Self { pid, survivors, recorder, recording }
    }

    /// Waits until every survivor has so many more bytes.
    async fn goes_on(&self, bytes: u64) {
        for (at, _) in &self.survivors {
            let enough = at.load(Relaxed) + bytes;
            eventually("the flood goes on", || at.load(Relaxed) >= enough).await;
        }
    }

    /// How it ended for each survivor, and the recorder's exit status.
    async fn ends(mut self) -> (Vec<End>, Option<i32>) {
        let mut ends = Vec::new();
        for (_, survivor) in self.survivors {
            ends.push(soon(survivor).await.unwrap());
        }
        let mut status = None;
        eventually("the recorder ends", || {
            status = self.recorder.try_wait().unwrap();
            status.is_some()
        })
        .await;
        self.recording.join().unwrap();
        (ends, status.unwrap().code())
    }
}

/// Reads to the end, and checks each byte.
async fn survive(mut client: Client, at: Arc<AtomicU64>) -> End {
    let mut next = 0;
    loop {
        match client.next().await {
            Ok(Incoming::Output { offset, data }) => {
                assert_eq!(offset, next, "a gap, or a repetition");
                check(offset, &data);
                next += data.len() as u64;
                at.store(next, Relaxed);
            }
            Ok(Incoming::Event(Event::Ended { status, .. })) => {
                assert_eq!(status, ExitStatus::Signal(9));
                return (next, None);
            }
            Ok(other) => panic!("{other:?} after {next} bytes"),
            Err(error) => return (next, Some(error)),
        }
    }
}

fn check_recording(mut output: impl Read) {
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => return assert!(at > 0, "nothing was recorded"),
            read => {
                check(at, &buffer[..read]);
                at += read as u64;
            }
        }
    }
}

/// Whether these are the flood's bytes at this offset.
fn check(offset: u64, data: &[u8]) {
    let shift = (offset % 16) as usize;
    let right = data.iter().zip(LINE.iter().cycle().skip(shift)).all(|(byte, expected)| byte == expected);
    assert!(right, "{} bytes at {offset} are not the flood's", data.len());
}

/// Two servers are started at once: exactly one wins, and the other leaves it alone.
fn a_race(round: u64) {
    let home = Home::new();
    if round.is_multiple_of(2) {
        let directory = home.socket.parent().unwrap();
        fs::create_dir(directory).unwrap();
        fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        drop(UnixListener::bind(&home.socket).unwrap());
    }
    let start = || {
        let mut server = home.command(&["serve"]);
        server.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut servers = [start(), start()];
    // The winner says that it is ready; the loser's output ends.
    let won = servers.each_mut().map(|server| {
        let mut ready = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        ready == "ready\n"
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
    let socket = fs::metadata(&home.socket).unwrap().ino();
    if !won[0] {
        servers.reverse();
    }
    let [winner, loser] = servers;
    let lost = loser.wait_with_output().unwrap();
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    let why = String::from_utf8_lossy(&lost.stderr);
    // The winner may not have listened yet.
    assert!(why.contains("already running") || why.contains("starting or ending"), "{lost:?}");
    assert_eq!(fs::metadata(&home.socket).unwrap().ino(), socket, "the loser replaced the winner's socket");
    let listed = home.command(&["stats", "--json"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains(&format!("\"pid\":{}", winner.id())),
        "{listed:?}"
    );
    kill_process(Pid::from_child(&winner), Signal::TERM).unwrap();
    assert!(winner.wait_with_output().unwrap().status.success());
    assert!(!home.socket.exists());
}
