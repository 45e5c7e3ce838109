//! `new`: starts a session.

#[cfg(feature = "nodes")]
mod elsewhere;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use super::{
    Command, Exit, Globals,
    attach::{
        self, Entered,
        recorder::{Recorded, Recorder},
    },
    block_on, print, print_note,
    start::{self, Started},
    target::NewSessionArg,
    terminal,
};
use crate::{
    SessionId, SessionName, TerminalSize,
    client::{Client, ClientError},
    message::{AttachedTo, Create, Pace, RequestError, SizePolicy, StartAt, Target},
};

/// Starts a session and attaches to it; starts the server if none runs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name: 1 to 64 letters, digits, or . _ - [default: the directory's]
    name: Option<NewSessionArg>,
    /// Do not attach; print the session's id
    #[arg(short, long)]
    detached: bool,
    /// Attach to the session of this name, if there is one
    #[arg(short = 'A', long, conflicts_with = "detached")]
    attach: bool,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    watch: attach::WatchArgs,
    /// The program and its arguments [default: $SHELL, else /bin/sh]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// How a session's program is started.
#[derive(Debug, clap::Args)]
struct StartArgs {
    /// Where the program starts [default: here]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A variable of the program's; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<Variable>,
    /// Start a login shell: its own name begins with a hyphen
    #[arg(long)]
    login: bool,
    /// What `list` shows until the program sets a title
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Record it from its first byte, as `record -d` does
    #[arg(long, value_name = "FILE", conflicts_with = "attach")]
    record: Option<PathBuf>,
    /// WxH, or follow the latest, smallest or largest terminal
    #[arg(long, value_name = "SIZE", default_value = "latest")]
    size: Size,
    /// Which viewer it waits for: fastest, slowest, free
    #[arg(long, value_enum, value_name = "WHOM", default_value_t = PaceArg::Fastest, hide_possible_values = true)]
    pace: PaceArg,
    /// Fail where no server runs
    #[arg(long)]
    no_start: bool,
}

/// A variable of a program's environment.
#[derive(Clone, Debug)]
struct Variable(OsString, OsString);

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self(key.into(), value.into())),
            _ => Err("write KEY=VALUE, such as EDITOR=vim"),
        }
    }
}

/// What a session's terminal is sized by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    /// This, which stays.
    Fixed(TerminalSize),
    /// Those that are attached.
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
    #[cfg(feature = "nodes")]
    if let Some(session) = &args.name
        && let Some(host) = session.node(common).map(str::to_owned)
    {
        return elsewhere::run(common, &host, session.name.clone(), args);
    }
    let is_remote = common.remote.is_some();
    let name = match args.name.clone() {
        Some(session) => session.name,
        None if is_remote => bail!("name the session: this directory is not one of the other machine's"),
        None => name_of_directory(args.start.directory.as_deref())?,
    };
    let create = create(name, args.command, &args.start, is_remote)?;
    let numbers = args.name.is_none() && !args.attach;
    let attach = attach::Args::with(common, args.watch)?;
    block_on(async {
        let (mut client, started) = connect(common, args.start.no_start).await?;
        if args.attach {
            return attach_or((common, client), started, create, &attach).await;
        }
        if let Some(path) = &args.start.record {
            let session = match create_recorded(common, create, numbers, path).await {
                Ok(Ok(session)) => session,
                failed => {
                    if started == Started::Now {
                        start::end_if_unused(client).await;
                    }
                    return failed.map(|session| session.err().unwrap_or(Exit::FAILURE));
                }
            };
            if args.detached {
                print(&format!("{session}\n"))?;
                return Ok(Exit::SUCCESS);
            }
            return watch_recorded((common, client), session, path, &attach).await;
        }
        match start(&mut client, create, numbers, args.detached, attach.watch_args()).await {
            Ok(Begun::Attached(attached)) => attach::watch(common, client, attached, &attach, false).await,
            Ok(Begun::Detached(id)) => {
                print(&format!("{id}\n"))?;
                Ok(Exit::SUCCESS)
            }
            Ok(Begun::Switched) => Ok(Exit::SUCCESS),
            Err(error) => Err(end_unused(client, started, error).await),
        }
    })
}

