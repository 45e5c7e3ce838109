//! A host that is lost: how long until its mirror says so, and until the next key is there once it is back.

use std::time::{Duration, Instant};

use anyhow::Context;
use fugue_server::{
    Client, SessionId,
    client::Incoming,
    message::{AttachOptions, OnLag, ProviderState, SessionState, StartAt},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::row;
use crate::{
    nodes::{Broker, Machine},
    row::Row,
    suite::{Scale, echo::echo_program},
};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for (case, is_killed) in [("host's node killed", true), ("host's node stopped", false)] {
        let measured: anyhow::Result<Vec<_>> =
            (0..scale.rounds.min(3)).map(|_| runtime.block_on(measure(is_killed))).collect();
        let metrics = [
            ("noticed_ms", "ms until the mirror says so"),
            ("resumed_ms", "ms from its return to the next byte"),
        ];
        for (at, metric) in metrics.into_iter().enumerate() {
            let row = row(case, "fugue-nodes", 1, metric);
            rows.push(match &measured {
                Ok(measured) => row.with_samples(measured.iter().map(|figures| figures[at]).collect()),
                Err(error) => Row { reason: Some(format!("{error:#}")), ..row },
            });
        }
    }
    Ok(rows)
}

/// Milliseconds until it is noticed, and until it goes on.
async fn measure(is_killed: bool) -> anyhow::Result<[f64; 2]> {
    let broker = Broker::start("")?;
    let (mut host, watcher) = (Machine::start("h1", &broker)?, Machine::start("w1", &broker)?);
    let ready = host.directory.path().join("ready");
    let (mut control, session) = host.session(&echo_program(&ready)?).await?;
    let _mirror = watcher.mirror(&host, &session).await?;
    while !ready.exists() {
        tokio::task::yield_now().await;
    }
    let mut viewer = Client::connect(&watcher.socket).await?;
    viewer.attach(session.id, AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
    control.input(session.id, "a").await?;
    next_byte(&mut viewer, 0).await?;
    let pid = Pid::from_child(host.node()?);
    let begun = Instant::now();
    match is_killed {
        true => host.kill_node(),
        false => kill_process(pid, Signal::STOP)?,
    }
    until_noticed(&watcher, session.id).await?;
    let noticed = begun.elapsed();
    control.input(session.id, "b").await?;
    let begun = Instant::now();
    match is_killed {
        true => host.start_node()?,
        false => kill_process(pid, Signal::CONT)?,
    }
    next_byte(&mut viewer, 1).await?;
    Ok([noticed, begun.elapsed()].map(|took| took.as_secs_f64() * 1000.0))
}

/// Waits until lists say that the mirror's host is silent.
async fn until_noticed(watcher: &Machine, session: SessionId) -> anyhow::Result<()> {
    let mut client = Client::connect(&watcher.socket).await?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let state = watcher.info(&mut client, session).await?.state;
        if matches!(state, SessionState::Provided { provider: ProviderState::Silent { .. } }) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("the mirror did not say so in {PATIENCE:?}")
}

/// Waits for the byte at this offset.
async fn next_byte(viewer: &mut Client, wanted: u64) -> anyhow::Result<()> {
    let waiting = async {
        loop {
            if let Incoming::Output { offset, .. } = viewer.next().await? {
                anyhow::ensure!(offset == wanted, "output at {offset}, not at {wanted}");
                return Ok(());
            }
        }
    };
    timeout(PATIENCE, waiting).await.context("nothing came")?
}
