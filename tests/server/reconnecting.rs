//! A client that makes lost connections again: output is exact and input is typed once, wherever the line breaks.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fugue_server::{
    Client, Clients, SessionId,
    client::{ClientError, ConnectError, InputFull, Keepalive, ReconnectError, ReconnectingClient, Watched},
    message::{
        Access, AttachOptions, AttachedTo, CloseReason, Event, ExitStatus, OnLag, RequestError, Share,
        StartAt, UnshareWhich,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    sync::watch,
};

use crate::{random::Random, support::*};

/// What a line lets through before it breaks: bytes to the client, and bytes from it. Beyond either it ends at once, or
/// it swallows what comes from then on.
#[derive(Clone, Copy)]
struct Cut {
    to_client: u64,
    from_client: u64,
    swallows: bool,
}

const WHOLE: Cut = Cut { to_client: u64::MAX, from_client: u64::MAX, swallows: false };

/// The lines that clients get, one after another; those after the last are whole. Counts what they carry.
#[derive(Clone)]
struct Lines {
    clients: Clients,
    next: Arc<Mutex<VecDeque<Cut>>>,
    made: Arc<AtomicU64>,
    to_client: Arc<AtomicU64>,
    from_client: Arc<AtomicU64>,
    /// While it is set, no line stands.
    down: watch::Sender<bool>,
}

impl Lines {
    fn to(server: &TestServer, cuts: impl IntoIterator<Item = Cut>) -> Self {
        let next = Arc::new(Mutex::new(cuts.into_iter().collect()));
        let (made, to_client, from_client) = Default::default();
        let down = watch::Sender::new(false);
        Self { clients: server.clients.clone(), next, made, to_client, from_client, down }
    }

    /// A new line.
    fn make(&self) -> DuplexStream {
        let cut = self.next.lock().unwrap().pop_front().unwrap_or(WHOLE);
        self.made.fetch_add(1, Ordering::Relaxed);
        let (near, client) = duplex(64 * 1024);
        let (server, far) = duplex(64 * 1024);
        let clients = self.clients.clone();
        tokio::spawn(async move { clients.serve_connection(far).await });
        let (lines, mut down) = (self.clone(), self.down.subscribe());
        tokio::spawn(async move {
            let ((mut client_reads, mut client_writes), (mut server_reads, mut server_writes)) =
                (split(client), split(server));
            // Whichever ends, the other is dropped, and the line with it.
            tokio::select! {
                () = carry(&mut server_reads, &mut client_writes, cut.to_client, &lines.to_client, cut.swallows) => {}
                () = carry(&mut client_reads, &mut server_writes, cut.from_client, &lines.from_client, cut.swallows) => {}
                _ = down.wait_for(|down| *down) => {}
            }
        });
        near
    }

