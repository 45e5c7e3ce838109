//! Attaching is one step, carried out when the client's writer gets to it: what was refused, or is not there yet,
//! holds, resizes and draws nothing.

use std::time::Duration;

use bytes::Bytes;
use fugue_server::{
    Client, Picture, TerminalSize,
    client::Incoming,
    message::{
        Access, AttachOptions, ClientMessage, Event, ExitStatus, OnLag, Pace, Reply, RequestError,
        SessionChange, SizePolicy, StartAt,
    },
};
use tokio::io::AsyncWriteExt;

use crate::support::*;

fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

#[tokio::test]
async fn a_refused_attach_resizes_nothing_and_leaves_the_client_where_it_is() {
    let server = TestServer::start();
    let mut watching =
        Viewer::attach(&server, &shell("a", "read go; stty size; read end", Some(LOSSLESS))).await;
    let mut client = server.client().await;
    let read_only = LOSSLESS.with_access(Access::ReadOnly);
    let to = attached(&mut client, &attach("a", read_only)).await;
    let offset = StartAt::Offset(u64::MAX);
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let view = TERMINAL.with_size(Some(size(33, 7))).with_access(access).with_start(offset);
        let error = refused(&mut client, &attach("a", view)).await;
        assert!(matches!(error, RequestError::OffsetNotHeld { .. }), "{error:?}");
        assert_eq!(sessions(&mut client).await[0].size, TerminalSize::DEFAULT);
        // It is still read-only, and still watches.
        assert_eq!(refused(&mut client, &input(to.session, "\n")).await, RequestError::ReadOnly);
        assert_eq!(server.clients.watching(to.session).len(), 2);
    }
    watching.type_in("\n").await;
    watching.run_until_shown("24 80").await;
    let mut transcript = Transcript::from(to.start);
    transcript.read_to(&mut client, "24 80").await;
}

/// A client that is stuck in a write of `flood`, because it reads nothing of it.
async fn stuck(server: &TestServer) -> tokio::net::UnixStream {
    let mut socket = tokio::net::UnixStream::connect(&server.socket).await.unwrap();
    socket.write_all(&fugue_server::wire::Hello::encode()).await.unwrap();
    let request = fugue_server::wire::encode_request(1, &attach("flood", FROM_OLDEST)).unwrap();
    socket.write_all(&request).await.unwrap();
    socket
}

const FLOOD: &str = "stty -opost; while :; do echo 'one of very many lines'; done";

/// Waits until a session has printed so much.
async fn printed(client: &mut Client, name: &str, bytes: u64) {
    soon(async {
        while sessions(client).await.iter().all(|info| info.name.as_str() != name || info.printed < bytes) {}
    })
    .await;
}

