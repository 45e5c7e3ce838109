//! The server: sessions on real PTYs, and every client attached to one gets every byte it prints.
//!
//! [`Server`] is what an embedder sees. Below it, `listener` owns the socket, `connection` runs one client (`router`
//! carries out its requests, `writer` writes to it), and `session` owns the programs.

mod connection;
mod error;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod listener;
mod outgoing;
mod progress;
mod router;
mod standing;
#[cfg(test)]
mod tests;
mod typist;
mod view;
mod writer;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use self::{
    error::ServerError,
    listener::{BindError, default_socket_path},
};
use self::{listener::BoundSocket, progress::Timing, standing::Standing};
use crate::{
    ClientId, ServerMessage, TerminalSize,
    registry::ClientRegistry,
    session::{Feeds, MakeModel, Manager, ScreenModel, SessionSettings, TurnLog, emulator},
    sync::{Mutex, Rank},
};

/// Sets up a [`Server`], from [`Server::builder`]. Every setting has a default that serves a person's machine.
#[must_use = "a builder does nothing until `bind`"]
pub struct ServerBuilder {
    socket: PathBuf,
    shards: Option<usize>,
    queue_depth: usize,
    history_bytes: usize,
    max_clients: usize,
    handshake_timeout: Duration,
    timing: Timing,
    drain_timeout: Duration,
    hang_up_grace: Duration,
    make_model: Option<MakeModel>,
    turns: Option<Arc<TurnLog>>,
}

impl ServerBuilder {
    fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            shards: None,
            queue_depth: 16,
            history_bytes: 4 * 1024 * 1024,
            max_clients: 10_000,
            handshake_timeout: Duration::from_secs(5),
            timing: Timing { hold: Duration::from_secs(10), close: Duration::from_secs(30) },
            drain_timeout: Duration::from_secs(2),
            hang_up_grace: Duration::from_secs(2),
            make_model: Some(emulator()),
            turns: None,
        }
    }

    /// Shards of the client registry: a power of two from 1 to 4096. By default the registry's own choice.
    pub fn shards(mut self, count: usize) -> Self {
        self.shards = Some(count);
        self
    }

    /// Messages a client's queue holds, from 1 to 4096; the default is 16.
    ///
    /// A message is at most 64 KiB of output and shared by all clients. What a full queue has no room for is read from
    /// the session's history, so a shallow queue costs a client nothing but a look.
    pub fn queue_depth(mut self, messages: usize) -> Self {
        self.queue_depth = messages;
        self
    }

    /// Output each session holds for clients that are behind or come late, in bytes, from 64 KiB to 1 GiB; the default
    /// is 4 MiB.
    pub fn history_bytes(mut self, bytes: usize) -> Self {
        self.history_bytes = bytes;
        self
    }

    /// Connections served at once, at least 1; more are refused with the reason. The default is 10 000.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// How long a new connection has to say hello. The default is 5 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long a lossless client that takes less than 64 KiB may hold its session's program back. The default is
    /// 10 s.
    pub fn lossless_timeout(mut self, timeout: Duration) -> Self {
        self.timing.hold = timeout;
        self
    }

    /// How long a client may take less than 64 KiB, with more waiting, before it is closed. The default is 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.timing.close = timeout;
        self
    }

    /// How long clients have to take what was printed before a shutdown. The default is 2 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long a program that is hung up has to go before it is killed. The default is 2 s.
    pub fn hang_up_grace(mut self, grace: Duration) -> Self {
        self.hang_up_grace = grace;
        self
    }

    /// Makes the model of each session's screen, for its size at the start. By default one that comes with this crate.
    pub fn screen_model(
        mut self,
        make: impl Fn(TerminalSize) -> Box<dyn ScreenModel> + Send + Sync + 'static,
    ) -> Self {
        self.make_model = Some(Arc::new(make));
        self
    }

    /// Does without models of the screens, and what they cost: late joiners and clients that fell behind are given the
    /// newest lines instead of the screen, and terminals of another size the output as it is.
    pub fn no_screen_model(mut self) -> Self {
        self.make_model = None;
        self
    }

    /// Records when each piece of output was read, for measuring.
    #[cfg(feature = "cli")]
    pub(crate) fn record_turns(mut self, turns: Arc<TurnLog>) -> Self {
        self.turns = Some(turns);
        self
    }

    /// Takes the socket. From here on clients can connect; they are served once [`Server::serve`] runs.
    ///
    /// The socket's directory is made if it is missing, mode 0700, and must be the user's own and closed to others.
    /// A socket that a dead server left is replaced, a live one never.
    ///
    /// # Errors
    /// [`ServerError`]: a setting out of bounds, or a socket that can't be had, with what to do about it.
    ///
    /// # Panics
    /// Outside a Tokio runtime with I/O and time enabled.
    pub fn bind(self) -> Result<Server, ServerError> {
        let bounds = [
            ("the queue depth", self.queue_depth, 1, 4096),
            ("the history size in bytes", self.history_bytes, 64 * 1024, 1024 * 1024 * 1024),
            ("the most clients", self.max_clients, 1, Semaphore::MAX_PERMITS),
        ];
        for (what, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(ServerError::OutOfBounds { what, value, min, max });
            }
        }
        let mut registry = ClientRegistry::builder();
        if let Some(shards) = self.shards {
            registry = registry.shards(shards);
        }
        let registry = registry.build()?;
        let socket = BoundSocket::bind(&self.socket)?;
        let settings = SessionSettings {
            socket: socket.path().to_owned(),
            history_bytes: self.history_bytes,
            hang_up_grace: self.hang_up_grace,
            make_model: self.make_model,
        };
        let abort = CancellationToken::new();
        let shared = Arc::new(Shared {
            sessions: Arc::new(Manager::new(registry.clone(), settings, self.turns)),
            registry,
            counters: Counters::default(),
            clients: Mutex::new(Rank::Leaf, HashMap::new()),
            started: Instant::now(),
            queue_depth: self.queue_depth,
            handshake_timeout: self.handshake_timeout,
            timing: self.timing,
            stopping: abort.child_token(),
            abort,
        });
        Ok(Server { socket, shared, max_clients: self.max_clients, drain_timeout: self.drain_timeout })
    }
}

