//! What the server answers, what it tells unasked, and why it refuses.

use std::{fmt, time::Duration};

use bytes::Bytes;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::{
    Access, ClientEnvironment, LinkId, LinkInfo, Pace, Provided, Redeemed, SharedLink, SizePolicy, Unshared,
};
use crate::{ClientId, SessionId, SessionName, TerminalSize};

/// The answer to a request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reply {
    /// To `List`: live sessions, the oldest first, then those that ended last.
    Sessions(Vec<SessionInfo>),
    /// To `Create` that does not attach.
    Created(SessionInfo),
    /// To `Attach`, and to `Create` that attaches.
    Attached(AttachedTo),
    /// To `Detach`. Also when nothing was watched.
    Detached,
    /// To `Input` and `RemoteInput`: the terminal has all of it, and all before it in its stream.
    Written,
    /// To `Resize` and `RemoteResize`.
    Resized,
    /// To `Resync`. Also when nothing was watched.
    Resynced,
    /// To `Kill`: the program is gone.
    Killed(ExitStatus),
    /// To `Stats`.
    Stats(Box<ServerStats>),
    /// To `Ping`.
    Pong,
    /// To `Environment`.
    Environment(Box<ClientEnvironment>),
    /// To `ReadScreen`.
    Screen(Box<SessionScreen>),
    /// To `Wait`: the session has ended.
    Ended(ExitStatus),
    /// To `Find`.
    Found(Box<SessionInfo>),
    /// To `Change`.
    Changed(ChangedSession),
    /// To `Listen`.
    Listening,
    /// To `Share`.
    Shared(Box<SharedLink>),
    /// To `Shares`: the oldest first.
    Shares(Vec<LinkInfo>),
    /// To `Unshare`.
    Unshared(Unshared),
    /// To `Redeem`.
    Redeemed(Box<Redeemed>),
    /// To `Provide`.
    Provided(Box<Provided>),
    /// To `Rules`.
    Rules(SessionRules),
}

/// Whom a session's program waits for, and what its terminal is sized by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionRules {
    /// Which readers its program waits for.
    pub pace: Pace,
    /// How its size changes.
    pub size_policy: SizePolicy,
}

impl SessionRules {
    pub(crate) const fn new(pace: Pace, size_policy: SizePolicy) -> Self {
        Self { pace, size_policy }
    }
}

/// What a change concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangedSession {
    /// What the session is called now.
    pub name: SessionName,
    /// How many clients were detached, or asked to switch.
    pub clients: usize,
}

impl ChangedSession {
    pub(crate) fn new(name: SessionName, clients: usize) -> Self {
        Self { name, clients }
    }
}

/// The session a client now watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachedTo {
    /// Its id: what `Input`, `Resize` and a later resume name.
    pub session: SessionId,
    /// Its name.
    pub name: SessionName,
    /// The offset of the first byte of output this client gets. When it starts with the screen, that is drawn first.
    pub start: u64,
    /// The size of its terminal.
    pub size: TerminalSize,
}

/// What a session shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionScreen {
    /// Which session.
    pub session: SessionId,
    /// Its name.
    pub name: SessionName,
    /// The size of its terminal.
    pub size: TerminalSize,
    /// The offset of the first byte of output that this does not show.
    pub offset: u64,
    /// The bytes that bring a terminal of this size into the state of the session's, whatever it showed before.
    pub drawing: Bytes,
}

/// One line of `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// Its name.
    pub name: SessionName,
    /// The program and its arguments, quoted as a shell reads them. A long one is cut, and ends with `…`.
    pub command: String,
    /// Whether it runs.
    pub state: SessionState,
    /// How many clients watch it.
    pub clients: usize,
    /// Bytes its program has printed.
    pub printed: u64,
    /// Whether its output can be read: always while it runs, and for a while after it ended.
    pub is_held: bool,
    /// The size of its terminal.
    pub size: TerminalSize,
    /// Seconds since it was started.
    pub age_seconds: u64,
    /// Seconds since it ended; `None` while it runs.
    pub ended_seconds: Option<u64>,
    /// The title that its program set, or else the one that it was created with. A long one is cut.
    pub title: Option<String>,
    /// Milliseconds since a terminal attached to it or typed into it; `None` if none ever did.
    pub used_ms: Option<u64>,
    /// Seconds since its program printed or a terminal was used.
    pub idle_seconds: u64,
    /// Bytes it has printed since its last terminal left; 0 while there is one.
    pub unseen: u64,
    /// Whether there was a bell among them.
    pub bell: bool,
    /// Of the terminals that may type, the one used last.
    pub latest: Option<ClientId>,
}

