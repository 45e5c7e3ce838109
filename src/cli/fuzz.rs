//! The command line, and the modes a client tracks, from bytes of any kind.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use clap::Parser;

use super::{
    Args,
    serve::parse_bytes,
    terminal::{DetachKey, Modes},
};
use crate::fuzz::{choice, pieces};

/// Parses a command line, one word to a line: it is understood, or refused with words that can be shown.
pub(crate) fn command_line(input: &[u8]) {
    let words = input.split(|byte| *byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned());
    if let Err(error) = Args::try_parse_from([OsString::from("fugue-server")].into_iter().chain(words)) {
        assert!(!error.to_string().is_empty());
    }
    for word in input.split(|byte| *byte == b'\n') {
        let word = String::from_utf8_lossy(word);
        if let Ok(bytes) = parse_bytes(&word) {
            assert_eq!(parse_bytes(&bytes.to_string()), Ok(bytes));
        }
        if let Ok(DetachKey(key)) = word.parse() {
            assert!(key < 32);
        }
    }
}

/// Follows a session's output: however it comes, the same is undone at the end, and undoing it leaves nothing to undo
/// but what any output leaves.
pub(crate) fn modes(input: &[u8]) {
    let (cut, output) = choice(input);
    let mut whole = Modes::default();
    whole.follow(output);
    let mut pieced = Modes::default();
    pieces(output, cut).for_each(|piece| pieced.follow(piece));
    let undo = whole.undo();
    assert_eq!(undo, pieced.undo());
    assert!(undo.len() < 512);
    assert_eq!(undo.is_empty(), output.is_empty());
    // The sequence that the output may have ended in is cut off first, as any terminal would by a control character.
    whole.follow(b"\x18");
    whole.follow(&undo);
    assert!(whole.undo().len() <= b"\x1b[m\x1b(B\x0f".len());
}
