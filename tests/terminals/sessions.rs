//! Ways for a terminal to come to a session's state, each through a real server: joining late, falling behind, asking
//! for the screen, being resized and back.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use fugue_server::{
    Client, Feed, TerminalSize,
    client::Incoming,
    message::{AttachOptions, ClientMessage, Event, OnLag, Pace, StartAt},
};

use super::{
    Case, Step, USED_BEFORE,
    corpus::{Recording, is_within},
};
use crate::support::*;

/// What is printed at once until a client has fallen behind.
const FILLER: usize = 64 * 1024;
/// What a session holds.
const HISTORY: usize = 128 * 1024;
/// A byte that does nothing: who has it has all before it.
const LAST: u8 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Late,
    Gap,
    Resync,
    Resized,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Late, Self::Gap, Self::Resync, Self::Resized];

    /// Whether this is tried at a recording's cut of this number: what takes long is seldom.
    pub(super) fn is_tried(self, cut: usize, recording: &Recording) -> bool {
        match self {
            Self::Late | Self::Resync => true,
            // A row's last cut is of little use here: all that it did is done.
            Self::Gap | Self::Resized => cut % 5 == usize::from(recording.name.starts_with("row ")) * 2,
        }
    }
}

pub(super) fn server() -> TestServer {
    TestServer::with(|server| server.history_bytes(HISTORY).queue_depth(1))
}

/// Lines above the screen that a late joiner is given at most.
const SCROLLBACK: u32 = 1000;

/// The same for one that is shown this screen: none where it ends in the other one.
pub(super) fn scrollback(screen: &[u8]) -> usize {
    let last = screen.windows(8).rfind(|window| window.starts_with(b"\x1b[?1049"));
    if last.is_some_and(|window| window.ends_with(b"h")) { 0 } else { SCROLLBACK as usize }
}

fn terminal(start: StartAt, size: TerminalSize) -> AttachOptions {
    AttachOptions::new(start, OnLag::Resync).with_size(Some(size))
}

fn feed(server: &TestServer, size: TerminalSize) -> Feed {
    // The one before may still have its name.
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let name = format!("feed-{}", STARTED.fetch_add(1, Ordering::Relaxed));
    server.feeds.start(name.parse().unwrap(), size, Pace::Free).unwrap()
}

async fn print(feed: &Feed, bytes: &[u8]) {
    soon(feed.print(Bytes::copy_from_slice(bytes))).await.unwrap();
    soon(feed.flush()).await;
}

