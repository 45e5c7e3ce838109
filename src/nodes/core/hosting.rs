//! What a node does for others: their streams, and what they change.

use std::{
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use super::{FollowId, LocalCommand, LocalEvent, NodeCore, ReplyTo};
use crate::{
    SessionId,
    message::Access,
    nodes::{
        carrier::CarrierMessage,
        figure::{StreamNews, StreamReport},
        host::{HostStream, LEASE},
        message::{
            Answer, Begin, MAX_TYPED, ReadRequest, Refusal, StreamItem, TypedPiece, WriteRequest, position,
        },
        subject::{Class, NodeName, Subject},
    },
};

/// Streams that are sent at once.
const MAX_HOSTED: usize = 1024;

/// What a session takes in a list, at most: its name of 64 bytes, its id, and three numbers.
const LISTED_BYTES: usize = 128;

/// What is remembered of nodes and sizes of sessions, and how often it is looked whether the nodes still watch.
const MAX_RESIZED: usize = 4096;
const RESIZED_EVERY: Duration = Duration::from_secs(2);

/// What a node wants of a session's size.
#[derive(Debug)]
pub(super) struct NodeSize {
    /// Of the newest that came, so that a late one does not undo it, and one that is said again does nothing.
    order: u64,
    counts: bool,
    /// When it is forgotten, unless the node watches by then.
    until: Duration,
}

impl NodeCore {
    /// Whether more of a followed session is to be read.
    pub(crate) fn wants(&self, follow: FollowId) -> bool {
        self.hosting.get(&follow).is_some_and(HostStream::wants)
    }

    pub(super) fn read_request(
        &mut self,
        now: Duration,
        from: NodeName,
        reply: Option<u64>,
        request: ReadRequest,
    ) {
        let may_read = self.allow.access(&from).is_some();
        let reply = reply.map(|number| ReplyTo { node: from.clone(), number });
        match request {
            ReadRequest::List { after } => match reply {
                Some(reply) if may_read => self.commands.push_back(LocalCommand::List { reply, after }),
                Some(reply) => self.answer(&reply, &Answer::Refused(Refusal::NotAllowed)),
                None => {}
            },
            ReadRequest::Open { stream, session, begin, limit, is_lossless } => {
                let opened = match may_read {
                    true => self.open(now, &from, stream, (session, begin, limit, is_lossless)),
                    false => {
                        self.tell_refused(from.clone(), session);
                        Err(Refusal::NotAllowed)
                    }
                };
                if let Err(why) = opened {
                    self.answer(&ReplyTo { node: from, number: stream }, &Answer::Refused(why));
                }
            }
            ReadRequest::More { stream, limit, is_lossless } => {
                self.more(now, &from, stream, (limit, is_lossless));
            }
            ReadRequest::Close { stream } => {
                if let Some((follow, _)) = self.hosted(&from, stream) {
                    self.unfollow(follow, "its node closed it");
                }
            }
            ReadRequest::Echo { .. } => {}
        }
    }

    fn hosted(&mut self, watcher: &NodeName, number: u64) -> Option<(FollowId, &mut HostStream)> {
        let is_it = |stream: &HostStream| stream.number == number && stream.watcher == *watcher;
        let (follow, stream) = self.hosting.iter_mut().find(|(_, stream)| is_it(stream))?;
        Some((*follow, stream))
    }

    /// A stream's watcher is there. Whether there is such a stream.
    fn more(
        &mut self,
        now: Duration,
        from: &NodeName,
        number: u64,
        (limit, is_lossless): (u64, bool),
    ) -> bool {
        let Some((follow, stream)) = self.hosted(from, number) else { return false };
        stream.more(now, limit);
        let begins = is_lossless && !std::mem::replace(&mut stream.is_lossless, true);
        self.ready.insert(follow);
        if begins {
            self.commands.push_back(LocalCommand::Lossless { follow });
        }
        true
    }

    /// Opens a stream. A node has one stream of a session: the newest.
    fn open(
        &mut self,
        now: Duration,
        from: &NodeName,
        number: u64,
        (session, begin, limit, is_lossless): (SessionId, Begin, u64, bool),
    ) -> Result<(), Refusal> {
        if self.more(now, from, number, (limit, is_lossless)) {
            return Ok(());
        }
        if self.mirrors.values().any(|mirror| mirror.is_of(session)) {
            return Err(Refusal::NoSession);
        }
        let is_same = |stream: &HostStream| stream.session == session && stream.watcher == *from;
        let before = self.hosting.iter().find(|(_, stream)| is_same(stream));
        if let Some((follow, before)) = before.map(|(follow, stream)| (*follow, stream.number)) {
            // What comes late is of a stream that was closed. A number of another run says nothing about that.
            if before >> 32 == number >> 32 && number < before {
                return Ok(());
            }
            self.unfollow(follow, "its node opened another one");
        }
        if self.hosting.len() >= MAX_HOSTED {
            return Err(Refusal::TooMany);
        }
        let follow = FollowId(self.draw_number());
        let stream = HostStream::new(now, from.clone(), number, session, (limit, is_lossless));
        self.hosting.insert(follow, stream);
        self.ready.insert(follow);
        self.commands.push_back(LocalCommand::Follow { follow, session, begin, is_lossless });
        Ok(())
    }

    fn unfollow(&mut self, follow: FollowId, why: &'static str) {
        self.ready.remove(&follow);
        if let Some(HostStream { watcher: node, session, name, .. }) = self.hosting.remove(&follow) {
            if name.is_some() {
                self.tell(StreamReport { node, session, name, news: StreamNews::NotSent(why) });
            }
            self.commands.push_back(LocalCommand::Unfollow { follow });
        }
    }

    /// Ends the streams whose watchers are silent for too long, and finds those that have to say that they are there.
    pub(super) fn tick_streams(&mut self, now: Duration) {
        if now < self.streams_due {
            return;
        }
        let expired = self.hosting.iter().filter(|(_, stream)| now >= stream.expires());
        let expired: Vec<_> = expired.map(|(follow, _)| *follow).collect();
        self.counts.expired += expired.len() as u64;
        expired.into_iter().for_each(|follow| self.unfollow(follow, "its node is silent"));
        self.streams_due = Duration::MAX;
        for (follow, stream) in &self.hosting {
            let mut due = stream.due();
            if due <= now {
                self.ready.insert(*follow);
                due = stream.expires();
            }
            self.streams_due = self.streams_due.min(due);
        }
    }

    /// A node that no longer watches a session does not count for its size.
    pub(super) fn tick_sizes(&mut self, now: Duration) {
        if now < self.resized_due {
            return;
        }
        self.resized_due = now + RESIZED_EVERY;
        for stream in self.hosting.values() {
            if let Some(size) = self.resized.get_mut(&(stream.watcher.clone(), stream.session)) {
                size.until = now + LEASE;
            }
        }
        let commands = &mut self.commands;
        self.resized.retain(|(node, session), size| {
            let is_over = now >= size.until;
            if is_over && size.counts {
                commands.push_back(LocalCommand::Forget { node: node.clone(), session: *session });
            }
            !is_over
        });
    }

    /// The next message of a stream: each has its turn.
    pub(super) fn poll_streams(&mut self, now: Duration, most: usize) -> Option<CarrierMessage> {
        loop {
            let next = self.ready.range((Excluded(self.served), Unbounded)).next().or(self.ready.first());
            let follow = *next?;
            self.served = follow;
            let Some(stream) = self.hosting.get_mut(&follow) else {
                self.ready.remove(&follow);
                continue;
            };
            if let Some(payload) = stream.poll(now, most) {
                let subject = Subject::new(Class::Stream(stream.number), &stream.watcher, &self.name);
                return Some(CarrierMessage { subject, reply: None, payload });
            }
            self.streams_due = self.streams_due.min(stream.due());
            self.ready.remove(&follow);
        }
    }

    pub(super) fn write_request(&mut self, now: Duration, reply: ReplyTo, request: WriteRequest) {
        let session = request.session();
        if self.allow.access(&reply.node) != Some(Access::ReadWrite) {
            match session {
                Some(session) => self.tell_refused(reply.node.clone(), session),
                None => self.counts.refused += 1,
            }
            return self.answer(&reply, &Answer::Refused(Refusal::NotAllowed));
        }
        if session.is_some_and(|session| self.mirrors.values().any(|mirror| mirror.is_of(session))) {
            return self.answer(&reply, &Answer::Refused(Refusal::NoSession));
        }
        let command = match request {
            WriteRequest::Input { session, stream, offset, from_terminal, data } => {
                let position = position(stream, offset).filter(|_| data.len() <= MAX_TYPED);
                let Some(position) = position else { return };
                LocalCommand::Type { reply, session, piece: TypedPiece { position, from_terminal, data } }
            }
            WriteRequest::Resize { session, window, order } => {
                match self.resized(now, &reply.node, session, (order, window.is_some())) {
                    Ok(true) => LocalCommand::Resize { reply, session, window },
                    Ok(false) => return self.answer(&reply, &Answer::Done),
                    Err(why) => return self.answer(&reply, &Answer::Refused(why)),
                }
            }
            WriteRequest::Kill { session } => LocalCommand::Kill { reply, session },
            WriteRequest::Once { run, change } => return self.change_once(now, reply, (run, change)),
        };
        self.commands.push_back(command);
    }

    /// A node wants a size, or none. Whether that is news. Orders of another run of the node say nothing.
    fn resized(
        &mut self,
        now: Duration,
        node: &NodeName,
        session: SessionId,
        (order, counts): (u64, bool),
    ) -> Result<bool, Refusal> {
        let key = (node.clone(), session);
        if self.resized.len() >= MAX_RESIZED && !self.resized.contains_key(&key) {
            return Err(Refusal::TooMany);
        }
        let new = NodeSize { order, counts, until: now + LEASE };
        let before = self.resized.get(&key).map_or(0, |before| before.order);
        let is_news = before >> 32 != order >> 32 || order > before;
        if is_news {
            self.resized.insert(key, new);
        }
        Ok(is_news)
    }

    /// Takes in what happened at the local server.
    pub(crate) fn handle_local(&mut self, now: Duration, event: LocalEvent) {
        match event {
            LocalEvent::Following { follow, name, size, rules, start } => {
                if let Some(stream) = self.hosting.get_mut(&follow) {
                    stream.name = Some(name.clone());
                    let (watcher, session) = (stream.watcher.clone(), stream.session);
                    self.tell_sent(watcher, session, name.clone());
                }
                let incarnation = self.incarnation;
                self.push(follow, StreamItem::Opened { incarnation, start, name, size, rules });
            }
            LocalEvent::NotFollowed { follow, why } => self.push(follow, StreamItem::Refused(why)),
            LocalEvent::FollowItem { follow, item } => self.push(follow, item),
            LocalEvent::Done { reply, result } => {
                self.done(&reply, &result.map_or_else(Answer::Refused, |()| Answer::Done));
            }
            LocalEvent::Created { reply, result } => {
                let created = |session| Answer::Created { session };
                self.done(&reply, &result.map_or_else(Answer::Refused, created));
            }
            LocalEvent::Listed { reply, mut sessions, mut has_more } => {
                // As many as one message holds; the rest is asked for.
                let most = self.quick.most / LISTED_BYTES;
                has_more |= sessions.len() > most.max(1);
                sessions.truncate(most.max(1));
                self.answer(&reply, &Answer::Sessions { sessions, has_more });
            }
            LocalEvent::Sessions(count) => self.sessions = count,
            LocalEvent::MirrorTook { mirror, bytes } => self.mirror_took(now, mirror, bytes),
            LocalEvent::MirrorTyping { mirror, piece } => self.mirror_typing(now, mirror, &piece),
            LocalEvent::MirrorResize { mirror, window } => self.mirror_resize(now, mirror, window),
            LocalEvent::MirrorLossless { mirror, is_lossless } => {
                self.mirror_lossless(now, mirror, is_lossless);
            }
            LocalEvent::MirrorKill { mirror } => self.mirror_kill(now, mirror),
            LocalEvent::MirrorGone { mirror } => self.unwatch(mirror),
        }
    }

    fn push(&mut self, follow: FollowId, item: StreamItem) {
        if let Some(stream) = self.hosting.get_mut(&follow) {
            stream.push(item);
            self.ready.insert(follow);
        }
    }

    /// The streams that are sent: for tests of the credit.
    #[cfg(test)]
    pub(crate) fn hosted_streams(&self) -> impl Iterator<Item = &HostStream> {
        self.hosting.values()
    }
}
