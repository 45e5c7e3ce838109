//! `serve`: runs the server until it is told to stop.

mod inherited;
mod orphans;
mod reload;
mod signals;
mod successor;
mod supervisor;

use std::{
    io::{self, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use anyhow::Context;
use tokio::sync::oneshot;
use tracing::warn;

pub(super) use self::{
    inherited::close_what_was_inherited, successor::NOT_RESTARTED, supervisor::Supervisor,
};
use self::{reload::Reloading, signals::ServerSignals, successor::Restarts};
use super::{
    Exit, Globals,
    bytes::ByteCount,
    log::{self, LogFormat, LogLevel, LogSink},
    print_note,
    settings::{self, SettingsFile},
    time::TimeSpan,
};
use crate::{
    message::SessionInfo,
    server::{
        DEFAULT_ENDED_BYTES, DEFAULT_HISTORY_BYTES, DEFAULT_MAX_CLIENTS, DEFAULT_QUEUE_DEPTH,
        DEFAULT_SCROLLBACK, Server, ServerBuilder, ServerEnd, ServerError,
    },
};

/// Said on stdout by a server that waits for another one's sessions.
const WAITING: &str = "waiting";

/// Said on stdout once clients can connect, for what started this server.
pub(super) const READY: &str = "ready";

/// How long the end waits for what is still to be read of a disk.
const DISK_TIME: Duration = Duration::from_secs(1);

/// Runs the server in the foreground, until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
#[command(after_help = "`new` starts a server by itself when none runs; use this to choose its \
settings, to see its log, or to run it under a supervisor. A second SIGTERM or SIGINT ends it at once. \
SIGHUP has it read its configuration files again, or ends it if it was started at a terminal.")]
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
    /// How the log is written: text, or json, an object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    log_format: LogFormat,
    /// Leave the terminal that started it, and log to a file beside the socket
    #[arg(long, hide = true)]
    background: bool,
    /// Take over all that the running server has, once it is ready for that
    #[arg(long, hide = true)]
    take_over: bool,
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
            .max_clients(self.max_clients)
            .keep_programs();
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
    // First of all: this has to be the only thread, and to have nothing open of its own.
    let listener = inherited::take_listener()?;
    signals::unblock();
    // Before it leaves the directory that their paths may begin in.
    let files = settings::files().into_iter().map(SettingsFile::absolute).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(common, args, files, listener));
    // A file that is read again may be on a disk that does not answer.
    runtime.shutdown_timeout(DISK_TIME);
    served
}

async fn serve(
    common: &Globals,
    args: Args,
    files: Vec<SettingsFile>,
    listener: Option<UnixListener>,
) -> anyhow::Result<Exit> {
    // From before the socket is there, so that a signal never leaves it behind.
    let mut signals = ServerSignals::new(args.background)?;
    if std::process::id() == 1 {
        tokio::spawn(orphans::reap());
    }
    if args.background {
        // Its starter closes this once it has found no other server. Before, it may end it.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
    }
    let server = bind(common, &args, listener).await?;
    server.take_over().await?;
    let log = start_log(common, &args, &server)?;
    // What waits for this may have gone meanwhile.
    let _ = writeln!(io::stdout(), "{READY}").and_then(|()| io::stdout().flush());
    // One in the background is nobody's service, whatever its starter is.
    let leaves_terminal = args.background;
    let supervisor = if args.background { Supervisor::none() } else { Supervisor::from_environment() };
    supervisor.ready().await;
    let reloading = Reloading::new(files, server.reloader(), log, common, args);
    let reloading = reloading.at_each(signals.reloads(), &supervisor);
    let alive = supervisor.feed_watchdog(status(&server));
    let (end, told) = oneshot::channel();
    let told = async { told.await.unwrap_or(ServerEnd::ShutDown) };
    let restarts = Restarts::new(&server, signals.restarts(), leaves_terminal);
    let mut serving = pin!(server.serve_until(told));
    let served = async {
        tokio::select! {
            served = &mut serving => return served,
            () = signals.stop() => {}
            pid = restarts.next_server() => {
                supervisor.is_replaced_by(pid).await;
                let _ = end.send(ServerEnd::HandOver);
                serving.await?;
                // At once: nothing here is to end what the next one has.
                std::process::exit(0);
            }
        }
        let _ = end.send(ServerEnd::ShutDown);
        let ended = async { tokio::join!(serving, supervisor.stopping()) };
        tokio::select! {
            _ = ended => {}
            // It is dropped: connections are closed, and the kernel hangs up the programs.
            () = signals.stop_at_once() => warn!("told again to stop; ending at once"),
        }
        Ok(())
    };
    tokio::select! {
        served = served => Ok(served.map(|()| Exit::SUCCESS)?),
        never = reloading => match never {},
        never = alive => match never {},
    }
}

/// Has the server's socket: the one that was handed over, or one of its own.
async fn bind(common: &Globals, args: &Args, listener: Option<UnixListener>) -> anyhow::Result<Server> {
    if args.take_over {
        let waits = || {
            let _ = writeln!(io::stdout(), "{WAITING}").and_then(|()| io::stdout().flush());
        };
        return Ok(args.server(&common.socket).claim(waits).await?);
    }
    let Some(listener) = listener else { return Ok(args.server(&common.socket).bind()?) };
    let address = listener.local_addr()?;
    // Where nobody said which, it is that one.
    let socket = address.as_pathname().filter(|_| common.is_default).unwrap_or(&common.socket);
    Ok(args.server(socket).listen_on(listener)?)
}

/// What a service manager shows of a server.
fn status(server: &Server) -> impl Fn() -> String + use<> {
    let (sessions, clients) = (server.sessions(), server.clients());
    move || {
        let runs = |info: &SessionInfo| info.state.is_live();
        let counted = |count, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let sessions = sessions.list().iter().filter(|info| runs(info)).count();
        format!("{}, {}", counted(sessions, "session"), counted(clients.count(), "client"))
    }
}

/// Starts the log: of a server in the background, which leaves its terminal for good, in a file.
fn start_log(common: &Globals, args: &Args, server: &Server) -> anyhow::Result<LogLevel> {
    if args.background {
        leave_terminal()?;
        let file = server
            .open_beside(LOG)
            .with_context(|| format!("opening the log {} failed", log_path(&common.socket).display()))?;
        return Ok(log::start(common.log, args.log_format, LogSink::File(file)));
    }
    if args.log_format == LogFormat::Text {
        print_note(format_args!("listening on {}", server.socket().display()));
    }
    Ok(log::start(common.log, args.log_format, LogSink::Stderr))
}

/// Becomes independent of the terminal and the directory the server was started from.
pub(super) fn leave_terminal() -> anyhow::Result<()> {
    rustix::process::setsid().context("starting a session of its own failed")?;
    Ok(std::env::set_current_dir("/")?)
}

/// What follows the socket's name in its log's.
const LOG: &str = ".log";

/// Where a server that was started in the background logs.
pub(super) fn log_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(LOG);
    path.into()
}
