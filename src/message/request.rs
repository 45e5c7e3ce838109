//! What a client asks for.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};

use super::{
    ClientEnvironment, InputPosition, LinkId, LinkToken, Pace, PixelSize, Provide, ProviderStatement,
    SizePolicy, TerminalSettings, ViewerId,
};
use crate::{ClientId, SessionId, SessionName, TerminalSize};

/// A client's request. Each but a [`Statement`](Self::Statement) has exactly one reply, under the id it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientMessage {
    /// Which sessions there are. Answered by `Reply::Sessions`.
    List,
    /// Starts a session, and attaches to it if asked. Answered by `Reply::Created` or `Reply::Attached`.
    Create(Create),
    /// Starts watching a session. A client watches one: this leaves the one it watched before. Answered by
    /// `Reply::Attached`; every output before that reply is the old session's, every one after it the new one's.
    Attach(Attach),
    /// Stops watching. Answered by `Reply::Detached`, after which no output follows.
    Detach,
    /// Bytes for a session's terminal, as if typed there. Answered by `Reply::Written` once the terminal has them; a
    /// client may have 64 of these and 256 KiB outstanding.
    Input {
        /// The session to type into; watching it is not needed.
        session: SessionId,
        /// Where in a stream of input these are, for a client that sends again what was not answered when its
        /// connection was lost. Without it they are typed as they come, and not at all once the connection ends.
        position: Option<InputPosition>,
        /// At most 64 KiB.
        data: Bytes,
    },
    /// As [`Input`](Self::Input), from a terminal that shows this session elsewhere, as a mirror does. What it answers
    /// by itself to the program's questions is not typed: the session has them answered here.
    RemoteInput {
        /// The session to type into.
        session: SessionId,
        /// Where in a stream of input these are.
        position: InputPosition,
        /// At most 64 KiB.
        data: Bytes,
    },
    /// Says how large this client's terminal is now. The session's own size follows its [`SizePolicy`]; a client that
    /// does not watch it as a terminal counts once, as one that typed. Answered by `Reply::Resized`.
    Resize {
        /// The session whose terminal it is.
        session: SessionId,
        /// The new size.
        size: TerminalSize,
        /// The same in pixels, where the terminal knows it.
        pixels: Option<PixelSize>,
    },
    /// How large a terminal is that shows this session elsewhere, as a mirror does, or what several there want
    /// together. It counts for the session's size as one that watches, until this says that there is none, or the
    /// connection ends. A connection has one. Answered by `Reply::Resized`.
    RemoteResize {
        /// The session that it shows.
        session: SessionId,
        /// Its size, and the same in pixels where that is known; `None` once there is none.
        window: Option<(TerminalSize, Option<PixelSize>)>,
    },
    /// Whom a session's program waits for, and what its terminal is sized by. Answered by `Reply::Rules`.
    Rules {
        /// Which session.
        session: Target,
    },
    /// Asks for the watched session's screen; what was not sent yet is left out. Answered by
    /// `Reply::Resynced`, after which the screen follows.
    Resync,
    /// Hangs up a session's program, and kills it if it won't go. Answered by `Reply::Killed` once it is gone.
    Kill {
        /// Which session.
        session: Target,
    },
    /// The environment of the client that a session is used from: of those that watch it as terminals and may type, the
    /// one that attached or typed last. With none, the last one's, or the creator's. Answered by `Reply::Environment`.
    Environment {
        /// Which session.
        session: Target,
    },
    /// What a session shows now, with up to `lines` of what scrolled off its top. This client does not watch it: nobody
    /// waits for it, and no size changes. Answered by `Reply::Screen`.
    ReadScreen {
        /// Which session.
        session: Target,
        /// Lines above the screen. There may be fewer, and are none while a program shows the other screen.
        lines: u32,
    },
    /// Waits for a session's end. Answered by `Reply::Ended` once its program is gone; at once of one that has ended.
    Wait {
        /// Which session.
        session: Target,
    },
    /// Which session this is, and how it stands. Answered by `Reply::Found`.
    Find {
        /// Which session.
        session: Target,
    },
    /// Changes something about a session or its clients. Answered by `Reply::Changed`.
    Change {
        /// Which session.
        session: Target,
        /// What is to be done.
        change: SessionChange,
    },
    /// Asks to be told of what happens to all sessions, from now on and until the connection ends. Answered by
    /// `Reply::Listening`, after which each `Event::Session` is one thing that happened.
    Listen,
    /// Makes a link. Answered by `Reply::Shared`.
    Share(Share),
    /// Which links there are. Answered by `Reply::Shares`.
    Shares,
    /// Revokes links, and closes the connections that redeemed them. Answered by `Reply::Unshared`.
    Unshare(UnshareWhich),
    /// Redeems a link, as the first request of a connection but for pings. From then on the connection can do what the
    /// link says and nothing else. Answered by `Reply::Redeemed`.
    Redeem {
        /// The link's secret.
        token: LinkToken,
        /// Who redeems it.
        viewer: ViewerId,
    },
    /// Starts a session whose program is this connection, or goes on with one that was. Answered by `Reply::Provided`.
    Provide(Box<Provide>),
    /// What this connection says of a session that it provides. Not answered.
    Statement {
        /// Which session.
        session: SessionId,
        /// What is said.
        statement: ProviderStatement,
    },
    /// What the server counts. Answered by `Reply::Stats`.
    Stats,
    /// Answered by `Reply::Pong`.
    Ping,
}