/// What a client is sent until it has everything before `end`: the output before its last screen, that screen, and the
/// output after it.
async fn collect(client: &mut Client, end: u64) -> [Vec<u8>; 3] {
    let [mut before, mut screen, mut after] = [const { Vec::new() }; 3];
    let mut at = None;
    loop {
        match soon(client.next()).await.unwrap() {
            Incoming::Output { offset, data } => {
                after.extend_from_slice(&data);
                if offset + data.len() as u64 >= end {
                    return [before, screen, after];
                }
            }
            Incoming::Screen { offset, data } => {
                if at != Some(offset) {
                    before.append(&mut screen);
                    before.append(&mut after);
                }
                at = Some(offset);
                screen.extend_from_slice(&data);
            }
            Incoming::Event(Event::Gap { .. }) | Incoming::Reply { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

pub(super) async fn case(server: &TestServer, recording: &Recording, kind: Kind, cut: usize) -> Case {
    let Recording { name, size, bytes, .. } = recording;
    let whole = vec![Step::Bytes(bytes.clone())];
    let (expected, actual, drawn) = match kind {
        Kind::Late => {
            let (screen, rest) = late(server, recording, cut).await;
            (whole, vec![Step::Bytes([USED_BEFORE, &screen, &rest].concat())], screen)
        }
        Kind::Gap => {
            let (before, screen, rest) = gap(server, recording, cut).await;
            (whole, vec![Step::Bytes([before, screen.clone(), rest].concat())], screen)
        }
        Kind::Resync => {
            let (screen, rest) = resync(server, recording, cut).await;
            // What it was sent last may lie far back, and end within a sequence.
            let before = &bytes[..recording.from.max(cut * 2 / 3)];
            (whole, vec![Step::Bytes([before, &screen, &rest].concat())], screen)
        }
        Kind::Resized => resized(server, recording, cut).await,
    };
    let within = if is_within(&bytes[..cut]) { ", cut within a sequence" } else { "" };
    Case { name: format!("{name} | {kind:?}{within}"), cut, size: *size, expected, actual, drawn }
}

/// The screen and the rest, for a terminal that attaches at the cut.
async fn late(server: &TestServer, recording: &Recording, cut: usize) -> (Vec<u8>, Vec<u8>) {
    let (bytes, feed) = (&recording.bytes, feed(server, recording.size));
    print(&feed, &bytes[..cut]).await;
    let mut client = server.client().await;
    let view = terminal(StartAt::Screen, recording.size).with_scrollback(SCROLLBACK);
    let to = attached(&mut client, &attach_id(feed.session(), view)).await;
    assert_eq!(to.start, cut as u64);
    print(&feed, &[&bytes[cut..], &[LAST]].concat()).await;
    let [_, screen, rest] = collect(&mut client, bytes.len() as u64 + 1).await;
    (screen, rest)
}

/// What a terminal had before it fell out of the history, the screen it was given for the gap, and the rest.
async fn gap(server: &TestServer, recording: &Recording, cut: usize) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (bytes, feed) = (&recording.bytes, feed(server, recording.size));
    let mut client = server.client().await;
    attached(&mut client, &attach_id(feed.session(), terminal(StartAt::Now, recording.size))).await;
    // A string that no terminal shows, so long that what comes next is far from what the client takes.
    let (mut asking, mut printed) = (server.client().await, 0);
    print(&feed, b"\x1b]9999;").await;
    while client_stats(&mut asking, client.id()).await.lag_bytes < 2 * HISTORY as u64 {
        print(&feed, &[b'x'; FILLER]).await;
        printed += FILLER;
    }
    print(&feed, &[b"\x07", &bytes[..cut]].concat()).await;
    printed += b"\x1b]9999;\x07".len() + cut;
    let mut before = Vec::new();
    // Its last screen shows that it has seen the gap; more of that may follow, and then comes the rest.
    let mut screen = loop {
        match soon(client.next()).await.unwrap() {
            Incoming::Screen { offset, data } if offset == printed as u64 => break data.to_vec(),
            Incoming::Output { data, .. } | Incoming::Screen { data, .. } => before.extend_from_slice(&data),
            _ => {}
        }
    };
    // It ends within the string, which need not be long.
    before.dedup_by(|one, other| *one == b'x' && *other == b'x');
    print(&feed, &[&bytes[cut..], &[LAST]].concat()).await;
    let [_, more, rest] = collect(&mut client, (printed - cut + bytes.len()) as u64 + 1).await;
    screen.extend(more);
    (before, screen, rest)
}

/// The screen and the rest, for a terminal that was there and asks at the cut.
async fn resync(server: &TestServer, recording: &Recording, cut: usize) -> (Vec<u8>, Vec<u8>) {
    let (bytes, feed) = (&recording.bytes, feed(server, recording.size));
    let mut client = server.client().await;
    attached(&mut client, &attach_id(feed.session(), terminal(StartAt::Now, recording.size))).await;
    print(&feed, &bytes[..cut]).await;
    soon(client.request(&ClientMessage::Resync)).await.unwrap();
    let mut screen = loop {
        if let Incoming::Screen { data, .. } = soon(client.next()).await.unwrap() {
            break data.to_vec();
        }
    };
    print(&feed, &[&bytes[cut..], &[LAST]].concat()).await;
    let [_, more, rest] = collect(&mut client, bytes.len() as u64 + 1).await;
    screen.extend(more);
    (screen, rest)
}

/// A terminal that joins after the session was resized and back, one that was there, and what that one was last drawn.
/// How lines are broken again is the session's affair: what counts is that both show the same.
async fn resized(server: &TestServer, recording: &Recording, cut: usize) -> (Vec<Step>, Vec<Step>, Vec<u8>) {
    let Recording { size, bytes, .. } = recording;
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    std::fs::write(&first, &bytes[..cut]).unwrap();
    std::fs::write(&second, [&bytes[cut..], &[LAST]].concat()).unwrap();
    let script =
        format!("stty raw -echo; cat {}; read -r go; cat {}; read -r end", first.display(), second.display());
    let view = terminal(StartAt::Oldest, *size);
    let request = shell_with("resized", &script, |create| {
        create.attach = Some(view);
        create.size = *size;
    });
    let mut there = server.client().await;
    let session = attached(&mut there, &request).await.session;
    let mut had = Transcript::from(0);
    had.read_until(&mut there, |had| had.len() >= cut).await;
    let mut steps = vec![Step::Bytes(had.bytes)];
    for size in [TerminalSize::new(size.cols() - 13, size.rows() + 5).unwrap(), *size] {
        steps.push(Step::Size(size));
        soon(there.send(&ClientMessage::Resize { session, size, pixels: None })).await.unwrap();
        loop {
            match soon(there.next()).await.unwrap() {
                Incoming::Event(Event::Resized { size: now, .. }) if now == size => break,
                Incoming::Screen { data, .. } => steps.push(Step::Bytes(data.to_vec())),
                _ => {}
            }
        }
        loop {
            if let Incoming::Screen { data, .. } = soon(there.next()).await.unwrap() {
                steps.push(Step::Bytes(data.to_vec()));
                break;
            }
        }
    }
    let mut joined = server.client().await;
    let to = attached(&mut joined, &attach_id(session, terminal(StartAt::Screen, *size))).await;
    assert_eq!(to.start, cut as u64);
    soon(there.send(&input(session, "\n"))).await.unwrap();
    let end = bytes.len() as u64 + 1;
    let [more, screen, rest] = collect(&mut there, end).await;
    let drawn = [more, screen].concat();
    steps.push(Step::Bytes([&drawn[..], &rest].concat()));
    let drawn = steps
        .iter()
        .rev()
        .find_map(|step| match step {
            Step::Bytes(bytes) => Some(bytes.clone()),
            Step::Size(_) => None,
        })
        .unwrap_or_default();
    let [_, screen, rest] = collect(&mut joined, end).await;
    soon(there.request(&ClientMessage::Kill { session: fugue_server::message::Target::Id(session) }))
        .await
        .unwrap();
    (vec![Step::Bytes([USED_BEFORE, &screen, &rest].concat())], steps, drawn)
}

/// A session that shows `shown` and nothing else, for a terminal that another program left as `before` does.
pub(super) async fn over(server: &TestServer, before: &str, shown: &str) -> Case {
    let (size, feed) = (TerminalSize::DEFAULT, feed(server, TerminalSize::DEFAULT));
    print(&feed, shown.as_bytes()).await;
    let mut client = server.client().await;
    attached(&mut client, &attach_id(feed.session(), terminal(StartAt::Screen, size))).await;
    print(&feed, &[LAST]).await;
    let [_, drawn, _] = collect(&mut client, shown.len() as u64 + 1).await;
    Case {
        name: String::new(),
        cut: 0,
        size,
        expected: vec![Step::Bytes(shown.into())],
        actual: vec![Step::Bytes([before.as_bytes(), &drawn].concat())],
        drawn,
    }
}
