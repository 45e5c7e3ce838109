//! A recorder in the background: a process that goes on when the terminal it was started from has gone.
//!
//! It says on its standard error that it has begun, or why not, and then leaves that for the server's log. Where it
//! creates the session itself, it gets the first byte of its output and each one after that.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{self, Path},
    process::Stdio,
};

use anyhow::Context;
use rustix::stdio;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use super::{
    super::{
        Exit, Globals, block_on, print_note,
        serve::{close_what_was_inherited, log_path},
    },
    StartArg,
    record::{Args, Begun, in_front, options, record},
    recording_file::{Contents, RecordingFile},
};
use crate::{
    SessionId,
    client::ClientError,
    message::{Create, RequestError, Target},
};

/// What it says once it has begun, before the session's id.
const BEGUN: &str = "recording ";

/// What it says where a session of that name is there already.
const TAKEN: &str = "taken";

/// What will record a session that is still to be created.
pub(in crate::cli) struct Recorder(RecordingFile);

/// What became of the process, or the session that it was to create.
pub(in crate::cli) enum Recorded {
    Begun(SessionId),
    NameTaken,
    /// The reason was told.
    Failed(Exit),
}

impl Recorder {
    /// Makes the file.
    pub(in crate::cli) fn into_file(path: &Path) -> anyhow::Result<Self> {
        RecordingFile::create(path, Contents::Lines).map(Self)
    }

    /// Creates the session, and records it from its first byte.
    pub(in crate::cli) async fn create(&self, common: &Globals, create: &Create) -> anyhow::Result<Recorded> {
        let description = postcard::to_stdvec(create).context("describing the session failed")?;
        spawn(common, &["--create".to_owned()], create.name.as_str(), &self.0, Some(description)).await
    }

    /// Removes the file: there is no session.
    pub(in crate::cli) fn give_up(self) {
        self.0.remove();
    }
}

pub(in crate::cli) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    args.check()?;
    if args.background {
        return run_in_background(common, args);
    }
    let file = args.create_file()?;
    if args.detached { block_on(start(common, &args, file)) } else { in_front(common, &args, file) }
}

/// Records a session that is there.
async fn start(common: &Globals, args: &Args, file: RecordingFile) -> anyhow::Result<Exit> {
    let name = match &args.name.target {
        Target::Name(name) => format!("={name}"),
        _ => args.name.to_string(),
    };
    let started = spawn(common, &args.words(), &name, &file, None).await;
    match started {
        Ok(Recorded::Begun(_)) => {
            print_note(format_args!("[recording session {} into {}]", args.name, file.path().display()));
            Ok(Exit::SUCCESS)
        }
        started => {
            file.remove();
            Ok(if let Recorded::Failed(exit) = started? { exit } else { Exit::NOT_ATTACHED })
        }
    }
}

/// Starts the process. It bounds each of its own waits until it has begun.
async fn spawn(
    common: &Globals,
    words: &[String],
    name: &str,
    file: &RecordingFile,
    input: Option<Vec<u8>>,
) -> anyhow::Result<Recorded> {
    let program = env::current_exe().context("finding this program's own file failed")?;
    let mut command = Command::new(program);
    if let Some(remote) = &common.remote {
        command.args(remote.words());
    } else if !common.is_default {
        command.arg("--socket").arg(&common.socket);
    }
    command.args(["--log", &common.log.to_string(), "record", "--background"]).args(words);
    command.args(["--", name]).arg(path::absolute(file.path())?);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(file.file().try_clone()?).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting a process for the recording failed")?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // It says itself why it takes no more.
        let _ = stdin.write_all(&input).await;
    }
    let stderr = child.stderr.take().context("its standard error is missing")?;
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(id) = line.strip_prefix(BEGUN) {
            return Ok(Recorded::Begun(id.parse().context("the recording's session has no id")?));
        }
        if line == TAKEN {
            return Ok(Recorded::NameTaken);
        }
        print_note(format_args!("{line}"));
    }
    let status = child.wait().await?.code().and_then(|code| u8::try_from(code).ok());
    Ok(Recorded::Failed(status.map_or(Exit::FAILURE, Exit)))
}

/// Runs as that process.
fn run_in_background(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    close_what_was_inherited();
    rustix::process::setsid().context("leaving the terminal failed")?;
    env::set_current_dir("/")?;
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let file = RecordingFile::of(file, &args.file, args.contents());
    block_on(async {
        let begun = if args.create { create_here(common).await } else { args.begin(common).await };
        if let Err(error) = &begun
            && let Some(ClientError::Refused(RequestError::NameTaken(_))) = error.downcast_ref()
        {
            print_note(format_args!("{TAKEN}"));
            return Ok(Exit::NOT_ATTACHED);
        }
        let begun = begun?;
        print_note(format_args!("{BEGUN}{}", begun.attached.session));
        leave_stderr(common)?;
        record(common, &args, file, begun).await
    })
}

/// Creates the session that standard input describes.
async fn create_here(common: &Globals) -> anyhow::Result<Begun> {
    let mut description = Vec::new();
    io::stdin().lock().read_to_end(&mut description)?;
    let create: Create = postcard::from_bytes(&description).context("the session is not described")?;
    let mut client = common.connect().await?;
    let attached = client.create_attached(create, options(StartArg::Start)).await?;
    // By another connection: what this one brings first is the output. The session may have ended by now.
    let sessions = common.connect().await?.list().await?;
    let info = sessions.into_iter().find(|info| info.id == attached.session);
    Ok(Begun { client, attached, info })
}

/// From here on, what is to be said is said in the log.
fn leave_stderr(common: &Globals) -> io::Result<()> {
    let log = log_path(&common.socket);
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log);
    let log: OwnedFd = log.or_else(|_| OpenOptions::new().write(true).open("/dev/null"))?.into();
    stdio::dup2_stderr(log)?;
    Ok(())
}
