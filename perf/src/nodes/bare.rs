//! What one would do without mirrors: a program's output published to all, and keys that are sent back.

use std::{
    io::{Read, Write},
    path::Path,
    thread::JoinHandle,
};

use anyhow::Context;
use async_nats::Client;
use futures_util::StreamExt;
use tokio::runtime::Runtime;

/// A program whose output is published. It begins when told to.
pub(crate) struct Publisher {
    pty: pty_process::blocking::Pty,
    child: std::process::Child,
    client: Client,
}

impl Publisher {
    pub(crate) fn start(
        address: &str,
        program: &[String],
        ready: &Path,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let client = runtime.block_on(async_nats::connect(address))?;
        let (pty, slave) = pty_process::blocking::open()?;
        let child = pty_process::blocking::Command::new(&program[0]).args(&program[1..]).spawn(slave)?;
        while !ready.exists() {
            std::thread::yield_now();
        }
        Ok(Self { pty, child, client })
    }

    /// Publishes so many bytes, in messages of what comes at once.
    pub(crate) fn publish(mut self, bytes: u64, runtime: &Runtime) -> JoinHandle<anyhow::Result<()>> {
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            self.pty.write_all(b"\n")?;
            let (mut left, mut buffer) = (bytes, vec![0; 64 * 1024]);
            while left > 0 {
                let read = self.pty.read(&mut buffer)?;
                left = left.saturating_sub(read as u64);
                let payload = bytes::Bytes::copy_from_slice(&buffer[..read]);
                handle.block_on(self.client.publish("output", payload))?;
            }
            handle.block_on(self.client.flush())?;
            self.child.kill()?;
            self.child.wait()?;
            Ok(())
        })
    }
}

/// Two connections: what is sent on one comes back from the other.
pub(crate) struct Echo {
    pub(crate) near: Client,
    /// Where keys go; of this one only.
    pub(crate) keys: String,
    pub(crate) back: async_nats::Subscriber,
    _far: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Echo {
    pub(crate) async fn start(address: &str) -> anyhow::Result<Self> {
        let (near, far) = (async_nats::connect(address).await?, async_nats::connect(address).await?);
        let (there, here) = (near.new_inbox(), near.new_inbox());
        let mut keys = far.subscribe(there.clone()).await?;
        let mut back = near.subscribe(here.clone()).await?;
        let answering = tokio::spawn(async move {
            while let Some(key) = keys.next().await {
                far.publish(here.clone(), key.payload).await?;
            }
            anyhow::Ok(())
        });
        // Once around, so that both subscriptions stand.
        loop {
            near.publish(there.clone(), "first".into()).await?;
            let wait = std::time::Duration::from_millis(100);
            if let Ok(message) = tokio::time::timeout(wait, back.next()).await {
                message.context("the connection is lost")?;
                return Ok(Self { near, keys: there, back, _far: answering });
            }
        }
    }
}
