//! The client's side of the wire: what the command line, the tests and the benchmarks speak to a server with.

mod backoff;
mod error;
#[cfg(feature = "cli")]
mod figures;
mod input_stream;
mod liveness;
mod provider;
mod reconnecting;
mod requests;
mod resume;
mod stream;

use std::{collections::VecDeque, io, path::Path, time::Duration};

use bytes::Bytes;
use rustix::process::geteuid;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

#[cfg(feature = "cli")]
pub(crate) use self::figures::{Figure, FigureKind, SERVER_FIGURES, SESSION_FIGURES};
use self::stream::{StreamReader, StreamWriter, halves, halves_of_socket};
pub(crate) use self::{
    backoff::Backoff,
    liveness::Liveness,
    resume::{Missed, NotResumed, Reached, resume},
};
pub use self::{
    error::{ClientError, ConnectError},
    input_stream::InputStream,
    liveness::Keepalive,
    provider::{ProvideError, Provider},
    reconnecting::{InputFull, ReconnectError, ReconnectingClient, Watched},
};
use crate::{
    ClientId, SessionId,
    message::{ClientMessage, Event, ProviderNews, Reply, RequestError},
    wire::{self, Frame, FrameReader, Hello, HelloReply, Kind, Side, WireError},
};

/// How long a server has to let a client in and answer its hello. It does both at once, unless it is stopped.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server has to answer a request, unless told otherwise: see [`Client::set_request_timeout`].
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer that is for starting a program, for ending one, which has a grace, and for attaching, which waits
/// for what is on its way.
const LONGER: u32 = 3;

/// The pause before connecting is tried again, while the server's backlog is full or the server ends.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// How often it is tried again with a server that ends: for about a second.
const CONNECT_TRIES: u32 = 50;

/// The most that is kept of what arrives before an answer: as much as a session holds, unless told otherwise.
const MAX_EARLY: usize = 4 * 1024 * 1024;

/// A connection to a server.
///
/// # Examples
/// ```no_run
/// use fugue_server::{Client, default_socket_path};
///
/// # async fn list() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect(&default_socket_path()).await?;
/// println!("{} sessions", client.list().await?.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    id: ClientId,
    requests: Requests,
    incoming: IncomingFrames,
    early: Early,
    request_timeout: Duration,
    /// The server's process, where that is known.
    process: Option<i32>,
    /// What the server can do beyond the version.
    features: u64,
    /// A ping of our own that is not answered.
    ping: Option<u64>,
}

/// What came while a reply was awaited.
#[derive(Debug, Default)]
struct Early {
    queue: VecDeque<Incoming>,
    bytes: usize,
}

impl Early {
    fn push(&mut self, incoming: Incoming) {
        self.bytes += weight(&incoming);
        self.queue.push_back(incoming);
    }

    fn pop(&mut self) -> Option<Incoming> {
        let incoming = self.queue.pop_front()?;
        self.bytes -= weight(&incoming);
        Some(incoming)
    }

    /// The answer to this request, if it came while another was awaited.
    fn take_answer(&mut self, id: u64) -> Option<Result<Reply, RequestError>> {
        let is_it =
            |incoming: &Incoming| matches!(incoming, Incoming::Reply { request, .. } if *request == id);
        let incoming = self.queue.remove(self.queue.iter().position(is_it)?)?;
        self.bytes -= weight(&incoming);
        if let Incoming::Reply { answer, .. } = incoming { Some(answer) } else { None }
    }

    fn is_full(&self) -> bool {
        self.bytes > MAX_EARLY
    }
}

/// About what is held for it.
fn weight(incoming: &Incoming) -> usize {
    let data = match incoming {
        Incoming::Output { data, .. } | Incoming::Screen { data, .. } => data.len(),
        Incoming::Provider { news: ProviderNews::Typed { data, .. }, .. } => data.len(),
        Incoming::Event(Event::Notice(text)) => text.len(),
        _ => 0,
    };
    size_of::<Incoming>() + data
}

