//! A session: a program on a PTY, and the log of what it printed.
//!
//! The output is one append-only stream addressed by absolute byte offset. The pump reads it from the PTY into the
//! history and then broadcasts it; every client's follower has a cursor into it, and so has the model of the screen.
//! Nothing here knows about sockets.

mod answers;
mod client_status;
mod command_line;
mod ended;
mod events;
mod feed;
mod feeds;
mod follower;
mod history;
mod keeping;
mod kept;
mod manager;
mod marks;
#[cfg(test)]
mod models;
mod output;
mod pace;
mod program;
mod pty;
mod pump;
mod screen;
mod size;
mod starter;
mod surroundings;
mod terminal;

use std::{
    io::ErrorKind,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

#[cfg(feature = "cli")]
pub(crate) use self::kept::is_kept;
use self::{
    answers::Answers,
    ended::KEPT_COST,
    events::SessionEvents,
    feed::FeedSide,
    history::History,
    kept::Kept,
    program::{KILLED, Process},
    pty::Pty,
    screen::{Screen, Scrollback},
    size::Sizing,
    surroundings::Surroundings,
};
pub(crate) use self::{
    client_status::{ClientStatus, ClientTotals},
    events::{EventQueue, RecvError},
    feed::{Answered, Broken, LOST_TIME, ProvidedNews, ProvidedSession},
    follower::{Draw, Followed, Follower, Next, NotFollowed},
    history::{NotHeld, Span},
    kept::{HeldListener, Keeper, KeeperPlace},
    manager::{Manager, SessionSettings},
    marks::InputMark,
    output::ReadTimes,
    pty::TerminalId,
    screen::ScreenDump,
    size::{Claim, Window},
    surroundings::LinkDirectory,
};
pub use self::{
    feed::{Feed, FeedClosed},
    feeds::Feeds,
};
use crate::{
    ClientId, ServerMessage, SessionId, SessionName, TerminalSize,
    message::{
        ClientEnvironment, ExitStatus, Happened, ProviderState, RequestError, SessionInfo, SessionRules,
        SessionScreen, SessionState, SessionStats, SizePolicy,
    },
    registry::ClientRegistry,
    sync::Mutex,
    terminal::{ReplyFilter, Shows, reset},
    wire::MAX_REPLY,
};

/// How long a session is silent before its screen's model gives back memory.
const UNTIL_REST: Duration = Duration::from_secs(10);

/// How long a session is silent before a picture of its screen is kept for the next server.
const UNTIL_PICTURE: Duration = Duration::from_millis(200);

/// The longest drawing that a reply has room for, in bytes, beside what else it says.
const MAX_DRAWING: usize = MAX_REPLY - 1024;

/// One live session, or one that ended and is still being read.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    /// Changed under this lock together with the manager's book.
    name: Mutex<SessionName>,
    /// The program and its arguments, for people.
    command: String,
    started: Instant,
    /// The program's process, and its terminal; `None` of a [`Feed`].
    pid: Option<u32>,
    pty: Option<Arc<Pty>>,
    /// What whoever prints to it has of it, if that is no program of this server's.
    feed: Option<Arc<FeedSide>>,
    /// How often its screen was given anew.
    drawn: AtomicU64,
    /// What outlives this server, of a program that does and has not ended. A leaf lock.
    kept: Mutex<Option<Arc<Kept>>>,
    /// Who sizes the terminal. The terminal is resized under this lock, so that the latest decision is the last.
    sizing: Mutex<Sizing>,
    /// Where it is used from.
    surroundings: Surroundings,
    /// The size, columns first: what every writer compares before it sleeps.
    size: AtomicU32,
    /// Where in the output the size changed last.
    resized_at: AtomicU64,
    history: History,
    screen: Screen,
    /// What the program asks its terminal.
    answers: Arc<Answers>,
    /// To tell the clients that watch.
    registry: ClientRegistry<Arc<ServerMessage>>,
    /// Asks for the program to be hung up.
    hang_up: CancellationToken,
    /// The program's process id, if it was still there when the session was given up.
    survivor: OnceLock<u32>,
    /// Set once the log has its final entry and the session left the manager.
    gone: CancellationToken,
    /// Set once its program is not read any more, because another server is going to.
    stands: CancellationToken,
    /// The title that it was created with.
    title: Option<String>,
    /// When things happened last.
    times: Times,
    /// The offset up to which its last terminal saw it.
    seen: AtomicU64,
    /// Readers that want every byte and are to come back to the next server. Relaxed: it stands alone.
    awaited: AtomicUsize,
    /// Terminals that watch it, read-only ones too.
    terminals: AtomicUsize,
    events: SessionEvents,
}