/// A bound server.
///
/// # Examples
/// An embedder chooses the shard count, keeps the registry, and serves until it is told to stop:
/// ```
/// use std::sync::Arc;
///
/// use fugue_server::{Server, ServerMessage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let server = Server::builder(directory.path().join("fugue/server.sock")).shards(64).bind()?;
/// let registry = server.registry();
/// assert_eq!(registry.shard_count(), 64);
///
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
///
/// // Clients that connect now appear in the registry, and can be spoken to through it.
/// let notice = Arc::new(ServerMessage::Notice { text: "maintenance at noon".to_owned() });
/// assert_eq!(registry.broadcast_to_all(notice).sent, registry.client_count());
///
/// stop.send(()).ok();
/// serving.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    socket: BoundSocket,
    shared: Arc<Shared>,
    max_clients: usize,
    drain_timeout: Duration,
}

/// What every connection shares.
#[derive(Debug)]
struct Shared {
    registry: ClientRegistry<Arc<ServerMessage>>,
    sessions: Arc<Manager>,
    counters: Counters,
    /// Where each client stands. A leaf lock, taken on connecting, leaving and for `stats`.
    clients: Mutex<HashMap<ClientId, Arc<Standing>>>,
    started: Instant,
    queue_depth: usize,
    handshake_timeout: Duration,
    timing: Timing,
    /// Clients are told and given what was printed so far.
    stopping: CancellationToken,
    /// Connections end at once. Stops the server as well.
    abort: CancellationToken,
}

/// Counts for `stats`. All `Relaxed`: they order nothing.
#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    closed: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
}

impl Shared {
    /// Lists a client for `stats`, until the guard drops.
    fn list_client(self: &Arc<Self>, client: ClientId, standing: &Arc<Standing>) -> Listed {
        self.with_clients(|clients| clients.insert(client, Arc::clone(standing)));
        Listed { shared: Arc::clone(self), client }
    }

    fn with_clients<R>(&self, critical: impl FnOnce(&mut HashMap<ClientId, Arc<Standing>>) -> R) -> R {
        self.clients.with(critical)
    }
}

/// A client's place in the list for `stats`.
struct Listed {
    shared: Arc<Shared>,
    client: ClientId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let removed = self.shared.with_clients(|clients| clients.remove(&self.client));
        drop(removed);
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("socket", &self.socket).finish_non_exhaustive()
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

    /// The registry its connections are in: a handle, to send and broadcast from beside the server.
    ///
    /// Send [`ServerMessage::Notice`]: what a session prints, its pump alone may send. Messages are shared, for a queue
    /// has room for 32 of them from its first on, and most clients are idle.
    #[must_use]
    pub fn registry(&self) -> ClientRegistry<Arc<ServerMessage>> {
        self.shared.registry.clone()
    }

    /// Starts sessions without a program, from beside the server: what is printed through them is what clients see.
    ///
    /// ```
    /// use fugue_server::{
    ///     Client, Server, TerminalSize,
    ///     client::Incoming,
    ///     message::{Attach, ClientMessage, ExitStatus, OnLag, Pace, StartAt, Target, View},
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
    /// let view = View::new(StartAt::Oldest, OnLag::Lossless);
    /// viewer.attach(&ClientMessage::Attach(Attach { session: Target::Id(feed.session()), view })).await?;
    /// let first = Incoming::Output { offset: 0, data: "compiling\r\n".into() };
    /// assert_eq!(viewer.next().await?, first);
    /// feed.end(ExitStatus::Code(0)).await;
    /// # anyhow::Ok(()) })?;
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    #[must_use]
    pub fn feeds(&self) -> Feeds {
        Feeds::new(Arc::clone(&self.shared.sessions))
    }

    /// Serves until `shutdown` completes; then stops accepting, tells the clients and lets them take what was printed
    /// before, hangs up every session's program, and removes the socket.
    ///
    /// A shutdown is bounded: by the drain timeout, then by the hang-up grace and about a second.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection and hangs up every program, without telling anyone first.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { mut socket, shared, max_clients, drain_timeout } = self;
        let _abort_when_dropped = shared.abort.clone().drop_guard();
        let _hang_up_when_dropped = HangUp(Arc::clone(&shared.sessions));
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(max_clients));
        info!(socket = ?socket.path(), shards = shared.registry.shard_count(), "listening");

        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let stream = tokio::select! {
                biased;
                () = &mut shutdown => break,
                stream = socket.accept() => stream,
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                warn!(max_clients, "full; a connection was refused");
                let why =
                    format!("the server has {max_clients} clients, which is its limit; try again later");
                // A new socket takes a few bytes at once; if not, the client sees it close.
                let _ = stream.try_write(&connection::refusal(why));
                continue;
            };
            connections.spawn(connection::run(Arc::clone(&shared), stream, place));
        }

        info!("shutting down");
        shared.stopping.cancel();
        connections.close();
        if tokio::time::timeout(drain_timeout, connections.wait()).await.is_err() {
            warn!(left = connections.len(), "clients did not take everything in time");
            shared.abort.cancel();
            connections.wait().await;
        }
        shared.sessions.shut_down().await;
        drop(socket);
    }
}

/// Hangs up every session when the server's future is dropped.
struct HangUp(Arc<Manager>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.hang_up_all();
    }
}
