//! A server's settings, with defaults that serve a person's machine, and their bounds.

use std::{
    fmt,
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    Server, ServerError, ServerState,
    clients::{Connected, Counters},
    connections::Connections,
    input::InputStreams,
    listener::BoundSocket,
    live::LiveSettings,
    nesting::Nesting,
    shares::Shares,
    stall::StallTimeouts,
};
use crate::{
    ServerMessage, TerminalSize,
    registry::ClientRegistry,
    session::{Keeper, LOST_TIME, Manager, ReadTimes, SessionSettings},
    terminal::{DEFAULT_SCROLLBACK, MakeModel, ScreenModel},
};

/// At most 1 MiB of output, in messages of 64 KiB. What a full queue has no room for is read from the history.
pub(crate) const DEFAULT_QUEUE_DEPTH: usize = 16;

/// Some fifty thousand lines of 80 columns: what a client may lag behind without missing any.
pub(crate) const DEFAULT_HISTORY_BYTES: usize = 4 * 1024 * 1024;

/// Three full histories, or some hundred sessions that printed a page.
pub(crate) const DEFAULT_ENDED_BYTES: usize = 16 * 1024 * 1024;

/// As long as somebody who was away for a while may want to see how it went.
pub(crate) const DEFAULT_ENDED_TIME: Duration = Duration::from_secs(3600);

/// More than one user's terminals; a bound for mistakes.
pub(crate) const DEFAULT_MAX_CLIENTS: usize = 10_000;

/// How long a new connection has to say hello: far longer than a client on the same machine takes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a lossless client that takes next to nothing may hold a program back: long enough for a busy disk.
const LOSSLESS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long clients have to take what was printed before a shutdown: as long as a person will wait for one.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a program has after a hangup: long enough for an editor to save what it has.
const HANG_UP_GRACE: Duration = Duration::from_secs(2);

/// How long a client may take next to nothing: long enough for a hiccup of a network, too short for one that is gone.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for a client that resyncs, which costs nobody anything: long enough for a lid closed on the way to a
/// meeting.
const RESYNC_TIMEOUT: Duration = Duration::from_secs(600);

/// The most lines that may be asked for.
const MAX_SCROLLBACK: usize = 100_000;

/// What a session's screen is modelled by.
enum ModelChoice {
    OfThisCrate,
    Given(MakeModel),
    None,
}

/// Sets up a [`Server`], from [`Server::builder`]. Every setting has a default that serves a person's machine.
#[must_use = "a builder does nothing until `bind`"]
pub struct ServerBuilder {
    socket: PathBuf,
    shards: Option<usize>,
    queue_depth: usize,
    history_bytes: usize,
    ended_bytes: usize,
    ended_time: Duration,
    max_clients: usize,
    handshake_timeout: Duration,
    lossless_timeout: Duration,
    stall_timeout: Option<Duration>,
    resync_timeout: Option<Duration>,
    drain_timeout: Duration,
    hang_up_grace: Duration,
    lost_time: Duration,
    model: ModelChoice,
    scrollback: usize,
    turns: Option<Arc<ReadTimes>>,
    keeps_programs: bool,
}

impl ServerBuilder {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            shards: None,
            queue_depth: DEFAULT_QUEUE_DEPTH,
            history_bytes: DEFAULT_HISTORY_BYTES,
            ended_bytes: DEFAULT_ENDED_BYTES,
            ended_time: DEFAULT_ENDED_TIME,
            max_clients: DEFAULT_MAX_CLIENTS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            lossless_timeout: LOSSLESS_TIMEOUT,
            stall_timeout: None,
            resync_timeout: None,
            drain_timeout: DRAIN_TIMEOUT,
            hang_up_grace: HANG_UP_GRACE,
            lost_time: LOST_TIME,
            model: ModelChoice::OfThisCrate,
            scrollback: DEFAULT_SCROLLBACK,
            turns: None,
            keeps_programs: false,
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

    /// What the output and the screens of ended sessions may take together, in bytes, from 0 to 1 GiB; the default is
    /// 16 MiB. Clients may attach to such a session, and read its screen. Of these, the session that ended first is
    /// freed first; one that takes more by itself is not kept.
    pub fn ended_bytes(mut self, bytes: usize) -> Self {
        self.ended_bytes = bytes;
        self
    }

