//! A server of the crowd: sessions that print by themselves, and mirrors whose viewers are a count.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    SessionId, TerminalSize,
    message::{self, InputPosition, InputStreamId, SessionRules, SizePolicy},
    nodes::{
        core::{FollowId, LocalCommand, LocalEvent, MirrorId, NodeCore},
        message::{Begin, Refusal, StreamItem, TypedPiece},
        tests::{model::truth, simulation::SimulatedServer},
    },
    random::Random,
};

/// What a log holds, in bytes.
const LOG: u64 = 512 * 1024;

/// How much is read of a session at once.
const PIECE: u64 = 32 * 1024;

/// Keys that are typed at once, and how often.
const KEYS: u64 = 3;
const TYPING: Duration = Duration::from_millis(400);

/// How much a session prints, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    Flood,
    Steady,
    Some,
    Little,
}

impl Pace {
    fn piece(self) -> (u64, Duration) {
        let (bytes, ms) = match self {
            Self::Flood => (64 * 1024, 64),
            Self::Steady => (4096, 100),
            Self::Some => (500, 500),
            Self::Little => (80, 10_000),
        };
        (bytes, Duration::from_millis(ms))
    }
}

struct CrowdSession {
    pace: Pace,
    printed: u64,
    /// When a broker was lost.
    mark: u64,
    follows: Vec<FollowId>,
    taken: HashMap<InputStreamId, u64>,
}

struct CrowdFollow {
    session: SessionId,
    at: u64,
    needs_screen: bool,
}

/// A session of another node.
pub(super) struct CrowdMirror {
    pub(super) host: usize,
    pub(super) session: SessionId,
    pub(super) viewers: usize,
    pub(super) has_begun: bool,
    pub(super) start: u64,
    pub(super) head: u64,
    pub(super) read: u64,
    pub(super) missed: u64,
    pub(super) gaps: u64,
    awaits_screen: bool,
    pub(super) silent_at: Option<Duration>,
    /// What one of its viewers types, if one does.
    stream: Option<InputStreamId>,
    pub(super) said: u64,
    pub(super) typed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Print(SessionId),
    Type(MirrorId),
}

#[derive(Default)]
pub(super) struct CrowdServer {
    sessions: HashMap<SessionId, CrowdSession>,
    follows: BTreeMap<FollowId, CrowdFollow>,
    /// Those that may have something to read.
    ready: Vec<FollowId>,
    mirrors: BTreeMap<MirrorId, CrowdMirror>,
    later: Vec<LocalEvent>,
    agenda: BinaryHeap<Reverse<(Duration, Due)>>,
    is_quiet: bool,
    /// Why mirrors ended that were watched.
    pub(super) ended: Vec<Refusal>,
}

impl CrowdServer {
    pub(super) fn begin(&mut self, session: SessionId, pace: Pace, first: Duration) {
        let (follows, taken) = (Vec::new(), HashMap::new());
        self.sessions.insert(session, CrowdSession { pace, printed: 0, mark: 0, follows, taken });
        self.agenda.push(Reverse((first, Due::Print(session))));
    }

    /// Nothing is printed or typed any more.
    pub(super) fn quiet(&mut self) {
        self.is_quiet = true;
    }

    pub(super) fn print(&mut self, session: SessionId, bytes: u64) {
        let session = self.sessions.get_mut(&session).expect("a session of this server");
        session.printed += bytes;
        session.mark = session.printed;
        self.ready.extend(&session.follows);
    }

    pub(super) fn printed(&self, session: SessionId) -> u64 {
        self.sessions[&session].printed
    }

    pub(super) fn printed_at_mark(&self, session: SessionId) -> u64 {
        self.sessions[&session].mark
    }

    pub(super) fn watches(&self, session: SessionId) -> bool {
        self.mirrors.values().any(|mirror| mirror.session == session)
    }

    pub(super) fn mirrors(&self) -> impl Iterator<Item = (MirrorId, &CrowdMirror)> {
        self.mirrors.iter().map(|(mirror, entry)| (*mirror, entry))
    }

    pub(super) fn mirror(&self, mirror: MirrorId) -> Option<&CrowdMirror> {
        self.mirrors.get(&mirror)
    }