/// A session to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Create {
    /// Its name, unique among live sessions.
    pub name: SessionName,
    /// The program and its arguments, as the bytes they are; at least the program.
    #[serde(deserialize_with = "bounded_vec")]
    pub command: Vec<Vec<u8>>,
    /// Its whole environment. The server adds `FUGUE_SESSION`, `FUGUE_SESSION_ID` and `FUGUE_SOCKET`, and `TERM` where
    /// it is missing.
    #[serde(deserialize_with = "bounded_vec")]
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where it starts; `None` for the server's own directory.
    pub cwd: Option<Vec<u8>>,
    /// Its terminal's size at the start.
    pub size: TerminalSize,
    /// How that size changes.
    pub size_policy: SizePolicy,
    /// Which readers its program waits for.
    pub pace: Pace,
    /// Whether this client watches it, from its first byte. Its output waits for the attach.
    pub attach: Option<AttachOptions>,
    /// Its terminal's size in pixels at the start, if that is known.
    pub pixels: Option<PixelSize>,
    /// Its terminal's settings at the start. Those that are not known are the system's for a new terminal, and `iutf8`.
    pub settings: TerminalSettings,
    /// What lists show as its title until its program sets one.
    pub title: Option<String>,
    /// What the program is told its own name is (`argv[0]`), if that is not how it is called. A shell whose name begins
    /// with a hyphen is a login shell.
    pub program_name: Option<Vec<u8>>,
}

impl Create {
    /// A session of the usual size, with an empty environment, that nobody watches yet.
    #[must_use]
    pub const fn new(name: SessionName, command: Vec<Vec<u8>>) -> Self {
        Self {
            name,
            command,
            env: Vec::new(),
            cwd: None,
            size: TerminalSize::DEFAULT,
            size_policy: SizePolicy::Latest,
            pace: Pace::Fastest,
            attach: None,
            pixels: None,
            settings: TerminalSettings::UNKNOWN,
            title: None,
            program_name: None,
        }
    }
}

/// The most words or variables of a request: more than Linux starts a program with, as each takes nine bytes of 2 MiB
/// at least. An empty one is a single byte in a frame and some fifty in memory, so that the frame's bound alone is
/// none.
const MAX_WORDS: usize = 256 * 1024;

/// Reads a sequence of at most [`MAX_WORDS`].
pub(super) fn bounded_vec<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    struct BoundedVec<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for BoundedVec<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a sequence of at most {MAX_WORDS}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(next) = sequence.next_element()? {
                if all.len() == MAX_WORDS {
                    return Err(A::Error::invalid_length(MAX_WORDS + 1, &self));
                }
                all.push(next);
            }
            Ok(all)
        }
    }

    from.deserialize_seq(BoundedVec(PhantomData))
}

/// Which session to watch, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attach {
    /// Which session.
    pub session: Target,
    /// How to watch it.
    pub options: AttachOptions,
    /// What is carried of the environment that the client runs in; `None` for a program that is nobody's terminal.
    pub environment: Option<Box<ClientEnvironment>>,
}

impl Attach {
    /// Watches `session` in this way.
    #[must_use]
    pub const fn new(session: Target, options: AttachOptions) -> Self {
        Self { session, options, environment: None }
    }

