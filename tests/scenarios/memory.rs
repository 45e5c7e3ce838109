//! A gibibyte passes a stopped client, and the server's memory stays within its bounds.

use std::{io::Read, process::Stdio};

use fugue_server::Client;
use rustix::process::Signal;

use super::{
    flood::*,
    process::{Process, binary, signal},
};
use crate::support::*;

pub(super) async fn a_gibibyte_passes_a_stopped_client_in_bounded_memory() {
    const FLOOD: u64 = 1 << 30;
    const HISTORY: u64 = 4 << 20;
    let server = Process::serve(&["--history", "4MiB"]);
    let connect = || async { soon(Client::connect(&server.socket)).await.unwrap() };
    let mut control = connect().await;
    let id = create_flood(&mut control, FLOOD).await;
    let mut fast = connect().await;
    attached(&mut fast, &attach("flood", FROM_OLDEST)).await;
    let mut stopped = binary(&server.socket, &["attach", "flood", "--from", "start", "--on-lag", "resync"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut slow = connect().await;
    let slow_from = attached(&mut slow, &attach("flood", RESYNC)).await.start;
    until_stats(&mut control, "all watch", |clients| {
        clients.iter().filter(|client| client.session == Some(id)).count() == 3
    })
    .await;
    signal(stopped.id(), Signal::STOP);
    let before = server.peak_memory();
    soon(control.input(id, "\n")).await.unwrap();

    // One takes all, and one so little that it is only just not given up.
    let (mut seen, mut missed) = (Stay::from(0), Stay::from(slow_from));
    while seen.next < FLOOD {
        let next = (seen.next + (16 << 20)).min(FLOOD);
        seen.read_to(&mut fast, next).await;
        let enough = missed.received + (128 << 10);
        while missed.received < enough && missed.next < FLOOD {
            assert_eq!(missed.read(&mut slow).await, None);
        }
    }
    assert_eq!((seen.received, seen.gaps, seen.screens), (FLOOD, 0, 0));
    // The server holds the history, and for each client a queue of 64 KiB messages that the others share with it and
    // a write under way; and the allocator keeps some.
    let grown = server.peak_memory() - before;
    let queues = 4 * (16 + 8) * (64 << 10);
    println!("grew by {grown} bytes of at most {}", HISTORY + queues + (16 << 20));
    assert!(grown < HISTORY + queues + (16 << 20), "{grown} bytes");

    missed.read_to(&mut slow, FLOOD).await;
    assert!(missed.gaps > 0 && missed.received < FLOOD / 4, "{missed:?}");

    signal(stopped.id(), Signal::CONT);
    let mut recorded = Vec::new();
    stopped.stdout.take().unwrap().read_to_end(&mut recorded).unwrap();
    let mut why = String::new();
    stopped.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert_eq!(stopped.wait().unwrap().code(), Some(254), "{why}");
    // It missed too much, or it was given up; which one depends on how long the others took.
    assert!(why.contains("the recording ends here") || why.contains("the server"), "{why}");
    assert!((recorded.len() as u64) < FLOOD && is_flood(0, &recorded), "{} bytes", recorded.len());
}
