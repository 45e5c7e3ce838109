//! The entry points on the corpus, and on what random changes make of it.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use super::*;
use crate::random::Random;

/// How many changed inputs each target is given: together they take a few seconds of a debug build.
const CHANGED: [(&str, usize); 12] = [
    ("frames", 3000),
    ("messages", 3000),
    ("connection", 1000),
    ("screen", 300),
    ("queries", 2000),
    ("modes", 2000),
    ("command_line", 200),
    ("settings", 300),
    ("nodes", 3000),
    ("names", 3000),
    ("page", 3000),
    ("hosts", 3000),
];

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = fuzz_directory().join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    files
}

/// Says what is being tried, if it is the last thing that is.
struct Trying<'a>(&'a str, &'a str, &'a [u8]);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} on {}: b\"{}\"", self.0, self.1, self.2.escape_ascii());
        }
    }
}

impl Random {
    /// Changes an input as fuzzers do: a few bits, bytes and numbers, a part left out, doubled, or of another input.
    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.index(4) {
            let at = self.index(input.len() + 1);
            let end = at + self.index((input.len() - at).min(64) + 1);
            match self.index(7) {
                0 if at < input.len() => input[at] ^= 1 << self.index(8),
                1 if at < input.len() => input[at] = self.index(256) as u8,
                2 if at < input.len() => input[at] = [0, 1, 0x1b, 0x7f, 0x80, 0xff][self.index(6)],
                3 => drop(input.drain(at..end)),
                4 => {
                    let part = input[at..end].to_vec();
                    drop(input.splice(at..at, part));
                }
                5 => {
                    let from = self.index(other.len() + 1);
                    let to = from + self.index((other.len() - from).min(256) + 1);
                    drop(input.splice(at..at, other[from..to].iter().copied()));
                }
                _ => input.insert(at, self.index(256) as u8),
            }
        }
        input.truncate(4096);
    }
}

/// One target's corpus, and changes of it.
fn holds(target: &str) {
    let corpus = corpus(target);
    for (file, input) in &corpus {
        let _trying = Trying(target, file, input);
        run(target, input);
    }
    let mut random = Random::seeded("fuzz");
    let (_, count) = CHANGED.iter().find(|(name, _)| *name == target).unwrap();
    for _ in 0..*count {
        let (file, input) = &corpus[random.index(corpus.len())];
        let (_, other) = &corpus[random.index(corpus.len())];
        let mut input = input.clone();
        random.change(&mut input, other);
        let _trying = Trying(target, file, &input);
        run(target, &input);
    }
}

#[test]
fn frames_hold() {
    holds("frames");
}

#[test]
fn messages_hold() {
    holds("messages");
}

#[test]
fn connections_hold() {
    holds("connection");
}

#[test]
fn the_screen_holds() {
    holds("screen");
}

#[test]
fn queries_hold() {
    holds("queries");
}

#[test]
fn modes_hold() {
    holds("modes");
}

#[test]
fn the_command_line_holds() {
    holds("command_line");
}

#[test]
fn settings_hold() {
    holds("settings");
}

#[test]
fn names_hold() {
    holds("names");
}

#[test]
fn nodes_hold() {
    holds("nodes");
}

#[cfg(feature = "web")]
#[test]
fn pages_hold() {
    holds("page");
}

#[cfg(feature = "web")]
#[test]
fn hosts_and_origins_hold() {
    holds("hosts");
}

/// What a client sent in a session that was recorded, each kind of request among it.
fn recorded() -> Vec<u8> {
    fs::read(fuzz_directory().join("corpus/connection/session")).unwrap()
}

#[test]
fn a_recorded_session_with_any_bit_flipped_holds_the_decoder() {
    let recorded = recorded();
    for bit in 8..recorded.len() * 8 {
        let mut input = recorded.clone();
        input[bit / 8] ^= 1 << (bit % 8);
        input[0] = 100;
        let _trying = Trying("frames", &format!("bit {bit}"), &input);
        run("frames", &input);
    }
}

#[test]
fn a_recorded_session_that_is_cut_anywhere_is_answered_as_far_as_it_goes() {
    let recorded = recorded();
    for end in 1..recorded.len() {
        let input = &recorded[..end];
        let _trying = Trying("connection", &format!("{end} bytes"), input);
        run("connection", input);
    }
}

#[test]
fn a_request_with_a_flipped_bit_is_answered_or_closed_with_a_reason() {
    let recorded = recorded();
    let mut random = Random::seeded("fuzz");
    // The first byte only says how it is cut. All bits of all bytes would take half a minute; they have their turn in
    // time.
    for at in 1..recorded.len() {
        let bit = random.index(8);
        let mut input = recorded.clone();
        input[at] ^= 1 << bit;
        let _trying = Trying("connection", &format!("bit {bit} of {at}"), &input);
        run("connection", &input);
    }
}

#[test]
fn every_entry_point_has_a_target_and_a_corpus() {
    let manifest = fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{target}\"\npath = \"targets/{target}.rs\"")),
            "{target}"
        );
        let source =
            fs::read_to_string(fuzz_directory().join("targets").join(format!("{target}.rs"))).unwrap();
        assert!(source.contains(&format!("fuzz::run(\"{target}\", input)")), "{target}");
        assert!(!corpus(target).is_empty());
    }
}