/// Whether a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SessionState {
    /// It goes on, or its last output is being read.
    Running {
        /// The program's process id; `None` of a session without a program.
        pid: Option<u32>,
    },
    /// It ended.
    Ended(ExitStatus),
    /// Another process provides it. A client that is older than this is told that it runs.
    Provided {
        /// Whether that is there.
        provider: ProviderState,
    },
}

/// How the process stands that provides a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProviderState {
    /// It is connected.
    Connected,
    /// Its connection is lost.
    Lost {
        /// For so long.
        seconds: u64,
    },
    /// It is connected, and says that the program is out of its reach.
    Silent {
        /// For so long.
        seconds: u64,
    },
}

impl SessionState {
    /// Whether it has not ended.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self, Self::Ended(_))
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The system would not say.
    Unknown,
}

impl ExitStatus {
    /// As a shell would report it: the code, or 128 and the signal.
    #[must_use]
    pub fn as_exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code.to_le_bytes()[0],
            Self::Signal(signal) => 128_u8.saturating_add(signal.to_le_bytes()[0]),
            Self::Unknown => 255,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match Signal::try_from(*signal) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
            Self::Unknown => f.write_str("exit status unknown"),
        }
    }
}

impl From<std::process::ExitStatus> for ExitStatus {
    fn from(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;

        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

/// What the server counts, since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerStats {
    /// The server's process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Clients connected now, by client shard.
    pub clients_per_shard: Vec<usize>,
    /// Sessions known to the registry now, by session shard.
    pub sessions_per_shard: Vec<usize>,
    /// Connections that completed a handshake.
    pub connections: u64,
    /// Connections the server ended, for a reason of its own.
    pub connections_closed: u64,
    /// Messages placed in a client's queue.
    pub messages_sent: u64,
    /// Messages skipped for a client whose queue was full. It finds them in its session's history.
    pub messages_skipped: u64,
    /// Messages for clients that were gone.
    pub messages_closed: u64,
    /// Writes to client sockets.
    pub writes: u64,
    /// Bytes written to client sockets.
    pub bytes_written: u64,
    /// Bytes all histories hold now.
    pub history_bytes: u64,
    /// How often clients missed a message and read it from the history.
    pub replays: u64,
    /// How often what a client needed was no longer held.
    pub gaps: u64,
    /// How often a client's backlog was dropped because it interrupted the program.
    pub purges: u64,
    /// Bytes that clients were never sent: of gaps, purges, and pictures. A drawn screen stood in for each.
    pub skipped_bytes: u64,
    /// Every client.
    pub clients: Vec<ClientStats>,
    /// Every live session.
    pub sessions: Vec<SessionStats>,
}

/// How one client fares, since it connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientStats {
    /// Which.
    pub client: ClientId,
    /// The session it watches.
    pub session: Option<SessionId>,
    /// Where it stands.
    pub state: ClientState,
    /// Bytes it is behind its session now.
    pub lag_bytes: u64,
    /// The most it has been behind.
    pub lag_max_bytes: u64,
    /// How often it missed a message and read it from the history.
    pub replays: u64,
    /// How often what it needed was no longer held.
    pub gaps: u64,
    /// How often its backlog was dropped because it interrupted the program.
    pub purges: u64,
    /// Bytes it was never sent: of gaps, purges, and pictures. A drawn screen stood in for each.
    pub skipped_bytes: u64,
    /// Messages it took from its queue.
    pub messages: u64,
    /// Writes to its socket.
    pub writes: u64,
    /// Milliseconds since it last took a byte.
    pub idle_ms: u64,
    /// Its process id, where the system tells.
    pub pid: Option<u32>,
    /// The size of its terminal; `None` of a client that is none, or watches nothing.
    pub size: Option<TerminalSize>,
    /// What it may do.
    pub access: Access,
    /// Seconds since it attached to the session that it watches.
    pub attached_seconds: Option<u64>,
}

/// Where a client stands with respect to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ClientState {
    /// It is sent what is printed as it is broadcast.
    Live,
    /// It missed some, and is sent that from the history.
    Behind,
    /// What it missed is no longer held; it is sent the screen instead.
    Gap,
    /// Its connection is being closed.
    Closed,
}

/// How one session fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionStats {
    /// Which.
    pub session: SessionId,
    /// Its name.
    pub name: SessionName,
    /// Bytes its program has printed.
    pub printed_bytes: u64,
    /// Bytes its history holds, with what holding them costs.
    pub history_bytes: u64,
    /// Bytes its screen's model is behind.
    pub screen_lag_bytes: u64,
    /// How often the program had to wait for the model.
    pub screen_waits: u64,
    /// Whether the model failed, so that late joiners get raw output instead of a screen.
    pub screen_failed: bool,
}