/// As `attach` with this name, but creates the session if there is none.
pub(super) fn attach_or_create(common: &Globals, args: attach::Args) -> anyhow::Result<Exit> {
    args.check()?;
    let Command::New(new) = common.unsaid("new")? else { bail!("`new` is another command") };
    #[cfg(feature = "nodes")]
    if let Some(host) = args.node(common).map(str::to_owned) {
        let create = create(args.exact_name()?, Vec::new(), &new.start, true)?;
        return elsewhere::attach_or_create(common, &host, create, args);
    }
    let create = create(args.exact_name()?, Vec::new(), &new.start, common.remote.is_some())?;
    block_on(async {
        let (client, started) = connect(common, new.start.no_start).await?;
        attach_or((common, client), started, create, &args).await
    })
}

async fn connect(common: &Globals, no_start: bool) -> anyhow::Result<(Client, Started)> {
    if no_start {
        return Ok((common.connect().await?, Started::Before));
    }
    start::connect_or_start(common).await
}

/// How long attaching and creating are tried in turn, while others create and end the same session: longer than a
/// program may take to start, until when its name is taken and nobody can attach.
const TRIES_TIME: Duration = Duration::from_secs(12);

/// The pause after the first try, which doubles with each, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Attaches to a session, or creates it.
async fn attach_or(
    (common, mut client): (&Globals, Client),
    started: Started,
    create: Create,
    args: &attach::Args,
) -> anyhow::Result<Exit> {
    let name = create.name.clone();
    let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
    while begun.elapsed() < TRIES_TIME {
        // Only a live one: what one that ended printed may still be there to be attached to.
        let entered = match client.find(Target::Name(name.clone())).await {
            Ok(info) => attach::enter(&mut client, info.id.into(), args).await,
            Err(error) => Err(error),
        };
        match entered {
            Ok(Entered::Switched) => return Ok(Exit::SUCCESS),
            Ok(Entered::Attached(attached)) => {
                return attach::watch_from(common, client, attached, args).await;
            }
            Err(ClientError::Refused(
                RequestError::UnknownSession(_) | RequestError::SessionEnded { .. },
            )) => {}
            Err(error) => return Err(end_unused(client, started, error).await),
        }
        match start(&mut client, create.clone(), false, false, args.watch_args()).await {
            Ok(Begun::Attached(attached)) => {
                return attach::watch(common, client, attached, args, false).await;
            }
            Ok(_) => return Ok(Exit::SUCCESS),
            Err(ClientError::Refused(RequestError::NameTaken(_))) => {}
            Err(error) => return Err(end_unused(client, started, error).await),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    bail!("session {name} comes and goes; try again")
}

/// Creates a session by the process that records it. Returns that process's exit status if it has failed, and said why.
async fn create_recorded(
    common: &Globals,
    mut create: Create,
    numbers: bool,
    path: &Path,
) -> anyhow::Result<Result<SessionId, Exit>> {
    let recorder = Recorder::into_file(path)?;
    let base = create.name.clone();
    let mut number = 1;
    loop {
        let failed = match recorder.create(common, &create).await {
            Ok(Recorded::Begun(session)) => return Ok(Ok(session)),
            Ok(Recorded::NameTaken) if numbers && number < MAX_NUMBER => {
                number += 1;
                create.name = numbered(&base, number);
                continue;
            }
            Ok(Recorded::NameTaken) => Err(ClientError::Refused(RequestError::NameTaken(create.name)).into()),
            Ok(Recorded::Failed(exit)) => Ok(Err(exit)),
            Err(error) => Err(error),
        };
        recorder.give_up();
        return failed;
    }
}

/// Attaches to a session whose recording has begun. One that has ended meanwhile can only be played.
async fn watch_recorded(
    (common, mut client): (&Globals, Client),
    session: SessionId,
    path: &Path,
    attach: &attach::Args,
) -> anyhow::Result<Exit> {
    let watch = attach.watch_args();
    if attach::switches(&client, watch) && attach::switch(&mut client, session.into()).await? {
        return Ok(Exit::SUCCESS);
    }
    match client.attach(session, watch.options().with_start(StartAt::Oldest)).await {
        Err(ClientError::Refused(RequestError::SessionEnded { name, status })) => {
            print_note(format_args!(
                "[session {name} ended: {status}; `fugue-server play {}` shows its output]",
                path.display()
            ));
            Ok(Exit(status.as_exit_code()))
        }
        attached => attach::watch(common, client, attached?, attach, false).await,
    }
}

/// Ends a server that was started for nothing, and passes the error on.
async fn end_unused(client: Client, started: Started, error: ClientError) -> anyhow::Error {
    if started == Started::Now {
        start::end_if_unused(client).await;
    }
    error.into()
}

/// What came of a new session.
enum Begun {
    Attached(AttachedTo),
    Detached(SessionId),
    /// The terminal that this was typed in shows it now.
    Switched,
}

/// Starts a session. With `numbers`, a name that is taken gets a number.
async fn start(
    client: &mut Client,
    mut create: Create,
    numbers: bool,
    detached: bool,
    watch: &attach::WatchArgs,
) -> Result<Begun, ClientError> {
    let base = create.name.clone();
    let mut number = 1;
    loop {
        let begun = start_one(client, create.clone(), detached, watch).await;
        match begun {
            Err(ClientError::Refused(RequestError::NameTaken(_))) if numbers && number < MAX_NUMBER => {
                number += 1;
                create.name = numbered(&base, number);
            }
            begun => return begun,
        }
    }
}

/// The last number that is tried where a name is taken.
const MAX_NUMBER: u32 = 1000;

async fn start_one(
    client: &mut Client,
    create: Create,
    detached: bool,
    watch: &attach::WatchArgs,
) -> Result<Begun, ClientError> {
    if detached {
        return Ok(Begun::Detached(client.create(create).await?.id));
    }
    if !attach::switches(client, watch) {
        return Ok(Begun::Attached(client.create_attached(create, watch.options()).await?));
    }
    let session = client.create(create).await?.id;
    if attach::switch(client, session.into()).await? {
        return Ok(Begun::Switched);
    }
    Ok(Begun::Attached(client.attach(session, watch.options().with_start(StartAt::Oldest)).await?))
}

/// What is asked of the server for a session. On another machine the relay there knows the environment, the directory
/// and the shell.
fn create(
    name: SessionName,
    command: Vec<OsString>,
    args: &StartArgs,
    is_remote: bool,
) -> anyhow::Result<Create> {
    let command = if command.is_empty() && !is_remote { vec![default_shell()] } else { command };
    let bytes = |text: &OsStr| text.as_bytes().to_vec();
    let (own_size, own_pixels) = terminal::window().unwrap_or((TerminalSize::DEFAULT, None));
    let (size, size_policy) = match args.size {
        Size::Fixed(size) => (size, SizePolicy::Fixed),
        Size::Follow(policy) => (own_size, policy),
    };
    let directory = match (&args.directory, is_remote) {
        (chosen, true) => chosen.clone(),
        (chosen, false) => Some(directory(chosen.as_deref())?),
    };
    let is_sent = |variable: &(OsString, OsString)| match is_remote {
        true => OF_THE_TERMINAL.iter().any(|name| variable.0 == *name),
        false => is_handed_on(variable),
    };
    let mut variables: Vec<_> = env::vars_os().filter(is_sent).collect();
    let moved = args.directory.as_ref().and(directory.clone()).filter(|_| !is_remote);
    let moved = moved.map(|directory| Variable("PWD".into(), directory.into()));
    for Variable(key, value) in moved.into_iter().chain(args.env.iter().cloned()) {
        variables.retain(|(other, _)| *other != key);
        variables.push((key, value));
    }
    let mut create = Create::new(name, command.iter().map(|word| bytes(word)).collect());
    create.env = variables.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
    create.cwd = directory.map(|directory| bytes(directory.as_os_str()));
    create.size = size;
    create.size_policy = size_policy;
    create.pace = match args.pace {
        PaceArg::Fastest => Pace::Fastest,
        PaceArg::Slowest => Pace::Slowest,
        PaceArg::Free => Pace::Free,
    };
    // A program sees cells of the size that they have here, however many there are.
    create.pixels = own_pixels.map(|pixels| pixels.scaled(own_size, size));
    create.settings = terminal::settings();
    create.title = args.title.clone();
    create.program_name =
        args.login.then(|| command.first().map_or_else(|| b"-".to_vec(), |program| login_name(program)));
    Ok(create)
}

/// The variables that say what this terminal is.
const OF_THE_TERMINAL: [&str; 2] = ["TERM", "COLORTERM"];

/// Where the program starts.
fn directory(chosen: Option<&Path>) -> anyhow::Result<PathBuf> {
    // In its place the program would get the server's, where what it does to relative paths was never meant.
    let here = || {
        env::current_dir().context(
            "the current directory can't be found, so nothing was started; change to one that exists",
        )
    };
    let Some(chosen) = chosen else { return here() };
    let directory = if chosen.is_absolute() { chosen.to_owned() } else { here()?.join(chosen) };
    let found = fs::metadata(&directory).with_context(|| format!("{}", directory.display()))?;
    if !found.is_dir() {
        bail!("{} is not a directory", directory.display());
    }
    Ok(directory)
}

/// What a login shell is told its name is.
fn login_name(program: &OsStr) -> Vec<u8> {
    let name = Path::new(program).file_name().unwrap_or(program);
    [b"-", name.as_bytes()].concat()
}

/// The name of the directory, made one of a session.
fn name_of_directory(chosen: Option<&Path>) -> anyhow::Result<SessionName> {
    let directory = directory(chosen)?;
    // `-C ..` means what that is called.
    let directory = directory.canonicalize().unwrap_or(directory);
    Ok(session_name(&directory.file_name().unwrap_or_default().to_string_lossy()))
}

/// A session's name that is as much like `text` as the rule for names allows.
fn session_name(text: &str) -> SessionName {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let name = text.chars().map(|letter| if allowed(letter) { letter } else { '-' });
    let name: String = name.take(SessionName::MAX_LEN).collect();
    let is_plain = name.chars().any(|letter| letter.is_ascii_alphanumeric());
    let root = || SessionName::try_from("root".to_owned()).expect("it follows the rule");
    if is_plain { SessionName::try_from(name).unwrap_or_else(|_| root()) } else { root() }
}

/// A name with a number behind it, for which it is cut where there is no room.
fn numbered(name: &SessionName, number: u32) -> SessionName {
    let number = format!("-{number}");
    let base = &name.as_str()[..name.as_str().len().min(SessionName::MAX_LEN - number.len())];
    SessionName::try_from(format!("{base}{number}")).unwrap_or_else(|_| name.clone())
}

/// Whether a program gets a variable of this process's. The size of this terminal is not its terminal's, which has one
/// of its own and changes.
fn is_handed_on((name, _): &(OsString, OsString)) -> bool {
    name != "COLUMNS" && name != "LINES"
}

fn default_shell() -> OsString {
    env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_directory_makes_a_name() {
        let long = "x".repeat(100);
        for (directory, name) in [
            ("work", "work"),
            ("my project (2)", "my-project--2-"),
            ("übung", "-bung"),
            ("", "root"),
            ("日本", "root"),
            (long.as_str(), &long[..64]),
        ] {
            assert_eq!(session_name(directory).as_str(), name);
        }
        assert_eq!(numbered(&session_name("work"), 2).as_str(), "work-2");
        assert_eq!(numbered(&session_name(&long), 10).as_str(), format!("{}-10", &long[..61]));
    }

    #[test]
    fn variables_need_a_name() {
        let Variable(key, value) = "A=b=c".parse().unwrap();
        assert_eq!((key, value), ("A".into(), "b=c".into()));
        for wrong in ["", "A", "=b"] {
            assert!(wrong.parse::<Variable>().is_err(), "{wrong:?}");
        }
    }
}
