//! Sessions without a program: what an embedder prints reaches every client, at the session's pace, to its end.

use bytes::Bytes;
use fugue_server::{
    Feed, FeedClosed, TerminalSize,
    client::Incoming,
    message::{Event, ExitStatus, Pace, RequestError, SessionState},
};

use crate::support::*;

async fn feed(server: &TestServer, pace: Pace) -> Feed {
    server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, pace).unwrap()
}

/// Numbered lines, so that a byte out of place is seen.
fn lines(range: std::ops::Range<u32>) -> Bytes {
    range.map(|number| format!("{number:07}\n")).collect::<String>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_gets_what_was_printed_in_pieces_of_any_size_and_then_the_status() {
    let server = TestServer::start();
    let feed = feed(&server, Pace::Fastest).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        attached(&mut client, &attach("feed", FROM_OLDEST)).await;
        clients.push(tokio::spawn(async move { transcript(&mut client, 0).await }));
    }
    let whole = lines(0..1_000_000);
    let mut rest = whole.clone();
    for size in [0, 1, 3, 100, 65_535, 65_536, 65_537, 3_000_000] {
        soon(feed.print(rest.split_to(size))).await.unwrap();
    }
    soon(feed.print(rest)).await.unwrap();
    soon(feed.end(ExitStatus::Code(7))).await;
    for client in clients {
        let (bytes, status) = client.await.unwrap();
        assert!(bytes == whole, "{} bytes of {}", bytes.len(), whole.len());
        assert_eq!(status, ExitStatus::Code(7));
    }
}

#[tokio::test]
async fn the_embedder_waits_for_the_readers_that_the_pace_names() {
    let server = TestServer::with(|server| server.history_bytes(64 << 10));
    let feed = feed(&server, Pace::Slowest).await;
    let mut client = server.client().await;
    attached(&mut client, &attach("feed", FROM_OLDEST)).await;
    let whole = lines(0..1_000_000);
    let printed = tokio::spawn({
        let mut rest = whole.clone();
        async move {
            while !rest.is_empty() {
                feed.print(rest.split_to(4000.min(rest.len()))).await.unwrap();
            }
            feed.end(ExitStatus::Code(0)).await;
        }
    });
    // More than the connection, the history and the feed's queue hold: it waits.
    let held = || async { sessions(&mut server.client().await).await[0].printed };
    let mut before = held().await;
    let mut standing = 0;
    while standing < 100 {
        let now = held().await;
        standing = if now == before { standing + 1 } else { 0 };
        before = now;
    }
    assert!(before < whole.len() as u64 / 2 && !printed.is_finished());
    let (bytes, _) = transcript(&mut client, 0).await;
    assert!(bytes == whole);
    soon(printed).await.unwrap();
}

#[tokio::test]
async fn a_killed_feed_takes_no_more_and_its_clients_get_what_it_took() {
    let server = TestServer::start();
    let feed = feed(&server, Pace::Fastest).await;
    let mut client = server.client().await;
    attached(&mut client, &attach("feed", FROM_OLDEST)).await;
    soon(feed.print("taken".into())).await.unwrap();
    let mut other = server.client().await;
    soon(other.request(&kill("feed"))).await.unwrap();
    soon(feed.killed()).await;
    assert_eq!(transcript(&mut client, 0).await, (b"taken".to_vec(), ExitStatus::Unknown));
    assert_eq!(soon(feed.print("more".into())).await, Err(FeedClosed("more".into())));
    assert!(matches!(
        refused(&mut other, &attach("feed", LOSSLESS)).await,
        RequestError::SessionEnded { .. }
    ));
}

#[tokio::test]
async fn a_dropped_feed_ends_its_session_and_frees_its_name() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for _ in 0..3 {
        let feed = feed(&server, Pace::Fastest).await;
        let taken = server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, Pace::Fastest);
        assert!(matches!(taken, Err(RequestError::NameTaken(_))));
        attached(&mut client, &attach("feed", FROM_OLDEST)).await;
        drop(feed);
        assert!(matches!(
            soon(client.next()).await.unwrap(),
            Incoming::Event(Event::Ended { status: ExitStatus::Unknown, .. })
        ));
    }
}

#[tokio::test]
async fn a_feed_has_a_screen_and_no_program() {
    let server = TestServer::start();
    let feed = feed(&server, Pace::Fastest).await;
    soon(feed.print("\x1b[2J\x1b[3;5Hhere".into())).await.unwrap();
    let mut viewer = Viewer::attach(&server, &attach("feed", TERMINAL)).await;
    viewer.run_until_shown("here").await;
    let info = sessions(&mut viewer.client).await.remove(0);
    assert_eq!(info.state, SessionState::Running { pid: None });
    let error = refused(&mut viewer.client, &input(info.id, "x")).await;
    assert!(error.to_string().contains("no program reads"), "{error}");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_feeds() {
    let mut server = TestServer::start();
    let feed = feed(&server, Pace::Fastest).await;
    soon(feed.print("taken".into())).await.unwrap();
    soon(server.stop()).await.unwrap();
    assert!(soon(feed.print("more".into())).await.is_err());
    let refused = server.feeds.start("other".parse().unwrap(), TerminalSize::DEFAULT, Pace::Fastest);
    assert!(matches!(refused, Err(RequestError::ShuttingDown)));
}
