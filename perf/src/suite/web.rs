//! Viewers in browsers of a program that floods, with and without as many that never read: how fast the others are sent
//! it, what a viewer costs in memory, and what a GiB costs in processor time. The viewers are websockets without a
//! browser, and check every byte.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    contest::Contest,
    process::{private_dirty, processor_time},
    row::Row,
    suite::Scale,
    terminal::role_program,
    web::{Shown, System, ViewerPlan, Viewers},
};

const READERS: usize = 128;
const MIB: u64 = 1024 * 1024;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Each with the MiB that its program prints: a rate is a rate, and the peers are slower.
const SYSTEMS: [(&str, System, u64); 4] = [
    ("fugue", System::Fugue, 16),
    ("floor", System::Bare, 16),
    ("terminado", System::Terminado, 2),
    ("pyxtermjs", System::Pyxtermjs, 1),
];

/// What a run showed, beside its time.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    gateway: Option<Cost>,
    server: Option<Cost>,
}

/// Of one process.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Private memory in bytes: without viewers, with all of them before anything is printed, and once those that read
    /// have everything.
    empty: f64,
    watched: f64,
    after: f64,
    /// While it is printed.
    processor: Duration,
}

/// A system with as many stalled viewers as readers, or without.
struct Entry {
    name: &'static str,
    stalled: usize,
    bytes: u64,
    costs: RefCell<Vec<Costs>>,
}

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let readers = if scale.quick { 16 } else { READERS };
    let entries: Vec<_> = SYSTEMS
        .iter()
        .flat_map(|(name, system, mib)| {
            let bytes = mib * MIB / if scale.quick { 4 } else { 1 };
            let entry = move |stalled| (Entry { name, stalled, bytes, costs: RefCell::default() }, *system);
            // A loop that waits for each stands still with one that reads nothing.
            [0, readers].map(entry).into_iter().take(if *system == System::Bare { 1 } else { 2 })
        })
        .collect();
    let mut contest =
        Contest::new("web", "alone", readers, ("mib_per_s", "MiB/s to each that reads"), "floor");
    for (entry, system) in &entries {
        contest.enter(entry.name, || {
            let (took, costs) = measure(*system, readers, entry)?;
            entry.costs.borrow_mut().push(costs);
            Ok(entry.bytes as f64 / MIB as f64 / took.as_secs_f64())
        });
    }
    let measured = contest.run(scale.rounds);
    let mut rows = Vec::new();
    for ((entry, _), row) in entries.iter().zip(&measured) {
        rows.extend(compared(entry, row, &rows));
    }
    let of = |name, is_stalled| {
        entries
            .iter()
            .map(|(entry, _)| entry)
            .find(|entry| entry.name == name && (entry.stalled > 0) == is_stalled)
    };
    for (name, system, _) in SYSTEMS {
        // It forks, and what it then shares with the fork is not its own for a while.
        if system == System::Pyxtermjs {
            continue;
        }
        if let (Some(alone), Some(stalled)) = (of(name, false), of(name, true)) {
            rows.extend(costs(alone, stalled, readers));
        }
    }
    Ok(rows)
}

/// One run: how long it took those that read, and what it cost.
fn measure(system: System, readers: usize, entry: &Entry) -> anyhow::Result<(Duration, Costs)> {
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("ready");
    let program = role_program(&["role-number", &entry.bytes.to_string(), &ready.display().to_string()])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shown = Shown::start(system, directory.path(), &[program], &runtime)?;
    let parts = [shown.gateway, shown.server.as_ref().map(|(pid, _)| *pid)];
    let each = |look: fn(u32) -> anyhow::Result<f64>| parts.map(|pid| pid.and_then(|pid| look(pid).ok()));
    let seconds = |pid| Ok(processor_time(pid)?.as_secs_f64());
    let empty = each(private_dirty);
    let place = shown.programs[0].watch.clone();
    let plan = ViewerPlan { place, readers, stalled: entry.stalled, bytes: Some(entry.bytes) };
    let mut viewers = Viewers::start(&plan)?;
    while !ready.exists() {
        std::thread::yield_now();
    }
    let (watched, before) = (each(private_dirty), each(seconds));
    let start = Instant::now();
    shown.begin(0, &runtime)?;
    let right = viewers.right()?;
    let took = start.elapsed();
    let (after, spent) = (each(private_dirty), each(seconds));
    ensure!(right == readers, "only {right} of {readers} viewers were sent what was printed");
    let cost = |part: usize| {
        Some(Cost {
            empty: empty[part]?,
            watched: watched[part]?,
            after: after[part]?,
            processor: Duration::from_secs_f64(spent[part]? - before[part]?),
        })
    };
    Ok((took, Costs { gateway: cost(0), server: cost(1) }))
}

/// A row under its case; beside the stalled, the speed over that without them too.
fn compared(entry: &Entry, row: &Row, before: &[Row]) -> Vec<Row> {
    if entry.stalled == 0 {
        return vec![row.clone()];
    }
    let case = format!("stalled={}", entry.stalled);
    let row = Row { case, ..row.clone() };
    let Some(alone) = before.iter().find(|alone| alone.system == row.system && alone.case == "alone") else {
        return vec![row];
    };
    let over = row.samples.iter().zip(&alone.samples).map(|(with, alone)| with / alone).collect();
    let plain = Row { ratio_to: None, ratio: None, ratio_min: None, ratio_max: None, ..row.clone() };
    let (metric, unit) = ("speed_over_alone", "of the speed without the stalled");
    let ratio = Row { metric, unit, ..plain.clone() };
    if row.reason.is_some() { vec![row] } else { vec![plain, ratio.with_samples(over)] }
}

/// What a viewer and a GiB cost, in the process that has the websockets and in the server behind it.
fn costs(alone: &Entry, stalled: &Entry, readers: usize) -> Vec<Row> {
    let (without, with) = (alone.costs.borrow(), stalled.costs.borrow());
    let gib = (readers as u64 * alone.bytes) as f64 / GIB;
    let mut rows = Vec::new();
    for (part, of) in
        [("gateway", (|costs| costs.gateway) as fn(Costs) -> Option<Cost>), ("server", |costs| costs.server)]
    {
        let row = |case: &str, (metric, unit), samples: Vec<f64>| {
            let row = Row {
                suite: "web",
                case: format!("{part}, {case}"),
                system: alone.name,
                n: readers as u64,
                metric,
                unit,
                ..Row::default()
            };
            (!samples.is_empty()).then(|| row.with_samples(samples))
        };
        let memory = ("bytes_per_viewer", "bytes, private and dirty");
        let alone = |figure: fn(Cost) -> f64| {
            without.iter().filter_map(|costs| Some(figure(of(*costs)?))).collect::<Vec<_>>()
        };
        let each = readers as f64;
        let per = |figures: Vec<f64>| figures.into_iter().map(|figure| figure / each).collect();
        rows.extend(row("watching", memory, per(alone(|cost| cost.watched - cost.empty))));
        // A server's history grows with what is printed, whoever watches.
        if part == "gateway" {
            rows.extend(row("after it read all", memory, per(alone(|cost| cost.after - cost.empty))));
        }
        let stalled = with.iter().zip(without.iter()).filter_map(|(with, without)| {
            let (with, without) = (of(*with)?, of(*without)?);
            Some((with.after - with.empty) - (without.after - without.empty))
        });
        rows.extend(row("stalled", memory, per(stalled.collect())));
        let processor =
            alone(|cost| cost.processor.as_secs_f64()).into_iter().map(|spent| spent / gib).collect();
        rows.extend(row("processor", ("s_per_gib", "s for a GiB sent"), processor));
    }
    rows
}
