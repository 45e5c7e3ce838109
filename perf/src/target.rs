//! The targets: which system's figure over which other's, and how much or little that may be.

use comfy_table::{Table, presets::NOTHING};

use crate::{
    row::{Row, Spread},
    suite::readable,
};

/// Where a ratio, or a figure, should lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

/// A target, as data. An empty `under` bounds the figure itself.
#[derive(Debug)]
pub(crate) struct Target {
    suite: &'static str,
    /// Equal to a row's case.
    case: &'static str,
    metric: &'static str,
    over: &'static str,
    under: &'static str,
    /// The first and the last `n` it is for.
    n: (u64, u64),
    bound: Bound,
}

const EVERY_N: (u64, u64) = (0, u64::MAX);

const fn ratio(
    (suite, case, metric): (&'static str, &'static str, &'static str),
    over: &'static str,
    under: &'static str,
    n: (u64, u64),
    bound: Bound,
) -> Target {
    Target { suite, case, metric, over, under, n, bound }
}

const fn figure(
    (suite, case, metric): (&'static str, &'static str, &'static str),
    system: &'static str,
    bound: Bound,
) -> Target {
    Target { suite, case, metric, over: system, under: "", n: EVERY_N, bound }
}

const ALLOCATIONS: (&str, &str, &str) = ("allocations", "payload=4KiB", "allocations");
const ATTACH: (&str, &str, &str) = ("commands", "attach to first screen", "ms");
const COLD_START: (&str, &str, &str) = ("commands", "cold start", "ms");
const DELIVERY: (&str, &str, &str) = ("delivery", "burst=32,receivers", "ns_per_delivery");
const ECHO_FLOOD: (&str, &str, &str) = ("echo", "flood", "latency_us_p99");
const ECHO_IDLE: (&str, &str, &str) = ("echo", "idle", "latency_us_p99");
const IDLE_CLIENT: (&str, &str, &str) = ("memory", "idle", "bytes_per_client");
const PTY: (&str, &str, &str) = ("pty", "viewers", "mib_per_s");
const SOCKETS: (&str, &str, &str) = ("fanout", "payload=64KiB", "mib_per_s");
const STALL_MEMORY: (&str, &str, &str) = ("stall", "stalled=8,memory", "seconds_over_alone");
const WEB_STALL: (&str, &str, &str) = ("web", "stalled=128", "speed_over_alone");
const WEB_WATCHING: (&str, &str, &str) = ("web", "alone", "mib_per_s");
const STALL_PTY: (&str, &str, &str) = ("stall", "stalled=8,pty", "seconds_over_alone");
const FAN_OUT: (&str, &str, &str) = ("registry", "payload=4KiB", "ns_per_delivery");

const TARGETS: &[Target] = &[
    ratio(FAN_OUT, "fugue-publisher", "floor", (1, 1), Bound::AtMost(1.30)),
    ratio(FAN_OUT, "fugue-publisher", "floor", (4, u64::MAX), Bound::AtMost(1.08)),
    ratio(FAN_OUT, "fugue-broadcast", "floor", (1, 1), Bound::AtMost(2.0)),
    ratio(FAN_OUT, "fugue-broadcast", "floor", (4, 4), Bound::AtMost(1.45)),
    ratio(FAN_OUT, "fugue-broadcast", "floor", (16, u64::MAX), Bound::AtMost(1.12)),
    ratio(FAN_OUT, "two-dashmaps", "fugue-publisher", (4, 1024), Bound::AtLeast(1.7)),
    // Above sixteen members a map's own cost is lost in the channels', so there it may be as fast, and no more.
    ratio(FAN_OUT, "dashmap-guard", "fugue-publisher", (1, 16), Bound::AtLeast(1.0)),
    ratio(FAN_OUT, "dashmap-guard", "fugue-publisher", (17, u64::MAX), Bound::AtLeast(0.97)),
    ratio(FAN_OUT, "rwlock-hashmap", "fugue-publisher", (1, 16), Bound::AtLeast(1.0)),
    ratio(FAN_OUT, "rwlock-hashmap", "fugue-publisher", (17, u64::MAX), Bound::AtLeast(0.97)),
    ratio(FAN_OUT, "papaya", "fugue-publisher", (1, 16), Bound::AtLeast(1.0)),
    ratio(FAN_OUT, "papaya", "fugue-publisher", (17, u64::MAX), Bound::AtLeast(0.97)),
    ratio(FAN_OUT, "scc", "fugue-publisher", (1, 16), Bound::AtLeast(1.0)),
    ratio(FAN_OUT, "scc", "fugue-publisher", (17, u64::MAX), Bound::AtLeast(0.97)),
    ratio(FAN_OUT, "fugue-burst32", "floor", (1, 1024), Bound::AtMost(0.90)),
    ratio(FAN_OUT, "fugue-burst32", "floor", (10_000, 10_000), Bound::AtMost(0.50)),
    ratio(DELIVERY, "fugue-burst", "tokio-broadcast", (1000, 1000), Bound::AtMost(0.95)),
    ratio(DELIVERY, "fugue-burst", "fugue-publisher", (1000, 1000), Bound::AtMost(0.45)),
    ratio(("membership", "joins", "ns_per_join"), "fugue", "two-dashmaps", EVERY_N, Bound::AtMost(1.0)),
    ratio(("membership", "joins", "ns_per_join"), "fugue-broadcasting", "fugue", EVERY_N, Bound::AtMost(3.0)),
    ratio(("membership", "leaving", "ns_per_leave"), "fugue", "two-dashmaps", EVERY_N, Bound::AtMost(1.0)),
    ratio(("membership", "churn", "per_second"), "fugue", "two-dashmaps", EVERY_N, Bound::AtLeast(1.2)),
    ratio(SOCKETS, "fugue", "floor", (1, 64), Bound::AtLeast(0.95)),
    ratio(SOCKETS, "fugue", "floor", (256, 256), Bound::AtLeast(0.85)),
    ratio(SOCKETS, "fugue", "tokio-broadcast", EVERY_N, Bound::AtLeast(1.0)),
    ratio(SOCKETS, "fugue", "mosquitto", EVERY_N, Bound::AtLeast(1.25)),
    ratio(SOCKETS, "fugue", "redis", EVERY_N, Bound::AtLeast(1.3)),
    ratio(SOCKETS, "fugue", "nats", EVERY_N, Bound::AtLeast(3.0)),
    ratio(PTY, "fugue", "floor", EVERY_N, Bound::AtLeast(0.9)),
    figure(STALL_MEMORY, "fugue", Bound::AtMost(1.05)),
    figure(STALL_PTY, "fugue", Bound::AtMost(1.05)),
    figure(WEB_STALL, "fugue", Bound::AtLeast(0.9)),
    ratio(WEB_WATCHING, "fugue", "terminado", EVERY_N, Bound::AtLeast(1.0)),
    figure(ECHO_IDLE, "fugue", Bound::AtMost(1000.0)),
    figure(ECHO_FLOOD, "fugue", Bound::AtMost(5000.0)),
    // As they were before there were settings to be read: 7 ms against 9, 14 against 21.
    ratio(ATTACH, "fugue", "tmux", EVERY_N, Bound::AtMost(0.80)),
    ratio(COLD_START, "fugue", "tmux", EVERY_N, Bound::AtMost(0.70)),
    // One client's share of what a first connection makes a server set up says nothing.
    ratio(IDLE_CLIENT, "fugue", "", (1000, u64::MAX), Bound::AtMost(3072.0)),
    figure(ALLOCATIONS, "fugue-publisher", Bound::AtMost(0.0)),
    figure(ALLOCATIONS, "fugue-broadcast", Bound::AtMost(0.0)),
    figure(ALLOCATIONS, "fugue-burst32", Bound::AtMost(0.0)),
];

/// A target beside what was measured for it.
#[derive(Debug)]
pub(crate) struct Verdict {
    target: &'static Target,
    n: u64,
    measured: Spread,
}

/// One verdict for each target and each `n` that was measured.
pub(crate) fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in TARGETS {
        let is_for = |row: &&Row| {
            (row.suite, row.case.as_str(), row.metric) == (target.suite, target.case, target.metric)
                && (target.n.0..=target.n.1).contains(&row.n)
        };
        for over in rows.iter().filter(is_for).filter(|row| row.system == target.over) {
            let under = rows.iter().filter(is_for).find(|row| row.n == over.n && row.system == target.under);
            let measured = match under {
                _ if target.under.is_empty() => Spread::of(over.samples.clone()),
                Some(under) => over.over(under),
                None => None,
            };
            verdicts.extend(measured.map(|measured| Verdict { target, n: over.n, measured }));
        }
    }
    verdicts
}

pub(crate) fn table(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["target", "case", "n", "asked", "measured", "min..max", ""]);
    for Verdict { target, n, measured } in verdicts {
        let Spread { median, min, max } = *measured;
        let asked = match target.bound {
            Bound::AtMost(bound) => format!("<= {bound}"),
            Bound::AtLeast(bound) => format!(">= {bound}"),
        };
        let what = match target.under {
            "" => format!("{} {}", target.over, target.metric),
            under => format!("{} / {under}", target.over),
        };
        table.add_row([
            what,
            format!("{} {}", target.suite, target.case),
            n.to_string(),
            asked,
            format!("{median:.2}"),
            format!("{}..{}", readable(min), readable(max)),
            if target.bound.holds(median) { "met" } else { "NOT MET" }.to_owned(),
        ]);
    }
    table
}
