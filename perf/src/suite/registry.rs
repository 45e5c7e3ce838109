//! In-process fan-out: what the registry, and others of its kind, add to the channels they send into.
//!
//! `n` is the members of one session. Queues are drained outside the timed part, so nobody is woken and nothing waits.

use crate::{contest::Contest, peer, row::Row, suite::Scale};

const MEMBERS: [usize; 7] = [1, 4, 5, 16, 64, 1024, 10_000];
/// Beside the 4 KiB that a PTY gives: the message is shared, so its size should not show.
const OTHER_PAYLOADS: [(&str, usize); 2] = [("payload=64B", 64), ("payload=64KiB", 64 * 1024)];

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for members in if scale.quick { vec![1, 4, 64] } else { MEMBERS.to_vec() } {
        rows.extend(fan_out("payload=4KiB", 4096, members, scale));
    }
    for (case, bytes) in OTHER_PAYLOADS {
        rows.extend(fan_out(case, bytes, 64, scale));
    }
    Ok(rows)
}

fn fan_out(case: &str, bytes: usize, members: usize, scale: Scale) -> Vec<Row> {
    let mut contest = Contest::new("registry", case, members, ("ns_per_delivery", "ns"), "floor");
    for (system, mut room) in peer::every(members, bytes) {
        contest.enter(system, move || room.sample(scale.at_least()));
    }
    contest.run(scale.rounds)
}
