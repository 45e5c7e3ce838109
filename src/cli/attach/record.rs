//! `record`: writes a session into a file, by a client that watches and does nothing else.

use std::{
    env,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, bail};

use super::{
    super::{
        Exit, Globals, block_on,
        bytes::ByteCount,
        print_note,
        target::SessionArg,
        terminal::{DetachKey, hide_stdout},
    },
    Lag, SPOOL, StartArg, WatchArgs,
    cast_writer::{About, CastWriter},
    display::Medium,
    show,
};
use crate::{
    client::Client,
    message::{Access, Attach, AttachOptions, AttachedTo, OnLag, SessionInfo},
};

/// Records a session into a file, with the times, until it ends
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An asciicast is text: bytes that are not UTF-8 are replaced in it. Nothing that is typed is recorded.
Exit status: the program's own at its end; 254 the server, a gap or a full disk ended it; 255 not begun.")]
pub(in crate::cli) struct Args {
    /// The session's name, or its beginning
    name: SessionArg,
    /// A file that is not there yet
    file: PathBuf,
    /// The program's bytes as they are, instead of an asciicast (version 3)
    #[arg(long)]
    raw: bool,
    /// What to start with, as for `attach` [default: screen, with --raw: start]
    #[arg(long, value_name = "WHERE")]
    from: Option<StartArg>,
    /// How much a temporary file may hold for a slow disk
    #[arg(long, value_name = "BYTES", default_value_t = ByteCount(SPOOL))]
    spool: ByteCount,
}

pub(in crate::cli) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let from = args.from.unwrap_or(if args.raw { StartArg::Start } else { StartArg::Screen });
    if args.raw && from == StartArg::Screen {
        bail!(
            "`--from screen` is for asciicasts: a raw recording has the program's own bytes; use now or start"
        );
    }
    let file = create(&args.file).with_context(|| format!("{}", args.file.display()))?;
    let is_file = file.metadata()?.is_file();
    if is_file {
        // So that a session can be recorded from within.
        hide_stdout().context("putting standard output aside failed")?;
    }
    block_on(async {
        let begun = begin(common, args.name, from).await;
        if begun.is_err() && is_file {
            // There is nothing in it. That it stays would be no more than untidy.
            let _ = std::fs::remove_file(&args.file);
        }
        let (client, info, attached) = begun?;
        let cast = (!args.raw).then(|| CastWriter::new(attached.size, &about(info, &file)));
        let watch = WatchArgs { on_lag: Some(Lag::Lossless), detach_key: DetachKey(None) };
        let medium = Medium::File { file: Some(file), spool: args.spool.0 as u64, cast };
        show(client, attached, &super::Args::with(common, watch)?, medium).await
    })
}

async fn begin(
    common: &Globals,
    SessionArg(target): SessionArg,
    from: StartArg,
) -> anyhow::Result<(Client, SessionInfo, AttachedTo)> {
    let mut client = common.connect().await?;
    let info = client.find(target).await?;
    let options = AttachOptions::new(from.into(), OnLag::Lossless).with_access(Access::ReadOnly);
    let attached = client.attach_with(Attach::new(info.id.into(), options)).await?;
    if from == StartArg::Start && attached.start > 0 {
        print_note(format_args!(
            "fugue-server: the first {} bytes are no longer held; the recording begins after them",
            attached.start
        ));
    }
    Ok((client, info, attached))
}

/// Makes the file, for its user alone; or opens what is there and is none, such as a pipe.
fn create(path: &Path) -> anyhow::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if path.metadata()?.is_file() {
                bail!("it exists already; remove it, or give another name");
            }
            Ok(OpenOptions::new().write(true).open(path)?)
        }
        opened => Ok(opened?),
    }
}

fn about(info: SessionInfo, file: &File) -> About {
    // The file was made now, and says when that is.
    let made = file.metadata().ok().and_then(|file| file.modified().ok());
    let timestamp = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    About {
        command: info.command,
        title: info.title,
        term: env::var("TERM").ok().filter(|term| !term.is_empty()),
        timestamp: timestamp.map(|time| time.as_secs()),
    }
}
