//! The command line: one module per command, and what they share.
//!
//! What a command is for goes to stdout, everything meant for a person to stderr. Errors are typed below this and
//! become text here.

mod attach;
#[cfg(feature = "bench")]
mod bench;
mod bytes;
mod completions;
mod config;
mod connect;
mod detach;
mod env;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod kill;
mod launch;
mod linger;
mod link;
mod list;
mod log;
mod man;
mod new;
#[cfg(feature = "nodes")]
mod node;
mod relay;
mod remote;
mod rename;
mod resize;
mod restart;
mod screen;
mod send;
mod serve;
mod settings;
mod share;
mod shares;
mod signals;
mod start;
mod stats;
mod stop;
mod target;
mod terminal;
mod time;
mod unshare;
mod wait;
#[cfg(feature = "web")]
mod web;

use std::{
    env::args_os,
    ffi::OsString,
    fmt,
    future::Future,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind, parser::ValueSource};
use tracing::Level;

use self::{
    remote::{Remote, RemoteArg, RemoteName, program, remote_path},
    settings::GivenSettings,
    target::machine_named,
};
use crate::{keeper, server::default_socket};

/// Commands that `--help` only names, so that it fits a screen.
const SELDOM: &[&str] = &[
    #[cfg(feature = "bench")]
    "bench",
    "completions",
    "env",
    "export",
    #[cfg(feature = "nodes")]
    "node",
    "relay",
    "resize",
    "restart",
    "shares",
    "unshare",
    #[cfg(feature = "web")]
    "web",
    "man",
];