    /// This attach, from where this is the environment.
    #[must_use]
    pub fn with_environment(self, environment: ClientEnvironment) -> Self {
        Self { environment: Some(Box::new(environment)), ..self }
    }
}

/// A session by what people call it, or by what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Target {
    /// The live session of this name.
    Name(SessionName),
    /// This session and no other: what resuming after a lost connection needs.
    Id(SessionId),
    /// The session of this name; if there is none, the only live one whose name begins with it. For what people type.
    Prefix(SessionName),
    /// The session in whose terminal the client runs, as the system knows it.
    Here,
}

impl From<SessionName> for Target {
    fn from(name: SessionName) -> Self {
        Self::Name(name)
    }
}

impl From<SessionId> for Target {
    fn from(id: SessionId) -> Self {
        Self::Id(id)
    }
}

/// What is to be changed about a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SessionChange {
    /// Its name, to one that is free. Its program keeps `FUGUE_SESSION` as it was; `FUGUE_SESSION_ID` is right
    /// for good.
    Rename(SessionName),
    /// What its terminal is sized by, and its size, if one is given.
    Size {
        /// How its size changes from now on.
        policy: SizePolicy,
        /// The size that it has until then.
        size: Option<TerminalSize>,
    },
    /// Sends the processes in the foreground of its terminal a signal, by its number.
    Signal(i32),
    /// Closes the connections of these clients, which are told that they were detached.
    Detach(DetachWhich),
    /// Asks the client that it was used from last to watch another session in its place. The client is told
    /// `Event::Switch`, and attaches by itself.
    Switch(Target),
}

/// Which of a session's clients are detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DetachWhich {
    /// The terminal that was used last, of those that may type.
    Latest,
    /// All other terminals.
    Others,
    /// All terminals. What records the session goes on.
    Terminals,
    /// This client, whatever it is.
    One(ClientId),
}

/// A link to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Share {
    /// The session that it shows; `None` for all sessions, those to come as well.
    pub session: Option<Target>,
    /// What may be done by it.
    pub access: Access,
    /// How many different viewers it admits, from 1 to 100; `None` for any number.
    pub uses: Option<u32>,
    /// For how long it is valid; `None` until it is revoked or its session has ended.
    pub lifetime_seconds: Option<u64>,
    /// What it is for, to tell it from others. At most 80 characters are kept, and no control characters.
    pub label: Option<String>,
}

impl Share {
    /// A link to this session, to watch it.
    #[must_use]
    pub const fn of(session: Target) -> Self {
        Self::to(Some(session))
    }

    /// A link to all sessions, to watch them.
    #[must_use]
    pub const fn of_all() -> Self {
        Self::to(None)
    }

    const fn to(session: Option<Target>) -> Self {
        Self { session, access: Access::ReadOnly, uses: None, lifetime_seconds: None, label: None }
    }

    /// This link, by which this may be done.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// This link, for so many viewers.
    #[must_use]
    pub fn with_uses(self, uses: Option<u32>) -> Self {
        Self { uses, ..self }
    }

    /// This link, for so many seconds.
    #[must_use]
    pub fn with_lifetime_seconds(self, seconds: Option<u64>) -> Self {
        Self { lifetime_seconds: seconds, ..self }
    }

    /// This link, with a label.
    #[must_use]
    pub fn with_label(self, label: Option<String>) -> Self {
        Self { label, ..self }
    }
}

/// Which links are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UnshareWhich {
    /// This one.
    One(LinkId),
    /// All.
    All,
}

/// How a client watches a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SentOptions", into = "SentOptions")]
#[non_exhaustive]
pub struct AttachOptions {
    /// Where in the stream to start.
    pub start: StartAt,
    /// What happens when the client can't keep up.
    pub on_lag: OnLag,
    /// The size of the client's terminal. A terminal of another size than the session's is sent pictures of the part
    /// around the cursor, and never the output itself. `None` for one that [follows](Self::following), and for what is
    /// no terminal, such as a recorder: this is told of another size where that is in the output.
    pub size: Option<TerminalSize>,
    /// What the client may do.
    pub access: Access,
    /// The size of the client's terminal in pixels, if it knows that.
    pub pixels: Option<PixelSize>,
    /// How many lines of what scrolled off the screen's top go into the terminal's own scrollback, with the screen to
    /// start with; and where the screen stands for output that was skipped, of what scrolled off within that. There may
    /// be fewer, and are none while a program shows the other screen.
    pub scrollback: u32,
    /// The client's terminal takes whatever size the session has: see [`following`](Self::following).
    pub follows: bool,
}

