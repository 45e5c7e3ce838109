//! The program on its PTY: starting it, reading and writing its terminal, and seeing it out.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    TerminalSize,
    message::{Create, ExitStatus},
};

/// Held while a PTY is opened and its program started.
///
/// `pty_process` marks the master close-on-exec with a second system call; a program forked between the two would
/// inherit another session's terminal.
static SPAWNING: Mutex<()> = Mutex::new(());

/// How often a terminal that no process has open, or had for a while, is looked at again.
const REOPENED: Duration = Duration::from_millis(100);

/// The server's end of a terminal.
#[derive(Debug)]
pub(super) struct Pty {
    master: AsyncFd<OwnedFd>,
    /// Serialises writers, first come, first served, so that one client's paste arrives in one piece.
    typing: tokio::sync::Mutex<()>,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(usize),
    /// Nothing now.
    Dry,
    /// No program holds the terminal open. Linux reports this as `EIO`.
    Hangup,
}

/// Starts a program on a new terminal.
pub(super) fn spawn(create: &Create) -> io::Result<(Pty, Child)> {
    let argument = |bytes: &Vec<u8>| OsStr::from_bytes(bytes).to_owned();
    let (program, arguments) = create.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = pty_process::Command::new(argument(program))
        .args(arguments.iter().map(argument))
        .env_clear()
        .env("TERM", "xterm-256color")
        .envs(create.env.iter().map(|(key, value)| (argument(key), argument(value))))
        .env("FUGUE_SESSION", create.name.as_str());
    if let Some(cwd) = &create.cwd {
        command = command.current_dir(Path::new(OsStr::from_bytes(cwd)));
    }

    let spawning = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    let (master, slave) = pty_process::open().map_err(into_io)?;
    master.resize(pty_process::Size::new(create.size.rows(), create.size.cols())).map_err(into_io)?;
    let child = command.spawn(slave).map_err(into_io)?;
    drop(spawning);

    // As a plain descriptor, which is non-blocking by now: the pump reads it until it runs dry, without a wait.
    #[allow(
        deprecated,
        reason = "its replacement is unsafe; an `OwnedFd` keeps one descriptor open for life, which is what is asked"
    )]
    let master = AsyncFd::new(OwnedFd::from(master))?;
    Ok((Pty { master, typing: tokio::sync::Mutex::new(()) }, child))
}

fn into_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(errno) => errno.into(),
        other => io::Error::other(other),
    }
}

impl Pty {
    /// Waits until a read may find something.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let ready = self.master.readable().await?.ready();
        if ready.is_read_closed() {
            self.reopened().await;
        }
        Ok(())
    }

    /// Waits a moment for a process to open the terminal, where none has it open or none had it for a while.
    ///
    /// Once a descriptor has hung up, Tokio holds it to be ready for ever; so from then on the terminal is looked at
    /// now and then instead.
    pub(super) async fn reopened(&self) {
        tokio::time::sleep(REOPENED).await;
    }

    /// Takes what is there, at most 4 KiB on Linux, without waiting.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Got> {
        loop {
            let read = |master: &OwnedFd| rustix::io::read(master, &mut *buffer).map_err(io::Error::from);
            match self.master.try_io(Interest::READABLE, read) {
                Ok(0) => return Ok(Got::Hangup),
                Ok(bytes) => return Ok(Got::Bytes(bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Got::Dry),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => return Ok(Got::Hangup),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn write_all(&self, mut data: &[u8]) -> io::Result<()> {
        let _typing = self.typing.lock().await;
        while !data.is_empty() {
            let mut ready = self.master.writable().await?;
            let closed = ready.ready().is_write_closed();
            let write = |master: &AsyncFd<OwnedFd>| Ok(rustix::io::write(master.get_ref(), data)?);
            match ready.try_io(write) {
                Ok(written) => data = &data[written?..],
                Err(_) if closed => self.reopened().await,
                Err(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.master.get_ref(), size)?)
    }
}

/// Waits for the program to exit; hangs it up when asked, and kills it when it has not gone within `grace` of that.
///
/// The program leads a process group of its own, and the signals go to all of it. They are sent only while the child
/// has not been waited for, so its id can't have been given to another process.
pub(super) async fn supervise(mut child: Child, hang_up: CancellationToken, grace: Duration) -> ExitStatus {
    let status = tokio::select! {
        biased;
        status = child.wait() => status,
        () = hang_up.cancelled() => {
            signal(&child, Signal::HUP);
            // A stopped program can't act on a hangup.
            signal(&child, Signal::CONT);
            match tokio::time::timeout(grace, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    signal(&child, Signal::KILL);
                    child.wait().await
                }
            }
        }
    };
    status.map_or(ExitStatus::Unknown, ExitStatus::from)
}

fn signal(child: &Child, signal: Signal) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = group
        && let Err(errno) = kill_process_group(group, signal)
    {
        debug!(%errno, ?signal, "signal not delivered");
    }
}