/// When things happened last, in milliseconds from the session's start, and one more; 0 for never. All `Relaxed`: for
/// people.
#[derive(Debug, Default)]
struct Times {
    /// A terminal attached or typed.
    used: AtomicU64,
    printed: AtomicU64,
    /// A bell was told of.
    bell: AtomicU64,
}

/// Bells that listeners are told of are so far apart.
const BETWEEN_BELLS: Duration = Duration::from_secs(1);

impl Session {
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn name(&self) -> SessionName {
        self.name.with(|name| name.clone())
    }

    /// Milliseconds from its start to `time`, and one more.
    fn millis(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Tells those who listen to events.
    fn tell(&self, what: Happened) {
        self.events.tell(self.id, || self.name(), what);
    }

    /// A client watches it from now on.
    fn attached(&self, client: ClientId, is_terminal: bool) {
        info!(session = %self.id, name = %self.name(), %client, is_terminal, "attached");
        if is_terminal {
            self.terminals.fetch_add(1, Ordering::Relaxed);
            self.times.used.store(self.millis(Instant::now()), Ordering::Relaxed);
        }
        self.tell(Happened::Attached(client));
    }

    /// A client no longer watches it.
    fn detached(&self, client: ClientId, is_terminal: bool) {
        info!(session = %self.id, name = %self.name(), %client, "detached");
        if is_terminal {
            self.seen.store(self.head(), Ordering::Relaxed);
            self.terminals.fetch_sub(1, Ordering::Relaxed);
        }
        self.tell(Happened::Detached(client));
    }

    /// A client was not sent these bytes.
    fn gap(&self, client: ClientId, bytes: u64) {
        info!(session = %self.id, name = %self.name(), %client, bytes, "a gap");
        self.tell(Happened::Gap { client, bytes });
    }

    /// Something was printed at `now`, with bells if there was one.
    fn printed_at(&self, now: Instant, has_bell: bool) {
        let now = self.millis(now);
        self.times.printed.store(now, Ordering::Relaxed);
        let last = self.times.bell.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= BETWEEN_BELLS.as_millis() as u64;
        if has_bell && is_due {
            self.times.bell.store(now, Ordering::Relaxed);
            self.tell(Happened::Bell);
        }
    }

    /// Of the terminals that may type, the one used last.
    pub(crate) fn latest(&self) -> Option<ClientId> {
        self.answers.latest()
    }

    /// Sizes its terminal in this way from now on.
    pub(crate) fn set_size(&self, policy: SizePolicy, size: Option<TerminalSize>) {
        self.size_by(|sizing| ((), sizing.set_policy(policy, size)));
        self.keep_state();
    }

    /// Sends the processes in the foreground of its terminal a signal.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), RequestError> {
        let failed = |why: String| RequestError::Failed { what: "sending the signal".to_owned(), why };
        let pty = self.terminal().map_err(|error| failed(error.to_string()))?;
        let named = pty::signal(signal).ok_or_else(|| failed(format!("there is no signal {signal}")))?;
        info!(session = %self.id, name = %self.name(), signal, "signalled");
        pty.signal_foreground(named).map_err(|error| failed(error.to_string()))
    }

    pub(crate) fn size(&self) -> TerminalSize {
        // Relaxed: it stands for itself. A client that misses a change is told by a later message.
        unpacked(self.size.load(Ordering::Relaxed)).unwrap_or(TerminalSize::DEFAULT)
    }

    /// Where in the output the size changed last; 0 if it never did.
    pub(crate) fn resized_at(&self) -> u64 {
        // Relaxed: who misses a change that is made just now is told by a later message.
        self.resized_at.load(Ordering::Relaxed)
    }

