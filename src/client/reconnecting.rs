//! A client that watches one session over one connection after another, for programs that embed it.

use std::{collections::VecDeque, fmt, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep};

use super::{
    Backoff, Client, ClientError, ConnectError, Incoming, InputStream, Keepalive, Liveness, Missed,
    NotResumed, Reached, resume,
};
use crate::{
    SessionId, TerminalSize,
    message::{
        Attach, AttachOptions, AttachedTo, ClientMessage, Event, ExitStatus, LinkToken, OnLag, PixelSize,
        Reply, RequestError, Target, ViewerId,
    },
    wire::MAX_INPUT,
};

/// The most that is kept of what was typed and not answered: bytes that wait, and pieces and bytes that were sent. That
/// is half of what a server takes.
const MAX_WAITING: usize = MAX_INPUT;
const MAX_PIECES: usize = 32;
const MAX_SENT: usize = 128 * 1024;

/// A server forgets a stream of input ten minutes after its last use. After so long it is not known whether it did, and
/// nothing is sent again.
const KNOWN_FOR: Duration = Duration::from_secs(540);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Connect = Box<dyn FnMut() -> Boxed<Result<Client, ConnectError>> + Send>;
type Attempt = Boxed<Result<(Client, AttachedTo), NotAttached>>;

/// A client of one session that makes a lost connection again, and goes on where it was.
///
/// Output goes on with the next byte. If that is no longer held, a client that [resyncs](OnLag::Resync) is told of the
/// gap and shown the screen, and any other ends with an error that names the bytes. What is typed has its place in a
/// stream, so that each byte is typed once on however many connections it is sent. A connection is tried at once, and
/// then after 50 ms, doubling to 5 s, with jitter.
///
/// All happens in [`next`](Self::next): between its calls nothing is sent, received or tried.
///
/// # Examples
/// ```no_run
/// use fugue_server::{
///     Client,
///     client::{ReconnectError, ReconnectingClient, Watched},
///     default_socket_path,
///     message::{AttachOptions, OnLag, StartAt},
/// };
///
/// # async fn mirror(build: fugue_server::SessionName) -> Result<(), ReconnectError> {
/// let options = AttachOptions::new(StartAt::Oldest, OnLag::Lossless);
/// let connect = || async { Client::connect(&default_socket_path()).await };
/// let mut build = ReconnectingClient::attach(connect, build, options).await?;
/// loop {
///     match build.next().await {
///         Ok(Watched::Output { offset, data }) => println!("{} bytes at {offset}", data.len()),
///         Ok(Watched::Lost) => println!("the line is lost"),
///         Ok(_) => {}
///         Err(ReconnectError::Ended(status)) => break println!("ended: {status}"),
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct ReconnectingClient {
    connect: Connect,
    /// What each connection redeems first.
    link: Option<(LinkToken, ViewerId)>,
    attached: AttachedTo,
    options: AttachOptions,
    line: Line,
    reached: Reached,
    /// What is to be returned first.
    news: VecDeque<Watched>,
    typing: Typed,
    /// This client's terminal has another size than the server was told.
    is_resized: bool,
    backoff: Backoff,
    keepalive: Option<Keepalive>,
    /// For how long another connection is tried; `None` without an end.
    patience: Option<Duration>,
}

/// What comes of a session that is watched over one connection after another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Watched {
    /// Output; its pieces follow one another without a gap that was not told of.
    Output {
        /// Where `data` starts in the session's stream.
        offset: u64,
        /// What the program printed.
        data: Bytes,
    },
    /// A piece of a drawn screen, as [`Incoming::Screen`]. Where the line was lost within a screen, it is drawn again.
    Screen {
        /// Where output goes on after this screen.
        offset: u64,
        /// What to write to the terminal.
        data: Bytes,
    },
    /// News: a gap, before the screen that stands for it; another size; a notice. After [`Event::Ended`] nothing
    /// follows but [`ReconnectError::Ended`].
    Event(Event),
    /// The connection is lost. Another one is tried from now on.
    Lost,
    /// There is another connection, on which the session is watched on.
    Resumed(AttachedTo),
    /// Of what was typed, so many bytes may be lost, for this reason; `None` if the line was down for longer than a
    /// server remembers what it took.
    InputLost {
        /// How many bytes.
        bytes: usize,
        /// What the server said.
        why: Option<RequestError>,
    },
}