    /// A mirror will begin.
    pub(super) fn expect(
        &mut self,
        mirror: MirrorId,
        (host, session): (usize, SessionId),
        viewers: usize,
        is_typed_into: bool,
    ) {
        let stream = is_typed_into.then(InputStreamId::random);
        let entry = CrowdMirror {
            host,
            session,
            viewers,
            has_begun: false,
            start: 0,
            head: 0,
            read: 0,
            missed: 0,
            gaps: 0,
            awaits_screen: false,
            silent_at: None,
            stream,
            said: 0,
            typed: 0,
        };
        self.mirrors.insert(mirror, entry);
    }

    /// One of the mirrors ends, because nobody watches it.
    pub(super) fn forget_one(&mut self, dice: &mut Random) -> Option<MirrorId> {
        let which = *self.mirrors.keys().nth(dice.index(self.mirrors.len()))?;
        self.mirrors.remove(&which);
        Some(which)
    }

    /// The node ended, and with it all that it had here.
    pub(super) fn node_lost(&mut self) {
        self.follows.clear();
        self.ready.clear();
        self.mirrors.clear();
        self.later.clear();
        self.sessions.values_mut().for_each(|session| session.follows.clear());
    }

    fn type_in(&mut self, session: SessionId, piece: &TypedPiece) {
        let session = self.sessions.get_mut(&session).expect("a session of this server");
        let InputPosition { stream, offset } = piece.position;
        let taken = session.taken.entry(stream).or_default();
        assert!(offset <= *taken, "no hole in what is typed");
        assert_eq!(piece.data, keys(offset, piece.data.len() as u64), "each key at its place");
        *taken = (*taken).max(offset + piece.data.len() as u64);
    }

    fn follow(&mut self, follow: FollowId, session: SessionId, begin: Begin) {
        let found = self.sessions.get_mut(&session).expect("a session of this server");
        let (at, needs_screen) = match begin {
            Begin::At(at) => (at, false),
            Begin::Screen => (found.printed, found.printed > 0),
        };
        found.follows.push(follow);
        self.follows.insert(follow, CrowdFollow { session, at, needs_screen });
        self.ready.push(follow);
        let (name, size) = ("s".parse().expect("a name"), TerminalSize::DEFAULT);
        let rules = SessionRules::new(message::Pace::Fastest, SizePolicy::Latest);
        self.later.push(LocalEvent::Following { follow, name, size, rules, start: at });
    }

    fn unfollow(&mut self, follow: FollowId) {
        if let Some(CrowdFollow { session, .. }) = self.follows.remove(&follow)
            && let Some(session) = self.sessions.get_mut(&session)
        {
            session.follows.retain(|other| *other != follow);
        }
    }

    /// What is due by itself.
    fn act(&mut self, now: Duration) {
        while self.due().is_some_and(|at| at <= now)
            && let Some(Reverse((_, due))) = self.agenda.pop()
        {
            if self.is_quiet {
                continue;
            }
            match due {
                Due::Print(id) => {
                    let session = self.sessions.get_mut(&id).expect("a session of this server");
                    let (bytes, pause) = session.pace.piece();
                    session.printed += bytes;
                    self.ready.extend(&session.follows);
                    self.agenda.push(Reverse((now + pause, due)));
                }
                Due::Type(mirror) => {
                    let Some(entry) = self.mirrors.get_mut(&mirror) else { continue };
                    let Some(stream) = entry.stream.filter(|_| entry.said - entry.typed < 10_000) else {
                        continue;
                    };
                    let (position, data) =
                        (InputPosition { stream, offset: entry.said }, keys(entry.said, KEYS));
                    entry.said += KEYS;
                    let piece = TypedPiece { position, from_terminal: false, data };
                    self.later.push(LocalEvent::MirrorTyping { mirror, piece });
                    self.agenda.push(Reverse((now + TYPING, due)));
                }
            }
        }
    }

