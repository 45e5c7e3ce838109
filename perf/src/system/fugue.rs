//! This project's server, with a session that is printed to from memory.

use std::sync::Arc;

use bytes::Bytes;
use fugue_server::{Feed, Server, TerminalSize, message::Pace};
use tokio::runtime::Runtime;

use super::{FanOut, Starting};
use crate::receiver::{Address, Protocol};

pub(super) struct Fugue {
    runtime: Runtime,
    feed: Arc<Feed>,
}

pub(super) fn start(starting: &mut Starting<'_>, model: bool, pace: Pace) -> anyhow::Result<Fugue> {
    let socket = starting.directory.join("fugue/server.sock");
    let runtime = super::runtime()?;
    let inside = runtime.enter();
    let mut server = Server::builder(&socket).max_clients(starting.clients() + 1);
    if !model {
        server = server.no_screen_model();
    }
    let server = server.bind()?;
    let feed = server.feeds().start("feed".parse()?, TerminalSize::DEFAULT, pace)?;
    runtime.spawn(server.serve(std::future::pending()));
    drop(inside);
    starting.subscribe(Address::Unix(socket), Protocol::Fugue { session: feed.session() })?;
    Ok(Fugue { runtime, feed: Arc::new(feed) })
}

impl FanOut for Fugue {
    fn publish(&mut self, message: &Bytes, times: u64) -> anyhow::Result<()> {
        let (feed, message) = (Arc::clone(&self.feed), message.clone());
        // Inside the runtime, as a program that embeds the server would.
        let printing = self.runtime.spawn(async move {
            for _ in 0..times {
                feed.print(message.clone()).await?;
            }
            Ok(())
        });
        self.runtime.block_on(printing)?
    }
}