/// [`AttachOptions`] as they travel. Where a terminal has a size it is as in an `Option`, so that a server that knows
/// none that follow reads all others.
#[derive(Serialize, Deserialize)]
struct SentOptions {
    start: StartAt,
    on_lag: OnLag,
    terminal: SentTerminal,
    access: Access,
    pixels: Option<PixelSize>,
    scrollback: u32,
}

#[derive(Serialize, Deserialize)]
enum SentTerminal {
    None,
    Sized(TerminalSize),
    Follows,
}

impl From<SentOptions> for AttachOptions {
    fn from(sent: SentOptions) -> Self {
        let SentOptions { start, on_lag, terminal, access, pixels, scrollback } = sent;
        let (size, follows) = match terminal {
            SentTerminal::None => (None, false),
            SentTerminal::Sized(size) => (Some(size), false),
            SentTerminal::Follows => (None, true),
        };
        Self { start, on_lag, size, access, pixels, scrollback, follows }
    }
}

impl From<AttachOptions> for SentOptions {
    fn from(options: AttachOptions) -> Self {
        let AttachOptions { start, on_lag, size, access, pixels, scrollback, follows } = options;
        let terminal = match size {
            _ if follows => SentTerminal::Follows,
            Some(size) => SentTerminal::Sized(size),
            None => SentTerminal::None,
        };
        Self { start, on_lag, terminal, access, pixels, scrollback }
    }
}

impl AttachOptions {
    /// The options of a program: no terminal, and allowed everything.
    #[must_use]
    pub const fn new(start: StartAt, on_lag: OnLag) -> Self {
        let access = Access::ReadWrite;
        Self { start, on_lag, size: None, access, pixels: None, scrollback: 0, follows: false }
    }

    /// These options, for a terminal that takes whatever size the session has, such as a browser's or a mirror.
    ///
    /// When the session's size changes, the client is told, and sent the screen; then the output goes on. It is never
    /// sent pictures, and never sizes the session. A server that is older than this, as [`Client::can_follow`] tells,
    /// is asked for what is no terminal: then the client is told of another size, and sent no screen.
    ///
    /// [`Client::can_follow`]: crate::Client::can_follow
    #[must_use]
    pub const fn following(self) -> Self {
        Self { size: None, pixels: None, follows: true, ..self }
    }

    /// These options, from another place on.
    #[must_use]
    pub const fn with_start(self, start: StartAt) -> Self {
        Self { start, ..self }
    }

    /// These options, for a client that lags in another way.
    #[must_use]
    pub const fn with_on_lag(self, on_lag: OnLag) -> Self {
        Self { on_lag, ..self }
    }

    /// These options, in a terminal of this size; or, with `None`, in none.
    #[must_use]
    pub const fn with_size(self, size: Option<TerminalSize>) -> Self {
        Self { size, follows: false, ..self }
    }

    /// These options, in a terminal of this size in pixels.
    #[must_use]
    pub const fn with_pixels(self, pixels: Option<PixelSize>) -> Self {
        Self { pixels, ..self }
    }

    /// These options, with so many lines of scrollback.
    #[must_use]
    pub const fn with_scrollback(self, scrollback: u32) -> Self {
        Self { scrollback, ..self }
    }

    /// These options, for a client that may do this.
    #[must_use]
    pub const fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

/// What a client that watches may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Access {
    /// Everything.
    #[default]
    ReadWrite,
    /// While it watches, its connection can't type, size, start or end anything.
    ReadOnly,
}

/// Where in a session's stream a client starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartAt {
    /// With the screen as it is now, and what is printed from then on.
    Screen,
    /// With what is printed from now on.
    Now,
    /// With the oldest byte that is still held.
    Oldest,
    /// With the first line that begins within this many of the newest bytes that are held.
    Last(u64),
    /// With exactly this byte, or not at all: where a lost connection left off.
    Offset(u64),
}

/// What happens to a client that can't keep up with its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnLag {
    /// Once what it needs next is no longer held, it is told of the gap, shown the screen as it is, and goes on from
    /// there. It holds nobody back, unless no other client is faster.
    #[default]
    Resync,
    /// As `Resync`, but it is closed with the reason instead.
    Disconnect,
    /// The program waits for it, as long as it takes at least 64 KiB in 10 s; if it does not, as `Resync`.
    Lossless,
}
