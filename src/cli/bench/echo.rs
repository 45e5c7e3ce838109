//! How long one keystroke takes to come back: through the server to a program that writes what it reads, and back. Once
//! with nothing else going on, and once while the burst floods another session.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;
use bytes::Bytes;
use hdrhistogram::Histogram;

use super::{
    program::{options, start},
    stream::READY,
};
use crate::{
    SessionId,
    client::{Client, Incoming},
    message::{ClientMessage, OnLag},
};

/// Between two keystrokes: nobody types faster, and a connection in constant use would never be found idle.
const PAUSE: Duration = Duration::from_millis(2);

/// Keystrokes with nothing else going on.
const IDLE_KEYS: usize = 1000;

/// Types into a session of its own.
pub(super) struct Echo {
    client: Client,
    session: SessionId,
}

impl Echo {
    pub(super) async fn start(socket: &Path) -> anyhow::Result<Self> {
        let mut client = Client::connect(socket).await?;
        let session = start(&mut client, "echo", "echo").await?;
        client.attach(session, options(OnLag::Lossless)).await?;
        let mut echo = Self { client, session };
        echo.receive(READY.len()).await?;
        Ok(echo)
    }

    async fn receive(&mut self, mut bytes: usize) -> anyhow::Result<()> {
        while bytes > 0 {
            if let Incoming::Output { data, .. } = self.client.next().await? {
                if data.len() > bytes {
                    bail!("more came back than was typed");
                }
                bytes -= data.len();
            }
        }
        Ok(())
    }

    async fn keystroke(&mut self, times: &mut Histogram<u64>) -> anyhow::Result<()> {
        tokio::time::sleep(PAUSE).await;
        let typed = Instant::now();
        let data = Bytes::from_static(b"x");
        self.client.send(&ClientMessage::Input { session: self.session, position: None, data }).await?;
        self.receive(1).await?;
        times.saturating_record(u64::try_from(typed.elapsed().as_micros()).unwrap_or(u64::MAX).max(1));
        Ok(())
    }

    /// Types with nothing else going on; returns microseconds.
    pub(super) async fn idle(&mut self) -> anyhow::Result<Histogram<u64>> {
        let mut times = histogram()?;
        for _ in 0..IDLE_KEYS {
            self.keystroke(&mut times).await?;
        }
        Ok(times)
    }

    /// Types for as long as it is let, into `times`.
    pub(super) async fn keep_typing(&mut self, times: &mut Histogram<u64>) -> anyhow::Result<()> {
        loop {
            self.keystroke(times).await?;
        }
    }
}

pub(super) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000, 3)?)
}
