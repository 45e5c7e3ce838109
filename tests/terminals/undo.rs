//! A terminal that is left is as it was: every row set, then left in each way, by the real binary in a real terminal.

use std::collections::BTreeMap;

use fugue_server::{
    TerminalSize,
    message::{ClientMessage, ExitStatus, Pace, Target},
};
use rustix::process::Signal;

use super::{
    Case, Step, known,
    known::Witness,
    programs::Program,
    rows::{ROWS, Row},
    vt100_witness,
};
use crate::{
    cli::Home,
    support::{TestServer, eventually, soon},
};

/// What the user's terminal was told before: a title and a colour of its own.
const BEFORE: &str = "\x1b]2;the user's\x07\x1b]4;9;#123456\x07prompt$ \r\n";

/// What differs, and what the terminal was written, by row and way.
type Differing = BTreeMap<String, (Vec<String>, Vec<u8>)>;

/// How a terminal leaves a session, or the session it.
#[derive(Clone, Copy, Debug)]
enum Way {
    Detached,
    Ended,
    Killed,
    ServerLost,
    Terminated,
    Stopped,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Detached, Self::Ended, Self::Killed, Self::ServerLost, Self::Terminated, Self::Stopped];
}

/// A terminal in which a session shows `set`, which it then leaves. Returns what the terminal was written.
async fn left(home: &Home, server: TestServer, set: &str, way: Way) -> Vec<u8> {
    let feed = server.feeds.start("undo".parse().unwrap(), TerminalSize::DEFAULT, Pace::Free).unwrap();
    let socket = server.socket.display().to_string();
    // A shell with jobs, as a person has one.
    let script = format!("set -m; fugue-server attach undo --socket {socket}; printf LEFT; read -r go");
    let terminal = home.shell_terminal(&script);
    eventually("the terminal watches", || feed.watchers() == 1).await;
    let wait_for = |text: &str| {
        terminal.wait_until(text, |shown| {
            shown.bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes()).then_some(())
        });
    };
    // What is printed before the terminal's first bytes may be drawn, and a drawing may cut a word in two.
    soon(feed.print("READY".into())).await.unwrap();
    wait_for("READY");
    soon(feed.print(format!("\r\x1b[K{set}MARK").into())).await.unwrap();
    wait_for("MARK");
    // Session and server go on meanwhile, unless their end is the way.
    let mut remaining = Some((server, feed));
    match (way, &remaining) {
        (Way::Detached, _) => terminal.type_in("\x1c"),
        (Way::Terminated, _) => terminal.signal_foreground(Signal::TERM),
        (Way::Stopped, _) => terminal.signal_foreground(Signal::TSTP),
        (Way::Killed, Some((server, feed))) => {
            let kill = ClientMessage::Kill { session: Target::Id(feed.session()) };
            soon(server.client().await.request(&kill)).await.unwrap();
        }
        (Way::Ended | Way::Killed, _) => {
            let ended = remaining.take().map(|(server, feed)| {
                feed.end(ExitStatus::Code(0));
                server
            });
            wait_for("LEFT");
            drop(ended);
        }
        (Way::ServerLost, _) => drop(remaining.take()),
    }
    wait_for("LEFT");
    drop(remaining);
    terminal.wait_until("all of it", |shown| Some(shown.bytes.clone()))
}

/// What a terminal went through, against one that saw nothing of it.
fn case(name: String, written: Vec<u8>) -> Case {
    let before = BEFORE.as_bytes().to_vec();
    Case {
        name,
        cut: 0,
        size: TerminalSize::DEFAULT,
        expected: vec![Step::Bytes(before.clone())],
        actual: vec![Step::Bytes([&before[..], &written].concat())],
        drawn: written,
    }
}

/// Rows that leave what is to be undone set: a reset after others would undo them itself.
fn together() -> String {
    let rows = ROWS.iter().filter(|row| !["DECSTR", "RIS"].contains(&row.name));
    rows.map(|row| row.set).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_left_with_everything_set_is_as_it_was() {
    let (home, set) = (Home::new(), together());
    let mut xterm_js = Program::xterm_js();
    let mut differing: Differing = BTreeMap::new();
    for way in Way::ALL {
        let case = case(format!("everything | {way:?}"), left(&home, TestServer::start(), &set, way).await);
        let differences = vt100_witness::judge_modes(&case);
        differing.insert(format!("{:?} | {}", Witness::Vt100, case.name), (differences, case.drawn.clone()));
        if let Some(xterm_js) = &mut xterm_js {
            let differences = xterm_js.judge_modes(&case);
            differing.insert(format!("{:?} | {}", Witness::XtermJs, case.name), (differences, case.drawn));
        }
    }
    judge(differing);
}

/// Takes about half a second a row: all of them where `FUGUE_CUTS` asks for more than usual, or those of
/// `FUGUE_RECORDINGS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_left_with_a_row_set_is_as_it_was() {
    let wanted = std::env::var("FUGUE_RECORDINGS").ok();
    if wanted.is_none() && std::env::var_os("FUGUE_CUTS").is_none() {
        println!("not shown: rows one by one; FUGUE_CUTS=50 shows them");
        return;
    }
    let Some(mut xterm_js) = Program::xterm_js() else { return };
    let home = Home::new();
    let mut differing: Differing = BTreeMap::new();
    let is_wanted =
        |row: &&Row| wanted.as_ref().is_none_or(|wanted| format!("row {}", row.name).contains(wanted));
    for row in ROWS.iter().filter(is_wanted) {
        for way in Way::ALL {
            let written = left(&home, TestServer::start(), row.set, way).await;
            let case = case(format!("row {} | {way:?}", row.name), written);
            let differences = xterm_js.judge_modes(&case);
            differing.insert(format!("{:?} | {}", Witness::XtermJs, case.name), (differences, case.drawn));
        }
    }
    judge(differing);
}

/// Fails unless just those differ that are known to.
fn judge(differing: Differing) {
    let all = differing.len();
    let differing: Vec<_> =
        differing.into_iter().filter(|(_, (differences, _))| !differences.is_empty()).collect();
    println!("{all} ways, {} with differences:", differing.len());
    for (what, (differences, written)) in &differing {
        println!("{what} | 1 | {}", differences.join("; "));
        println!("    written: {}", String::from_utf8_lossy(written).escape_debug());
    }
    let unexpected: Vec<_> =
        differing.iter().map(|(what, _)| what).filter(|what| !known::differs(what)).collect();
    assert!(unexpected.is_empty(), "these differ: {unexpected:#?}");
}
