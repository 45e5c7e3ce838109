//! The client beside servers that do not answer, answer late, or answer what it can't read. Time is the test's own
//! where the server is one too.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use fugue_server::{
    Client, ClientId, SessionId,
    client::{CONNECT_TIMEOUT, ClientError, ConnectError, Incoming, REQUEST_TIMEOUT},
    message::{AttachOptions, ClientMessage, ExitStatus, OnLag, Reply, RequestError, StartAt},
    wire::{self, Frame, FrameReader, HEADER_LEN, Header, HelloReply, Kind, Side},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::Instant,
};

use crate::support::*;

/// A server that does as it is told.
struct Fake {
    read: FrameReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Fake {
    /// A server's end that has been said hello to, and the client's.
    async fn greeted() -> (Self, Client) {
        let (served, stream) = UnixStream::pair().unwrap();
        let mut fake = Self::on(served);
        let greet = async {
            assert_eq!(fake.read.next().await.unwrap().unwrap().kind, Kind::Hello);
            fake.send(&HelloReply::welcome(wire::VERSION, ClientId(7)).encode()).await;
        };
        let ((), client) = tokio::join!(greet, Client::from_stream(stream));
        (fake, client.unwrap())
    }

    fn on(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read: FrameReader::new(read, Side::Client), write }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    async fn next(&mut self) -> Frame {
        self.read.next().await.unwrap().unwrap()
    }

    async fn answer(&mut self, id: u64, answer: Reply) {
        self.send(&wire::encode_reply(id, &Ok(answer))).await;
    }
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    (directory, socket)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lets_in_and_never_answers_is_named_in_time() {
    let (_directory, socket) = place();
    let _silent = UnixListener::bind(&socket).unwrap();
    let start = Instant::now();
    let error = Client::connect(&socket).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), CONNECT_TIMEOUT.as_secs());
    assert!(matches!(error, ConnectError::NoAnswer { process: Some(_), .. }), "{error}");
    let text = error.to_string();
    let process = std::process::id();
    assert!(
        text.contains(&format!("kill -9 {process}")) && text.contains(socket.to_str().unwrap()),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lets_nobody_in_is_given_up_in_time() {
    let (_directory, socket) = place();
    let busy = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    rustix::net::listen(&busy, 0).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(&socket).await {
        waiting.push(stream);
    }
    let start = Instant::now();
    let error = Client::connect(&socket).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), CONNECT_TIMEOUT.as_secs());
    assert!(matches!(error, ConnectError::NoAnswer { process: None, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_ends_in_time_and_its_answer_may_follow() {
    let (mut fake, mut client) = Fake::greeted().await;
    for (request, times) in [(ClientMessage::List, 1), (kill("a"), 3), (attach("a", LOSSLESS), 3)] {
        let start = Instant::now();
        let error = client.request(&request).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), (REQUEST_TIMEOUT * times).as_secs());
        assert!(matches!(error, ClientError::NoAnswer { .. }), "{error}");
        assert!(error.to_string().contains("may still do what was asked"), "{error}");
    }
    client.set_request_timeout(Duration::from_millis(20));
    let start = Instant::now();
    client.request(&ClientMessage::Ping).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));

    let late = fake.next().await;
    fake.answer(late.a, Reply::Sessions(Vec::new())).await;
    let answer = Incoming::Reply { request: late.a, answer: Ok(Reply::Sessions(Vec::new())) };
    assert_eq!(client.next().await.unwrap(), answer);
}

#[tokio::test(start_paused = true)]
async fn input_is_waited_for_as_long_as_pings_are_answered_and_no_longer() {
    let (mut fake, mut client) = Fake::greeted().await;
    let typed = input(SessionId::random(), "keys");
    let serve = async {
        let typing = fake.next().await;
        assert_eq!(typing.kind, Kind::Input);
        for _ in 0..10 {
            let ping = fake.next().await;
            assert_eq!(ping.kind, Kind::Ping);
            fake.answer(ping.a, Reply::Pong).await;
        }
        fake.answer(typing.a, Reply::Resized).await;
    };
    let start = Instant::now();
    let (answer, ()) = tokio::join!(client.request(&typed), serve);
    assert_eq!(answer.unwrap(), Reply::Resized);
    assert!(start.elapsed() >= REQUEST_TIMEOUT * 10);

    let start = Instant::now();
    let error = client.request(&typed).await.unwrap_err();
    assert!(matches!(error, ClientError::NoAnswer { .. }), "{error}");
    assert_eq!(start.elapsed().as_secs(), (REQUEST_TIMEOUT * 2).as_secs());
}

