//! A server as a node sees it: sessions with bounded logs, mirrors with viewers. Bytes are a function of their offset.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    SessionId, SessionName, TerminalSize,
    message::{ExitStatus, InputStreamId, Pace, SessionRules, SizePolicy},
    nodes::{
        core::{FollowId, LocalCommand, LocalEvent, MirrorId, NodeCore},
        message::{Begin, Refusal, RemoteSession, StreamItem, TypedPiece, WantedSize},
        subject::NodeName,
    },
    random::Random,
};

/// What a session prints, over and over: its length is prime, so that a wrong offset shows.
const PERIOD: u64 = 65_521;

/// What a log holds, in bytes.
const LOG: u64 = 512 * 1024;

/// What a session prints from here on.
pub(super) fn truth(session: SessionId, offset: u64, length: usize) -> Bytes {
    thread_local!(static PATTERN: Vec<u8> = {
        let mut dice = Random::new(1);
        let once: Vec<_> = (0..PERIOD).map(|_| dice.number().to_le_bytes()[0]).collect();
        once.repeat(2)
    });
    let own = u64::from(session.to_bytes()[15]) * 97;
    PATTERN.with(|pattern| {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = usize::try_from((own + offset + bytes.len() as u64) % PERIOD).unwrap();
            let part = (length - bytes.len()).min(usize::try_from(PERIOD).unwrap());
            bytes.extend_from_slice(&pattern[at..at + part]);
        }
        bytes.into()
    })
}

/// What a session's screen is at an offset.
fn screen(session: SessionId, offset: u64) -> Bytes {
    let length = 100 + usize::try_from(offset % 90_000).unwrap();
    let mut screen = format!("{session} {offset} ").into_bytes();
    screen.resize(screen.len().max(length), b'.');
    screen.into()
}

/// A session of a node's own server.
pub(super) struct ModelSession {
    pub(super) id: SessionId,
    pub(super) printed: u64,
    pub(super) size: TerminalSize,
    pub(super) ended: Option<ExitStatus>,
    /// Its program waits for those that follow it.
    pub(super) is_lossless: bool,
    /// Those who watch it at a mirror are waited for.
    pub(super) pace: Pace,
    taken: HashMap<InputStreamId, u64>,
    pub(super) typed: Vec<(InputStreamId, Bytes)>,
}

impl ModelSession {
    pub(super) fn new(id: SessionId, is_lossless: bool) -> Self {
        Self {
            id,
            printed: 0,
            size: TerminalSize::DEFAULT,
            ended: None,
            is_lossless,
            pace: Pace::Fastest,
            taken: HashMap::new(),
            typed: Vec::new(),
        }
    }

    fn oldest(&self) -> u64 {
        self.printed.saturating_sub(LOG)
    }
}

/// A local session that is followed.
struct ModelFollow {
    session: SessionId,
    at: u64,
    needs_screen: bool,
    size: TerminalSize,
    /// Its program waits for this one.
    is_lossless: bool,
    is_over: bool,
}

/// A session of another node, and who watches it here.
pub(super) struct ModelMirror {
    pub(super) session: SessionId,
    pub(super) head: u64,
    pub(super) size: TerminalSize,
    /// The log from `base` on.
    base: u64,
    log: VecDeque<u8>,
    pub(super) gaps: Vec<(u64, u64)>,
    /// A gap's screen has not come.
    awaits_screen: bool,
    pub(super) ended: Option<ExitStatus>,
    pub(super) viewers: Vec<ModelViewer>,
    pub(super) silences: u32,
    pub(super) is_silent: bool,
    /// What comes waits for those who watch.
    pub(super) is_held: bool,
    /// Output that the node was not told was taken: where it ends, and its bytes.
    untold: VecDeque<(u64, usize)>,
}

/// Who watches a mirror.
pub(super) struct ModelViewer {
    /// How much it reads at once.
    pace: usize,
    pub(super) start: u64,
    cursor: u64,
    pub(super) read: u64,
    pub(super) missed: u64,
    pub(super) ended: Option<ExitStatus>,
}

impl ModelMirror {
    fn new(session: SessionId, start: u64, size: TerminalSize, dice: &mut Random) -> Self {
        let viewer = |dice: &mut Random| ModelViewer {
            pace: 1 + usize::try_from(dice.below(200_000)).unwrap(),
            start,
            cursor: start,
            read: 0,
            missed: 0,
            ended: None,
        };
        Self {
            session,
            head: start,
            size,
            base: start,
            log: VecDeque::new(),
            gaps: Vec::new(),
            awaits_screen: start > 0,
            ended: None,
            viewers: (0..20).map(|_| viewer(dice)).collect(),
            silences: 0,
            is_silent: false,
            is_held: false,
            untold: VecDeque::new(),
        }
    }

