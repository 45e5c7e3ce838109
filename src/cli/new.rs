//! `new`: starts a session.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use anyhow::Context;

use super::{
    Exit, Globals, attach, block_on, print,
    start::{self, Started},
    terminal,
};
use crate::{
    SessionName, TerminalSize,
    message::{Create, Pace, SizePolicy},
};

/// Starts a session and attaches to it; starts the server if none runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  fugue-server new build -d -- make -j8")]
pub(super) struct Args {
    /// The session's name: 1 to 64 letters, digits, dots, underscores or hyphens
    name: SessionName,
    /// Do not attach; print the session's id
    #[arg(short, long)]
    detached: bool,
    /// WxH, or that of the terminal used last (latest), the smallest or largest of all [default: latest]
    #[arg(long, value_name = "SIZE", default_value = "latest", hide_default_value = true)]
    size: Size,
    /// Which viewer the program waits for: the fastest, the slowest, or nobody (free)
    #[arg(long, value_enum, value_name = "WHOM", default_value_t = PaceArg::Fastest, hide_possible_values = true)]
    pace: PaceArg,
    #[command(flatten)]
    watch: attach::WatchArgs,
    /// The program and its arguments [default: $SHELL, else /bin/sh]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug)]
enum Size {
    Fixed(TerminalSize),
    Follow(SizePolicy),
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Follow(SizePolicy::Latest)),
            "smallest" => Ok(Self::Follow(SizePolicy::Smallest)),
            "largest" => Ok(Self::Follow(SizePolicy::Largest)),
            size => size
                .parse()
                .map(Self::Fixed)
                .map_err(|error| format!("{error}; or latest, smallest, largest")),
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PaceArg {
    Fastest,
    Slowest,
    Free,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let command = if args.command.is_empty() { vec![default_shell()] } else { args.command };
    let bytes = |text: &OsStr| text.as_bytes().to_vec();
    let (own_size, own_pixels) = terminal::window().unwrap_or((TerminalSize::DEFAULT, None));
    let (size, size_policy) = match args.size {
        Size::Fixed(size) => (size, SizePolicy::Fixed),
        Size::Follow(policy) => (own_size, policy),
    };
    // In its place the program would get the server's, where what it does to relative paths was never meant.
    let directory = env::current_dir()
        .context("the current directory can't be found, so nothing was started; change to one that exists")?;
    let create = Create {
        name: args.name,
        command: command.iter().map(|word| bytes(word)).collect(),
        env: env::vars_os()
            .filter(is_handed_on)
            .map(|(key, value)| (key.into_vec(), value.into_vec()))
            .collect(),
        cwd: Some(bytes(directory.as_os_str())),
        size,
        size_policy,
        pace: match args.pace {
            PaceArg::Fastest => Pace::Fastest,
            PaceArg::Slowest => Pace::Slowest,
            PaceArg::Free => Pace::Free,
        },
        attach: None,
        // A program sees cells of the size that they have here, however many there are.
        pixels: own_pixels.map(|pixels| pixels.scaled(own_size, size)),
        settings: terminal::settings(),
    };
    block_on(async {
        let (mut client, started) = start::connect_or_start(common).await?;
        let created = if args.detached {
            client.create(create).await.map(|info| (info.id, None))
        } else {
            client
                .create_attached(create, args.watch.options())
                .await
                .map(|attached| (attached.session, Some(attached)))
        };
        match created {
            Ok((_, Some(attached))) => attach::watch(client, attached, &args.watch, false).await,
            Ok((id, None)) => {
                print(&format!("{id}\n"))?;
                Ok(Exit::SUCCESS)
            }
            Err(error) => {
                if started == Started::Now {
                    start::end_if_unused(client).await;
                }
                Err(error.into())
            }
        }
    })
}

/// Whether a program gets a variable of this process's. The size of this terminal is not its terminal's, which has one
/// of its own and changes.
fn is_handed_on((name, _): &(OsString, OsString)) -> bool {
    name != "COLUMNS" && name != "LINES"
}

fn default_shell() -> OsString {
    env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())
}
