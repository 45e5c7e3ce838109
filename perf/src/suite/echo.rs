//! Keystroke to screen: one byte typed at fixed times, whatever became of the last (an open loop), until it is back.
//! Latency is counted from the moment it should have been typed, so that a stall is charged to all that it delayed.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;
use fugue_server::{
    Server,
    client::Incoming,
    message::{Attach, ClientMessage, OnLag, StartAt, Target, View},
};
use hdrhistogram::Histogram;

use crate::{
    receiver::{Address, Plan, Protocol, Receivers},
    row::Row,
    suite::Scale,
    terminal::{create, role_program},
};

/// Between two keystrokes.
const PAUSE: Duration = Duration::from_millis(4);
const VIEWERS: usize = 16;
/// More than is printed while the keys are typed.
const FLOOD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

const FIGURES: [(&str, f64); 5] = [
    ("latency_us_p50", 50.0),
    ("latency_us_p90", 90.0),
    ("latency_us_p99", 99.0),
    ("latency_us_p99.9", 99.9),
    ("latency_us_max", 100.0),
];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let keys = if scale.quick { 250 } else { 2000 };
    let cases = ["idle", "flood"];
    let mut histograms = [Vec::new(), Vec::new()];
    for _ in 0..scale.rounds {
        for (case, histograms) in cases.iter().zip(&mut histograms) {
            histograms.push(measure(*case == "flood", keys)?);
        }
    }
    let mut rows = Vec::new();
    for (case, histograms) in cases.iter().zip(&histograms) {
        for (metric, percentile) in FIGURES {
            let at = |histogram: &Histogram<u64>| histogram.value_at_percentile(percentile) as f64;
            let row = Row {
                suite: "echo",
                case: (*case).to_owned(),
                system: "fugue",
                n: if *case == "flood" { VIEWERS as u64 } else { 0 },
                metric,
                unit: "us",
                ..Row::default()
            };
            rows.push(row.with_samples(histograms.iter().map(at).collect()));
        }
    }
    Ok(rows)
}

fn measure(flood: bool, keys: u64) -> anyhow::Result<Histogram<u64>> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let runtime = crate::system::runtime()?;
    let inside = runtime.enter();
    runtime.spawn(Server::builder(&socket).bind()?.serve(std::future::pending()));
    drop(inside);
    let _flood = if flood { Some(start_flood(directory.path(), &socket, &runtime)?) } else { None };
    // Of its own, as a client is another process.
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    client.block_on(type_keys(directory.path(), &socket, keys))
}

fn start_flood(
    directory: &Path,
    socket: &Path,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<Receivers> {
    let ready = directory.join("flood-ready").display().to_string();
    let program = role_program(&["role-print", &FLOOD_BYTES.to_string(), &ready])?;
    let (mut control, session) = runtime.block_on(create(socket, &program))?;
    let mut receivers = Receivers::start(&Plan {
        address: Address::Unix(socket.to_owned()),
        protocol: Protocol::Fugue { session },
        readers: VIEWERS,
        stalled: 0,
        round_bytes: FLOOD_BYTES,
        message_bytes: FLOOD_BYTES,
    })?;
    receivers.ready()?;
    while !Path::new(&ready).exists() {
        std::thread::yield_now();
    }
    runtime.block_on(control.request(&ClientMessage::Input { session, data: "\n".into() }))?;
    Ok(receivers)
}

async fn type_keys(directory: &Path, socket: &Path, keys: u64) -> anyhow::Result<Histogram<u64>> {
    let ready = directory.join("echo-ready");
    let program = role_program(&["role-echo", &ready.display().to_string()])?;
    let (mut client, session) = create(socket, &program).await?;
    let view = View::new(StartAt::Oldest, OnLag::Lossless);
    client.attach(&ClientMessage::Attach(Attach { session: Target::Id(session), view })).await?;
    while !ready.exists() {
        tokio::task::yield_now().await;
    }
    let (mut requests, mut incoming, _) = client.into_split();
    let begin = Instant::now() + PAUSE;
    let due = move |key: u64| begin + PAUSE * u32::try_from(key).unwrap_or(u32::MAX);
    let runtime = tokio::runtime::Handle::current();
    // A thread, for tokio's clock ticks in milliseconds.
    let typing = tokio::task::spawn_blocking(move || {
        for key in 0..keys {
            std::thread::sleep(due(key).saturating_duration_since(Instant::now()));
            let press = ClientMessage::Input { session, data: "x".into() };
            runtime.block_on(requests.send(&press))?;
        }
        anyhow::Ok(requests)
    });
    let mut latency = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    let mut shown = 0;
    while shown < keys {
        if let Incoming::Output { offset, data } = incoming.next().await? {
            if offset != shown {
                bail!("the echo of key {shown} came as byte {offset}");
            }
            let now = Instant::now();
            for key in shown..shown + data.len() as u64 {
                let micros = now.saturating_duration_since(due(key)).as_micros();
                latency.saturating_record(u64::try_from(micros)?.max(1));
            }
            shown += data.len() as u64;
        }
    }
    typing.await??;
    Ok(latency)
}
