//! Following a session of the local server, for a stream to another node.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc::Sender, watch};

use super::LocalNews;
use crate::{
    Client, SessionId,
    client::{ClientError, Incoming},
    message::{
        Access, AttachOptions, AttachedTo, Event, ExitStatus, OnLag, Pace, RequestError, SessionInfo,
        SessionRules, SessionState, SizePolicy, StartAt,
    },
    nodes::{
        core::{FollowId, LocalEvent},
        message::{Begin, Refusal, StreamItem},
    },
    wire::MAX_OUTPUT,
};

/// Follows a session to its end, or until the connection or the stream is lost. Once it is to be lossless, it attaches
/// again as such where it is. What it had holds the session's log until then.
pub(super) async fn follow(
    socket: Arc<PathBuf>,
    (follow, session, begin): (FollowId, SessionId, Begin),
    lossless: watch::Receiver<bool>,
    items: Sender<StreamItem>,
    news: Sender<LocalNews>,
) {
    let mut following = Following { follow, lossless, items, news, head: 0, awaits_screen: false };
    let (mut begin, mut before) = (begin, None);
    let why = loop {
        let is_lossless = *following.lossless.borrow_and_update();
        let (mut client, attached, rules) = match attach(&socket, session, begin, is_lossless).await {
            Ok(attached) => attached,
            Err(NotAttached::Ended(info, status)) => {
                following.has_ended(begin, *info, status).await;
                return;
            }
            Err(NotAttached::Refused(why)) => break why,
        };
        if following.begin(begin, attached, rules, before.is_none()).await.is_none() {
            return;
        }
        drop(before.take());
        match following.pass_on(&mut client).await {
            Some(Passed::ToAttachAgain) => (begin, before) = (Begin::At(following.head), Some(client)),
            Some(Passed::Lost(why)) => break why,
            None => return,
        }
    };
    let _ = following.news.send(LocalNews::Event(LocalEvent::NotFollowed { follow, why })).await;
}

/// Why a session is not attached to.
enum NotAttached {
    Refused(Refusal),
    /// It has ended, and its output is gone.
    Ended(Box<SessionInfo>, ExitStatus),
}

impl From<ClientError> for NotAttached {
    fn from(error: ClientError) -> Self {
        Self::Refused(match error {
            ClientError::Refused(RequestError::UnknownSession(_) | RequestError::OffsetNotHeld { .. }) => {
                Refusal::NoSession
            }
            error => Refusal::failed(&error.to_string()),
        })
    }
}

/// Attaches as what is no terminal, so that a size comes at its place in the output, and types nothing. Where the byte
/// to begin with is no longer held, with the screen.
async fn attach(
    socket: &std::path::Path,
    session: SessionId,
    begin: Begin,
    is_lossless: bool,
) -> Result<(Client, AttachedTo, SessionRules), NotAttached> {
    let client = Client::connect(socket).await;
    let mut client = client.map_err(|error| NotAttached::Refused(Refusal::failed(&error.to_string())))?;
    let rules = match client.rules(session).await {
        Err(ClientError::Refused(RequestError::SessionEnded { status, .. })) => {
            let ended = client.list().await?.into_iter().find(|info| info.id == session);
            let ended = ended.ok_or(NotAttached::Refused(Refusal::NoSession))?;
            return Err(NotAttached::Ended(Box::new(ended), status));
        }
        rules => rules?,
    };
    let on_lag = if is_lossless { OnLag::Lossless } else { OnLag::Resync };
    let options = |start| AttachOptions::new(start, on_lag).with_access(Access::ReadOnly);
    let start = match begin {
        Begin::At(offset) => StartAt::Offset(offset),
        Begin::Screen => StartAt::Screen,
    };
    let attached = match client.attach(session, options(start)).await {
        Err(ClientError::Refused(RequestError::OffsetNotHeld { offset, head, .. })) if offset <= head => {
            client.attach(session, options(StartAt::Screen)).await
        }
        attached => attached,
    };
    Ok((client, attached?, rules))
}

