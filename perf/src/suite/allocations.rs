//! What a broadcast allocates in a steady state: to receivers that keep up, once their queues have grown to their size.
//!
//! The counting allocator is the whole program's, and costs every allocation of every system about a nanosecond.

use crate::{contest::Contest, peer, row::Row, suite::Scale};

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for members in scale.pick(&[1, 4, 5, 64, 1024]) {
        let (metric, against) = (("allocations", "per call"), "floor");
        let mut contest = Contest::new("allocations", "payload=4KiB", members, metric, against);
        for (system, mut room) in peer::every(members, 4096) {
            contest.enter(system, move || room.allocations());
        }
        rows.extend(contest.run(scale.rounds));
    }
    Ok(rows)
}
