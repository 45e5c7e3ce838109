//! Whatever is killed, stopped, restarted or cut off: no byte is lost in silence, and nothing is typed twice.
//!
//! Seconds in an ordinary run. `FUGUE_CHAOS_SECONDS` says how many, `SEED` which faults.

use std::{
    env,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fugue_server::{
    SessionId,
    message::{ExitStatus, OnLag},
};
use rustix::process::{Signal, kill_process};
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::{
    machine::{Broker, Machine, PATIENCE, eventually},
    proxy::Line,
    random::Random,
    viewer::{Counts, PROGRAM, Viewer},
};

const MACHINES: usize = 3;

/// Some time of at most so many seconds.
fn seconds(random: &mut Random, most: u64) -> Duration {
    Duration::from_millis(random.below(most * 1000))
}

/// What was typed by one typist into one session: each a line with a number of its own.
struct Typed {
    typist: String,
    session: usize,
    /// The numbers that were typed, as far as is known.
    done: Vec<u64>,
    tried: u64,
}

/// Types a line after another, until it is over.
fn type_lines(command: impl Fn() -> Command, typist: String, session: usize, is_over: &AtomicBool) -> Typed {
    let mut typed = Typed { typist, session, done: Vec::new(), tried: 0 };
    while !is_over.load(Ordering::Relaxed) {
        let line = format!("{}-{}\n", typed.typist, typed.tried);
        if write_to(command(), &line) {
            typed.done.push(typed.tried);
        }
        typed.tried += 1;
        thread::sleep(Duration::from_millis(100));
    }
    typed
}

fn write_to(mut command: Command, line: &str) -> bool {
    use std::io::Write;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let written = child.stdin.take().unwrap().write_all(line.as_bytes()).is_ok();
    child.wait().unwrap().success() && written
}

/// All machines, with a node each behind a line of its own, and their broker.
struct World {
    broker: Broker,
    machines: Vec<Machine>,
    lines: Vec<Line>,
    random: Random,
}

/// What goes wrong, and what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillNode(usize),
    StopNode(usize),
    BlockLine(usize),
    CutLine(usize),
    KillBroker,
    StopBroker,
    RestartServer(usize),
    KillServer(usize),
}

impl World {
    fn new(broker: Broker, seed: u64) -> Self {
        let lines: Vec<_> = (0..MACHINES).map(|_| Line::to(broker.port)).collect();
        let machines = (0..MACHINES).map(|_| Machine::new()).collect();
        let mut world = Self { broker, machines, lines, random: Random::new(seed) };
        (0..MACHINES).for_each(|node| world.start_node(node));
        world
    }

    fn start_node(&mut self, node: usize) {
        self.machines[node].start_node(&format!("h{node}"), &self.lines[node].url(), &[]);
    }

    fn draw(&mut self) -> Fault {
        let node = usize::try_from(self.random.below(MACHINES as u64)).unwrap();
        match self.random.below(10) {
            0 | 1 => Fault::KillNode(node),
            2 => Fault::StopNode(node),
            3 | 4 => Fault::BlockLine(node),
            5 => Fault::CutLine(node),
            6 => Fault::KillBroker,
            7 => Fault::StopBroker,
            8 => Fault::RestartServer(node),
            _ => Fault::KillServer(node),
        }
    }

    /// Has something go wrong, and mends it.
    fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::KillNode(node) => {
                self.machines[node].kill_node();
                thread::sleep(seconds(&mut self.random, 3));
                self.start_node(node);
            }
            Fault::StopNode(node) => {
                self.machines[node].node().signal(Signal::STOP);
                thread::sleep(seconds(&mut self.random, 10));
                self.machines[node].node().signal(Signal::CONT);
            }
            Fault::BlockLine(node) => {
                self.lines[node].block(true);
                thread::sleep(seconds(&mut self.random, 10));
                if self.random.below(2) == 0 {
                    self.lines[node].cut();
                }
                self.lines[node].block(false);
            }
            Fault::CutLine(node) => self.lines[node].cut(),
            Fault::KillBroker => self.broker.restart(),
            Fault::StopBroker => {
                self.broker.signal(Signal::STOP);
                thread::sleep(seconds(&mut self.random, 10));
                self.broker.signal(Signal::CONT);
            }
            Fault::RestartServer(node) => {
                self.machines[node].ok(&["restart"]);
            }
            Fault::KillServer(node) => {
                let server = self.machines[node].server();
                kill_process(server, Signal::KILL).unwrap();
                // Whoever asks next starts another one, which takes over what is left.
                eventually("another server", || {
                    let listed = self.machines[node].run(&["list"]);
                    (listed.status.success() && self.machines[node].server() != server).then_some(())
                });
            }
        }
        thread::sleep(seconds(&mut self.random, 3));
    }
}

/// Where a session ended, and how.
type Ended = (u64, ExitStatus);

