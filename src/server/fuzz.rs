//! A connection, from its first byte to its end, whatever the bytes are.

use std::{path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
};

use super::*;
use crate::{
    TerminalSize,
    fuzz::input::{choice, pieces},
    message::{ClientMessage, CloseReason, Event, LinkToken, Pace, Reply, Share, Target},
    session::{Feed, SessionSettings},
    terminal::emulator,
    wire::{self, Frame, FrameDecoder, Hello, HelloReply, Kind, Side, WireError},
};

/// Stands for the session's id in an input, which can't know it.
pub(crate) const SESSION: [u8; 16] = *b"the session's id";

/// The secret of a link to the session, to watch it.
const TOKEN: LinkToken = LinkToken::from_bytes(*b"the link's token");

/// How long a connection may take: thousands of times as long as it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends the input to a server of its own with a session `a`, which prints the very same, and checks how it is
/// answered.
///
/// A bad greeting is refused with the reason. After a good one, each request is answered once, up to the first frame
/// that is none, which ends the connection with the reason; output is the session's, and in the end nothing is left.
/// Who has redeemed a link to watch does nothing else.
pub(crate) fn connection(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, converse(input)).await.expect("the connection went on for ever");
    });
}

async fn converse(input: &[u8]) {
    let (shared, feed) = server();
    let session = feed.session();
    let shown = shared.sessions.find(&Target::Id(session)).expect("it runs");
    shared.share_by(TOKEN, Share::of(session.into()), Some(&*shown)).await.expect("a link");
    drop(shown);
    let (cut, input) = choice(input);
    let bytes: Bytes = with_session(input, session.to_bytes()).into();
    let expected = Expected::of(&bytes);
    drop(feed.print(bytes.clone()).await);

    let (client, served) = UnixStream::pair().expect("a pair of sockets");
    let place = shared.connections.place().expect("a place");
    let connection = tokio::spawn(connection::run(Arc::clone(&shared), served, None, place));
    let (read, mut write) = client.into_split();
    let sent = bytes.clone();
    let writing = tokio::spawn(async move {
        for piece in pieces(&sent, cut) {
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // An error says that the session was killed.
        drop(feed.print(sent.clone()).await);
        (write, feed)
    });

    let mut answers = Answers::new(read, [&bytes[..], &bytes].concat());
    if expected.greeted && !expected.malformed {
        // Only then does the client close its side: a client that is gone gets no answers.
        answers.read_until(|answers| are_among(&expected.requests, &answers.replies)).await;
    }
    let (write, feed) = writing.await.expect("writing does not panic");
    if !expected.malformed {
        drop(write);
    }
    answers.read_until(|_| false).await;
    connection.await.expect("a connection does not panic");
    answers.check(expected);

    assert_eq!(shared.registry.client_count(), 0);
    assert!(shared.registry.session_clients(session).is_empty());
    assert!(shared.clients.is_empty());
    drop(feed);
    shared.sessions.shut_down().await;
    assert_eq!(shared.registry.session_count(), 0);
}

/// All of a server but its socket. It has one session and starts no others.
fn server() -> (Arc<ServerState>, Feed) {
    let registry = ClientRegistry::builder().shards(2).build().expect("a power of two");
    let settings = SessionSettings {
        socket: PathBuf::new(),
        history_bytes: 64 * 1024,
        hang_up_grace: Duration::ZERO,
        make_model: Some(emulator(100)),
        links: None,
        keeper: None,
        ended_bytes: 0,
        ended_time: Duration::ZERO,
        lost_time: Duration::ZERO,
    };
    let sessions = Arc::new(Manager::new(registry.clone(), settings, None));
    let size = TerminalSize::new(20, 6).expect("a size");
    let name = "a".parse().expect("a name");
    let feed = Feeds::new(Arc::clone(&sessions)).start(name, size, Pace::Free).expect("a session");
    sessions.start_no_more();
    let shared = ServerState {
        sessions,
        registry,
        counters: Counters::default(),
        clients: Connected::new(),
        connections: Connections::new(1),
        nesting: Nesting::new(),
        input_streams: InputStreams::new(),
        shares: Shares::new(),
        started: Instant::now(),
        live: LiveSettings::new(4, 100),
        handshake_timeout: PATIENCE,
        timing: StallTimeouts { hold: PATIENCE, close: PATIENCE, close_resyncing: PATIENCE },
        is_stopping: AtomicBool::new(false),
        closing: CancellationToken::new(),
    };
    (Arc::new(shared), feed)
}

fn with_session(input: &[u8], session: [u8; 16]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&bytes[from..], &SESSION) {
        bytes[from + at..from + at + 16].copy_from_slice(&session);
        from += at + 16;
    }
    bytes
}

/// How a server is to answer.
struct Expected {
    greeted: bool,
    /// Ids of what is to be answered.
    requests: Vec<u64>,
    /// Ids of what is to be answered once the session has ended, or never.
    waits: Vec<u64>,
    malformed: bool,
}

