//! Keystroke to screen in a browser: as suite `echo`, through a gateway and a websocket; and in the page itself.

use std::{path::Path, process::Command};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

use super::echo::{Keyboard, Screen, Typed, echo_program, histogram, type_to_fugue};
use crate::{
    row::Row,
    suite::Scale,
    terminal::role_program,
    web::{Page, Shown, System, ViewerPlan, Viewers},
};

const VIEWERS: usize = 16;
/// More than is printed while the keys are typed.
const FLOOD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Over which way a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A websocket of a system.
    Web(System),
    /// The socket of the server behind our gateway.
    Socket,
    /// Our page, in Chromium.
    Browser,
}

const WAYS: [(&str, Way); 6] = [
    ("floor", Way::Web(System::Bare)),
    ("fugue", Way::Web(System::Fugue)),
    ("fugue-socket", Way::Socket),
    ("fugue-chromium", Way::Browser),
    ("terminado", Way::Web(System::Terminado)),
    ("pyxtermjs", Way::Web(System::Pyxtermjs)),
];

const FIGURES: [(&str, f64); 3] =
    [("latency_us_p50", 50.0), ("latency_us_p99", 99.0), ("latency_us_max", 100.0)];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let keys = if scale.quick { 100 } else { 1000 };
    let mut rows = Vec::new();
    for case in ["idle", "flood"] {
        let mut measured: [Result<Vec<Typed>, String>; WAYS.len()] = std::array::from_fn(|_| Ok(Vec::new()));
        for round in 0..scale.rounds {
            for turn in 0..WAYS.len() {
                let at = (round + turn) % WAYS.len();
                let Ok(rounds) = &mut measured[at] else { continue };
                match measure(WAYS[at].1, case == "flood", keys) {
                    Ok(typed) => rounds.push(typed),
                    Err(error) => measured[at] = Err(format!("{error:#}")),
                }
            }
        }
        rows.extend(rows_of(case, &measured));
    }
    Ok(rows)
}

fn rows_of(case: &str, measured: &[Result<Vec<Typed>, String>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (metric, percentile) in FIGURES {
        let at = |histogram: &Histogram<u64>| histogram.value_at_percentile(percentile) as f64;
        let row = |system, samples| {
            let n = if case == "flood" { VIEWERS as u64 } else { 0 };
            let case = case.to_owned();
            Row { suite: "web-echo", case, system, n, metric, unit: "us", ..Row::default() }
                .with_samples(samples)
        };
        let mut floor = None;
        for ((system, way), measured) in WAYS.iter().zip(measured) {
            let typed = match measured {
                Ok(typed) => typed,
                Err(reason) => {
                    rows.push(Row { reason: Some(reason.clone()), ..row(system, Vec::new()) });
                    continue;
                }
            };
            let shown = row(system, typed.iter().map(|typed| at(&typed.shown)).collect());
            let floor = floor.get_or_insert_with(|| shown.clone());
            rows.push(shown.with_ratio_to(floor));
            // How late the harness typed is in it.
            if *way == Way::Web(System::Fugue) {
                rows.push(row("harness", typed.iter().map(|typed| at(&typed.late)).collect()));
            }
        }
    }
    rows
}

fn measure(way: Way, flood: bool, keys: u64) -> anyhow::Result<Typed> {
    let directory = tempfile::tempdir()?;
    let ready = directory.path().join("echo-ready");
    let mut programs = vec![echo_program(&ready)?];
    let flood_ready = directory.path().join("flood-ready");
    if flood {
        let (bytes, ready) = (FLOOD_BYTES.to_string(), flood_ready.display().to_string());
        programs.push(role_program(&["role-print", &bytes, &ready])?);
    }
    let system = if let Way::Web(system) = way { system } else { System::Fugue };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shown = Shown::start(system, directory.path(), &programs, &runtime)?;
    let _viewers = if flood { Some(begin_flood(&shown, &flood_ready, &runtime)?) } else { None };
    match way {
        Way::Web(_) => runtime.block_on(type_to_page(&shown, &ready, keys)),
        Way::Socket => {
            let (_, socket) = shown.server.as_ref().context("no server")?;
            // Of its own, for a program of its own.
            let directory = tempfile::tempdir()?;
            runtime.block_on(type_to_fugue(directory.path(), socket, keys))
        }
        Way::Browser => type_in_browser(&shown, keys.min(200)),
    }
}

fn begin_flood(shown: &Shown, ready: &Path, runtime: &Runtime) -> anyhow::Result<Viewers> {
    let place = shown.programs[1].watch.clone();
    let viewers = Viewers::start(&ViewerPlan { place, readers: VIEWERS, stalled: 0, bytes: None })?;
    while !ready.exists() {
        std::thread::yield_now();
    }
    shown.begin(1, runtime)?;
    Ok(viewers)
}

async fn type_to_page(shown: &Shown, ready: &Path, keys: u64) -> anyhow::Result<Typed> {
    let mut page = Page::open(&shown.programs[0].typing).await?;
    while !ready.exists() {
        tokio::task::yield_now().await;
    }
    let mut typist = page.keys();
    let keyboard = Keyboard::new();
    let runtime = tokio::runtime::Handle::current();
    // A thread, for tokio's clock ticks in milliseconds.
    let typing = tokio::task::spawn_blocking(move || {
        keyboard.type_keys(keys, || runtime.block_on(typist.type_in(b"x")))
    });
    let mut screen = Screen::new(keyboard)?;
    while screen.keys < keys {
        let echo = page.next().await?;
        ensure!(echo.iter().all(|byte| *byte == b'x'), "what came is no echo: {echo:?}");
        screen.show(echo.len())?;
    }
    Ok(Typed { shown: screen.latency, late: typing.await?? })
}

/// One key after another, each once the one before is shown.
fn type_in_browser(shown: &Shown, keys: u64) -> anyhow::Result<Typed> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/web.mjs");
    let url = shown.programs[0].typing.link().context("it has no link")?;
    let mut node = Command::new("node");
    let output = node.args([script, &url, &keys.to_string()]).output();
    let output = output.context("not installed; Debian's nodejs, npm and chromium bring what it takes")?;
    if !output.status.success() {
        bail!("the browser: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default());
    }
    let took: Vec<f64> = serde_json::from_slice(&output.stdout)?;
    let (mut latency, late) = (histogram()?, histogram()?);
    for micros in took {
        latency.saturating_record(micros as u64);
    }
    Ok(Typed { shown: latency, late })
}
