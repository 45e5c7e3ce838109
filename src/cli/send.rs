//! `send`: types into a session: standard input as it is, or as a paste, or keys by their names.

mod paste;

use std::{collections::VecDeque, io::Read, str::FromStr};

use anyhow::Context;
use bytes::Bytes;

use self::paste::Paste;
use super::{Exit, Globals, block_on, print, target::SessionArg};
use crate::{
    SessionId,
    client::Client,
    message::ClientMessage,
    terminal::{NamedKey, ShownScreen, SnapshotModes},
    wire::MAX_INPUT,
};

/// Bytes per request, and requests outstanding: within what the server lets a client have outstanding.
const CHUNK: usize = 48 * 1024;
const OUTSTANDING: usize = 4;

/// Types into a session's terminal: standard input, as it is or as a paste, or keys
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:  printf 'make test\\n' | fugue-server send work
           fugue-server send work --keys 'C-c Up Enter'

The terminal treats the bytes as typed: end a line with a newline, and mind that a line being edited by the \
terminal itself is cut at 4095 bytes.")]
pub(super) struct Args {
    /// The session's name, or its beginning
    name: SessionArg,
    /// Type these keys instead, named as in tmux: a, Enter, Escape, Tab, BSpace, Space, Up, PageUp, F1; C-x, M-x, S-x
    #[arg(long, value_name = "KEYS", conflicts_with = "paste", allow_hyphen_values = true)]
    keys: Option<NamedKeys>,
    /// Type it as a terminal does what is pasted: in brackets, if the program asked for those
    #[arg(long)]
    paste: bool,
    /// Print where the session's output stood before: `wait --since` takes that
    #[arg(long)]
    offset: bool,
}

/// Keys, with blanks between them.
#[derive(Clone, Debug)]
struct NamedKeys(Vec<NamedKey>);

impl FromStr for NamedKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let keys: Vec<_> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("name a key at least, such as Enter".to_owned()) } else { Ok(Self(keys)) }
    }
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let (mut client, target) = common.connect_to(&args.name).await?;
        let info = client.find(target).await?;
        if args.offset {
            print(&format!("{}\n", info.printed))?;
        }
        if let Some(NamedKeys(keys)) = args.keys {
            let modes = modes(&mut client, info.id).await?;
            let mut bytes = Vec::new();
            keys.into_iter().for_each(|key| key.put(&modes, &mut bytes));
            for piece in bytes.chunks(MAX_INPUT) {
                client.input(info.id, piece.to_vec()).await?;
            }
        } else if args.paste {
            let is_bracketed = modes(&mut client, info.id).await?.bracketed_paste;
            type_in(&mut client, info.id, Paste::new(is_bracketed)).await?;
        } else {
            type_in(&mut client, info.id, AsItIs).await?;
        }
        Ok(Exit::SUCCESS)
    })
}

/// The modes that its program has put the terminal into.
async fn modes(client: &mut Client, session: SessionId) -> anyhow::Result<SnapshotModes> {
    let screen = client.read_screen(session, 0).await?;
    Ok(ShownScreen::new(screen.size, &screen.drawing, 0).modes())
}

/// What becomes of standard input on its way.
trait Typing {
    /// It is read as far as there is room before any of it is typed, so that what others type does not come between.
    const IS_GATHERED: bool;

    /// Appends what is typed for `input` to `out`.
    fn convert(&mut self, input: &[u8], out: &mut Vec<u8>);

    /// Appends what comes last.
    fn end(&mut self, out: &mut Vec<u8>);
}

struct AsItIs;

impl Typing for AsItIs {
    const IS_GATHERED: bool = false;

    fn convert(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.extend(input);
    }

    fn end(&mut self, _: &mut Vec<u8>) {}
}

/// Types standard input.
async fn type_in<T: Typing>(client: &mut Client, session: SessionId, mut typing: T) -> anyhow::Result<()> {
    // Each is answered once it has been typed, in order.
    let mut outstanding = VecDeque::new();
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    let mut read = Ok(true);
    while matches!(read, Ok(true)) {
        let mut filled = 0;
        while filled < buffer.len() && matches!(read, Ok(true)) && (filled == 0 || T::IS_GATHERED) {
            read = input.read(&mut buffer[filled..]).map(|more| {
                filled += more;
                more > 0
            });
        }
        let mut out = Vec::new();
        typing.convert(&buffer[..filled], &mut out);
        // Also after an error: a paste is not left open.
        if !matches!(read, Ok(true)) {
            typing.end(&mut out);
        }
        for piece in out.chunks(MAX_INPUT) {
            if outstanding.len() == OUTSTANDING
                && let Some(oldest) = outstanding.pop_front()
            {
                client.answer(oldest).await?;
            }
            let data = Bytes::copy_from_slice(piece);
            outstanding
                .push_back(client.send(&ClientMessage::Input { session, position: None, data }).await?);
        }
    }
    for request in outstanding {
        client.answer(request).await?;
    }
    read.map(drop).context("reading standard input failed")
}
