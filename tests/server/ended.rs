//! What is kept of sessions that ended: their output and their screen, for a while and within a bound.

use std::time::Duration;

use fugue_server::{
    TerminalSize,
    client::{Client, ClientError},
    message::{Access, ExitStatus, RequestError, SizePolicy},
};

use crate::support::*;

/// Runs a session to its end.
async fn run(client: &mut Client, name: &str, script: &str) -> (Vec<u8>, ExitStatus) {
    attached(client, &shell(name, script, Some(LOSSLESS))).await;
    transcript(client, 0).await
}

/// Whether what a session printed can still be read.
async fn is_kept(client: &mut Client, name: &str) -> bool {
    match soon(client.read_screen(named(name), 0)).await {
        Ok(_) => true,
        Err(ClientError::Refused(RequestError::SessionEnded { .. })) => false,
        Err(other) => panic!("{other:?}"),
    }
}

async fn until_freed(client: &mut Client, name: &str) {
    soon(async { while is_kept(client, name).await {} }).await;
}

#[tokio::test]
async fn a_session_that_ended_is_read_as_if_it_had_just_ended() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let (printed, _) = run(&mut client, "a", "seq 1000; printf 'last words'; exit 3").await;
    // Its program is gone, and so is its terminal.
    soon(client.wait(named("a"))).await.unwrap();
    let read = attached(&mut client, &attach("a", FROM_OLDEST)).await;
    assert_eq!(transcript(&mut client, read.start).await, (printed.clone(), ExitStatus::Code(3)));
    let screen = soon(client.read_screen(named("a"), 5)).await.unwrap();
    assert_eq!((screen.offset, screen.size), (printed.len() as u64, TerminalSize::DEFAULT));
    assert!(contains(&screen.drawing, b"973") && contains(&screen.drawing, b"last words"));

    let mut same = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    assert_eq!(same.run_to_end().await, ExitStatus::Code(3));
    assert!(same.text().ends_with("1000\nlast words"), "{}", same.text());
    // Another size is shown a part of it, and makes nothing of it.
    let mut other = Viewer::sized(&server, "a", (40, 5), Access::ReadWrite).await;
    assert_eq!(other.run_to_end().await, ExitStatus::Code(3));
    assert!(other.text().contains("last words"), "{}", other.text());
    assert_eq!(soon(client.read_screen(named("a"), 0)).await.unwrap().size, TerminalSize::DEFAULT);
    soon(client.ping()).await.unwrap();
    eventually("none is in the registry", || server.clients.stats().sessions() == 0).await;
}

#[tokio::test]
async fn a_session_that_ended_is_not_changed_and_its_name_is_free() {
    let server = TestServer::start();
    let mut client = server.client().await;
    run(&mut client, "a", "printf before").await;
    let id = sessions(&mut client).await[0].id;
    for request in [
        kill("a"),
        input(id, "x"),
        fugue_server::message::ClientMessage::Change {
            session: named("a"),
            change: fugue_server::message::SessionChange::Size { policy: SizePolicy::Fixed, size: None },
        },
    ] {
        assert!(
            matches!(refused(&mut client, &request).await, RequestError::SessionEnded { .. }),
            "{request:?}"
        );
    }
    create(&mut client, "a", "printf after; read end").await;
    let mut live = server.client().await;
    attached(&mut live, &attach("a", FROM_OLDEST)).await;
    Transcript::from(0).read_to(&mut live, "after").await;
    // The one before is known by its id.
    attached(&mut client, &attach_id(id, FROM_OLDEST)).await;
    assert_eq!(transcript(&mut client, 0).await.0, b"before");
}

#[tokio::test]
async fn what_ended_first_is_freed_first_where_the_bytes_do_not_suffice() {
    // Each takes 60 KB in its log, about as many on its screen and above it, and 16 KiB.
    let server = TestServer::with(|server| server.ended_bytes(300 * 1024));
    let mut client = server.client().await;
    for name in ["a", "b", "c", "d"] {
        run(&mut client, name, "yes '0123456789 0123456789 0123456789' | head -n 1800; exit 7").await;
    }
    for freed in ["a", "b"] {
        until_freed(&mut client, freed).await;
    }
    assert!(is_kept(&mut client, "d").await);
    // How it ended is remembered all the same.
    assert_eq!(soon(client.wait(named("a"))).await.unwrap(), ExitStatus::Code(7));
    run(&mut client, "large", "head -c 600000 /dev/zero").await;
    for freed in ["d", "large"] {
        until_freed(&mut client, freed).await;
    }
}

#[tokio::test]
async fn a_client_that_reads_an_ended_session_reads_on_when_that_is_freed() {
    let server = TestServer::with(|server| server.ended_bytes(3 << 20));
    let mut client = server.client().await;
    let (printed, _) = run(&mut client, "a", "head -c 2000000 /dev/zero").await;
    // It reads nothing at first: its socket takes a part.
    let mut reader = server.client().await;
    attached(&mut reader, &attach("a", FROM_OLDEST)).await;
    run(&mut client, "b", "head -c 2000000 /dev/zero").await;
    until_freed(&mut client, "a").await;
    assert_eq!(transcript(&mut reader, 0).await.0, printed);
}

#[tokio::test]
async fn output_of_ended_sessions_is_kept_for_its_time() {
    let server = TestServer::with(|server| server.ended_time(Duration::from_millis(50)));
    let mut client = server.client().await;
    for name in ["a", "b"] {
        run(&mut client, name, "printf x").await;
        until_freed(&mut client, name).await;
    }
}

#[tokio::test]
async fn a_server_told_to_keep_nothing_says_only_how_sessions_ended() {
    let server = TestServer::with(|server| server.ended_bytes(0));
    let mut client = server.client().await;
    run(&mut client, "a", "printf x; exit 3").await;
    let error = refused(&mut client, &attach("a", FROM_OLDEST)).await;
    assert_eq!(error, RequestError::SessionEnded { name: "a".into(), status: ExitStatus::Code(3) });
}
