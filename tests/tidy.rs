//! The house rules that no compiler checks: each is a test that names file and line, and what to do.
//!
//! It reads the sources and documents as text, so it needs no feature, builds in seconds and runs in less.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/form.rs"]
mod form;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;

use self::source::Source;

/// Fails with what was found, each with its place, and what to do about it.
fn report(problems: Vec<String>, remedy: &str) {
    assert!(problems.is_empty(), "{} found:\n{}\n{remedy}", problems.len(), problems.join("\n"));
}

fn place(source: &Source, line: usize) -> String {
    format!("{}:{}", source.path, line + 1)
}
