//! Orphans. The first process of a container becomes the parent of every process whose own parent has gone, and has to
//! take note of their ends: until then each is kept as a zombie.

use std::{collections::BTreeSet, fs, time::Duration};

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// How long a process that has ended is left to whoever started it: our own are waited for, which takes no time.
const LEFT: Duration = Duration::from_secs(1);

/// Processes that are looked at.
const MAX_PROCESSES: usize = 32 * 1024;

/// Takes note of orphans' ends, forever.
pub(super) async fn reap() {
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    let mut before = BTreeSet::new();
    loop {
        if before.is_empty() && ended.recv().await.is_none() {
            return;
        }
        sleep(LEFT).await;
        let zombies = zombies();
        for orphan in zombies.intersection(&before).filter_map(|orphan| Pid::from_raw(*orphan)) {
            // An error says that somebody waited for it after all.
            let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
        }
        before = &zombies - &before;
    }
}

/// Children of this process that have ended and were not waited for.
fn zombies() -> BTreeSet<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let numbered = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    processes
        .flatten()
        .take(MAX_PROCESSES)
        .filter_map(numbered)
        .filter(|process| is_zombie(*process))
        .collect()
}

fn is_zombie(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the program's name, which may contain anything.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    fields.next() == Some("Z")
        && fields.next().and_then(|parent| parent.parse().ok()) == Some(std::process::id())
}
