//! Signals that the tests were started to ignore, as by `nohup` or in the background of a script.

use tokio::signal::unix::{SignalKind, signal};

/// Makes programs of embedded servers die of SIGHUP and SIGINT.
///
/// A program that is executed ignores what its parent ignores. It does not ignore what its parent handles, so signals
/// that are ignored get a handler that does nothing. Signals that are not ignored stay as they are.
pub(crate) fn stop_ignoring() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    for kind in [SignalKind::hangup(), SignalKind::interrupt()] {
        if ignored & 1 << (kind.as_raw_value() - 1) != 0 {
            // The handler stays when what hears of the signal goes.
            drop(signal(kind).unwrap());
        }
    }
}
