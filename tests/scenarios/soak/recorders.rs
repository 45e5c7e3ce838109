//! Clients that are processes, stopped and killed with the output on its way to them.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{
    io::AsyncReadExt,
    process::{ChildStdout, Command},
    time::timeout,
};

use super::{
    super::process::{binary, signal},
    programs,
    round::{Stage, Tally, patiently},
    stream::Recorded,
};
use crate::random::Random;

pub(super) async fn are_killed(stage: Stage, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    while !stage.is_over() {
        let Some(live) = stage.any(&mut random) else {
            stage.stall(&mut random, 5).await;
            continue;
        };
        let on_lag = random.of(&["resync", "lossless", "disconnect"]);
        let arguments = ["attach", &programs::name(live.slot), "--from", "start", "--on-lag", on_lag];
        let mut command = Command::from(binary(&stage.socket, &arguments));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut recorded = Recorded::of(live.slot);
        read(&mut output, &mut recorded, &mut random).await;
        match random.below(4) {
            0 => signal(pid, Signal::KILL),
            1 => {
                signal(pid, Signal::STOP);
                stage.stall(&mut random, 1500).await;
                signal(pid, Signal::KILL);
            }
            2 => {
                signal(pid, Signal::STOP);
                stage.stall(&mut random, 1500).await;
                signal(pid, Signal::CONT);
                read(&mut output, &mut recorded, &mut random).await;
                signal(pid, Signal::KILL);
            }
            _ => signal(pid, Signal::TERM),
        }
        // What it had written before is in the pipe.
        let rest = async { while read_some(&mut output, &mut recorded).await {} };
        patiently(rest).await;
        patiently(child.wait()).await.unwrap();
        tally.clients += 1;
        tally.killed += 1;
        tally.verified += recorded.bytes;
        tally.stays += u64::from(recorded.bytes > 0);
    }
    tally
}

/// Reads some, or for a while; now and then only until the first bytes come, or not even that long.
async fn read(output: &mut ChildStdout, recorded: &mut Recorded, random: &mut Random) {
    let enough = recorded.bytes + random.below(1 << 20);
    let begins = Duration::from_millis(random.of(&[10, 2000, 2000]));
    if timeout(begins, read_some(output, recorded)).await != Ok(true) {
        return;
    }
    let until = Instant::now() + Duration::from_millis(random.below(500));
    while recorded.bytes < enough {
        let left = until.saturating_duration_since(Instant::now());
        if timeout(left, read_some(output, recorded)).await != Ok(true) {
            return;
        }
    }
}

/// Says whether there was something.
async fn read_some(output: &mut ChildStdout, recorded: &mut Recorded) -> bool {
    let mut buffer = [0; 16 << 10];
    let read = output.read(&mut buffer).await.unwrap();
    recorded.check(&buffer[..read]);
    read > 0
}
