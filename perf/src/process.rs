//! What the kernel says of a process.

use std::{fs, path::Path};

use anyhow::Context;

/// A process's resident memory, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    bytes_of(pid, "status", "VmRSS:")
}

/// The resident memory that a process shares with no other, in bytes: what one more of its kind costs.
pub(crate) fn private(pid: u32) -> anyhow::Result<f64> {
    Ok(bytes_of(pid, "smaps_rollup", "Private_Clean:")? + bytes_of(pid, "smaps_rollup", "Private_Dirty:")?)
}

fn bytes_of(pid: u32, file: &str, name: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(file))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches("kB").trim();
    Ok(kilobytes.parse::<f64>()? * 1024.0)
}