/// Why a session is not, or no longer, watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// The session ended, and all that it printed has come.
    #[error("the session ended: {0}")]
    Ended(ExitStatus),
    /// The session ended while there was no connection, and its output is no longer held.
    #[error("the session ended meanwhile: {status}; what it printed after byte {after} is missing")]
    EndedUnseen {
        /// How its program ended.
        status: ExitStatus,
        /// How far its output has come.
        after: u64,
    },
    /// The bytes that come next are no longer held, and this client wants each.
    #[error("the next {bytes} bytes, after byte {after}, are no longer held; attach again for what is")]
    Gap {
        /// How far the output has come.
        after: u64,
        /// How many bytes are missing.
        bytes: u64,
    },
    /// The server refused to attach.
    #[error(transparent)]
    Refused(RequestError),
    /// There is no connection, and none is to be expected.
    #[error(transparent)]
    NotConnected(#[from] ConnectError),
    /// The server ended the connection and said why, or sent what can't be understood.
    #[error(transparent)]
    Closed(ClientError),
    /// No connection could be made for as long as this client was told to try.
    #[error("the connection was lost, and none could be made for {} s", .0.as_secs())]
    TooLong(Duration),
}

/// More was typed than is kept until the server takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much was typed that the server has not taken; type it again later")]
pub struct InputFull;

/// Where the connection stands.
enum Line {
    Standing(Box<StandingLine>),
    Trying { attempt: Attempt, since: Instant },
    Over(Over),
}

struct StandingLine {
    client: Client,
    liveness: Liveness,
    begun: Instant,
    /// Anything of the session came over it.
    is_of_use: bool,
    /// A size that is to be told.
    size: Option<(TerminalSize, Option<PixelSize>)>,
}

/// What is said from now on.
#[derive(Clone, Copy)]
enum Over {
    Ended(ExitStatus),
    /// The reason was said.
    Said,
}

/// What was typed.
struct Typed {
    /// What was sent and not answered.
    stream: InputStream,
    /// What waits to be sent.
    waiting: BytesMut,
    /// Pieces of the stream that this connection has not sent.
    unsent: usize,
    /// The requests that sent the others, in their order.
    sent: VecDeque<u64>,
}

enum NotAttached {
    Connect(ConnectError),
    Resume(NotResumed),
}

impl ReconnectingClient {
    /// Connects with `connect`, and attaches to a session. From then on lost connections are made again, with `connect`
    /// too: [`Client::connect`], or [`Client::from_stream`] over a stream that it opens.
    ///
    /// # Errors
    /// [`ReconnectError::NotConnected`], [`Refused`](ReconnectError::Refused) or [`Closed`](ReconnectError::Closed).
    /// The first connection is tried once.
    pub async fn attach<C, F>(
        mut connect: C,
        session: impl Into<Target>,
        options: AttachOptions,
    ) -> Result<Self, ReconnectError>
    where
        C: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<Client, ConnectError>> + Send + 'static,
    {
        let mut connect: Connect = Box::new(move || Box::pin(connect()));
        let client = connect().await?;
        Self::begin(connect, client, None, session.into(), options).await
    }

    /// As [`attach`](Self::attach), by a link: it is redeemed on each connection, by one viewer. `session` is needed
    /// where the link is to all.
    ///
    /// # Errors
    /// As [`attach`](Self::attach); [`ReconnectError::Refused`] also where the link is not valid, then or later.
    pub async fn attach_by_link<C, F>(
        mut connect: C,
        token: LinkToken,
        session: Option<Target>,
        options: AttachOptions,
    ) -> Result<Self, ReconnectError>
    where
        C: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<Client, ConnectError>> + Send + 'static,
    {
        let mut connect: Connect = Box::new(move || Box::pin(connect()));
        let viewer = ViewerId::random();
        let mut client = connect().await?;
        let redeemed = client.redeem(token, viewer).await.map_err(not_begun)?;
        let linked = redeemed.session.map(|session| session.id.into());
        // Without any, the server says that all is not one.
        let session = session.or(linked).unwrap_or(Target::Here);
        Self::begin(connect, client, Some((token, viewer)), session, options).await
    }

