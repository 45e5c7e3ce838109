//! A connection that is lost while its server goes on: `attach` makes another, and nothing is missing, doubled, or
//! typed twice.

use std::{
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::*;
use crate::random::Random;

/// What lies between a client and its server, and breaks.
struct Line {
    socket: PathBuf,
    state: Arc<LineState>,
}

#[derive(Default)]
struct LineState {
    /// Both ends of the newest connections.
    connections: Mutex<Vec<(UnixStream, UnixStream)>>,
    made: AtomicU64,
    /// Whoever comes is sent away.
    is_down: AtomicBool,
}

impl Line {
    /// A line to the server of `home`. The connection of each number lets through so many bytes to the client and so
    /// many from it.
    fn new(home: &Home, limits: impl Fn(u64) -> (u64, u64) + Send + 'static) -> Self {
        let (socket, server) = (home.directory.path().join("line.sock"), home.socket());
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(LineState::default());
        let line = Self { socket, state: Arc::clone(&state) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if state.is_down.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&server) else { return };
                let (to_client, from_client) = limits(state.made.fetch_add(1, Ordering::Relaxed));
                let ways = [(&server, &client, to_client), (&client, &server, from_client)];
                let ways =
                    ways.map(|(from, to, most)| (from.try_clone().unwrap(), to.try_clone().unwrap(), most));
                // Before anything passes, so that who has seen something can break it.
                let mut connections = state.connections.lock().unwrap();
                connections.push((client, server));
                // Those before are broken.
                let newest = connections.len().saturating_sub(4);
                connections.drain(..newest);
                drop(connections);
                for (from, to, most) in ways {
                    thread::spawn(move || carry(from, to, most));
                }
            }
        });
        line
    }

    fn socket(&self) -> String {
        self.socket.display().to_string()
    }

    /// Breaks every connection that stands.
    fn cut(&self) {
        for (client, server) in self.state.connections.lock().unwrap().drain(..) {
            // It may be broken already.
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    }

    fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::Relaxed);
        if is_down {
            self.cut();
        }
    }

    fn made(&self) -> u64 {
        self.state.made.load(Ordering::Relaxed)
    }
}

/// Carries at most so many bytes, and then breaks both.
fn carry(mut from: UnixStream, mut to: UnixStream, most: u64) {
    // An error says that it is broken already.
    let _ = std::io::copy(&mut (&mut from).take(most), &mut to);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Waits for the first bytes of a recording.
fn first_bytes(recorder: &mut Child, expected: &str) {
    let mut first = vec![0; expected.len()];
    recorder.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(String::from_utf8_lossy(&first), expected);
}

const WHOLE: (u64, u64) = (u64::MAX, u64::MAX);

#[test]
fn a_recording_over_a_line_that_breaks_is_whole() {
    let home = Home::new();
    let random = Random::seeded("broken lines");
    home.succeed(&[
        "new",
        "a",
        "-d",
        "--",
        "sh",
        "-c",
        "stty -opost; read go; seq 1 500000; read end; exit 3",
    ]);
    let is_over = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_over);
    let line = Line::new(&home, move |number| {
        let mut random = random.branch(number);
        match number {
            _ if breaks.load(Ordering::Relaxed) => WHOLE,
            0 => (5000, u64::MAX),
            // These break in the greeting, or in the attach.
            1..8 => (random.below(200), u64::MAX),
            // Some within the first frame of output, some many frames on.
            8..40 => (200 + random.below(2000), u64::MAX),
            _ => (200 + random.below(600_000), u64::MAX),
        }
    });
    let mut recorder = home
        .command(&["attach", "a", "--socket", &line.socket()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    let expected: String =
        std::iter::once("\n".to_owned()).chain((1..=500_000).map(|n| format!("{n}\n"))).collect();
    let mut recorded = vec![0; expected.len()];
    recorder.stdout.as_mut().unwrap().read_exact(&mut recorded).unwrap();
    assert!(recorded == expected.as_bytes());
    assert!(line.made() > 10, "it broke");
    // Its end comes over a line that holds.
    let watcher = || home.json(&["list", "--clients", "--json"])[0]["client"].as_u64();
    let mut before = None;
    eventually("the recorder is attached", || {
        before = watcher();
        before.is_some()
    });
    is_over.store(true, Ordering::Relaxed);
    line.cut();
    eventually("the recorder is attached again", || watcher() > before);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    let output = recorder.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"\n"[..]), "{output:?}");
}

#[test]
fn what_is_typed_over_a_line_that_breaks_is_typed_once() {
    let home = Home::new();
    let random = Random::seeded("broken lines");
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "stty raw -echo; printf ready; exec cat"]);
    let line = Line::new(&home, move |number| {
        let mut random = random.branch(number);
        // Enough for a greeting and an attach, which are some 600 bytes; then they break with a key, or its answer.
        if number == 0 { WHOLE } else { (1000 + random.below(3000), 1000 + random.below(1000)) }
    });
    let terminal = home.terminal(&["attach", "a", "--socket", &line.socket()]);
    terminal.wait_for("ready");
    let mut typed = "ready".to_owned();
    for key in ('a'..='z').cycle().take(150) {
        if key == 'm' {
            line.cut();
        }
        terminal.type_in(&key.to_string());
        typed.push(key);
        if key == 'z' {
            // On 80 columns, the cursor goes to the next line.
            terminal.wait_until(&typed, |shown| (shown.text().replace('\n', "") == typed).then_some(()));
        }
    }
    terminal.wait_until(&typed, |shown| (shown.text().replace('\n', "") == typed).then_some(()));
    assert!(line.made() > 6, "it broke");
}

