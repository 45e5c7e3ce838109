//! Frames at the limits of what is allowed, greetings that take for ever, and connections that are half closed.

use std::{net::Shutdown, path::Path, time::Duration};

use fugue_server::{
    Client,
    client::ConnectError,
    message::{ClientMessage, CloseReason, Event, Reply, RequestError},
    wire::{self, Frame, FrameReader, HEADER_LEN, Hello, HelloReply, Kind, Side},
};
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::support::*;

/// A connection that sends bytes and reads frames.
struct Raw {
    read: FrameReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Raw {
    async fn connect(socket: &Path) -> Self {
        let (read, write) = UnixStream::connect(socket).await.unwrap().into_split();
        Self { read: FrameReader::new(read, Side::Server), write }
    }

    async fn greet(socket: &Path) -> Self {
        let mut raw = Self::connect(socket).await;
        raw.send(&Hello::encode()).await;
        let welcome = raw.next().await.unwrap();
        assert!(matches!(HelloReply::decode(&welcome.payload).unwrap(), HelloReply::Welcome { .. }));
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        soon(self.write.write_all(bytes)).await.unwrap();
    }

    /// The next frame; `None` at the end, which may be a reset.
    async fn next(&mut self) -> Option<Frame> {
        soon(self.read.next()).await.ok().flatten()
    }

    /// The answer to a request sent under this id.
    async fn answer(&mut self, id: u64) -> Result<Reply, RequestError> {
        let Frame { kind, a, payload, .. } = self.next().await.expect("an answer");
        assert_eq!((kind, a), (Kind::Reply, id));
        wire::decode_reply(&payload).unwrap()
    }

    async fn is_served(&mut self) {
        self.send(&wire::encode_request(99, &ClientMessage::Ping).unwrap()).await;
        assert_eq!(self.answer(99).await, Ok(Reply::Pong));
    }

    /// Why the server closes this connection, which it does now.
    async fn closed_for(&mut self) -> String {
        let Frame { kind, payload, .. } = self.next().await.expect("a reason");
        assert_eq!(kind, Kind::Event);
        let Event::Closing(CloseReason::Malformed(why)) = wire::decode_event(&payload).unwrap() else {
            panic!("{payload:?}")
        };
        assert_eq!(self.next().await, None);
        why
    }
}

/// A frame whatever it claims.
fn frame(kind: u8, flags: u8, length: usize, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    (header[4], header[5], header[8]) = (kind, flags, 7);
    [&header, payload].concat()
}

#[tokio::test]
async fn a_frame_as_long_as_its_kind_allows_is_read_and_one_byte_more_is_not() {
    let server = TestServer::start();
    let kinds = [
        Kind::List,
        Kind::Create,
        Kind::Attach,
        Kind::Detach,
        Kind::Input,
        Kind::Resize,
        Kind::Kill,
        Kind::Stats,
        Kind::Ping,
        Kind::Resync,
        Kind::Environment,
    ];
    let mut whole = Raw::greet(&server.socket).await;
    for kind in kinds {
        let length = kind.limit();
        whole.send(&frame(kind as u8, 0, length, &vec![0xff; length])).await;
        let answer = whole.answer(7).await;
        match kind {
            Kind::Create | Kind::Attach | Kind::Resize | Kind::Kill | Kind::Environment => {
                assert!(matches!(answer, Err(RequestError::Malformed(_))), "{kind:?}: {answer:?}");
            }
            Kind::Input => assert!(matches!(answer, Err(RequestError::UnknownSession(_))), "{answer:?}"),
            _ => assert!(answer.is_ok(), "{kind:?}: {answer:?}"),
        }
        let mut beyond = Raw::greet(&server.socket).await;
        beyond.send(&frame(kind as u8, 0, length + 1, &[])).await;
        let why = beyond.closed_for().await;
        assert!(why.contains(&format!("{} bytes, of which at most {length}", length + 1)), "{why}");
    }
    whole.is_served().await;
}

#[tokio::test]
async fn a_request_without_its_payload_is_refused_and_the_next_one_served() {
    let server = TestServer::start();
    let mut raw = Raw::greet(&server.socket).await;
    for kind in [Kind::Create, Kind::Attach, Kind::Input, Kind::Resize, Kind::Kill] {
        raw.send(&frame(kind as u8, 0, 0, &[])).await;
        let answer = raw.answer(7).await;
        assert!(matches!(answer, Err(RequestError::Malformed(_))), "{kind:?}: {answer:?}");
    }
    raw.is_served().await;
}

#[tokio::test]
async fn unknown_kinds_are_skipped_or_end_the_connection_by_their_number() {
    let server = TestServer::start();
    let mut raw = Raw::greet(&server.socket).await;
    // A kind of the server's own is none that a client may send.
    for kind in [0, 100, 77, Kind::Output as u8, 255] {
        for length in [0, 1, 64 * 1024] {
            raw.send(&frame(kind, 1, length, &vec![1; length])).await;
            raw.is_served().await;
        }
        for (flags, length, reason) in
            [(0, 0, "unknown kind"), (1, 64 * 1024 + 1, "at most 65536"), (2, 0, "reserved bits")]
        {
            let mut other = Raw::greet(&server.socket).await;
            other.send(&frame(kind, flags, length, &[])).await;
            let why = other.closed_for().await;
            assert!(why.contains(reason), "{kind} {flags}: {why}");
        }
    }
}

#[tokio::test]
async fn a_frame_that_claims_more_than_comes_waits_for_it_and_holds_up_nobody() {
    let server = TestServer::start();
    let mut lying = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::greet(&server.socket).await;
        raw.send(&frame(Kind::Create as u8, 0, Kind::Create.limit(), b"and no more")).await;
        lying.push(raw);
    }
    Raw::greet(&server.socket).await.is_served().await;
    // Nobody is there to be told once they have closed their side.
    for mut raw in lying {
        raw.write.shutdown().await.unwrap();
        assert_eq!(raw.next().await, None);
    }
    eventually("all are gone", || server.clients.count() == 0).await;
}