    /// The size that the output at `offset` was printed in.
    fn size_at(&self, offset: u64) -> TerminalSize {
        self.sizing.with(|sizing| sizing.size_at(offset))
    }

    /// The first change of its size beyond `offset`, and where it is.
    fn resized_beyond(&self, offset: u64) -> Option<(u64, TerminalSize)> {
        self.sizing.with(|sizing| sizing.change_beyond(offset))
    }

    pub(crate) fn span(&self) -> Span {
        self.history.span()
    }

    /// Brings the model of the screen up to the newest byte.
    async fn catch_up(&self) {
        self.screen.catch_up(&self.history).await;
    }

    /// Whether its program is gone, and all that it printed is in the log.
    fn is_over(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// It is over, and may be read for a while: gives back what only a live one needs. Returns about how many bytes it
    /// holds.
    async fn settle(&self) -> usize {
        let all = Scrollback { lines: usize::MAX, since: None };
        let drawn = self.screen.redraw(&self.history, all).await.map_or(0, |drawn| drawn.bytes.len());
        self.screen.rest().await;
        KEPT_COST + self.span().held_bytes + drawn
    }

    /// Gives back again what a look at the screen of one that is over took.
    async fn rest_if_over(&self) {
        if self.is_over() {
            self.screen.rest().await;
        }
    }

    /// The screen as it is now, with lines above it. Without a model of it that is a cleared screen, on which the
    /// newest lines follow, and the program is made to draw again.
    async fn redraw(&self, scrollback: Scrollback) -> ScreenDump {
        let drawn = self.screen.redraw(&self.history, scrollback).await;
        self.rest_if_over().await;
        match drawn {
            Some(drawn) => drawn,
            None => {
                self.force_redraw();
                ScreenDump {
                    bytes: Bytes::from(reset()),
                    at: self.history.tail(),
                    part: (0, 0),
                    size: self.size(),
                    before: Bytes::new(),
                }
            }
        }
    }

    /// What it shows, for one that does not watch it. Of the lines above the screen, as many as a reply has room for.
    pub(crate) async fn read_screen(&self, lines: usize) -> Result<SessionScreen, RequestError> {
        let mut lines = lines;
        loop {
            let drawn = self.screen.redraw(&self.history, Scrollback { lines, since: None }).await;
            self.rest_if_over().await;
            let ScreenDump { bytes, at, size, .. } =
                drawn.ok_or_else(|| RequestError::NoScreen(self.name()))?;
            if bytes.len() > MAX_DRAWING && lines > 0 {
                // Each begins with a line feed, unless it goes on with the one before.
                let drawn = memchr::memchr_iter(b'\n', &bytes).count().min(lines);
                lines = drawn.saturating_mul(MAX_DRAWING) / bytes.len() * 7 / 8;
                continue;
            }
            let (session, name) = (self.id, self.name());
            return Ok(SessionScreen { session, name, size, offset: at, drawing: bytes });
        }
    }

    /// The screen for a terminal of another size that was shown what it was at `shown`; `None` without a model of it.
    async fn picture(&self, size: TerminalSize, shown: u64) -> Option<ScreenDump> {
        let drawn = self.screen.picture(&self.history, size, shown).await;
        self.rest_if_over().await;
        drawn
    }

    /// A client with a terminal of this size is going to watch, and counts for the session's size until it leaves. If
    /// `is_drawn`, it can be redrawn at any time.
    pub(crate) fn join_terminal(&self, client: ClientId, window: Window, is_drawn: bool) -> Claim {
        let claim = self.size_by(|sizing| sizing.join(window));
        // Where its output begins, it says once it knows.
        self.answers.joined(client, claim.stay(), Shows::Output { from: u64::MAX }, is_drawn);
        claim
    }

    /// The terminal of a client that joined has another size.
    pub(crate) fn resize_terminal(&self, claim: Claim, window: Window) {
        self.size_by(|sizing| ((), sizing.resize(claim, window)));
    }

    /// A client that joined no longer watches.
    pub(crate) fn leave_terminal(&self, claim: Claim, client: ClientId) {
        self.answers.left(client, claim.stay());
        self.surroundings.leave(claim);
        self.size_by(|sizing| ((), sizing.leave(claim)));
    }

    /// A client that joined is used from where this is the environment.
    pub(crate) fn join_environment(&self, claim: Claim, environment: ClientEnvironment) {
        self.surroundings.join(claim, environment);
    }

    /// A terminal elsewhere shows it in this size, and counts for its size until it leaves.
    pub(crate) fn join_elsewhere(&self, window: Window) -> Claim {
        self.size_by(|sizing| sizing.join(window))
    }

    /// That terminal is gone.
    pub(crate) fn leave_elsewhere(&self, claim: Claim) {
        self.size_by(|sizing| ((), sizing.leave(claim)));
    }

    /// Whom its program waits for, and what its terminal is sized by.
    pub(crate) fn rules(&self) -> SessionRules {
        SessionRules::new(self.history.pace(), self.sizing.with(|sizing| sizing.policy()))
    }

    /// A client that wants every byte begins to watch, or ends: its provider is told.
    fn reads_all(&self, begins: bool) {
        let feed = self.feed.as_ref().filter(|feed| feed.takes_requests());
        let teller = feed.and_then(|feed| feed.requests.reads_all(begins));
        teller.into_iter().for_each(std::task::Waker::wake);
    }

    /// The environment of the client that was used last.
    pub(crate) fn environment(&self) -> ClientEnvironment {
        self.surroundings.environment()
    }

    /// The terminal of its program, where it has one.
    pub(crate) fn terminal_id(&self) -> Option<TerminalId> {
        self.pty.as_ref().map(|pty| pty.terminal())
    }

    /// Asks for a size without watching.
    pub(crate) fn ask_size(&self, window: Window) {
        self.size_by(|sizing| ((), sizing.ask(window)));
    }

    /// Resizes the terminal if `decide` says so, and tells the clients that watch. A provider that takes requests is
    /// asked for the size, and says when it has it.
    fn size_by<T>(&self, decide: impl FnOnce(&mut Sizing) -> (T, Option<Window>)) -> T {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.takes_requests()) else {
            return self.resize_by(decide);
        };
        let (decided, teller) = self.sizing.with(|sizing| {
            let (decided, asked) = decide(sizing);
            (decided, sizing.tell(asked).and_then(|wanted| feed.requests.resize(wanted)))
        });
        teller.into_iter().for_each(std::task::Waker::wake);
        decided
    }

