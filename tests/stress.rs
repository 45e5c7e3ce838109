//! Long runs, none of which is part of a plain `cargo test`:
//! `cargo test --release --test stress -- --ignored --test-threads=1`, some minutes in all.
//!
//! What a program printed is known by its offset alone, so that every byte any client is sent can be checked, wherever
//! it joined. Random choices print their seed, and take it from `SEED`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[allow(dead_code, unused_imports, reason = "shared with the other tests, which need more of it")]
#[path = "support/mod.rs"]
mod support;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use fugue_server::{
    Client, SessionId, TerminalSize,
    client::{ClientError, Incoming},
    message::{
        Access, ClientMessage, ClientStats, Event, ExitStatus, OnLag, Reply, ServerStats, SessionInfo,
        StartAt, View,
    },
    wire::{self, FrameDecoder, Hello, Kind, Side},
};
use rustix::process::{Pid, Signal, kill_process};
use support::*;
use tokio_util::codec::Decoder;

/// What the floods print again and again, from offset 0 on.
const LINE: &[u8; 16] = b"0123456789abcde\n";

/// Prints `bytes` of the flood and waits for a line: for the first once it has printed [`LINE`], for another at the end.
fn flood(bytes: u64) -> String {
    let rest = bytes - LINE.len() as u64;
    format!(
        "stty -opost -echo; echo 0123456789abcde; read go; yes 0123456789abcde | head -c {rest}; read end"
    )
}

/// Starts a flood, which waits for a line now.
async fn create_flood(client: &mut Client, bytes: u64) -> SessionId {
    let id = create(client, "flood", &flood(bytes)).await.id;
    while session(client, "flood").await.printed < LINE.len() as u64 {}
    id
}

/// Whether these are the flood's bytes at this offset.
fn is_flood(offset: u64, data: &[u8]) -> bool {
    let phase = (offset % 16) as usize;
    let head = data.len().min((16 - phase) % 16);
    let (head, rest) = data.split_at(head);
    let lines = rest.chunks_exact(16);
    let tail = lines.remainder();
    LINE[phase..].starts_with(head)
        && LINE.starts_with(tail)
        && rest.chunks_exact(16).all(|line| line == LINE)
}

/// What a client was sent of the flood, which must be whole but for the gaps it is told of.
#[derive(Debug)]
struct Stay {
    /// The offset of the next byte.
    next: u64,
    received: u64,
    gaps: u64,
    screens: u64,
}

impl Stay {
    fn from(next: u64) -> Self {
        Self { next, received: 0, gaps: 0, screens: 0 }
    }

    /// Checks one thing from the server. Returns the status at the session's end.
    fn check(&mut self, incoming: Incoming) -> Option<ExitStatus> {
        match incoming {
            Incoming::Output { offset, data } => {
                assert_eq!(offset, self.next, "a gap that nobody was told of, or a repeat");
                assert!(is_flood(offset, &data), "wrong bytes at {offset}");
                self.next += data.len() as u64;
                self.received += data.len() as u64;
            }
            Incoming::Event(Event::Gap { from, to }) => {
                assert_eq!(from, self.next);
                assert!(to > from);
                self.next = to;
                self.gaps += 1;
            }
            Incoming::Screen { offset, data } => {
                assert_eq!(offset, self.next, "a screen that is not where the output goes on");
                assert!(!data.is_empty());
                self.screens += 1;
            }
            Incoming::Event(Event::Ended { status, .. }) => return Some(status),
            Incoming::Reply { .. } | Incoming::Event(_) => {}
        }
        None
    }

    async fn read(&mut self, client: &mut Client) -> Option<ExitStatus> {
        self.check(soon(client.next()).await.unwrap())
    }

    async fn read_to(&mut self, client: &mut Client, offset: u64) {
        while self.next < offset {
            assert_eq!(self.read(client).await, None, "it ended at {}", self.next);
        }
    }
}

async fn stats(client: &mut Client) -> ServerStats {
    match soon(client.request(&ClientMessage::Stats)).await.unwrap() {
        Reply::Stats(stats) => *stats,
        other => panic!("{other:?}"),
    }
}

async fn session(client: &mut Client, name: &str) -> SessionInfo {
    sessions(client).await.into_iter().find(|session| session.name.as_str() == name).unwrap()
}

