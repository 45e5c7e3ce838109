//! The client's side of the wire: what the command line, the tests and the benchmarks speak to a server with.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use rustix::process::geteuid;
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_stream::StreamExt;
use tokio_util::codec::FramedRead;

use crate::{
    ClientId,
    message::{AttachedTo, ClientMessage, CloseReason, Event, Reply, RequestError},
    wire::{self, Frame, FrameDecoder, Hello, HelloReply, Kind, Side, WireError},
};

/// How often and how long connecting is tried while the server's backlog is full, or the server ends: about a second.
const CONNECT_TRIES: u32 = 50;
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of the read buffer: one whole frame of output.
const READ_BUFFER: usize = wire::HEADER_LEN + wire::MAX_OUTPUT;

/// A connection to a server.
///
/// # Examples
/// ```no_run
/// use fugue_server::{Client, default_socket_path, message::{ClientMessage, Reply}};
///
/// # async fn list() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect(&default_socket_path()).await?;
/// if let Reply::Sessions(sessions) = client.request(&ClientMessage::List).await? {
///     println!("{} sessions", sessions.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    id: ClientId,
    requests: Requests,
    incoming: IncomingFrames,
    /// What came while a reply was awaited.
    early: VecDeque<Incoming>,
}

/// The half of a connection that sends requests.
#[derive(Debug)]
pub struct Requests {
    socket: OwnedWriteHalf,
    last_id: u64,
}

/// The half of a connection that receives.
#[derive(Debug)]
pub struct IncomingFrames {
    frames: FramedRead<OwnedReadHalf, FrameDecoder>,
}

/// Something from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Output of the watched session.
    Output {
        /// Where `data` starts in the session's stream.
        offset: u64,
        /// What the program printed.
        data: Bytes,
    },
    /// A piece of a drawn screen: bytes for a terminal, which reset it first. The pieces of one screen follow each other.
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
    /// News. [`Event::Closing`] arrives as [`ClientError::Closed`] instead.
    Event(Event),
}

/// A connection was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing listens there.
    #[error("no server listens on {}; start one with `fugue-server serve`", .0.display())]
    NoServer(PathBuf),
    /// A server listens, and will not talk to this client.
    #[error("the server refused the connection: {0}")]
    Refused(String),
    /// Whoever listens there is another user, who is not to have what this one types.
    #[error(
        "the server on {} belongs to user {owner}; choose a socket in a directory of your own",
        path.display()
    )]
    NotOurs {
        /// The socket.
        path: PathBuf,
        /// The user id its server runs as.
        owner: u32,
    },
    /// The system refused.
    #[error("connecting to {} failed", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What answered is no server of ours.
    #[error("what listens there does not speak this protocol")]
    Wire(#[from] WireError),
}

/// A request failed, or the connection ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused the request; the connection stands.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The server closed the connection and said why.
    #[error("closed by the server: {0}")]
    Closed(CloseReason),
    /// The connection ended without a word: the server is gone.
    #[error("the connection to the server was lost")]
    Lost,
    /// The server sent what can't be understood.
    #[error("the server sent what this client does not understand")]
    Wire(#[source] WireError),
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Cut | WireError::Io(_) => Self::Lost,
            other => Self::Wire(other),
        }
    }
}

