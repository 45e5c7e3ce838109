//! `detach`: detaches others, or the terminal that it is typed in.

use super::{
    Exit, Globals, block_on, print_note,
    target::{SessionArg, connect_to_this_or},
};
use crate::{
    ClientId,
    message::{DetachWhich, SessionChange},
};

/// Detaches the terminals of a session; inside one and without a name, the terminal used last
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What records the session into a file goes on, unless it is the CLIENT that is named."
)]
pub(super) struct Args {
    /// The session's name, or its beginning [default: the session that this runs in]
    name: Option<SessionArg>,
    /// Only this client, by its number in `list --clients`
    #[arg(value_name = "CLIENT")]
    client: Option<u64>,
    /// All but the terminal used last
    #[arg(long, conflicts_with = "client")]
    others: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let which = match (args.client, args.others, &args.name) {
        (Some(client), _, _) => DetachWhich::One(ClientId(client)),
        (None, true, _) => DetachWhich::Others,
        (None, false, Some(_)) => DetachWhich::Terminals,
        (None, false, None) => DetachWhich::Latest,
    };
    block_on(async {
        let (mut client, session) = connect_to_this_or(common, args.name.as_ref()).await?;
        let changed = client.change(session, SessionChange::Detach(which)).await?;
        match changed.clients {
            // Its own terminal has said so.
            1 if which == DetachWhich::Latest => {}
            0 => print_note(format_args!("[nobody was attached to {}]", changed.name)),
            1 => print_note(format_args!("[1 client detached from {}]", changed.name)),
            many => print_note(format_args!("[{many} clients detached from {}]", changed.name)),
        }
        Ok(Exit::SUCCESS)
    })
}
