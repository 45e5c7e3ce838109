//! Sessions of other machines, over nats-server: many viewers at one machine and at several, keys over two hops, what a
//! mirror costs, and how soon a lost host is noticed. Beside what one would do without mirrors: a subscriber for each
//! viewer.

mod costs;
mod keys;
mod outages;

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    contest::Contest,
    nodes::{Broker, Machine, Publisher, WatchPlan, Watched},
    process::processor_nanos,
    row::Row,
    suite::Scale,
    terminal::role_program,
    web::Viewers,
};

/// Viewers at each machine.
const EACH: usize = 64;
const MIB: u64 = 1024 * 1024;

pub(super) const WATCHERS: [&str; 4] = ["w1", "w2", "w3", "w4"];

/// How much a bare nats-server may have waiting: all that is printed, or it cuts its subscribers off.
const NO_BOUNDS: &str = "max_pending: 4GB\nwrite_deadline: \"120s\"\n";

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for machines in [1, 2, 4] {
        rows.extend(viewers(scale, machines)?);
    }
    rows.extend(keys::run(scale)?);
    rows.extend(costs::run(scale)?);
    rows.extend(outages::run(scale)?);
    Ok(rows)
}

pub(super) fn row(
    case: impl Into<String>,
    system: &'static str,
    n: usize,
    (metric, unit): (&'static str, &'static str),
) -> Row {
    Row { suite: "nodes", case: case.into(), system, n: n as u64, metric, unit, ..Row::default() }
}

/// Where the viewers are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// At the machine of the session.
    Local,
    /// At so many others.
    Nodes(usize),
    /// Each subscribes to nats-server, which the session's output is published to.
    Nats,
}

/// Processor time of a run: of the machine that has the session, of nats-server, and of the machines that watch.
type Spent = [Duration; 3];

/// So many viewers, at their session's machine, at this many machines, and at nats-server.
fn viewers(scale: Scale, machines: usize) -> anyhow::Result<Vec<Row>> {
    let count = machines * if scale.quick { 8 } else { EACH };
    let bytes = if scale.quick { MIB } else { 8 * MIB };
    let systems =
        [("fugue-local", Where::Local), ("fugue-nodes", Where::Nodes(machines)), ("nats", Where::Nats)];
    let spent = systems.map(|_| RefCell::<Vec<Spent>>::default());
    let metric = ("mib_per_s", "MiB/s to each viewer");
    let mut contest = Contest::new("nodes", "viewers", count, metric, "fugue-local");
    for ((name, place), spent) in systems.into_iter().zip(&spent) {
        contest.enter(name, move || {
            let (took, cost) = watch(place, count, bytes)?;
            spent.borrow_mut().push(cost);
            Ok(bytes as f64 / MIB as f64 / took.as_secs_f64())
        });
    }
    let mut rows = contest.run(scale.rounds);
    for ((name, place), spent) in systems.into_iter().zip(&spent) {
        for (part, of) in ["host", "nats-server", "watching machines"].into_iter().enumerate() {
            let is_there = match place {
                Where::Local => part == 0,
                Where::Nodes(_) => true,
                Where::Nats => part < 2,
            };
            let ms_per_mib = |cost: &Spent| cost[part].as_secs_f64() * 1000.0 / (bytes / MIB) as f64;
            let samples: Vec<_> = spent.borrow().iter().map(ms_per_mib).collect();
            if is_there && !samples.is_empty() {
                let metric = ("ms_per_mib", "ms for a MiB printed");
                rows.push(row(format!("processor, {of}"), name, count, metric).with_samples(samples));
            }
        }
    }
    Ok(rows)
}

/// One run: how long it took until all had everything, and what it cost.
fn watch(place: Where, count: usize, bytes: u64) -> anyhow::Result<(Duration, Spent)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("ready");
    let program = role_program(&["role-number", &bytes.to_string(), &ready.display().to_string()])?;
    let plan = |what| WatchPlan { what, watchers: count, bytes };
    if place == Where::Nats {
        let broker = Broker::start(NO_BOUNDS)?;
        let publisher = Publisher::start(&broker.address, &program, &ready, &runtime)?;
        let viewers =
            Viewers::start_as("role-watch", &plan(Watched::Nats { address: broker.address.clone() }))?;
        let parts = [vec![std::process::id()], vec![broker.pid()], Vec::new()];
        let mut publishing = None;
        let begin = || {
            publishing = Some(publisher.publish(bytes, &runtime));
            Ok(())
        };
        return finish(viewers, count, &parts, begin);
    }
    let broker = Broker::start("")?;
    let host = Machine::start("h1", &broker)?;
    let at = if let Where::Nodes(machines) = place { machines } else { 0 };
    let machines = WATCHERS[..at]
        .iter()
        .map(|name| Machine::start(name, &broker))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (mut control, session) = runtime.block_on(host.session(&program))?;
    let mut mirrors = Vec::new();
    for machine in &machines {
        mirrors.push(runtime.block_on(machine.mirror(&host, &session))?);
    }
    let watched = if machines.is_empty() { std::slice::from_ref(&host) } else { &machines };
    let sockets = watched.iter().map(|machine| machine.socket.clone()).collect();
    let viewers = Viewers::start_as("role-watch", &plan(Watched::Session { sockets, session: session.id }))?;
    // The viewers keep them from here on.
    drop(mirrors);
    while !ready.exists() {
        std::thread::yield_now();
    }
    let pids = machines.iter().map(Machine::pids).collect::<anyhow::Result<Vec<_>>>()?;
    let parts = [host.pids()?.to_vec(), vec![broker.pid()], pids.concat()];
    finish(viewers, count, &parts, || Ok(runtime.block_on(control.input(session.id, "\n"))?))
}

/// Has the program begin, and waits until all viewers have all of it.
fn finish(
    mut viewers: Viewers,
    count: usize,
    parts: &[Vec<u32>; 3],
    begin: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Duration, Spent)> {
    let spent = || {
        let mut spent = Spent::default();
        for (part, pids) in parts.iter().enumerate() {
            spent[part] = pids.iter().map(|pid| processor_nanos(*pid)).sum::<anyhow::Result<_>>()?;
        }
        anyhow::Ok(spent)
    };
    let (before, start) = (spent()?, Instant::now());
    begin()?;
    let right = viewers.right()?;
    let (took, after) = (start.elapsed(), spent()?);
    ensure!(right == count, "only {right} of {count} viewers were sent what was printed");
    Ok((took, std::array::from_fn(|part| after[part] - before[part])))
}
