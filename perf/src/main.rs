//! Measures fugue-server against its floor and its peers; see `perf/README.md`.

mod contest;
mod kept;
mod nodes;
mod payload;
mod peer;
mod plot;
mod process;
mod receiver;
mod role;
mod row;
mod served;
mod suite;
mod system;
mod target;
mod terminal;
mod web;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::suite::Suite;

/// Measures fugue-server against its floor and its peers, in one run, interleaved.
#[derive(Debug, Parser)]
#[command(name = "fugue-perf", version)]
struct Args {
    /// What to measure.
    #[arg(required_unless_present = "from")]
    suites: Vec<Suite>,
    /// Fewer cases and three rounds: to see that all of it works, not for figures.
    #[arg(long)]
    quick: bool,
    /// Rounds: how often each figure is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Shows rows that were kept, in place of measuring.
    #[arg(long, value_name = "FILE.csv", conflicts_with = "suites")]
    from: Vec<PathBuf>,
    /// Keeps the rows in a file, with every sample.
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Writes the rows to a file, as a JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the rows as SVG files into a directory.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

/// A thousand clients and more, and their ends of the connections.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

fn main() -> anyhow::Result<ExitCode> {
    // As which the measured servers start this file.
    if let Some(exit) = fugue_server::keeper::run() {
        return Ok(exit);
    }
    measure().map(|()| ExitCode::SUCCESS)
}

fn measure() -> anyhow::Result<()> {
    raise_descriptor_limit()?;
    if let Some(played) = role::play() {
        return played;
    }
    let args = Args::parse();
    let scale = suite::Scale { quick: args.quick, rounds: if args.quick { 3 } else { args.rounds } };
    let mut rows = Vec::new();
    for suite in Suite::chosen(&args.suites) {
        eprintln!("{suite:?} ...");
        let measured = suite.run(scale).with_context(|| format!("suite {suite:?} failed"))?;
        println!("{}", suite::table(&measured));
        rows.extend(measured);
    }
    for file in &args.from {
        let text = fs::read_to_string(file).with_context(|| format!("reading {} failed", file.display()))?;
        let kept = kept::from_csv(&text).with_context(|| format!("{} holds no rows", file.display()))?;
        println!("{}", suite::table(&kept));
        rows.extend(kept);
    }
    let verdicts = target::verdicts(&rows);
    if !verdicts.is_empty() {
        println!("{}", target::table(&verdicts));
    }
    if let Some(file) = &args.csv {
        fs::write(file, kept::to_csv(&rows)).with_context(|| format!("writing {} failed", file.display()))?;
    }
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&rows)?;
        fs::write(file, json + "\n").with_context(|| format!("writing {} failed", file.display()))?;
    }
    if let Some(directory) = &args.plot {
        plot::draw(&rows, directory)?;
    }
    Ok(())
}
