//! Long runs, each a named scenario of `scenarios/`. In release mode, for figures that mean something:
//!
//! ```text
//! cargo test --release --test stress -- 10m                 the soak, for ten minutes
//! cargo test --release --test stress -- registry 1m         one scenario, by name
//! cargo test --release --test stress -- all 1m              each in turn; a minute for those that take as long as told
//! ```
//! Without arguments, as under a plain `cargo test`, those that can be brief run for some seconds. Random
//! choices print their seed, and take it from `SEED`. Nothing hangs: what takes far longer than it should is ended.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[path = "support/random.rs"]
mod random;
mod scenarios;
#[allow(dead_code, unused_imports, reason = "shared with the other tests, which need more of it")]
mod support;

use std::{
    panic::catch_unwind,
    process::ExitCode,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use scenarios::{ALL, Scenario, process};

/// How long a scenario that takes as long as told takes when nobody told: without a name, and with one.
const BRIEFLY: Duration = Duration::from_secs(3);
const USUALLY: Duration = Duration::from_secs(60);

/// What a scenario may take beyond what it was told: the slowest takes some minutes where the machine is busy.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let time = arguments.iter().find_map(|argument| duration(argument));
    // What else the harness of the other tests would understand is for that one.
    let names: Vec<&String> =
        arguments.iter().filter(|it| duration(it).is_none() && !it.starts_with('-')).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&Scenario> = match (names.as_slice(), time) {
        ([], None) => ALL.iter().filter(|scenario| scenario.is_brief).collect(),
        ([], Some(_)) => ALL.iter().filter(|scenario| scenario.name == "soak").collect(),
        (names, _) => ALL
            .iter()
            .filter(|scenario| names.iter().any(|name| *name == scenario.name || *name == "all"))
            .collect(),
    };
    if chosen.is_empty() {
        let all: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        println!("no scenario is called {names:?}; there are: {}, and all", all.join(", "));
    }
    let time = time.unwrap_or(if names.is_empty() { BRIEFLY } else { USUALLY });
    let failed = chosen.into_iter().filter(|scenario| !holds(scenario, time)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one scenario, and says whether what it checks holds.
fn holds(scenario: &Scenario, time: Duration) -> bool {
    println!("== {}: {}", scenario.name, scenario.about);
    let start = Instant::now();
    let watchdog = Watchdog::start(scenario.name, time + PATIENCE);
    let outcome = catch_unwind(|| (scenario.run)(time));
    drop(watchdog);
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("== {}: {verdict}, after {:.1} s", scenario.name, start.elapsed().as_secs_f64());
    outcome.is_ok()
}

/// Ends everything when a scenario does not end by itself.
struct Watchdog {
    _alive: SyncSender<()>,
}

impl Watchdog {
    fn start(name: &'static str, patience: Duration) -> Self {
        let (alive, ended) = sync_channel::<()>(0);
        thread::spawn(move || {
            if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                eprintln!("== {name}: FAILED, still at it after {} s", patience.as_secs());
                process::kill_all();
                std::process::exit(1);
            }
        });
        Self { _alive: alive }
    }
}

/// `90s`, `10m` or `2h`.
fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(count * unit))
}
