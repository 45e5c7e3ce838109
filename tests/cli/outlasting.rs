//! Clients and programs that outlast their servers: killed in a flood, and restarted in one.
//!
//! A plain run does a few rounds; `FUGUE_ROUNDS=300 cargo test --test main cli::outlasting` does 300 of each, and says
//! what was lost.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
};

use rustix::process::Signal;

use super::{Home, Terminal, eventually, lives};

fn rounds() -> u64 {
    std::env::var("FUGUE_ROUNDS").map_or(3, |rounds| rounds.parse().expect("FUGUE_ROUNDS is a number"))
}

/// A random number below `bound`, from the same sequence in each run.
fn below(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % bound
}

/// What one person types: numbers, in letters that nobody else types, each closed by another letter.
struct Typist {
    terminal: Terminal,
    letters: &'static str,
    typed: u64,
}

impl Typist {
    fn new(home: &Home, letters: &'static str) -> Self {
        let terminal = home.terminal(&["attach", "typed"]);
        terminal.wait_for("ready");
        Self { terminal, letters, typed: 0 }
    }

    fn types(&mut self) {
        self.typed += 1;
        let digits = self.typed.to_string();
        let letter = |digit: char| self.letters.as_bytes()[digit.to_digit(10).unwrap() as usize] as char;
        let end = self.letters.chars().last().unwrap();
        self.terminal.type_in(&digits.chars().map(letter).chain([end]).collect::<String>());
    }

    /// The numbers that arrived, in their order.
    fn arrived(&self, all: &str) -> Vec<u64> {
        let own: String = all.chars().filter(|letter| self.letters.contains(*letter)).collect();
        let number = |word: &str| {
            word.chars().fold(0, |number, letter| number * 10 + self.letters.find(letter).unwrap() as u64)
        };
        own.split_terminator(self.letters.chars().last().unwrap()).map(number).collect()
    }
}

/// A flood and a program that is typed into, with those who watch and type.
struct Scene {
    home: Home,
    terminals: [Terminal; 3],
    typists: [Typist; 2],
    recorders: Vec<Child>,
    gate: PathBuf,
    typed: PathBuf,
    pids: [u64; 2],
    random: u64,
}

