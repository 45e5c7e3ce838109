//! However a connection begins and ends, the registry knows exactly those that are alive.

use std::{path::Path, time::Duration};

use fugue_server::{
    Client, TerminalSize,
    client::{ClientError, ConnectError},
    message::{ClientMessage, CloseReason, RequestError},
    wire::{self, HEADER_LEN, Header, Hello, HelloReply, Kind},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::support::*;

/// A connection that speaks bytes instead of messages.
async fn raw(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).await.unwrap()
}

async fn greet(socket: &Path) -> UnixStream {
    let mut stream = raw(socket).await;
    stream.write_all(&Hello::encode()).await.unwrap();
    let mut welcome = [0; HEADER_LEN + 25];
    soon(stream.read_exact(&mut welcome)).await.unwrap();
    stream
}

/// Everything the server says until it closes.
async fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A server that closes with something unread resets the connection; what it said came before.
    let _ = soon(stream.read_to_end(&mut rest)).await;
    rest
}

fn refusal(bytes: &[u8]) -> String {
    match HelloReply::decode(&bytes[HEADER_LEN..]).unwrap() {
        HelloReply::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

async fn only_is_left(server: &TestServer, clients: usize) {
    eventually("only the living are registered", || server.clients.count() == clients).await;
}

#[tokio::test]
async fn clients_are_registered_from_handshake_to_goodbye() {
    let server = TestServer::start();
    let mut early = raw(&server.socket).await;
    let a = server.client().await;
    let b = server.client().await;
    assert_eq!(server.clients.count(), 2);
    assert_ne!(a.id(), b.id());
    drop(a);
    only_is_left(&server, 1).await;
    early.write_all(&Hello::encode()).await.unwrap();
    only_is_left(&server, 2).await;
    drop((early, b));
    only_is_left(&server, 0).await;
}

#[tokio::test]
async fn a_client_that_watches_is_gone_from_its_session_when_it_is_gone() {
    let server = TestServer::start();
    let mut a = server.client().await;
    let session = attached(&mut a, &shell("a", "while :; do echo x; done", Some(DISCONNECT))).await.session;
    let mut b = server.client().await;
    attached(&mut b, &attach("a", LOSSLESS)).await;
    assert_eq!(server.clients.watching(session).len(), 2);
    // With output unread, so that its end is a reset.
    drop(a);
    eventually("one is left", || server.clients.watching(session) == [b.id()]).await;
    let mut seen = Transcript::from(0);
    let Ok(fugue_server::client::Incoming::Output { offset, .. }) = soon(b.next()).await else { panic!() };
    seen.start = offset;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_with_the_reason() {
    let server = TestServer::with(|server| server.handshake_timeout(Duration::from_millis(50)));
    let mut silent = raw(&server.socket).await;
    assert_eq!(refusal(&rest(&mut silent).await), "no hello arrived in time");
    // Half a hello is as good as none.
    let mut slow = raw(&server.socket).await;
    slow.write_all(&Hello::encode()[..20]).await.unwrap();
    assert_eq!(refusal(&rest(&mut slow).await), "no hello arrived in time");
    assert_eq!(server.clients.count(), 0);
}

#[tokio::test]
async fn what_is_not_a_client_is_told_so() {
    let server = TestServer::start();
    let ping = wire::encode_request(1, &ClientMessage::Ping).unwrap();
    for greeting in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0xff; 64], &ping, &[0; 16]] {
        let mut stream = raw(&server.socket).await;
        stream.write_all(greeting).await.unwrap();
        assert!(refusal(&rest(&mut stream).await).contains("expected a fugue-server client hello"));
    }
    assert_eq!(server.clients.count(), 0);
}

#[tokio::test]
async fn another_version_is_told_both_versions_and_what_to_do() {
    let server = TestServer::start();
    // One from before there were ranges; later ones that no longer speak ours; one of no version at all.
    let bare = |version: u16| [&b"fugue\0"[..], &version.to_le_bytes()].concat();
    for (version, hello) in [
        (3, bare(3)),
        (99, bare(99)),
        (99, [bare(99), vec![98, 0]].concat()),
        (2, [bare(2), vec![9, 0]].concat()),
    ] {
        let mut stream = raw(&server.socket).await;
        let header = Header::new(Kind::Hello, 0, hello.len()).encode();
        stream.write_all(&[&header[..], &hello].concat()).await.unwrap();
        let why = refusal(&rest(&mut stream).await);
        let (theirs, ours) =
            (format!("version {version} "), format!("this server version {}", wire::VERSION));
        assert!(why.contains(&theirs) && why.contains(&ours) && why.contains("start it again"), "{why}");
    }
}

#[tokio::test]
async fn a_later_version_that_speaks_ours_is_let_in_at_ours() {
    let server = TestServer::start();
    let mut hello = Hello::encode().to_vec();
    hello[HEADER_LEN + 6] = 99;
    // All features there could be, and bytes that mean nothing yet.
    hello[HEADER_LEN + 10..].fill(0xff);
    let mut stream = raw(&server.socket).await;
    stream.write_all(&hello).await.unwrap();
    let mut welcome = [0; HEADER_LEN + 25];
    soon(stream.read_exact(&mut welcome)).await.unwrap();
    let HelloReply::Welcome { version, features, .. } = HelloReply::decode(&welcome[HEADER_LEN..]).unwrap()
    else {
        panic!("refused")
    };
    // What this server has of them: a size that is followed, links, and sessions that clients provide.
    assert_eq!((version, features), (wire::VERSION, 7));
}

#[tokio::test]
async fn garbage_after_a_handshake_closes_that_connection_with_a_reason() {
    let server = TestServer::start();
    let mut watcher = server.client().await;
    attached(&mut watcher, &shell("a", "printf ready; exec cat", Some(LOSSLESS))).await;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut watcher, "ready").await;
    let too_long = {
        let mut header = Header::new(Kind::Input, 1, 0).encode();
        header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        header
    };
    for garbage in [&[0xff; 100][..], &[0; 16], &too_long, &Hello::encode()] {
        let mut stream = greet(&server.socket).await;
        stream.write_all(garbage).await.unwrap();
        let said = rest(&mut stream).await;
        let event = wire::decode_event(&said[HEADER_LEN..]).unwrap();
        let fugue_server::message::Event::Closing(CloseReason::Malformed(why)) = event else {
            panic!("{event:?}")
        };
        assert!(!why.is_empty());
        only_is_left(&server, 1).await;
    }
    // A connection that ends inside a frame has nobody to be told.
    let mut stream = greet(&server.socket).await;
    stream.write_all(&wire::encode_request(1, &ClientMessage::Ping).unwrap()[..9]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    only_is_left(&server, 1).await;
    soon(watcher.ping()).await.unwrap();
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_the_next_one_served() {
    let server = TestServer::start();
    let mut stream = greet(&server.socket).await;
    for kind in [Kind::Create, Kind::Attach, Kind::Resize, Kind::Kill, Kind::Input] {
        let payload = [0xff; 5];
        stream.write_all(&Header::new(kind, 9, payload.len()).encode()).await.unwrap();
        stream.write_all(&payload).await.unwrap();
        let mut header = [0; HEADER_LEN];
        soon(stream.read_exact(&mut header)).await.unwrap();
        assert_eq!((header[4], header[8]), (Kind::Reply as u8, 9));
        let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize];
        soon(stream.read_exact(&mut payload)).await.unwrap();
        let answer = wire::decode_reply(&payload).unwrap();
        assert!(matches!(answer, Err(RequestError::Malformed(_))), "{kind:?}: {answer:?}");
    }
    assert_eq!(server.clients.count(), 1);
}

#[tokio::test]
async fn a_full_server_refuses_with_the_limit_and_has_room_again_later() {
    let server = TestServer::with(|server| server.max_clients(2));
    let a = server.client().await;
    let _b = server.client().await;
    match soon(Client::connect(&server.socket)).await {
        Err(ConnectError::Refused(why)) => {
            assert!(why.contains("has 2 clients, which is its limit"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    drop(a);
    only_is_left(&server, 1).await;
    // The place is free once the connection's task is done, which no event outside tells.
    let start = std::time::Instant::now();
    while let Err(error) = soon(Client::connect(&server.socket)).await {
        assert!(start.elapsed().as_secs() < 30, "{error}");
    }
}

#[tokio::test]
async fn nobody_listening_is_told_apart_from_a_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    assert!(matches!(soon(Client::connect(&socket)).await, Err(ConnectError::NoServer(_))));
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(matches!(soon(Client::connect(&socket)).await, Err(ConnectError::NoServer(_))));
}

#[tokio::test]
async fn a_server_that_ends_before_it_answers_is_no_server() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let ending = tokio::net::UnixListener::bind(&socket).unwrap();
    let connecting = tokio::spawn(async move { Client::connect(&socket).await });
    // What is killed leaves the file, and who has just connected.
    let (accepted, _) = soon(ending.accept()).await.unwrap();
    drop(ending);
    drop(accepted);
    let connected = soon(connecting).await.unwrap();
    assert!(matches!(connected, Err(ConnectError::NoServer(_))), "{connected:?}");
}

#[tokio::test]
async fn a_client_that_sends_and_never_reads_is_no_longer_read() {
    let server = TestServer::start();
    let mut stream = greet(&server.socket).await;
    let list = wire::encode_request(1, &ClientMessage::Stats).unwrap();
    // Bounded: some thousand unanswered requests fill the replies' way back, and then the way there.
    let mut sent = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(500), stream.write_all(&list)).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        sent += 1;
        assert!(sent < 1_000_000, "the server reads on without end");
    }
    let mut other = server.client().await;
    soon(other.ping()).await.unwrap();
    drop(stream);
    only_is_left(&server, 1).await;
}

#[tokio::test]
async fn sizes_and_names_that_break_the_rules_do_not_get_through_the_wire() {
    let server = TestServer::start();
    let mut stream = greet(&server.socket).await;
    // A session id and a width and height of zero.
    let payload = [&[16][..], &[0; 16], &[0, 0]].concat();
    stream.write_all(&Header::new(Kind::Resize, 3, payload.len()).encode()).await.unwrap();
    stream.write_all(&payload).await.unwrap();
    let mut header = [0; HEADER_LEN];
    soon(stream.read_exact(&mut header)).await.unwrap();
    let mut payload = vec![0; header[0] as usize];
    soon(stream.read_exact(&mut payload)).await.unwrap();
    assert!(matches!(wire::decode_reply(&payload).unwrap(), Err(RequestError::Malformed(_))));
    assert!(TerminalSize::new(0, 0).is_none());
}

#[tokio::test]
async fn a_server_that_vanishes_is_noticed() {
    let server = TestServer::start();
    let mut client = server.client().await;
    drop(server);
    assert!(matches!(soon(client.request(&ClientMessage::Ping)).await, Err(ClientError::Lost)));
}