    /// It has this size from the head on, as whoever prints to it says. For the session's pump.
    fn resize_to(&self, size: TerminalSize) {
        self.resize_by(|sizing| ((), Some(sizing.give(size))));
    }

    fn resize_by<T>(&self, decide: impl FnOnce(&mut Sizing) -> (T, Option<Window>)) -> T {
        let (decided, resized) = self.sizing.with(|sizing| {
            let (decided, changed) = decide(sizing);
            let resized = changed.map(|window| {
                // It may have other pixels only.
                if window.size != self.size() {
                    self.size.store(packed(window.size), Ordering::Relaxed);
                    let head = self.head();
                    sizing.changed_at(head, window.size);
                    self.resized_at.store(head, Ordering::Relaxed);
                    self.screen.resized(head, window.size);
                }
                if let Some(kept) = self.kept() {
                    kept.marks.set_window(window);
                }
                self.pty.as_ref().map_or(Ok(()), |pty| pty.resize(window))
            });
            (decided, resized)
        });
        let Some(resized) = resized else { return decided };
        if let Err(error) = resized {
            warn!(session = %self.id, %error, "resizing the terminal failed");
        }
        self.screen.appended();
        self.screen.hurry();
        // A writer that misses it compares the size before it sleeps.
        self.ring_all();
        decided
    }

    /// Makes the program draw again: many do so only when their terminal's size changes, so it does, twice.
    fn force_redraw(&self) {
        let Some(pty) = &self.pty else { return };
        self.sizing.with(|sizing| {
            let window = sizing.window();
            let size = window.size;
            let other = TerminalSize::new(size.cols(), size.rows() - 1).or(TerminalSize::new(size.cols(), 2));
            // A program that has no terminal any more is not made to draw.
            let _ = other.into_iter().chain([size]).try_for_each(|size| pty.resize(window.with_size(size)));
        });
    }

