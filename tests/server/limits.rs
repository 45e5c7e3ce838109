//! Bounds that no other test would notice: what is forgiven, what is let go, and how much may be asked at once.

use std::time::Duration;

use fugue_server::{
    Feed, TerminalSize,
    message::{AttachOptions, ClientMessage, OnLag, Pace, RequestError, StartAt},
};

use crate::support::*;

const HOLD: Duration = Duration::from_secs(10);

/// How long printing takes that a client of this feed may hold up. Time stands still in these tests, but for what
/// everything waits for.
async fn held_up(feed: &Feed) -> Duration {
    let start = tokio::time::Instant::now();
    // More than a socket and a window hold, so that it ends once the client no longer holds it.
    feed.print(vec![b'x'; 3 << 20].into()).await.unwrap();
    feed.flush().await;
    start.elapsed()
}

async fn lossless() -> (TestServer, Feed, fugue_server::Client) {
    let server = TestServer::with(|server| server.lossless_timeout(HOLD).history_bytes(8 << 20));
    let feed = server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, Pace::Free).unwrap();
    let mut client = server.client().await;
    attached(&mut client, &attach("feed", FROM_OLDEST)).await;
    (server, feed, client)
}

#[tokio::test(start_paused = true)]
async fn a_lossless_client_holds_again_once_it_takes_enough() {
    let (_server, feed, mut client) = lossless().await;
    assert!(held_up(&feed).await >= HOLD);
    // Without its hold, nobody waits for it.
    assert!(held_up(&feed).await < HOLD);
    Transcript::from(0).read_until(&mut client, |bytes| bytes.len() >= 1 << 20).await;
    assert!(held_up(&feed).await >= HOLD);
}

#[tokio::test(start_paused = true)]
async fn a_lossless_client_holds_again_once_it_has_all_however_little() {
    let (server, feed, mut client) = lossless().await;
    let mut other = server.client().await;
    // Until a little of it waits for the client, and stays.
    let mut printed = 0;
    while live_lag(&mut other, client.id()).await == 0 {
        feed.print(vec![b'x'; 8 << 10].into()).await.unwrap();
        feed.flush().await;
        printed += 8 << 10;
    }
    // Nothing else is waited for, so this is over at once.
    tokio::time::sleep(2 * HOLD).await;
    Transcript::from(0).read_until(&mut client, |bytes| bytes.len() == printed).await;
    live_client_stats(&mut other, client.id()).await;
    assert!(held_up(&feed).await >= HOLD);
}

/// What a client has not taken, once its writer has done what it can.
async fn live_lag(other: &mut fugue_server::Client, client: fugue_server::ClientId) -> u64 {
    for _ in 0..20 {
        soon(other.request(&ClientMessage::Ping)).await.unwrap();
    }
    client_stats(other, client).await.lag_bytes
}

#[tokio::test]
async fn once_the_answerer_has_left_another_terminal_answers() {
    let server = TestServer::start();
    let script = r"stty raw -echo; printf ready; while :; do head -c 1 >/dev/null; printf '\033[?996n'; head -c 9; done";
    let mut first = Viewer::attach(&server, &shell("a", script, Some(TERMINAL))).await;
    first.run_until_shown("ready").await;
    let mut second = Viewer::attach(&server, &attach("a", TERMINAL.with_start(StartAt::Oldest))).await;
    first.type_in("g").await;
    first.run_until(|viewer| contains(&viewer.output, b"\x1b[?996n")).await;
    first.type_in("\x1b[?997;1n").await;
    second.run_until(|viewer| contains(&viewer.output, b"\x1b[?996n\x1b[?997;1n")).await;
    drop(first);
    eventually("it has left", || server.clients.watching(second.session).len() == 1).await;
    let so_far = second.output.len();
    second.type_in("g").await;
    second.run_until(|viewer| contains(&viewer.output[so_far..], b"\x1b[?996n")).await;
    // In time, as the first did: before anybody could have been given up.
    second.type_in("\x1b[?997;2n").await;
    second.run_until(|viewer| contains(&viewer.output[so_far..], b"\x1b[?996n\x1b[?997;2n")).await;
}

#[tokio::test]
async fn more_kills_than_a_client_may_wait_for_are_refused() {
    let server = TestServer::with(|server| server.hang_up_grace(Duration::from_secs(3600)));
    let mut client = server.client().await;
    let script = "trap '' HUP; stty -echo; echo ready; read go";
    let session = create(&mut client, "a", script).await.id;
    let mut viewer =
        Viewer::attach(&server, &attach("a", AttachOptions::new(StartAt::Oldest, OnLag::Resync))).await;
    viewer.run_until_shown("ready").await;
    for _ in 0..16 {
        soon(client.send(&kill("a"))).await.unwrap();
    }
    assert_eq!(refused(&mut client, &kill("a")).await, RequestError::TooManyOutstanding);
    // And once they were answered there is room again.
    let mut other = server.client().await;
    soon(other.input(session, "\n")).await.unwrap();
    viewer.run_to_end().await;
    assert!(matches!(refused(&mut client, &kill("a")).await, RequestError::SessionEnded { .. }));
}

#[tokio::test]
async fn a_feeds_large_print_is_cut_into_messages() {
    let server = TestServer::start();
    let feed = server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, Pace::Free).unwrap();
    let mut client = server.client().await;
    attached(&mut client, &attach("feed", FROM_OLDEST)).await;
    feed.print(vec![b'x'; 1 << 20].into()).await.unwrap();
    feed.flush().await;
    let deliveries = server.clients.stats().deliveries;
    // Of 64 KiB each, whether there was room for all or not.
    assert_eq!(deliveries.sent + deliveries.full, 16);
}