    async fn begin(
        connect: Connect,
        mut client: Client,
        link: Option<(LinkToken, ViewerId)>,
        session: Target,
        options: AttachOptions,
    ) -> Result<Self, ReconnectError> {
        let attached = client.attach(session, options).await.map_err(not_begun)?;
        let keepalive = (!client.is_local()).then(Keepalive::default);
        Ok(Self {
            connect,
            link,
            options,
            line: Line::standing(client, keepalive),
            reached: Reached::Output(attached.start),
            news: VecDeque::new(),
            typing: Typed::into(attached.session),
            is_resized: false,
            backoff: Backoff::default(),
            keepalive,
            patience: None,
            attached,
        })
    }

    /// Sets how a line over which nothing comes is found to be lost; `None` for not at all, which is the default for a
    /// server of this machine: one that is stopped goes on where it was.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: Option<Keepalive>) -> Self {
        self.keepalive = keepalive;
        if let Line::Standing(line) = &mut self.line {
            line.liveness = line.client.incoming.liveness(keepalive);
        }
        self
    }

    /// Gives up once a connection could not be made again for this long. The default is to try for ever.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// What was attached to: when this client began, or last resumed.
    #[must_use]
    pub fn attached(&self) -> &AttachedTo {
        &self.attached
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.line, Line::Standing(_))
    }

    /// Types into the session, as soon as [`next`](Self::next) gets to it. Each byte is typed once, whatever becomes of
    /// the connection, unless [`Watched::InputLost`] says that some may be lost.
    ///
    /// # Errors
    /// [`InputFull`], and nothing is typed, if more than 64 KiB would wait.
    pub fn type_in(&mut self, data: &[u8]) -> Result<(), InputFull> {
        if self.typing.waiting.len() + data.len() > MAX_WAITING {
            return Err(InputFull);
        }
        self.typing.waiting.extend_from_slice(data);
        Ok(())
    }

    /// Bytes that were typed and that the session's terminal is not known to have.
    #[must_use]
    pub fn untyped_bytes(&self) -> usize {
        self.typing.waiting.len() + self.typing.stream.unanswered_bytes()
    }

    /// This client's terminal has this size now.
    pub fn set_size(&mut self, size: TerminalSize, pixels: Option<PixelSize>) {
        self.options = self.options.with_size(Some(size)).with_pixels(pixels);
        self.is_resized = true;
    }

    /// The next thing that comes of the session, for as long as that takes.
    ///
    /// # Errors
    /// [`ReconnectError`] once nothing more will come.
    ///
    /// # Cancel safety
    /// Cancel safe: an attempt to connect goes on with the next call.
    pub async fn next(&mut self) -> Result<Watched, ReconnectError> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Ok(news);
            }
            match &mut self.line {
                Line::Standing(line) => {
                    if std::mem::take(&mut self.is_resized) {
                        line.size = self.options.size.map(|size| (size, self.options.pixels));
                    }
                    match line.next(&mut self.typing).await {
                        Ok(incoming) => self.take_in(incoming),
                        Err(ClientError::Lost) => self.lost(),
                        Err(error) => {
                            self.line = Line::Over(Over::Said);
                            return Err(ReconnectError::Closed(error));
                        }
                    }
                }
                Line::Trying { attempt, since } => {
                    let left = self.patience.map(|patience| (patience, *since + patience));
                    let tried = tokio::select! {
                        tried = attempt => Some(tried),
                        () = until(left.map(|(_, end)| end)) => None,
                    };
                    let since = *since;
                    match (tried, left) {
                        (Some(Ok((client, attached))), _) => self.resumed(client, attached, since),
                        (Some(Err(failed)), _) => self.try_again(failed, since)?,
                        (None, Some((patience, _))) => {
                            self.line = Line::Over(Over::Said);
                            return Err(ReconnectError::TooLong(patience));
                        }
                        (None, None) => {}
                    }
                }
                Line::Over(Over::Ended(status)) => return Err(ReconnectError::Ended(*status)),
                Line::Over(Over::Said) => return Err(ReconnectError::Closed(ClientError::Lost)),
            }
        }
    }

    /// Takes in what came.
    fn take_in(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Output { offset, data } => {
                self.reached = Reached::Output(offset + data.len() as u64);
                self.news.push_back(Watched::Output { offset, data });
            }
            Incoming::Screen { offset, data } => {
                self.reached = Reached::Screen(offset);
                self.news.push_back(Watched::Screen { offset, data });
            }
            Incoming::Event(Event::Ended { session, status }) => {
                self.line = Line::Over(Over::Ended(status));
                self.news.push_back(Watched::Event(Event::Ended { session, status }));
            }
            // It provides nothing.
            Incoming::Provider { .. } => {}
            Incoming::Event(event) => self.news.push_back(Watched::Event(event)),
            Incoming::Reply { request, answer } => {
                self.news.extend(self.typing.answered(request, answer));
                if let Line::Standing(line) = &self.line {
                    line.liveness.waits(self.typing.is_waiting());
                }
            }
        }
    }

    fn lost(&mut self) {
        if let Line::Standing(line) = &self.line {
            self.backoff.lost(line.begun.elapsed(), line.is_of_use);
        }
        self.typing.lost();
        self.news.push_back(Watched::Lost);
        self.line = Line::Trying { attempt: self.attempt(), since: Instant::now() };
    }

    /// One try to watch on, over another connection.
    fn attempt(&mut self) -> Attempt {
        self.is_resized = false;
        let (pause, connecting) = (self.backoff.pause(), (self.connect)());
        let attach = Attach::new(self.attached.session.into(), self.options);
        let (reached, link) = (self.reached, self.link);
        let missed = if self.options.on_lag == OnLag::Resync { Missed::Screen } else { Missed::Nothing };
        Box::pin(async move {
            sleep(pause).await;
            let mut client = connecting.await.map_err(NotAttached::Connect)?;
            if let Some((token, viewer)) = link {
                let redeemed = client.redeem(token, viewer).await.map_err(NotResumed::of);
                redeemed.map_err(NotAttached::Resume)?;
            }
            let attached = resume(&mut client, attach, reached, missed, false).await;
            attached.map(|attached| (client, attached)).map_err(NotAttached::Resume)
        })
    }

    fn resumed(&mut self, client: Client, attached: AttachedTo, since: Instant) {
        self.line = Line::standing(client, self.keepalive);
        self.news.push_back(Watched::Resumed(attached.clone()));
        let from = self.reached.offset();
        if attached.start > from {
            self.news.push_back(Watched::Event(Event::Gap { from, to: attached.start }));
            self.reached = Reached::Screen(attached.start);
        }
        self.attached = attached;
        if since.elapsed() >= KNOWN_FOR {
            self.news.extend(self.typing.give_up(None));
        }
    }

    /// Tries again, where that may help.
    fn try_again(&mut self, failed: NotAttached, since: Instant) -> Result<(), ReconnectError> {
        let after = self.reached.offset();
        let error = match failed {
            NotAttached::Connect(error) if error.may_pass() => None,
            NotAttached::Resume(NotResumed::Passing) => None,
            NotAttached::Connect(error) => Some(ReconnectError::NotConnected(error)),
            NotAttached::Resume(NotResumed::Gap(bytes)) => Some(ReconnectError::Gap { after, bytes }),
            NotAttached::Resume(NotResumed::Refused(RequestError::SessionEnded { status, .. })) => {
                Some(ReconnectError::EndedUnseen { status, after })
            }
            NotAttached::Resume(NotResumed::Refused(refused)) => Some(ReconnectError::Refused(refused)),
        };
        match error {
            None => {
                self.line = Line::Trying { attempt: self.attempt(), since };
                Ok(())
            }
            Some(error) => {
                self.line = Line::Over(Over::Said);
                Err(error)
            }
        }
    }
}

