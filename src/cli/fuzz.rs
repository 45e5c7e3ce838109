//! The command line, from bytes of any kind.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use clap::Parser;

use super::{Args, bytes::ByteCount, settings::check_text, terminal::ClientKey, time::TimeSpan};
use crate::terminal::{NamedKey, SnapshotModes};

/// Parses a command line, one word to a line: it is understood, or refused with words that can be shown.
pub(crate) fn command_line(input: &[u8]) {
    let words = input.split(|byte| *byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned());
    if let Err(error) = Args::try_parse_from([OsString::from("fugue-server")].into_iter().chain(words)) {
        assert!(!error.to_string().is_empty());
    }
    for word in input.split(|byte| *byte == b'\n') {
        let word = String::from_utf8_lossy(word);
        if let Ok(bytes) = word.parse::<ByteCount>() {
            assert_eq!(bytes.to_string().parse(), Ok(bytes));
        }
        if let Ok(ClientKey(key)) = word.parse() {
            assert!(key.is_none_or(|key| key < 32));
        }
        if let Ok(key) = word.parse::<NamedKey>() {
            let mut sent = Vec::new();
            key.put(&SnapshotModes::default(), &mut sent);
            assert!((1..=16).contains(&sent.len()));
        }
        if let Ok(TimeSpan(span)) = word.parse() {
            assert!(span.as_secs() <= 366 * 24 * 3600);
        }
    }
}

/// Reads a configuration file: each mistake in it is told in one line, in order, with a place that is in it.
pub(crate) fn settings(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut last = (1, 1);
    for told in check_text(&text) {
        let mut parts = told.splitn(4, ':').skip(1);
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).expect("a place");
        let place = (number(), number());
        assert!(place >= last, "{told}");
        last = place;
        let line = text.split('\n').nth(place.0 - 1).expect("a line that is there");
        assert!((1..=line.chars().count() + 1).contains(&place.1), "{told}");
        assert!(parts.next().is_some_and(|what| !what.trim().is_empty()), "{told}");
    }
}