    fn connect(&self) -> impl FnMut() -> Connecting + Send + 'static {
        let lines = self.clone();
        move || {
            let lines = lines.clone();
            Box::pin(async move {
                lines.down.subscribe().wait_for(|down| !*down).await.unwrap();
                Client::from_stream(lines.make()).await
            })
        }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Attaches, on as many lines as that takes.
    async fn attach(&self, session: SessionId, options: AttachOptions) -> ReconnectingClient {
        loop {
            match soon(ReconnectingClient::attach(self.connect(), session, options)).await {
                Ok(client) => return client,
                Err(ReconnectError::NotConnected(_) | ReconnectError::Closed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

type Connecting = std::pin::Pin<Box<dyn Future<Output = Result<Client, ConnectError>> + Send>>;

/// Carries at most so many bytes.
async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    most: u64,
    carried: &AtomicU64,
    swallows: bool,
) {
    let (mut left, mut buffer) = (most, [0; 4096]);
    while left > 0 {
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(read @ 1..) = from.read(&mut buffer[..room]).await else { return };
        carried.fetch_add(read as u64, Ordering::Relaxed);
        left -= read as u64;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    while swallows && matches!(from.read(&mut buffer).await, Ok(1..)) {}
}

/// What a client has got, which must follow without a gap or an overlap.
struct Seen {
    bytes: Vec<u8>,
    start: u64,
    lost: u64,
}

impl Seen {
    fn from(start: u64) -> Self {
        Self { bytes: Vec::new(), start, lost: 0 }
    }

    /// Takes the next thing in; `Some` at the end of the session.
    async fn step(&mut self, client: &mut ReconnectingClient) -> Option<ExitStatus> {
        match soon(client.next()).await.unwrap() {
            Watched::Output { offset, data } => {
                assert_eq!(offset, self.start + self.bytes.len() as u64, "a gap, or a byte twice");
                self.bytes.extend_from_slice(&data);
            }
            Watched::Lost => self.lost += 1,
            Watched::Event(Event::Ended { status, .. }) => return Some(status),
            Watched::Resumed(_) => {}
            other => panic!("{other:?}"),
        }
        None
    }

    async fn read_to(&mut self, client: &mut ReconnectingClient, end: &[u8]) {
        while !self.bytes.ends_with(end) {
            assert_eq!(self.step(client).await, None, "it ended");
        }
    }
}

async fn echo(server: &TestServer) -> (Client, AttachedTo, Transcript) {
    let mut viewer = server.client().await;
    let script = "stty raw -echo; printf ready; exec cat";
    let session = attached(&mut viewer, &shell("echo", script, Some(LOSSLESS))).await;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut viewer, "ready").await;
    (viewer, session, transcript)
}

/// How many lines are cut: `FUGUE_CUTS`, or each byte of a conversation once in each direction.
fn cuts() -> Option<u64> {
    std::env::var("FUGUE_CUTS").ok().map(|cuts| cuts.parse().expect("FUGUE_CUTS is a number"))
}

/// Types three pieces, each once the one before was echoed, and checks what came.
async fn converse(lines: &Lines, session: &AttachedTo, at: u64, round: u64) -> (u64, u64) {
    let mut client = lines.attach(session.session, LOSSLESS.with_start(StartAt::Offset(at))).await;
    let mut seen = Seen::from(at);
    let mut all = String::new();
    for piece in 0..3 {
        let word = format!("<{round}.{piece}>");
        client.type_in(word.as_bytes()).unwrap();
        all += &word;
        seen.read_to(&mut client, word.as_bytes()).await;
        assert_eq!(String::from_utf8_lossy(&seen.bytes), all, "round {round}");
    }
    // All of it is known to be typed.
    while client.untyped_bytes() > 0 {
        tokio::select! {
            next = soon(client.next()) => assert!(matches!(next, Ok(Watched::Lost | Watched::Resumed(_))), "{next:?}"),
            // So that answers, of which nothing is told, are looked at.
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    assert_eq!(String::from_utf8_lossy(&seen.bytes), all, "round {round}");
    (at + all.len() as u64, seen.lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_cut_at_every_byte_loses_no_output_and_types_nothing_twice() {
    let server = TestServer::start();
    let (mut viewer, session, mut witness) = echo(&server).await;
    let random = Random::seeded("cuts");
    let whole = Lines::to(&server, []);
    let mut at = witness.end();
    at = converse(&whole, &session, at, 0).await.0;
    let [to_client, from_client] =
        [&whole.to_client, &whole.from_client].map(|carried| carried.load(Ordering::Relaxed));
    assert!(to_client > 200 && from_client > 300, "{to_client} and {from_client} bytes");
    // First every byte in both directions; beyond that, the lines after the first break too.
    let sweep = to_client + from_client;
    let (mut made, mut lost) = (0, 0);
    for round in 0..cuts().unwrap_or(sweep) {
        let place = round % sweep;
        let first = match place.checked_sub(to_client) {
            None => Cut { to_client: place, ..WHOLE },
            Some(place) => Cut { from_client: place, ..WHOLE },
        };
        let mut random = random.branch(round);
        let more = if round < sweep { 0 } else { random.below(3) };
        let more = (0..more).map(|_| Cut {
            to_client: random.below(2 * to_client),
            from_client: random.below(2 * from_client),
            swallows: false,
        });
        let lines = Lines::to(&server, std::iter::once(first).chain(more.collect::<Vec<_>>()));
        let lost_now;
        (at, lost_now) = converse(&lines, &session, at, round + 1).await;
        made += lines.made();
        lost += lost_now;
    }
    println!("{} cuts in {sweep} places: {made} lines, {lost} lost while attached", cuts().unwrap_or(sweep));
    // Another client has the same: each word once, in order.
    let rounds = cuts().unwrap_or(sweep);
    let words = (0..=rounds).flat_map(|round| (0..3).map(move |piece| format!("<{round}.{piece}>")));
    let all: String = std::iter::once("ready".to_owned()).chain(words).collect();
    witness.read_until(&mut viewer, |bytes| bytes.len() >= all.len()).await;
    assert!(witness.bytes == all.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_within_every_frame_brings_all_in_the_end() {
    let server = TestServer::start();
    let mut other = server.client().await;
    let script = "stty -opost -echo; printf ready; read go; seq 1 3000; read end; exit 3";
    let session = attached(&mut other, &shell("a", script, Some(LOSSLESS))).await;
    // A greeting, the answer to an attach, a header, and some 64 bytes.
    let cut = Cut { to_client: 200, ..WHOLE };
    let lines = Lines::to(&server, std::iter::repeat_n(cut, 10_000));
    let mut client = lines.attach(session.session, LOSSLESS.with_start(StartAt::Oldest)).await;
    let mut seen = Seen::from(0);
    seen.read_to(&mut client, b"ready").await;
    soon(other.input(session.session, "\n")).await.unwrap();
    let all: String =
        std::iter::once("ready".to_owned()).chain((1..=3000).map(|n| format!("{n}\n"))).collect();
    while seen.bytes.len() < all.len() {
        seen.step(&mut client).await;
    }
    assert!(seen.bytes == all.as_bytes());
    assert!(lines.made() > 50, "{} lines", lines.made());
    lines.next.lock().unwrap().clear();
    soon(other.input(session.session, "\n")).await.unwrap();
    let status = loop {
        if let Some(status) = seen.step(&mut client).await {
            break status;
        }
    };
    assert_eq!(status, ExitStatus::Code(3));
    assert!(matches!(soon(client.next()).await, Err(ReconnectError::Ended(ExitStatus::Code(3)))));
}

const OFTEN: Keepalive =
    Keepalive::new(Duration::from_millis(50), Duration::from_millis(50), Duration::from_millis(500));

/// Lets through a greeting and an attach, and of what follows nothing.
const DEAD: Cut = Cut { to_client: u64::MAX, from_client: 160, swallows: true };

#[tokio::test]
async fn a_line_that_swallows_what_is_sent_is_found_and_what_was_typed_arrives() {
    let server = TestServer::start();
    let (_viewer, session, witness) = echo(&server).await;
    // The answer to the attach is the last that comes.
    let lines = Lines::to(&server, [DEAD]);
    let mut client = lines.attach(session.session, LOSSLESS).await.with_keepalive(Some(OFTEN));
    client.type_in(b"typed").unwrap();
    let mut seen = Seen::from(witness.end());
    seen.read_to(&mut client, b"typed").await;
    assert!(seen.bytes == b"typed" && seen.lost > 0 && lines.made() > 1);
}

#[tokio::test]
async fn an_idle_client_finds_that_its_line_is_dead() {
    let server = TestServer::start();
    let (_viewer, session, _) = echo(&server).await;
    let lines = Lines::to(&server, [DEAD]);
    let mut client = lines.attach(session.session, LOSSLESS).await.with_keepalive(Some(OFTEN));
    assert!(client.is_connected());
    assert_eq!(soon(client.next()).await.unwrap(), Watched::Lost);
    assert!(matches!(soon(client.next()).await.unwrap(), Watched::Resumed(_)));
}

#[tokio::test]
async fn what_is_no_longer_held_is_named_or_the_screen_stands_for_it() {
    let server = TestServer::with(|server| server.history_bytes(64 * 1024));
    let mut other = server.client().await;
    let script = "printf ready; read go; head -c 500000 /dev/zero | tr '\\0' x; printf done; read end";
    for (name, on_lag) in [("a", OnLag::Lossless), ("b", OnLag::Disconnect), ("c", OnLag::Resync)] {
        let info = create(&mut other, name, script).await;
        let lines = Lines::to(&server, []);
        let options = AttachOptions::new(StartAt::Oldest, on_lag);
        let mut client = lines.attach(info.id, options).await;
        let mut seen = Seen::from(0);
        seen.read_to(&mut client, b"ready").await;
        lines.down.send_replace(true);
        assert_eq!(soon(client.next()).await.unwrap(), Watched::Lost);
        soon(other.input(info.id, "\n")).await.unwrap();
        while soon(other.find(info.id)).await.unwrap().printed < 500_000 + "ready\r\ndone".len() as u64 {}
        lines.down.send_replace(false);
        if on_lag != OnLag::Resync {
            let ended = soon(client.next()).await;
            assert!(matches!(ended, Err(ReconnectError::Gap { after: 5, bytes: 400_000.. })), "{ended:?}");
            continue;
        }
        assert!(matches!(soon(client.next()).await.unwrap(), Watched::Resumed(_)));
        let Watched::Event(Event::Gap { from: 5, to }) = soon(client.next()).await.unwrap() else { panic!() };
        let Watched::Screen { offset, data } = soon(client.next()).await.unwrap() else { panic!() };
        assert_eq!(offset, to);
        assert!(contains(&data, b"done"));
    }
}

#[tokio::test]
async fn too_much_typed_is_refused_and_what_was_kept_is_typed() {
    let server = TestServer::start();
    let (_viewer, session, witness) = echo(&server).await;
    let lines = Lines::to(&server, []);
    let mut client = lines.attach(session.session, LOSSLESS).await;
    client.type_in(&[b'x'; 64 * 1024]).unwrap();
    assert_eq!(client.type_in(b"y"), Err(InputFull));
    assert_eq!(client.untyped_bytes(), 64 * 1024);
    let mut seen = Seen::from(witness.end());
    while seen.bytes.len() < 64 * 1024 {
        seen.step(&mut client).await;
    }
    client.type_in(b"y").unwrap();
    seen.read_to(&mut client, b"y").await;
    assert_eq!(seen.bytes.len(), 64 * 1024 + 1);
}

#[tokio::test]
async fn a_client_gives_up_when_told_or_when_its_session_is_gone() {
    let mut server = TestServer::start();
    let (mut viewer, session, witness) = echo(&server).await;
    // Nothing gets through after the first line.
    let dead = Cut { to_client: 0, ..WHOLE };
    let lines = Lines::to(&server, std::iter::once(Cut { from_client: 300, ..WHOLE }).chain([dead; 1000]));
    let patience = Duration::from_millis(300);
    let mut client = lines.attach(session.session, LOSSLESS).await.with_patience(patience);
    client.type_in(&[b'x'; 300]).unwrap();
    assert_eq!(soon(client.next()).await.unwrap(), Watched::Lost);
    let given_up = soon(client.next()).await;
    assert!(matches!(given_up, Err(ReconnectError::TooLong(after)) if after == patience), "{given_up:?}");

    let lines = Lines::to(&server, [Cut { from_client: 300, ..WHOLE }]);
    let mut client = lines.attach(session.session, LOSSLESS).await;
    soon(viewer.kill(session.session)).await.unwrap();
    let mut seen = Seen::from(witness.end());
    let status = loop {
        if let Some(status) = seen.step(&mut client).await {
            break status;
        }
    };
    assert_eq!(status, ExitStatus::Signal(1));
    soon(server.stop()).await.unwrap();
    let refused = soon(ReconnectingClient::attach(lines.connect(), session.session, LOSSLESS)).await;
    assert!(matches!(refused, Err(ReconnectError::NotConnected(ConnectError::Refused(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_viewer_redeems_its_link_on_each_line_and_uses_it_up_once() {
    let server = TestServer::start();
    let (mut owner, session, mut transcript) = echo(&server).await;
    let share = Share::of(session.session.into()).with_access(Access::ReadWrite).with_uses(Some(1));
    let token = soon(owner.share(share)).await.unwrap().token;
    // Far into the conversation, again and again.
    let cuts = (0..20).map(|cut| Cut { to_client: 2000 + 100 * cut, ..WHOLE });
    let lines = Lines::to(&server, cuts);
    let options = AttachOptions::new(StartAt::Oldest, OnLag::Resync);
    let connect = lines.connect();
    let mut client = soon(ReconnectingClient::attach_by_link(connect, token, None, options)).await.unwrap();
    let mut seen = Seen::from(0);
    seen.read_to(&mut client, b"ready").await;
    for piece in 0..200 {
        let typed = format!("piece {piece:04};");
        client.type_in(typed.as_bytes()).unwrap();
        seen.read_to(&mut client, typed.as_bytes()).await;
    }
    assert!(seen.lost > 0, "no line broke");
    let expected: String = (0..200).map(|piece| format!("piece {piece:04};")).collect();
    assert_eq!(String::from_utf8_lossy(&seen.bytes), format!("ready{expected}"));
    transcript.read_to(&mut owner, &expected).await;
    let other = ReconnectingClient::attach_by_link(lines.connect(), token, None, options);
    let refused = soon(other).await.unwrap_err();
    assert!(matches!(refused, ReconnectError::Refused(RequestError::NoSuchLink)), "{refused:?}");

    soon(owner.unshare(UnshareWhich::All)).await.unwrap();
    loop {
        match soon(client.next()).await {
            Ok(_) => {}
            Err(ReconnectError::Closed(ClientError::Closed(CloseReason::Revoked))) => break,
            // The line broke just then.
            Err(ReconnectError::Refused(RequestError::NoSuchLink)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    // Who finds out later, because the line was down, is told as well.
    let token = soon(owner.share(Share::of(session.session.into()))).await.unwrap().token;
    let read_only = options.with_access(Access::ReadOnly);
    let connect = lines.connect();
    let mut client = soon(ReconnectingClient::attach_by_link(connect, token, None, read_only)).await.unwrap();
    lines.down.send_replace(true);
    while soon(client.next()).await.unwrap() != Watched::Lost {}
    soon(owner.unshare(UnshareWhich::All)).await.unwrap();
    lines.down.send_replace(false);
    let refused = soon(client.next()).await.unwrap_err();
    assert!(matches!(refused, ReconnectError::Refused(RequestError::NoSuchLink)), "{refused:?}");
}
