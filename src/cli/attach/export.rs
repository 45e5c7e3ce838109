//! `export`: writes what is held of a session's output, and is done.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};

use super::{
    super::{Exit, Globals, block_on, print_note, target::SessionArg, terminal::hide_stdout},
    SPOOL, StartArg,
    cast_writer::CastWriter,
    display::{FileMedium, Medium},
    record::{about, options, watching},
    recording_file::{Contents, RecordingFile},
    show,
};
use crate::{
    SessionId, TerminalSize,
    client::{Client, ClientError},
    message::{Attach, AttachedTo, RequestError, SessionInfo},
};

/// Writes what is held of a session's output, as an asciicast or byte for byte
#[derive(Debug, clap::Args)]
#[command(after_help = "\
When it was printed is not held, nor which sizes the terminal had before: an asciicast shows all of it at once,
in the size of now. With `--from screen` it is a drawing of the screen. Nobody waits for this.")]
pub(in crate::cli) struct Args {
    /// The session's name, or its beginning
    name: SessionArg,
    /// A file that is not there yet [default: standard output]
    file: Option<PathBuf>,
    /// The program's bytes as they are, instead of an asciicast (version 3)
    #[arg(long)]
    raw: bool,
    /// From `start`, the oldest byte held; a number of the newest bytes; or `screen`
    #[arg(long, value_name = "WHERE", default_value = "start")]
    from: StartArg,
}

pub(in crate::cli) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    if args.from != StartArg::Screen {
        // A mirror of it has what was printed since it began.
        args.name.must_be_here(common)?;
    }
    if args.raw && args.from == StartArg::Screen {
        bail!("`--from screen` is for asciicasts; `fugue-server screen --ansi` prints the screen as bytes");
    }
    let contents = if args.raw { Contents::Bytes } else { Contents::Lines };
    let file = args.file.as_ref().map(|path| RecordingFile::create(path, contents)).transpose()?;
    if file.as_ref().is_some_and(RecordingFile::is_file) {
        // So that a session can be exported from within.
        hide_stdout().context("putting standard output aside failed")?;
    }
    block_on(async {
        if args.from == StartArg::Screen {
            return export_screen(common, args.name, file).await;
        }
        match begin(common, args.name, args.from).await {
            Ok((client, info, attached)) => {
                let until = info.printed;
                let cast = (!args.raw).then(|| cast(info, attached.size));
                let medium = FileMedium { file, cast, spool: SPOOL as u64, until: Some(until) };
                show(common, client, attached, &watching(common)?, Medium::File(Box::new(medium))).await
            }
            Err(error) => {
                if let Some(file) = file {
                    file.remove();
                }
                Err(error)
            }
        }
    })
}

/// Attaches, so that what is held stays held until it is here; and asks how much that is.
async fn begin(
    common: &Globals,
    session: SessionArg,
    from: StartArg,
) -> anyhow::Result<(Client, SessionInfo, AttachedTo)> {
    let (mut client, target) = common.connect_to(&session).await?;
    let attached = client.attach_with(Attach::new(target, options(from))).await?;
    // By another connection: on this one output comes before the answer.
    let info = info_of(&mut common.connect().await?, attached.session).await?;
    if from == StartArg::Start && attached.start > 0 {
        print_note(format_args!(
            "[the first {} bytes of session {} are no longer held; this begins after them]",
            attached.start, attached.name
        ));
    }
    Ok((client, info, attached))
}

/// What is known of a session, also of one that ended.
async fn info_of(client: &mut Client, session: SessionId) -> anyhow::Result<SessionInfo> {
    match client.find(session).await {
        Err(ClientError::Refused(RequestError::SessionEnded { .. })) => {
            let sessions = client.list().await?;
            sessions
                .into_iter()
                .find(|info| info.id == session)
                .context("the session ended, and many others since")
        }
        found => Ok(found?),
    }
}

fn cast(info: SessionInfo, size: TerminalSize) -> CastWriter {
    CastWriter::new(size, about(Some(info), None)).without_times()
}

async fn export_screen(
    common: &Globals,
    session: SessionArg,
    file: Option<RecordingFile>,
) -> anyhow::Result<Exit> {
    let read = async {
        let (mut client, target) = common.connect_to(&session).await?;
        let screen = client.read_screen(target, 0).await?;
        let info = info_of(&mut client, screen.session).await?;
        let mut cast = cast(info, screen.size);
        Ok(cast.begin() + &cast.output(&screen.drawing))
    };
    let lines: anyhow::Result<String> = read.await;
    let (lines, mut out): (_, Box<dyn Write>) = match (lines, file) {
        (Ok(lines), Some(file)) => (lines, Box::new(file)),
        (Ok(lines), None) => (lines, Box::new(io::stdout())),
        (Err(error), file) => {
            if let Some(file) = file {
                file.remove();
            }
            return Err(error);
        }
    };
    match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit(141)),
        written => written.map(|()| Exit::SUCCESS).context("writing it failed"),
    }
}
