//! `resize`: says what a session's terminal is sized by.

#[cfg(feature = "nodes")]
use anyhow::Context;

use super::{Exit, Globals, block_on, new::Size, target::SessionArg};
use crate::message::{SessionChange, SizePolicy};

/// Gives a session's terminal a size that stays, or lets it follow those that are attached
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The session's name, or its beginning
    name: SessionArg,
    /// WxH, which stays whoever attaches; or that of the terminal used last (latest), the smallest or largest of all
    size: Size,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let change = match args.size {
        Size::Fixed(size) => SessionChange::Size { policy: SizePolicy::Fixed, size: Some(size) },
        Size::Follow(policy) => SessionChange::Size { policy, size: None },
    };
    block_on(async {
        #[cfg(feature = "nodes")]
        if let Some(host) = args.name.node(common) {
            let changed = super::node::change(common, host, args.name.target.clone(), change).await;
            changed.with_context(|| args.name.to_string())?;
            return Ok(Exit::SUCCESS);
        }
        let (mut client, target) = common.connect_to(&args.name).await?;
        client.change(target, change).await?;
        Ok(Exit::SUCCESS)
    })
}