/// What a client is told without having asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// The watched session ended; all of its output came before this. The client watches nothing now.
    Ended {
        /// Which session.
        session: SessionId,
        /// How its program ended.
        status: ExitStatus,
    },
    /// The server closes this connection; nothing follows.
    Closing(CloseReason),
    /// This client fell so far behind that a part of the output is no longer held. The screen follows, then the
    /// output from `to` on.
    Gap {
        /// The first byte it did not get.
        from: u64,
        /// The first byte it gets next.
        to: u64,
    },
    /// The watched session's terminal has another size now.
    Resized {
        /// Which session.
        session: SessionId,
        /// Its size.
        size: TerminalSize,
    },
    /// A line for the person at the terminal.
    Notice(String),
    /// The person at this client's terminal wants to watch another session. The client attaches to it, if it will.
    Switch {
        /// Which session.
        to: SessionId,
    },
    /// Something happened, of which this client asked to be told.
    Session(Box<SessionEvent>),
    /// This client was too slow for what it asked to be told, and so many of them were dropped.
    Lost(u64),
}

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionEvent {
    /// The session's id.
    pub session: SessionId,
    /// Its name, after the event.
    pub name: SessionName,
    /// What happened.
    pub what: Happened,
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Happened {
    /// It was started.
    Created,
    /// A client began to watch it.
    Attached(ClientId),
    /// A client stopped watching it.
    Detached(ClientId),
    /// Its program rang the bell. Bells within a second are one.
    Bell,
    /// A client fell so far behind that it was not sent these bytes.
    Gap {
        /// Which client.
        client: ClientId,
        /// How many.
        bytes: u64,
    },
    /// It ended. Its clients may still be reading its last output.
    Ended(ExitStatus),
    /// It had this name before.
    Renamed(SessionName),
}

/// Why the server closes a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server is shutting down.
    ShuttingDown,
    /// What the client needs next is no longer held.
    FellBehind {
        /// The first byte it did not get.
        from: u64,
        /// The oldest byte still held.
        to: u64,
    },
    /// It took less than 64 KiB in this long, with more waiting.
    TooSlow(Duration),
    /// It sent what is no message.
    Malformed(String),
    /// The program that embeds the server ended this client's connection.
    Disconnected,
    /// The server lost this client's queue, so that it would not hear of new output.
    Unregistered,
    /// Another client asked for this one to be detached.
    Detached,
    /// The link that this connection redeemed was revoked.
    Revoked,
    /// The link that this connection redeemed has expired.
    Expired,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShuttingDown => f.write_str("the server is shutting down"),
            Self::FellBehind { from, to } => write!(
                f,
                "this client fell behind and {} bytes are no longer held; attach again for the screen as it is",
                to - from
            ),
            Self::TooSlow(limit) => {
                write!(f, "this client took less than 64 KiB in {} s with more waiting", limit.as_secs())
            }
            Self::Malformed(what) => write!(f, "this client sent a malformed message: {what}"),
            Self::Disconnected => f.write_str("the server's program ended this connection"),
            Self::Unregistered => f.write_str("the server no longer knows this client; connect again"),
            Self::Detached => f.write_str("this client was detached by `fugue-server detach`"),
            Self::Revoked => f.write_str("the link was revoked; ask who shared it for another"),
            Self::Expired => f.write_str("the link has expired; ask who shared it for another"),
        }
    }
}

