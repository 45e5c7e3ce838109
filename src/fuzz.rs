//! What takes bytes from outside, each behind one function that must hold for any bytes at all: it must not panic, must
//! end, must stay within its bounds, and must keep the promises it can check on the way.
//!
//! Each function stands beside what it tries. `tests/fuzz` has a cargo-fuzz target and a corpus for each; the tests
//! here run the same functions on the corpus, and on what a few thousand random changes make of it. Built for those two
//! alone.

pub(crate) mod input;
#[cfg(test)]
mod tests;

use crate::{SessionId, SessionName, TerminalSize};

/// Tries bytes; panics when a promise is broken.
pub type EntryPoint = fn(&[u8]);

/// Every entry point, by the name of its target and its corpus.
pub const TARGETS: &[(&str, EntryPoint)] = &[
    ("frames", crate::wire::fuzz::frames),
    ("messages", crate::wire::fuzz::messages),
    ("connection", crate::server::fuzz::connection),
    ("screen", crate::terminal::fuzz::screen),
    ("queries", crate::terminal::fuzz_queries),
    ("modes", crate::terminal::fuzz::modes),
    ("command_line", crate::cli::fuzz::command_line),
    ("settings", crate::cli::fuzz::settings),
    ("names", names),
    ("nodes", crate::nodes::fuzz::messages),
    #[cfg(feature = "web")]
    ("page", crate::web::fuzz::page),
    #[cfg(feature = "web")]
    ("hosts", crate::web::fuzz::hosts),
];

/// Tries `input` on the entry point of this name.
///
/// # Panics
/// When a promise is broken, and for a name that is none.
pub fn run(target: &str, input: &[u8]) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("the name of a target");
    run(input);
}

/// Session names, sizes and ids, as people type them and as they travel: what is accepted is within the rules, reads
/// back as it was written, and is accepted by the wire exactly if it is as text.
fn names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let name = text.parse::<SessionName>();
    if let Ok(name) = &name {
        assert!((1..=SessionName::MAX_LEN).contains(&name.as_str().len()) && name.as_str().is_ascii());
        assert!(!name.as_str().contains(|letter: char| letter.is_ascii_control() || letter == '/'));
        assert_eq!(name.to_string(), text);
    }
    let travelled = postcard::to_stdvec(&*text).ok().and_then(|text| postcard::from_bytes(&text).ok());
    assert_eq!(travelled, name.ok());

    if let Ok(size) = text.parse::<TerminalSize>() {
        assert!((1..=1000).contains(&size.cols()) && (1..=1000).contains(&size.rows()));
        assert_eq!(size.to_string().parse(), Ok(size));
    }
    if let Some((sides, _)) = input.split_first_chunk::<4>() {
        let sides = [sides[0], sides[1], sides[2], sides[3]].map(u16::from);
        let (cols, rows) = (sides[0] << 8 | sides[1], sides[2] << 8 | sides[3]);
        let travelled = postcard::to_stdvec(&(cols, rows)).ok();
        let travelled = travelled.and_then(|size| postcard::from_bytes::<TerminalSize>(&size).ok());
        assert_eq!(travelled, TerminalSize::new(cols, rows));
        assert!(travelled.is_none_or(|size| (size.cols(), size.rows()) == (cols, rows)));
    }
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId::from_bytes(id.to_bytes()), id);
    }
}
