//! Sessions that are started on another node, and watched from here.

use anyhow::{Context, bail};

use super::{Args, create};
use crate::{
    SessionId, SessionName,
    cli::{
        Exit, Globals,
        attach::{self, Entered},
        block_on,
        node::{self, NodeRefused},
        print,
    },
    message::{Create, Target},
};

/// As `new`, on that node.
pub(super) fn run(common: &Globals, host: &str, name: SessionName, args: Args) -> anyhow::Result<Exit> {
    if args.start.record.is_some() {
        bail!("leave out --record: `fugue-server record -d {name}@{host} FILE` records it from here");
    }
    let create = create(name, args.command, &args.start, true)?;
    let attach = attach::Args::with(common, args.watch)?;
    if args.attach {
        return attach_or_create(common, host, create, attach);
    }
    block_on(async {
        let session = node::create(common, host, create.clone()).await;
        let session = session.with_context(|| format!("{}@{host}", create.name))?;
        if args.detached {
            print(&format!("{session}\n"))?;
            return Ok(Exit::SUCCESS);
        }
        enter(common, host, session, attach).await
    })
}

/// Attaches to the live session of this name on that node, or creates it there.
pub(super) fn attach_or_create(
    common: &Globals,
    host: &str,
    create: Create,
    attach: attach::Args,
) -> anyhow::Result<Exit> {
    let named = Target::Name(create.name.clone());
    block_on(async {
        let found = node::watch(common, host, &named, false).await;
        let session = match found {
            Err(why) if matches!(why.downcast_ref(), Some(NodeRefused::NoSession(_))) => {
                match node::create(common, host, create.clone()).await {
                    // Another one was faster.
                    Err(why) if matches!(why.downcast_ref(), Some(NodeRefused::NameTaken(_))) => {
                        node::watch(common, host, &named, false).await
                    }
                    created => created,
                }
            }
            found => found,
        };
        let session = session.with_context(|| format!("{}@{host}", create.name))?;
        enter(common, host, session, attach).await
    })
}

/// Attaches to a session of that node.
async fn enter(
    common: &Globals,
    host: &str,
    session: SessionId,
    attach: attach::Args,
) -> anyhow::Result<Exit> {
    let session = node::watch(common, host, &session.into(), true).await?;
    let attach = attach.on(Some(host));
    let mut client = common.connect().await?;
    match attach::enter(&mut client, session.into(), &attach).await? {
        Entered::Switched => Ok(Exit::SUCCESS),
        Entered::Attached(attached) => attach::watch_from(common, client, attached, &attach).await,
    }
}
