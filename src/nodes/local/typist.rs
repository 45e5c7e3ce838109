//! What other nodes change at the local server: what they type, in order for each session, and the rest.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{LocalNews, MAX_PIECES};
use crate::{
    Client, SessionId,
    client::ClientError,
    message::{ClientMessage, SessionInfo, SessionState},
    nodes::{
        core::{LocalCommand, LocalEvent, ReplyTo},
        message::{Refusal, RemoteSession, TypedPiece},
    },
};

/// How long a connection is kept that nothing is typed on.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// How often the sessions are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Sessions in one answer: each takes less than 200 bytes.
const MAX_LISTED: usize = 64;

/// Types into one session, one piece after another.
#[derive(Debug)]
pub(super) struct Typist {
    pieces: Sender<(ReplyTo, TypedPiece)>,
    _task: AbortOnDropHandle<()>,
}

impl Typist {
    pub(super) fn new(socket: Arc<PathBuf>, session: SessionId, news: Sender<LocalNews>) -> Self {
        let (pieces, queue) = mpsc::channel(MAX_PIECES);
        let task = tokio::spawn(type_all(socket, session, queue, news));
        Self { pieces, _task: AbortOnDropHandle::new(task) }
    }

    /// Types a piece, if there is room: one that is not answered comes again.
    pub(super) fn type_in(&self, reply: ReplyTo, piece: TypedPiece) {
        let _ = self.pieces.try_send((reply, piece));
    }

    pub(super) fn is_over(&self) -> bool {
        self.pieces.is_closed()
    }
}

async fn type_all(
    socket: Arc<PathBuf>,
    session: SessionId,
    mut pieces: Receiver<(ReplyTo, TypedPiece)>,
    news: Sender<LocalNews>,
) {
    let mut client = None;
    while let Ok(Some((reply, piece))) = timeout(IDLE_TIME, pieces.recv()).await {
        if client.is_none() {
            client = Client::connect(&socket).await.ok();
        }
        let Some(connected) = &mut client else { continue };
        let TypedPiece { position, from_terminal, data } = piece;
        let request = match from_terminal {
            true => ClientMessage::RemoteInput { session, position, data },
            false => ClientMessage::Input { session, position: Some(position), data },
        };
        let result = match connected.request(&request).await {
            Ok(_) => Ok(()),
            Err(ClientError::Refused(why)) => Err(Refusal::failed(&why.to_string())),
            Err(_) => {
                // It may be typed or not: it comes again, at its place.
                client = None;
                continue;
            }
        };
        if news.send(LocalNews::Event(LocalEvent::Done { reply, result })).await.is_err() {
            return;
        }
    }
}

/// Makes one request, on a connection of its own.
pub(super) async fn once(socket: &std::path::Path, request: LocalCommand, news: &Sender<LocalNews>) {
    let Ok(mut client) = Client::connect(socket).await else { return };
    let event = match request {
        LocalCommand::Resize { reply, session, size } => {
            let done = client.resize(session, size, None).await;
            LocalEvent::Done { reply, result: done.map_err(|error| Refusal::failed(&error.to_string())) }
        }
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
