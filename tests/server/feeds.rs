//! Sessions without a program: what an embedder prints reaches every client, at the session's pace, to its end.

use std::time::Duration;

use bytes::Bytes;
use fugue_server::{
    Feed, FeedClosed, TerminalSize,
    client::{ClientError, Incoming},
    message::{CloseReason, Event, ExitStatus, Pace, RequestError, SessionState},
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
async fn every_client_gets_prints_of_any_size_and_then_the_status() {
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
    feed.end(ExitStatus::Code(7));
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
            feed.end(ExitStatus::Code(0));
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
    let server = TestServer::with(|server| server.ended_bytes(0));
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

/// Everything a viewer has when its connection is closed, and the end of its session if it was told that.
async fn until_closed(mut client: fugue_server::Client) -> (Vec<u8>, Option<ExitStatus>) {
    let (mut bytes, mut ended) = (Vec::new(), None);
    loop {
        match soon(client.next()).await {
            Ok(Incoming::Output { data, .. }) => bytes.extend_from_slice(&data),
            Ok(Incoming::Event(Event::Ended { status, .. })) => ended = Some(status),
            Ok(_) => {}
            Err(ClientError::Closed(CloseReason::ShuttingDown)) => return (bytes, ended),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_right_after_a_print_loses_nothing() {
    let printed = Bytes::from(vec![b'x'; 3 << 20]);
    for _ in 0..5 {
        let mut server = TestServer::with(|server| server.drain_timeout(Duration::from_secs(30)));
        let feed = feed(&server, Pace::Fastest).await;
        let mut viewers = Vec::new();
        for _ in 0..4 {
            let mut viewer = server.client().await;
            attached(&mut viewer, &attach("feed", FROM_OLDEST)).await;
            viewers.push(tokio::spawn(until_closed(viewer)));
        }
        soon(feed.print(printed.clone())).await.unwrap();
        server.stop();
        for viewer in viewers {
            let (bytes, ended) = soon(viewer).await.unwrap();
            assert_eq!((bytes.len(), ended), (printed.len(), None));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_right_after_a_feeds_end_tells_its_status() {
    for is_dropped in [false, true] {
        let mut server = TestServer::with(|server| server.drain_timeout(Duration::from_secs(30)));
        let feed = feed(&server, Pace::Fastest).await;
        let mut viewer = server.client().await;
        attached(&mut viewer, &attach("feed", FROM_OLDEST)).await;
        soon(feed.print(Bytes::from(vec![b'x'; 3 << 20]))).await.unwrap();
        let expected = if is_dropped {
            drop(feed);
            ExitStatus::Unknown
        } else {
            feed.end(ExitStatus::Code(7));
            ExitStatus::Code(7)
        };
        server.stop();
        let (bytes, ended) = until_closed(viewer).await;
        assert_eq!((bytes.len(), ended), (3 << 20, Some(expected)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_right_after_a_program_ended_tells_its_status() {
    let mut server = TestServer::with(|server| server.drain_timeout(Duration::from_secs(30)));
    let mut viewer = server.client().await;
    // More than its socket and its queue hold, and nothing of it is read before the stop.
    let script = "stty -opost; head -c 1000000 /dev/zero | tr '\\0' x; exit 7";
    attached(&mut viewer, &shell("a", script, Some(FROM_OLDEST))).await;
    let mut other = server.client().await;
    soon(async { while matches!(sessions(&mut other).await[0].state, SessionState::Running { .. }) {} })
        .await;
    server.stop();
    let (bytes, ended) = until_closed(viewer).await;
    assert_eq!((bytes.len(), ended), (1_000_000, Some(ExitStatus::Code(7))));
}

/// Kills a feed while it is printed to, and looks at what its viewer gets. The runtime is the caller's.
async fn kill_while_printing() {
    let server = TestServer::start();
    for _ in 0..20 {
        let feed = feed(&server, Pace::Free).await;
        let mut viewer = server.client().await;
        attached(&mut viewer, &attach("feed", FROM_OLDEST)).await;
        let mut other = server.client().await;
        let printing = async {
            let mut accepted = 0;
            while feed.print(vec![b'x'; 100].into()).await.is_ok() {
                accepted += 100;
            }
            accepted
        };
        let killing = async { soon(other.request(&kill("feed"))).await.unwrap() };
        let (accepted, _, (bytes, status)) =
            soon(async { tokio::join!(printing, killing, transcript(&mut viewer, 0)) }).await;
        assert_eq!((bytes.len(), status), (accepted, ExitStatus::Unknown));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_feed_may_be_killed_while_it_is_printed_to_on_one_thread() {
    kill_while_printing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_may_be_killed_while_it_is_printed_to_on_two_threads() {
    kill_while_printing().await;
}

#[tokio::test]
async fn a_flushed_feeds_output_is_in_the_log_and_its_watchers_are_counted() {
    let server = TestServer::start();
    let feed = feed(&server, Pace::Fastest).await;
    assert_eq!(feed.watchers(), 0);
    let mut other = server.client().await;
    soon(feed.flush()).await;
    for printed in 1..=100 {
        soon(feed.print("1234567".into())).await.unwrap();
        soon(feed.flush()).await;
        assert_eq!(sessions(&mut other).await[0].printed, 7 * printed);
    }
    attached(&mut other, &attach("feed", LOSSLESS)).await;
    assert_eq!(feed.watchers(), 1);
}
