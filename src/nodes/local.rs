//! The local server, as a node's loop has it: each session that is followed, each that is provided and each that is
//! typed into has a task and a connection of its own.
//!
//! What a server that is lost was asked for is not answered: the node that asked asks again.

mod creating;
mod following;
mod mirror;
mod typist;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{
    Semaphore,
    mpsc::{self, Receiver, Sender},
    watch,
};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::mirror::left_mirrors;
use self::{
    following::follow,
    mirror::{MirrorSaid, MirrorTask},
    typist::{NodeChange, Typist, count, once},
};
use super::{
    core::{FollowId, LocalCommand, LocalEvent, MirrorId},
    message::{Refusal, StreamItem},
    subject::NodeName,
};
use crate::{SessionId, message::WhenLost};

/// What the tasks have to say and the loop has not taken.
const MAX_EVENTS: usize = 64;

/// Requests that are made at once, besides typing.
const MAX_ONCE: usize = 16;

/// Nodes that type into a session or size it, for each session, and pieces that wait for each. What finds no room comes
/// again.
const MAX_TYPISTS: usize = 1024;
const MAX_PIECES: usize = 16;

/// What a mirror is told that it has not taken. Its stream's credit bounds the bytes.
const MAX_TOLD: usize = 64 * 1024;

/// What the local side says.
#[derive(Debug)]
pub(super) enum LocalNews {
    /// For the core.
    Event(LocalEvent),
    /// The local server has the mirror, and people may attach to it.
    Provided(MirrorId),
    /// It is lost, and with it perhaps the mirror.
    Unprovided(MirrorId),
    /// It does not, for this reason.
    NotProvided(MirrorId, String),
}

/// The connections to the local server.
#[derive(Debug)]
pub(super) struct LocalSide {
    socket: Arc<PathBuf>,
    sender: Sender<LocalNews>,
    news: Receiver<LocalNews>,
    follows: HashMap<FollowId, Follow>,
    mirrors: HashMap<MirrorId, MirrorTask>,
    typists: HashMap<(NodeName, SessionId), Typist>,
    /// What becomes of typing while a host is silent.
    typing: WhenLost,
    room: Arc<Semaphore>,
    _counting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Follow {
    items: Receiver<StreamItem>,
    lossless: watch::Sender<bool>,
    _task: AbortOnDropHandle<()>,
}

impl LocalSide {
    pub(super) fn new(socket: PathBuf, typing: WhenLost) -> Self {
        let (sender, news) = mpsc::channel(MAX_EVENTS);
        let socket = Arc::new(socket);
        let counting = tokio::spawn(count(Arc::clone(&socket), sender.clone()));
        Self {
            socket,
            _counting: AbortOnDropHandle::new(counting),
            sender,
            news,
            follows: HashMap::new(),
            mirrors: HashMap::new(),
            typists: HashMap::new(),
            typing,
            room: Arc::new(Semaphore::new(MAX_ONCE)),
        }
    }

