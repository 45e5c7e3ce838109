//! The last step to a program: a process that has the terminal already, makes it its own, and becomes the program.
//!
//! The keeper does not fork it by itself, because whatever may block for as long as a file server likes, as a change of
//! directory and `exec` may, has to block nobody else.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, stderr, stdin, stdout},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::FileExt, process::CommandExt},
    },
    process::{Command, ExitCode},
};

use nix::sys::signal::SigSet;
use rustix::{
    io::Errno,
    process::{ioctl_tiocsctty, setsid},
    stdio::{dup2_stderr, dup2_stdout},
};
use serde::{Deserialize, Serialize};

/// What a program is started by.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProgramWords {
    /// The program and its arguments; at least the program.
    pub(crate) command: Vec<Vec<u8>>,
    /// What it is told its own name is, if not that.
    pub(crate) name: Option<Vec<u8>>,
    /// Its whole environment.
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) cwd: Vec<u8>,
}

/// Becomes the program. Standard input is its terminal, standard output a pipe to say why it did not work, standard
/// error the file with its [`ProgramWords`].
pub(super) fn run() -> ExitCode {
    let Ok(failures) = rustix::io::fcntl_dupfd_cloexec(stdout(), 3) else { return ExitCode::FAILURE };
    let Err(error) = start();
    let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
    // A keeper that has gone asks for nothing.
    let _ = rustix::io::write(&failures, &errno.to_ne_bytes());
    ExitCode::FAILURE
}

fn start() -> io::Result<std::convert::Infallible> {
    let words = words(stderr().as_fd().try_clone_to_owned()?)?;
    setsid()?;
    ioctl_tiocsctty(stdin())?;
    dup2_stdout(stdin())?;
    dup2_stderr(stdin())?;
    let text = OsStr::from_bytes;
    let (program, arguments) = words.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(text(program));
    command
        .args(arguments.iter().map(|argument| text(argument)))
        .env_clear()
        .envs(words.env.iter().map(|(name, value)| (text(name), text(value))))
        .current_dir(text(&words.cwd));
    if let Some(name) = &words.name {
        command.arg0(text(name));
    }
    // Whatever the keeper blocks.
    SigSet::empty().thread_set_mask()?;
    Err(command.exec())
}

fn words(file: OwnedFd) -> io::Result<ProgramWords> {
    let file = File::from(file);
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}
