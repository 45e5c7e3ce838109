//! `kill`: ends sessions, or sends signals into them.

use std::{collections::VecDeque, str::FromStr};

use super::{Exit, Globals, block_on, print_error, print_note, target::SessionArg};
use crate::{
    SessionName,
    client::Client,
    message::{ClientMessage, Reply, SessionChange, SessionInfo, SessionState, Target},
};

/// Programs that are ended at once: as many as the server lets a client wait for.
const AT_ONCE: usize = 16;

/// Hangs up sessions' programs, and kills those that have not gone 2 s later
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "fugue-server kill [-s SIGNAL] <NAME>...\n       fugue-server kill [-s SIGNAL] --all"
)]
pub(super) struct Args {
    /// The sessions' names, or their beginnings
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<SessionArg>,
    /// All that run
    #[arg(long)]
    all: bool,
    /// Only send this signal to what is in the terminal's foreground, as ctrl-C does INT, and wait for nothing
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<SignalArg>,
}

/// A signal by its name, with or without `SIG`, or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SignalArg(i32);

impl FromStr for SignalArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use nix::sys::signal::Signal;

        let upper = text.to_ascii_uppercase();
        let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let numbered = || text.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
        let signal = Signal::from_str(&name).ok().or_else(numbered);
        signal
            .map(|signal| Self(signal as i32))
            .ok_or("write a name that `kill -l` lists, such as INT or SIGTERM, or its number, from 1 to 31")
    }
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let (mut is_done, mut targets) = (true, Vec::new());
        for session in &args.names {
            #[cfg(feature = "nodes")]
            if let (Some(SignalArg(signal)), Some(host)) = (args.signal, session.node(common)) {
                let signal = SessionChange::Signal(signal);
                if let Err(error) = super::node::change(common, host, session.target.clone(), signal).await {
                    is_done = false;
                    print_error(format_args!("{session}: {error:#}"));
                }
                continue;
            }
            match common.resolve(session).await {
                Ok(target) => targets.push(target),
                Err(error) => {
                    is_done = false;
                    print_error(format_args!("{error:#}"));
                }
            }
        }
        if targets.is_empty() && !args.all {
            return Ok(if is_done { Exit::SUCCESS } else { Exit::FAILURE });
        }
        let mut client = common.connect().await?;
        let mut sessions = Vec::new();
        if args.all {
            sessions = client.list().await?;
            sessions.retain(|info| matches!(info.state, SessionState::Running { .. }));
            if sessions.is_empty() {
                print_note(format_args!("[no session runs]"));
            }
        }
        for target in targets {
            match client.find(target).await {
                Ok(info) => sessions.push(info),
                Err(error) => {
                    is_done = false;
                    let error = anyhow::Error::from(error);
                    #[cfg(feature = "nodes")]
                    let error = super::node::with_hint(common, error).await;
                    print_error(format_args!("{error:#}"));
                }
            }
        }
        is_done &= match args.signal {
            Some(signal) => send_all(&mut client, sessions, signal).await,
            None => end_all(&mut client, sessions).await?,
        };
        Ok(if is_done { Exit::SUCCESS } else { Exit::FAILURE })
    })
}

/// Sends a signal into each. Returns whether all were sent.
async fn send_all(client: &mut Client, sessions: Vec<SessionInfo>, SignalArg(signal): SignalArg) -> bool {
    let mut is_done = true;
    for SessionInfo { id, name, .. } in sessions {
        if let Err(error) = client.change(id, SessionChange::Signal(signal)).await {
            is_done = false;
            print_error(format_args!("session {name}: {error}"));
        }
    }
    is_done
}

/// Ends each, several at once. Returns whether all have ended.
async fn end_all(client: &mut Client, sessions: Vec<SessionInfo>) -> anyhow::Result<bool> {
    let mut is_done = true;
    let mut outstanding = VecDeque::new();
    for SessionInfo { id, name, .. } in sessions {
        if outstanding.len() == AT_ONCE
            && let Some(oldest) = outstanding.pop_front()
        {
            is_done &= ended(client, oldest).await;
        }
        let kill = ClientMessage::Kill { session: Target::Id(id) };
        outstanding.push_back((client.send(&kill).await?, name));
    }
    for one in outstanding {
        is_done &= ended(client, one).await;
    }
    Ok(is_done)
}

/// Waits for one to end, and says how it did.
async fn ended(client: &mut Client, (request, name): (u64, SessionName)) -> bool {
    match client.answer(request).await {
        Ok(Reply::Killed(status)) => print_note(format_args!("[session {name} ended: {status}]")),
        Ok(_) => {}
        Err(error) => {
            print_error(format_args!("{error}"));
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("HUP", 1), ("sigint", 2), ("15", 15), ("SIGUSR1", 10), ("winch", 28)] {
            assert_eq!(text.parse(), Ok(SignalArg(number)), "{text}");
        }
        for wrong in ["", "SIG", "0", "-1", "64", "SIGSIGHUP", "FOO", "1.5"] {
            assert!(wrong.parse::<SignalArg>().is_err(), "{wrong:?}");
        }
    }
}