/// The half of a connection that sends requests.
#[derive(Debug)]
pub struct Requests {
    stream: StreamWriter,
    last_id: u64,
    /// The rest of a request whose sending was cut short.
    unsent: Bytes,
}

/// The half of a connection that receives.
#[derive(Debug)]
pub struct IncomingFrames {
    frames: FrameReader<StreamReader>,
}

#[cfg(feature = "web")]
impl IncomingFrames {
    /// Receives output in pieces of about so many bytes.
    pub(crate) fn set_at_once(&mut self, bytes: usize) {
        self.frames.set_at_once(bytes);
    }
}

/// Something from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// Output of the watched session.
    Output {
        /// Where `data` starts in the session's stream.
        offset: u64,
        /// What the program printed.
        data: Bytes,
    },
    /// A piece of a drawn screen: bytes for a terminal, which reset it first. The pieces of one screen follow each
    /// other. Before the first there may be one with what no screen shows, such as a bell, or a question for the
    /// terminal.
    Screen {
        /// Where output goes on after this screen.
        offset: u64,
        /// What to write to the terminal.
        data: Bytes,
    },
    /// The answer to a request.
    Reply {
        /// The id that [`Requests::send`] returned.
        request: u64,
        /// The answer.
        answer: Result<Reply, RequestError>,
    },
    /// What this client is told of a session that it provides.
    Provider {
        /// Which session.
        session: SessionId,
        /// What it is told.
        news: ProviderNews,
    },
    /// News. [`Event::Closing`] arrives as [`ClientError::Closed`] instead.
    Event(Event),
}

