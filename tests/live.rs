//! What a client makes its server hold, in live bytes: while it reads nothing, and once it is idle again.
//!
//! Everything runs on one thread, whose allocations are counted. A client here is a bare socket, which holds nothing
//! itself, and what it does is over once a bystander was answered often enough: the server has then done all it can.

use std::{io::ErrorKind, time::Duration};

use allocation_counter::measure;
use bytes::Bytes;
use fugue_server::{
    Client, Feed, Feeds, Server, ServerBuilder, SessionId, TerminalSize,
    message::{
        Access, Attach, AttachOptions, ClientMessage, Create, ExitStatus, OnLag, Pace, StartAt, Target,
    },
    wire::{self, Hello},
};
use tempfile::TempDir;
use tokio::{net::UnixStream, runtime::Runtime};

const KIB: i64 = 1024;

/// What SECURITY says of a client: a write, its replies, and one reply or one screen. Its queue's messages are the
/// history's own, and its input is counted by itself.
const WRITE: i64 = 256 * KIB;
const REPLIES: i64 = 32 * 4 * KIB;

/// The sessions' size, and what a drawing of it takes where each character has colours of its own: SECURITY says 35
/// bytes for each, and a buffer has up to twice as many while it grows.
const COLS: u16 = 160;
const ROWS: u16 = 80;
const SCREEN: i64 = COLS as i64 * ROWS as i64 * 2 * 35;

/// What an idle client takes, with a margin: in a debug build 2.9 KiB were measured, and 4.0 KiB after a session each.
const IDLE: i64 = 5 * KIB;

struct Room {
    runtime: Runtime,
    feeds: Feeds,
    bystander: Client,
    socket: std::path::PathBuf,
    _directory: TempDir,
}

impl Room {
    fn new(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fugue/server.sock");
        let (feeds, bystander) = runtime.block_on(async {
            let server = Server::builder(&socket).stall_timeout(Duration::from_secs(3600));
            let server = configure(server).bind().unwrap();
            let feeds = server.feeds();
            tokio::spawn(server.serve(std::future::pending()));
            (feeds, Client::connect(&socket).await.unwrap())
        });
        let mut room = Self { runtime, feeds, bystander, socket, _directory: directory };
        // What the server keeps of a first client and a first session is not this client's.
        let feed = room.feed("warm-up");
        let client =
            room.client(&[attach(feed.session(), AttachOptions::new(StartAt::Screen, OnLag::Resync))]);
        room.settle();
        drop(client);
        room.end(feed);
        room
    }

    /// The server does all it can.
    fn settle(&mut self) {
        let Self { runtime, bystander, .. } = self;
        runtime.block_on(async {
            for _ in 0..50 {
                bystander.request(&ClientMessage::Ping).await.unwrap();
            }
        });
    }

    fn feed(&mut self, name: &str) -> Feed {
        let size = TerminalSize::new(COLS, ROWS).unwrap();
        self.runtime.block_on(async { self.feeds.start(name.parse().unwrap(), size, Pace::Free).unwrap() })
    }

    fn print(&mut self, feed: &Feed, output: Bytes) {
        self.runtime.block_on(async {
            feed.print(output).await.unwrap();
            feed.flush().await;
        });
    }

    fn end(&mut self, feed: Feed) {
        feed.end(ExitStatus::Code(0));
        self.settle();
    }