/// Waits until what a client is told of the server satisfies `condition`.
async fn until_stats(client: &mut Client, what: &str, condition: impl Fn(&[ClientStats]) -> bool) {
    let start = Instant::now();
    while !condition(&stats(client).await.clients) {
        assert!(start.elapsed() < Duration::from_secs(60), "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// A small generator of no quality at all, which is enough here.
struct Random(u64);

impl Random {
    fn seeded(what: &str) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("{what}: SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The binary as a server of its own, whose memory can be told from that of the clients.
struct Process {
    child: Child,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Process {
    fn serve(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fugue/server.sock");
        let mut child = binary(&socket, &["serve"])
            .args(settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Self { child, socket, _directory: directory }
    }

    /// The most memory it has had, in bytes.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    command.args(arguments).env("FUGUE_SOCKET", socket).env_remove("FUGUE_SESSION").stdin(Stdio::null());
    command
}

fn signal(child: &Child, with: Signal) {
    kill_process(Pid::from_child(child), with).unwrap();
}

const RESYNC: View = View::new(StartAt::Now, OnLag::Resync);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; cargo test --test stress -- --ignored"]
async fn a_gibibyte_passes_a_stopped_client_in_bounded_memory() {
    const FLOOD: u64 = 1 << 30;
    const HISTORY: u64 = 4 << 20;
    let server = Process::serve(&["--history", "4MiB"]);
    let connect = || async { soon(Client::connect(&server.socket)).await.unwrap() };
    let mut control = connect().await;
    let id = create_flood(&mut control, FLOOD).await;
    let mut fast = connect().await;
    attached(&mut fast, &attach("flood", FROM_OLDEST)).await;
    let mut stopped = binary(&server.socket, &["attach", "flood", "--from", "start", "--on-lag", "resync"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut slow = connect().await;
    let slow_from = attached(&mut slow, &attach("flood", RESYNC)).await.start;
    until_stats(&mut control, "all watch", |clients| {
        clients.iter().filter(|client| client.session == Some(id)).count() == 3
    })
    .await;
    signal(&stopped, Signal::STOP);
    let before = server.peak_memory();
    soon(control.request(&input(id, "\n"))).await.unwrap();

    // One takes all, and one so little that it is only just not given up.
    let (mut seen, mut missed) = (Stay::from(0), Stay::from(slow_from));
    while seen.next < FLOOD {
        let next = (seen.next + (16 << 20)).min(FLOOD);
        seen.read_to(&mut fast, next).await;
        let enough = missed.received + (128 << 10);
        while missed.received < enough && missed.next < FLOOD {
            assert_eq!(missed.read(&mut slow).await, None);
        }
    }
    assert_eq!((seen.received, seen.gaps, seen.screens), (FLOOD, 0, 0));
    // The server holds the history, and for each client a queue of 64 KiB messages that the others share with it and
    // a write under way; and the allocator keeps some.
    let grown = server.peak_memory() - before;
    let queues = 4 * (16 + 8) * (64 << 10);
    println!("grew by {grown} bytes of at most {}", HISTORY + queues + (16 << 20));
    assert!(grown < HISTORY + queues + (16 << 20), "{grown} bytes");

    missed.read_to(&mut slow, FLOOD).await;
    assert!(missed.gaps > 0 && missed.received < FLOOD / 4, "{missed:?}");

    signal(&stopped, Signal::CONT);
    let mut recorded = Vec::new();
    stopped.stdout.take().unwrap().read_to_end(&mut recorded).unwrap();
    let mut why = String::new();
    stopped.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert_eq!(stopped.wait().unwrap().code(), Some(254), "{why}");
    // It missed too much, or it was given up; which one depends on how long the others took.
    assert!(why.contains("the recording ends here") || why.contains("the server"), "{why}");
    assert!((recorded.len() as u64) < FLOOD && is_flood(0, &recorded), "{} bytes", recorded.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; cargo test --test stress -- --ignored"]
async fn thousands_join_and_leave_a_flood_and_none_is_sent_a_wrong_byte() {
    const STAYS: u64 = 1000;
    let server = TestServer::start();
    let mut first = server.client().await;
    let id = create_flood(&mut first, 1 << 40).await;
    attached(&mut first, &attach("flood", FROM_OLDEST)).await;
    soon(first.send(&input(id, "\n"))).await.unwrap();
    // One that stays for all of it.
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    let staying = tokio::spawn(async move {
        let mut seen = Stay::from(0);
        while !ends.load(Ordering::Relaxed) {
            assert_eq!(seen.read(&mut first).await, None);
        }
        seen
    });

    let mut joining = Vec::new();
    for task in 0..4 {
        let mut random = Random::seeded(&format!("task {task}"));
        let mut client = server.client().await;
        let socket = server.socket.clone();
        joining.push(tokio::spawn(async move {
            let mut received = 0;
            for _ in 0..STAYS {
                let start = match random.below(4) {
                    0 => StartAt::Screen,
                    1 => StartAt::Now,
                    2 => StartAt::Oldest,
                    _ => StartAt::Last(random.below(1 << 20)),
                };
                let on_lag = if random.below(2) == 0 { OnLag::Resync } else { OnLag::Lossless };
                let started = attached(&mut client, &attach("flood", View::new(start, on_lag))).await;
                let mut seen = Stay::from(started.start);
                let enough = started.start + 1 + random.below(256 << 10);
                seen.read_to(&mut client, enough).await;
                assert!(start != StartAt::Screen || seen.screens > 0);
                received += seen.received;
                // They leave with a word, or without.
                if random.below(2) == 0 {
                    let detach = soon(client.send(&ClientMessage::Detach)).await.unwrap();
                    loop {
                        match soon(client.next()).await.unwrap() {
                            Incoming::Reply { request, .. } if request == detach => break,
                            incoming => assert_eq!(seen.check(incoming), None),
                        }
                    }
                } else {
                    client = soon(Client::connect(&socket)).await.unwrap();
                }
            }
            received
        }));
    }
    let mut received = 0;
    for task in joining {
        received += task.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let seen = staying.await.unwrap();
    println!("{} stays received {received} bytes of {}", 4 * STAYS, seen.next);
    assert_eq!((seen.gaps, seen.screens), (0, 0));
    eventually("all have left", || server.registry.client_count() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; cargo test --test stress -- --ignored"]
async fn clients_that_take_turns_at_stalling_for_a_minute_never_stall_each_other() {
    const TIME: Duration = Duration::from_secs(60);
    // While one stands still, the other must get this far: further than the history reaches, many times.
    const TURN: u64 = 64 << 20;
    let server = TestServer::with(|server| server.history_bytes(1 << 20));
    let mut control = server.client().await;
    let id = create_flood(&mut control, 1 << 40).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        let start = attached(&mut client, &attach("flood", RESYNC)).await.start;
        clients.push((client, Stay::from(start)));
    }
    soon(control.request(&input(id, "\n"))).await.unwrap();
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < TIME {
        let moving = turns % 2;
        let until = clients.iter().map(|(_, seen)| seen.next).max().unwrap() + TURN;
        let (client, seen) = &mut clients[moving];
        let before = seen.received;
        seen.read_to(client, until).await;
        assert!(seen.received > before);
        turns += 1;
    }
    println!("{turns} turns of {TURN} bytes: {:?}", clients.iter().map(|(_, seen)| seen).collect::<Vec<_>>());
    assert!(turns > 2);
    let head = session(&mut control, "flood").await.printed;
    for (client, seen) in &mut clients {
        // Each was told of what it missed, every time, and is as good as new.
        seen.read_to(client, head + 1).await;
        let before = seen.received;
        while seen.received == before {
            assert_eq!(seen.read(client).await, None);
        }
        assert!(seen.gaps as usize >= turns / 2 && seen.screens >= seen.gaps, "{turns} turns, {seen:?}");
    }
}

#[test]
#[ignore = "long; cargo test --test stress -- --ignored"]
fn a_client_that_reads_one_byte_at_a_time_gets_them_all() {
    const NUMBERS: u64 = 1_000_000;
    let server = Process::serve(&["--history", "64KiB"]);
    let expected: Vec<u8> = (1..=NUMBERS).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let request = shell("slow", &format!("stty -opost; seq 1 {NUMBERS}"), Some(LOSSLESS));
    let mut socket = UnixStream::connect(&server.socket).unwrap();
    socket.write_all(&Hello::encode()).unwrap();
    socket.write_all(&wire::encode_request(1, &request).unwrap()).unwrap();

    let mut decoder = FrameDecoder::new(Side::Server);
    let mut buffer = BytesMut::new();
    let mut recorded = Vec::new();
    let mut byte = [0];
    let status = 'reading: loop {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "cut off after {} bytes", recorded.len());
        buffer.extend_from_slice(&byte);
        while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
            match frame.kind {
                Kind::Output => {
                    assert_eq!(frame.a, recorded.len() as u64);
                    recorded.extend_from_slice(&frame.payload);
                }
                Kind::Event => match wire::decode_event(&frame.payload).unwrap() {
                    Event::Ended { status, .. } => break 'reading status,
                    other => panic!("{other:?} after {} bytes", recorded.len()),
                },
                _ => {}
            }
        }
    };
    assert_eq!(status, ExitStatus::Code(0));
    assert!(recorded == expected, "{} bytes of {}", recorded.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; cargo test --test stress -- --ignored"]
async fn five_hundred_sessions_on_a_busy_machine_each_have_their_own_output_to_its_end() {
    const SESSIONS: usize = 500;
    let busy = Busy::start(16);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let server = TestServer::with(|server| server.history_bytes(64 << 10));
    let mut control = server.client().await;
    let before = descriptors();
    let mut watching = Vec::new();
    for index in 0..SESSIONS {
        let script = format!(
            "stty -opost -echo; echo ready; read go; seq -f '{index} %.0f' 1 5000; exit {}",
            index % 200
        );
        let name = format!("s{index}");
        let mut client = server.client().await;
        let started = attached(&mut client, &shell(&name, &script, Some(LOSSLESS))).await;
        watching.push((client, started.session));
    }
    assert_eq!(server.registry.session_count(), SESSIONS);
    assert_eq!(sessions(&mut control).await.len(), SESSIONS);
    let mut reading = Vec::new();
    for (index, (mut client, session)) in watching.into_iter().enumerate() {
        reading.push(tokio::spawn(async move {
            let mut seen = Transcript::from(0);
            seen.read_to(&mut client, "ready\n").await;
            soon(client.send(&input(session, "\n"))).await.unwrap();
            let mut told = Vec::new();
            let status = loop {
                match soon(client.next()).await.unwrap() {
                    Incoming::Output { offset, data } => {
                        assert_eq!(offset, seen.end());
                        seen.bytes.extend_from_slice(&data);
                    }
                    Incoming::Event(Event::Ended { status, .. }) => break status,
                    Incoming::Reply { answer, .. } => drop(answer.unwrap()),
                    other => told.push(format!("{other:?}")),
                }
            };
            assert!(told.is_empty(), "session {index}: {told:?}");
            let numbers = (1..=5000).map(|number| format!("{index} {number}\n")).collect::<String>();
            let expected = format!("ready\n{numbers}");
            let equal = expected.as_bytes().iter().zip(&seen.bytes).take_while(|(a, b)| a == b).count();
            let (printed, all) = (seen.bytes.len(), expected.len());
            assert_eq!((printed, equal), (all, all), "session {index}, {status:?}");
            assert_eq!(status, ExitStatus::Code(index as i32 % 200));
            seen.bytes.len()
        }));
    }
    let mut total = 0;
    for task in reading {
        total += task.await.unwrap();
    }
    println!("{SESSIONS} sessions printed {total} bytes");
    eventually("all are gone", || server.registry.session_count() == 0).await;
    eventually("only one client is left", || server.registry.client_count() == 1).await;
    eventually("nothing is kept open", || descriptors() <= before).await;
    drop(busy);
}

/// Threads that leave the others little of the processors, until dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start(threads: usize) -> Self {
        let busy = Arc::new(AtomicBool::new(true));
        for _ in 0..threads {
            let busy = Arc::clone(&busy);
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {});
        }
        Self(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A terminal of a size of its own, by another model than the server's.
struct Terminal {
    client: Client,
    screen: vt100::Parser,
    sizes: u64,
}

impl Terminal {
    async fn attach(server: &TestServer, size: TerminalSize, access: Access) -> Self {
        let mut client = server.client().await;
        let view = View { start: StartAt::Screen, on_lag: OnLag::Resync, size: Some(size), access };
        attached(&mut client, &attach("flood", view)).await;
        Self { client, screen: vt100::Parser::new(size.rows(), size.cols(), 0), sizes: 0 }
    }

    async fn read(&mut self) {
        match soon(self.client.next()).await.unwrap() {
            Incoming::Output { data, .. } | Incoming::Screen { data, .. } => self.screen.process(&data),
            Incoming::Event(Event::Resized { .. }) => self.sizes += 1,
            _ => {}
        }
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.screen.screen();
        screen.rows(0, screen.size().1).map(|row| row.trim_end().to_owned()).collect()
    }

    async fn read_until(&mut self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !condition(&self.lines()) {
            assert!(start.elapsed() < Duration::from_secs(60), "never {what}:\n{}", self.lines().join("\n"));
            self.read().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long; cargo test --test stress -- --ignored"]
async fn resizes_during_a_flood_leave_every_terminal_with_the_true_screen() {
    const RESIZES: u64 = 2000;
    let server = TestServer::start();
    let mut control = server.client().await;
    // Colours, wide characters, lines that wrap, and tabs.
    let line = r"$(printf '\033[3%sm\tline %s \033[m\344\275\240\345\245\275 and so on until it is longer than most' 1 x)";
    let script = format!(
        "stty -echo; yes \"{line}\" & read stop; kill $!; wait $!
         while read size; do printf '\\033[m\\033[2J\\033[H'; seq 1 500 | sed 's/$/ of the last lines/'; \
         printf '%s done' \"$size\"; done"
    );
    let id = create(&mut control, "flood", &script).await.id;
    let mut random = Random::seeded("sizes");
    let mut size = TerminalSize::DEFAULT;
    let mut resized = Terminal::attach(&server, size, Access::ReadWrite).await;
    let mut fixed = Terminal::attach(&server, TerminalSize::DEFAULT, Access::ReadOnly).await;
    for _ in 0..RESIZES {
        size = TerminalSize::new(10 + random.below(150) as u16, 5 + random.below(60) as u16).unwrap();
        resized.screen.screen_mut().set_size(size.rows(), size.cols());
        soon(resized.client.send(&ClientMessage::Resize { session: id, size })).await.unwrap();
        for _ in 0..random.below(8) {
            resized.read().await;
            if random.below(8) == 0 {
                fixed.read().await;
            }
        }
    }
    assert!(resized.sizes > 0);
    soon(control.request(&input(id, "\n"))).await.unwrap();
    soon(control.request(&input(id, "first\n"))).await.unwrap();
    // What any terminal of the final size must show.
    let last = |word: &str| {
        let mut lines: Vec<_> = (1..=500).map(|number| format!("{number} of the last lines")).collect();
        lines.push(format!("{word} done"));
        // Narrow terminals wrap them.
        let cols = usize::from(size.cols());
        let wrapped = lines.iter().flat_map(|line| {
            let parts = line.as_bytes().chunks(cols);
            parts.map(|part| String::from_utf8(part.to_vec()).unwrap().trim_end().to_owned())
        });
        let all: Vec<_> = wrapped.collect();
        all[all.len() - usize::from(size.rows())..].to_vec()
    };
    resized.read_until("the last lines", |lines| lines == last("first")).await;
    assert_eq!(session(&mut control, "flood").await.size, size);
    let mut late = Terminal::attach(&server, size, Access::ReadOnly).await;
    late.read_until("the last lines", |lines| lines == last("first")).await;
    // The one of another size has a part of each line.
    let cols = usize::from(TerminalSize::DEFAULT.cols());
    fixed
        .read_until("a part of the last lines", |lines| {
            let shown = lines.iter().filter(|line| !line.is_empty());
            let whole = last("first");
            lines.iter().any(|line| line.ends_with("first done"))
                && shown
                    .clone()
                    .all(|line| whole.iter().any(|whole| whole.get(..whole.len().min(cols)) == Some(line)))
        })
        .await;
    // And all of them follow what comes next.
    soon(control.request(&input(id, "second\n"))).await.unwrap();
    for terminal in [&mut resized, &mut late] {
        terminal.read_until("the last lines", |lines| lines == last("second")).await;
    }
    let cursor = |terminal: &Terminal| terminal.screen.screen().cursor_position();
    assert_eq!(cursor(&resized), cursor(&late));
    match soon(control.request(&kill("flood"))).await {
        Ok(Reply::Killed(_)) => {}
        other => panic!("{other:?}"),
    }
    loop {
        match soon(resized.client.next()).await {
            Ok(Incoming::Event(Event::Ended { .. })) => break,
            Ok(_) => {}
            Err(error @ (ClientError::Lost | ClientError::Closed(_))) => panic!("{error}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}