impl Client {
    /// Connects and shakes hands. Nothing is said to a server that another user runs.
    ///
    /// # Errors
    /// [`ConnectError`]: nothing listens, the server refuses, or what listens is something else or somebody else's.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let mut tries = 0;
        loop {
            match Self::try_connect(socket).await {
                // A server that ends, or is killed, lets in who it will not answer. Then there is none, or the next one.
                Err(ConnectError::Wire(WireError::Cut | WireError::Io(_))) if tries < CONNECT_TRIES => {
                    tries += 1;
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn try_connect(socket: &Path) -> Result<Self, ConnectError> {
        let stream = connect(socket).await?;
        check_owner(&stream, socket)?;
        let (read, mut write) = stream.into_split();
        let mut frames = FramedRead::with_capacity(read, FrameDecoder::new(Side::Server), READ_BUFFER);
        // A server that refuses may have closed already; what it said is still there to be read.
        let hello = write.write_all(&Hello::encode()).await;
        let reply = match frames.next().await {
            Some(Ok(Frame { kind: Kind::HelloReply, payload, .. })) => HelloReply::decode(&payload)?,
            Some(Ok(_)) => return Err(WireError::Payload { what: "hello reply" }.into()),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(hello.map_or_else(WireError::Io, |()| WireError::Cut).into()),
        };
        match reply {
            HelloReply::Welcome { client: id } => Ok(Self {
                id,
                requests: Requests { socket: write, last_id: 0 },
                incoming: IncomingFrames { frames },
                early: VecDeque::new(),
            }),
            HelloReply::Refused { why, .. } => Err(ConnectError::Refused(why)),
        }
    }

    /// The id the server's registry knows this connection by.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Sends a request and waits for its answer. What else arrives meanwhile is kept for [`next`](Self::next).
    ///
    /// # Errors
    /// [`ClientError`]: the request was refused, or the connection ended.
    pub async fn request(&mut self, request: &ClientMessage) -> Result<Reply, ClientError> {
        let id = self.requests.send(request).await?;
        loop {
            match self.incoming.next().await? {
                Incoming::Reply { request, answer } if request == id => return Ok(answer?),
                other => self.early.push_back(other),
            }
        }
    }

    /// As [`request`](Self::request), for the two requests that are answered with [`Reply::Attached`].
    ///
    /// # Errors
    /// [`ClientError`]: the request was refused, or the connection ended.
    pub async fn attach(&mut self, request: &ClientMessage) -> Result<AttachedTo, ClientError> {
        match self.request(request).await? {
            Reply::Attached(attached) => Ok(attached),
            _ => Err(ClientError::Wire(WireError::Payload { what: "reply to an attach" })),
        }
    }

    /// Sends a request without waiting for its answer, which [`next`](Self::next) will bring. As [`Requests::send`].
    ///
    /// # Errors
    /// As [`Requests::send`].
    pub async fn send(&mut self, request: &ClientMessage) -> Result<u64, ClientError> {
        self.requests.send(request).await
    }

    /// The next thing from the server.
    ///
    /// # Errors
    /// [`ClientError`] once the connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        match self.early.pop_front() {
            Some(early) => Ok(early),
            None => self.incoming.next().await,
        }
    }

    /// The two halves, to send and receive at once, and what has arrived already.
    #[must_use]
    pub fn into_split(self) -> (Requests, IncomingFrames, VecDeque<Incoming>) {
        (self.requests, self.incoming, self.early)
    }
}

impl Requests {
    /// Sends a request and returns the id that its answer will bear.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when the connection has ended; [`ClientError::Wire`] when the request is too long for a
    /// frame, which leaves the connection as it was.
    ///
    /// # Cancel safety
    /// Not cancel safe: a part of the request may have been sent.
    pub async fn send(&mut self, request: &ClientMessage) -> Result<u64, ClientError> {
        let id = self.last_id + 1;
        let frame = wire::encode_request(id, request)?;
        self.last_id = id;
        match self.socket.write_all(&frame).await {
            Ok(()) => Ok(id),
            Err(_) => Err(ClientError::Lost),
        }
    }
}

impl IncomingFrames {
    /// The next thing from the server.
    ///
    /// # Errors
    /// [`ClientError`] once the connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        let Frame { kind, a, payload } = self.frames.next().await.ok_or(ClientError::Lost)??;
        match kind {
            Kind::Output => Ok(Incoming::Output { offset: a, data: payload }),
            Kind::Screen => Ok(Incoming::Screen { offset: a, data: payload }),
            Kind::Reply => Ok(Incoming::Reply { request: a, answer: wire::decode_reply(&payload)? }),
            Kind::Event => match wire::decode_event(&payload)? {
                Event::Closing(reason) => Err(ClientError::Closed(reason)),
                event => Ok(Incoming::Event(event)),
            },
            _ => Err(ClientError::Wire(WireError::Payload { what: "message after the handshake" })),
        }
    }
}

/// Makes sure that a server is this user's. Anybody may have made the default directory in `/tmp` before us, and put a
/// socket into it to learn our environment and our keys.
fn check_owner(stream: &UnixStream, socket: &Path) -> Result<(), ConnectError> {
    let failed = |source| ConnectError::Io { path: socket.to_owned(), source };
    match stream.peer_cred().map_err(failed)?.uid() {
        owner if owner == geteuid().as_raw() => Ok(()),
        owner => Err(ConnectError::NotOurs { path: socket.to_owned(), owner }),
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, ConnectError> {
    let mut tries = 0;
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
            io::ErrorKind::WouldBlock if tries < CONNECT_TRIES => {
                tries += 1;
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            _ => return Err(ConnectError::Io { path: socket.to_owned(), source: error }),
        }
    }
}