impl Client {
    /// Connects and shakes hands, within [`CONNECT_TIMEOUT`]. Nothing is said to a server that another user runs.
    ///
    /// # Errors
    /// [`ConnectError`]: nothing listens, the server refuses or does not answer, or what listens is something else or
    /// somebody else's.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let mut process = None;
        match timeout(CONNECT_TIMEOUT, Self::connect_and_greet(socket, &mut process)).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::NoAnswer {
                path: Some(socket.to_owned()),
                process,
                waited: CONNECT_TIMEOUT,
            }),
        }
    }

    async fn connect_and_greet(socket: &Path, process: &mut Option<i32>) -> Result<Self, ConnectError> {
        let mut tries = 0;
        loop {
            let stream = connect(socket).await?;
            *process = check_owner(&stream, socket)?;
            match Self::greet(halves_of_socket(stream), *process).await {
                // A server that ends, or is killed, lets in who it will not answer. Then there is none, or the next
                // one.
                Err(ConnectError::Wire(WireError::Cut | WireError::Io(_))) if tries < CONNECT_TRIES => {
                    tries += 1;
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// The server's process, by its number for this one, where the system tells.
    #[cfg(feature = "cli")]
    pub(crate) fn server_process(&self) -> Option<i32> {
        self.process.filter(|process| *process > 0)
    }

    /// Shakes hands over a stream that leads to a server, within [`CONNECT_TIMEOUT`]: a socket, a
    /// child's pipes (`tokio::io::join`), or one end of `tokio::io::duplex`.
    ///
    /// The server sees what comes over it as this user's, and this client believes what it says. Whoever opens the
    /// stream makes sure of who is at its other end.
    ///
    /// # Errors
    /// [`ConnectError`], as [`connect`](Self::connect).
    pub async fn from_stream(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let greeted = timeout(CONNECT_TIMEOUT, Self::greet(halves(stream), None)).await;
        let waited = CONNECT_TIMEOUT;
        greeted.unwrap_or(Err(ConnectError::NoAnswer { path: None, process: None, waited }))
    }

    /// As [`from_stream`](Self::from_stream), over a stream that a hello was sent over.
    #[cfg(feature = "cli")]
    pub(crate) async fn from_greeted(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let welcomed = timeout(CONNECT_TIMEOUT, Self::welcomed(halves(stream), Ok(()), None)).await;
        let waited = CONNECT_TIMEOUT;
        welcomed.unwrap_or(Err(ConnectError::NoAnswer { path: None, process: None, waited }))
    }

    /// A connection to a server of this user's, over which nothing was said yet.
    #[cfg(feature = "cli")]
    pub(crate) async fn open(socket: &Path) -> Result<UnixStream, ConnectError> {
        let stream = connect(socket).await?;
        check_owner(&stream, socket)?;
        Ok(stream)
    }

    async fn greet(
        (read, mut write): (StreamReader, StreamWriter),
        process: Option<i32>,
    ) -> Result<Self, ConnectError> {
        // A server that refuses may have closed already; what it said is still there to be read.
        let hello = match write.write_all(&Hello::encode()).await {
            Ok(()) => write.flush().await,
            failed => failed,
        };
        Self::welcomed((read, write), hello, process).await
    }

    /// Takes in the answer to a hello, of which this is how it was sent.
    async fn welcomed(
        (read, write): (StreamReader, StreamWriter),
        hello: io::Result<()>,
        process: Option<i32>,
    ) -> Result<Self, ConnectError> {
        let mut frames = FrameReader::new(read, Side::Server);
        let payload = match frames.next().await? {
            Some(Frame { kind: Kind::HelloReply, payload, .. }) => payload,
            Some(_) => return Err(WireError::Payload { what: "hello reply" }.into()),
            None => return Err(hello.map_or_else(WireError::Io, |()| WireError::Cut).into()),
        };
        match HelloReply::version(&payload) {
            Some(version) if !(wire::OLDEST_VERSION..=wire::VERSION).contains(&version) => {
                return Err(ConnectError::OtherVersion { server: version, process });
            }
            _ => {}
        }
        match HelloReply::decode(&payload)? {
            HelloReply::Welcome { client: id, features, .. } => Ok(Self {
                id,
                requests: Requests { stream: write, last_id: 0, unsent: Bytes::new() },
                incoming: IncomingFrames { frames },
                early: Early::default(),
                request_timeout: REQUEST_TIMEOUT,
                process,
                features,
                ping: None,
            }),
            HelloReply::Refused { why, .. } => Err(ConnectError::Refused(why)),
        }
    }

    /// The id the server's registry knows this connection by.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Whether the server is reached by its socket, and so runs on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.requests.is_local()
    }

    /// Whether the server knows clients whose terminal takes whatever size a session has: see
    /// [`AttachOptions::following`](crate::message::AttachOptions::following).
    #[must_use]
    pub fn can_follow(&self) -> bool {
        self.features & wire::FOLLOWS != 0
    }

    /// Whether the server knows sessions that a client [provides](Self::provide), and what is typed at terminals
    /// elsewhere.
    #[must_use]
    pub fn can_provide(&self) -> bool {
        self.features & wire::PROVIDES != 0
    }

    /// How long the server has to answer a request; the default is [`REQUEST_TIMEOUT`].
    ///
    /// Creating, attaching and killing may take three times as long. Input is answered once its program takes it, and a
    /// wait once the session has ended; both are waited for as long as the server answers pings within this time.
    pub fn set_request_timeout(&mut self, timeout: Duration) {
        self.request_timeout = timeout;
    }

    /// Sends a request and waits for its answer, as long as [`set_request_timeout`](Self::set_request_timeout) says.
    /// What else arrives meanwhile is kept for [`next`](Self::next), up to 4 MiB. Each kind of request has a method of
    /// its own, which returns what its reply holds.
    ///
    /// # Errors
    /// [`ClientError`]: the request was refused, or not answered; too much arrived before its answer; or the connection
    /// ended.
    ///
    /// # Cancel safety
    /// Nothing is lost and the connection stands. The request may have been sent, or is sent with the next one; then
    /// [`next`](Self::next) brings its answer.
    pub async fn request(&mut self, request: &ClientMessage) -> Result<Reply, ClientError> {
        if self.early.is_full() {
            return Err(ClientError::Backlog { request: None });
        }
        let waited = match request {
            ClientMessage::Input { .. } | ClientMessage::Wait { .. } => {
                let id = self.send(request).await?;
                return self.answer(id).await;
            }
            ClientMessage::Create(_) | ClientMessage::Attach(_) | ClientMessage::Kill { .. } => {
                self.request_timeout * LONGER
            }
            _ => self.request_timeout,
        };
        let answered = async {
            let id = self.requests.send(request).await?;
            loop {
                if let Some(answer) = self.receive_for(id).await? {
                    return Ok(answer?);
                }
            }
        };
        let answered = timeout(waited, answered).await;
        answered.unwrap_or(Err(ClientError::NoAnswer { process: self.process, waited }))
    }

    /// Waits for the answer to a request that was sent, as long as the server answers pings. What else arrives
    /// meanwhile is kept for [`next`](Self::next), up to 4 MiB.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    /// As [`request`](Self::request).
    pub async fn answer(&mut self, request: u64) -> Result<Reply, ClientError> {
        if let Some(answer) = self.early.take_answer(request) {
            return Ok(answer?);
        }
        loop {
            let waited = self.request_timeout;
            match timeout(waited, self.receive_for(request)).await {
                Ok(Ok(Some(answer))) => return Ok(answer?),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) if self.ping.is_none() => self.ping = Some(self.send(&ClientMessage::Ping).await?),
                Err(_) => return Err(ClientError::NoAnswer { process: self.process, waited }),
            }
        }
    }

    /// Receives one thing: an answer to this request, or something to keep.
    async fn receive_for(&mut self, id: u64) -> Result<Option<Result<Reply, RequestError>>, ClientError> {
        match self.receive().await? {
            Incoming::Reply { request, answer } if request == id => return Ok(Some(answer)),
            other => self.early.push(other),
        }
        if self.early.is_full() {
            return Err(ClientError::Backlog { request: Some(id) });
        }
        Ok(None)
    }

    /// The next thing but the answer to a ping of our own.
    async fn receive(&mut self) -> Result<Incoming, ClientError> {
        loop {
            match self.incoming.next().await? {
                Incoming::Reply { request, .. } if self.ping == Some(request) => self.ping = None,
                other => return Ok(other),
            }
        }
    }

    /// Sends a request without waiting for its answer, which [`next`](Self::next) will bring, or
    /// [`answer`](Self::answer). As [`Requests::send`], but a server that takes nothing is not waited for beyond
    /// [`set_request_timeout`](Self::set_request_timeout).
    ///
    /// # Errors
    /// As [`Requests::send`]; and [`ClientError::NoAnswer`].
    ///
    /// # Cancel safety
    /// As [`Requests::send`].
    pub async fn send(&mut self, request: &ClientMessage) -> Result<u64, ClientError> {
        let waited = self.request_timeout;
        let sent = timeout(waited, self.requests.send(request)).await;
        sent.unwrap_or(Err(ClientError::NoAnswer { process: self.process, waited }))
    }

    /// The next thing from the server, for as long as that takes.
    ///
    /// # Errors
    /// [`ClientError`] once the connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        match self.early.pop() {
            Some(early) => Ok(early),
            None => self.receive().await,
        }
    }

    /// The two halves, to send and receive at once, and what has arrived already.
    #[must_use]
    pub fn into_split(self) -> (Requests, IncomingFrames, VecDeque<Incoming>) {
        (self.requests, self.incoming, self.early.queue)
    }
}