    /// How long the output of a session that ended is kept, if there is room for it. The default is 1 h.
    pub fn ended_time(mut self, time: Duration) -> Self {
        self.ended_time = time;
        self
    }

    /// Lines of what scrolls off the top that the model of a session's screen keeps, from 0 to 100 000, and of 4 KiB
    /// each on average; the default is 1000. They come back when the session grows, and go into the scrollback of
    /// terminals that [ask for it](crate::message::AttachOptions::with_scrollback). A [model](Self::screen_model) of
    /// another kind keeps what it will.
    pub fn scrollback_lines(mut self, lines: usize) -> Self {
        self.scrollback = lines;
        self
    }

    /// Connections served at once, at least 1; more are refused with the reason. The default is 10 000.
    ///
    /// Fewer are served if the process may not have that many files open (`ulimit -n`): a quarter of what it may, and
    /// at least 24, is left for sessions and the rest.
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
        self.lossless_timeout = timeout;
        self
    }

    /// How long a client may take less than 64 KiB, with more waiting, before it is closed; and how long one that began
    /// a request may send nothing more of it. The default is 30 s, and 10 min for a client that
    /// [resyncs](Self::resync_timeout).
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = Some(timeout);
        self
    }

    /// How long a client that is resynced when it falls behind may take less than 64 KiB, with more waiting, before it
    /// is closed. It holds nobody back meanwhile, and is drawn when it takes something again, as after a laptop's
    /// sleep. By default as [`stall_timeout`](Self::stall_timeout) says, and 10 min if that says nothing.
    pub fn resync_timeout(mut self, timeout: Duration) -> Self {
        self.resync_timeout = Some(timeout);
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

    /// How long a session that a client provides stays without that client. The default is 30 s.
    pub fn lost_provider_time(mut self, time: Duration) -> Self {
        self.lost_time = time;
        self
    }

    /// Makes the model of each session's screen, for its size at the start. By default one that comes with this crate.
    pub fn screen_model(
        mut self,
        make: impl Fn(TerminalSize) -> Box<dyn ScreenModel> + Send + Sync + 'static,
    ) -> Self {
        self.model = ModelChoice::Given(Arc::new(make));
        self
    }

    /// Does without models of the screens, and what they cost: late joiners and clients that fell behind are given the
    /// newest lines instead of the screen, and terminals of another size the output as it is.
    pub fn no_screen_model(mut self) -> Self {
        self.model = ModelChoice::None;
        self
    }

    /// Has programs kept by a process of their own, so that they outlive this one if it is killed, and the next server
    /// on this socket can [take them over](Server::take_over). A shutdown ends them as ever.
    ///
    /// This program's own file is run for that: its `main` has to call [`keeper::run`](crate::keeper::run) first. By
    /// default programs are children of this process, and end with it.
    pub fn keep_programs(mut self) -> Self {
        self.keeps_programs = true;
        self
    }

    /// Records when each piece of output was read, for measuring.
    #[cfg(feature = "bench")]
    pub(crate) fn record_turns(mut self, turns: Arc<ReadTimes>) -> Self {
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
        let registry = self.registry()?;
        let socket = BoundSocket::bind(&self.socket)?;
        Ok(self.serve_on(socket, registry))
    }

    /// As [`bind`](Self::bind), on a socket that another process made and listens on, as systemd does with socket
    /// activation.
    ///
    /// It has to listen at this builder's path. Its directory and its file have to be the user's own and closed to
    /// others. The file is left to the process that made it.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    /// Outside a Tokio runtime with I/O and time enabled.
    pub fn listen_on(self, listener: UnixListener) -> Result<Server, ServerError> {
        let registry = self.registry()?;
        let socket = BoundSocket::adopt(&self.socket, listener)?;
        Ok(self.serve_on(socket, registry))
    }

    /// Waits for what the server before hands over, and goes on where it stopped. `said` is called once there is
    /// nothing to do but wait.
    ///
    /// # Errors
    /// As [`bind`](Self::bind); or nothing was handed over.
    #[cfg(feature = "cli")]
    pub(crate) async fn claim(self, said: impl FnOnce()) -> Result<Server, ServerError> {
        let registry = self.registry()?;
        let keeper = Keeper::new(BoundSocket::keeper_place_of(&self.socket)?);
        let failed = |source| super::BindError::Io { what: "taking over", path: self.socket.clone(), source };
        let held = keeper.claim(said).await.map_err(failed)?;
        let socket = BoundSocket::of_held(&self.socket, held)?;
        Ok(self.serve_with(socket, registry, Some(keeper)))
    }

    /// A server with these settings on a socket that was had.
    fn serve_on(self, socket: BoundSocket, registry: ClientRegistry<Arc<ServerMessage>>) -> Server {
        let keeper = self.keeps_programs.then(|| socket.keeper_place()).flatten().map(Keeper::new);
        self.serve_with(socket, registry, keeper)
    }

    fn serve_with(
        self,
        socket: BoundSocket,
        registry: ClientRegistry<Arc<ServerMessage>>,
        keeper: Option<Arc<Keeper>>,
    ) -> Server {
        let live = LiveSettings::new(self.queue_depth, self.scrollback);
        let settings = SessionSettings {
            socket: socket.path().to_owned(),
            history_bytes: self.history_bytes,
            ended_bytes: self.ended_bytes,
            ended_time: self.ended_time,
            hang_up_grace: self.hang_up_grace,
            lost_time: self.lost_time,
            make_model: match self.model {
                ModelChoice::OfThisCrate => Some(live.make_model()),
                ModelChoice::Given(make) => Some(make),
                ModelChoice::None => None,
            },
            links: socket.link_directory(),
            keeper,
        };
        let timing = StallTimeouts {
            hold: self.lossless_timeout,
            close: self.stall_timeout.unwrap_or(STALL_TIMEOUT),
            close_resyncing: self.resync_timeout.or(self.stall_timeout).unwrap_or(RESYNC_TIMEOUT),
        };
        let shared = Arc::new(ServerState {
            sessions: Arc::new(Manager::new(registry.clone(), settings, self.turns)),
            registry,
            counters: Counters::default(),
            clients: Connected::new(),
            connections: Connections::new(self.max_clients),
            nesting: Nesting::new(),
            input_streams: InputStreams::new(),
            shares: Shares::new(),
            started: Instant::now(),
            live,
            handshake_timeout: self.handshake_timeout,
            timing,
            is_stopping: AtomicBool::new(false),
            closing: CancellationToken::new(),
        });
        Server { socket, shared, drain_timeout: self.drain_timeout }
    }

    /// Refuses settings that are out of bounds, as [`bind`](Self::bind) does before all else.
    #[cfg(feature = "cli")]
    pub(crate) fn check(&self) -> Result<(), ServerError> {
        self.registry().map(drop)
    }

    /// The registry, unless a setting is out of bounds.
    fn registry(&self) -> Result<ClientRegistry<Arc<ServerMessage>>, ServerError> {
        let bounds = [
            ("the queue depth", self.queue_depth, 1, 4096),
            ("the history size in bytes", self.history_bytes, 64 * 1024, 1024 * 1024 * 1024),
            ("the bytes kept of ended sessions", self.ended_bytes, 0, 1024 * 1024 * 1024),
            ("the scrollback in lines", self.scrollback, 0, MAX_SCROLLBACK),
            ("the most clients", self.max_clients, 1, usize::MAX),
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
        Ok(registry.build()?)
    }
}

/// Changes the settings of a server that serves.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct Reloader(pub(super) Arc<ServerState>);

#[cfg(feature = "cli")]
impl Reloader {
    /// Takes over the history, the scrollback, the queue depth and the most clients.
    ///
    /// # Errors
    /// A setting is out of bounds; nothing was changed.
    pub(crate) fn apply(&self, settings: &ServerBuilder) -> Result<(), ServerError> {
        settings.check()?;
        let ServerBuilder { queue_depth, max_clients, scrollback, history_bytes, .. } = *settings;
        self.0.live.change(queue_depth, scrollback);
        self.0.connections.set_max_clients(max_clients);
        self.0.sessions.set_history_bytes(history_bytes);
        Ok(())
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("socket", &self.socket).finish_non_exhaustive()
    }
}
