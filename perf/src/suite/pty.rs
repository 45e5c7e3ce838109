//! A real PTY and its lossless viewers: how fast a program's output reaches each of them, and how much is lost.

use std::cell::RefCell;

use crate::{
    contest::Contest,
    row::Row,
    suite::Scale,
    terminal::{self, Load, System},
};

const BYTES: u64 = 64 * 1024 * 1024;
/// Control mode is some hundred times slower than the rest, and its figure a rate.
const TMUX_BYTES: u64 = 1024 * 1024;

pub(crate) const SYSTEMS: [(&str, System); 6] = [
    ("floor", System::Floor),
    ("fugue", System::Fugue { model: true, kept: false }),
    ("fugue-kept", System::Fugue { model: true, kept: true }),
    ("fugue-no-model", System::Fugue { model: false, kept: false }),
    ("dtach", System::Dtach),
    ("tmux", System::Tmux),
];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let bytes = if scale.quick { BYTES / 8 } else { BYTES };
    let mut rows = Vec::new();
    for readers in scale.pick(&[1, 16, 64]) {
        let lost: Vec<_> = SYSTEMS.iter().map(|_| RefCell::new(Vec::new())).collect();
        let metric = ("mib_per_s", "MiB/s to each viewer");
        let mut contest = Contest::new("pty", "viewers", readers, metric, "floor");
        for ((name, system), lost) in SYSTEMS.iter().zip(&lost) {
            let bytes = if *system == System::Tmux { TMUX_BYTES } else { bytes };
            let load = Load { readers, stalled: 0, bytes };
            contest.enter(name, move || {
                let run = terminal::run(*system, load)?;
                lost.borrow_mut().push(run.lost as f64);
                Ok(bytes as f64 / (1024.0 * 1024.0) / run.took.as_secs_f64())
            });
        }
        let measured = contest.run(scale.rounds);
        let lost_rows =
            measured.iter().zip(&lost).filter(|(row, _)| row.reason.is_none()).map(|(row, lost)| {
                let row = Row {
                    metric: "lost_bytes",
                    unit: "bytes, all viewers",
                    ..Row { ratio_to: None, ratio: None, ratio_min: None, ratio_max: None, ..row.clone() }
                };
                row.with_samples(lost.take())
            });
        rows.extend(lost_rows.collect::<Vec<_>>());
        rows.extend(measured);
    }
    Ok(rows)
}