/// Why a client does not begin.
fn not_begun(error: ClientError) -> ReconnectError {
    match error {
        ClientError::Refused(refused) => ReconnectError::Refused(refused),
        error => ReconnectError::Closed(error),
    }
}

impl Line {
    fn standing(client: Client, keepalive: Option<Keepalive>) -> Self {
        let liveness = client.incoming.liveness(keepalive);
        let (begun, is_of_use, size) = (Instant::now(), false, None);
        Self::Standing(Box::new(StandingLine { client, liveness, begun, is_of_use, size }))
    }
}

/// Says when this side no longer reads: its caller may be away for long.
struct Reading<'a>(&'a Liveness);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.reads(false);
    }
}

impl StandingLine {
    /// Sends what there is to send until something comes.
    async fn next(&mut self, typing: &mut Typed) -> Result<Incoming, ClientError> {
        self.liveness.reads(true);
        let _reading = Reading(&self.liveness);
        loop {
            if let Some(early) = self.client.early.pop() {
                return Ok(early);
            }
            if !self.client.requests.is_sending()
                && let Some(request) =
                    self.size.take().map(|size| typing.resize(size)).or_else(|| typing.next())
            {
                let id = self.client.requests.begin(&request)?;
                if matches!(request, ClientMessage::Input { .. }) {
                    typing.sent.push_back(id);
                    self.liveness.waits(true);
                } else {
                    self.liveness.asks();
                }
            }
            let is_sending = self.client.requests.is_sending();
            tokio::select! {
                biased;
                // First, so that a flood does not keep what is typed from its turn.
                sent = self.client.requests.finish(), if is_sending => sent?,
                incoming = self.client.incoming.next() => {
                    self.is_of_use |= !matches!(incoming, Ok(Incoming::Reply { .. }) | Err(_));
                    return incoming;
                }
                () = self.liveness.ping_due(), if !is_sending => {
                    self.client.requests.begin(&ClientMessage::Ping)?;
                    self.liveness.asks();
                }
                () = self.liveness.lost() => return Err(ClientError::Lost),
            }
        }
    }
}