    /// A client that sends these and reads nothing, as far as the server takes them.
    fn client(&mut self, requests: &[ClientMessage]) -> UnixStream {
        let socket = self.runtime.block_on(async { UnixStream::connect(&self.socket).await.unwrap() });
        let requests = (0..).zip(requests).map(|(id, request)| wire::encode_request(id, request).unwrap());
        let bytes = std::iter::once(Hello::encode()).chain(requests).collect::<Vec<_>>().concat();
        let mut left = &bytes[..];
        // Until all is sent, or the server, having done all it can, takes no more.
        let mut is_taken = true;
        while !left.is_empty() {
            match socket.try_write(left) {
                Ok(written) => (left, is_taken) = (&left[written..], true),
                Err(error) if error.kind() == ErrorKind::WouldBlock && is_taken => {
                    self.settle();
                    is_taken = false;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        socket
    }

    /// What the server holds more after this than before, in bytes.
    fn held(&mut self, doing: impl FnOnce(&mut Self) -> UnixStream) -> i64 {
        let mut socket = None;
        let info = measure(|| {
            socket = Some(doing(self));
            self.settle();
        });
        drop(socket);
        self.settle();
        info.bytes_current
    }
}

fn attach(session: SessionId, view: AttachOptions) -> ClientMessage {
    ClientMessage::Attach(Attach::new(Target::Id(session), view))
}

/// A screen each character of which has colours of its own.
fn colourful(cols: u16, rows: u16) -> Bytes {
    let cell = |at: usize| {
        let (red, green) = (at % 256, at / 256 % 256);
        format!("\x1b[38;2;{red};{green};1;48;2;{green};{red};2mx")
    };
    (0..usize::from(cols) * usize::from(rows)).flat_map(|at| cell(at).into_bytes()).collect()
}

#[test]
fn an_idle_client_takes_some_kib() {
    let mut room = Room::new(|server| server);
    let held = room.held(|room| room.client(&[]));
    assert!((1..IDLE).contains(&held), "{held} bytes");
}

#[test]
fn a_client_that_attaches_again_and_again_holds_one_screen() {
    let mut room = Room::new(|server| server);
    let feed = room.feed("a");
    room.print(&feed, colourful(COLS, ROWS));
    // It is kept for others, and so is not this client's.
    let view = AttachOptions::new(StartAt::Screen, OnLag::Resync).with_size(TerminalSize::new(COLS, ROWS));
    let first = room.client(&[attach(feed.session(), view)]);
    room.settle();
    drop(first);
    let held = room.held(|room| room.client(&vec![attach(feed.session(), view); 10]));
    assert!(held < SCREEN + WRITE + REPLIES, "{held} bytes");
    // As a terminal of another size, that changes all the time.
    let mut requests = vec![attach(feed.session(), view.with_size(TerminalSize::new(20, 10)))];
    for cols in 30..40 {
        let (session, size) = (feed.session(), TerminalSize::new(cols, ROWS - 1).unwrap());
        requests.push(ClientMessage::Resize { session, size, pixels: None });
        requests.push(ClientMessage::Resync);
    }
    let held = room.held(|room| room.client(&requests));
    assert!(held < SCREEN + WRITE + REPLIES, "{held} bytes");
}

#[test]
fn a_client_that_reads_no_screens_it_asked_for_holds_one() {
    let mut room = Room::new(|server| server);
    let feed = room.feed("a");
    room.print(&feed, colourful(COLS, ROWS));
    let read = ClientMessage::ReadScreen { session: feed.session().into(), lines: 0 };
    // The drawing is kept for others.
    drop(room.client(std::slice::from_ref(&read)));
    let held = room.held(|room| room.client(&vec![read.clone(); 100]));
    assert!(held < SCREEN + WRITE + REPLIES, "{held} bytes");
}

#[test]
fn a_client_that_reads_no_replies_holds_one_large_one() {
    let mut room = Room::new(ServerBuilder::no_screen_model);
    let others: Vec<_> = (0..1000).map(|at| room.feed(&format!("feed-{at}"))).collect();
    let request = |room: &mut Room, request: ClientMessage| {
        let reply = room.runtime.block_on(room.bystander.request(&request)).unwrap();
        i64::try_from(wire::encode_reply(0, &Ok(reply)).len()).unwrap()
    };
    for message in [ClientMessage::Stats, ClientMessage::List] {
        let large = request(&mut room, message.clone());
        let held = room.held(|room| room.client(&vec![message.clone(); 200]));
        // A reply that is being written, and those behind it up to a write.
        assert!(held < 2 * large + WRITE + REPLIES, "{message:?}: {held} bytes, and one has {large}");
    }
    drop(others);
}

#[test]
fn a_client_that_reads_no_small_replies_has_few_of_them() {
    let mut room = Room::new(ServerBuilder::no_screen_model);
    let held = room.held(|room| room.client(&vec![ClientMessage::Ping; 20_000]));
    assert!(held < REPLIES / 8, "{held} bytes");
}

#[test]
fn a_log_of_small_pieces_is_charged_what_it_takes() {
    let mut room = Room::new(|server| server.no_screen_model().history_bytes(64 * 1024));
    let feed = room.feed("a");
    room.print(&feed, "warm-up".into());
    // Each shorter than the one before, so that no two are merged.
    let info = measure(|| {
        for length in (1..90).rev() {
            room.print(&feed, vec![b'x'; length].into());
        }
        room.settle();
    });
    let stats = room.runtime.block_on(room.bystander.stats()).unwrap();
    let charged = i64::try_from(stats.history_bytes).unwrap();
    assert!(info.bytes_current <= charged, "{} bytes, and {charged} are charged", info.bytes_current);
}

#[test]
fn a_client_holds_no_more_input_than_it_may_have_outstanding() {
    let mut room = Room::new(|server| server);
    let command = ["/bin/sh", "-c", "stty raw -echo; exec sleep 1000"].map(|word| word.as_bytes().to_vec());
    let mut create = Create::new("a".parse().unwrap(), command.to_vec());
    create.env = vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())];
    let options = AttachOptions::new(StartAt::Now, OnLag::Lossless);
    let session = room.runtime.block_on(room.bystander.create_attached(create, options)).unwrap().session;
    for length in [1, 1000, 64 * 1024] {
        let input = ClientMessage::Input { session, position: None, data: vec![b'x'; length].into() };
        let held = room.held(|room| room.client(&vec![input.clone(); 1000]));
        assert!(held < 256 * KIB + 64 * KIB + WRITE + REPLIES, "{held} bytes in pieces of {length}");
    }
}

#[test]
fn a_client_that_does_all_of_it_at_once_holds_the_sum_at_most() {
    let mut room = Room::new(|server| server);
    let feed = room.feed("a");
    room.print(&feed, colourful(COLS, ROWS));
    let view = AttachOptions::new(StartAt::Screen, OnLag::Resync)
        .with_size(TerminalSize::new(COLS, ROWS))
        .with_access(Access::ReadOnly);
    let round = [
        attach(feed.session(), view),
        ClientMessage::Stats,
        ClientMessage::List,
        ClientMessage::Resync,
        ClientMessage::Ping,
    ];
    let requests: Vec<_> = std::iter::repeat_n(round, 10).flatten().collect();
    let held = room.held(|room| room.client(&requests));
    // The last drawing is kept for others, too.
    assert!(held < 2 * SCREEN + WRITE + REPLIES, "{held} bytes");
}

#[test]
fn clients_whose_sessions_ended_are_as_idle_as_before() {
    const CLIENTS: usize = 20;
    // What is kept of the sessions is not theirs.
    let mut room = Room::new(|server| server.ended_bytes(0));
    // Each runs a session to its end, types into it, and stays connected.
    let run = |room: &mut Room| -> Vec<UnixStream> {
        let run = |at| {
            let feed = room.feed(&format!("session-{at}"));
            room.print(&feed, vec![b'x'; 100_000].into());
            let (session, size) = (feed.session(), TerminalSize::new(COLS, ROWS));
            let view = AttachOptions::new(StartAt::Oldest, OnLag::Resync).with_size(size);
            let input = ClientMessage::Input { session, position: None, data: "x".into() };
            let client = room.client(&[attach(session, view), input]);
            room.settle();
            room.end(feed);
            client
        };
        (0..CLIENTS).map(run).collect()
    };
    // What the sessions that are remembered take is not theirs.
    drop(run(&mut room));
    room.settle();
    let mut clients = Vec::new();
    let info = measure(|| clients = run(&mut room));
    let each = info.bytes_current / CLIENTS as i64;
    assert!(each < IDLE, "{each} bytes for each client");
    // They were told of the end, and so watch nothing.
    let read = |client: UnixStream| {
        let mut bytes = vec![0; 200_000];
        let read = client.try_read(&mut bytes).unwrap();
        bytes.truncate(read);
        bytes
    };
    assert!(clients.into_iter().map(read).all(|bytes| bytes.len() > 100_000));
}
