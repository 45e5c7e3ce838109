//! `serve`: runs the server until it is told to stop.

mod orphans;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::RawFd,
    path::{Path, PathBuf},
    pin::pin,
};

use anyhow::Context;
use nix::sys::signal::SigSet;
use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Exit, Globals, bytes::ByteCount, print_note, time::TimeSpan};
use crate::server::{
    DEFAULT_ENDED_BYTES, DEFAULT_HISTORY_BYTES, DEFAULT_MAX_CLIENTS, DEFAULT_QUEUE_DEPTH, DEFAULT_SCROLLBACK,
    Server, ServerBuilder, ServerError,
};

/// Said on stdout once clients can connect, for what started this server.
pub(super) const READY: &str = "ready";

/// Runs the server in the foreground, until SIGTERM, SIGINT or SIGHUP
#[derive(Debug, clap::Args)]
#[command(after_help = "`new` starts a server by itself when none runs; use this to choose its \
settings, to see its log, or to run it under a supervisor. A second SIGTERM or SIGINT ends it at once.")]
pub(super) struct Args {
    /// Shards of the client registry, a power of two from 1 to 4096 [default: 128 per hardware thread]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Output each session holds for clients that are behind or come late
    #[arg(long, value_name = "BYTES", default_value_t = ByteCount(DEFAULT_HISTORY_BYTES))]
    history: ByteCount,
    /// Output of ended sessions that is kept to be read, all together
    #[arg(long, value_name = "BYTES", default_value_t = ByteCount(DEFAULT_ENDED_BYTES))]
    ended: ByteCount,
    /// How long that is kept
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ended_for: TimeSpan,
    /// Lines that scrolled off the screen each session keeps for terminals that attach, up to 100000
    #[arg(long, value_name = "LINES", default_value_t = DEFAULT_SCROLLBACK)]
    scrollback: usize,
    /// Messages each client's queue holds
    #[arg(long, value_name = "MESSAGES", default_value_t = DEFAULT_QUEUE_DEPTH)]
    queue: usize,
    /// Connections served at once, as far as the limit of open files (ulimit -n) allows
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_CLIENTS)]
    max_clients: usize,
    /// Leave the terminal that started it, and log to a file beside the socket
    #[arg(long, hide = true)]
    background: bool,
}

impl Args {
    /// A server with these settings.
    fn server(&self, socket: &Path) -> ServerBuilder {
        let server = Server::builder(socket)
            .history_bytes(self.history.0)
            .ended_bytes(self.ended.0)
            .ended_time(self.ended_for.0)
            .scrollback_lines(self.scrollback)
            .queue_depth(self.queue)
            .max_clients(self.max_clients);
        match self.shards {
            Some(shards) => server.shards(shards),
            None => server,
        }
    }

    /// Refuses what is out of bounds.
    pub(super) fn check(&self) -> Result<(), ServerError> {
        self.server(Path::new("")).check()
    }
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    // First of all, while this is the only thread and has nothing open of its own.
    close_what_was_inherited();
    unblock_signals();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = args.server(&common.socket);
        // From before the socket is there, so that a signal never leaves it behind.
        let mut signals = StopSignals::new()?;
        ignore_no_signal();
        if std::process::id() == 1 {
            tokio::spawn(orphans::reap());
        }
        let server = server.bind()?;
        if args.background {
            leave_terminal(common, &server)?;
        } else {
            common.log_to_stderr();
            print_note(format_args!("listening on {}", server.socket().display()));
        }
        // What waits for this may have gone meanwhile.
        let _ = writeln!(io::stdout(), "{READY}").and_then(|()| io::stdout().flush());
        let stop = CancellationToken::new();
        let mut serving = pin!(server.serve(stop.clone().cancelled_owned()));
        tokio::select! {
            () = &mut serving => {}
            () = signals.first() => {
                stop.cancel();
                tokio::select! {
                    () = serving => {}
                    // It is dropped: connections are closed, and the kernel hangs up the programs.
                    () = signals.another() => warn!("told again to stop; ending at once"),
                }
            }
        }
        Ok(Exit::SUCCESS)
    })
}

/// Closes every descriptor but the standard ones. What this was started with is neither for its programs to
/// use, nor for it to keep open as long as it lives: others may wait for the end of a pipe, or for a lock.
pub(super) fn close_what_was_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // An error says that it is closed, as the listing's own is by now.
        let _ = nix::unistd::close(descriptor);
    }
}

/// A server that was started with signals blocked could not be told to stop.
fn unblock_signals() {
    // It can't fail with a mask that is one; and it would then be as it was.
    let _ = SigSet::empty().thread_set_mask();
}

/// Gives every signal that this process ignores a handler that does nothing, because `nohup` and shells without job
/// control have programs ignore some: a program that can't be interrupted or hung up is not what its user started.
///
/// A signal that has a handler is back to its default in the programs, one that is ignored stays so.
fn ignore_no_signal() {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The standard library itself puts SIGPIPE back; the others above 31 are for real-time programs.
    let ignored =
        (1..32).filter(|number| ignored & 1 << (number - 1) != 0 && *number != Signal::PIPE.as_raw());
    for number in ignored {
        if let Err(error) = signal(SignalKind::from_raw(number)) {
            debug!(number, %error, "programs ignore this signal, as this process does");
        }
    }
}

/// The signals that ask for an end.
struct StopSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Completes when somebody will not wait for the shutdown. A hangup says nothing of the kind: it comes with SIGTERM
    /// as a person logs out.
    async fn another(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Becomes independent of the terminal and the directory the server was started from.
fn leave_terminal(common: &Globals, server: &Server) -> anyhow::Result<()> {
    rustix::process::setsid().context("starting a session of its own failed")?;
    std::env::set_current_dir("/")?;
    let log: File = server
        .open_beside(LOG)
        .with_context(|| format!("opening the log {} failed", log_path(&common.socket).display()))?;
    tracing_subscriber::fmt()
        .with_max_level(common.log)
        .with_ansi(false)
        // The disk may be full, and nobody reads this process's stderr: a complaint would fail too, and panic.
        .log_internal_errors(false)
        .with_writer(std::sync::Mutex::new(log))
        .init();
    Ok(())
}

/// What follows the socket's name in its log's.
const LOG: &str = ".log";

/// Where a server that was started in the background logs.
pub(super) fn log_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(LOG);
    path.into()
}
