//! Recordings in asciinema's own player, where node and its package are.

use std::process::Command;

use serde_json::Value;

use super::programs::{beside_this, package};
use crate::cli::{Home, eventually};

/// Prints in colour, in characters of several bytes, and in bytes that are none.
const PROGRAM: &str =
    r"read go; printf '\033[1;31mred\033[0m \342\202\254 \377'; read go; seq 1 5000; exit 3";

#[test]
fn recordings_play_in_asciinemas_own_player() {
    let package = package();
    if !package.join("node_modules/asciinema-player").is_dir() {
        println!("not shown: asciinema-player is not installed; `bash .ci/terminals.sh` does that");
        return;
    }
    let home = Home::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.cast");
    let file = path.to_str().unwrap();
    home.succeed(&["new", "a", "--record", file, "-d", "--size", "80x24", "--", "sh", "-c", PROGRAM]);
    home.succeed(&["resize", "a", "100x30"]);
    home.succeed(&["send", "a", "--keys", "Enter"]);
    home.succeed(&["wait", "a", "--for", "red"]);
    home.succeed(&["send", "a", "--keys", "Enter"]);
    let recorded = || std::fs::read_to_string(&path).unwrap();
    eventually("the end is recorded", || recorded().ends_with("\"x\", \"3\"]\n"));

    let mut player = Command::new("node");
    let played = player.arg(beside_this("player.mjs")).args([&package, &path]).output().unwrap();
    assert!(played.status.success(), "{played:?}");
    let played: Value = serde_json::from_slice(&played.stdout).unwrap();
    let events: Vec<(f64, String, String)> =
        recorded().lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let output: String = events.iter().filter(|event| event.1 == "o").map(|event| event.2.as_str()).collect();
    assert_eq!(played["output"], output);
    assert_eq!((&played["cols"], &played["rows"]), (&100.into(), &30.into()));
    let duration: f64 = events.iter().map(|event| event.0).sum();
    assert!((played["duration"].as_f64().unwrap() - duration).abs() < 0.001, "{}", played["duration"]);
}
