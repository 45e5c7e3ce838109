//! Whom a program waits for.

use fugue_server::message::{AttachOptions, ExitStatus, Pace, StartAt};

use crate::support::*;

// Lines that begin at the first column: where one ends at the last, witnesses differ in what a bare line feed does.
const FLOOD: &str = "stty -echo; printf ready; read go; seq 1 600000; printf end";
const HISTORY: usize = 512 * 1024;

fn flood() -> Vec<u8> {
    let numbers: String = (1..=600_000).map(|number| format!("{number}\r\n")).collect();
    format!("ready{numbers}end").into_bytes()
}

/// A session of this pace that is about to flood, and two clients that watch it.
async fn paced(server: &TestServer, pace: Pace) -> (Viewer, Viewer) {
    let mut client = server.client().await;
    soon(client.request(&shell_with("a", FLOOD, |create| create.pace = pace))).await.unwrap();
    let view = VIEW.with_start(StartAt::Oldest);
    let mut one = Viewer::attach(server, &attach("a", view)).await;
    let mut two = Viewer::attach(server, &attach("a", view)).await;
    one.run_until_shown("ready").await;
    two.run_until_shown("ready").await;
    (one, two)
}

const VIEW: AttachOptions = TERMINAL.with_size(None);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_slowest_pace_nobody_misses_anything() {
    let server = TestServer::with(|server| server.history_bytes(HISTORY));
    let mut asking = server.client().await;
    let (mut fast, mut slow) = paced(&server, Pace::Slowest).await;
    fast.type_in("\n").await;
    let window = (HISTORY / 4) as u64;
    let reading = tokio::spawn(async move {
        fast.run_to_end().await;
        fast
    });
    // The slow one reads little by little, and the program is never more than a window and what the kernel holds ahead.
    loop {
        let printed = sessions(&mut asking).await[0].printed;
        let taken = slow.at;
        assert!(printed <= taken + window + 1024 * 1024, "{printed} printed and {taken} taken");
        let until = slow.at + 300_000;
        while slow.at < until && slow.step().await.is_none() {}
        if slow.at < until {
            break;
        }
    }
    let fast = soon(reading).await.unwrap();
    assert!(fast.output == flood() && slow.output == flood());
    assert_eq!(fast.gaps.len() + slow.gaps.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_client_stops_counting_for_the_slowest_pace() {
    let server = TestServer::with(|server| {
        let server = server.history_bytes(HISTORY).stall_timeout(std::time::Duration::from_secs(3600));
        server.lossless_timeout(std::time::Duration::from_millis(200))
    });
    let (mut fast, mut stalled) = paced(&server, Pace::Slowest).await;
    fast.type_in("\n").await;
    assert_eq!(fast.run_to_end().await, ExitStatus::Code(0));
    assert!(fast.output == flood());
    stalled.run_to_end().await;
    assert!(!stalled.gaps.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_free_pace_the_program_waits_for_nobody() {
    let server = TestServer::with(|server| server.history_bytes(HISTORY));
    let mut asking = server.client().await;
    let (mut viewer, _other) = paced(&server, Pace::Free).await;
    viewer.type_in("\n").await;
    // It ends, though the only client has read nothing.
    while sessions(&mut asking).await.iter().any(|session| session.printed < flood().len() as u64) {}
    viewer.run_to_end().await;
    assert!(!viewer.gaps.is_empty());
    assert!(viewer.text().contains("600000"), "{}", viewer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fast_and_slow_clients_may_take_turns() {
    let server = TestServer::with(|server| server.history_bytes(HISTORY));
    let (mut one, mut two) = paced(&server, Pace::Fastest).await;
    one.type_in("\n").await;
    let (mut ended_one, mut ended_two) = (None, None);
    while ended_one.is_none() || ended_two.is_none() {
        for (viewer, ended) in [(&mut one, &mut ended_one), (&mut two, &mut ended_two)] {
            let until = viewer.at + 700_000;
            while ended.is_none() && viewer.at < until {
                *ended = viewer.step().await;
            }
        }
    }
    // The screens that stood in for what was gone make both the same in the end.
    assert_eq!(one.state(), two.state());
    assert!(one.text().contains("600000"), "{}", one.text());
    for viewer in [&one, &two] {
        let gone: u64 = viewer.gaps.iter().map(|(from, to)| to - from).sum();
        assert_eq!(viewer.output.len() as u64 + gone, flood().len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_behind_is_seen_to_be_behind() {
    let server = TestServer::with(|server| server.queue_depth(1));
    let mut asking = server.client().await;
    let (mut viewer, other) = paced(&server, Pace::Fastest).await;
    drop(other);
    let id = viewer.client.id();
    assert_eq!(live_client_stats(&mut asking, id).await.lag_bytes, 0);
    viewer.type_in("\n").await;
    while client_stats(&mut asking, id).await.lag_bytes < 1 << 19 {}
    viewer.run_until(|viewer| viewer.at > 3 << 20).await;
    let stats = client_stats(&mut asking, id).await;
    assert!(stats.replays > 0 && stats.lag_max_bytes > 100_000 && stats.writes > 0, "{stats:?}");
    assert_eq!((stats.gaps, stats.skipped_bytes), (0, 0));
}
