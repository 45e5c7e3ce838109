//! How watching ends, and what the person is told of it.

use std::{io, path::Path};

use super::super::{Exit, bytes::about};
use crate::{SessionName, client::ClientError, message::ExitStatus};

/// How watching ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Detached,
    Ended(ExitStatus),
    /// All that was wanted is shown.
    Enough,
    /// A recording would have a gap of this many bytes.
    Gap(u64),
    /// Nobody reads what this writes; or, until `finish` says why, it can't be written.
    NobodyReads,
    NotWritten(io::Error),
    Signal(i32),
    Lost(ClientError),
    /// The connection was lost, and no other can be made for this reason, or goes on where it was.
    NotResumed(String),
}

/// The exit status, and what the person is told.
pub(super) fn report(
    outcome: Outcome,
    name: &SessionName,
    path: Option<&Path>,
    unwritten: u64,
) -> (Exit, Option<String>) {
    let recording = path
        .map_or_else(|| "the recording".to_owned(), |path| format!("the recording into {}", path.display()));
    match outcome {
        Outcome::Enough => (Exit::SUCCESS, None),
        Outcome::Detached => (Exit::SUCCESS, Some(format!("[detached from {name}]"))),
        Outcome::Ended(status) => {
            (Exit(status.as_exit_code()), Some(format!("[session {name} ended: {status}]")))
        }
        Outcome::Gap(bytes) => {
            let what = format!(
                "fugue-server: {recording} ends here: it was too slow, and the next {bytes} bytes are no longer held"
            );
            (Exit::CLOSED, Some(what))
        }
        Outcome::NobodyReads => (Exit(141), None),
        Outcome::NotWritten(error) => {
            let what = format!("fugue-server: {recording} ends here: writing it failed: {error}");
            (Exit::CLOSED, Some(what))
        }
        Outcome::Signal(signal) => {
            let what =
                format!("fugue-server: the signal came before the last {} were written", about(unwritten));
            (Exit(128_u8.saturating_add(signal.to_le_bytes()[0])), (unwritten > 0).then_some(what))
        }
        Outcome::Lost(error) if path.is_some() => {
            (Exit::CLOSED, Some(format!("fugue-server: {recording} ends here: {error}")))
        }
        Outcome::Lost(error) => (Exit::CLOSED, Some(format!("fugue-server: {error}"))),
        Outcome::NotResumed(why) if path.is_some() => {
            let what =
                format!("fugue-server: {recording} ends here: the connection to the server was lost; {why}");
            (Exit::CLOSED, Some(what))
        }
        Outcome::NotResumed(why) => {
            (Exit::CLOSED, Some(format!("fugue-server: the connection to the server was lost; {why}")))
        }
    }
}