/// Terminal sessions that many can watch at once: none slows another, and no byte is lost silently
#[derive(Debug, Parser)]
#[command(name = "fugue-server", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(help_template = "{about}\n{usage-heading} {usage}\n\n{subcommands}{after-help}")]
#[command(override_usage = "fugue-server <COMMAND>")]
#[command(after_help = format!("\
First: `fugue-server new work`; ctrl-\\ detaches. Also: {}.
All take --help, --socket PATH, --remote ssh://HOST, --log LEVEL [env: FUGUE_...]. Or --version.", SELDOM.join(", ")))]
struct Args {
    /// The socket [default: in $XDG_RUNTIME_DIR or /tmp]
    #[arg(long, global = true, hide = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How much to log: error, warn, info, debug or trace
    #[arg(long, global = true, hide = true, value_name = "LEVEL", default_value = "warn")]
    #[arg(hide_default_value = true)]
    log: Level,
    /// The server of another machine: `ssh://[user@]host[:port]`, or a name of the configuration's
    #[arg(long, global = true, hide = true, value_name = "URL")]
    remote: Option<RemoteArg>,
    /// Where fugue-server is on the other machine [default: in its PATH]
    #[arg(long, global = true, hide = true, value_name = "PATH", value_parser = remote_path)]
    remote_path: Option<String>,
    /// The program that is run as ssh [default: ssh]
    #[arg(long, global = true, hide = true, value_name = "PROGRAM", value_parser = program)]
    ssh: Option<OsString>,
    /// What was said on the command line itself.
    #[arg(skip)]
    typed: Typed,
    /// The machine that its sessions are on, where they say so.
    #[arg(skip)]
    machine: Option<RemoteName>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    New(new::Args),
    Attach(attach::Args),
    Detach(detach::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    Events(events::Args),
    Record(attach::record::Args),
    Relay(relay::Args),
    Play(attach::play::Args),
    Export(attach::export::Args),
    Send(send::Args),
    Screen(screen::Args),
    Wait(wait::Args),
    Rename(rename::Args),
    Resize(resize::Args),
    Kill(kill::Args),
    Share(share::Args),
    Shares(shares::Args),
    Unshare(unshare::Args),
    Env(env::Args),
    Stats(stats::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Config(config::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Complete(completions::CompleteArgs),
    Man(man::Args),
    #[cfg(feature = "nodes")]
    Node(node::Args),
    #[cfg(feature = "web")]
    Web(web::Args),
    #[cfg(feature = "bench")]
    Bench(bench::Args),
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    BenchChild(bench::ChildArgs),
}

/// A process's exit status. `clap` exits with 2 for wrong usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exit(u8);

impl Exit {
    /// As clap's.
    const WRONG_USAGE: Self = Self(2);
    const SUCCESS: Self = Self(0);
    const FAILURE: Self = Self(1);
    /// A relay found no server, and was to start none.
    const NO_SERVER: Self = Self(3);
    /// The server closed the connection, or vanished.
    const CLOSED: Self = Self(254);
    /// No session was attached to.
    const NOT_ATTACHED: Self = Self(255);
}

/// What the commands share.
#[derive(Debug)]
struct Globals {
    socket: PathBuf,
    /// Nobody said which socket.
    is_default: bool,
    log: Level,
    /// The command line says how much to log, rather than settings.
    says_log: bool,
    settings: GivenSettings,
    /// The server's machine, if that is another.
    remote: Option<Remote>,
}

/// Parses the command line, runs the command, and says how it went.
#[must_use]
pub fn run() -> ExitCode {
    // What a server starts has no command line of a person's.
    if let Some(exit) = keeper::run() {
        return exit;
    }
    let (args, settings) = parse_with_settings();
    let remote = match args.remote(&settings) {
        Ok(remote) => remote,
        Err(error) => {
            print_error(format_args!("{error}"));
            return ExitCode::from(Exit::WRONG_USAGE.0);
        }
    };
    let Args { socket, log, typed, command, .. } = args;
    let is_default = socket.is_none();
    let socket = socket.filter(|_| remote.is_none()).unwrap_or_else(default_place);
    let socket = std::path::absolute(socket).unwrap_or_default();
    let common = Globals { socket, is_default, log, says_log: typed.log, settings, remote };
    let not_attached = matches!(
        command,
        Command::New(_) | Command::Attach(_) | Command::Record(_) | Command::Export(_) | Command::Wait(_)
    );
    let result = match command {
        Command::Serve(args) => serve::run(&common, args),
        Command::New(args) => new::run(&common, args),
        Command::Attach(args) if args.creates() => new::attach_or_create(&common, args),
        Command::Attach(args) => attach::run(&common, args),
        Command::Detach(args) => detach::run(&common, args),
        Command::List(args) => list::run(&common, args),
        Command::Events(args) => events::run(&common, args),
        Command::Record(args) => attach::recorder::run(&common, args),
        Command::Play(args) => attach::play::run(args),
        Command::Export(args) => attach::export::run(&common, args),
        Command::Send(args) => send::run(&common, args),
        Command::Screen(args) => screen::run(&common, args),
        Command::Wait(args) => wait::run(&common, args),
        Command::Relay(args) => relay::run(&common, args),
        Command::Rename(args) => rename::run(&common, args),
        Command::Resize(args) => resize::run(&common, args),
        Command::Kill(args) => kill::run(&common, args),
        Command::Share(args) => share::run(&common, args),
        Command::Shares(args) => shares::run(&common, &args),
        Command::Unshare(args) => unshare::run(&common, &args),
        Command::Env(args) => env::run(&common, args),
        Command::Stats(args) => stats::run(&common, args),
        Command::Stop(args) => stop::run(&common, args),
        Command::Restart(args) => restart::run(&common, args),
        Command::Config(args) => config::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Complete(args) => completions::complete(args),
        Command::Man(args) => man::run(args),
        #[cfg(feature = "nodes")]
        Command::Node(args) => node::run(&common, args),
        #[cfg(feature = "web")]
        Command::Web(args) => web::run(&common, args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(&common, args),
        #[cfg(feature = "bench")]
        Command::BenchChild(args) => bench::run_child(args),
    };
    let exit = result.unwrap_or_else(|error| {
        print_error(format_args!("{:#}", hinted(&common, error)));
        if not_attached { Exit::NOT_ATTACHED } else { Exit::FAILURE }
    });
    if let Some(remote) = common.remote.as_ref().filter(|_| exit != Exit::SUCCESS) {
        remote.tell_last_words();
    }
    ExitCode::from(exit.0)
}

/// An error with what another node may have instead.
#[cfg(feature = "nodes")]
fn hinted(common: &Globals, error: anyhow::Error) -> anyhow::Error {
    block_on(async { Ok(node::with_hint(common, error).await) }).unwrap_or_else(|error| error)
}

#[cfg(not(feature = "nodes"))]
fn hinted(_: &Globals, error: anyhow::Error) -> anyhow::Error {
    error
}

/// Where a server listens if nobody says. Why that is not where it should be, the person is told.
fn default_place() -> PathBuf {
    let (path, warning) = default_socket();
    if let Some(warning) = warning {
        print_error(format_args!("{warning}"));
    }
    path
}

/// Parses this process's command line. What it does not say, the settings do.
fn parse_with_settings() -> (Args, GivenSettings) {
    // First without them: help and what is wrong with the command line itself come before what is wrong with a file.
    let args = parse(args_os(), &GivenSettings::default()).unwrap_or_else(|error| exit_with(&error));
    if !args.command.takes_settings() {
        return (args, GivenSettings::default());
    }
    let settings = GivenSettings::load_or_exit();
    if settings.is_empty() {
        return (args, settings);
    }
    (parse(args_os(), &settings).unwrap_or_else(|error| exit_with(&error)), settings)
}

/// Parses a command line.
fn parse<W: Into<OsString>>(
    words: impl IntoIterator<Item = W>,
    settings: &GivenSettings,
) -> Result<Args, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let command_line = || settings.apply(Args::command());
    // What only help and mistakes show of all commands is made for these alone: it takes as long as all else here.
    let mut matches = command_line()
        .try_get_matches_from(&words)
        .or_else(|_| with_usages(command_line()).try_get_matches_from(&words))?;
    let is_typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    let typed = Typed {
        socket: is_typed("socket"),
        remote: is_typed("remote"),
        remote_path: is_typed("remote_path"),
        ssh: is_typed("ssh"),
        log: is_typed("log"),
    };
    let machine = match matches.subcommand().map(|(_, command)| machine_named(command)) {
        None => None,
        Some(Ok(machine)) => machine,
        Some(Err(why)) => return Err(command_line().error(ErrorKind::ArgumentConflict, why)),
    };
    Ok(Args { typed, machine, ..Args::from_arg_matches_mut(&mut matches)? })
}

/// Makes what is wrong with a command line show the usage that `--help` shows: by itself clap would show one of its own
/// making.
fn with_usages(mut command_line: clap::Command) -> clap::Command {
    command_line.build();
    command_line.mut_subcommands(|mut subcommand| {
        let usage = subcommand.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let is_seldom = SELDOM.contains(&subcommand.get_name());
        let is_hidden = is_seldom || subcommand.is_hide_set();
        subcommand.override_usage(usage).hide(is_hidden)
    })
}

/// Which options were typed, and not set beforehand.
#[derive(Clone, Copy, Debug, Default)]
struct Typed {
    socket: bool,
    remote: bool,
    remote_path: bool,
    ssh: bool,
    log: bool,
}

impl Args {
    /// The other machine whose server is meant.
    fn remote(&self, settings: &GivenSettings) -> Result<Option<Remote>, String> {
        let named = self.machine.clone().map(RemoteArg::Name);
        if named.is_some() && self.typed.remote {
            return Err("the machine is named twice: by --remote, and before the session's name".to_owned());
        }
        let Some(remote) = named.as_ref().or(self.remote.as_ref()) else { return Ok(None) };
        match self.command.place() {
            Place::Anywhere => {}
            // It is set for other commands.
            Place::Here if !self.typed.remote => return Ok(None),
            Place::Here | Place::ServersOwn => {
                return Err(
                    "this command works on its own machine only: leave out --remote, or run it there by ssh"
                        .to_owned(),
                );
            }
        }
        // A socket that was set beforehand is one of this machine.
        let socket = self.socket.clone().filter(|_| self.typed.socket);
        let (path, ssh) = (self.remote_path.clone(), self.ssh.clone());
        Ok(Some(match remote {
            RemoteArg::Url(url) => Remote::new(url.clone(), path, socket, ssh),
            RemoteArg::Name(name) => {
                let known = settings.remote(name);
                #[cfg(feature = "nodes")]
                if self.machine.is_some() && known.is_err() && self.is_node(name) {
                    return Ok(None);
                }
                // What is said of one machine counts more than what is set for all, and less than what is typed.
                let known = known?.clone();
                let path = path
                    .filter(|_| self.typed.remote_path)
                    .or(known.path)
                    .or_else(|| self.remote_path.clone());
                let ssh = ssh.filter(|_| self.typed.ssh).or(known.ssh).or_else(|| self.ssh.clone());
                Remote::new(known.url, path, socket.or(known.socket), ssh)
            }
        }))
    }
}

#[cfg(feature = "nodes")]
impl Args {
    /// Whether the node of this machine knows one of this name.
    fn is_node(&self, name: &RemoteName) -> bool {
        let socket = self.socket.clone().unwrap_or_else(|| default_socket().0);
        block_on(async { Ok(node::knows(&socket, name.as_str()).await) }).unwrap_or_default()
    }
}

/// On which machines a command can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On any that reaches the server.
    Anywhere,
    /// Here, whatever server is meant.
    Here,
    /// On the server's.
    ServersOwn,
}

impl Command {
    fn place(&self) -> Place {
        match self {
            Self::Stop(_) | Self::Restart(_) => Place::ServersOwn,
            #[cfg(feature = "web")]
            Self::Web(_) => Place::ServersOwn,
            Self::Serve(_) | Self::Relay(_) | Self::Play(_) => Place::Here,
            #[cfg(feature = "bench")]
            Self::Bench(_) => Place::Here,
            _ if self.takes_settings() => Place::Anywhere,
            _ => Place::Here,
        }
    }

    /// Whether files and the environment may set it up. Those that look at settings run when these are wrong.
    fn takes_settings(&self) -> bool {
        match self {
            Self::Config(_) | Self::Completions(_) | Self::Complete(_) | Self::Man(_) => false,
            #[cfg(feature = "bench")]
            Self::BenchChild(_) => false,
            _ => true,
        }
    }
}

impl Globals {
    /// Of this machine's server, for what goes on connecting to it.
    #[cfg(feature = "web")]
    fn for_gateway(&self) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            socket: self.socket.clone(),
            is_default: self.is_default,
            log: self.log,
            says_log: self.says_log,
            settings: GivenSettings::default(),
            remote: None,
        })
    }

    /// What a command would do if no more than its name were typed.
    fn unsaid(&self, command: &str) -> Result<Command, clap::Error> {
        Ok(parse(["fugue-server", command], &self.settings)?.command)
    }
}

