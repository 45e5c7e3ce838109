//! Keystroke to screen over two hops: typed at a mirror, taken at the host, printed, and back at the mirror. As in
//! `echo`, from an open loop.

use std::path::Path;

use fugue_server::{
    Client,
    message::{AttachOptions, OnLag, StartAt},
};
use futures_util::StreamExt;
use hdrhistogram::Histogram;

use super::row;
use crate::{
    nodes::{Broker, Echo, Machine},
    receiver::{Address, Plan, Protocol, Receivers},
    row::Row,
    suite::{
        Scale,
        echo::{Keyboard, Screen, echo_program, type_into},
    },
    terminal::role_program,
    web::Process,
};

/// Who watches the other session that floods.
const FLOODED: usize = 16;
const FLOOD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

const FIGURES: [(&str, f64); 4] = [
    ("latency_us_p50", 50.0),
    ("latency_us_p99", 99.0),
    ("latency_us_p99.9", 99.9),
    ("latency_us_max", 100.0),
];

/// Two machines, and perhaps a session that floods from one to the other.
struct Two {
    broker: Broker,
    host: Machine,
    watcher: Machine,
    _flood: Option<(Process, Receivers)>,
}

pub(super) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let keys = if scale.quick { 250 } else { 1000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut rows = Vec::new();
    for case in ["idle", "flood"] {
        let two = Two::start(case == "flood", &runtime)?;
        let mut measured: [Vec<Histogram<u64>>; 3] = Default::default();
        for round in 0..scale.rounds {
            for turn in 0..3 {
                let which = (round + turn) % 3;
                let latency = runtime.block_on(async {
                    match which {
                        0 => two.mirror(keys, &format!("{round}")).await,
                        1 => two.local(keys, &format!("{round}")).await,
                        _ => bare(&two.broker, keys).await,
                    }
                })?;
                measured[which].push(latency);
            }
        }
        let n = if case == "flood" { FLOODED } else { 0 };
        for (metric, percentile) in FIGURES {
            let at = |histogram: &Histogram<u64>| histogram.value_at_percentile(percentile) as f64;
            let row = |system, histograms: &[Histogram<u64>]| {
                let row = row(format!("keys, {case}"), system, n, (metric, "us"));
                row.with_samples(histograms.iter().map(at).collect())
            };
            let nats = row("nats", &measured[2]);
            rows.push(row("fugue-nodes", &measured[0]).with_ratio_to(&nats));
            rows.extend([row("fugue-local", &measured[1]).with_ratio_to(&nats), nats]);
        }
    }
    Ok(rows)
}

impl Two {
    fn start(is_flooded: bool, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let broker = Broker::start("")?;
        let (host, watcher) = (Machine::start("h1", &broker)?, Machine::start("w1", &broker)?);
        let flood = is_flooded.then(|| flood(&host, &watcher, runtime)).transpose()?;
        Ok(Self { broker, host, watcher, _flood: flood })
    }

    async fn mirror(&self, keys: u64, mark: &str) -> anyhow::Result<Histogram<u64>> {
        let ready = self.host.directory.path().join(format!("mirror-{mark}"));
        let (_control, session) = self.host.session(&echo_program(&ready)?).await?;
        let _mirror = self.watcher.mirror(&self.host, &session).await?;
        self.type_at(&self.watcher.socket, session.id, keys, &ready).await
    }

    async fn local(&self, keys: u64, mark: &str) -> anyhow::Result<Histogram<u64>> {
        let ready = self.host.directory.path().join(format!("local-{mark}"));
        let (_control, session) = self.host.session(&echo_program(&ready)?).await?;
        self.type_at(&self.host.socket, session.id, keys, &ready).await
    }

    async fn type_at(
        &self,
        socket: &Path,
        session: fugue_server::SessionId,
        keys: u64,
        ready: &Path,
    ) -> anyhow::Result<Histogram<u64>> {
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        let mut client = Client::connect(socket).await?;
        client.attach(session, AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
        let typed = type_into(client, session, keys).await?;
        Client::connect(&self.host.socket).await?.kill(session).await?;
        Ok(typed.shown)
    }
}

/// A session that prints all the time, as fast as those that watch its mirror read.
fn flood(
    host: &Machine,
    watcher: &Machine,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<(Process, Receivers)> {
    let ready = host.directory.path().join("flood");
    let program = role_program(&["role-print", &FLOOD_BYTES.to_string(), &ready.display().to_string()])?;
    let (mut control, session) = runtime.block_on(host.session(&program))?;
    let mirror = runtime.block_on(watcher.mirror(host, &session))?;
    let mut receivers = Receivers::start(&Plan {
        address: Address::Unix(watcher.socket.clone()),
        protocol: Protocol::Fugue { session: session.id },
        readers: FLOODED,
        stalled: 0,
        round_bytes: FLOOD_BYTES,
        message_bytes: FLOOD_BYTES,
    })?;
    receivers.ready()?;
    while !ready.exists() {
        std::thread::yield_now();
    }
    runtime.block_on(control.input(session.id, "\n"))?;
    Ok((mirror, receivers))
}

/// A message to another connection, and one back: as far as a key goes, with nothing at the ends.
async fn bare(broker: &Broker, keys: u64) -> anyhow::Result<Histogram<u64>> {
    let Echo { near, keys: to, mut back, .. } = Echo::start(&broker.address).await?;
    let (keyboard, runtime) = (Keyboard::new(), tokio::runtime::Handle::current());
    let typing = tokio::task::spawn_blocking(move || {
        keyboard.type_keys(keys, || Ok(runtime.block_on(near.publish(to.clone(), "x".into()))?))
    });
    let mut screen = Screen::new(keyboard)?;
    while screen.keys < keys {
        let Some(message) = back.next().await else { anyhow::bail!("the connection is lost") };
        if message.payload == "x" {
            screen.show(1)?;
        }
    }
    typing.await??;
    Ok(screen.latency)
}
