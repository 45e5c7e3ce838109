//! The program on its PTY: starting it, reading and writing its terminal, and seeing it out.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::{
    fs::{Stat, fstat},
    io::Errno,
    process::{Pid, Signal, kill_process_group},
    termios::{
        InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcgetpgrp, tcsetattr,
        tcsetwinsize,
    },
};
use tokio::{
    io::{Interest, Ready, unix::AsyncFd},
    process::Child,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::size::Window;
use crate::{
    message::{Create, ExitStatus},
    sync::{Mutex, Rank},
};

/// How long a program has to be gone once it was killed, and again once its terminal was closed.
pub(super) const KILLED: Duration = Duration::from_secs(1);

/// How often a terminal that no process has open is looked at again.
const REOPENED: Duration = Duration::from_millis(100);

/// The server's end of a terminal: a non-blocking descriptor to read, and another to write.
///
/// They are known to the runtime's poller only while somebody waits for them. In a flood the pump is busy reading; the
/// kernel would yet wake a polling thread for every 4 KiB that arrive, at the cost of the very processors that the
/// pump and the program need. Two descriptors, because a poller takes each but once.
#[derive(Debug)]
pub(super) struct Pty {
    /// `None` once it is closed. A leaf lock.
    master: Mutex<Option<Arc<Master>>>,
    /// Serialises writers, first come, first served, so that one client's paste arrives in one piece.
    typing: tokio::sync::Mutex<()>,
    closed: CancellationToken,
    terminal: TerminalId,
}

/// Which terminal it is: the file system that it is in, and its device number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TerminalId {
    pub(crate) file_system: u64,
    pub(crate) device: u64,
}

impl TerminalId {
    pub(crate) fn of(found: &Stat) -> Self {
        Self { file_system: found.st_dev, device: found.st_rdev }
    }
}

#[derive(Debug)]
struct Master {
    reading: OwnedFd,
    writing: OwnedFd,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    Bytes(usize),
    /// Nothing now.
    WouldBlock,
    /// No program holds the terminal open. Linux reports this as `EIO`.
    Hangup,
}

/// Starts a program on a new terminal. Its environment names its session and the socket of its server.
///
/// Blocks until the program runs, which may take as long as a file server likes.
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
    if let Some(name) = &create.program_name {
        command = command.arg0(argument(name));
    }
    if let Some(cwd) = &create.cwd {
        command = command.current_dir(Path::new(OsStr::from_bytes(cwd)));
    }

    let (master, slave) = pty_process::open().map_err(into_io)?;
    let window = Window { size: create.size, pixels: create.pixels };
    tcsetwinsize(&master, winsize(window))?;
    let mut settings = tcgetattr(&master)?;
    // The one thing that Linux does not know of its own: terminals are of UTF-8.
    settings.input_modes |= InputModes::IUTF8;
    create.settings.apply(&mut settings);
    // Linux gives the slave what its master is given.
    tcsetattr(&master, OptionalActions::Now, &settings)?;
    let terminal = TerminalId::of(&fstat(&slave)?);
    let child = with_no_signal_blocked(|| command.spawn(slave)).map_err(into_io)?;

    // As plain descriptors; by now they are non-blocking, which the two have in common.
    let reading = OwnedFd::from(master);
    let writing = reading.try_clone()?;
    Ok((Pty::new(Master { reading, writing }, terminal), child))
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

/// The size as the system has it, with 0 for pixels that are not known.
fn winsize(Window { size, pixels }: Window) -> Winsize {
    let (ws_xpixel, ws_ypixel) = pixels.map_or((0, 0), |pixels| (pixels.width(), pixels.height()));
    Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel, ws_ypixel }
}

fn into_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(errno) => errno.into(),
        other => io::Error::other(other),
    }
}

impl Pty {
    fn new(master: Master, terminal: TerminalId) -> Self {
        Self {
            master: Mutex::new(Rank::Leaf, Some(Arc::new(master))),
            typing: tokio::sync::Mutex::default(),
            closed: CancellationToken::new(),
            terminal,
        }
    }

    pub(super) fn terminal(&self) -> TerminalId {
        self.terminal
    }

    fn master(&self) -> Option<Arc<Master>> {
        self.master.with(|master| master.clone())
    }

    /// Closes it, unless it is being read just now. The kernel then hangs up whatever has the terminal open, which it
    /// asks nobody's permission for. What was not read is lost.
    pub(super) fn close(&self) {
        let master = self.master.with(Option::take);
        drop(master);
        self.closed.cancel();
    }

