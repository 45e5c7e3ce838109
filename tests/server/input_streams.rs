//! Input with a place in a stream is typed once and in order, however often its connection is lost.

use fugue_server::{
    Client, SessionId,
    client::{ClientError, Incoming, InputStream},
    message::{ClientMessage, InputPosition, InputStreamId, Reply, RequestError},
};

use crate::{random::Random, support::*};

/// As many of a session as are kept, and as may wait for a program that does not read.
const KEPT: usize = 1024;
const WAITING: usize = 64;

/// A session that prints what is typed, and a viewer who has read that it is ready.
async fn echo(server: &TestServer) -> (SessionId, Client, Transcript) {
    let mut viewer = server.client().await;
    let script = "stty raw -echo; printf ready; exec cat";
    let session = attached(&mut viewer, &shell("echo", script, Some(LOSSLESS))).await.session;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut viewer, "ready").await;
    (session, viewer, transcript)
}

fn piece(session: SessionId, stream: InputStreamId, offset: u64, data: &'static str) -> ClientMessage {
    ClientMessage::Input {
        session,
        position: Some(InputPosition { stream, offset }),
        data: data.as_bytes().into(),
    }
}

async fn answer(client: &mut Client, request: &ClientMessage) -> Result<Reply, RequestError> {
    match soon(client.request(request)).await {
        Ok(reply) => Ok(reply),
        Err(ClientError::Refused(refused)) => Err(refused),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_is_sent_again_on_another_connection_is_typed_once() {
    let server = TestServer::start();
    let (session, mut viewer, mut seen) = echo(&server).await;
    let stream = InputStreamId::random();
    let mut first = server.client().await;
    assert_eq!(answer(&mut first, &piece(session, stream, 0, "abc")).await, Ok(Reply::Written));
    let mut second = server.client().await;
    for (offset, data) in [(0, "abc"), (1, "bcde"), (5, ""), (2, "cd"), (5, "f\n")] {
        let answered = answer(&mut second, &piece(session, stream, offset, data)).await;
        assert_eq!(answered, Ok(Reply::Written), "{data:?} at {offset}");
    }
    // The first connection may be slower than the one that takes its place.
    assert_eq!(answer(&mut first, &piece(session, stream, 3, "def\ng")).await, Ok(Reply::Written));
    seen.read_to(&mut viewer, "g").await;
    assert_eq!(String::from_utf8_lossy(&seen.bytes), "readyabcdef\ng");
}

#[tokio::test]
async fn what_comes_again_after_a_thousand_others_is_typed_once() {
    let server = TestServer::start();
    let (session, mut viewer, mut seen) = echo(&server).await;
    let first = InputStreamId::random();
    let mut client = server.client().await;
    assert_eq!(answer(&mut client, &piece(session, first, 0, "a")).await, Ok(Reply::Written));
    for _ in 1..KEPT {
        let other = InputStreamId::random();
        assert_eq!(answer(&mut client, &piece(session, other, 0, "b")).await, Ok(Reply::Written));
    }
    assert_eq!(answer(&mut client, &piece(session, first, 0, "ac")).await, Ok(Reply::Written));
    seen.read_to(&mut viewer, "c").await;
    assert_eq!(String::from_utf8_lossy(&seen.bytes), format!("readya{}c", "b".repeat(KEPT - 1)));
}

#[tokio::test]
async fn a_hole_in_a_stream_is_refused_with_how_far_it_is() {
    let server = TestServer::start();
    let (session, mut viewer, mut seen) = echo(&server).await;
    let stream = InputStreamId::random();
    let mut client = server.client().await;
    for (offset, taken) in [(1, 0), (u64::MAX, 0)] {
        let refused = answer(&mut client, &piece(session, stream, offset, "x")).await;
        assert_eq!(refused, Err(RequestError::InputMissing { offset, taken }));
    }
    assert_eq!(answer(&mut client, &piece(session, stream, 0, "ab")).await, Ok(Reply::Written));
    let refused = answer(&mut client, &piece(session, stream, 3, "d")).await;
    assert_eq!(refused, Err(RequestError::InputMissing { offset: 3, taken: 2 }));
    // Another stream has nothing to do with it, nor the same one of another session.
    let other = attached(&mut client, &shell("other", "stty raw -echo; exec cat", Some(LOSSLESS))).await;
    let refused = answer(&mut client, &piece(other.session, stream, 2, "x")).await;
    assert_eq!(refused, Err(RequestError::InputMissing { offset: 2, taken: 0 }));
    assert_eq!(answer(&mut client, &piece(session, stream, 2, "c.")).await, Ok(Reply::Written));
    seen.read_to(&mut viewer, ".").await;
    assert_eq!(String::from_utf8_lossy(&seen.bytes), "readyabc.");
}

#[tokio::test]
async fn what_a_lost_connection_brought_is_typed_when_the_program_reads() {
    let server = TestServer::start();
    let mut viewer = server.client().await;
    // It reads once a line has come by another way.
    let script = "stty raw -echo; printf ready; while ! test -e \"$GO\"; do sleep 0.02; done; exec head -c 150000 | cksum";
    let go = server.socket.with_file_name("go");
    let ClientMessage::Create(mut create) = shell("deaf", script, Some(LOSSLESS)) else { unreachable!() };
    create.env.push((b"GO".to_vec(), go.as_os_str().as_encoded_bytes().to_vec()));
    let session = attached(&mut viewer, &ClientMessage::Create(create)).await.session;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut viewer, "ready").await;
    let typed: Vec<u8> = (0..150_000_u32).map(|number| (number.wrapping_mul(number) >> 5) as u8).collect();
    let mut input = InputStream::new(session);
    for round in 0..6 {
        // Each sends all that was not answered, and is lost; the third goes on with more.
        let mut client = server.client().await;
        let again: Vec<_> = input.unanswered().collect();
        for request in again {
            soon(client.send(&request)).await.unwrap();
        }
        let more = match round {
            0 => 0..50_000,
            2 => 50_000..typed.len(),
            _ => 0..0,
        };
        for piece in typed[more].chunks(5000) {
            let request = input.push(piece.to_vec());
            soon(client.send(&request)).await.unwrap();
        }
        // Once the server answers this, it has read all before.
        soon(client.ping()).await.unwrap();
    }
    std::fs::write(&go, "").unwrap();
    seen.read_to(&mut viewer, " 150000").await;
    let expected = super::input::cksum(&typed).to_string();
    assert!(contains(&seen.bytes, expected.as_bytes()), "not the checksum {expected}: {seen:?}");
}

/// Types `keys` in pieces, on a connection that is lost now and then, answered or not.
async fn type_on_lost_connections(
    server: &TestServer,
    session: SessionId,
    keys: Vec<u8>,
    mut random: Random,
) {
    let mut input = InputStream::new(session);
    let mut rest = &keys[..];
    while !rest.is_empty() || input.unanswered().next().is_some() {
        let mut client = server.client().await;
        let again: Vec<_> = input.unanswered().collect();
        for request in &again {
            soon(client.send(request)).await.unwrap();
        }
        // The last one stays, and one with as much on its way as a server may refuse.
        let stays = rest.is_empty() || again.len() > 40 || random.below(4) == 0;
        for _ in 0..random.below(6) {
            let (now, later) = rest.split_at(rest.len().min(1 + random.below(9) as usize));
            if !now.is_empty() {
                let request = input.push(now.to_vec());
                soon(client.send(&request)).await.unwrap();
            }
            rest = later;
        }
        let mut answers = if stays { usize::MAX } else { random.below(3) as usize };
        while answers > 0 && input.unanswered().next().is_some() {
            if let Incoming::Reply { answer, .. } = soon(client.next()).await.unwrap() {
                assert_eq!(answer, Ok(Reply::Written));
                input.answered();
            }
            answers -= 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_typists_whose_lines_break_are_each_typed_once_in_order() {
    let server = TestServer::start();
    let (session, mut viewer, mut seen) = echo(&server).await;
    let random = Random::seeded("typists");
    // Each has letters of its own.
    let all: Vec<Vec<u8>> = (0..5)
        .map(|typist| {
            let mut random = random.branch(typist);
            (0..300).map(|_| b'a' + 5 * typist as u8 + random.below(5) as u8).collect()
        })
        .collect();
    let typist = |at: u8| {
        type_on_lost_connections(
            &server,
            session,
            all[usize::from(at)].clone(),
            random.branch(10 + u64::from(at)),
        )
    };
    tokio::join!(typist(0), typist(1), typist(2), typist(3), typist(4));
    let mut last = server.client().await;
    soon(last.input(session, "\n")).await.unwrap();
    seen.read_to(&mut viewer, "\n").await;
    let shown = &seen.bytes["ready".len()..seen.bytes.len() - 1];
    for (typist, keys) in all.iter().enumerate() {
        let of_its = |key: &&u8| usize::from((**key - b'a') / 5) == typist;
        let shown: Vec<u8> = shown.iter().filter(of_its).copied().collect();
        assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(keys), "typist {typist}");
    }
}

#[tokio::test]
async fn of_more_streams_than_are_kept_the_one_not_used_longest_is_forgotten() {
    let server = TestServer::start();
    let (session, _viewer, _) = echo(&server).await;
    let mut client = server.client().await;
    let streams: Vec<_> = (0..=KEPT).map(|_| InputStreamId::random()).collect();
    for stream in &streams[..KEPT] {
        answer(&mut client, &piece(session, *stream, 0, "x")).await.unwrap();
    }
    // The first is used again, so that the second has waited for the longest time.
    answer(&mut client, &piece(session, streams[0], 1, "x")).await.unwrap();
    answer(&mut client, &piece(session, streams[KEPT], 0, "x")).await.unwrap();
    answer(&mut client, &piece(session, streams[0], 2, "x")).await.unwrap();
    let forgotten = answer(&mut client, &piece(session, streams[1], 1, "x")).await;
    assert_eq!(forgotten, Err(RequestError::InputMissing { offset: 1, taken: 0 }));
}

#[tokio::test]
async fn streams_into_a_program_that_does_not_read_are_bounded() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "stty raw -echo; printf ready; exec sleep 1000";
    let session = attached(&mut client, &shell("deaf", script, Some(LOSSLESS))).await.session;
    // A terminal that is not raw takes any number of bytes without a newline, and drops them.
    Transcript::from(0).read_to(&mut client, "ready").await;
    // Fills the terminal, so that each stream has something to type.
    let mut input = InputStream::new(session);
    let mut refused = None;
    for _ in 0..40 {
        let mut client = server.client().await;
        let request = input.push(vec![b'x'; 32 * 1024]);
        soon(client.send(&request)).await.unwrap();
        soon(client.ping()).await.unwrap();
        tokio::select! {
            biased;
            told = client.next() => {
                let Incoming::Reply { answer: Err(error), .. } = told.unwrap() else { continue };
                refused = Some(error);
                break;
            }
            // It was answered before the ping, or waits.
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(refused, Some(RequestError::TooManyOutstanding), "of one stream, from many connections");
    for _ in 1..WAITING {
        let request = piece(session, InputStreamId::random(), 0, "x");
        soon(client.send(&request)).await.unwrap();
    }
    let more = answer(&mut client, &piece(session, InputStreamId::random(), 0, "x")).await;
    assert_eq!(more, Err(RequestError::TooManyOutstanding), "more streams than are kept");
    soon(client.kill(session)).await.unwrap();
}