#[test]
fn a_long_outage_is_said_on_the_last_line_and_the_true_screen_comes_back() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "echo before; read go; clear; echo after; read end"]);
    let line = Line::new(&home, |_| WHOLE);
    let terminal = home.terminal(&["attach", "a", "--socket", &line.socket()]);
    terminal.wait_for("before");
    line.set_down(true);
    terminal.wait_for("the connection to the server is lost; trying again");
    terminal.wait_for("before");
    assert!(script(&home, "echo | fugue-server send a").status.success());
    eventually("it is printed", || home.succeed(&["screen", "a"]).contains("after"));
    line.set_down(false);
    terminal.wait_until("the screen as it is", |shown| (shown.text().trim_end() == "after").then_some(()));
}

#[test]
fn the_detach_key_leaves_while_the_line_is_down() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "printf ready; exec cat"]);
    let line = Line::new(&home, |_| WHOLE);
    let mut terminal = home.terminal(&["attach", "a", "--socket", &line.socket()]);
    terminal.wait_for("ready");
    line.set_down(true);
    terminal.wait_for("the connection to the server is lost");
    terminal.type_in("lost\x1c");
    terminal.wait_for("[detached from a]");
    terminal.wait_for("of 4 bytes typed into a, some may be lost");
    terminal.ends_with(0);
}

#[test]
fn a_recording_that_nobody_reads_ends_while_the_line_is_down() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "printf ready; read end"]);
    let line = Line::new(&home, |_| WHOLE);
    let mut recorder =
        home.command(&["attach", "a", "--socket", &line.socket()]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    line.set_down(true);
    drop(recorder.stdout.take());
    assert_eq!(wait(&mut recorder).code(), Some(141));
}

#[test]
fn what_is_typed_while_the_line_is_down_waits_and_too_much_rings() {
    let home = Home::new();
    home.succeed(&[
        "new",
        "a",
        "-d",
        "--",
        "sh",
        "-c",
        "stty raw -echo; printf ready; head -c 4096 | wc -c; exec cat",
    ]);
    let line = Line::new(&home, |_| WHOLE);
    let terminal = home.terminal(&["attach", "a", "--socket", &line.socket()]);
    terminal.wait_for("ready");
    line.set_down(true);
    terminal.wait_for("the connection to the server is lost");
    terminal.type_in(&"k".repeat(4096));
    let rings = |shown: &Shown| shown.bytes.contains(&0x07);
    terminal.type_in("x");
    terminal.wait_until("a bell", |shown| rings(shown).then_some(()));
    line.set_down(false);
    terminal.wait_for("4096");
    terminal.type_in("end");
    // What was too much is not there.
    terminal.wait_until("4096 and what was typed then", |shown| {
        let text = shown.text();
        let is_all = text.contains("ready4096") && text.split_whitespace().last() == Some("end");
        is_all.then_some(())
    });
}

#[test]
fn a_session_that_ended_while_the_line_was_down_is_told_of() {
    let home = Home::new();
    for name in ["shown", "recorded"] {
        home.succeed(&["new", name, "-d", "--", "sh", "-c", "printf ready; read go; exit 5"]);
    }
    let line = Line::new(&home, |_| WHOLE);
    let mut terminal = home.terminal(&["attach", "shown", "--socket", &line.socket()]);
    terminal.wait_for("ready");
    let mut recorder = home
        .command(&["attach", "recorded", "--socket", &line.socket()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    first_bytes(&mut recorder, "ready");
    line.set_down(true);
    for name in ["shown", "recorded"] {
        assert!(script(&home, &format!("echo | fugue-server send {name}")).status.success());
        home.run(&["wait", name]);
    }
    line.set_down(false);
    terminal.wait_for("[session shown ended: exit status 5]");
    terminal.ends_with(5);
    let output = recorder.wait_with_output().unwrap();
    // What it printed since is known to nobody, or it is all there.
    let told = String::from_utf8_lossy(&output.stderr);
    let is_whole = output.status.code() == Some(5) && output.stdout == b"\r\n";
    let is_told =
        output.status.code() == Some(254) && told.contains("what it printed after byte 5 is missing");
    assert!(is_whole || is_told, "{output:?}");
}

#[test]
fn a_recording_whose_next_bytes_are_gone_after_an_outage_says_how_many() {
    let home = Home::new();
    let started = script(
        &home,
        "fugue-server new a -d -- sh -c 'printf ready; read go; head -c 9000000 /dev/zero; printf done; read end'",
    );
    assert!(started.status.success(), "{started:?}");
    let line = Line::new(&home, |_| WHOLE);
    let mut recorder = home
        .command(&["attach", "a", "--socket", &line.socket()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    first_bytes(&mut recorder, "ready");
    line.set_down(true);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    eventually("all is printed", || home.session("a")["printed_bytes"].as_u64() >= Some(9_000_011));
    line.set_down(false);
    let output = recorder.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(254), &b""[..]));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("bytes are no longer held"), "{told}");
}
