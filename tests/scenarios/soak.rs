//! A server in a process of its own, and for as long as told: sessions that start, flood and end, clients that come,
//! stall, go and are killed. Every byte that any client is sent is checked by its session and its offset; what it is
//! not sent it must be told of.
//!
//! It goes in rounds. Between them everybody leaves, and the server must hold what it held when it had started: no
//! client, no session, no child (but the keeper of programs), no descriptor and no thread more, and the keeper no
//! descriptor more. Its memory is compared with what it was after the
//! first round, which warms it up, in runs of two minutes or more.

mod programs;
mod recorders;
mod round;
mod stream;
mod viewers;

use std::time::{Duration, Instant};

use fugue_server::Client;

use self::round::{Tally, patiently};
use super::process::{Holdings, Process};
use crate::{
    random::Random,
    support::{create, stats},
};

/// About how long a round takes.
const ROUND: Duration = Duration::from_secs(30);

/// How long the server may take to let go of those who left.
const LETS_GO: Duration = Duration::from_secs(60);

/// By how much memory may differ between two times at which the server holds nothing: what an allocator keeps in its
/// arenas depends on which thread freed what last.
const MEMORY_SLACK: u64 = 16 << 20;

pub(super) async fn whatever_clients_and_sessions_do_no_byte_is_lost(time: Duration) {
    let random = Random::seeded("soak");
    // Short, so that clients fall behind it.
    let server = Process::serve(&["--history", "64KiB"]);
    let mut control = patiently(Client::connect(&server.socket)).await.unwrap();
    // Once its programs have a keeper, which stays.
    patiently(create(&mut control, "first", "exit")).await;
    while !patiently(stats(&mut control)).await.sessions.is_empty() {}
    let at_first = server.holdings();
    println!("at first the server holds {at_first}");
    let warm_up = (time / 4).min(ROUND);
    let rounds = ((time - warm_up).as_secs_f64() / ROUND.as_secs_f64()).ceil().max(1.0) as u32;
    let each = (time - warm_up) / rounds;

    let started = Instant::now();
    let mut all = Tally::default();
    let mut holdings = Vec::new();
    for number in 0..=rounds {
        let time = if number == 0 { warm_up } else { each };
        let start = Instant::now();
        let tally = round::run(&server.socket, &mut control, &random.branch(number.into()), time).await;
        let took = start.elapsed();
        let after = once_settled(&server, &mut control, at_first).await;
        report(number, took, &tally, after);
        holdings.push(after);
        all += tally;
    }
    let (warm, last) = (holdings[0], holdings[holdings.len() - 1]);
    let grown = last.memory_bytes as i64 - warm.memory_bytes as i64;
    println!(
        "soak: {:.1} minutes: {} clients attached {} times, {} were killed, {} stalled, {} closed for their lag; {} \
         sessions came and went",
        started.elapsed().as_secs_f64() / 60.0,
        all.clients,
        all.stays,
        all.killed,
        all.stalls,
        all.closed,
        all.sessions,
    );
    println!(
        "soak: {} bytes verified, 0 lost, {} gaps told, {} screens drawn; slowest answer {:.0} ms",
        all.verified,
        all.gaps,
        all.screens,
        all.slowest_answer.as_secs_f64() * 1e3,
    );
    println!(
        "soak: the server grew by {} descriptors and {} threads since it started, and by {:.1} MiB since the warm-up",
        last.descriptors as i64 - at_first.descriptors as i64,
        last.threads as i64 - at_first.threads as i64,
        grown as f64 / f64::from(1 << 20),
    );
    assert!(all.verified > 0 && all.sessions > 0 && all.killed > 0);
    // After less of a warm-up, it only shows how much that lot needs.
    if warm_up == ROUND {
        assert!(grown <= MEMORY_SLACK as i64, "memory leaks: {holdings:?}");
    }
    drop(control);
    assert_eq!(server.stop(), Some(0));
}

/// The threads that start programs, which a server keeps.
const STARTERS: usize = 8;

/// Waits until the server has let go of everything; returns what it holds then.
async fn once_settled(server: &Process, control: &mut Client, at_first: Holdings) -> Holdings {
    let start = Instant::now();
    loop {
        let stats = patiently(stats(control)).await;
        let holdings = server.holdings();
        // No more than at first, when this client was there already.
        let is_empty = stats.clients.len() == 1
            && stats.clients_per_shard.iter().sum::<usize>() == 1
            && stats.sessions.is_empty()
            && stats.sessions_per_shard.iter().sum::<usize>() == 0
            && stats.history_bytes == 0;
        let is_as_at_first = holdings.descriptors <= at_first.descriptors
            && holdings.threads <= at_first.threads + STARTERS
            && holdings.children <= at_first.children
            && holdings.kept_descriptors <= at_first.kept_descriptors;
        if is_empty && is_as_at_first {
            return holdings;
        }
        // Threads that have nothing to do end after ten seconds.
        assert!(start.elapsed() < LETS_GO, "not let go of: {holdings:?}, at first {at_first:?}, {stats:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn report(number: u32, took: Duration, tally: &Tally, after: Holdings) {
    println!(
        "round {number}{}: {:.0} s, {} clients, {} sessions, {} killed, {} MiB verified, {} gaps told, slowest answer \
         {:.0} ms; then {after}",
        if number == 0 { " (warm-up)" } else { "" },
        took.as_secs_f64(),
        tally.clients,
        tally.sessions,
        tally.killed,
        tally.verified >> 20,
        tally.gaps,
        tally.slowest_answer.as_secs_f64() * 1e3,
    );
}
