//! `new`: starts a session.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use anyhow::bail;

use super::{Common, Exit, attach, block_on, print, start, terminal};
use crate::{
    SessionName, TerminalSize,
    message::{ClientMessage, Create, Reply},
};

/// Starts a session and attaches to it; starts the server if none runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fugue-server new work\n  fugue-server new build -d -- make -j8\n  \
fugue-server new tests -- cargo test > tests.log")]
pub(super) struct Args {
    /// The session's name: 1 to 64 letters, digits, dots, underscores or hyphens
    name: SessionName,
    /// Do not attach; print the session's id
    #[arg(short, long)]
    detached: bool,
    /// The terminal's size [default: that of this terminal, else 80x24]
    #[arg(long, value_name = "WxH")]
    size: Option<TerminalSize>,
    #[command(flatten)]
    watch: attach::WatchArgs,
    /// The program and its arguments [default: $SHELL, else /bin/sh]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(common: &Common, args: Args) -> anyhow::Result<Exit> {
    let command = if args.command.is_empty() { vec![default_shell()] } else { args.command };
    let bytes = |text: &OsStr| text.as_bytes().to_vec();
    let create = Create {
        name: args.name,
        command: command.iter().map(|word| bytes(word)).collect(),
        env: env::vars_os().map(|(key, value)| (key.into_vec(), value.into_vec())).collect(),
        cwd: env::current_dir().ok().map(|directory| bytes(directory.as_os_str())),
        size: args.size.or_else(terminal::size).unwrap_or(TerminalSize::DEFAULT),
        attach: (!args.detached).then(|| args.watch.view()),
    };
    let follow_size = args.size.is_none();
    block_on(async {
        let mut client = start::connect_or_start(common).await?;
        let request = ClientMessage::Create(create);
        if args.detached {
            let Reply::Created(info) = client.request(&request).await? else {
                bail!("the server did not say which session it created");
            };
            print(&format!("{}\n", info.id))?;
            return Ok(Exit::SUCCESS);
        }
        let attached = client.attach(&request).await?;
        attach::watch(client, attached, &args.watch, follow_size).await
    })
}

fn default_shell() -> OsString {
    env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())
}
