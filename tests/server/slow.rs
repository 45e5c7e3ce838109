//! Slow clients: what they get, what they cost others, and when they are given up.

use std::time::Duration;

use fugue_server::{
    client::{ClientError, Incoming},
    message::{ClientMessage, CloseReason, Event, ExitStatus},
};

use crate::support::*;

/// Prints 8 MiB: more than a small history, a window and a socket's buffers hold together.
const FLOOD: &str =
    "stty -opost -echo; printf ready; read go; head -c 8388608 /dev/zero | tr '\\0' x; printf end";
const FLOOD_BYTES: usize = 8 << 20;
const HISTORY: usize = 512 * 1024;

fn is_the_flood(bytes: &[u8]) -> bool {
    let Some(flood) = bytes.strip_prefix(b"ready").and_then(|bytes| bytes.strip_suffix(b"end")) else {
        return false;
    };
    flood.len() == FLOOD_BYTES && flood.iter().all(|byte| *byte == b'x')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_alone_never_loses_a_byte_however_it_dawdles() {
    for view in [DISCONNECT, FROM_OLDEST] {
        let server = TestServer::with(|server| server.history_bytes(HISTORY));
        let mut client = server.client().await;
        let created = attached(&mut client, &shell("flood", FLOOD, Some(view))).await;
        let mut transcript = Transcript::from(created.start);
        transcript.read_to(&mut client, "ready").await;
        soon(client.input(created.session, "\n")).await.unwrap();
        // It reads nothing until the program can't have written more than the window, and others see it stand still.
        let mut other = server.client().await;
        let mut printed = 0;
        loop {
            let now = sessions(&mut other).await[0].printed;
            if now > 0 && now == printed {
                break;
            }
            printed = now;
            tokio::task::yield_now().await;
        }
        let status = transcript.read_to_end(&mut client).await;
        assert!(is_the_flood(&transcript.bytes), "{} bytes", transcript.bytes.len());
        assert_eq!(status, ExitStatus::Code(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_clients_cost_the_others_nothing_and_are_told_what_they_missed() {
    let server = TestServer::with(|server| server.history_bytes(HISTORY));
    let mut stalled = Vec::new();
    let mut first = server.client().await;
    let session = create(&mut first, "flood", FLOOD).await.id;
    for _ in 0..4 {
        let mut client = server.client().await;
        attached(&mut client, &attach("flood", DISCONNECT)).await;
        stalled.push(client);
    }
    attached(&mut first, &attach("flood", FROM_OLDEST)).await;
    let mut lossless = server.client().await;
    attached(&mut lossless, &attach("flood", FROM_OLDEST)).await;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut first, "ready").await;
    soon(first.input(session, "\n")).await.unwrap();
    let reading = tokio::spawn(async move { transcript(&mut lossless, 0).await });
    seen.read_to_end(&mut first).await;
    assert!(is_the_flood(&seen.bytes), "{} bytes", seen.bytes.len());
    assert!(is_the_flood(&soon(reading).await.unwrap().0));

    for mut client in stalled {
        let mut seen = Transcript::from(0);
        let reason = loop {
            match soon(client.next()).await {
                Ok(Incoming::Output { offset, data }) => {
                    assert_eq!(offset, seen.end(), "a gap that nobody was told of");
                    seen.bytes.extend_from_slice(&data);
                }
                Ok(_) => {}
                Err(ClientError::Closed(reason)) => break reason,
                Err(other) => panic!("{other:?}"),
            }
        };
        let CloseReason::FellBehind { from, to } = reason else { panic!("{reason:?}") };
        assert_eq!(from, seen.end());
        assert!(to > from);
    }
    eventually("the stalled are gone from the registry", || server.clients.count() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lossless_client_that_stands_still_holds_the_program_only_so_long() {
    let server = TestServer::with(|server| {
        // Only the one limit can end this.
        let server = server.history_bytes(HISTORY).stall_timeout(Duration::from_secs(3600));
        server.lossless_timeout(Duration::from_millis(200))
    });
    let mut first = server.client().await;
    let session = create(&mut first, "flood", FLOOD).await.id;
    attached(&mut first, &attach("flood", DISCONNECT)).await;
    let mut still = server.client().await;
    attached(&mut still, &attach("flood", FROM_OLDEST)).await;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut first, "ready").await;
    soon(first.input(session, "\n")).await.unwrap();
    // That this ends at all shows that the other no longer holds the program.
    seen.read_to_end(&mut first).await;
    assert!(is_the_flood(&seen.bytes));
}

#[tokio::test]
async fn a_client_that_takes_too_little_is_closed_and_forgotten() {
    let server = TestServer::with(|server| {
        server.stall_timeout(Duration::from_millis(300)).lossless_timeout(Duration::from_millis(100))
    });
    let mut still = server.client().await;
    attached(&mut still, &shell("flood", FLOOD, Some(FROM_OLDEST))).await;
    let mut other = server.client().await;
    let session = sessions(&mut other).await[0].id;
    soon(other.input(session, "\n")).await.unwrap();
    eventually("only the other client is left", || server.clients.count() == 1).await;
    // Nobody holds the program now, so it ends.
    while server.clients.stats().sessions() > 0 {
        soon(other.request(&ClientMessage::Ping)).await.unwrap();
    }
    let stats = soon(other.stats()).await.unwrap();
    assert_eq!(stats.connections_closed, 1);
    // What it had been sent is whole as far as it goes; then its connection ends.
    let mut seen = Transcript::from(0);
    loop {
        match soon(still.next()).await {
            Ok(Incoming::Output { offset, data }) => {
                assert_eq!(offset, seen.end());
                seen.bytes.extend_from_slice(&data);
            }
            Ok(Incoming::Event(Event::Ended { .. })) => panic!("it can't have got this far"),
            Ok(_) => {}
            Err(ClientError::Closed(CloseReason::TooSlow(_)) | ClientError::Lost) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_skipped_last_message_is_found_without_another_one() {
    // With room for one message, nearly every broadcast of a burst is skipped; each round ends in silence.
    let server = TestServer::with(|server| server.queue_depth(1));
    let mut client = server.client().await;
    let script = "stty -echo; while read go; do seq 1 3000; done";
    let created = attached(&mut client, &shell("rounds", script, Some(DISCONNECT))).await;
    let mut transcript = Transcript::from(created.start);
    for _ in 0..50 {
        soon(client.send(&input(created.session, "\n"))).await.unwrap();
        transcript = Transcript::from(transcript.end());
        transcript.read_to(&mut client, "\r\n3000\r\n").await;
    }
}

#[tokio::test]
async fn commands_are_answered_while_a_client_is_far_behind() {
    let server = TestServer::start();
    let mut client = server.client().await;
    attached(&mut client, &shell("flood", "while :; do echo xxxxxxxxxxxxxxxx; done", Some(LOSSLESS))).await;
    let mut other = server.client().await;
    while sessions(&mut other).await[0].printed < 1 << 20 {}
    let ping = soon(client.send(&ClientMessage::Ping)).await.unwrap();
    let mut before = 0;
    loop {
        match soon(client.next()).await.unwrap() {
            Incoming::Output { data, .. } => before += data.len(),
            Incoming::Reply { request, .. } if request == ping => break,
            _ => {}
        }
    }
    assert!(before < 1 << 20, "{before} bytes came before the answer");
}
