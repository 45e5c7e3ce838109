//! What a mirror's clients have as those at the host do.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use fugue_server::{
    Client, SessionId, TerminalSize,
    client::Incoming,
    message::{AttachOptions, Event, ExitStatus, OnLag, StartAt},
};
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    machine::{Broker, Machine, PATIENCE, Process, eventually},
    sessions::{lines, two},
};

/// What `list` says of the only session of a machine that runs.
fn listed(machine: &Machine) -> Value {
    let all: Value = serde_json::from_str(&machine.ok(&["list", "--json"])).unwrap();
    all.as_array().unwrap().iter().find(|session| session["running"] == true).cloned().unwrap_or_default()
}

/// Attaches to a session at a machine. Nothing is read until it is asked for.
fn attach(runtime: &Runtime, machine: &Machine, session: SessionId, options: AttachOptions) -> Client {
    runtime.block_on(async {
        let mut client = Client::connect(&machine.socket()).await.unwrap();
        client.attach(session, options).await.unwrap();
        client
    })
}

/// All that a client is told until the end: it misses nothing.
fn read_all(runtime: &Runtime, client: &mut Client) -> (Vec<u8>, ExitStatus) {
    runtime.block_on(async {
        let mut output = Vec::new();
        loop {
            let next = tokio::time::timeout(PATIENCE, client.next()).await.expect("more output");
            match next.unwrap() {
                Incoming::Output { data, .. } => output.extend_from_slice(&data),
                Incoming::Event(Event::Gap { from, to }) => panic!("a gap from {from} to {to}"),
                Incoming::Event(Event::Ended { status, .. }) => return (output, status),
                _ => {}
            }
        }
    })
}

/// A program that prints much more than is held stands at the host while a client at another node does not read, though
/// one at the host reads all; and goes on when that client does.
fn program_waits(pace: &str, on_lag: OnLag) {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    let script = "stty -echo; echo ready; read word; seq 1 3000000; exit 6";
    let created = host.ok(&["new", "-d", "--pace", pace, "build", "--", "sh", "-c", script]);
    host.ok(&["wait", "build", "--for", "ready"]);
    watcher.ok(&["screen", "build@h1"]);
    let (runtime, session) = (Runtime::new().unwrap(), created.trim().parse().unwrap());
    let mut fast = host.command(&["attach", "build"]);
    let _fast = Process(fast.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut client = attach(&runtime, &watcher, session, AttachOptions::new(StartAt::Now, on_lag));
    assert!(watcher.send("build@h1", "go\n").status.success());
    let (mut before, mut standing) = (0, Instant::now());
    eventually("a program that stands", || {
        let now = listed(&host)["printed_bytes"].as_u64()?;
        if now != before || now < 1000 {
            (before, standing) = (now, Instant::now());
        }
        (standing.elapsed() > Duration::from_secs(1)).then_some(())
    });
    assert!(before < 16_000_000, "{before} bytes");
    let (output, status) = read_all(&runtime, &mut client);
    assert!(output.ends_with(&lines(3_000_000)), "{} bytes", output.len());
    assert_eq!(status, ExitStatus::Code(6));
}

#[test]
fn a_lossless_client_at_another_node_holds_the_program_back() {
    program_waits("fastest", OnLag::Lossless);
}

#[test]
fn the_slowest_at_another_node_sets_the_pace_where_that_is_asked_for() {
    program_waits("slowest", OnLag::Resync);
}

#[test]
fn terminals_at_another_node_count_for_the_size_as_one() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    let created = host.ok(&["new", "-d", "--size", "smallest", "build", "--", "sleep", "1000"]);
    let (runtime, session) = (Runtime::new().unwrap(), created.trim().parse().unwrap());
    watcher.ok(&["screen", "build@h1"]);
    let options =
        |cols, rows| AttachOptions::new(StartAt::Now, OnLag::Resync).with_size(TerminalSize::new(cols, rows));
    let _here = attach(&runtime, &host, session, options(100, 40));
    let first = attach(&runtime, &watcher, session, options(90, 50));
    let second = attach(&runtime, &watcher, session, options(120, 30));
    let is_sized = |size: &str| {
        eventually(size, || {
            [&host, &watcher].iter().all(|machine| listed(machine)["size"] == *size).then_some(())
        });
    };
    is_sized("90x30");
    drop(second);
    is_sized("90x40");
    drop(first);
    is_sized("100x40");
}

#[test]
fn typing_waits_for_a_silent_host_where_that_is_asked_for() {
    let Some(broker) = Broker::start("") else { return };
    let (mut host, mut watcher) = (Machine::new(), Machine::new());
    host.start_node("h1", &broker.url(None), &[]);
    watcher.start_node("h2", &broker.url(None), &["--typing", "wait"]);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read a; read b; echo \"<$a$b>\"; read c; exit 5"]);
    let recorder = watcher.record("build@h1");
    host.node().signal(Signal::STOP);
    eventually("a silent host", || listed(&watcher)["silent_seconds"].as_u64());
    let address = watcher.address();
    let typed = thread::spawn(move || {
        use std::io::Write;
        let mut send = address.command(&["send", "build"]).stdin(Stdio::piped()).spawn().unwrap();
        send.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
        send.wait().unwrap().success()
    });
    eventually("what waits", || {
        let figures = watcher.ok(&["stats", "--node", "--prometheus"]);
        let is_it = |line: &str| line.starts_with("fugue_node_typing_waiting_bytes") && line.ends_with(" 8");
        figures.lines().any(is_it).then_some(())
    });
    host.node().signal(Signal::CONT);
    assert!(typed.join().unwrap());
    assert!(watcher.send("build@h1", "end\n").status.success());
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(String::from_utf8_lossy(&output).matches("<onetwo>").count(), 1);
}

#[test]
fn a_broker_that_is_lost_is_told_of_at_mirrors_and_nowhere_else() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; exit 5"]);
    let _recorder = watcher.record("build@h1");
    drop(broker);
    eventually("a silent host", || {
        let silent = listed(&watcher)["silent_seconds"].as_u64()?;
        (silent >= 5).then_some(())
    });
    assert!(watcher.ok(&["list"]).contains("silent for"));
    let refused = watcher.run(&["kill", "build"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("h1 is silent"), "{why}");
    assert_eq!(listed(&host)["silent_seconds"], Value::Null);
    assert!(host.send("build", "go\n").status.success());
}
