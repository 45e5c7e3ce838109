//! `list`: which sessions there are.

use serde_json::json;

use super::{Exit, Globals, block_on, bytes::about, connect::NotConnected, print, print_error, print_json};
use crate::message::{SessionInfo, SessionState};

/// Lists the live sessions, then those that ended last
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let sessions = block_on(async {
        let mut client = match common.connect().await {
            Ok(client) => client,
            // Nothing runs, so there is nothing to list: an answer, not a failure.
            Err(NotConnected::NoServer(where_not)) => {
                print_error(format_args!("{where_not}"));
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        Ok(client.list().await?)
    })?;
    if args.json {
        print_json(&sessions.iter().map(as_json).collect::<Vec<_>>())?;
    } else {
        print(&table(&sessions))?;
    }
    Ok(Exit::SUCCESS)
}

fn as_json(info: &SessionInfo) -> serde_json::Value {
    let (pid, ended) = match info.state {
        SessionState::Running { pid } => (pid, None),
        SessionState::Ended(status) => (None, Some(status.as_exit_code())),
    };
    json!({
        "name": info.name.as_str(),
        "id": info.id.to_string(),
        "command": info.command,
        "running": ended.is_none(),
        "pid": pid,
        "exit_code": ended,
        "clients": info.clients,
        "size": info.size.to_string(),
        "printed_bytes": info.printed,
        "age_seconds": info.age_seconds,
    })
}

fn table(sessions: &[SessionInfo]) -> String {
    let mut table = super::table(["NAME", "CLIENTS", "STATE", "SIZE", "PRINTED", "AGE", "COMMAND"]);
    for info in sessions {
        let state = match info.state {
            SessionState::Running { pid: Some(pid) } => format!("running, pid {pid}"),
            SessionState::Running { pid: None } => "running".to_owned(),
            SessionState::Ended(status) => status.to_string(),
        };
        table.add_row([
            info.name.to_string(),
            info.clients.to_string(),
            state,
            info.size.to_string(),
            about(info.printed),
            age(info.age_seconds),
            info.command.clone(),
        ]);
    }
    table.trim_fmt() + "\n"
}

/// An age, in the largest unit of which it has two.
fn age(seconds: u64) -> String {
    let units = [("days", 24 * 60 * 60), ("hours", 60 * 60), ("minutes", 60)];
    match units.iter().find(|(_, unit)| seconds >= 2 * unit) {
        Some((name, unit)) => format!("{} {name}", seconds / unit),
        None if seconds == 1 => "1 second".to_owned(),
        None => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_the_largest_unit_of_which_there_are_two() {
        for (seconds, shown) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (48 * 3600, "2 days"),
        ] {
            assert_eq!(age(seconds), shown);
        }
    }
}
