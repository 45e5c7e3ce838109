//! The program on its PTY: starting it, reading and writing its terminal, and seeing it out.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
    termios::{LocalModes, SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::{
    io::{Interest, Ready, unix::AsyncFd},
    process::Child,
    signal::unix::{SignalKind, signal},
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

/// How often a terminal that no process has open is looked at again.
const REOPENED: Duration = Duration::from_millis(100);

/// The server's end of a terminal: a non-blocking descriptor to read, and another to write.
///
/// They are known to the runtime's poller only while somebody waits for them. In a flood the pump is busy reading; the
/// kernel would yet wake a polling thread for every 4 KiB that arrive, at the cost of the very processors that the
/// pump and the program need. Two descriptors, because a poller takes each but once.
#[derive(Debug)]
pub(super) struct Pty {
    reading: OwnedFd,
    /// Its lock serialises writers, first come, first served, so that one client's paste arrives in one piece.
    typing: tokio::sync::Mutex<OwnedFd>,
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

/// Starts a program on a new terminal. Its environment names its session and the socket of its server.
pub(super) fn spawn(create: &Create, socket: &Path) -> io::Result<(Pty, Child)> {
    let argument = |bytes: &Vec<u8>| OsStr::from_bytes(bytes).to_owned();
    let (program, arguments) = create.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = pty_process::Command::new(argument(program))
        .args(arguments.iter().map(argument))
        .env_clear()
        .env("TERM", "xterm-256color")
        .envs(create.env.iter().map(|(key, value)| (argument(key), argument(value))))
        .env("FUGUE_SESSION", create.name.as_str())
        .env("FUGUE_SOCKET", socket);
    if let Some(cwd) = &create.cwd {
        command = command.current_dir(Path::new(OsStr::from_bytes(cwd)));
    }

    hand_on_no_ignored_signals();
    let spawning = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    let (master, slave) = pty_process::open().map_err(into_io)?;
    master.resize(pty_process::Size::new(create.size.rows(), create.size.cols())).map_err(into_io)?;
    let child = with_no_signal_blocked(|| command.spawn(slave)).map_err(into_io)?;
    drop(spawning);

    // As plain descriptors; by now they are non-blocking, which the two have in common.
    let reading = OwnedFd::from(master);
    let typing = tokio::sync::Mutex::new(reading.try_clone()?);
    Ok((Pty { reading, typing }, child))
}

/// Sees to it that no signal is ignored in the programs because it is in this process, as `nohup` and shells without job
/// control have it: a program that can't be interrupted or hung up is not what its user started.
///
/// A signal with a handler is back to its default after an `exec`, one that is ignored stays so. So a handler that does
/// nothing takes the place of every ignored one.
fn hand_on_no_ignored_signals() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The standard library itself puts SIGPIPE back; the others above 31 are for real-time programs.
    for number in
        (1..32).filter(|number| *number != Signal::PIPE.as_raw() && ignored & 1 << (number - 1) != 0)
    {
        if let Err(error) = signal(SignalKind::from_raw(number)) {
            debug!(number, %error, "programs ignore this signal, as this process does");
        }
    }
}

/// Starts a program on this thread, whose signal mask the program gets: it is to block none, whatever this process was
/// started to block.
fn with_no_signal_blocked<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = start();
    if let Ok(before) = before {
        // It can't fail where it just worked; if it did, this thread would handle signals that others handle too.
        let _ = before.thread_set_mask();
    }
    started
}

/// Waits until a descriptor is ready, and says how.
async fn ready(descriptor: &OwnedFd, interest: Interest) -> io::Result<Ready> {
    #[allow(
        deprecated,
        reason = "its replacement is unsafe; a borrowed `OwnedFd` stays one open descriptor, as asked"
    )]
    let polled = AsyncFd::with_interest(descriptor.as_fd(), interest)?;
    let guard = polled.ready(interest).await?;
    Ok(guard.ready())
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
        ready(&self.reading, Interest::READABLE).await.map(drop)
    }

    /// Takes what is there, at most 4 KiB on Linux, without waiting.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Got> {
        loop {
            match rustix::io::read(&self.reading, &mut *buffer) {
                Ok(0) | Err(Errno::IO) => return Ok(Got::Hangup),
                Ok(bytes) => return Ok(Got::Bytes(bytes)),
                Err(Errno::AGAIN) => return Ok(Got::Dry),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    pub(super) async fn write_all(&self, mut data: &[u8]) -> io::Result<()> {
        let typing = self.typing.lock().await;
        while !data.is_empty() {
            match rustix::io::write(&*typing, data) {
                Ok(written) => data = &data[written..],
                Err(Errno::INTR) => {}
                // The poller calls a hung-up terminal ready, though it takes no more.
                Err(Errno::AGAIN) if ready(&typing, Interest::WRITABLE).await?.is_write_closed() => {
                    self.reopened().await;
                }
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits a moment for a process to open a terminal that none has open.
    pub(super) async fn reopened(&self) {
        tokio::time::sleep(REOPENED).await;
    }

    /// The character that interrupts the program when typed, if one does. Linux tells the master its slave's settings.
    pub(super) fn interrupt_character(&self) -> Option<u8> {
        let settings = tcgetattr(&self.reading).ok()?;
        let character = settings.special_codes[SpecialCodeIndex::VINTR];
        (settings.local_modes.contains(LocalModes::ISIG) && character != 0).then_some(character)
    }

    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.reading, size)?)
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
            kill(&child, Signal::HUP);
            // A stopped program can't act on a hangup.
            kill(&child, Signal::CONT);
            match tokio::time::timeout(grace, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    kill(&child, Signal::KILL);
                    child.wait().await
                }
            }
        }
    };
    status.map_or(ExitStatus::Unknown, ExitStatus::from)
}

fn kill(child: &Child, signal: Signal) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = group
        && let Err(errno) = kill_process_group(group, signal)
    {
        debug!(%errno, ?signal, "signal not delivered");
    }
}
