//! `--remote`: the server of another machine, by the person's own `ssh`.
//!
//! It runs `ssh -T HOST fugue-server relay`, whose stdin and stdout are the connection. What the far shell prints
//! before the server's first word is looked past. ssh asks for passwords at the terminal itself. What it says on
//! stderr the person sees until the connection stands, and afterwards only if it is lost.

mod named;
mod ssh;
mod url;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::timeout;

use self::ssh::{NotFound, SshLine, SshWords};
pub(super) use self::{
    named::{NamedRemote, RemoteArg, RemoteName},
    url::{FORM, RemoteUrl},
};
use super::print_note;
use crate::client::{Client, ConnectError};

/// How long the first connection may take. A person may have to type a password, for which sshd gives two minutes.
const FIRST_TIME: Duration = Duration::from_secs(150);

/// How long a connection may take that replaces a lost one: nothing is asked then.
const AGAIN_TIME: Duration = Duration::from_secs(20);

/// What is run on the other machine, if nobody says.
const PROGRAM: &str = "fugue-server";

/// A server of another machine.
#[derive(Debug)]
pub(super) struct Remote {
    url: RemoteUrl,
    /// The program there.
    path: Option<String>,
    /// Its socket there.
    socket: Option<PathBuf>,
    ssh: OsString,
    /// A connection was made before.
    has_connected: AtomicBool,
    said: SshWords,
}

/// Why there is no connection to another machine's server.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{} could not be run: {source}; install OpenSSH's client, or name another with `--ssh`", ssh.display())]
    NoSsh { ssh: OsString, source: std::io::Error },
    #[error("ssh could not reach {0}{said}", said = quoted(.1))]
    SshFailed(RemoteUrl, String),
    #[error(
        "{program} was not found on {url}; install it there, or say where it is with `--remote-path`{said}",
        said = quoted(.said)
    )]
    NoProgram { url: RemoteUrl, program: String, said: String },
    /// No server runs there, and none was to be started.
    #[error("no server runs on {0}; `fugue-server --remote {0} new NAME` starts one, with a session")]
    NoServer(RemoteUrl),
    #[error("{url} answered, but not as a server does{status}{noise}{said}", noise = shown_instead(.noise), said = quoted(.said))]
    NoHello { url: RemoteUrl, status: String, noise: String, said: String },
    #[error("{url} did not answer within {} s{noise}{said}", .waited.as_secs(), noise = shown_instead(.noise), said = quoted(.said))]
    NoAnswer { url: RemoteUrl, waited: Duration, noise: String, said: String },
    #[error(transparent)]
    Refused(#[from] ConnectError),
}

impl RemoteError {
    /// Whether it may go better later: who lost a connection tries again.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::SshFailed(..) | Self::NoHello { .. } | Self::NoAnswer { .. } | Self::Refused(_))
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {}", said.trim_end()) }
}

