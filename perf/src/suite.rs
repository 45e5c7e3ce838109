//! The suites, each a file of its own that returns rows.

mod allocations;
mod commands;
mod delivery;
mod echo;
mod fanout;
mod membership;
mod memory;
mod nodes;
mod outages;
mod pictures;
mod pty;
mod registry;
mod scale;
mod sessions;
mod shards;
mod stall;
mod web;
mod web_echo;

use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{Table, presets::NOTHING};

use crate::row::Row;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
}

impl Scale {
    /// `all` of them, or every other one when in a hurry, the first among them.
    pub(crate) fn pick(self, all: &[usize]) -> Vec<usize> {
        all.iter().copied().step_by(if self.quick { 2 } else { 1 }).collect()
    }

    /// How much timed work makes one sample: enough that a clock's reading and a passing disturbance are small in it.
    pub(crate) fn at_least(self) -> Duration {
        Duration::from_millis(if self.quick { 4 } else { 30 })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// In-process fan-out: what the registry adds to the channels.
    Registry,
    /// Whole servers on sockets, fed from memory.
    Fanout,
    /// A real PTY and its lossless viewers.
    Pty,
    /// Viewers that never read, and what they cost those that do.
    Stall,
    /// Keystroke to screen, idle and beside a flood.
    Echo,
    /// Viewers in browsers, half of which never read.
    Web,
    /// Keystroke to screen, in a browser.
    WebEcho,
    /// Sessions of other machines, over nats-server.
    Nodes,
    /// How long a person waits for a command, and for the first screen.
    Commands,
    /// What a restart and a lost line cost who types, and what keeping programs costs.
    Outages,
    /// What a client costs the server.
    Memory,
    /// What a session costs the server.
    Sessions,
    /// Terminals of another size than their session's.
    Pictures,
    /// The same with receiving tasks.
    Delivery,
    /// Every operation under contention, by shard count.
    Shards,
    /// Joining and leaving.
    Membership,
    /// A delivery's cost as members, sessions and clients grow.
    Scale,
    /// What a broadcast allocates.
    Allocations,
    /// Every suite.
    All,
}

impl Suite {
    /// What was asked for, once each.
    pub(crate) fn chosen(asked: &[Self]) -> Vec<Self> {
        let every = Self::value_variants().iter().copied().filter(|suite| *suite != Self::All);
        every.filter(|suite| asked.contains(suite) || asked.contains(&Self::All)).collect()
    }

    pub(crate) fn run(self, scale: Scale) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Registry => registry::run(scale),
            Self::Fanout => fanout::run(scale),
            Self::Pty => pty::run(scale),
            Self::Stall => stall::run(scale),
            Self::Echo => echo::run(scale),
            Self::Web => web::run(scale),
            Self::WebEcho => web_echo::run(scale),
            Self::Nodes => nodes::run(scale),
            Self::Commands => commands::run(scale),
            Self::Outages => outages::run(scale),
            Self::Memory => memory::run(scale),
            Self::Sessions => sessions::run(scale),
            Self::Pictures => pictures::run(scale),
            Self::Delivery => delivery::run(scale),
            Self::Shards => shards::run(scale),
            Self::Membership => membership::run(scale),
            Self::Scale => scale::run(scale),
            Self::Allocations => allocations::run(scale),
            Self::All => Ok(Vec::new()),
        }
    }
}

/// Rows for people.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["case", "n", "system", "median", "min..max", "metric", "ratio", "min..max", "to"]);
    for row in rows {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), readable);
        let span = |min, max| format!("{}..{}", figure(min), figure(max));
        let mut cells = vec![row.case.clone(), row.n.to_string(), row.system.to_owned(), figure(row.median)];
        match &row.reason {
            Some(reason) => cells.push(reason.clone()),
            None => cells.extend([span(row.min, row.max), row.metric.to_owned()]),
        }
        if let Some(to) = row.ratio_to.filter(|to| *to != row.system) {
            cells.extend([figure(row.ratio), span(row.ratio_min, row.ratio_max), to.to_owned()]);
        }
        table.add_row(cells);
    }
    table
}

/// A figure with about three digits that matter.
pub(crate) fn readable(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}