impl Expected {
    fn of(bytes: &[u8]) -> Self {
        let (frames, end) = wire::fuzz::decode(bytes, 0, Side::Client);
        // A relay may speak before the hello.
        let is_relayed = frames
            .first()
            .is_some_and(|frame| frame.kind == Kind::Relay && wire::decode_relay(&frame.payload).is_ok());
        let frames = &frames[usize::from(is_relayed)..];
        let greeted = frames.first().is_some_and(|Frame { kind, payload, .. }| {
            *kind == Kind::Hello && Hello::decode(payload).is_ok_and(|hello| hello.agreed().is_some())
        });
        let rest = frames.get(1..).unwrap_or_default();
        let taken: Vec<_> = rest.iter().take_while(|frame| !ends(frame)).collect();
        let ended = taken.len() < rest.len();
        let malformed = ended || end.is_some_and(|end| end != WireError::Cut.to_string());
        let (waits, requests): (Vec<_>, Vec<_>) = taken.into_iter().partition(|frame| waits(frame));
        let ids = |frames: Vec<&Frame>| frames.into_iter().map(|frame| frame.a).collect();
        Self { greeted, requests: ids(requests), waits: ids(waits), malformed }
    }
}

/// Whether it waits for the session's end, which is after the client's.
fn waits(frame: &Frame) -> bool {
    matches!(wire::decode_request(frame), Ok(ClientMessage::Wait { .. }))
}

/// Whether each of `some` is one of `all`, as often.
fn are_among(some: &[u64], all: &[u64]) -> bool {
    let [some, all] = [some, all].map(|ids| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    });
    let mut all = all.iter();
    some.iter().all(|id| all.any(|one| one == id))
}

/// Whether the connection ends by it: it is not allowed here, and not answered.
fn ends(frame: &Frame) -> bool {
    let is_statement = || matches!(wire::decode_request(frame), Ok(ClientMessage::Statement { .. }));
    matches!(frame.kind, Kind::Hello | Kind::Relay) || is_statement()
}

/// Whether somebody may be told this by a link to watch.
fn only_watches(reply: &Reply) -> bool {
    use Reply::{Attached, Detached, Ended, Found, Pong, Resized, Resynced, Screen};

    matches!(reply, Attached(_) | Detached | Ended(_) | Found(_) | Pong | Resized | Resynced | Screen(_))
}

/// What a server said.
struct Answers {
    socket: OwnedReadHalf,
    unread: BytesMut,
    decoder: FrameDecoder,
    printed: Vec<u8>,
    hello: Option<HelloReply>,
    replies: Vec<u64>,
    has_redeemed: bool,
    closing: Option<CloseReason>,
}

impl Answers {
    fn new(socket: OwnedReadHalf, printed: Vec<u8>) -> Self {
        let decoder = FrameDecoder::new(Side::Server);
        let unread = BytesMut::new();
        Self {
            socket,
            unread,
            decoder,
            printed,
            hello: None,
            replies: Vec::new(),
            has_redeemed: false,
            closing: None,
        }
    }

    /// Reads until there is `enough`, or no more.
    async fn read_until(&mut self, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            // A server that closes with something unread resets the connection; what it said came before.
            if !matches!(self.socket.read_buf(&mut self.unread).await, Ok(1..)) {
                return;
            }
            while let Some(frame) = self.decoder.decode(&mut self.unread).expect("a server sends frames") {
                self.take(frame);
            }
        }
    }

    fn take(&mut self, Frame { kind, a, payload }: Frame) {
        assert_eq!(self.closing, None, "{kind:?} after the end");
        assert_eq!(self.hello.is_none(), kind == Kind::HelloReply, "{kind:?} out of turn");
        match kind {
            Kind::HelloReply => self.hello = Some(HelloReply::decode(&payload).expect("a hello reply")),
            Kind::Reply => {
                // A refusal's text may go to a terminal as it is.
                match wire::decode_reply(&payload).expect("a reply") {
                    Err(refused) => {
                        assert!(!refused.to_string().chars().any(char::is_control), "{refused:?}");
                    }
                    // What waits, such as input, began after it: it is redeemed first or not at all.
                    Ok(reply) if self.has_redeemed => assert!(only_watches(&reply), "{reply:?}"),
                    Ok(reply) => self.has_redeemed = matches!(reply, Reply::Redeemed(_)),
                }
                self.replies.push(a);
            }
            Kind::Event => match wire::decode_event(&payload).expect("an event") {
                Event::Closing(reason) => self.closing = Some(reason),
                event => assert!(matches!(event, Event::Ended { .. } | Event::Resized { .. }), "{event:?}"),
            },
            Kind::Output => {
                let printed = usize::try_from(a).ok().and_then(|offset| self.printed.get(offset..));
                assert!(printed.is_some_and(|printed| printed.starts_with(&payload)), "at {a}");
            }
            Kind::Screen => {}
            other => panic!("a server sends no {other:?}"),
        }
    }

    fn check(self, expected: Expected) {
        match &self.hello {
            Some(HelloReply::Welcome { .. }) => assert!(expected.greeted),
            Some(HelloReply::Refused { why, .. }) => {
                assert!(!expected.greeted && !why.is_empty() && self.replies.is_empty());
                return;
            }
            None => panic!("no answer to a greeting"),
        }
        let is_malformed =
            |reason: &CloseReason| matches!(reason, CloseReason::Malformed(why) if !why.is_empty());
        if expected.malformed {
            assert!(self.closing.as_ref().is_some_and(is_malformed), "{:?}", self.closing);
        } else {
            assert_eq!(self.closing, None);
        }
        // What waits, such as a kill, goes unanswered where the connection ends; nothing is answered twice.
        assert!(
            are_among(&self.replies, &[&expected.requests[..], &expected.waits].concat()),
            "{:?}",
            self.replies
        );
        if !expected.malformed {
            assert!(are_among(&expected.requests, &self.replies), "{:?}", self.replies);
        }
    }
}