    /// The offset after the newest byte.
    pub(crate) fn head(&self) -> u64 {
        self.history.head()
    }

    /// Takes note of what the program prints from offset `at` on. Returns whether it asks something.
    fn printed(&self, output: &[u8], at: u64) -> bool {
        self.answers.printed(output, at)
    }

    /// Has every client's writer look again.
    fn ring_all(&self) {
        // Only the doorbell: a full queue has one already.
        let resized = Arc::new(ServerMessage::Resized { session: self.id });
        let _ = self.registry.broadcast_to_session(self.id, resized);
    }

    /// Types what of `input`, from a client with this claim, the program may see, as [`type_in`](Self::type_in). What a
    /// person did makes the terminal the one used last.
    ///
    /// # Cancel safety
    /// As of `type_in`.
    pub(crate) async fn type_from(
        &self,
        (client, claim): (ClientId, Option<Claim>),
        typed: &mut ReplyFilter,
        input: &[u8],
        mark: Option<(InputMark, u64)>,
    ) -> std::io::Result<()> {
        self.terminal()?
            .write_taken(|| {
                self.mark_typed(mark);
                let passed = self.answers.filter(typed, client, input);
                if passed.is_use {
                    self.is_used(claim);
                }
                passed.bytes
            })
            .await
    }

    /// A person used a terminal; one that shows the session elsewhere has no claim.
    fn is_used(&self, claim: Option<Claim>) {
        self.times.used.store(self.millis(Instant::now()), Ordering::Relaxed);
        if let Some(claim) = claim {
            self.surroundings.used(claim);
            self.size_by(|sizing| ((), sizing.used(claim)));
        }
    }

    /// Whether `input` interrupts the program, by the terminal's present settings.
    pub(crate) fn is_interrupt(&self, input: &[u8]) -> bool {
        let character = self.pty.as_ref().and_then(|pty| pty.interrupt_character());
        character.is_some_and(|character| input.contains(&character))
    }

    /// Types into the terminal, where there is one. What several clients type is not mixed within one call. Waits while
    /// the program does not read; ends early with an error when the session ends.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of `data` typed.
    pub(crate) async fn type_in(&self, data: &[u8], mark: Option<(InputMark, u64)>) -> std::io::Result<()> {
        let take = || {
            self.mark_typed(mark);
            data
        };
        self.terminal()?.write_taken(take).await
    }

    fn terminal(&self) -> std::io::Result<&Pty> {
        let none = || std::io::Error::new(ErrorKind::Unsupported, "no program reads this session's input");
        self.pty.as_deref().ok_or_else(none)
    }

    /// Closes the terminal of a program that can't be killed, which ends most. Gives up the others: their end is not
    /// known to anybody, and the runtime waits for them.
    async fn hang_up_by_closing(&self, mut program: Process) -> ExitStatus {
        if let Some(pty) = &self.pty {
            pty.close();
        }
        if let Some(kept) = self.kept() {
            kept.keeper.close(self.id);
        }
        if let Some(status) = program.ends_within(KILLED).await {
            return status;
        }
        let pid = program.id().unwrap_or_default();
        warn!(session = %self.id, name = %self.name(), pid, "the program can't be killed, and is left");
        // Nobody set it before: a session ends once.
        let _ = self.survivor.set(pid);
        ExitStatus::Unknown
    }

    /// Asks for the program to be hung up: SIGHUP, then SIGKILL, then its terminal is closed. Returns at once.
    pub(crate) fn hang_up(&self) {
        self.hang_up.cancel();
    }

