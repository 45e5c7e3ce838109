//! What the two runs showed, for people and for programs.

use std::{fmt, fs, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Args, viewers::Run};

const MIB: f64 = 1024.0 * 1024.0;

/// The JSON object, field by field.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    viewers: usize,
    stalled: usize,
    bytes: u64,
    /// Every reader got the whole stream, by offset and hash.
    pub(super) verified: bool,
    lost_bytes: u64,
    seconds: f64,
    pty_mib_per_s: f64,
    baseline_seconds: f64,
    baseline_mib_per_s: f64,
    /// All readers together.
    delivered_mib_per_s: f64,
    latency_us: Latency,
    /// A keystroke's way to a program and back, in another session: with nothing else going on, and during the flood.
    echo_idle_us: Option<Latency>,
    echo_flood_us: Option<Latency>,
    /// Stalled viewers that were woken, and the gaps they were told of.
    woken: usize,
    woken_gaps: usize,
    /// Placed in clients' queues, and skipped because they were full (found in the history then).
    messages: u64,
    messages_skipped: u64,
    /// Writes to sockets.
    writes: u64,
    peak_rss_bytes: Option<u64>,
    shards: usize,
    #[serde(skip)]
    pub(super) problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(times: &Histogram<u64>) -> Self {
        let percentile = |at| times.value_at_quantile(at);
        Self {
            count: times.len(),
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            p999: percentile(0.999),
            max: times.max(),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max, .. } = self;
        write!(f, "{p50} / {p90} / {p99} / {p999} / {max} µs")
    }
}

impl Report {
    pub(super) fn new(args: &Args, baseline: Duration, run: Run) -> Self {
        let mib = args.bytes.0 as f64 / MIB;
        let readers = run.readers.len();
        Self {
            viewers: args.viewers,
            stalled: args.stalled,
            bytes: args.bytes.0 as u64,
            verified: readers == args.viewers - args.stalled
                && run.readers.iter().all(|reader| reader.verified)
                && run.woken.iter().all(|woken| woken.problem.is_none()),
            lost_bytes: run.readers.iter().map(|reader| reader.lost).sum(),
            seconds: run.took.as_secs_f64(),
            pty_mib_per_s: mib / run.took.as_secs_f64(),
            baseline_seconds: baseline.as_secs_f64(),
            baseline_mib_per_s: mib / baseline.as_secs_f64(),
            delivered_mib_per_s: mib * readers as f64 / run.took.as_secs_f64(),
            latency_us: Latency::from(&run.latency),
            echo_idle_us: run.echo.as_ref().map(|(idle, _)| idle.into()),
            echo_flood_us: run.echo.as_ref().map(|(_, flood)| flood.into()),
            woken: run.woken.len(),
            woken_gaps: run.woken.iter().map(|woken| woken.gaps).sum(),
            messages: run.stats.messages_sent,
            messages_skipped: run.stats.messages_skipped,
            writes: run.stats.writes,
            peak_rss_bytes: peak_rss(),
            shards: run.stats.clients_per_shard.len(),
            problems: {
                let readers = run.readers.into_iter().filter_map(|reader| reader.problem);
                readers.chain(run.woken.into_iter().filter_map(|woken| woken.problem)).collect()
            },
        }
    }

    pub(super) fn table(&self) -> String {
        let mut table = super::super::table(["WHAT", "VALUE", "NOTE"]);
        let readers = self.viewers - self.stalled;
        let rss = self
            .peak_rss_bytes
            .map_or_else(|| "unknown".to_owned(), |rss| format!("{:.1} MiB", rss as f64 / MIB));
        let mut rows = vec![
            ("viewers", format!("{readers} reading, {} stalled", self.stalled), "on a connection each"),
            ("printed", format!("{:.1} MiB", self.bytes as f64 / MIB), "by a program on a PTY"),
            (
                "verified",
                if self.verified { "yes" } else { "NO" }.to_owned(),
                "every reader, by offset and hash",
            ),
            ("lost", format!("{} bytes", self.lost_bytes), "of all readers"),
            ("time", format!("{:.3} s", self.seconds), "until the last reader had the last byte"),
            ("PTY", format!("{:.1} MiB/s", self.pty_mib_per_s), "to each reader"),
            (
                "baseline",
                format!("{:.1} MiB/s", self.baseline_mib_per_s),
                "a bare loop of read and write_all, just before",
            ),
            (
                "ratio",
                format!("{:.2}", self.pty_mib_per_s / self.baseline_mib_per_s),
                "PTY over baseline; above 1 is faster than the bare loop",
            ),
            ("delivered", format!("{:.1} MiB/s", self.delivered_mib_per_s), "to all readers together"),
            (
                "latency",
                self.latency_us.to_string(),
                "p50 / p90 / p99 / p99.9 / max, read to received, under this flood",
            ),
            (
                "messages",
                format!("{} queued, {} skipped", self.messages, self.messages_skipped),
                "skipped: read from history",
            ),
            ("writes", self.writes.to_string(), "to sockets"),
            ("peak memory", rss, "server and viewers together"),
            ("shards", self.shards.to_string(), ""),
        ];
        let keystrokes = "a keystroke and back: p50 / p90 / p99 / p99.9 / max";
        for (name, echo) in [("echo, idle", &self.echo_idle_us), ("echo, flood", &self.echo_flood_us)] {
            if let Some(times) = echo {
                rows.push((name, times.to_string(), keystrokes));
            }
        }
        if self.woken > 0 {
            let shown = format!("{} viewers, {} gaps", self.woken, self.woken_gaps);
            rows.push(("woken", shown, "stalled viewers that read in the end and show the true screen"));
        }
        for (name, value, note) in rows {
            table.add_row([name, &value, note]);
        }
        table.trim_fmt() + "\n"
    }
}

/// The most memory this process has had resident, where the system says.
fn peak_rss() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
