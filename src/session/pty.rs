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
    fs::{OFlags, Stat, fcntl_getfl, fcntl_setfl, fstat},
    io::Errno,
    process::{Signal, kill_process_group},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{
        InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcgetpgrp, tcsetattr,
        tcsetwinsize,
    },
};
use tokio::io::{Interest, Ready, unix::AsyncFd};
use tokio_util::sync::CancellationToken;

use super::{program::Process, size::Window};
use crate::{
    message::Create,
    sync::{Mutex, Rank},
};

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
    /// Another server is going to type.
    stands: CancellationToken,
    /// What an earlier server had not typed of what it had begun with; or, once this one stands, this one. A leaf lock.
    untyped: Mutex<Vec<u8>>,
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

/// Starts a program on a new terminal, as a child of this process.
///
/// Blocks until the program runs, which may take as long as a file server likes.
pub(super) fn spawn(create: &Create, socket: &Path) -> io::Result<(Pty, Process)> {
    let argument = |bytes: &Vec<u8>| OsStr::from_bytes(bytes).to_owned();
    let (program, arguments) = create.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = pty_process::Command::new(argument(program))
        .args(arguments.iter().map(argument))
        .env_clear()
        .envs(environment(create, socket).iter().map(|(key, value)| (argument(key), argument(value))));
    if let Some(name) = &create.program_name {
        command = command.arg0(argument(name));
    }
    if let Some(cwd) = &create.cwd {
        command = command.current_dir(Path::new(OsStr::from_bytes(cwd)));
    }

    let (master, slave) = pty_process::open().map_err(into_io)?;
    set_up(&master, create)?;
    let terminal = TerminalId::of(&fstat(&slave)?);
    let child = with_no_signal_blocked(|| command.spawn(slave)).map_err(into_io)?;
    // As a plain descriptor, which is non-blocking by now.
    Ok((Pty::of(master.into(), terminal)?, Process::Child(child)))
}

/// Opens a terminal for a program that somebody else starts: its two sides, and which it is.
pub(super) fn open(create: &Create) -> io::Result<(OwnedFd, OwnedFd, TerminalId)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    set_up(&master, create)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let terminal = TerminalId::of(&fstat(&slave)?);
    Ok((master, slave, terminal))
}

/// Gives a terminal its size and its settings.
fn set_up(master: impl AsFd, create: &Create) -> io::Result<()> {
    let window = Window { size: create.size, pixels: create.pixels };
    tcsetwinsize(&master, winsize(window))?;
    let mut settings = tcgetattr(&master)?;
    // The one thing that Linux does not know of its own: terminals are of UTF-8.
    settings.input_modes |= InputModes::IUTF8;
    create.settings.apply(&mut settings);
    // Linux gives the slave what its master is given.
    Ok(tcsetattr(&master, OptionalActions::Now, &settings)?)
}

/// A program's environment, which names its session and the socket of its server. Of one name, the last counts.
pub(super) fn environment(create: &Create, socket: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let variable = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let mut env = vec![variable("TERM", b"xterm-256color")];
    env.extend(create.env.iter().cloned());
    env.push(variable("FUGUE_SESSION", create.name.as_str().as_bytes()));
    env.push(variable("FUGUE_SOCKET", socket.as_os_str().as_bytes()));
    env
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
    /// The terminal that has this master.
    pub(super) fn of(reading: OwnedFd, terminal: TerminalId) -> io::Result<Self> {
        fcntl_setfl(&reading, fcntl_getfl(&reading)? | OFlags::NONBLOCK)?;
        let writing = reading.try_clone()?;
        Ok(Self {
            master: Mutex::new(Rank::Leaf, Some(Arc::new(Master { reading, writing }))),
            typing: tokio::sync::Mutex::default(),
            closed: CancellationToken::new(),
            stands: CancellationToken::new(),
            untyped: Mutex::new(Rank::Leaf, Vec::new()),
            terminal,
        })
    }

    /// Another descriptor of its master, unless it is closed.
    pub(super) fn master_again(&self) -> Option<OwnedFd> {
        self.master()?.reading.try_clone().ok()
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
        if self.stands.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let before = self.untyped.with(std::mem::take);
        self.write_part(&before).await?;
        let taken = take();
        self.write_part(taken.as_ref()).await
    }

    async fn write_part(&self, mut data: &[u8]) -> io::Result<()> {
        let Some(master) = self.master() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        while !data.is_empty() {
            match rustix::io::write(&master.writing, data) {
                Ok(written) => data = &data[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => tokio::select! {
                    biased;
                    () = self.stands.cancelled() => {
                        self.untyped.with(|untyped| untyped.extend_from_slice(data));
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    waited = self.writable(&master) => waited?,
                },
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits until a write may do something. The poller calls a hung-up terminal ready, though it takes no more.
    async fn writable(&self, master: &Master) -> io::Result<()> {
        if ready(&master.writing, Interest::WRITABLE).await?.is_write_closed() {
            self.reopened().await;
        }
        Ok(())
    }

    /// Types nothing more. Returns what is left of what it was typing.
    pub(super) async fn stand(&self) -> Vec<u8> {
        self.stands.cancel();
        let _typing = self.typing.lock().await;
        self.untyped.with(std::mem::take)
    }

    /// Has this typed before anything else.
    pub(super) fn type_first(&self, untyped: Vec<u8>) {
        self.untyped.with(|first| *first = untyped);
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

/// The signal of this number, if it is one that people send.
pub(super) fn signal(number: i32) -> Option<Signal> {
    let is_known = nix::sys::signal::Signal::try_from(number).is_ok();
    is_known.then(|| Signal::from_named_raw(number)).flatten()
}
