//! Whole servers on sockets, fed from memory: how fast what one end is handed reaches every client in another process.

use fugue_server::message::Pace;

use crate::{
    contest::Contest,
    row::Row,
    suite::Scale,
    system::{Load, Rig, System},
};

/// What a round delivers in all, in bytes, where that is enough messages.
const DELIVERED: usize = 256 * 1024 * 1024;

const SYSTEMS: [(&str, System); 6] = [
    ("floor", System::Floor),
    ("fugue", System::Fugue { model: false, pace: Pace::Slowest }),
    ("tokio-broadcast", System::TokioBroadcast),
    ("redis", System::Redis),
    ("nats", System::Nats),
    ("mosquitto", System::Mosquitto),
];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for message_bytes in [64 * 1024, 4096] {
        for readers in scale.pick(&[1, 16, 64, 256, 1024]) {
            let delivered = if scale.quick { DELIVERED / 8 } else { DELIVERED };
            let messages = (delivered / readers / message_bytes).max(4) as u64;
            let load = Load { readers, stalled: 0, message_bytes, messages };
            rows.extend(contest(load).run(scale.rounds));
        }
    }
    Ok(rows)
}

fn contest(load: Load) -> Contest<'static> {
    let case = format!("payload={}KiB", load.message_bytes / 1024);
    let metric = ("mib_per_s", "MiB/s delivered");
    let mut contest = Contest::new("fanout", case, load.readers, metric, "floor");
    let delivered = load.messages as f64 * (load.message_bytes * load.readers) as f64;
    for (name, system) in SYSTEMS {
        match Rig::start(system, load).and_then(|mut rig| rig.round().map(|_| rig)) {
            // The first round, which nobody counts, has warmed it.
            Ok(mut rig) => {
                contest.enter(name, move || Ok(delivered / (1024.0 * 1024.0) / rig.round()?.as_secs_f64()))
            }
            Err(error) => contest.absent(name, format!("{error:#}")),
        };
    }
    contest
}