#[tokio::test]
async fn an_older_server_is_not_asked_for_what_it_does_not_know() {
    for (features, follows) in [(0, false), (1, true), (u64::MAX, true)] {
        let (served, stream) = UnixStream::pair().unwrap();
        let mut fake = Fake::on(served);
        let greet = async {
            assert_eq!(fake.read.next().await.unwrap().unwrap().kind, Kind::Hello);
            let welcome = HelloReply::Welcome { version: wire::VERSION, client: ClientId(7), features };
            fake.send(&welcome.encode()).await;
        };
        let ((), client) = tokio::join!(greet, Client::from_stream(stream));
        let mut client = client.unwrap();
        assert_eq!(client.can_follow(), follows);
        let options = AttachOptions::new(StartAt::Screen, OnLag::Resync).following();
        let asked = async {
            let frame = fake.next().await;
            fake.send(&wire::encode_reply(frame.a, &Err(RequestError::ShuttingDown))).await;
            let ClientMessage::Attach(attach) = wire::decode_request(&frame).unwrap() else { panic!() };
            attach.options
        };
        let (refused, asked) =
            soon(async { tokio::join!(client.attach(SessionId::from(1_u64), options), asked) }).await;
        assert!(matches!(refused, Err(ClientError::Refused(RequestError::ShuttingDown))), "{refused:?}");
        assert_eq!((asked.follows, asked.size), (follows, None));
    }
}

#[tokio::test]
async fn what_arrives_before_an_answer_is_bounded_and_none_of_it_is_lost() {
    let (mut fake, mut client) = Fake::greeted().await;
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 100;
    let flood = tokio::spawn(async move {
        let ping = fake.next().await;
        for piece in 0..PIECES {
            let header = Header::new(Kind::Output, (piece * PIECE) as u64, PIECE);
            fake.send(&header.encode()).await;
            fake.send(&vec![b'x'; PIECE]).await;
        }
        fake.answer(ping.a, Reply::Pong).await;
        fake
    });
    let error = soon(client.request(&ClientMessage::Ping)).await.unwrap_err();
    let ClientError::Backlog { request: Some(sent) } = error else { panic!("{error}") };
    let error = soon(client.request(&ClientMessage::Ping)).await.unwrap_err();
    assert!(matches!(error, ClientError::Backlog { request: None }), "{error}");
    let mut transcript = Transcript::from(0);
    transcript.read_until(&mut client, |bytes| bytes.len() >= PIECES * PIECE).await;
    assert_eq!(transcript.bytes.len(), PIECES * PIECE);
    let answer = Incoming::Reply { request: sent, answer: Ok(Reply::Pong) };
    assert_eq!(soon(client.next()).await.unwrap(), answer);

    let mut fake = soon(flood).await.unwrap();
    let serve = async {
        let ping = fake.next().await;
        fake.answer(ping.a, Reply::Pong).await;
    };
    let (answer, ()) = soon(async { tokio::join!(client.request(&ClientMessage::Ping), serve) }).await;
    assert_eq!(answer.unwrap(), Reply::Pong);
}

#[tokio::test(start_paused = true)]
async fn a_request_cut_short_while_it_is_sent_is_sent_whole_before_the_next() {
    let (mut fake, mut client) = Fake::greeted().await;
    let typed = input(SessionId::random(), vec![b'x'; wire::MAX_INPUT]);
    // The server takes nothing: a few of them fill the way there.
    let mut sent = 0;
    let error = loop {
        match client.send(&typed).await {
            Ok(id) => sent = id,
            Err(error) => break error,
        }
        assert!(sent < 1000);
    };
    assert!(matches!(error, ClientError::NoAnswer { .. }), "{error}");
    let receive = async {
        for id in 1..=sent + 1 {
            let frame = fake.next().await;
            assert_eq!((frame.kind, frame.a, frame.payload.len()), (Kind::Input, id, 40 + wire::MAX_INPUT));
        }
        let ping = fake.next().await;
        assert_eq!((ping.kind, ping.a), (Kind::Ping, sent + 2));
        fake.answer(ping.a, Reply::Pong).await;
    };
    let (answer, ()) = soon(async { tokio::join!(client.request(&ClientMessage::Ping), receive) }).await;
    assert_eq!(answer.unwrap(), Reply::Pong);
}