    /// Does what the core says.
    pub(super) fn carry_out(&mut self, command: LocalCommand) {
        match command {
            LocalCommand::Follow { follow: id, session, begin, is_lossless } => {
                // One piece at a time, so that the session is read as its stream has room.
                let (sender, items) = mpsc::channel(1);
                let (socket, events) = (Arc::clone(&self.socket), self.sender.clone());
                let (lossless, is_lossless) = watch::channel(is_lossless);
                let task = tokio::spawn(follow(socket, (id, session, begin), is_lossless, sender, events));
                self.follows.insert(id, Follow { items, lossless, _task: AbortOnDropHandle::new(task) });
            }
            LocalCommand::Lossless { follow } => {
                if let Some(follow) = self.follows.get(&follow) {
                    follow.lossless.send_replace(true);
                }
            }
            LocalCommand::Unfollow { follow } => drop(self.follows.remove(&follow)),
            LocalCommand::Type { reply, session, piece } => {
                self.change(session, NodeChange::Type(reply, piece));
            }
            LocalCommand::Resize { reply, session, window } => {
                self.change(session, NodeChange::Resize(reply, window));
            }
            LocalCommand::Forget { node, session } => drop(self.typists.remove(&(node, session))),
            request @ (LocalCommand::Kill { .. } | LocalCommand::List { .. }) => {
                if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                    let (socket, sender) = (Arc::clone(&self.socket), self.sender.clone());
                    tokio::spawn(async move {
                        once(&socket, request, &sender).await;
                        drop(permit);
                    });
                }
            }
            // Unlike the others, these do not come again.
            LocalCommand::Create { reply, create } => {
                let (socket, room) = (Arc::clone(&self.socket), Arc::clone(&self.room).try_acquire_owned());
                self.say_later(async move {
                    let result = match room {
                        Ok(_room) => creating::create(&socket, reply.node(), *create).await,
                        Err(_) => Err(Refusal::TooMany),
                    };
                    LocalNews::Event(LocalEvent::Created { reply, result })
                });
            }
            LocalCommand::Change { reply, session, change } => {
                let (socket, room) = (Arc::clone(&self.socket), Arc::clone(&self.room).try_acquire_owned());
                self.say_later(async move {
                    let result = match room {
                        Ok(_room) => creating::change(&socket, session, change).await,
                        Err(_) => Err(Refusal::TooMany),
                    };
                    LocalNews::Event(LocalEvent::Done { reply, result })
                });
            }
            LocalCommand::Provide { mirror, host, session, name, size, rules, start } => {
                let typing = self.typing;
                let begins = mirror::Begins { mirror, host, session, name, size, rules, start, typing };
                let task = MirrorTask::new(Arc::clone(&self.socket), begins, self.sender.clone());
                self.mirrors.insert(mirror, task);
            }
            LocalCommand::Item { mirror, item } => self.tell(mirror, MirrorSaid::Item(item)),
            LocalCommand::HostSilent { mirror, silent_for } => {
                self.tell(mirror, MirrorSaid::Silent(silent_for));
            }
            LocalCommand::MirrorTyped { mirror, stream, taken } => {
                self.tell(mirror, MirrorSaid::Typed { stream, taken });
            }
            LocalCommand::MirrorNotTyped { mirror, stream, why } => {
                self.tell(mirror, MirrorSaid::NotTyped { stream, why });
            }
            LocalCommand::MirrorKilled { mirror, result } => self.tell(mirror, MirrorSaid::Killed(result)),
            LocalCommand::EndMirror { mirror, why } => self.end_mirror(mirror, &why),
        }
    }

    /// A node changes something of a session: what it types and sizes goes over a connection of its own.
    fn change(&mut self, session: SessionId, change: NodeChange) {
        self.typists.retain(|_, typist| !typist.is_over());
        let key = (change.node().clone(), session);
        if self.typists.len() >= MAX_TYPISTS && !self.typists.contains_key(&key) {
            return;
        }
        let new = || Typist::new(Arc::clone(&self.socket), session, self.sender.clone());
        self.typists.entry(key).or_insert_with(new).change(change);
    }

    fn tell(&mut self, mirror: MirrorId, said: MirrorSaid) {
        if let Some(task) = self.mirrors.get(&mirror)
            && !task.tell(said)
        {
            // It does not take what it is told: without a part of that it is worth nothing.
            tracing::warn!("a mirror does not take what it is told, and is over");
            self.mirrors.remove(&mirror);
            self.say(LocalNews::Event(LocalEvent::MirrorGone { mirror }));
        }
    }

    fn end_mirror(&mut self, mirror: MirrorId, why: &Refusal) {
        match self.mirrors.get(&mirror) {
            Some(task) => {
                task.tell(MirrorSaid::Over(why.clone()));
            }
            None => {
                // It has not begun: who asked for it is told.
                self.say(LocalNews::NotProvided(mirror, why.to_string()));
            }
        }
    }

    /// Says something that the loop takes later.
    fn say(&self, news: LocalNews) {
        self.say_later(std::future::ready(news));
    }

    /// Says what comes of this.
    fn say_later(&self, news: impl Future<Output = LocalNews> + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // An error says that the loop has ended.
            let _ = sender.send(news.await).await;
        });
    }

    /// The next thing to say: of sessions that are followed, only of those that the core wants more of.
    pub(super) fn poll_news(
        &mut self,
        context: &mut Context<'_>,
        wants: impl Fn(FollowId) -> bool,
    ) -> Poll<LocalNews> {
        if let Poll::Ready(Some(news)) = self.news.poll_recv(context) {
            if let LocalNews::Event(LocalEvent::MirrorGone { mirror }) = &news {
                self.mirrors.remove(mirror);
            }
            return Poll::Ready(news);
        }
        for (id, follow) in self.follows.iter_mut().filter(|(id, _)| wants(**id)) {
            if let Poll::Ready(Some(item)) = follow.items.poll_recv(context) {
                return Poll::Ready(LocalNews::Event(LocalEvent::FollowItem { follow: *id, item }));
            }
        }
        Poll::Pending
    }
}

/// The pause before a lost server is looked for again.
const LOST_PAUSE: Duration = Duration::from_millis(200);
