//! What other processes of this user ask a node for: a line of JSON over a socket beside the server's, and a line back.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{figure::NodeFigure, message::RemoteSession};
use crate::{
    SessionId,
    message::{Create, SessionChange, Target},
};

/// The longest request, in bytes, and the longest answer. A session's command and variables are lists of numbers.
const MAX_REQUEST: u64 = 256 * 1024;
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// How long a request may take to come, and an answer.
const REQUEST_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// How long figures are waited for that somebody else waits for.
#[cfg(feature = "web")]
const FIGURES_TIME: Duration = Duration::from_secs(1);

/// The pause where no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ControlRequest {
    /// Watch that session of that node: from its first byte on, or from its screen.
    Watch { host: String, session: Target, from_start: bool },
    /// Start a session on that node.
    Create { host: String, create: Box<Create> },
    /// Change a session of that node.
    Change { host: String, session: Target, change: SessionChange },
    /// Which nodes there are; and which sessions they have, if that is wanted.
    Nodes { with_sessions: bool },
    /// What the node counts.
    Figures,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ControlAnswer {
    /// The local server has the session, under this id.
    Watching {
        session: SessionId,
    },
    Created {
        session: SessionId,
    },
    Changed,
    Nodes(Vec<NodeLine>),
    Figures(Vec<NodeFigure>),
    /// That node has no such session.
    NoSession(String),
    /// It has a session of this name.
    NameTaken(String),
    /// Why not.
    Refused(String),
}

/// A node, as lists have it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeLine {
    pub(crate) name: String,
    pub(crate) is_lost: bool,
    /// Seconds since it was heard of.
    pub(crate) heard_seconds: u64,
    /// Streams that it sends to others.
    pub(crate) streams: u32,
    pub(crate) sessions: Vec<SessionLine>,
}

/// A session of a node, as lists have it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) size: String,
    pub(crate) printed: u64,
    pub(crate) is_running: bool,
}

impl From<&RemoteSession> for SessionLine {
    fn from(session: &RemoteSession) -> Self {
        let RemoteSession { id, name, size, printed, is_running } = session;
        Self {
            id: id.to_string(),
            name: name.to_string(),
            size: size.to_string(),
            printed: *printed,
            is_running: *is_running,
        }
    }
}

/// Why a node can't be asked, or can't listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("no node runs on this machine: start one with `fugue-server node --name NAME --nats URL`")]
    NoNode,
    #[error("a node runs at {} already; end it, or give this one another --socket", .0.display())]
    Taken(PathBuf),
    #[error("{}: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("the node does not answer; look into its log")]
    NoAnswer,
    #[error("the system has no random source: {0}")]
    Random(String),
}

/// Where a node listens whose server is at `socket`.
pub(crate) fn control_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".node");
    path.into()
}

/// Asks the node whose server is at `socket`.
///
/// # Errors
/// [`ControlError`]: there is no node, or it does not answer in time.
pub(crate) async fn ask(socket: &Path, request: &ControlRequest) -> Result<ControlAnswer, ControlError> {
    let path = control_path(socket);
    let failed = |source| ControlError::Socket { path: path.clone(), source };
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Err(ControlError::NoNode),
        Err(error) => return Err(failed(error)),
    };
    if !is_own(&stream) {
        return Err(failed(io::Error::other("another user listens there")));
    }
    let answered = timeout(ANSWER_TIME, async {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut line = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut line).await?;
        Ok(serde_json::from_slice(&line)?)
    });
    answered.await.map_err(|_| ControlError::NoAnswer)?.map_err(failed)
}

/// What the node whose server is at `socket` counts, if one runs and answers soon.
#[cfg(feature = "web")]
pub(crate) async fn figures_soon(socket: &Path) -> Option<Vec<NodeFigure>> {
    match timeout(FIGURES_TIME, ask(socket, &ControlRequest::Figures)).await {
        Ok(Ok(ControlAnswer::Figures(figures))) => Some(figures),
        _ => None,
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Whether this user is at the other end.
fn is_own(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// A request, and where its answer goes.
type Asked = (ControlRequest, oneshot::Sender<ControlAnswer>);

/// Listens for what is asked. The socket is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlListener {
    path: PathBuf,
    _task: AbortOnDropHandle<()>,
}

impl ControlListener {
    /// Listens beside the server's socket, and passes on what this user asks.
    ///
    /// # Errors
    /// [`ControlError`]: another node listens there, or nobody can.
    pub(crate) fn bind(socket: &Path, asked: mpsc::Sender<Asked>) -> Result<Self, ControlError> {
        let path = control_path(socket);
        let failed = |source| ControlError::Socket { path: path.clone(), source };
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(ControlError::Taken(path));
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, asked)));
        Ok(Self { path, _task: task })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One at a time: each is soon over, and nobody is let in who does not speak in time.
async fn accept(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_own(&stream) => {
                let asked = asked.clone();
                tokio::spawn(serve(stream, asked));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a node's socket accepts nobody");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, asked: mpsc::Sender<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut read = BufReader::new(read.take(MAX_REQUEST));
    let answer = match timeout(REQUEST_TIME, read.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) => match serde_json::from_slice(&line) {
            Ok(request) => {
                let (sender, answer) = oneshot::channel();
                let sent = asked.try_send((request, sender)).is_ok();
                let answered = if sent { timeout(ANSWER_TIME, answer).await.ok() } else { None };
                let none = || ControlAnswer::Refused("the node is busy; try again later".to_owned());
                answered.and_then(Result::ok).unwrap_or_else(none)
            }
            Err(error) => ControlAnswer::Refused(format!("this is not understood: {error}")),
        },
        _ => return,
    };
    let mut line = serde_json::to_vec(&answer).unwrap_or_default();
    line.push(b'\n');
    let _ = timeout(REQUEST_TIME, write.write_all(&line)).await;
}
