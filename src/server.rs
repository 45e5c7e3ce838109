//! The server: sessions on real PTYs, and every client attached to one gets every byte it prints.
//!
//! [`Server`] is what an embedder sees. Below it, `listener` owns the socket, `connection` runs one client (`router`
//! carries out its requests, `writer` writes to it), and `session` owns the programs.

mod builder;
mod changes;
mod clients;
mod command;
mod connection;
mod connections;
mod descriptors;
mod error;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod input;
mod link;
mod listener;
mod live;
mod nesting;
mod peer;
mod providing;
mod restriction;
mod router;
mod sessions;
mod shares;
mod stall;
mod streams;
#[cfg(test)]
mod tests;
mod write_buffer;
mod writer;

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::{
    builder::ServerBuilder,
    clients::Clients,
    error::ServerError,
    listener::{BindError, default_socket_path},
    sessions::Sessions,
};
#[cfg(feature = "cli")]
pub(crate) use self::{
    builder::{
        DEFAULT_ENDED_BYTES, DEFAULT_HISTORY_BYTES, DEFAULT_MAX_CLIENTS, DEFAULT_QUEUE_DEPTH, Reloader,
    },
    listener::{default_socket, other_default_sockets},
};
use self::{
    clients::{Connected, Counters},
    connections::Connections,
    input::InputStreams,
    listener::BoundSocket,
    live::LiveSettings,
    nesting::Nesting,
    shares::Shares,
    stall::StallTimeouts,
};
#[cfg(feature = "bench")]
pub(crate) use crate::session::ReadTimes;
#[cfg(feature = "cli")]
pub(crate) use crate::session::is_kept;
#[cfg(feature = "cli")]
pub(crate) use crate::terminal::DEFAULT_SCROLLBACK;
use crate::{
    ServerMessage,
    registry::ClientRegistry,
    session::{Feeds, Manager},
};

/// How often a server looks whether its socket is still there, and whether a link has expired. A look is one system
/// call.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long connections have to end before another server goes on.
const HANDOVER_TIME: Duration = Duration::from_secs(1);

/// The pause after the socket could not be bound again. A try may connect to the server that has it now.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A bound server.
///
/// # Examples
/// An embedder chooses the shard count, keeps a handle on the clients, and serves until it is told to stop:
/// ```
/// use fugue_server::Server;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let server = Server::builder(directory.path().join("fugue/server.sock")).shards(64).bind()?;
/// let clients = server.clients();
/// assert_eq!(clients.stats().clients_per_shard.len(), 64);
///
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
///
/// // Clients that connect now are counted, and can be told something.
/// assert_eq!(clients.notify_all("maintenance at noon").sent, clients.count() as u64);
///
/// stop.send(()).ok();
/// serving.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    socket: BoundSocket,
    shared: Arc<ServerState>,
    drain_timeout: Duration,
}

/// What every connection shares.
#[derive(Debug)]
struct ServerState {
    registry: ClientRegistry<Arc<ServerMessage>>,
    sessions: Arc<Manager>,
    counters: Counters,
    clients: Connected,
    connections: Connections,
    nesting: Nesting,
    input_streams: InputStreams,
    shares: Shares,
    started: Instant,
    live: LiveSettings,
    handshake_timeout: Duration,
    timing: StallTimeouts,
    /// Clients are told and given what was printed so far.
    is_stopping: AtomicBool,
    /// Nobody is let in any more. Not for writers to wait for: they would all take its one lock on their way to sleep.
    closing: CancellationToken,
}

impl ServerState {
    /// Whether what was printed so far is all that clients get.
    fn is_stopping(&self) -> bool {
        // Relaxed: a client's writer is told to look by a command, or found the table after the flag was set.
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Has clients told, and given what was printed so far.
    fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.closing.cancel();
        self.clients.stop();
    }

    /// Has connections end at once.
    fn abort(&self) {
        self.closing.cancel();
        self.clients.abort();
        self.connections.abort();
    }
}