    /// Waits until the program is gone, its last output is in the log, and its name is free again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn gone(&self) -> ExitStatus {
        self.gone.cancelled().await;
        self.span().ended.unwrap_or(ExitStatus::Unknown)
    }

    /// Waits as [`gone`](Self::gone), for a reply to who wanted it ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn killed(&self) -> Result<ExitStatus, RequestError> {
        let status = self.gone().await;
        match self.survivor.get() {
            Some(pid) => Err(RequestError::NotKilled { name: self.name(), pid: *pid }),
            None => Ok(status),
        }
    }

    /// The session for `list`; how many watch it is the registry's to say.
    pub(crate) fn info(&self, clients: usize) -> SessionInfo {
        let Span { head, ended, .. } = self.span();
        let now = self.millis(Instant::now());
        let [used, printed] =
            [&self.times.used, &self.times.printed].map(|time| time.load(Ordering::Relaxed));
        // With a terminal, all is seen.
        let seen =
            if self.terminals.load(Ordering::Relaxed) > 0 { head } else { self.seen.load(Ordering::Relaxed) };
        SessionInfo {
            id: self.id,
            name: self.name(),
            command: self.command.clone(),
            state: ended.map_or_else(|| self.live_state(), SessionState::Ended),
            clients,
            printed: head,
            is_held: true,
            size: self.size(),
            age_seconds: now / 1000,
            ended_seconds: None,
            title: self.screen.title().or_else(|| self.title.clone()),
            used_ms: (used > 0).then(|| now.saturating_sub(used)),
            idle_seconds: now.saturating_sub(used.max(printed)) / 1000,
            unseen: head.saturating_sub(seen),
            bell: self.answers.newest_bell() > seen,
            latest: self.latest(),
        }
    }

    fn live_state(&self) -> SessionState {
        match self.feed.as_ref().and_then(|feed| Some((feed.lost()?, feed.silent()))) {
            Some((lost, silent)) => SessionState::Provided {
                provider: match (lost, silent) {
                    (Some(lost), _) => ProviderState::Lost { seconds: lost.as_secs() },
                    (None, Some(silent)) => ProviderState::Silent { seconds: silent.as_secs() },
                    (None, None) => ProviderState::Connected,
                },
            },
            None => SessionState::Running { pid: self.pid },
        }
    }

    /// How it fares, for `stats`.
    pub(crate) async fn stats(&self) -> SessionStats {
        let (at, failed) = self.screen.position().await;
        let Span { head, held_bytes, model_waits, .. } = self.span();
        SessionStats {
            session: self.id,
            name: self.name(),
            printed_bytes: head,
            history_bytes: held_bytes as u64,
            screen_lag_bytes: if failed { 0 } else { head.saturating_sub(at) },
            screen_waits: model_waits,
            screen_failed: failed,
        }
    }

    /// Keeps the model of the screen close to the newest byte, and types what the program is answered, until the
    /// session ends.
    async fn follow(&self) {
        let catching_up = async {
            loop {
                if !self.grows().await {
                    self.screen.rest().await;
                    self.screen.wait().await;
                }
                self.screen.pause().await;
                self.catch_up().await;
            }
        };
        let answering = async {
            if let Some(pty) = &self.pty {
                self.answers.type_all(pty, |client| self.ring(client)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = async { tokio::join!(catching_up, answering); } => {}
            () = self.gone.cancelled() => {}
        }
    }

    /// Waits for more output. Returns whether it came before the session was silent for long.
    async fn grows(&self) -> bool {
        if self.kept().is_some() {
            if tokio::time::timeout(UNTIL_PICTURE, self.screen.wait()).await.is_ok() {
                return true;
            }
            self.keep_picture().await;
        }
        tokio::time::timeout(UNTIL_REST, self.screen.wait()).await.is_ok()
    }

    /// Has a client's writer look again.
    fn ring(&self, client: ClientId) {
        // Only the doorbell: a full queue has one already.
        let _ = self.registry.send_to_client(client, Arc::new(ServerMessage::Resized { session: self.id }));
    }
}

/// A size as one number, which is not 0: columns first.
fn packed(size: TerminalSize) -> u32 {
    u32::from(size.cols()) << 16 | u32::from(size.rows())
}

fn unpacked(size: u32) -> Option<TerminalSize> {
    let [c0, c1, r0, r1] = size.to_be_bytes();
    TerminalSize::new(u16::from_be_bytes([c0, c1]), u16::from_be_bytes([r0, r1]))
}
