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
    message::SessionState,
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
    let takes_session = TypeId::of::<SessionArg>();
    let mut command_line = super::Args::command().mut_subcommands(|command| {
        command.mut_args(|arg| match arg.get_value_parser().type_id() == takes_session {
            true => arg.add(ArgValueCandidates::new({
                let names = names.clone();
                move || names.find().into_iter().map(CompletionCandidate::new).collect()
            })),
            false => arg,
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

/// Where the names of sessions are found.
#[derive(Clone)]
struct SessionNames {
    socket: Option<PathBuf>,
}

impl SessionNames {
    /// The names of the live sessions; none if no server says them in time.
    fn find(&self) -> Vec<String> {
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
        let names = block_on(async { Ok(timeout(NAMES_TIME, names(&sockets)).await.unwrap_or_default()) });
        names.unwrap_or_default()
    }
}

async fn names(sockets: &[PathBuf]) -> Vec<String> {
    for socket in sockets {
        let mut client = match Client::connect(socket).await {
            Ok(client) => client,
            Err(ConnectError::NoServer(_)) => continue,
            Err(_) => return Vec::new(),
        };
        let sessions = client.list().await.unwrap_or_default();
        let live = sessions.iter().filter(|info| matches!(info.state, SessionState::Running { .. }));
        return live.map(|info| info.name.to_string()).collect();
    }
    Vec::new()
}
