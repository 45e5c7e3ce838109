//! Many who watch, in a process of their own: at the mirrors of several machines, or each as a subscriber of
//! nats-server. Each hashes what it is sent.

use std::path::PathBuf;

use anyhow::{Context, bail};
use async_nats::Subscriber;
use fugue_server::{
    Client, SessionId,
    client::Incoming,
    message::{AttachOptions, OnLag, StartAt},
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;
use xxhash_rust::xxh3::Xxh3;

use crate::web::{hash_of_lines, say};

/// Messages that a subscriber may have waiting: all that are sent.
const SUBSCRIBED: usize = 65_536;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Watched {
    /// A session, at each of these sockets.
    Session { sockets: Vec<PathBuf>, session: SessionId },
    /// What is published at this nats-server.
    Nats { address: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WatchPlan {
    pub(crate) what: Watched,
    /// How many watch, in all.
    pub(crate) watchers: usize,
    /// Bytes of numbered lines that come.
    pub(crate) bytes: u64,
}

/// The process itself. It says `ready`, and in the end `right N`: how many were sent exactly what was printed.
pub(crate) fn run(plan: &str) -> anyhow::Result<()> {
    let plan: WatchPlan = serde_json::from_str(plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(watch(plan)))
}

enum Watcher {
    Session(Box<Client>),
    Nats(Subscriber),
}

async fn watch(plan: WatchPlan) -> anyhow::Result<()> {
    let mut watchers = Vec::new();
    for number in 0..plan.watchers {
        watchers.push(match &plan.what {
            Watched::Session { sockets, session } => {
                let mut client = Client::connect(&sockets[number % sockets.len()]).await?;
                client.attach(*session, AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
                Watcher::Session(Box::new(client))
            }
            Watched::Nats { address } => subscribe(address).await?,
        });
    }
    say("ready")?;
    let wanted = hash_of_lines(plan.bytes);
    let reading: Vec<_> =
        watchers.into_iter().map(|watcher| tokio::task::spawn_local(watcher.read(plan.bytes))).collect();
    let mut right = 0;
    for reader in reading {
        right += usize::from(reader.await?? == wanted);
    }
    say(&format!("right {right}"))
}

async fn subscribe(address: &str) -> anyhow::Result<Watcher> {
    let client = async_nats::ConnectOptions::new().subscription_capacity(SUBSCRIBED).connect(address).await?;
    let output = client.subscribe("output").await?;
    // What comes back to its sender says that the subscription before it stands.
    let inbox = client.new_inbox();
    let mut back = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, "".into()).await?;
    back.next().await.context("the connection is lost")?;
    Ok(Watcher::Nats(output))
}

impl Watcher {
    /// Reads so many bytes; returns their hash.
    async fn read(mut self, bytes: u64) -> anyhow::Result<u64> {
        let (mut hash, mut read) = (Xxh3::new(), 0);
        while read < bytes {
            let piece = match &mut self {
                Self::Session(client) => match client.next().await? {
                    Incoming::Output { offset, data } if offset == read => data,
                    Incoming::Output { offset, .. } => bail!("output at {offset} came after {read}"),
                    Incoming::Screen { .. } => bail!("a screen came in the place of output"),
                    _ => continue,
                },
                Self::Nats(output) => output.next().await.context("the connection is lost")?.payload,
            };
            hash.update(&piece);
            read += piece.len() as u64;
        }
        Ok(hash.digest())
    }
}