fn shown_instead(noise: &str) -> String {
    if noise.is_empty() {
        return String::new();
    }
    format!(
        ". It printed this instead:\n{}\nSomething in the shell's start-up files there (such as ~/.bashrc, ~/.zshenv or \
         ~/.config/fish/config.fish) may print it, or take the connection's input; let that only happen in an \
         interactive shell",
        noise.trim_end()
    )
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Remote {
    pub(super) fn new(
        url: RemoteUrl,
        path: Option<String>,
        socket: Option<PathBuf>,
        ssh: Option<OsString>,
    ) -> Self {
        let ssh = ssh.unwrap_or_else(|| "ssh".into());
        Self { url, path, socket, ssh, has_connected: AtomicBool::new(false), said: SshWords::default() }
    }

    /// Connects, by an ssh of its own. With `starts`, a server is started there if none runs.
    ///
    /// Once a connection was made, later ones ask and tell the person nothing.
    pub(super) async fn connect(&self, starts: bool) -> Result<Client, RemoteError> {
        let is_first = !self.has_connected.load(Ordering::Relaxed);
        let waited = if is_first { FIRST_TIME } else { AGAIN_TIME };
        let command = self.command(starts);
        self.said.begin(is_first);
        let arguments = self.url.arguments(is_first).chain([OsString::from(command)]);
        let mut line = SshLine::start(&self.ssh, arguments, &self.said)
            .map_err(|source| RemoteError::NoSsh { ssh: self.ssh.clone(), source })?;
        match timeout(waited, line.find_hello()).await {
            Ok(Ok(())) => {}
            Ok(Err(not_found)) => return Err(self.explain(not_found)),
            Err(_) => {
                let (url, noise, said) = (self.url.clone(), line.noise(), self.said.take());
                return Err(RemoteError::NoAnswer { url, waited, noise, said });
            }
        }
        let client = Client::from_greeted(line).await?;
        self.has_connected.store(true, Ordering::Relaxed);
        self.said.keep_for_later();
        Ok(client)
    }

    /// The options that say the same to another process of this program.
    pub(super) fn words(&self) -> Vec<OsString> {
        let mut words =
            vec!["--remote".into(), self.url.to_string().into(), "--ssh".into(), self.ssh.clone()];
        if let Some(path) = &self.path {
            words.extend(["--remote-path".into(), path.into()]);
        }
        if let Some(socket) = &self.socket {
            words.extend(["--socket".into(), socket.into()]);
        }
        words
    }

    /// What the far shell is given to run.
    fn command(&self, starts: bool) -> String {
        let mut command = format!("{} relay", word(self.path.as_deref().unwrap_or(PROGRAM)));
        if !starts {
            command += " --no-start";
        }
        if let Some(socket) = self.socket.as_deref().and_then(Path::to_str) {
            command += &format!(" --socket {}", word(socket));
        }
        command
    }

    fn explain(&self, NotFound { status, noise }: NotFound) -> RemoteError {
        // What is printed live was seen already.
        let (url, said) = (self.url.clone(), self.said.take());
        let program = || self.path.clone().unwrap_or_else(|| PROGRAM.to_owned());
        match status {
            Some(3) => RemoteError::NoServer(url),
            Some(126 | 127) => RemoteError::NoProgram { url, program: program(), said },
            Some(255) => RemoteError::SshFailed(url, said),
            Some(status) => RemoteError::NoHello { url, status: format!(" (status {status})"), noise, said },
            None => RemoteError::NoHello { url, status: String::new(), noise, said },
        }
    }

    /// Tells what ssh said since the connection stood.
    pub(super) fn tell_last_words(&self) {
        let said = self.said.take();
        if !said.trim_end().is_empty() {
            print_note(format_args!("{}", said.trim_end()));
        }
    }
}

/// A path as a word of the far shell's, whichever shell that is: what is in single quotes is taken as it is. The home
/// directory's sign stays outside of them.
fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,:@%".contains(letter);
    let (home, rest) = match text.strip_prefix("~/") {
        Some(rest) => ("~/", rest),
        None => ("", text),
    };
    if !rest.is_empty() && rest.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("{home}'{}'", rest.replace('\'', r"'\''"))
}

/// A path for the far shell. Backslashes and control characters are not the same to every shell.
pub(super) fn remote_path(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('-') || text.contains('\\') || text.chars().any(char::is_control) {
        return Err("give the path of fugue-server on the other machine; without backslashes".to_owned());
    }
    Ok(text.to_owned())
}

/// The program that is run as ssh.
pub(super) fn program(text: &str) -> Result<OsString, String> {
    if text.is_empty() { Err("give a program".to_owned()) } else { Ok(OsStr::new(text).to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_shell_reads_a_path_as_it_is() {
        let paths =
            ["fugue-server", "/opt/a b/f", "it's", "$(touch x)", "`x`;&|<>*?[]{}!#\"", "~user", "a~/b"];
        for shell in ["/bin/sh", "/bin/bash", "/usr/bin/zsh", "/usr/bin/fish", "/bin/tcsh"] {
            if !Path::new(shell).exists() {
                println!("not shown: there is no {shell}");
                continue;
            }
            for path in paths {
                let script = format!("printf %s {}", word(path));
                let read = Command::new(shell).args(["-c", &script]).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&read.stdout), path, "{shell}: {script}");
            }
            let script = format!("printf %s {}", word("~/a b"));
            let read = Command::new(shell).args(["-c", &script]).env("HOME", "/h").output().unwrap();
            assert_eq!(String::from_utf8_lossy(&read.stdout), "/h/a b", "{shell}");
        }
        for refused in ["", "-x", "a\\b", "a\nb", "\x1b"] {
            assert!(remote_path(refused).is_err(), "{refused:?}");
        }
    }
}