    /// Takes in what comes next; panics if it does not follow what came before.
    fn take(&mut self, item: StreamItem) -> usize {
        assert_eq!(self.ended, None, "nothing comes after the end");
        match item {
            StreamItem::Output { offset, data } => {
                assert_eq!(offset, self.head, "output follows output");
                assert_eq!(data, truth(self.session, offset, data.len()));
                assert!(!self.awaits_screen, "a gap's screen comes before what follows it");
                self.head += data.len() as u64;
                self.log.extend(&data);
                let mut over = self.log.len().saturating_sub(usize::try_from(LOG).unwrap());
                if self.is_held {
                    over = over.min(usize::try_from(self.slowest() - self.base).unwrap());
                }
                self.log.drain(..over);
                self.base += over as u64;
                return data.len();
            }
            StreamItem::Gap { from, to } => {
                assert!(from == self.head && to > from, "gaps are exact");
                self.gaps.push((from, to));
                (self.head, self.base) = (to, to);
                self.log.clear();
                self.awaits_screen = true;
            }
            StreamItem::Screen { offset, data, is_last } => {
                assert!(offset == self.head);
                // In the simulation each fits a few messages, and is passed on whole.
                if is_last {
                    self.awaits_screen = false;
                }
                return data.len();
            }
            StreamItem::Resized { size } => self.size = size,
            StreamItem::Ended { at, status } => {
                assert_eq!(at, self.head, "the end follows all output");
                self.ended = Some(status);
            }
            other => panic!("{other:?}"),
        }
        0
    }

    /// Where the slowest viewer is.
    fn slowest(&self) -> u64 {
        self.viewers.iter().map(|viewer| viewer.cursor).min().unwrap_or(self.head)
    }

    /// Each viewer reads some.
    pub(super) fn read(&mut self) -> bool {
        let mut has_read = false;
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.ended.is_none()) {
            if viewer.cursor < self.base {
                viewer.missed += self.base - viewer.cursor;
                viewer.cursor = self.base;
            }
            let at = usize::try_from(viewer.cursor - self.base).unwrap();
            let length = (self.log.len() - at).min(viewer.pace);
            if length > 0 {
                has_read = true;
                let (first, second) = self.log.as_slices();
                // A few bytes of each piece: all of them were looked at when they came.
                for place in [at, at + length / 2, at + length - 1] {
                    let byte = first.get(place).or_else(|| second.get(place - first.len()));
                    let offset = self.base + place as u64;
                    assert_eq!(byte, Some(&truth(self.session, offset, 1)[0]));
                }
                viewer.cursor += length as u64;
                viewer.read += length as u64;
            } else if let Some(status) = self.ended {
                viewer.ended = Some(status);
                has_read = true;
            }
        }
        has_read
    }
}

/// Somebody who types into a session.
pub(super) struct Typist {
    pub(super) session: SessionId,
    pub(super) stream: InputStreamId,
    /// What was typed, how much of it was said, and how much is answered.
    pub(super) all: Vec<u8>,
    said: usize,
    pub(super) taken: u64,
}

impl Typist {
    pub(super) fn new(session: SessionId, dice: &mut Random) -> Self {
        let all = (0..500 + dice.below(20_000)).map(|_| dice.number().to_le_bytes()[0]).collect();
        Self { session, stream: InputStreamId::random(), all, said: 0, taken: 0 }
    }
}

/// A node's own server.
#[derive(Default)]
pub(super) struct ModelServer {
    pub(super) sessions: Vec<ModelSession>,
    follows: HashMap<FollowId, ModelFollow>,
    pub(super) mirrors: HashMap<MirrorId, ModelMirror>,
    pub(super) typists: Vec<Typist>,
    /// What the server will say, and when.
    later: Vec<(Duration, LocalEvent)>,
    pub(super) refused: Vec<(MirrorId, Refusal)>,
    /// What other nodes had created.
    pub(super) created: Vec<SessionName>,
    /// What nodes want of sizes.
    pub(super) sized: HashMap<(NodeName, SessionId), WantedSize>,
}