/// A request was refused; nothing was changed, unless it says so. Each says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RequestError {
    /// No session is called this.
    #[error("there is no session {0}; `list` shows which there are")]
    UnknownSession(String),
    /// The session has ended.
    #[error("session {name} has ended: {status}")]
    SessionEnded {
        /// What it was called.
        name: String,
        /// How its program ended.
        status: ExitStatus,
    },
    /// A live session is called this already.
    #[error("session {0} exists already; attach to it or choose another name")]
    NameTaken(SessionName),
    /// The program could not be started.
    #[error("could not start {program}: {why}")]
    NotStarted {
        /// What was to be started.
        program: String,
        /// The system's reason.
        why: String,
    },
    /// The stream does not hold the byte to start at.
    #[error("offset {offset} is not held; the stream is held from {oldest} to {head}")]
    OffsetNotHeld {
        /// Where the client wanted to start.
        offset: u64,
        /// The oldest byte held.
        oldest: u64,
        /// Where the stream ends now.
        head: u64,
    },
    /// The server keeps no model of the session's screen, or gave it up after a failure.
    #[error(
        "what session {0} shows is not known: its server has no model of its screen; attach to see its output"
    )]
    NoScreen(SessionName),
    /// The system refused.
    #[error("{what} failed: {why}")]
    Failed {
        /// What was tried.
        what: String,
        /// The system's reason.
        why: String,
    },
    /// The client watches read-only.
    #[error("attached read-only; detach first, or attach without it")]
    ReadOnly,
    /// More requests outstanding than the server keeps.
    #[error("too many requests outstanding; wait for replies before sending more")]
    TooManyOutstanding,
    /// Input does not go on where the server is in its stream: what lies between did not arrive, or the server has
    /// forgotten the stream.
    #[error(
        "input at byte {offset} of its stream, of which the server has {taken}: what lies between is missing"
    )]
    InputMissing {
        /// Where the input was to go.
        offset: u64,
        /// Bytes of the stream that the server has.
        taken: u64,
    },
    /// The request could not be read.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The server is going away.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The session was ended and its terminal closed, and its program lives on. It runs as another user, or the kernel
    /// does not let it go.
    #[error(
        "session {name} has ended, but its program, process {pid}, can't be killed; if another user runs it, end it as \
         that user: `sudo kill -9 {pid}`"
    )]
    NotKilled {
        /// What the session was called.
        name: SessionName,
        /// The program's process id.
        pid: u32,
    },
    /// The client runs in the terminal of a session that is shown in the one it wants to attach to, so that each would
    /// print what the other prints, forever.
    #[error("{}", circle(session, way))]
    Circle {
        /// The session to attach to.
        session: SessionName,
        /// From the session whose terminal the client runs in, each shown in the next one's terminal, to `session`.
        way: Vec<SessionName>,
    },
    /// The beginning of a name is that of several sessions'.
    #[error("{prefix} is the beginning of several names: {}; write more of it", names.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The names that begin with it.
        names: Vec<String>,
    },
    /// The client does not run in a session's terminal.
    #[error("this is not the terminal of a session; name one (`list` shows which there are)")]
    NotInside,
    /// No terminal that may type watches the session.
    #[error("no terminal is attached to session {0}")]
    NobodyAttached(SessionName),
    /// The client does not watch the session.
    #[error("{client} is not attached to session {session}; `list --clients` shows which are")]
    NotAttached {
        /// Which client.
        client: ClientId,
        /// Which session.
        session: SessionName,
    },
    /// The client came by a relay that lets it watch one session only.
    #[error(
        "this connection may only watch session {session}: attach to it read-only (`-r`), and not lossless \
         (`--on-lag resync` or `disconnect`)"
    )]
    Restricted {
        /// That session.
        session: SessionName,
    },
    /// There is no link with this secret: there never was, or it has expired, was used up, or was revoked.
    #[error("this link is not valid, or no longer; ask who shared it for another")]
    NoSuchLink,
    /// There is no link of this id.
    #[error("there is no link {0}; `shares` lists those that there are")]
    UnknownLink(LinkId),
    /// There are as many links as a server keeps.
    #[error("there are {0} links, which is the most; revoke some with `unshare`")]
    TooManyLinks(usize),
    /// The id is that of a session that can't be provided: it has a program, or another provider.
    #[error("session {name} is there already, and {why}; choose another id")]
    NotProvided {
        /// What the session is called.
        name: SessionName,
        /// What it is, in words that go on after its name.
        why: String,
    },
    /// As many sessions are provided by one connection as may be.
    #[error("this connection provides {0} sessions, which is the most; use another connection")]
    TooManyProvided(usize),
    /// The session's provider is lost, so that nobody could type.
    #[error(
        "what provides session {name} is lost for {seconds} s; nothing was typed, try again once it is back"
    )]
    ProviderLost {
        /// What the session is called.
        name: SessionName,
        /// How long, in seconds.
        seconds: u64,
    },
    /// The connection came by a link, which does not allow this.
    #[error(
        "the link does not allow this{}; ask who shared it",
        match .access { Access::ReadOnly => ": it is for watching only", Access::ReadWrite => "" }
    )]
    BeyondLink {
        /// What the link allows.
        access: Access,
    },
}

/// Why a client can't attach where it runs.
fn circle(session: &SessionName, way: &[SessionName]) -> String {
    let Some((here, shown_in)) = way.split_first().filter(|(_, shown_in)| !shown_in.is_empty()) else {
        return format!(
            "this terminal is session {session} itself; detach first, or attach from another terminal"
        );
    };
    let mut text = format!("this terminal is session {here}");
    for name in shown_in {
        text += &format!(", which is shown in session {name}");
    }
    text + &format!(
        ": attaching to {session} here would show it in itself forever; detach first, or attach from a terminal \
         outside of these sessions"
    )
}