#[tokio::test]
async fn a_server_of_another_version_is_told_apart_with_both_versions() {
    let (_directory, socket) = place();
    let listener = UnixListener::bind(&socket).unwrap();
    let refuse = async {
        let mut fake = Fake::on(listener.accept().await.unwrap().0);
        fake.next().await;
        fake.send(&HelloReply::Refused { version: 9, why: "go away".into() }.encode()).await;
    };
    let (connected, ()) = soon(async { tokio::join!(Client::connect(&socket), refuse) }).await;
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::OtherVersion { server: 9, .. }), "{error}");
    let text = error.to_string();
    let ours = format!("this client version {}", wire::VERSION);
    assert!(text.contains("version 9") && text.contains(&ours) && text.contains("start it again"), "{text}");

    // What follows the version may be anything then.
    let refuse = async {
        let mut fake = Fake::on(listener.accept().await.unwrap().0);
        fake.next().await;
        let payload = [&b"fugue\0"[..], &[2, 1], b"\x07what version 258 says"].concat();
        fake.send(&Header::new(Kind::HelloReply, 0, payload.len()).encode()).await;
        fake.send(&payload).await;
    };
    let (connected, ()) = soon(async { tokio::join!(Client::connect(&socket), refuse) }).await;
    assert!(matches!(connected, Err(ConnectError::OtherVersion { server: 258, .. })), "{connected:?}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_says_versions_and_what_may_have_happened() {
    let (mut fake, mut client) = Fake::greeted().await;
    let answer = async {
        let create = fake.next().await;
        fake.send(&Header::new(Kind::Reply, create.a, 3).encode()).await;
        fake.send(&[0, 99, 99]).await;
    };
    let request = shell("a", "true", None);
    let (answer, ()) = soon(async { tokio::join!(client.request(&request), answer) }).await;
    let text = answer.unwrap_err().to_string();
    let ours = format!("protocol version {}", wire::VERSION);
    assert!(text.contains(&ours) && text.contains("may have been done"), "{text}");
}

#[tokio::test]
async fn a_client_is_made_of_a_connection_that_stands() {
    let server = TestServer::start();
    let stream = UnixStream::connect(&server.socket).await.unwrap();
    let mut client = soon(Client::from_stream(stream)).await.unwrap();
    soon(client.ping()).await.unwrap();
    let data = Bytes::from_static(b"x");
    let typed = ClientMessage::Input { session: SessionId::random(), position: None, data };
    soon(client.request(&typed)).await.unwrap_err();
}

#[tokio::test]
async fn a_request_that_is_begun_and_never_finished_ends_the_connection() {
    let server = TestServer::with(|server| server.stall_timeout(Duration::from_millis(50)));
    let mut idle = server.client().await;
    for part in [1, HEADER_LEN - 1, HEADER_LEN + 5] {
        let (read, mut write) = UnixStream::connect(&server.socket).await.unwrap().into_split();
        let mut read = FrameReader::new(read, Side::Server);
        write.write_all(&wire::Hello::encode()).await.unwrap();
        assert_eq!(soon(read.next()).await.unwrap().unwrap().kind, Kind::HelloReply);
        let request = wire::encode_request(1, &shell("a", "true", None)).unwrap();
        write.write_all(&request[..part]).await.unwrap();
        let closing = soon(read.next()).await.unwrap().unwrap();
        let why = format!("{:?}", wire::decode_event(&closing.payload).unwrap());
        assert!(why.contains("nothing more arrived"), "{why}");
        assert!(soon(read.next()).await.is_ok_and(|frame| frame.is_none()));
    }
    // One that says nothing at all is only idle.
    soon(idle.ping()).await.unwrap();
}

#[tokio::test]
async fn answers_may_come_in_another_order_than_they_are_awaited() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let id = create(&mut client, "a", "sleep 1000").await.id;
    let wait = soon(client.send(&ClientMessage::Wait { session: id.into() })).await.unwrap();
    let ping = soon(client.send(&ClientMessage::Ping)).await.unwrap();
    let kill = soon(client.send(&kill("a"))).await.unwrap();
    assert_eq!(soon(client.answer(kill)).await.unwrap(), Reply::Killed(ExitStatus::Signal(1)));
    assert_eq!(soon(client.answer(ping)).await.unwrap(), Reply::Pong);
    assert_eq!(soon(client.answer(wait)).await.unwrap(), Reply::Ended(ExitStatus::Signal(1)));
}
