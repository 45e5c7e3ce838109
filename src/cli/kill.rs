//! `kill`: ends a session's program.

use super::{Exit, Globals, block_on, print_note};
use crate::SessionName;

/// Hangs up a session's program, and kills it if it has not gone 2 s later
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The session's name
    name: SessionName,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let status = common.connect().await?.kill(args.name.clone()).await?;
        print_note(format_args!("[session {} ended: {status}]", args.name));
        Ok(Exit::SUCCESS)
    })
}
