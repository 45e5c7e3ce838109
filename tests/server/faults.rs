//! Odd clients, odd programs, and what they do to each other.

use std::time::Duration;

use bytes::Bytes;
use fugue_server::{
    TerminalSize,
    client::{ClientError, Incoming},
    message::{AttachOptions, ClientMessage, CloseReason, Event, ExitStatus, Reply, StartAt, Target},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

const FOREVER: &str = "while :; do echo 'one of very many lines'; done";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_kill_its_own_session_while_it_is_far_behind() {
    for view in [TERMINAL, LOSSLESS] {
        let server = TestServer::with(|server| server.queue_depth(1));
        let mut viewer = Viewer::attach(&server, &shell("a", FOREVER, Some(view))).await;
        let mut other = server.client().await;
        while sessions(&mut other).await[0].printed < 1 << 20 {}
        let kill = ClientMessage::Kill { session: Target::Id(viewer.session) };
        let id = soon(viewer.client.send(&kill)).await.unwrap();
        // Its end comes after all of its output, and the reply whenever it is gone.
        let mut replied = false;
        let status = loop {
            match soon(viewer.client.next()).await.unwrap() {
                Incoming::Reply { request, answer } => {
                    assert_eq!(request, id);
                    assert!(matches!(answer, Ok(Reply::Killed(_))), "{answer:?}");
                    replied = true;
                }
                Incoming::Event(Event::Ended { status, .. }) => break status,
                _ => {}
            }
        };
        assert!(matches!(status, ExitStatus::Signal(_)), "{status:?}");
        while !replied {
            replied = matches!(soon(viewer.client.next()).await.unwrap(), Incoming::Reply { .. });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_may_kill_each_others_sessions() {
    let server = TestServer::with(|server| server.queue_depth(1));
    let mut one = Viewer::attach(&server, &shell("a", FOREVER, Some(LOSSLESS))).await;
    let mut two = Viewer::attach(&server, &shell("b", FOREVER, Some(LOSSLESS))).await;
    let mut other = server.client().await;
    while sessions(&mut other).await.iter().any(|session| session.printed < 1 << 20) {}
    soon(one.client.send(&kill("b"))).await.unwrap();
    soon(two.client.send(&kill("a"))).await.unwrap();
    assert!(matches!(one.run_to_end().await, ExitStatus::Signal(_)));
    assert!(matches!(two.run_to_end().await, ExitStatus::Signal(_)));
}

#[tokio::test]
async fn a_client_that_takes_a_byte_at_a_time_is_given_up() {
    let server = TestServer::with(|server| {
        server.stall_timeout(Duration::from_millis(500)).lossless_timeout(Duration::from_millis(100))
    });
    let mut asking = server.client().await;
    create(&mut asking, "a", FOREVER).await;
    let mut socket = tokio::net::UnixStream::connect(&server.socket).await.unwrap();
    let view = AttachOptions::new(StartAt::Now, fugue_server::message::OnLag::Resync);
    let attach = fugue_server::wire::encode_request(1, &attach("a", view)).unwrap();
    socket.write_all(&fugue_server::wire::Hello::encode()).await.unwrap();
    socket.write_all(&attach).await.unwrap();
    eventually("it watches", || server.clients.count() == 2).await;
    // It takes a byte whenever the server answers somebody else, and is closed all the same.
    let mut byte = [0];
    while server.clients.count() == 2 {
        soon(asking.request(&ClientMessage::Ping)).await.unwrap();
        let _ = socket.read(&mut byte).await;
    }
}

#[tokio::test]
async fn garbage_after_a_good_handshake_ends_that_connection_alone() {
    let server = TestServer::start();
    let mut watching = Viewer::attach(
        &server,
        &shell("a", "stty -echo; printf ready; read go; printf done", Some(LOSSLESS)),
    )
    .await;
    watching.run_until_shown("ready").await;
    for garbage in
        [&[0xff_u8; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 0, 130, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        let mut socket = tokio::net::UnixStream::connect(&server.socket).await.unwrap();
        socket.write_all(&fugue_server::wire::Hello::encode()).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        // What is unread at the end makes that a reset, after what the server said.
        let mut said = Vec::new();
        let _ = soon(socket.read_to_end(&mut said)).await;
        assert!(said.len() > fugue_server::wire::HEADER_LEN);
    }
    watching.type_in("\n").await;
    assert_eq!(watching.run_to_end().await, ExitStatus::Code(0));
    assert_eq!(watching.output, b"readydone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_may_come_byte_by_byte_or_without_a_single_newline() {
    for (script, length) in [
        ("stty -opost; dd if=/dev/zero bs=1 count=20000 2>/dev/null", 20_000),
        ("stty -opost; head -c 10485760 /dev/zero | tr '\\0' x", 10 << 20),
    ] {
        let server = TestServer::start();
        let mut lossless = server.client().await;
        let to = attached(&mut lossless, &shell("a", script, Some(FROM_OLDEST))).await;
        let (bytes, status) = transcript(&mut lossless, to.start).await;
        assert_eq!((bytes.len(), status), (length, ExitStatus::Code(0)));
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_may_be_resized_all_the_time_while_its_session_floods() {
    let server = TestServer::start();
    let script = "stty -echo; printf ready; read go; seq 1 200000; printf 'the end'; read end";
    let mut viewer = Viewer::attach(&server, &shell("a", script, Some(TERMINAL))).await;
    viewer.run_until_shown("ready").await;
    let mut source = Viewer::attach(&server, &attach("a", FROM_OLDEST)).await;
    source.run_until_shown("ready").await;
    viewer.type_in("\n").await;
    let reading = tokio::spawn(async move {
        source.run_until(|source| source.output.ends_with(b"the end")).await;
        source
    });
    for round in 0..200_u16 {
        let size = TerminalSize::new(40 + round % 50, 10 + round % 20).unwrap();
        let resize = ClientMessage::Resize { session: viewer.session, size, pixels: None };
        soon(viewer.client.send(&resize)).await.unwrap();
        // What is drawn for one size may arrive at a terminal of the next; the last one decides.
        viewer.screen = vt100::Parser::new(size.rows(), size.cols(), 0);
        viewer.step().await;
    }
    let size = TerminalSize::DEFAULT;
    soon(viewer.client.send(&ClientMessage::Resize { session: viewer.session, size, pixels: None }))
        .await
        .unwrap();
    viewer.run_until(|viewer| viewer.sizes.ends_with(&[size])).await;
    viewer.screen = vt100::Parser::new(24, 80, 0);
    viewer.run_until_shown("the end").await;
    let source = soon(reading).await.unwrap();
    let numbers: String = (1..=200_000).map(|number| format!("{number}\r\n")).collect();
    assert!(source.output == format!("ready{numbers}the end").into_bytes());
    assert!(viewer.text().ends_with("199999\n200000\nthe end"), "{}", viewer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paste_of_a_mebibyte_arrives_whole_while_output_floods() {
    let server = TestServer::start();
    let script = "stty raw -echo; (while :; do echo flood; done) & head -c 1048576 | cksum > sum; kill $!; \
                  printf 'sum:'; cat sum; rm sum; read end";
    let directory = tempfile::tempdir().unwrap();
    let script = format!("cd {}; {script}", directory.path().display());
    let mut viewer = Viewer::attach(&server, &shell("a", &script, Some(TERMINAL))).await;
    viewer.run_until_shown("flood").await;
    let paste: Vec<u8> =
        (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8 % 95 + 32).collect();
    let session = viewer.session;
    let mut outstanding = 0;
    for piece in paste.chunks(4096) {
        soon(viewer.client.send(&ClientMessage::Input {
            session,
            position: None,
            data: Bytes::copy_from_slice(piece),
        }))
        .await
        .unwrap();
        outstanding += 1;
        while outstanding == 32 {
            match soon(viewer.client.next()).await.unwrap() {
                Incoming::Reply { answer, .. } => {
                    assert_eq!(answer, Ok(Reply::Written));
                    outstanding -= 1;
                }
                Incoming::Output { offset, data } => viewer.at = offset + data.len() as u64,
                _ => {}
            }
        }
    }
    viewer.run_until_shown("sum:").await;
    viewer.run_until(|viewer| viewer.text().contains("1048576")).await;
    let expected = std::process::Command::new("cksum")
        .stdin({
            let path = directory.path().join("paste");
            std::fs::write(&path, &paste).unwrap();
            std::fs::File::open(path).unwrap()
        })
        .output()
        .unwrap();
    let expected = String::from_utf8(expected.stdout).unwrap();
    assert!(viewer.text().contains(expected.trim()), "{expected}\n{}", viewer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_used_as_ever_while_others_flood() {
    let server = TestServer::start();
    for name in ["f1", "f2", "f3"] {
        let mut client = server.client().await;
        attached(&mut client, &shell(name, FOREVER, Some(LOSSLESS))).await;
        tokio::spawn(async move { while client.next().await.is_ok() {} });
    }
    let mut quiet =
        Viewer::attach(&server, &shell("quiet", "stty -echo; printf ready; cat", Some(TERMINAL))).await;
    quiet.run_until_shown("ready").await;
    let mut other = server.client().await;
    for round in 0..100 {
        let printed = |sessions: &[fugue_server::message::SessionInfo]| {
            sessions
                .iter()
                .filter(|session| session.name.as_str() != "quiet")
                .map(|session| session.printed)
                .sum::<u64>()
        };
        let before = printed(&sessions(&mut other).await);
        quiet.type_in(format!("round {round}\n")).await;
        quiet.run_until(|quiet| contains(&quiet.output, format!("round {round}\r\n").as_bytes())).await;
        if round == 99 {
            // They do flood.
            while printed(&sessions(&mut other).await) == before {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_behind_get_the_last_byte_and_then_the_status() {
    let server = TestServer::start();
    let script = "stty -opost -echo; printf ready; read go; seq 1 100000; exit 9";
    let mut first = Viewer::attach(&server, &shell("a", script, Some(FROM_OLDEST))).await;
    first.run_until_shown("ready").await;
    let mut behind = Vec::new();
    for view in [TERMINAL, LOSSLESS, DISCONNECT] {
        behind.push(Viewer::attach(&server, &attach("a", view)).await);
    }
    first.type_in("\n").await;
    assert_eq!(first.run_to_end().await, ExitStatus::Code(9));
    for viewer in &mut behind {
        assert_eq!(viewer.run_to_end().await, ExitStatus::Code(9));
        assert!(viewer.output.ends_with(b"99999\n100000\n"));
        assert_eq!(viewer.at, first.at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_tells_a_terminal_that_shows_pictures_as_well() {
    let mut server = TestServer::start();
    let mut owner = Viewer::attach(&server, &shell("a", "printf ready; sleep 1000", Some(TERMINAL))).await;
    owner.run_until_shown("ready").await;
    let mut pictured = Viewer::sized(&server, "a", (30, 5), fugue_server::message::Access::ReadOnly).await;
    pictured.run_until_shown("ready").await;
    soon(server.stop()).await.unwrap();
    for viewer in [&mut owner, &mut pictured] {
        loop {
            match soon(viewer.client.next()).await {
                Ok(_) => {}
                Err(ClientError::Closed(CloseReason::ShuttingDown)) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}
