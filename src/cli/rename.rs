//! `rename`: gives a session another name.

use super::{Exit, Globals, block_on, target::SessionArg};
use crate::{SessionName, message::SessionChange};

/// Gives a session another name; FUGUE_SESSION stays as it was, FUGUE_SESSION_ID right
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The session's name now, or its beginning
    #[arg(value_name = "OLD")]
    old: SessionArg,
    /// Its new name: 1 to 64 letters, digits, dots, underscores or hyphens
    #[arg(value_name = "NEW")]
    new: SessionName,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    args.old.must_be_here(common)?;
    block_on(async {
        common.connect().await?.change(args.old.target, SessionChange::Rename(args.new)).await?;
        Ok(Exit::SUCCESS)
    })
}