impl Server {
    /// Sets up a server that will listen on `socket`, a path of at most 107 bytes. [`default_socket_path`] is where
    /// the command line listens.
    pub fn builder(socket: impl Into<PathBuf>) -> ServerBuilder {
        ServerBuilder::new(socket.into())
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Opens a file in the socket's directory, which is held open, for adding to its end: the socket's name and
    /// `suffix`.
    #[cfg(feature = "cli")]
    pub(crate) fn open_beside(&self, suffix: &str) -> std::io::Result<std::fs::File> {
        self.socket.open_beside(suffix)
    }

    /// Changes its settings while it serves: a handle.
    #[cfg(feature = "cli")]
    pub(crate) fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.shared))
    }

    /// Its clients: a handle, to count, notify and disconnect them from beside the server, and to serve some over
    /// streams of the embedder's own.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::new(Arc::clone(&self.shared))
    }

    /// Its sessions: a handle, to list, start and end them from beside the server.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(Arc::clone(&self.shared.sessions))
    }

    /// Starts sessions without a program, from beside the server: what is printed through them is what clients see.
    ///
    /// ```
    /// use fugue_server::{
    ///     Client, Server, TerminalSize,
    ///     client::Incoming,
    ///     message::{AttachOptions, ExitStatus, OnLag, Pace, StartAt},
    /// };
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// # let socket = directory.path().join("fugue/server.sock");
    /// let server = Server::builder(&socket).bind()?;
    /// let feeds = server.feeds();
    /// tokio::spawn(server.serve(std::future::pending()));
    ///
    /// let feed = feeds.start("build".parse()?, TerminalSize::DEFAULT, Pace::Slowest)?;
    /// feed.print("compiling\r\n".into()).await?;
    ///
    /// let mut viewer = Client::connect(&socket).await?;
    /// viewer.attach(feed.session(), AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;
    /// let first = Incoming::Output { offset: 0, data: "compiling\r\n".into() };
    /// assert_eq!(viewer.next().await?, first);
    /// feed.end(ExitStatus::Code(0));
    /// # anyhow::Ok(()) })?;
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn feeds(&self) -> Feeds {
        Feeds::new(Arc::clone(&self.shared.sessions))
    }

    /// Takes over the sessions that an earlier server's [keeper](ServerBuilder::keep_programs) has, and that server's
    /// links, before anybody can ask for them. To be called once, before [`serve`](Self::serve), by a server that keeps
    /// programs; nothing happens on another.
    ///
    /// # Errors
    /// There is a keeper that does not answer within 5 s, or is of another version. It has what it had.
    pub async fn take_over(&self) -> std::io::Result<()> {
        self.shared.sessions.take_over().await?;
        self.shared.take_over_links();
        Ok(())
    }

    /// Serves until `shutdown` completes; then removes the socket, tells the clients and lets them take what was
    /// printed before, and hangs up every session's program.
    ///
    /// A shutdown is bounded: by the drain timeout, then by the hang-up grace and about a second; where a program can't
    /// be killed, by five seconds.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection and hangs up every program, without telling anyone first.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let end = async {
            shutdown.await;
            ServerEnd::ShutDown
        };
        // Nothing was handed over.
        let _ = self.serve_until(end).await;
    }

    /// Serves until it is told how to end.
    ///
    /// # Errors
    /// Of a handover: what runs goes on, for whatever server comes.
    pub(crate) async fn serve_until(self, end: impl Future<Output = ServerEnd>) -> std::io::Result<()> {
        let Self { mut socket, shared, drain_timeout } = self;
        let mut end_when_dropped = End(Some(Arc::clone(&shared)));
        let connections = &shared.connections;
        info!(
            socket = ?socket.path(),
            shards = shared.registry.shard_count(),
            max_clients = connections.most(),
            "listening"
        );

        let end = accept_until(end, &mut socket, &shared).await;
        if end == ServerEnd::HandOver {
            info!("handing over to another server");
            // What runs is the next one's to end.
            end_when_dropped.0 = None;
            shared.sessions.stop_reading();
            shared.abort();
            if tokio::time::timeout(HANDOVER_TIME, connections.ended()).await.is_err() {
                warn!(left = connections.count(), "clients did not end in time");
            }
            return shared.sessions.hand_over(socket.into_held()?).await;
        }

        info!("shutting down");
        shared.sessions.end_keeping();
        // From here on there is no server to be found, and the next one may start: nobody waits for one that answers no
        // more.
        drop(socket);
        // First what feeds have accepted, which is as good as printed; then the clients, which are given what was
        // printed.
        shared.sessions.drain_feeds().await;
        shared.stop();
        if tokio::time::timeout(drain_timeout, connections.ended()).await.is_err() {
            warn!(left = connections.count(), "clients did not take everything in time");
            shared.abort();
            connections.ended().await;
        }
        shared.sessions.shut_down().await;
        drop(end_when_dropped);
        Ok(())
    }

    /// A handle to make it ready for another server that goes on with all that runs here.
    #[cfg(feature = "cli")]
    pub(crate) fn handover(&self) -> Handover {
        Handover(Arc::clone(&self.shared.sessions))
    }
}

/// Lets clients in, and looks after what nobody else does, until this server is told how to end.
async fn accept_until(
    end: impl Future<Output = ServerEnd>,
    socket: &mut BoundSocket,
    shared: &Arc<ServerState>,
) -> ServerEnd {
    let mut end = std::pin::pin!(end);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ends = interval(LOOK_EVERY);
    ends.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stream = tokio::select! {
            biased;
            end = &mut end => return end,
            // Before those who connect, who may be many.
            _ = ends.tick() => {
                shared.end_links_in_time();
                continue;
            }
            stream = socket.accept() => stream,
            _ = looks.tick() => {
                if socket.bind_again_if_lost() {
                    looks.reset_after(LOOK_AGAIN);
                }
                continue;
            }
        };
        let place = match shared.connections.place() {
            Ok(place) => place,
            Err(refusal) => {
                // A new socket takes a few bytes at once; if not, the client sees it close.
                let _ = stream.try_write(&refusal);
                continue;
            }
        };
        // Asked now, because another process may have its number later.
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        shared.connections.spawn(connection::run(Arc::clone(shared), stream, process, place));
    }
}

/// Makes a server ready to hand over.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct Handover(Arc<Manager>);

#[cfg(feature = "cli")]
impl Handover {
    /// Has a keeper, which another server can wait at.
    ///
    /// # Errors
    /// Why not all that runs could be handed over.
    pub(crate) async fn prepare(&self) -> std::io::Result<()> {
        self.0.prepare_handover().await
    }
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerEnd {
    /// With its sessions.
    ShutDown,
    /// Without them: another one is waiting for them.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command line alone starts another one"))]
    HandOver,
}

/// Ends every connection, and hangs up every session, when the server's future is dropped; unless all that is another
/// server's by then.
struct End(Option<Arc<ServerState>>);

impl Drop for End {
    fn drop(&mut self) {
        let Some(shared) = &self.0 else { return };
        // A server that has failed leaves its programs to the next, as far as they outlive it.
        if !std::thread::panicking() {
            shared.sessions.hang_up_all();
            shared.sessions.let_go_of_programs();
        }
        shared.abort();
    }
}