impl Requests {
    /// As [`Client::is_local`].
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.stream, StreamWriter::Socket(_))
    }

    /// Whether the server has closed the connection, though what it said before is still to be received.
    #[cfg(feature = "web")]
    pub(crate) fn is_hung_up(&self) -> bool {
        self.stream.is_hung_up()
    }

    /// Sends a request and returns the id that its answer will bear.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when the connection has ended; [`ClientError::Wire`] when the request is too long for a
    /// frame, which leaves the connection as it was.
    ///
    /// # Cancel safety
    /// The connection stands. A request of which a part was sent is sent whole before the next one.
    pub async fn send(&mut self, request: &ClientMessage) -> Result<u64, ClientError> {
        let id = self.last_id + 1;
        let frame = wire::encode_request(id, request)?;
        self.finish().await?;
        self.last_id = id;
        self.unsent = frame;
        self.finish().await?;
        Ok(id)
    }

    /// Begins to send a request where none is being sent, and returns the id that its answer will bear.
    fn begin(&mut self, request: &ClientMessage) -> Result<u64, ClientError> {
        debug_assert!(!self.is_sending(), "one request after another");
        self.unsent = wire::encode_request(self.last_id + 1, request)?;
        self.last_id += 1;
        Ok(self.last_id)
    }

    /// Whether a part of a request is still to be sent.
    fn is_sending(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends the rest of a request.
    async fn finish(&mut self) -> Result<(), ClientError> {
        self.stream.write_all_buf(&mut self.unsent).await.map_err(|_| ClientError::Lost)?;
        self.stream.flush().await.map_err(|_| ClientError::Lost)
    }
}