#[tokio::test]
async fn who_resumes_from_before_a_change_of_size_gets_the_screen() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let session = create(&mut client, "a", "printf one; read go; printf two; exec sleep 1000").await.id;
    printed(&mut client, "a", 3).await;
    let (usual, other) = (TerminalSize::DEFAULT, TerminalSize::new(60, 20).unwrap());
    let terminal = AttachOptions::new(StartAt::Offset(1), OnLag::Resync).with_size(Some(usual));
    let resume = |view| attach_id(session, view);
    // Nothing changed: the next byte.
    let mut before = server.client().await;
    attached(&mut before, &resume(terminal)).await;
    assert!(matches!(soon(before.next()).await.unwrap(), Incoming::Output { offset: 1, .. }));
    drop(before);

    for size in [other, usual] {
        soon(client.change(session, SessionChange::Size { policy: SizePolicy::Fixed, size: Some(size) }))
            .await
            .unwrap();
    }
    let mut resumed = server.client().await;
    attached(&mut resumed, &resume(terminal)).await;
    assert!(matches!(soon(resumed.next()).await.unwrap(), Incoming::Screen { offset: 3, .. }));
    let mut recorder = server.client().await;
    attached(&mut recorder, &resume(AttachOptions::new(StartAt::Offset(1), OnLag::Lossless))).await;
    assert!(matches!(soon(recorder.next()).await.unwrap(), Incoming::Output { offset: 1, .. }));
    // At the offset of the change, all that follows is meant for this width.
    let mut later = server.client().await;
    attached(&mut later, &resume(terminal.with_start(StartAt::Offset(3)))).await;
    soon(client.input(session, "\n")).await.unwrap();
    assert!(matches!(soon(later.next()).await.unwrap(), Incoming::Output { offset: 3, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attach_that_waits_behind_a_stuck_write_holds_no_program() {
    let server = TestServer::with(|server| server.lossless_timeout(Duration::from_millis(200)));
    let mut other = server.client().await;
    create(&mut other, "flood", FLOOD).await;
    create(&mut other, "b", FLOOD).await;
    let mut stuck = stuck(&server).await;
    // More than its socket takes: the program is held back by now, or soon.
    printed(&mut other, "flood", 1 << 20).await;
    let request = fugue_server::wire::encode_request(2, &attach("b", LOSSLESS)).unwrap();
    stuck.write_all(&request).await.unwrap();
    // With a fast reader of its own, `b` goes on for much longer than a window.
    let mut fast = server.client().await;
    let to = attached(&mut fast, &attach("b", LOSSLESS)).await;
    let mut transcript = Transcript::from(to.start);
    transcript.read_until(&mut fast, |bytes| bytes.len() > 16 << 20).await;
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_attach_waits_behind_a_stuck_write_can_be_killed() {
    let server = TestServer::start();
    let mut other = server.client().await;
    create(&mut other, "flood", FLOOD).await;
    let mut stuck = stuck(&server).await;
    printed(&mut other, "flood", 1 << 20).await;
    let request = shell("b", "echo started; exec sleep 1000", Some(LOSSLESS));
    stuck.write_all(&fugue_server::wire::encode_request(2, &request).unwrap()).await.unwrap();
    soon(async { while sessions(&mut other).await.len() < 2 {} }).await;
    let reply = soon(other.request(&kill("b"))).await.unwrap();
    assert_eq!(reply, Reply::Killed(ExitStatus::Signal(1)));
    drop(stuck);
}

#[tokio::test]
async fn what_is_typed_into_one_session_does_not_wait_for_another() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let deaf = create(&mut client, "deaf", "stty raw -echo; exec sleep 1000").await.id;
    let hears = create(&mut client, "hears", "stty raw -echo; printf ready; exec cat").await.id;
    let to = attached(&mut client, &attach("hears", FROM_OLDEST)).await;
    let mut transcript = Transcript::from(to.start);
    transcript.read_to(&mut client, "ready").await;
    // More than its terminal holds.
    for _ in 0..3 {
        soon(client.send(&input(deaf, vec![b'x'; 64 * 1024]))).await.unwrap();
    }
    for typed in ["one", "two", "three"] {
        soon(client.send(&input(hears, typed))).await.unwrap();
        transcript.read_to(&mut client, typed).await;
    }
    // And what is outstanding counts for both together.
    let too_much = soon(client.send(&input(hears, vec![b'x'; 64 * 1024]))).await.unwrap();
    let more = soon(client.send(&input(hears, "x"))).await.unwrap();
    let mut refusals = Vec::new();
    while refusals.len() < 2 {
        if let Incoming::Reply { request, answer } = soon(client.next()).await.unwrap()
            && [too_much, more].contains(&request)
        {
            refusals.push(answer);
        }
    }
    assert!(refusals.contains(&Err(RequestError::TooManyOutstanding)), "{refusals:?}");
}

#[tokio::test]
async fn a_viewer_of_pictures_gets_the_last_output_if_the_model_fails() {
    struct Fails;
    impl fugue_server::ScreenModel for Fails {
        fn advance(&mut self, output: &[u8]) {
            // As a panic, without its message.
            if output.contains(&b'!') {
                std::panic::resume_unwind(Box::new(()));
            }
        }
        fn resize(&mut self, _: TerminalSize) {}
        fn redraw(&mut self) -> Vec<u8> {
            Vec::new()
        }
        fn picture(&mut self, _: TerminalSize) -> Picture {
            Picture { bytes: b"\x1b[2J\x1b[Ha picture".to_vec(), ..Picture::default() }
        }
    }
    let server = TestServer::with(|server| server.screen_model(|_| Box::new(Fails)));
    let feed = server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, Pace::Fastest).unwrap();
    let mut viewer = Viewer::sized(&server, "feed", (40, 10), Access::ReadWrite).await;
    soon(feed.print("all is well".into())).await.unwrap();
    viewer.run_until_shown("a picture").await;
    // The last that is printed.
    soon(feed.print(Bytes::from("BOOM! and the prompt> "))).await.unwrap();
    viewer.run_until_shown("BOOM! and the prompt>").await;
}

#[tokio::test]
async fn attaching_again_to_the_same_session_resizes_once_at_most() {
    let server = TestServer::start();
    let mut first = Viewer::attach(&server, &shell("a", "exec sleep 1000", Some(TERMINAL))).await;
    let view = TERMINAL.with_size(Some(size(100, 30)));
    let mut client = server.client().await;
    for _ in 0..3 {
        attached(&mut client, &attach("a", view)).await;
    }
    let unsized_view = AttachOptions::new(StartAt::Now, OnLag::Resync);
    attached(&mut client, &attach("a", unsized_view)).await;
    soon(first.client.send(&ClientMessage::Ping)).await.unwrap();
    while !matches!(
        soon(first.client.next()).await.unwrap(),
        Incoming::Event(Event::Resized { size, .. }) if { first.sizes.push(size); size == TerminalSize::DEFAULT }
    ) {}
    assert_eq!(first.sizes, [size(100, 30), TerminalSize::DEFAULT]);
}

#[tokio::test]
async fn a_new_session_is_watched_from_its_first_byte() {
    let server = TestServer::start();
    for (name, start) in [("a", StartAt::Offset(7)), ("b", StartAt::Now), ("c", StartAt::Last(1))] {
        let mut client = server.client().await;
        let to =
            attached(&mut client, &shell(name, "exec sleep 1000", Some(LOSSLESS.with_start(start)))).await;
        assert_eq!(to.start, 0);
    }
}