impl Scene {
    fn new() -> Self {
        let home = Home::new();
        let [begin, gate, typed] = ["begin", "gate", "typed"].map(|name| home.directory.path().join(name));
        let flood = format!(
            "stty -echo -opost; echo ready; until [ -e {begin} ]; do sleep 0.01; done; until [ -e {gate} ]; do seq 1 3000; \
             done; printf '\\033[2J\\033[Hthe end'; read go",
            begin = begin.display(),
            gate = gate.display()
        );
        home.succeed(&["new", "flood", "-d", "--", "sh", "-c", &flood]);
        let reader = format!("stty raw -echo; printf ready; exec cat > {}", typed.display());
        home.succeed(&["new", "typed", "-d", "--", "sh", "-c", &reader]);
        let pids = ["flood", "typed"].map(|name| home.session(name)["pid"].as_u64().unwrap());
        let terminals = [(); 3].map(|()| home.terminal(&["attach", "flood"]));
        let typists = ["abcdefghijx", "klmnopqrsty"].map(|letters| Typist::new(&home, letters));
        terminals.iter().for_each(|terminal| terminal.wait_for("ready"));
        let recorder = || {
            let mut recorder = home.command(&["attach", "flood", "--from", "start"]);
            recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let recorders = vec![recorder(), recorder(), recorder()];
        eventually("all watch", || home.session("flood")["clients"] == 6);
        fs::write(&begin, "").unwrap();
        Self { home, terminals, typists, recorders, gate, typed, pids, random: 27 }
    }

    /// Waits until a terminal has been shown so much more.
    fn goes_on(&mut self) {
        let terminal = &self.terminals[0];
        let bytes = terminal.shown.0.lock().unwrap().bytes.len();
        let enough = bytes + below(&mut self.random, 16 << 10) as usize;
        terminal.wait_until("more of the flood", |shown| (shown.bytes.len() >= enough).then_some(()));
    }

    /// Types once each, around something.
    fn around(&mut self, what: impl FnOnce(&Home)) {
        self.goes_on();
        self.typists[0].types();
        what(&self.home);
        self.typists[1].types();
        for pid in self.pids {
            assert!(lives(pid), "a program has ended with its server");
        }
    }

    /// Ends the flood, and the typing: every terminal shows the end, and each typist's numbers came once and in order.
    /// Returns how many did not come.
    fn end(&mut self) -> u64 {
        fs::write(&self.gate, "").unwrap();
        for terminal in &self.terminals {
            terminal.wait_until("the true screen", |shown| (shown.text().trim() == "the end").then_some(()));
        }
        let mut lost = 0;
        for typist in &mut self.typists {
            typist.types();
            let typed = || typist.arrived(&fs::read_to_string(&self.typed).unwrap());
            eventually("the last number comes", || typed().last() == Some(&typist.typed));
            let arrived = typed();
            assert!(arrived.is_sorted_by(|one, next| one < next), "twice, or out of order: {arrived:?}");
            lost += typist.typed - arrived.len() as u64;
        }
        lost
    }
}

#[test]
fn what_watches_and_what_runs_outlasts_killed_servers() {
    let mut scene = Scene::new();
    let outputs: Vec<_> = scene.recorders.iter_mut().map(drained).collect();
    for _ in 0..rounds() {
        scene.around(|home| home.signal_server(Signal::KILL));
    }
    let lost = scene.end();
    scene.home.succeed(&["kill", "--all"]);
    let mut gaps = 0;
    for (recorder, output) in scene.recorders.drain(..).zip(outputs) {
        let ended = recorder.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let is_gap = ended.status.code() == Some(254) && said.contains("bytes are no longer held");
        assert!(is_gap || said.contains("[session flood ended"), "{said}");
        gaps += u64::from(is_gap);
        assert!(is_counting(&output.join().unwrap()), "a recorder has other bytes than were printed");
    }
    println!(
        "{} servers killed: {gaps} of 3 recorders had a gap, {lost} of {} numbers typed were lost",
        rounds(),
        scene.typists.iter().map(|typist| typist.typed).sum::<u64>()
    );
    // What was typed and not answered may be lost: of each killed server, what it was just typing.
    assert!(lost <= 2 * rounds(), "{lost} numbers were lost");
}

#[test]
fn a_restart_in_a_flood_loses_nothing() {
    let mut scene = Scene::new();
    let outputs: Vec<_> = scene.recorders.iter_mut().map(drained).collect();
    let (mut descriptors, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        scene.around(|home| drop(home.succeed(&["restart"])));
        eventually("all are back", || {
            for recorder in &mut scene.recorders {
                if recorder.try_wait().unwrap().is_some() {
                    let mut said = String::new();
                    recorder.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                    panic!("a recorder has ended: {said}");
                }
            }
            scene.home.session("flood")["clients"] == 6
        });
        let process = PathBuf::from(format!("/proc/{}", scene.home.server_pid()));
        descriptors.push(fs::read_dir(process.join("fd")).unwrap().count());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.push(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap());
    }
    assert_eq!(scene.end(), 0, "numbers typed were lost");
    let printed = scene.home.session("flood")["printed_bytes"].as_u64().unwrap();
    scene.home.succeed(&["kill", "flood"]);
    for (recorder, output) in scene.recorders.drain(..).zip(outputs) {
        let ended = recorder.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&ended.stderr).contains("[session flood ended"), "{ended:?}");
        let output = output.join().unwrap();
        assert!(
            output.len() as u64 == printed && is_counting(&output),
            "{} of {printed} bytes",
            output.len()
        );
    }
    let (least, most) = (descriptors.iter().min().unwrap(), descriptors.iter().max().unwrap());
    assert!(most - least <= 8, "descriptors: {descriptors:?}");
    println!(
        "{} restarts: {printed} bytes printed, none lost by 3 recorders; {most} descriptors at most; resident {} KiB \
         after the first, {} after the last",
        rounds(),
        resident[0],
        resident[resident.len() - 1]
    );
}

/// Reads all that a recorder writes, from now on.
fn drained(recorder: &mut Child) -> thread::JoinHandle<Vec<u8>> {
    let mut output = recorder.stdout.take().unwrap();
    thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).unwrap();
        all
    })
}

/// Whether this is a part of the flood: counting up to 3000 again and again, and the end.
fn is_counting(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output);
    let text = text.strip_suffix("\x1b[2J\x1b[Hthe end").unwrap_or(&text);
    // The first is another, and the last one may be cut.
    let mut lines: Vec<&str> = text.split('\n').skip(1).collect();
    lines.pop();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    let follows = |pair: &[u64]| pair[1] == pair[0] % 3000 + 1;
    numbers.len() == lines.len() && numbers.windows(2).all(follows)
}