#[tokio::test]
async fn a_greeting_a_byte_at_a_time_ends_with_its_time_and_holds_up_nobody() {
    const SLOW: usize = 8;
    let server =
        TestServer::with(|server| server.handshake_timeout(Duration::from_millis(500)).max_clients(SLOW + 1));
    let mut bystander = server.client().await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(Raw::connect(&server.socket).await);
    }
    // They have all the places that are left, but the time of none is longer for another byte.
    let hello = Hello::encode();
    for byte in &hello[..hello.len() - 1] {
        for raw in &mut slow {
            // Its time may be over.
            let _ = soon(raw.write.write_all(&[*byte])).await;
        }
        soon(bystander.ping()).await.unwrap();
    }
    for mut raw in slow {
        let refused = raw.next().await.expect("a reason");
        let HelloReply::Refused { why, .. } = HelloReply::decode(&refused.payload).unwrap() else { panic!() };
        assert_eq!(why, "no hello arrived in time");
        assert_eq!(raw.next().await, None);
    }
    // A place is free once its connection's task is done, which no event outside tells.
    let connected = async {
        loop {
            match Client::connect(&server.socket).await {
                Ok(client) => break client,
                Err(ConnectError::Refused(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let _connected = soon(connected).await;
    assert_eq!(server.clients.count(), 2);
}

#[tokio::test]
async fn a_watcher_that_closes_one_direction_is_gone_whichever_it_is() {
    let server = TestServer::start();
    let mut bystander = server.client().await;
    let session = create(&mut bystander, "a", "while :; do echo x; done").await.id;
    for direction in [Shutdown::Write, Shutdown::Read] {
        let mut raw = Raw::greet(&server.socket).await;
        raw.send(&wire::encode_request(7, &attach("a", TERMINAL)).unwrap()).await;
        assert!(matches!(raw.answer(7).await, Ok(Reply::Attached(_))));
        assert_eq!(server.clients.watching(session).len(), 1);
        let (read, write) = (raw.read.into_inner(), raw.write);
        let stream = read.reunite(write).unwrap().into_std().unwrap();
        stream.shutdown(direction).unwrap();
        eventually("it is gone", || server.clients.count() == 1).await;
        assert_eq!(server.clients.watching(session).len(), 0);
        drop(stream);
    }
    soon(bystander.ping()).await.unwrap();
}
