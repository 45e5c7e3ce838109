//! The server's end: clients are told and given what was printed, programs hung up, the socket removed.

use std::time::Duration;

use fugue_server::{
    client::{ClientError, Incoming},
    message::{ClientMessage, CloseReason, RequestError, SessionState},
};

use crate::support::*;

fn process_lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

async fn closing_reason(client: &mut fugue_server::Client, transcript: &mut Transcript) -> CloseReason {
    loop {
        match soon(client.next()).await {
            Ok(Incoming::Output { offset, data }) => {
                assert_eq!(offset, transcript.end());
                transcript.bytes.extend_from_slice(&data);
            }
            Ok(_) => {}
            Err(ClientError::Closed(reason)) => return reason,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn clients_are_told_and_programs_are_hung_up_and_the_socket_is_removed() {
    let mut server = TestServer::start();
    let (mut idle, mut watching) = (server.client().await, server.client().await);
    attached(&mut watching, &shell("a", "printf ready; exec sleep 1000", Some(LOSSLESS))).await;
    let SessionState::Running { pid: Some(pid) } = sessions(&mut idle).await[0].state else { panic!() };
    let mut seen = Transcript::from(0);
    seen.read_to(&mut watching, "ready").await;
    soon(server.stop()).await.unwrap();
    assert_eq!(closing_reason(&mut idle, &mut Transcript::default()).await, CloseReason::ShuttingDown);
    assert_eq!(closing_reason(&mut watching, &mut seen).await, CloseReason::ShuttingDown);
    assert!(!process_lives(pid));
    assert!(!server.socket.exists());
    assert_eq!((server.clients.count(), server.clients.stats().sessions()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_before_the_shutdown_reaches_clients_that_read() {
    let mut server = TestServer::start();
    let mut client = server.client().await;
    attached(&mut client, &shell("a", "seq 1 100000; exec sleep 1000", Some(LOSSLESS))).await;
    let mut other = server.client().await;
    // All of it fits the window, and nothing of it is read.
    let all: String = (1..=100_000).map(|number| format!("{number}\r\n")).collect();
    while sessions(&mut other).await[0].printed < all.len() as u64 {}
    server.stop();
    let mut seen = Transcript::from(0);
    assert_eq!(closing_reason(&mut client, &mut seen).await, CloseReason::ShuttingDown);
    assert!(seen.bytes == all.as_bytes(), "{} of {} bytes", seen.end(), all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_cannot_hold_up_the_shutdown() {
    let mut server = TestServer::with(|server| server.drain_timeout(Duration::from_millis(100)));
    let mut client = server.client().await;
    attached(&mut client, &shell("a", "while :; do echo xxxxxxxxxxxxxxx; done", Some(LOSSLESS))).await;
    let mut other = server.client().await;
    while sessions(&mut other).await[0].printed < 1 << 20 {}
    soon(server.stop()).await.unwrap();
    assert_eq!(server.clients.count(), 0);
}

#[tokio::test]
async fn a_flooding_session_does_not_keep_a_reading_client_from_being_told() {
    let mut server = TestServer::start();
    let mut client = server.client().await;
    attached(&mut client, &shell("a", "while :; do echo xxxxxxxxxxxxxxx; done", Some(LOSSLESS))).await;
    let mut seen = Transcript::from(0);
    seen.read_until(&mut client, |bytes| bytes.len() > 1 << 20).await;
    server.stop();
    assert_eq!(closing_reason(&mut client, &mut seen).await, CloseReason::ShuttingDown);
}

#[tokio::test]
async fn dropping_the_server_ends_connections_and_programs() {
    let server = TestServer::start();
    let mut client = server.client().await;
    attached(&mut client, &shell("a", "exec sleep 1000", Some(LOSSLESS))).await;
    let SessionState::Running { pid: Some(pid) } = sessions(&mut client).await[0].state else { panic!() };
    drop(server);
    while soon(client.next()).await.is_ok() {}
    eventually("the program is gone", || !process_lives(pid)).await;
}

#[tokio::test]
async fn a_server_that_shuts_down_starts_nothing_more() {
    let mut server = TestServer::start();
    let mut client = server.client().await;
    server.stop();
    match soon(client.request(&shell("late", "true", None))).await {
        Err(ClientError::Closed(CloseReason::ShuttingDown) | ClientError::Lost) => {}
        Err(ClientError::Refused(RequestError::ShuttingDown)) => {}
        other => panic!("{other:?}"),
    }
    assert!(soon(client.request(&ClientMessage::Ping)).await.is_err());
}
