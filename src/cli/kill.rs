//! `kill`: ends a session's program.

use anyhow::bail;

use super::{Common, Exit, block_on, tell};
use crate::{
    SessionName,
    message::{ClientMessage, Reply, Target},
};

/// Hangs up a session's program, and kills it if it has not gone 2 s later
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The session's name
    name: SessionName,
}

pub(super) fn run(common: &Common, args: Args) -> anyhow::Result<Exit> {
    let request = ClientMessage::Kill { session: Target::Name(args.name.clone()) };
    block_on(async {
        match common.connect().await?.request(&request).await? {
            Reply::Killed(status) => tell(format_args!("[session {} ended: {status}]", args.name)),
            other => bail!("the server answered {other:?} to a kill"),
        }
        Ok(Exit::SUCCESS)
    })
}
