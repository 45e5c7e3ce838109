//! What other nodes change at the local server: what they type and size, in order for each session, and the rest.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::{LOST_PAUSE, LocalNews, MAX_PIECES};
use crate::{
    Client, SessionId,
    client::ClientError,
    message::{ClientMessage, SessionInfo, SessionState},
    nodes::{
        core::{LocalCommand, LocalEvent, ReplyTo},
        message::{Refusal, RemoteSession, TypedPiece, WantedSize},
        subject::NodeName,
    },
};

/// How long a connection is kept that nothing is typed on, and that does not count for a size.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// How often the sessions are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Sessions in one answer: each takes less than 200 bytes.
const MAX_LISTED: usize = 64;

/// What a node changes of a session.
#[derive(Debug)]
pub(super) enum NodeChange {
    Type(ReplyTo, TypedPiece),
    Resize(ReplyTo, WantedSize),
}

impl NodeChange {
    pub(super) fn node(&self) -> &NodeName {
        let (Self::Type(reply, _) | Self::Resize(reply, _)) = self;
        reply.node()
    }
}

/// Makes the changes of one node to one session, one after another. The node counts for the session's size as long as
/// this is there.
#[derive(Debug)]
pub(super) struct Typist {
    changes: Sender<NodeChange>,
    _task: AbortOnDropHandle<()>,
}

impl Typist {
    pub(super) fn new(socket: Arc<PathBuf>, session: SessionId, news: Sender<LocalNews>) -> Self {
        let (changes, queue) = mpsc::channel(MAX_PIECES);
        let changing = Changing { socket, session, news, client: None, wanted: None };
        let task = tokio::spawn(changing.run(queue));
        Self { changes, _task: AbortOnDropHandle::new(task) }
    }

    /// Makes a change, if there is room: one that is not answered comes again.
    pub(super) fn change(&self, change: NodeChange) {
        let _ = self.changes.try_send(change);
    }

    pub(super) fn is_over(&self) -> bool {
        self.changes.is_closed()
    }
}

struct Changing {
    socket: Arc<PathBuf>,
    session: SessionId,
    news: Sender<LocalNews>,
    client: Option<Client>,
    /// What the node counts with.
    wanted: WantedSize,
}

impl Changing {
    async fn run(mut self, mut changes: Receiver<NodeChange>) {
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => self.make(change).await,
                    None => return,
                },
                () = lost(&mut self.client), if self.wanted.is_some() => {
                    self.client = None;
                    // What the server lost with the connection is said again.
                    let _ = self.resize().await;
                }
                () = sleep(IDLE_TIME), if self.wanted.is_none() => return,
            }
        }
    }

    /// Makes a change, and answers it, unless the server is lost: it may be made or not, and comes again.
    async fn make(&mut self, change: NodeChange) {
        let (reply, done) = match change {
            NodeChange::Type(reply, piece) => (reply, self.type_in(piece).await),
            NodeChange::Resize(reply, wanted) => {
                self.wanted = wanted;
                (reply, self.resize().await)
            }
        };
        let result = match done {
            Ok(()) => Ok(()),
            Err(ClientError::Refused(why)) => Err(Refusal::failed(&why.to_string())),
            Err(_) => {
                self.client = None;
                return;
            }
        };
        // An error says that the loop has ended.
        let _ = self.news.send(LocalNews::Event(LocalEvent::Done { reply, result })).await;
    }

    async fn type_in(&mut self, piece: TypedPiece) -> Result<(), ClientError> {
        let TypedPiece { position, from_terminal, data } = piece;
        let session = self.session;
        let request = match from_terminal {
            true => ClientMessage::RemoteInput { session, position, data },
            false => ClientMessage::Input { session, position: Some(position), data },
        };
        self.connected().await?.request(&request).await.map(drop)
    }

    async fn resize(&mut self) -> Result<(), ClientError> {
        let (session, wanted) = (self.session, self.wanted);
        let done = self.connected().await?.remote_resize(session, wanted).await;
        if let Err(ClientError::Refused(_)) = done {
            // There is no such session any more.
            self.wanted = None;
        }
        done
    }

    async fn connected(&mut self) -> Result<&mut Client, ClientError> {
        let client = match self.client.take() {
            Some(client) => client,
            // As one that was lost just now.
            None => Client::connect(&self.socket).await.map_err(|_| ClientError::Lost)?,
        };
        Ok(self.client.insert(client))
    }
}

/// Waits until the connection is lost; without one, until it is time to try again.
async fn lost(client: &mut Option<Client>) {
    let Some(client) = client else { return sleep(LOST_PAUSE).await };
    // It is told nothing that matters.
    while client.next().await.is_ok() {}
}

/// Makes one request, on a connection of its own.
pub(super) async fn once(socket: &std::path::Path, request: LocalCommand, news: &Sender<LocalNews>) {
    let Ok(mut client) = Client::connect(socket).await else { return };
    let event = match request {
        LocalCommand::Kill { reply, session } => {
            let done = client.kill(session).await;
            let result = done.map(drop).map_err(|error| Refusal::failed(&error.to_string()));
            LocalEvent::Done { reply, result }
        }
        LocalCommand::List { reply, after } => {
            let Ok(all) = client.list().await else { return };
            let mut sessions: Vec<_> = all.into_iter().filter_map(remote).collect();
            sessions.sort_by_key(|session| session.id);
            sessions.retain(|session| Some(session.id) > after);
            let has_more = sessions.len() > MAX_LISTED;
            sessions.truncate(MAX_LISTED);
            LocalEvent::Listed { reply, sessions, has_more }
        }
        _ => return,
    };
    let _ = news.send(LocalNews::Event(event)).await;
}

/// Counts the server's own sessions, again and again.
pub(super) async fn count(socket: Arc<PathBuf>, news: Sender<LocalNews>) {
    loop {
        if let Ok(mut client) = Client::connect(&socket).await {
            while let Ok(all) = client.list().await {
                let running = all.into_iter().filter_map(remote).filter(|session| session.is_running);
                let sessions = u32::try_from(running.count()).unwrap_or(u32::MAX);
                if news.send(LocalNews::Event(LocalEvent::Sessions(sessions))).await.is_err() {
                    return;
                }
                sleep(COUNT_EVERY).await;
            }
        }
        sleep(COUNT_EVERY).await;
    }
}

/// A session of the server's own; `None` of one that is another's.
fn remote(info: SessionInfo) -> Option<RemoteSession> {
    let is_running = match info.state {
        SessionState::Running { .. } => true,
        SessionState::Ended(_) if info.is_held => false,
        _ => return None,
    };
    let SessionInfo { id, name, size, printed, .. } = info;
    Some(RemoteSession { id, name, size, printed, is_running })
}