impl IncomingFrames {
    /// What is known of whether the line to the server stands, from now on.
    pub(crate) fn liveness(&self, times: Option<Keepalive>) -> Liveness {
        Liveness::new(times, self.frames.get_ref().heard())
    }

    /// The next thing from the server.
    ///
    /// # Errors
    /// [`ClientError`] once the connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        let Frame { kind, a, payload } = self.frames.next().await?.ok_or(ClientError::Lost)?;
        match kind {
            Kind::Output => Ok(Incoming::Output { offset: a, data: payload }),
            Kind::Screen => Ok(Incoming::Screen { offset: a, data: payload }),
            Kind::Reply => Ok(Incoming::Reply { request: a, answer: wire::decode_reply(&payload)? }),
            Kind::Provider => {
                let (session, news) = wire::decode_news(&payload)?;
                Ok(Incoming::Provider { session, news })
            }
            Kind::Event => match wire::decode_event(&payload)? {
                Event::Closing(reason) => Err(ClientError::Closed(reason)),
                event => Ok(Incoming::Event(event)),
            },
            _ => Err(ClientError::Wire(WireError::Payload { what: "message after the handshake" })),
        }
    }
}

/// Makes sure that a server is this user's. Anybody may have made the default directory in `/tmp` before us, and put a
/// socket into it to learn our environment and our keys. Returns the server's process.
fn check_owner(stream: &UnixStream, socket: &Path) -> Result<Option<i32>, ConnectError> {
    let failed = |source| ConnectError::Io { path: socket.to_owned(), source };
    let peer = stream.peer_cred().map_err(failed)?;
    match peer.uid() {
        owner if owner == geteuid().as_raw() => {
            Ok(peer.pid().filter(|process| !is_service_manager(*process)))
        }
        owner => Err(ConnectError::NotOurs { path: socket.to_owned(), owner }),
    }
}

/// Whether this process is systemd. The kernel names who listened on a socket first, which is not the server where a
/// service manager made it; nobody is to be advised to end that.
fn is_service_manager(process: i32) -> bool {
    std::fs::read(format!("/proc/{process}/comm")).is_ok_and(|name| name == b"systemd\n")
}

async fn connect(socket: &Path) -> Result<UnixStream, ConnectError> {
    loop {
        let error = match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                return Err(ConnectError::NoServer(socket.to_owned()));
            }
            // The server is there, and has more new connections than it could look at yet.
            io::ErrorKind::WouldBlock => tokio::time::sleep(CONNECT_PAUSE).await,
            _ => return Err(ConnectError::Io { path: socket.to_owned(), source: error }),
        }
    }
}
