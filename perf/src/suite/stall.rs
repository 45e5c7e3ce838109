//! Viewers that never read: what they cost those that do. Each system with and without them, in turn.

use fugue_server::message::Pace;

use crate::{
    contest::Contest,
    row::Row,
    suite::Scale,
    system::{self, Rig},
    terminal,
};

const VIEWERS: usize = 16;
const MESSAGE_BYTES: usize = 64 * 1024;
/// From memory, to each viewer.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;
const PTY_BYTES: u64 = 64 * 1024 * 1024;

const FROM_MEMORY: [(&str, system::System); 4] = [
    ("fugue", system::System::Fugue { model: true, pace: Pace::Fastest }),
    ("redis", system::System::Redis),
    ("nats", system::System::Nats),
    ("mosquitto", system::System::Mosquitto),
];

const PTY: [(&str, terminal::System); 2] =
    [("fugue", terminal::System::Fugue { model: true, kept: false }), ("dtach", terminal::System::Dtach)];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let divisor = if scale.quick { 8 } else { 1 };
    let mut rows = Vec::new();
    for stalled in [1, 8] {
        let readers = VIEWERS - stalled;
        let mut pairs = contest(stalled, "memory");
        for (name, system) in FROM_MEMORY {
            for stalled in [0, stalled] {
                let messages = MEMORY_BYTES / MESSAGE_BYTES as u64 / divisor;
                let load = system::Load { readers, stalled, message_bytes: MESSAGE_BYTES, messages };
                // A system of its own each time: what one stalled viewer made it keep must not count twice.
                pairs.enter(name, move || {
                    let mut rig = Rig::start(system, load)?;
                    Ok(rig.round()?.as_secs_f64())
                });
            }
        }
        for name in ["floor", "tokio-broadcast"] {
            pairs.absent(name, "not run: one that does not read stops it, by its construction");
        }
        rows.extend(beside_itself(pairs.run(scale.rounds)));
        let mut pairs = contest(stalled, "pty");
        for (name, system) in PTY {
            for stalled in [0, stalled] {
                let load = terminal::Load { readers, stalled, bytes: PTY_BYTES / divisor };
                pairs.enter(name, move || {
                    let run = terminal::run(system, load)?;
                    if run.lost > 0 {
                        anyhow::bail!("{} bytes were lost to those that read", run.lost);
                    }
                    Ok(run.took.as_secs_f64())
                });
            }
        }
        pairs.absent("tmux", "not run: with control clients that never read, its server did not end");
        rows.extend(beside_itself(pairs.run(scale.rounds)));
    }
    Ok(rows)
}

fn contest<'a>(stalled: usize, source: &str) -> Contest<'a> {
    let case = format!("stalled={stalled},{source}");
    Contest::new("stall", case, VIEWERS, ("seconds", "s until all that read have it"), "")
}

/// Adds to each system's rows, of which the one without stalled viewers comes first, the second over the first.
fn beside_itself(rows: Vec<Row>) -> Vec<Row> {
    let mut compared: Vec<Row> = Vec::new();
    for row in rows {
        match compared.last().filter(|before| before.system == row.system && row.median.is_some()) {
            Some(alone) => {
                let over = row.samples.iter().zip(&alone.samples).map(|(with, alone)| with / alone).collect();
                let (metric, unit) = ("seconds_over_alone", "times as long as without the stalled");
                let ratio = Row { metric, unit, ..row.clone() }.with_samples(over);
                compared.extend([row, ratio]);
            }
            None if row.median.is_some() => {
                compared.push(Row { case: row.case.replace("stalled=", "without="), ..row });
            }
            None => compared.push(row),
        }
    }
    compared
}