/// Two viewers of each session at each machine, also at its own: one that wants every byte, and one that does not.
fn start_viewers(
    world: &World,
    sessions: &[SessionId],
    runtime: &Runtime,
    counts: &Arc<Counts>,
) -> Vec<(usize, usize, JoinHandle<Ended>)> {
    let mut viewers = Vec::new();
    for (host, session) in sessions.iter().enumerate() {
        for (at, machine) in world.machines.iter().enumerate() {
            for on_lag in [OnLag::Resync, OnLag::Lossless] {
                let mut viewer = Viewer::new(machine.socket(), *session, on_lag, Arc::clone(counts));
                if at != host {
                    let (machine, name) = (machine.address(), format!("s{host}@h{host}"));
                    viewer.watch = Some(Box::new(move || machine.command(&["screen", &name])));
                }
                viewers.push((host, at, runtime.spawn(viewer.watch())));
            }
        }
    }
    viewers
}

/// Somebody who types into each session at each machine.
fn start_typists(world: &World, is_over: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<Typed>> {
    let mut typists = Vec::new();
    for session in 0..MACHINES {
        for (at, machine) in world.machines.iter().enumerate() {
            let (machine, is_over) = (machine.address(), Arc::clone(is_over));
            let name = if at == session { format!("s{session}") } else { format!("s{session}@h{session}") };
            let command = move || machine.command(&["send", &name]);
            let typist = move || type_lines(command, format!("t{at}"), session, &is_over);
            typists.push(thread::spawn(typist));
        }
    }
    typists
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn chaos_loses_no_byte_in_silence_and_types_nothing_twice() {
    let Some(broker) = Broker::start("") else { return };
    let seed = number("SEED").unwrap_or(1);
    let seconds = number("FUGUE_CHAOS_SECONDS").unwrap_or(15);
    let mut world = World::new(broker, seed);
    let runtime = Runtime::new().unwrap();
    let counts = Arc::new(Counts::default());
    let sessions: Vec<SessionId> = (0..MACHINES).map(|host| begin(&world.machines[host], host)).collect();
    let viewers = start_viewers(&world, &sessions, &runtime, &counts);
    let is_over = Arc::new(AtomicBool::new(false));
    let typists = start_typists(&world, &is_over);
    let begun = Instant::now();
    let mut faults = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let fault = world.draw();
        eprintln!("{:?} {fault:?} {counts:?}", begun.elapsed());
        assert!(!viewers.iter().any(|(.., viewer)| viewer.is_finished()), "a viewer is over");
        world.suffer(fault);
        faults += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    let typed: Vec<_> = typists.into_iter().map(|typist| typist.join().unwrap()).collect();
    for host in 0..MACHINES {
        eventually("the last line", || {
            world.machines[host].send(&format!("s{host}"), "end\n").status.success().then_some(())
        });
    }
    let ends: Vec<_> = viewers
        .into_iter()
        .map(|(host, at, viewer)| {
            let ended =
                async { tokio::time::timeout(PATIENCE, viewer).await.expect("a viewer hears of the end") };
            (host, at, runtime.block_on(ended).unwrap())
        })
        .collect();
    for (host, machine, ended) in &ends {
        let at_host = ends.iter().find(|(of, at, _)| of == host && at == host).unwrap().2;
        assert_eq!((*ended, ended.1), (at_host, ExitStatus::Code(7)), "s{host} at machine {machine}");
    }
    let mut lines = 0;
    for typed in typed {
        lines += check_typed(&world.machines[typed.session], &typed);
    }
    let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{faults} faults: {} bytes seen and {} missed in {} gaps that were told, {} times attached; {lines} lines typed",
        value(&counts.seen),
        value(&counts.missed),
        value(&counts.gaps),
        value(&counts.attached),
    );
}

/// Starts the session of a machine.
pub(crate) fn begin(machine: &Machine, host: usize) -> SessionId {
    let program = machine.directory.path().join("program.pl");
    std::fs::write(&program, PROGRAM).unwrap();
    let script = format!("stty raw -echo; exec perl {} {}", program.display(), file(machine).display());
    let id = machine.ok(&["new", "-d", &format!("s{host}"), "--", "sh", "-c", &script]);
    id.trim().parse().unwrap()
}

fn file(machine: &Machine) -> std::path::PathBuf {
    machine.directory.path().join("typed")
}

/// Each line that was typed is there once, in order; each that was refused at most once. How many there are.
fn check_typed(machine: &Machine, typed: &Typed) -> usize {
    let text = std::fs::read_to_string(file(machine)).unwrap();
    let prefix = format!("{}-", typed.typist);
    let there: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .map(|number| number.parse().unwrap())
        .collect();
    let mut once = there.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), there.len(), "{} typed something twice into s{}", typed.typist, typed.session);
    let known: Vec<u64> =
        there.iter().copied().filter(|number| typed.done.binary_search(number).is_ok()).collect();
    assert_eq!(known, typed.done, "{} into s{}: all that was typed, in order", typed.typist, typed.session);
    there.len()
}
