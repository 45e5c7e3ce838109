//! `send`: types standard input into a session.

use std::{collections::VecDeque, io::Read};

use anyhow::{Context, bail};
use bytes::Bytes;

use super::{Exit, Globals, block_on};
use crate::{
    SessionName,
    message::{ClientMessage, SessionState},
};

/// Bytes per request, and requests outstanding: within what the server lets a client have outstanding.
const CHUNK: usize = 16 * 1024;
const OUTSTANDING: usize = 8;

/// Types standard input into a session's terminal, as it is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  printf 'make test\\n' | fugue-server send work\n\n\
The terminal treats the bytes as typed: end a line with a newline, and mind that a line being edited by the \
terminal itself is cut at 4095 bytes.")]
pub(super) struct Args {
    /// The session's name
    name: SessionName,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        let session = match client.list().await?.into_iter().find(|info| info.name == args.name) {
            Some(info) => match info.state {
                SessionState::Running { .. } => info.id,
                SessionState::Ended(status) => bail!("session {} has ended: {status}", args.name),
            },
            None => bail!("there is no session {}; `list` shows which there are", args.name),
        };

        // Each is answered once it has been typed, in order.
        let mut outstanding = VecDeque::new();
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = input.read(&mut buffer).context("reading standard input failed")?;
            if read == 0 {
                break;
            }
            if outstanding.len() == OUTSTANDING
                && let Some(oldest) = outstanding.pop_front()
            {
                client.answer(oldest).await?;
            }
            let data = Bytes::copy_from_slice(&buffer[..read]);
            outstanding.push_back(client.send(&ClientMessage::Input { session, data }).await?);
        }
        for request in outstanding {
            client.answer(request).await?;
        }
        Ok(Exit::SUCCESS)
    })
}
