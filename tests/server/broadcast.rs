//! What a program prints reaches everyone who watches, whole and in order.

use fugue_server::{
    client::Incoming,
    message::{AttachOptions, ClientMessage, ExitStatus, OnLag, Reply, RequestError, StartAt},
};

use crate::support::*;

/// What `seq` prints for 1 to `last`, as a terminal passes it on.
fn numbers(last: u32) -> Vec<u8> {
    (1..=last).flat_map(|number| format!("{number}\r\n").into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_from_a_real_program_reaches_every_client_whole() {
    let server = TestServer::start();
    let mut first = server.client().await;
    let session = create(&mut first, "burst", "read go; stty -echo; seq 1 200000").await.id;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = server.client().await;
        let start = attached(&mut client, &attach_id(session, FROM_OLDEST)).await.start;
        readers.spawn(async move { transcript(&mut client, start).await });
    }
    assert_eq!(server.clients.watching(session).len(), 16);
    soon(first.input(session, "go\n")).await.unwrap();

    let expected = numbers(200_000);
    while let Some(read) = soon(readers.join_next()).await {
        let (bytes, status) = read.unwrap();
        assert_eq!(status, ExitStatus::Code(0));
        // The echo of the go comes first.
        assert!(bytes.ends_with(&expected), "{} bytes", bytes.len());
        assert_eq!(bytes.len(), expected.len() + "go\r\n".len());
    }
    eventually("the session is gone from the registry", || server.clients.stats().sessions() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go_in_a_flood_see_no_gap_or_repeat() {
    let server = TestServer::start();
    let mut first = server.client().await;
    create(&mut first, "flood", "read go; seq 1 400000; read end").await;
    let source = attached(&mut first, &attach("flood", FROM_OLDEST)).await;
    // The echo of the go comes first.
    let expected = [b"go\r\n".to_vec(), numbers(400_000)].concat();
    let end_of_flood = expected.len() as u64;
    let mut visitors = tokio::task::JoinSet::new();
    for round in 0_u64..8 {
        let socket = server.socket.clone();
        visitors.spawn(async move {
            let mut seen = Vec::new();
            for stay in 0..10 {
                let mut client = soon(fugue_server::Client::connect(&socket)).await.unwrap();
                let start = if stay % 2 == 0 { StartAt::Now } else { StartAt::Oldest };
                let on_lag = if round % 2 == 0 { OnLag::Lossless } else { OnLag::Disconnect };
                let view = AttachOptions::new(start, on_lag);
                let start = attached(&mut client, &attach("flood", view)).await.start;
                let mut transcript = Transcript::from(start);
                let enough = 1 + ((round * 7919 + stay * 104_729) % 100_000) as usize;
                // Near the end there is less left to see than one wants.
                let enough = enough.min((end_of_flood - start) as usize);
                transcript.read_until(&mut client, |bytes| bytes.len() >= enough).await;
                seen.push(transcript);
            }
            seen
        });
    }
    soon(first.input(source.session, "go\n")).await.unwrap();
    let mut whole = Transcript::from(source.start);
    whole.read_to(&mut first, "\r\n400000\r\n").await;

    let mut checked = 0;
    for visit in soon(visitors.join_all()).await.into_iter().flatten() {
        let start = (visit.start - whole.start) as usize;
        let end = start + visit.bytes.len();
        assert!(visit.bytes == whole.bytes[start..end], "bytes {start} to {end} differ from the source");
        checked += visit.bytes.len();
    }
    assert!(checked > 0);
    assert!(whole.bytes == expected);
}

#[tokio::test]
async fn attaching_elsewhere_ends_one_stream_before_the_other_begins() {
    let server = TestServer::start();
    let mut client = server.client().await;
    create(&mut client, "a", "while :; do echo aaaaaaaa; done").await;
    create(&mut client, "b", "while :; do echo bbbbbbbb; done").await;
    let mut watched = 0;
    for turn in 0..20 {
        let (name, own) = [("a", b'a'), ("b", b'b')][turn % 2];
        // Everything before the reply is the old session's, and was read or is thrown away here with its connection's
        // order kept; everything after it must be the new one's.
        let request = attach(name, LOSSLESS);
        let id = soon(client.send(&request)).await.unwrap();
        let start = loop {
            match soon(client.next()).await.unwrap() {
                Incoming::Reply { request, answer } if request == id => match answer.unwrap() {
                    Reply::Attached(attached) => break attached.start,
                    other => panic!("{other:?}"),
                },
                Incoming::Output { data, .. } if turn > 0 => {
                    let other = [b'a', b'b'][(turn + 1) % 2];
                    assert!(data.iter().all(|byte| [other, b'\r', b'\n'].contains(byte)));
                }
                other => panic!("{other:?}"),
            }
        };
        let mut transcript = Transcript::from(start);
        transcript.read_until(&mut client, |bytes| bytes.len() > 10_000).await;
        assert!(transcript.bytes.iter().all(|byte| [own, b'\r', b'\n'].contains(byte)));
        watched += transcript.bytes.len();
    }
    assert!(watched > 200_000);
    assert_eq!(server.clients.watching(attached(&mut client, &attach("a", LOSSLESS)).await.session).len(), 1);
}

#[tokio::test]
async fn after_a_detach_no_output_follows() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let created = attached(&mut client, &shell("a", "while :; do echo a; done", Some(LOSSLESS))).await;
    let mut transcript = Transcript::from(created.start);
    transcript.read_until(&mut client, |bytes| bytes.len() > 1000).await;
    let id = soon(client.send(&ClientMessage::Detach)).await.unwrap();
    while !matches!(soon(client.next()).await.unwrap(), Incoming::Reply { request, .. } if request == id) {}
    assert_eq!(server.clients.watching(created.session).len(), 0);
    let pong = soon(client.send(&ClientMessage::Ping)).await.unwrap();
    let next = soon(client.next()).await.unwrap();
    assert_eq!(next, Incoming::Reply { request: pong, answer: Ok(Reply::Pong) });
}

#[tokio::test]
async fn a_lost_connection_is_resumed_at_the_very_byte() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let created = attached(&mut client, &shell("a", "seq 1 5000; read end", Some(LOSSLESS))).await;
    let mut before = Transcript::from(created.start);
    before.read_until(&mut client, |bytes| bytes.len() > 100).await;
    drop(client);

    let mut client = server.client().await;
    let view = AttachOptions::new(StartAt::Offset(before.end()), OnLag::Lossless);
    let resumed = attached(&mut client, &attach_id(created.session, view)).await;
    assert_eq!(resumed.start, before.end());
    before.read_to(&mut client, "\r\n5000\r\n").await;
    assert_eq!(before.bytes, numbers(5000));

    let beyond = AttachOptions::new(StartAt::Offset(u64::MAX), OnLag::Lossless);
    let error = refused(&mut client, &attach_id(created.session, beyond)).await;
    assert!(matches!(error, RequestError::OffsetNotHeld { oldest: 0, .. }), "{error:?}");
    let error = refused(&mut client, &attach_id(fugue_server::SessionId::random(), view)).await;
    assert!(matches!(error, RequestError::UnknownSession(_)), "{error:?}");
}

#[tokio::test]
async fn a_session_created_and_watched_at_once_is_seen_from_byte_0() {
    let server = TestServer::with(|server| server.history_bytes(64 * 1024));
    for round in 0..20 {
        let mut client = server.client().await;
        let name = format!("round-{round}");
        let start = attached(&mut client, &shell(&name, "seq 1 20000", Some(LOSSLESS))).await.start;
        assert_eq!(start, 0);
        let (bytes, _) = transcript(&mut client, 0).await;
        assert!(bytes == numbers(20_000), "{} bytes", bytes.len());
    }
}

#[tokio::test]
async fn bytes_are_passed_on_as_they_are_and_one_by_one_if_printed_so() {
    let server = TestServer::start();
    let mut client = server.client().await;
    // Invalid UTF-8, cut escape sequences, and 2000 writes of one byte.
    let script = r"stty -opost -echo; printf '\377\376\033['; for i in $(seq 2000); do printf x; done; printf '31m\303'";
    let start = attached(&mut client, &shell("raw", script, Some(LOSSLESS))).await.start;
    let (bytes, _) = transcript(&mut client, start).await;
    let expected = [&b"\xff\xfe\x1b["[..], &[b'x'; 2000], b"31m\xc3"].concat();
    assert_eq!(bytes, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_mebibytes_without_a_newline_arrive_whole() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "head -c 10485760 /dev/zero | tr '\\0' x";
    let start = attached(&mut client, &shell("long", script, Some(LOSSLESS))).await.start;
    let (bytes, status) = transcript(&mut client, start).await;
    assert_eq!((bytes.len(), status), (10 << 20, ExitStatus::Code(0)));
    assert!(bytes.iter().all(|byte| *byte == b'x'));
}