/// Runs a client's command, on this thread alone.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// Prints to stdout. A reader that has seen enough and closed its end is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    print_while_read(text).map(drop)
}

/// As [`print`]. Returns whether anybody still reads.
fn print_while_read(text: &str) -> anyhow::Result<bool> {
    match io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

/// An empty table, drawn plainly so that its columns can be cut apart.
fn table<const N: usize>(header: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    table
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}

/// Says something to the person, on stderr. Names, paths and what a server said may be part of it: nothing in them
/// steers the terminal.
fn print_note(what: fmt::Arguments<'_>) {
    // Nobody may be there to read it, which changes nothing.
    let _ = writeln!(io::stderr(), "{}", escape_controls(&what.to_string()));
}

/// Text for a terminal: lines as they are, every other control character escaped.
fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Says what is wrong with the command line, or prints the help that it asks for, and exits.
fn exit_with(error: &clap::Error) -> ! {
    // What it quotes may steer the terminal. Then it goes without colours, which are not to be told from that.
    let hostile = |word: OsString| word.to_string_lossy().chars().any(char::is_control);
    if !error.use_stderr() || !args_os().any(hostile) {
        error.exit();
    }
    let words = args_os().map(|word| escape_controls(&word.to_string_lossy()));
    match parse(words, &GivenSettings::default()) {
        Err(error) => error.exit(),
        // Only what was wrong with it was escaped.
        Ok(_) => {
            print_error(format_args!("a control character in an argument is not allowed"));
            std::process::exit(error.exit_code());
        }
    }
}

fn print_error(what: fmt::Arguments<'_>) {
    print_note(format_args!("fugue-server: {what}"));
}