    /// Reads what there is of a session, as far as its stream wants it. Whether there is more.
    fn read(&mut self, now: Duration, id: FollowId, core: &mut NodeCore) -> bool {
        let Some(follow) = self.follows.get_mut(&id) else { return false };
        let printed = self.sessions[&follow.session].printed;
        while core.wants(id) {
            let item = if follow.at < printed.saturating_sub(LOG) {
                let from = std::mem::replace(&mut follow.at, printed);
                follow.needs_screen = true;
                StreamItem::Gap { from, to: printed }
            } else if std::mem::take(&mut follow.needs_screen) {
                StreamItem::Screen {
                    offset: follow.at,
                    data: Bytes::from_static(&[b'.'; 2000]),
                    is_last: true,
                }
            } else if follow.at < printed {
                let (offset, length) = (follow.at, (printed - follow.at).min(PIECE));
                follow.at += length;
                let length = usize::try_from(length).expect("a piece");
                StreamItem::Output { offset, data: truth(follow.session, offset, length) }
            } else {
                return false;
            };
            core.handle_local(now, LocalEvent::FollowItem { follow: id, item });
        }
        true
    }
}

/// What is typed from here on.
fn keys(offset: u64, length: u64) -> Bytes {
    (offset..offset + length).map(|at| b'a' + (at % 26) as u8).collect()
}

impl CrowdMirror {
    /// Takes in what comes next; panics if it does not follow what came before.
    fn take(&mut self, item: StreamItem) -> usize {
        assert!(self.has_begun);
        match item {
            StreamItem::Output { offset, data } => {
                assert_eq!(offset, self.head, "output follows output");
                assert_eq!(data, truth(self.session, offset, data.len()));
                assert!(!self.awaits_screen, "a gap's screen comes before what follows it");
                self.head += data.len() as u64;
                self.read += data.len() as u64;
                return data.len();
            }
            StreamItem::Gap { from, to } => {
                assert!(from == self.head && to > from, "gaps are exact");
                self.missed += to - from;
                self.gaps += 1;
                (self.head, self.awaits_screen) = (to, true);
            }
            StreamItem::Screen { offset, data, .. } => {
                assert_eq!(offset, self.head);
                self.awaits_screen = false;
                return data.len();
            }
            other => panic!("{other:?}"),
        }
        0
    }
}

impl SimulatedServer for CrowdServer {
    fn due(&self) -> Option<Duration> {
        let Reverse((at, _)) = self.agenda.peek()?;
        Some(*at)
    }

    fn command(&mut self, now: Duration, command: LocalCommand, _dice: &mut Random) {
        match command {
            LocalCommand::Follow { follow, session, begin, .. } => self.follow(follow, session, begin),
            LocalCommand::Unfollow { follow } => self.unfollow(follow),
            LocalCommand::Type { reply, session, piece } => {
                self.type_in(session, &piece);
                self.later.push(LocalEvent::Done { reply, result: Ok(()) });
            }
            LocalCommand::Provide { mirror, start, .. } => {
                if let Some(entry) = self.mirrors.get_mut(&mirror) {
                    (entry.has_begun, entry.start, entry.head) = (true, start, start);
                    entry.awaits_screen = start > 0;
                    if entry.stream.is_some() {
                        self.agenda.push(Reverse((now, Due::Type(mirror))));
                    }
                }
            }
            LocalCommand::Item { mirror, item } => {
                if let Some(entry) = self.mirrors.get_mut(&mirror) {
                    let bytes = entry.take(item);
                    self.later.extend((bytes > 0).then_some(LocalEvent::MirrorTook { mirror, bytes }));
                }
            }
            LocalCommand::HostSilent { mirror, silent_for } => {
                if let Some(entry) = self.mirrors.get_mut(&mirror) {
                    entry.silent_at = silent_for.map(|_| now);
                }
            }
            LocalCommand::MirrorTyped { mirror, taken, .. } => {
                if let Some(entry) = self.mirrors.get_mut(&mirror) {
                    assert!(taken >= entry.typed && taken <= entry.said);
                    entry.typed = taken;
                }
            }
            LocalCommand::EndMirror { mirror, why } => {
                self.mirrors.remove(&mirror);
                self.ended.push(why);
            }
            other => panic!("{other:?}"),
        }
    }

    fn speak(&mut self, now: Duration, core: &mut NodeCore) -> bool {
        self.act(now);
        let later = std::mem::take(&mut self.later);
        let mut has_spoken = !later.is_empty();
        for event in later {
            core.handle_local(now, event);
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_unstable();
        ready.dedup();
        let before = ready.len();
        ready.retain(|follow| self.read(now, *follow, core));
        has_spoken |= ready.len() < before;
        self.ready.extend(ready);
        has_spoken
    }
}