impl ModelServer {
    pub(super) fn session(&mut self, id: SessionId) -> Option<&mut ModelSession> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }

    pub(super) fn mirror_of(&self, session: SessionId) -> Option<(MirrorId, &ModelMirror)> {
        self.mirrors.iter().find(|(_, mirror)| mirror.session == session).map(|(id, mirror)| (*id, mirror))
    }

    /// When it has something to say.
    pub(super) fn due(&self) -> Option<Duration> {
        self.later.iter().map(|(at, _)| *at).min()
    }

    /// Does what its node says.
    pub(super) fn command(&mut self, now: Duration, command: LocalCommand, dice: &mut Random) {
        match command {
            LocalCommand::Follow { follow, session, begin, is_lossless } => {
                self.follow(now, follow, session, begin, is_lossless);
            }
            LocalCommand::Lossless { follow } => {
                if let Some(follow) = self.follows.get_mut(&follow) {
                    follow.is_lossless = true;
                }
            }
            LocalCommand::Unfollow { follow } => drop(self.follows.remove(&follow)),
            LocalCommand::Type { reply, session, piece } => {
                let result = self.type_in(session, piece);
                self.later.push((now + dice.ms(30), LocalEvent::Done { reply, result }));
            }
            LocalCommand::Resize { reply, session, window } => {
                if let Some(session) = self.session(session) {
                    session.size = window.map_or(session.size, |(size, _)| size);
                }
                self.sized.insert((reply.node().clone(), session), window);
                self.later.push((now, LocalEvent::Done { reply, result: Ok(()) }));
            }
            LocalCommand::Forget { node, session } => drop(self.sized.remove(&(node, session))),
            LocalCommand::Kill { reply, session } => {
                if let Some(session) = self.session(session) {
                    session.ended.get_or_insert(ExitStatus::Signal(9));
                }
                self.later.push((now, LocalEvent::Done { reply, result: Ok(()) }));
            }
            LocalCommand::Create { reply, create } => {
                self.created.push(create.name);
                let created = LocalEvent::Created { reply, result: Ok(SessionId::random()) };
                self.later.push((now + dice.ms(3000), created));
            }
            LocalCommand::Change { reply, .. } => {
                self.later.push((now, LocalEvent::Done { reply, result: Ok(()) }));
            }
            LocalCommand::List { reply, after } => {
                let mut sessions: Vec<_> = self.sessions.iter().map(remote).collect();
                sessions.sort_by_key(|session| session.id);
                sessions.retain(|session| Some(session.id) > after);
                let has_more = sessions.len() > 2;
                sessions.truncate(2);
                self.later.push((now, LocalEvent::Listed { reply, sessions, has_more }));
            }
            LocalCommand::Provide { mirror, session, start, size, rules, .. } => {
                // One that an earlier run of the node has left goes on.
                let left = self.mirror_of(session).map(|(left, _)| left);
                let left = left.and_then(|left| self.mirrors.remove(&left));
                let mut new = match left {
                    Some(left) if left.head == start => left,
                    _ => ModelMirror::new(session, start, size, dice),
                };
                new.is_held = rules.pace == Pace::Slowest;
                let before = self.mirrors.insert(mirror, new);
                assert!(before.is_none(), "a mirror begins once");
            }
            LocalCommand::Item { mirror, item } => {
                let mirrored = self.mirrors.get_mut(&mirror).expect("a mirror that has begun");
                let bytes = mirrored.take(item);
                if bytes > 0 && mirrored.is_held {
                    mirrored.untold.push_back((mirrored.head, bytes));
                } else if bytes > 0 {
                    self.later.push((now + dice.ms(5), LocalEvent::MirrorTook { mirror, bytes }));
                }
            }
            LocalCommand::HostSilent { mirror, silent_for } => {
                if let Some(mirror) = self.mirrors.get_mut(&mirror) {
                    mirror.silences += u32::from(silent_for.is_some());
                    mirror.is_silent = silent_for.is_some();
                }
            }
            LocalCommand::MirrorTyped { stream, taken, .. } => {
                let typist = self.typists.iter_mut().find(|typist| typist.stream == stream).unwrap();
                assert!(taken >= typist.taken && taken <= typist.said as u64);
                typist.taken = taken;
            }
            LocalCommand::MirrorNotTyped { why, .. } => panic!("not typed: {why}"),
            LocalCommand::MirrorKilled { .. } => {}
            LocalCommand::EndMirror { mirror, why } => self.refused.push((mirror, why)),
        }
    }

    fn follow(
        &mut self,
        now: Duration,
        follow: FollowId,
        session: SessionId,
        begin: Begin,
        is_lossless: bool,
    ) {
        let Some(found) = self.session(session) else {
            self.later.push((now, LocalEvent::NotFollowed { follow, why: Refusal::NoSession }));
            return;
        };
        let (at, needs_screen) = match begin {
            Begin::At(at) => (at, false),
            Begin::Screen => (found.printed, true),
        };
        let (size, rules) = (found.size, SessionRules::new(found.pace, SizePolicy::Latest));
        let begun = LocalEvent::Following { follow, name: named(session), size, rules, start: at };
        self.later.push((now, begun));
        let is_over = false;
        self.follows.insert(follow, ModelFollow { session, at, needs_screen, size, is_lossless, is_over });
    }

    /// Types a piece, once.
    fn type_in(&mut self, session: SessionId, piece: TypedPiece) -> Result<(), Refusal> {
        let session = self.session(session).ok_or(Refusal::NoSession)?;
        let TypedPiece { position, data, .. } = piece;
        let taken = session.taken.entry(position.stream).or_default();
        assert!(position.offset <= *taken, "no hole in what is typed");
        let known = usize::try_from(*taken - position.offset).unwrap();
        if known < data.len() {
            *taken += (data.len() - known) as u64;
            session.typed.push((position.stream, data.slice(known..)));
        }
        Ok(())
    }

    /// Prints up to so many bytes: a lossless program as far as those that follow it are.
    pub(super) fn print(&mut self, session: SessionId, bytes: u64) {
        let Some(found) = self.session(session).filter(|session| session.ended.is_none()) else { return };
        let waits_for_all = found.is_lossless || found.pace == Pace::Slowest;
        let is_one = |follow: &&ModelFollow| follow.session == session && !follow.is_over;
        let behind = self.follows.values().filter(is_one);
        let slowest =
            behind.filter(|follow| follow.is_lossless || waits_for_all).map(|follow| follow.at).min();
        let Some(session) = self.session(session) else { return };
        let most = match slowest {
            Some(slowest) => (slowest + LOG / 2).saturating_sub(session.printed),
            _ => u64::MAX,
        };
        session.printed += bytes.min(most);
    }

    /// Says what is due, and what its node wants to read. Whether there was anything.
    pub(super) fn speak(&mut self, now: Duration, core: &mut NodeCore) -> bool {
        let (due, later) = self.later.drain(..).partition(|(at, _)| *at <= now);
        self.later = later;
        let mut has_spoken = false;
        let mut due: Vec<_> = due;
        due.sort_by_key(|(at, _)| *at);
        for (_, event) in due {
            has_spoken = true;
            core.handle_local(now, event);
        }
        for (mirror, held) in &mut self.mirrors {
            let slowest = held.slowest();
            while let Some((end, bytes)) = held.untold.front().copied()
                && end <= slowest + LOG / 2
            {
                has_spoken = true;
                held.untold.pop_front();
                core.handle_local(now, LocalEvent::MirrorTook { mirror: *mirror, bytes });
            }
        }
        for (id, follow) in &mut self.follows {
            while core.wants(*id) && !follow.is_over {
                let session = self.sessions.iter().find(|session| session.id == follow.session).unwrap();
                let Some(item) = follow.next(session) else { break };
                has_spoken = true;
                core.handle_local(now, LocalEvent::FollowItem { follow: *id, item });
            }
        }
        has_spoken
    }

    /// Each typist types some more, as far as there is room.
    pub(super) fn type_some(&mut self, now: Duration, core: &mut NodeCore, dice: &mut Random) {
        for at in 0..self.typists.len() {
            let Typist { session, stream, ref all, said, taken } = self.typists[at];
            let length = usize::try_from(1 + dice.below(300)).unwrap().min(all.len() - said);
            if length == 0 || said as u64 - taken > 10_000 {
                continue;
            }
            let data = Bytes::copy_from_slice(&all[said..said + length]);
            let position = crate::message::InputPosition { stream, offset: said as u64 };
            let piece = TypedPiece { position, from_terminal: false, data };
            if self.session(session).is_some() {
                // At the session's own node, it is the server's matter.
                self.type_in(session, piece).unwrap();
                self.typists[at].taken += length as u64;
            } else if let Some((mirror, _)) = self.mirror_of(session) {
                core.handle_local(now, LocalEvent::MirrorTyping { mirror, piece });
            } else {
                continue;
            }
            self.typists[at].said += length;
        }
    }
}

