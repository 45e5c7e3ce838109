//! `serve`: runs the server until it is told to stop.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::RawFd,
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::sys::signal::SigSet;
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, Exit, tell};
use crate::server::Server;

/// Said on stdout once clients can connect, for whoever started this server.
pub(super) const READY: &str = "ready";

/// Runs the server in the foreground, until SIGTERM, SIGINT or SIGHUP
#[derive(Debug, clap::Args)]
#[command(
    after_help = "`new` and `attach` start a server by themselves when none runs; use this to choose its \
settings, to see its log, or to run it under a supervisor."
)]
pub(super) struct Args {
    /// Shards of the client registry, a power of two from 1 to 4096 [default: 128 per hardware thread]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Output each session holds for clients that are behind or come late
    #[arg(long, value_name = "BYTES", default_value = "4MiB", value_parser = parse_bytes)]
    history: usize,
    /// Messages each client's queue holds
    #[arg(long, value_name = "MESSAGES", default_value_t = 16)]
    queue: usize,
    /// Connections served at once, as far as the limit of open files (ulimit -n) allows
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_clients: usize,
    /// Leave the terminal that started it, and log to a file beside the socket
    #[arg(long, hide = true)]
    background: bool,
}

pub(super) fn run(common: &Common, args: Args) -> anyhow::Result<Exit> {
    // First of all, while this is the only thread and has nothing open of its own.
    close_what_was_inherited();
    unblock_signals();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut server = Server::builder(&common.socket)
            .history_bytes(args.history)
            .queue_depth(args.queue)
            .max_clients(args.max_clients);
        if let Some(shards) = args.shards {
            server = server.shards(shards);
        }
        // From before the socket is there, so that a signal never leaves it behind.
        let stop = stop_signal()?;
        let server = server.bind()?;
        if args.background {
            leave_terminal(common, &server)?;
        } else {
            common.log_to_stderr();
            tell(format_args!("listening on {}", server.socket().display()));
        }
        // Whoever waits for this may have gone meanwhile.
        let _ = writeln!(io::stdout(), "{READY}").and_then(|()| io::stdout().flush());
        server.serve(stop).await;
        Ok(Exit::SUCCESS)
    })
}

/// Closes every descriptor but the standard ones. What whoever started this left open is neither for its programs to
/// use, nor for it to keep open as long as it lives: others may wait for the end of a pipe, or for a lock.
fn close_what_was_inherited() {
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

/// Completes on the first signal that asks for an end. Later ones find the shutdown under way, which is bounded.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Becomes independent of the terminal and the directory the server was started from.
fn leave_terminal(common: &Common, server: &Server) -> anyhow::Result<()> {
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

/// A number of bytes: digits, and KiB, MiB or GiB if wanted.
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        unit => return Err(format!("unknown unit {unit:?}; use KiB, MiB or GiB")),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "give a whole number of bytes, such as 65536, 64KiB or 4MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too many bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_are_read_with_and_without_units() {
        assert_eq!(parse_bytes("65536"), Ok(65536));
        assert_eq!(parse_bytes("64KiB"), Ok(65536));
        assert_eq!(parse_bytes("1G"), Ok(1 << 30));
        for wrong in [
            "",
            "MiB",
            "4 MiB",
            "-1",
            "1.5MiB",
            "4mib",
            "4TiB",
            "99999999999999999999",
            "18446744073709551615K",
        ] {
            assert!(parse_bytes(wrong).is_err(), "{wrong:?}");
        }
    }
}