impl Typed {
    fn into(session: SessionId) -> Self {
        Self { stream: InputStream::new(session), waiting: BytesMut::new(), unsent: 0, sent: VecDeque::new() }
    }

    /// Whether anything that was sent is not answered.
    fn is_waiting(&self) -> bool {
        self.stream.unanswered().next().is_some()
    }

    /// Says that the terminal has this size now.
    fn resize(&self, (size, pixels): (TerminalSize, Option<PixelSize>)) -> ClientMessage {
        ClientMessage::Resize { session: self.stream.session(), size, pixels }
    }

    /// The next piece to be sent: of those that an earlier connection was lost with, or of what waits.
    fn next(&mut self) -> Option<ClientMessage> {
        let pieces = self.stream.unanswered().count();
        if self.unsent > 0 {
            let next = self.stream.unanswered().nth(pieces - self.unsent);
            self.unsent -= 1;
            return next;
        }
        let room = MAX_SENT - self.stream.unanswered_bytes();
        if self.waiting.is_empty() || pieces >= MAX_PIECES || room < self.waiting.len() {
            return None;
        }
        Some(self.stream.push(self.waiting.split().freeze()))
    }

    /// A request is answered, which may be one of the stream's. Returns what its sender is to be told.
    fn answered(&mut self, request: u64, answer: Result<Reply, RequestError>) -> Option<Watched> {
        match answer {
            // The answer to something else, or to what was given up.
            _ if !self.sent.contains(&request) => None,
            Ok(_) => {
                self.sent.pop_front();
                self.stream.answered();
                None
            }
            Err(why) => self.give_up(Some(why)),
        }
    }

    /// Gives up what was sent and not answered.
    fn give_up(&mut self, why: Option<RequestError>) -> Option<Watched> {
        let bytes = self.stream.unanswered_bytes();
        self.stream = InputStream::new(self.stream.session());
        self.unsent = 0;
        self.sent.clear();
        (bytes > 0).then_some(Watched::InputLost { bytes, why })
    }

    fn lost(&mut self) {
        self.unsent = self.stream.unanswered().count();
        self.sent.clear();
    }
}

/// Waits until this time; for ever without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for ReconnectingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingClient")
            .field("attached", &self.attached)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
