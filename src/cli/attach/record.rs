//! `record`: writes a session into a file, by a client that watches and does nothing else.

use std::{env, path::PathBuf, str::FromStr};

use anyhow::{Context, bail};

use super::{
    super::{
        Exit, Globals, block_on,
        bytes::ByteCount,
        print_note,
        target::SessionArg,
        terminal::{ClientKey, hide_stdout},
    },
    Lag, SPOOL, StartArg, WatchArgs,
    cast_writer::{About, CastWriter},
    display::{FileMedium, Medium},
    recording_file::{Contents, RecordingFile},
    show,
};
use crate::{
    client::Client,
    message::{Access, Attach, AttachOptions, AttachedTo, OnLag, SessionInfo},
};

/// The smallest part of a recording, in bytes.
const MIN_PART: usize = 64 * 1024;

/// Records a session into a file, with the times, until it ends
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Parts are FILE, then FILE with .2, .3 before its last dot. Each asciicast begins with the screen, and plays
alone. Bytes that are not UTF-8 are replaced in it. Nothing that is typed is recorded.
Exit status: the program's own at its end; 254 the server, a gap or a full disk ended it; 255 not begun.")]
pub(in crate::cli) struct Args {
    /// The session's name, or its beginning
    pub(super) name: SessionArg,
    /// A file that is not there yet
    pub(super) file: PathBuf,
    /// Go on in the background, whatever becomes of this terminal
    #[arg(short, long)]
    pub(super) detached: bool,
    /// The program's bytes as they are, instead of an asciicast (version 3)
    #[arg(long)]
    pub(super) raw: bool,
    /// Go on in another file before one has more than this, such as 10MiB
    #[arg(long, value_name = "BYTES")]
    rotate: Option<PartSize>,
    /// What to start with, as for `attach` [default: screen, with --raw: start]
    #[arg(long, value_name = "WHERE")]
    from: Option<StartArg>,
    /// How much a temporary file may hold for a slow disk
    #[arg(long, value_name = "BYTES", default_value_t = ByteCount(SPOOL))]
    spool: ByteCount,
    /// This is the process in the background: standard output is the file
    #[arg(long, hide = true)]
    pub(super) background: bool,
    /// Create the session that standard input describes
    #[arg(long, hide = true, requires = "background")]
    pub(super) create: bool,
}

#[derive(Clone, Copy, Debug)]
struct PartSize(usize);

impl FromStr for PartSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            ByteCount(bytes) if bytes < MIN_PART => Err(format!("use {} or more", ByteCount(MIN_PART))),
            ByteCount(bytes) => Ok(Self(bytes)),
        }
    }
}

/// Records until the session or this process ends.
pub(super) fn in_front(common: &Globals, args: &Args, file: RecordingFile) -> anyhow::Result<Exit> {
    if file.is_file() {
        // So that a session can be recorded from within.
        hide_stdout().context("putting standard output aside failed")?;
    }
    block_on(async {
        match begin(common, &args.name, args.from()).await {
            Ok(begun) => record(common, args, file, begun).await,
            Err(error) => {
                file.remove();
                Err(error)
            }
        }
    })
}

impl Args {
    fn from(&self) -> StartArg {
        self.from.unwrap_or(if self.raw { StartArg::Start } else { StartArg::Screen })
    }

    /// Refuses what can't be done together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.raw && self.from() == StartArg::Screen {
            bail!(
                "`--from screen` is for asciicasts: a raw recording has the program's own bytes; use now or start"
            );
        }
        Ok(())
    }

    /// Makes the file, or opens a pipe or device that is there.
    pub(super) fn create_file(&self) -> anyhow::Result<RecordingFile> {
        let file = RecordingFile::create(&self.file, self.contents())?;
        if self.rotate.is_some() && !file.is_file() {
            bail!("{} is not a file of its own, so it has no parts; leave out --rotate", self.file.display());
        }
        Ok(file)
    }

    pub(super) fn contents(&self) -> Contents {
        match (self.raw, self.rotate) {
            (false, _) => Contents::Lines,
            (true, Some(PartSize(bytes))) => Contents::BytesIn(bytes as u64),
            (true, None) => Contents::Bytes,
        }
    }

    /// What says to another process how to record.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec![format!("--from={}", self.from()), format!("--spool={}", self.spool)];
        words.extend(self.raw.then(|| "--raw".to_owned()));
        words.extend(self.rotate.map(|PartSize(bytes)| format!("--rotate={}", ByteCount(bytes))));
        words
    }

    /// Attaches to the session that is named.
    pub(super) async fn begin(&self, common: &Globals) -> anyhow::Result<Begun> {
        begin(common, &self.name, self.from()).await
    }
}

/// A session that is attached to.
pub(super) struct Begun {
    pub(super) client: Client,
    pub(super) attached: AttachedTo,
    /// `None` if too many others have ended since it has.
    pub(super) info: Option<SessionInfo>,
}

/// Attaches to a session, to get all of its output.
pub(super) async fn begin(common: &Globals, session: &SessionArg, from: StartArg) -> anyhow::Result<Begun> {
    let (mut client, target) = common.connect_to(session).await?;
    let info = client.find(target).await?;
    let attached = client.attach_with(Attach::new(info.id.into(), options(from))).await?;
    if from == StartArg::Start && attached.start > 0 {
        print_note(format_args!(
            "fugue-server: the first {} bytes of session {} are no longer held; the recording begins after them",
            attached.start, info.name
        ));
    }
    Ok(Begun { client, attached, info: Some(info) })
}

pub(super) fn options(from: StartArg) -> AttachOptions {
    AttachOptions::new(from.into(), OnLag::Lossless).with_access(Access::ReadOnly)
}

/// Writes what comes.
pub(super) async fn record(
    common: &Globals,
    args: &Args,
    file: RecordingFile,
    Begun { client, attached, info }: Begun,
) -> anyhow::Result<Exit> {
    let cast = (!args.raw).then(|| {
        let cast = CastWriter::new(attached.size, about(info, file.timestamp()));
        match args.rotate {
            Some(PartSize(bytes)) => cast.in_parts(bytes),
            None => cast,
        }
    });
    let medium = FileMedium { file: Some(file), cast, spool: args.spool.0 as u64, until: None };
    let watching = watching(common)?.on(args.name.node(common));
    show(common, client, attached, &watching, Medium::File(Box::new(medium))).await
}

/// How a session is watched that nobody sits before.
pub(super) fn watching(common: &Globals) -> anyhow::Result<super::Args> {
    let (detach_key, next_key) = (ClientKey(None), ClientKey(None));
    let watch = WatchArgs { on_lag: Some(Lag::Lossless), detach_key, next_key, name_in_title: false };
    // On a connection that is made anew as well.
    Ok(super::Args { read_only: true, ..super::Args::with(common, watch)? })
}

/// What an asciicast says of a session.
pub(super) fn about(info: Option<SessionInfo>, timestamp: Option<u64>) -> About {
    let (command, title) = info.map(|info| (info.command, info.title)).unwrap_or_default();
    About { command, title, term: env::var("TERM").ok().filter(|term| !term.is_empty()), timestamp }
}