/// Why a connection is not read any more.
enum Passed {
    /// The session is to be followed as lossless.
    ToAttachAgain,
    Lost(Refusal),
}

struct Following {
    follow: FollowId,
    lossless: watch::Receiver<bool>,
    items: Sender<StreamItem>,
    news: Sender<LocalNews>,
    /// The first byte that was not passed on.
    head: u64,
    /// A screen comes before more output, or has not come whole.
    awaits_screen: bool,
}

impl Following {
    /// A client attached, for the first time or again. `None` if nobody wants it.
    async fn begin(
        &mut self,
        begin: Begin,
        attached: AttachedTo,
        rules: SessionRules,
        is_first: bool,
    ) -> Option<()> {
        let AttachedTo { name, size, start, .. } = attached;
        let begun = if let Begin::At(offset) = begin { offset } else { start };
        if is_first {
            let event = LocalEvent::Following { follow: self.follow, name, size, rules, start: begun };
            self.news.send(LocalNews::Event(event)).await.ok()?;
        }
        self.head = start;
        self.awaits_screen = start > 0 && (begin == Begin::Screen || start > begun);
        if start > begun {
            self.items.send(StreamItem::Gap { from: begun, to: start }).await.ok()?;
        }
        Some(())
    }

    /// The session has ended, and its output is gone: who had its beginning is told of the rest, and how it ended.
    async fn has_ended(&mut self, begin: Begin, info: SessionInfo, status: ExitStatus) {
        let follow = self.follow;
        let SessionInfo { name, size, printed: at, state: SessionState::Ended(_), .. } = info else { return };
        let start = match begin {
            Begin::At(start) if start <= at => start,
            _ => {
                let why = Refusal::NoSession;
                let _ = self.news.send(LocalNews::Event(LocalEvent::NotFollowed { follow, why })).await;
                return;
            }
        };
        let rules = SessionRules::new(Pace::Fastest, SizePolicy::Fixed);
        let following = LocalEvent::Following { follow, name, size, rules, start };
        let _ = self.news.send(LocalNews::Event(following)).await;
        if at > start {
            let _ = self.items.send(StreamItem::Gap { from: start, to: at }).await;
        }
        self.end(at, status).await;
    }

    /// Passes on what comes, piece by piece as there is room. `None` once nobody wants it.
    async fn pass_on(&mut self, client: &mut Client) -> Option<Passed> {
        loop {
            let incoming = tokio::select! {
                biased;
                // An error says that nobody can want it.
                changed = self.lossless.changed(), if !self.awaits_screen => {
                    changed.ok()?;
                    return Some(Passed::ToAttachAgain);
                }
                incoming = client.next() => incoming,
            };
            let item = match incoming {
                Ok(Incoming::Output { offset, data }) => {
                    self.head = offset + data.len() as u64;
                    StreamItem::Output { offset, data }
                }
                Ok(Incoming::Screen { offset, data }) => {
                    self.head = offset;
                    let is_last = data.len() < MAX_OUTPUT;
                    self.awaits_screen = !is_last;
                    StreamItem::Screen { offset, data, is_last }
                }
                Ok(Incoming::Event(Event::Gap { from, to })) => {
                    self.head = to;
                    self.awaits_screen = true;
                    StreamItem::Gap { from, to }
                }
                Ok(Incoming::Event(Event::Resized { size, .. })) => StreamItem::Resized { size },
                Ok(Incoming::Event(Event::Ended { status, .. })) => {
                    self.end(self.head, status).await;
                    return None;
                }
                Ok(_) => continue,
                Err(error) => return Some(Passed::Lost(Refusal::failed(&error.to_string()))),
            };
            self.items.send(item).await.ok()?;
        }
    }

    /// Says the end. The stream is closed by its watcher.
    async fn end(&self, at: u64, status: ExitStatus) {
        let _ = self.items.send(StreamItem::Ended { at, status }).await;
        self.items.closed().await;
    }
}
