//! What the kernel says of a process.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

/// A process's resident memory, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    bytes_of(pid, "status", "VmRSS:")
}

/// The resident memory that a process shares with no other, in bytes: what one more of its kind costs.
pub(crate) fn private(pid: u32) -> anyhow::Result<f64> {
    Ok(bytes_of(pid, "smaps_rollup", "Private_Clean:")? + bytes_of(pid, "smaps_rollup", "Private_Dirty:")?)
}

/// What a process alone has written to, in bytes: what is freed with it.
pub(crate) fn private_dirty(pid: u32) -> anyhow::Result<f64> {
    bytes_of(pid, "smaps_rollup", "Private_Dirty:")
}

/// How long a process has had a processor, its own time and the kernel's for it, in ticks of 10 ms.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// The same to the nanosecond, of the threads that it has.
pub(crate) fn processor_nanos(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended since is not there.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().map_or(Ok(0), str::parse::<u64>)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The binary that is built beside this one.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("fugue-server");
    if !binary.exists() {
        bail!("{} is not built: cargo build --release", binary.display());
    }
    Ok(binary)
}

fn bytes_of(pid: u32, file: &str, name: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches("kB").trim();
    Ok(kilobytes.parse::<f64>()? * 1024.0)
}
