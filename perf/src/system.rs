//! The measured systems: each takes messages at one end and hands them to every subscriber at the other.

mod broadcast;
mod broker;
mod floor;
mod fugue;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use fugue_server::message::Pace;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    payload::lines,
    receiver::{Address, Plan, Protocol, Receivers},
};

pub(crate) use self::broker::start_nats;

/// A way to hand messages to many.
pub(crate) trait FanOut {
    /// Hands `message` over this often. May return before all of it arrived.
    fn publish(&mut self, message: &Bytes, times: u64) -> anyhow::Result<()>;

    /// The process id, where it is a process of its own.
    fn process(&self) -> Option<u32> {
        None
    }
}

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Fugue { model: bool, pace: Pace },
    Floor,
    TokioBroadcast,
    Redis,
    Nats,
    Mosquitto,
}

/// What is handed to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) readers: usize,
    pub(crate) stalled: usize,
    pub(crate) message_bytes: usize,
    pub(crate) messages: u64,
}

/// What a system is started with.
pub(crate) struct Starting<'a> {
    /// For its sockets and files.
    directory: &'a Path,
    load: Load,
    receivers: Option<(Receivers, Address, Protocol)>,
}

impl Starting<'_> {
    fn clients(&self) -> usize {
        self.load.readers + self.load.stalled
    }

    /// Starts the subscribers. They may not be subscribed yet when this returns.
    fn subscribe(&mut self, address: Address, protocol: Protocol) -> anyhow::Result<()> {
        let Load { readers, stalled, message_bytes, messages } = self.load;
        let message_bytes = message_bytes as u64;
        let round_bytes = messages * message_bytes;
        let plan = Plan { address, protocol, readers, stalled, round_bytes, message_bytes };
        let receivers = Receivers::start(&plan)?;
        self.receivers = Some((receivers, plan.address, plan.protocol));
        Ok(())
    }
}

/// A running system and its subscribers.
pub(crate) struct Rig {
    // First, so that a system whose subscribers are gone has nobody to wait for.
    receivers: Receivers,
    fan_out: Box<dyn FanOut>,
    message: Bytes,
    messages: u64,
    address: Address,
    protocol: Protocol,
    _directory: TempDir,
}

impl Rig {
    pub(crate) fn start(system: System, load: Load) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut starting = Starting { directory: directory.path(), load, receivers: None };
        let fan_out: Box<dyn FanOut> = match system {
            System::Fugue { model, pace } => Box::new(fugue::start(&mut starting, model, pace)?),
            System::Floor => Box::new(floor::start(&mut starting)?),
            System::TokioBroadcast => Box::new(broadcast::start(&mut starting)?),
            System::Redis => Box::new(broker::redis(&mut starting)?),
            System::Nats => Box::new(broker::nats(&mut starting)?),
            System::Mosquitto => Box::new(broker::mosquitto(&mut starting)?),
        };
        let (mut receivers, address, protocol) = starting.receivers.context("nobody subscribed")?;
        receivers.ready()?;
        let message = Bytes::from(lines(load.message_bytes));
        Ok(Self {
            receivers,
            fan_out,
            message,
            messages: load.messages,
            address,
            protocol,
            _directory: directory,
        })
    }

    /// A broker's process, and how to subscribe to it.
    pub(crate) fn broker(&self) -> Option<(u32, &Address, &Protocol)> {
        Some((self.fan_out.process()?, &self.address, &self.protocol))
    }

    /// How long a round takes: from the first message handed over until every reader has the last.
    pub(crate) fn round(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.fan_out.publish(&self.message, self.messages)?;
        let lost = self.receivers.round()?;
        if lost > 0 {
            bail!("{lost} bytes were lost");
        }
        Ok(start.elapsed())
    }
}

/// A runtime for a server, like the one a program would have.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
