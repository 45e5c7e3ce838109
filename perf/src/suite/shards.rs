//! Which shard count is enough: every operation, by shard count, threads, and whether they work on the same sessions.
//!
//! Threads are released together by a barrier; a figure is the wall time of all of them over the operations of all of
//! them. Queues are drained while the threads wait, and never get full.

mod mix;

use std::{
    collections::BTreeMap,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use self::mix::{Load, Mix, OPERATIONS};
use crate::{contest::Contest, row::Row, suite::Scale};

const SHARDS: [usize; 7] = [1, 4, 16, 64, 256, 1024, 4096];
const THREADS: [usize; 4] = [1, 2, 4, 8];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for mix in Mix::EVERY {
        for threads in scale.pick(&THREADS) {
            for shared in [false, true] {
                rows.extend(contest(mix, threads, shared, scale)?);
            }
        }
    }
    println!("{}", verdict(&rows));
    Ok(rows)
}

fn contest(mix: Mix, threads: usize, shared: bool, scale: Scale) -> anyhow::Result<Vec<Row>> {
    let sessions = if shared { "shared" } else { "disjoint" };
    let case = format!("mix={},threads={threads},sessions={sessions}", mix.name());
    let mut contest = Contest::new("shards", case, 0, ("ns_per_operation", "ns"), "");
    for shards in scale.pick(&SHARDS) {
        let mut load = Load::new(mix, threads, shared, shards)?;
        contest.enter_at(shards as u64, "fugue", move || {
            let (mut took, mut operations) = (Duration::ZERO, 0);
            while took < scale.at_least() {
                took += phase(&mut load, threads)?;
                operations += threads * (OPERATIONS / if shared { threads } else { 1 });
            }
            Ok(took.as_nanos() as f64 / operations as f64)
        });
    }
    Ok(contest.run(scale.rounds))
}

/// Lets every thread do its operations once. Says how long that took from the first one's start to the last one's end.
fn phase(load: &mut Load, threads: usize) -> anyhow::Result<Duration> {
    let barrier = Barrier::new(threads);
    let work = |thread: usize| {
        let mut worker = load.worker(thread);
        barrier.wait();
        let start = Instant::now();
        let sent = worker.run();
        (start, Instant::now(), sent)
    };
    let done: Vec<_> = thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
    });
    let first = done.iter().map(|(start, ..)| *start).min().unwrap_or_else(Instant::now);
    let last = done.iter().map(|(_, end, _)| *end).max().unwrap_or(first);
    load.drain(done.iter().map(|(.., sent)| sent).sum())?;
    Ok(last - first)
}

/// Says of each shard count in how many cases it is as good as any, its median within the best one's spread, and how
/// far behind the best it falls at worst; and which is the smallest that is as good as any in every case.
fn verdict(rows: &[Row]) -> String {
    let cases: Vec<&[Row]> = rows.chunk_by(|a, b| a.case == b.case).collect();
    let mut standings: BTreeMap<u64, (usize, f64)> = BTreeMap::new();
    for case in &cases {
        let measured = case.iter().filter_map(|row| Some((row.n, row.median?, row.max?)));
        let best = measured.clone().min_by(|a, b| a.1.total_cmp(&b.1));
        let Some((_, best, within)) = best else { continue };
        for (shards, median, _) in measured {
            let (good, worst) = standings.entry(shards).or_default();
            *good += usize::from(median <= within);
            *worst = worst.max(median / best);
        }
    }
    let mut text = String::new();
    for (shards, (good, worst)) in &standings {
        text +=
            &format!("{shards} shards: within the best one's spread in {good} of {} cases, ", cases.len());
        text += &format!("at worst {worst:.2} times the best\n");
    }
    text + &match standings.iter().find(|(_, (good, _))| *good == cases.len()) {
        Some((shards, _)) => format!("the smallest within the best one's spread in every case: {shards}"),
        None => "none is within the best one's spread in every case".to_owned(),
    }
}
