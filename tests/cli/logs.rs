//! What a server's log looks like: as text, as JSON, and in a journal.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
};

use super::*;

/// The lines that a server logs to a file in a short life. The file is said to be the journal if `is_journal`.
fn logged(options: &[&str], is_journal: bool) -> Vec<String> {
    let home = Home::new();
    let path = home.directory.path().join("log");
    let log = File::create(&path).unwrap();
    let found = log.metadata().unwrap();
    let stream = format!("{}:{}", found.dev(), found.ino() + u64::from(!is_journal));
    let mut server = home.command(&["serve", "--log", "debug"]);
    let mut server = Served::start(server.args(options).env("JOURNAL_STREAM", stream).stderr(log));
    home.succeed(&["new", "a", "-d", "--", "true"]);
    server.stop();
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_line_of_a_log_in_json_is_an_object_with_time_level_and_message() {
    for is_journal in [false, true] {
        let lines = logged(&["--log-format", "json"], is_journal);
        let mut started = None;
        for line in &lines {
            let line = if is_journal { line.split_once('>').unwrap().1 } else { line };
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");
            assert!(event["target"].as_str().unwrap().starts_with("fugue_server"), "{event}");
            assert!(["WARN", "INFO", "DEBUG"].contains(&event["level"].as_str().unwrap()), "{event}");
            if event["message"] == "started" {
                started = Some(event);
            }
        }
        let started = started.unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(started["name"], "a");
        assert!(started["pid"].is_u64() && started["session"].is_string(), "{started}");
    }
}

#[test]
fn lines_for_a_journal_have_a_priority_and_neither_time_nor_colour() {
    let lines = logged(&[], true);
    let (notes, events): (Vec<_>, Vec<_>) = lines.iter().partition(|line| !line.starts_with('<'));
    assert_eq!(notes.len(), 1, "{lines:?}");
    assert!(notes[0].contains("listening on"));
    for event in &events {
        let (priority, rest) = event.split_at(3);
        assert!(["<4>", "<6>", "<7>"].contains(&priority), "{event}");
        assert!(rest.starts_with("fugue_server") && !rest.contains('\x1b'), "{event}");
    }
    assert!(events.iter().any(|event| event.starts_with("<6>") && event.contains("started")), "{events:?}");
}

#[test]
fn lines_for_a_file_have_a_time_and_a_level_and_no_colour() {
    let lines = logged(&[], false);
    let started = lines.iter().find(|line| line.contains("started")).unwrap();
    let mut words = started.split_whitespace();
    assert!(words.next().unwrap().ends_with('Z'), "{started}");
    assert_eq!(words.next(), Some("INFO"));
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:?}");
}