    /// Waits until a read may find something.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        let Some(master) = self.master() else { return Ok(()) };
        ready(&master.reading, Interest::READABLE).await.map(drop)
    }

    /// Takes what is there, at most 4 KiB on Linux, without waiting.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        let Some(master) = self.master() else { return Ok(ReadOutcome::Hangup) };
        loop {
            match rustix::io::read(&master.reading, &mut *buffer) {
                Ok(0) | Err(Errno::IO) => return Ok(ReadOutcome::Hangup),
                Ok(bytes) => return Ok(ReadOutcome::Bytes(bytes)),
                Err(Errno::AGAIN) => return Ok(ReadOutcome::WouldBlock),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Types `data`; waits while the program does not read.
    pub(super) async fn write_all(&self, data: &[u8]) -> io::Result<()> {
        self.write_taken(|| data).await
    }

    /// Types what `take` gives once it is this writer's turn.
    pub(super) async fn write_taken<T: AsRef<[u8]>>(&self, take: impl FnOnce() -> T) -> io::Result<()> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
            written = self.write(take) => written,
        }
    }

    async fn write<T: AsRef<[u8]>>(&self, take: impl FnOnce() -> T) -> io::Result<()> {
        let _typing = self.typing.lock().await;
        let taken = take();
        let mut data = taken.as_ref();
        let Some(master) = self.master() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        while !data.is_empty() {
            match rustix::io::write(&master.writing, data) {
                Ok(written) => data = &data[written..],
                Err(Errno::INTR) => {}
                // The poller calls a hung-up terminal ready, though it takes no more.
                Err(Errno::AGAIN) if ready(&master.writing, Interest::WRITABLE).await?.is_write_closed() => {
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
        let settings = tcgetattr(&self.master()?.reading).ok()?;
        let character = settings.special_codes[SpecialCodeIndex::VINTR];
        (settings.local_modes.contains(LocalModes::ISIG) && character != 0).then_some(character)
    }

    /// Sends the processes in the foreground a signal, as the terminal does for a key.
    pub(super) fn signal_foreground(&self, signal: Signal) -> io::Result<()> {
        let master = self.master().ok_or(io::ErrorKind::BrokenPipe)?;
        // Linux tells the master which processes its slave has in the foreground.
        Ok(kill_process_group(tcgetpgrp(&master.reading)?, signal)?)
    }

    pub(super) fn resize(&self, window: Window) -> io::Result<()> {
        // A program that is gone has no size to be told.
        self.master().map_or(Ok(()), |master| Ok(tcsetwinsize(&master.reading, winsize(window))?))
    }
}

/// Waits for the program to exit; hangs it up when asked, and kills it when it has not gone within `grace` of that.
/// Hands it back if it is still there [a second](KILLED) later: it runs as another user, or the kernel does not let it
/// go.
///
/// The program leads a process group of its own, and the signals go to all of it. They are sent only while the child
/// has not been waited for, so its id can't have been given to another process.
pub(super) async fn supervise(
    mut child: Child,
    hang_up: CancellationToken,
    grace: Duration,
) -> Result<ExitStatus, Child> {
    tokio::select! {
        biased;
        status = child.wait() => return Ok(status.map_or(ExitStatus::Unknown, ExitStatus::from)),
        () = hang_up.cancelled() => {}
    }
    kill(&child, Signal::HUP);
    // A stopped program can't act on a hangup.
    kill(&child, Signal::CONT);
    if let Some(status) = exit_within(&mut child, grace).await {
        return Ok(status);
    }
    kill(&child, Signal::KILL);
    exit_within(&mut child, KILLED).await.ok_or(child)
}

/// How the program ended, if it does in time.
pub(super) async fn exit_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let status = tokio::time::timeout(limit, child.wait()).await.ok()?;
    Some(status.map_or(ExitStatus::Unknown, ExitStatus::from))
}

/// The signal of this number, if it is one that people send.
pub(super) fn signal(number: i32) -> Option<Signal> {
    let is_known = nix::sys::signal::Signal::try_from(number).is_ok();
    is_known.then(|| Signal::from_named_raw(number)).flatten()
}

fn kill(child: &Child, signal: Signal) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = group
        && let Err(errno) = kill_process_group(group, signal)
    {
        debug!(%errno, ?signal, "signal not delivered");
    }
}
