//! `unshare`: takes a link back.

use super::{Exit, Globals, block_on, print_note};
use crate::message::{LinkId, UnshareWhich};

/// Takes a link back, and ends the connections of those who watch by it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The links, by what `shares` calls them
    #[arg(value_name = "LINK", required_unless_present = "all")]
    links: Vec<LinkId>,
    /// All links
    #[arg(long, conflicts_with = "links")]
    all: bool,
}

pub(super) fn run(common: &Globals, args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        let ones = args.links.iter().copied().map(UnshareWhich::One);
        let which = if args.all { vec![UnshareWhich::All] } else { ones.collect() };
        let mut viewers = 0;
        for which in which {
            viewers += client.unshare(which).await?.viewers;
        }
        if viewers > 0 {
            print_note(format_args!(
                "[{viewers} {} disconnected]",
                if viewers == 1 { "viewer was" } else { "viewers were" }
            ));
        }
        Ok(Exit::SUCCESS)
    })
}
