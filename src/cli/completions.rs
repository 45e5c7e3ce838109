//! `completions`: what shells need to complete command lines; and `complete`, which they ask at each Tab.
//!
//! A shell's script only hands over the words and shows the answer. So it never falls behind the command line, and
//! sessions are completed as well. A Tab starts no server, waits a tenth of a second at most for one, and is silent
//! about what is wrong.

use std::{any::TypeId, env, ffi::OsString, fmt::Write, path::PathBuf, time::Duration};

use clap::CommandFactory;
use clap_complete::engine::{self, ArgValueCandidates, CompletionCandidate};
use tokio::time::timeout;

use super::{
    Exit, block_on, escape_controls, print,
    settings::{GivenSettings, SETTINGS},
    target::SessionArg,
};
use crate::{
    client::{Client, ConnectError},
    message::{LinkId, LinkInfo},
    server::{default_socket, other_default_sockets},
};

/// How long a Tab waits for the names of sessions.
const NAMES_TIME: Duration = Duration::from_millis(100);

/// Prints a script with which a shell completes commands, options and the names of sessions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
bash:     fugue-server completions bash > ~/.local/share/bash-completion/completions/fugue-server
zsh:      fugue-server completions zsh > ~/.zfunc/_fugue-server    with ~/.zfunc in $fpath
fish:     fugue-server completions fish > ~/.config/fish/completions/fugue-server.fish
nushell:  fugue-server completions nushell | save ($nu.user-autoload-dirs.0 | path join fugue-server.nu)")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Nushell,
}

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    print(match args.shell {
        Shell::Bash => include_str!("completions/fugue-server.bash"),
        Shell::Zsh => include_str!("completions/_fugue-server"),
        Shell::Fish => include_str!("completions/fugue-server.fish"),
        Shell::Nushell => include_str!("completions/fugue-server.nu"),
    })?;
    Ok(Exit::SUCCESS)
}

/// Prints what a word of a command line may be: a line for each, and after a tab what it means
#[derive(Debug, clap::Args)]
pub(super) struct CompleteArgs {
    /// Which word, from 0
    index: usize,
    /// All words, the program's name as well
    #[arg(last = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(super) fn complete(args: CompleteArgs) -> anyhow::Result<Exit> {
    let names = SessionNames { socket: named_socket(&args.words) };
    let (takes_session, takes_link) = (TypeId::of::<SessionArg>(), TypeId::of::<LinkId>());
    let mut command_line = super::Args::command().mut_subcommands(|command| {
        command.mut_args(|arg| {
            let (kind, names) = (arg.get_value_parser().type_id(), names.clone());
            if kind == takes_session {
                let find =
                    move || names.ask(session_names).into_iter().map(CompletionCandidate::new).collect();
                arg.add(ArgValueCandidates::new(find))
            } else if kind == takes_link {
                arg.add(ArgValueCandidates::new(move || names.ask(links).iter().map(candidate).collect()))
            } else {
                arg
            }
        })
    });
    let here = env::current_dir().ok();
    // An error says that there is no word of this index, or nothing to be there.
    let found =
        engine::complete(&mut command_line, args.words, args.index, here.as_deref()).unwrap_or_default();
    let mut lines = String::new();
    for candidate in found {
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        // A line is one candidate, whatever a file here is called.
        let value = escape_controls(&candidate.get_value().to_string_lossy()).replace('\n', "\\n");
        let help = help.lines().next().unwrap_or_default();
        let _ = if help.is_empty() { writeln!(lines, "{value}") } else { writeln!(lines, "{value}\t{help}") };
    }
    print(&lines)?;
    Ok(Exit::SUCCESS)
}

/// The socket that the words name.
fn named_socket(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter();
    let mut named = None;
    while let Some(word) = words.next() {
        match word.to_str().and_then(|word| word.strip_prefix("--socket")) {
            Some("") => named = words.next().map(PathBuf::from),
            Some(rest) => named = rest.strip_prefix('=').map(PathBuf::from).or(named),
            None => {}
        }
    }
    named
}

/// A link, with what it is to and for.
fn candidate(link: &LinkInfo) -> CompletionCandidate {
    let to = link.session.as_ref().map_or("all sessions", |session| session.name.as_str());
    let label = link.label.as_ref().map_or_else(String::new, |label| format!(", {label}"));
    CompletionCandidate::new(link.id.to_string()).help(Some(format!("{to}{label}").into()))
}

/// Where the names of sessions and links are found.
#[derive(Clone)]
struct SessionNames {
    socket: Option<PathBuf>,
}

impl SessionNames {
    /// What a server answers; nothing if none does in time.
    fn ask<T>(&self, ask: impl AsyncFn(&mut Client) -> Vec<T>) -> Vec<T> {
        let (settings, _) = GivenSettings::load();
        let of_settings = || {
            let setting = SETTINGS.iter().find(|setting| setting.key() == "socket")?;
            settings.find(setting).map(|given| PathBuf::from(&given.value))
        };
        let sockets = match self.socket.clone().or_else(of_settings) {
            Some(socket) => vec![socket],
            None => {
                let first = default_socket().0;
                let others = other_default_sockets(&first);
                [vec![first], others].concat()
            }
        };
        let asked = async {
            for socket in &sockets {
                match Client::connect(socket).await {
                    Ok(mut client) => return ask(&mut client).await,
                    Err(ConnectError::NoServer(_)) => {}
                    Err(_) => break,
                }
            }
            Vec::new()
        };
        block_on(async { Ok(timeout(NAMES_TIME, asked).await.unwrap_or_default()) }).unwrap_or_default()
    }
}

/// The names of the live sessions.
async fn session_names(client: &mut Client) -> Vec<String> {
    let sessions = client.list().await.unwrap_or_default();
    let live = sessions.iter().filter(|info| info.state.is_live());
    live.map(|info| info.name.to_string()).collect()
}

async fn links(client: &mut Client) -> Vec<LinkInfo> {
    client.shares().await.unwrap_or_default()
}
