//! The floor: a bare loop of blocking `write_all`. One slow subscriber would stop it.

use std::{
    io::Write,
    os::unix::net::{UnixListener, UnixStream},
};

use bytes::Bytes;

use super::{FanOut, Starting};
use crate::receiver::{Address, Protocol};

pub(super) struct Floor {
    subscribers: Vec<UnixStream>,
}

pub(super) fn start(starting: &mut Starting<'_>) -> anyhow::Result<Floor> {
    let socket = starting.directory.join("floor.sock");
    let listener = UnixListener::bind(&socket)?;
    starting.subscribe(Address::Unix(socket), Protocol::Raw)?;
    let accept = |_| Ok(listener.accept()?.0);
    Ok(Floor { subscribers: (0..starting.clients()).map(accept).collect::<anyhow::Result<_>>()? })
}

impl FanOut for Floor {
    fn publish(&mut self, message: &Bytes, times: u64) -> anyhow::Result<()> {
        for _ in 0..times {
            for subscriber in &mut self.subscribers {
                subscriber.write_all(message)?;
            }
        }
        Ok(())
    }
}