impl ModelFollow {
    /// What comes next of the session: as a client that follows is told.
    fn next(&mut self, session: &ModelSession) -> Option<StreamItem> {
        if self.at < session.oldest() {
            let from = std::mem::replace(&mut self.at, session.printed);
            self.needs_screen = true;
            return Some(StreamItem::Gap { from, to: self.at });
        }
        if std::mem::take(&mut self.needs_screen) && self.at > 0 {
            let data = screen(session.id, self.at);
            return Some(StreamItem::Screen { offset: self.at, data, is_last: true });
        }
        if self.size != session.size {
            self.size = session.size;
            return Some(StreamItem::Resized { size: self.size });
        }
        let length = usize::try_from((session.printed - self.at).min(50_000)).unwrap();
        if length > 0 {
            let offset = self.at;
            self.at += length as u64;
            return Some(StreamItem::Output { offset, data: truth(session.id, offset, length) });
        }
        session.ended.map(|status| {
            self.is_over = true;
            StreamItem::Ended { at: self.at, status }
        })
    }
}

fn named(session: SessionId) -> SessionName {
    format!("s-{session}").parse().unwrap()
}

fn remote(session: &ModelSession) -> RemoteSession {
    RemoteSession {
        id: session.id,
        name: named(session.id),
        size: session.size,
        printed: session.printed,
        is_running: session.ended.is_none(),
    }
}
