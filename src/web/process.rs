//! What this process takes of the system: descriptors and memory, as `/proc` tells.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Each of them, where the system tells.
#[derive(Debug)]
pub(super) struct ProcessFigures {
    /// Open ones.
    pub(super) descriptors: Option<u64>,
    /// What may be open at once; `None` without a limit.
    pub(super) max_descriptors: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
}

impl ProcessFigures {
    pub(super) fn now() -> Self {
        // The one that lists them is among those listed.
        let descriptors =
            fs::read_dir("/proc/self/fd").ok().map(|open| open.count().saturating_sub(1) as u64);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            descriptors,
            max_descriptors: getrlimit(Resource::Nofile).current,
            resident_bytes: resident_bytes(&status),
        }
    }
}

/// The line of `/proc/self/status` that says it, in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_memory_are_those_of_this_process() {
        let before = ProcessFigures::now();
        assert!(before.descriptors > Some(2) && before.descriptors < before.max_descriptors, "{before:?}");
        assert!(before.resident_bytes > Some(1 << 20), "{before:?}");
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12 << 10));
        assert_eq!(resident_bytes("VmRSS: many"), None);
    }
}
