//! `bench`: the main job, measured and verified. A program on a real PTY prints a known stream at full speed; a server
//! broadcasts it to viewers on real connections, some of which may never read; each reader's bytes are checked by
//! offset and by hash. Just before, a bare loop does the same for as many readers: the baseline.

mod baseline;
mod echo;
mod program;
mod report;
mod stream;
mod viewers;

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::timeout;

pub(super) use self::program::{ChildArgs, run_child};
use self::{report::Report, stream::Expected};
use super::{
    Exit, Globals,
    bytes::ByteCount,
    log::{self, LogFormat, LogSink},
    print, print_error, print_json,
};

/// Enough that starting and ending do not count.
const BURST: ByteCount = ByteCount(64 << 20);

/// As many as a team has, and more than a machine has cores.
const VIEWERS: usize = 16;

/// A hundred times as long as it takes.
const TIMEOUT_SECONDS: u64 = 120;

/// Measures a burst from a real PTY to many viewers, and checks every byte
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 if every reader got every byte, else 1.")]
pub(super) struct Args {
    /// How much the program prints
    #[arg(long, value_name = "BYTES", default_value_t = BURST)]
    bytes: ByteCount,
    /// Viewers, on a connection each
    #[arg(long, value_name = "N", default_value_t = VIEWERS)]
    viewers: usize,
    /// How many of them attach and never read; the others are lossless
    #[arg(long, value_name = "K", default_value_t)]
    stalled: usize,
    /// The stalled ones read in the end, and must show the true screen
    #[arg(long)]
    wake: bool,
    /// Time keystrokes in another session as well, before the flood and during it
    #[arg(long)]
    echo: bool,
    /// Shards of the client registry, a power of two from 1 to 4096 [default: 128 per hardware thread]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Give up after this long, in each of the two runs
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT_SECONDS)]
    timeout: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    if args.stalled >= args.viewers {
        bail!("--stalled {} leaves none of {} viewers to read; choose fewer", args.stalled, args.viewers);
    }
    log::start(common.log, LogFormat::Text, LogSink::Stderr);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&args));
    // Nothing in the runtime is worth waiting for: a stalled viewer waits forever.
    runtime.shutdown_background();
    let report = report?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.table())?
    }
    for problem in &report.problems {
        print_error(format_args!("{problem}"));
    }
    Ok(if report.verified { Exit::SUCCESS } else { Exit::FAILURE })
}

/// Makes both runs, each within the time limit.
async fn measure(args: &Args) -> anyhow::Result<Report> {
    let limit = Duration::from_secs(args.timeout);
    let bytes = args.bytes.0 as u64;
    let expected = tokio::task::spawn_blocking(move || Expected::of(bytes));
    let expected = timeout(limit, expected).await.context("making the stream to expect took too long")??;

    let bar = progress("baseline", args.bytes.0);
    let baseline = baseline::run(expected, args.viewers - args.stalled, limit, &bar);
    let baseline = baseline.await.context("measuring the baseline failed")?;
    let bar = progress("fugue", args.bytes.0);
    let run = viewers::run(args, expected, limit, &bar).await.context("the measured run failed")?;
    bar.finish_and_clear();
    Ok(Report::new(args, baseline, run))
}

fn progress(what: &'static str, bytes: usize) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template(
        "{prefix:>10} {wide_bar} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}",
    );
    let bar = ProgressBar::with_draw_target(Some(bytes as u64), target).with_prefix(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
