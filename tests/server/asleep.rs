//! Clients that take nothing for minutes, as a laptop does that sleeps: what they cost, and when they are given up.

use std::time::Duration;

use fugue_server::{
    Feed, TerminalSize,
    client::ClientError,
    message::{AttachOptions, CloseReason, OnLag, Pace, StartAt},
};

use crate::support::*;

const STALL: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(600);

/// What a session prints that its clients can't hold.
const MUCH: usize = 3 << 19;

/// Time stands still in these tests, but for what everything waits for.
async fn server(pace: Pace) -> (TestServer, Feed) {
    let server =
        TestServer::with(|server| server.stall_timeout(STALL).resync_timeout(LIMIT).history_bytes(512 << 10));
    let feed = server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, pace).unwrap();
    (server, feed)
}

async fn print(feed: &Feed, text: &str) {
    feed.print(text.as_bytes().to_vec().into()).await.unwrap();
    feed.flush().await;
}

async fn print_much(feed: &Feed) {
    print(feed, &"much\r\n".repeat(MUCH / 6)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wakes_is_drawn() {
    let (server, feed) = server(Pace::Free).await;
    let mut sleeper = Viewer::attach(&server, &attach("feed", TERMINAL)).await;
    for _ in 0..9 {
        print_much(&feed).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(server.clients.count(), 1);
    }
    print(&feed, "\x1b[H\x1b[2Jawake").await;
    sleeper.run_until_shown("awake").await;
    assert_eq!(sleeper.text().trim_end(), "awake");
    // And it has its time again.
    print_much(&feed).await;
    tokio::time::sleep(LIMIT - STALL).await;
    assert_eq!(server.clients.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_wake_is_given_up_with_the_reason() {
    let (server, feed) = server(Pace::Free).await;
    let mut sleeper = Viewer::attach(&server, &attach("feed", TERMINAL)).await;
    let start = tokio::time::Instant::now();
    print_much(&feed).await;
    tokio::time::sleep_until(start + LIMIT - STALL).await;
    assert_eq!(server.clients.count(), 1);
    tokio::time::sleep_until(start + LIMIT + STALL).await;
    assert_eq!(server.clients.count(), 0);
    let why = loop {
        match soon(sleeper.client.next()).await {
            Ok(_) => {}
            Err(why) => break why,
        }
    };
    assert!(matches!(why, ClientError::Closed(CloseReason::TooSlow(LIMIT))), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_resync_is_given_up_as_soon_as_ever() {
    for on_lag in [OnLag::Lossless, OnLag::Disconnect] {
        let (server, feed) = server(Pace::Free).await;
        let view = AttachOptions::new(StartAt::Now, on_lag).with_size(Some(TerminalSize::DEFAULT));
        let _sleeper = Viewer::attach(&server, &attach("feed", view)).await;
        let start = tokio::time::Instant::now();
        print_much(&feed).await;
        tokio::time::sleep_until(start + 2 * STALL).await;
        assert_eq!(server.clients.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sleeps_holds_nobody_back() {
    for pace in [Pace::Fastest, Pace::Slowest] {
        let (server, feed) = server(pace).await;
        let mut awake = server.client().await;
        attached(&mut awake, &attach("feed", FROM_OLDEST)).await;
        let mut sleeper = Viewer::attach(&server, &attach("feed", TERMINAL)).await;
        let printing = tokio::spawn(async move {
            print_much(&feed).await;
            // What holds the program back is over by now.
            let start = tokio::time::Instant::now();
            print_much(&feed).await;
            print(&feed, "the end").await;
            (feed, start.elapsed())
        });
        let mut seen = Transcript::from(0);
        seen.read_until(&mut awake, |bytes| bytes.ends_with(b"the end")).await;
        let (_feed, waited) = soon(printing).await.unwrap();
        assert!(waited < Duration::from_secs(1), "{pace:?}: {waited:?}");
        sleeper.run_until(|viewer| viewer.at == seen.end()).await;
        assert!(sleeper.text().contains("the end"), "{}", sleeper.text());
    }
}
