//! Many viewers, in a process of their own: they watch a program that prints numbered lines, and check every byte.
//!
//! The harness is told `ready` once all watch, and in the end how many were sent exactly what was printed.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;
use xxhash_rust::xxh3::Xxh3;

use super::{Page, Place};
use crate::payload::numbered_lines;

/// How long everything may take before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ViewerPlan {
    pub(crate) place: Place,
    pub(crate) readers: usize,
    /// Viewers that read nothing once they watch, and so acknowledge nothing.
    pub(crate) stalled: usize,
    /// How many bytes the program prints as numbered lines; none if it prints something else, and forever.
    pub(crate) bytes: Option<u64>,
}

/// The harness's end. Kills the process when dropped.
pub(crate) struct Viewers {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Viewers {
    /// Starts the process, and waits until all watch.
    pub(crate) fn start(plan: &ViewerPlan) -> anyhow::Result<Self> {
        Self::start_as("role-view", plan)
    }

    /// The same of other viewers, whose process is this binary in this role.
    pub(crate) fn start_as(role: &str, plan: &impl Serialize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([role, &serde_json::to_string(plan)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the viewers failed")?;
        let lines = BufReader::new(process.stdout.take().context("no output")?);
        let mut viewers = Self { process, lines };
        match viewers.line()?.as_str() {
            "ready" => Ok(viewers),
            other => bail!("the viewers said {other:?} before they were ready"),
        }
    }

    /// Waits until all that read have everything. Returns how many of them have exactly what was printed.
    pub(crate) fn right(&mut self) -> anyhow::Result<usize> {
        let line = self.line()?;
        let right = line.strip_prefix("right ").with_context(|| format!("the viewers said {line:?}"))?;
        Ok(right.parse()?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        // It may have failed and be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process itself.
pub(crate) fn run(plan: &str) -> anyhow::Result<()> {
    let plan: ViewerPlan = serde_json::from_str(plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let viewing = tokio::time::timeout(PATIENCE, view(&plan));
        viewing.await.context("it takes too long")?
    }))
}

async fn view(plan: &ViewerPlan) -> anyhow::Result<()> {
    let mut stalled = Vec::new();
    let mut readers = Vec::new();
    // In turn, so that neither kind comes first.
    for number in 0..plan.readers.max(plan.stalled) {
        if number < plan.stalled {
            stalled.push(Page::open(&plan.place).await?);
        }
        if number < plan.readers {
            readers.push(Page::open(&plan.place).await?);
        }
    }
    let wanted = plan.bytes.map(hash_of_lines);
    say("ready")?;
    let bytes = plan.bytes.unwrap_or(u64::MAX);
    let reading: Vec<_> =
        readers.into_iter().map(|page| tokio::task::spawn_local(read(page, bytes))).collect();
    let mut right = 0;
    for reader in reading {
        right += usize::from(Some(reader.await??) == wanted);
    }
    say(&format!("right {right}"))?;
    // Those that stalled go with the harness's end, so that what they cost can be seen.
    std::future::pending().await
}

/// Reads so many bytes; returns their hash.
async fn read(mut page: Page, bytes: u64) -> anyhow::Result<u64> {
    let (mut hash, mut read) = (Xxh3::new(), 0);
    while read < bytes {
        let output = page.next().await?;
        hash.update(&output);
        read += output.len() as u64;
    }
    anyhow::ensure!(read == bytes, "{read} bytes came, not {bytes}");
    Ok(hash.digest())
}

/// Of so many bytes of numbered lines.
pub(crate) fn hash_of_lines(bytes: u64) -> u64 {
    let mut hash = Xxh3::new();
    let mut at = 0;
    while at < bytes {
        let piece = numbered_lines(at, bytes.saturating_sub(at));
        hash.update(&piece);
        at += piece.len() as u64;
    }
    hash.digest()
}

/// Says a line to the harness.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
