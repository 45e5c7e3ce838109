//! What a mirror costs: memory of the server and of the node that have it, and of those that it is of.

use fugue_server::{
    Client,
    client::Incoming,
    message::{AttachOptions, OnLag, StartAt},
};

use super::row;
use crate::{
    nodes::{Broker, Machine},
    process::private_dirty,
    row::Row,
    suite::Scale,
    terminal::role_program,
};

const PRINTED: u64 = 1024 * 1024;

pub(super) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mirrors = if scale.quick { 4 } else { 64 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut samples: [Vec<f64>; 8] = Default::default();
    for _ in 0..scale.rounds.min(3) {
        let measured = runtime.block_on(measure(mirrors))?;
        samples.iter_mut().zip(measured).for_each(|(samples, sample)| samples.push(sample));
    }
    let cases = ["memory, idle", "memory, after 1 MiB"];
    let systems = ["host's server", "host's node", "watcher's server", "watcher's node"];
    let names = cases.into_iter().flat_map(|case| systems.map(|system| (case, system)));
    let row = |((case, system), samples)| {
        row(case, system, mirrors, ("bytes_per_mirror", "bytes, private and dirty")).with_samples(samples)
    };
    Ok(names.zip(samples).map(row).collect())
}

/// What each process has more for each mirror that somebody watches, idle and after output.
async fn measure(mirrors: usize) -> anyhow::Result<[f64; 8]> {
    let broker = Broker::start("")?;
    let (host, watcher) = (Machine::start("h1", &broker)?, Machine::start("w1", &broker)?);
    let [(server, node), (mirror_server, mirror_node)] = [&host, &watcher]
        .map(|machine| machine.pids().map(|[server, node]| (server, node)))
        .map(Result::unwrap_or_default);
    let memory = || {
        let mut memory = [0.0; 4];
        for (at, pid) in [server, node, mirror_server, mirror_node].into_iter().enumerate() {
            memory[at] = private_dirty(pid)?;
        }
        anyhow::Ok(memory)
    };
    let mut sessions = Vec::new();
    for number in 0..=mirrors {
        let ready = host.directory.path().join(format!("ready-{number}"));
        let program = role_program(&["role-print", &PRINTED.to_string(), &ready.display().to_string()])?;
        sessions.push(host.session(&program).await?);
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
    }
    // The first of all has what only a first one costs.
    let mut viewers = vec![view(&host, &watcher, &sessions[0].1).await?];
    let before = memory()?;
    for (_, session) in &sessions[1..] {
        viewers.push(view(&host, &watcher, session).await?);
    }
    let idle = memory()?;
    for ((control, session), viewer) in sessions.iter_mut().zip(&mut viewers).skip(1) {
        control.input(session.id, "\n").await?;
        let mut left = PRINTED;
        while left > 0 {
            if let Incoming::Output { data, .. } = viewer.next().await? {
                left -= data.len() as u64;
            }
        }
    }
    let after = memory()?;
    let each = |now: [f64; 4]| [0, 1, 2, 3].map(|at| (now[at] - before[at]) / mirrors as f64);
    let ([a, b, c, d], [e, f, g, h]) = (each(idle), each(after));
    Ok([a, b, c, d, e, f, g, h])
}

/// Watches a session at a mirror.
async fn view(
    host: &Machine,
    watcher: &Machine,
    session: &fugue_server::message::SessionInfo,
) -> anyhow::Result<Client> {
    let _mirror = watcher.mirror(host, session).await?;
    let mut viewer = Client::connect(&watcher.socket).await?;
    viewer.attach(session.id, AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
    Ok(viewer)
}
