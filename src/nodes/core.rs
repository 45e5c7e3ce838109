//! A node, as a state machine: what a carrier brings and what happens here go in, messages and commands come out.
//!
//! Nothing here waits. What comes out is taken as there is room for it: messages by [`NodeCore::poll_publish`], so that
//! what is to be sent waits where it is bounded, and commands by [`NodeCore::next_local`].

mod changing;
mod hosting;
mod mirroring;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

pub(crate) use self::mirroring::LeftMirror;
use self::{changing::Remembered, hosting::NodeSize, mirroring::Mirror};
use super::{
    allow::AllowList,
    carrier::{CarrierEvent, CarrierMessage},
    directory::{BeatNews, Directory, KnownNode},
    figure::{NodeCounts, StreamReport},
    host::HostStream,
    message::{
        Answer, Beat, Begin, Incarnation, ReadRequest, Refusal, RemoteSession, StreamItem, TypedPiece,
        WantedSize, decode, encode,
    },
    requests::Requests,
    subject::{Class, Lane, NodeName, Subject},
    window::Pool,
};
use crate::{
    SessionId, SessionName, TerminalSize,
    message::{Create, InputStreamId, SessionChange, SessionRules},
};

/// How long an echo is waited for before it is said again.
const ECHO_WAIT: Duration = Duration::from_millis(500);

/// How often a line that stands is asked for an echo, and after how long without any it is taken as lost.
const ECHO_EVERY: Duration = Duration::from_secs(2);
const ECHO_LOST: Duration = Duration::from_secs(6);

/// How long a list is waited for.
const LIST_TIME: Duration = Duration::from_secs(5);

/// Messages that wait for the quick connection. What finds no room is lost, as it may be on its way.
const MAX_QUICK: usize = 4096;

/// What a request has besides what is typed by it, at most.
const WRITE_HEAD: usize = 64;

/// What a message may have besides its payload: a subject, and what the protocol of the carrier adds.
const OVERHEAD: usize = 1024;

/// The number of answers to the question which nodes there are. Nothing else has it.
const TO_ASK: u64 = 0;

/// A local session that is followed for one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FollowId(u64);

/// A session of another node that is provided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MirrorId(u64);

/// Who awaits an answer, and under which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    node: NodeName,
    number: u64,
}

impl ReplyTo {
    /// Who awaits it.
    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }
}

/// What the local server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalCommand {
    /// Follow a session. Brings `Following` or `NotFollowed`, then items while [`NodeCore::wants`] says so.
    Follow { follow: FollowId, session: SessionId, begin: Begin, is_lossless: bool },
    /// From where it is on, the program may be held back for it.
    Lossless { follow: FollowId },
    /// The stream is over.
    Unfollow { follow: FollowId },
    /// Type this for another node. Brings `Done`.
    Type { reply: ReplyTo, session: SessionId, piece: TypedPiece },
    /// Have a node count for a session's size as one terminal, or no longer. Brings `Done`.
    Resize { reply: ReplyTo, session: SessionId, window: WantedSize },
    /// A node watches a session no longer, and so does not count for its size.
    Forget { node: NodeName, session: SessionId },
    /// End a session's program. Brings `Done`.
    Kill { reply: ReplyTo, session: SessionId },
    /// Start a session. Brings `Created`, in any case.
    Create { reply: ReplyTo, create: Box<Create> },
    /// Change a session. Brings `Done`, in any case.
    Change { reply: ReplyTo, session: SessionId, change: SessionChange },
    /// Say which sessions there are. Brings `Listed`.
    List { reply: ReplyTo, after: Option<SessionId> },
    /// Provide a session.
    Provide {
        mirror: MirrorId,
        host: NodeName,
        session: SessionId,
        name: SessionName,
        size: TerminalSize,
        rules: SessionRules,
        start: u64,
    },
    /// What comes next of a provided session. Brings `MirrorTook` of output and screens.
    Item { mirror: MirrorId, item: StreamItem },
    /// Its host is silent for so long, or there again.
    HostSilent { mirror: MirrorId, silent_for: Option<Duration> },
    /// So much of a stream of input is typed.
    MirrorTyped { mirror: MirrorId, stream: InputStreamId, taken: u64 },
    /// The rest of a stream of input is not typed, for this reason.
    MirrorNotTyped { mirror: MirrorId, stream: InputStreamId, why: String },
    /// What was asked of its program's end is answered.
    MirrorKilled { mirror: MirrorId, result: Result<(), Refusal> },
    /// It ends, for this reason: its host will not say how.
    EndMirror { mirror: MirrorId, why: Refusal },
}

/// What happens at the local server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalEvent {
    Following {
        follow: FollowId,
        name: SessionName,
        size: TerminalSize,
        rules: SessionRules,
        start: u64,
    },
    NotFollowed {
        follow: FollowId,
        why: Refusal,
    },
    FollowItem {
        follow: FollowId,
        item: StreamItem,
    },
    Done {
        reply: ReplyTo,
        result: Result<(), Refusal>,
    },
    Created {
        reply: ReplyTo,
        result: Result<SessionId, Refusal>,
    },
    /// At most 64 sessions, and whether there are more.
    Listed {
        reply: ReplyTo,
        sessions: Vec<RemoteSession>,
        has_more: bool,
    },
    /// So many bytes of output and screens are in the mirror's log.
    MirrorTook {
        mirror: MirrorId,
        bytes: usize,
    },
    MirrorTyping {
        mirror: MirrorId,
        piece: TypedPiece,
    },
    /// Those who watch it want this size together.
    MirrorResize {
        mirror: MirrorId,
        window: WantedSize,
    },
    /// Whether any of them wants every byte.
    MirrorLossless {
        mirror: MirrorId,
        is_lossless: bool,
    },
    MirrorKill {
        mirror: MirrorId,
    },
    /// Nobody needs it, or it ended here.
    MirrorGone {
        mirror: MirrorId,
    },
    /// How many sessions there are.
    Sessions(u32),
}

/// What the person or program that runs a node may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A node is there; of one that was lost, for how long.
    Came(NodeName, Option<Duration>),
    Lost(NodeName),
    /// Another node has this name, and was there before. This one is to end.
    NameTaken,
    /// Another node tries to have this name.
    NameWanted,
    /// What became of a stream.
    Stream(StreamReport),
    /// What was asked for by this number.
    Listed {
        list: u64,
        result: Result<Vec<RemoteSession>, Refusal>,
    },
    /// What was asked to be changed by this number is, or is not; and the session that was started, if that was asked.
    Changed {
        change: u64,
        result: Result<Option<SessionId>, Refusal>,
    },
}

/// What a request is for.
#[derive(Debug)]
pub(super) enum Purpose {
    List { list: u64, sessions: Vec<RemoteSession> },
    Input { mirror: MirrorId, stream: InputStreamId },
    Resize { mirror: MirrorId },
    Kill { mirror: MirrorId },
    Change { change: u64, host: NodeName },
}

/// How a connection stands.
#[derive(Clone, Copy, Debug)]
struct LaneState {
    is_connected: bool,
    /// What was sent came back since.
    is_up: bool,
    most: usize,
    nonce: u64,
    echo_due: Duration,
    heard: Duration,
}

/// A node.
#[derive(Debug)]
pub(crate) struct NodeCore {
    name: NodeName,
    incarnation: Incarnation,
    allow: AllowList,
    directory: Directory,
    sessions: u32,
    /// The numbers of streams, requests and the rest: high half of the run, low half counted.
    last_number: u64,
    bulk: LaneState,
    quick: LaneState,
    /// What goes out on the quick connection.
    outbox: VecDeque<CarrierMessage>,
    requests: Requests<Purpose>,
    pool: Pool,
    hosting: BTreeMap<FollowId, HostStream>,
    /// Those that may have something to send, and whose turn it was.
    ready: BTreeSet<FollowId>,
    served: FollowId,
    /// Nothing is due before, for a stream that is not ready and for a mirror: so most turns look at none.
    streams_due: Duration,
    mirrors_due: Duration,
    /// What was done once for others.
    remembered: Remembered,
    /// What nodes want of sessions' sizes, and when it is looked whether they still watch.
    resized: HashMap<(NodeName, SessionId), NodeSize>,
    resized_due: Duration,
    mirrors: BTreeMap<MirrorId, Mirror>,
    /// Those into which something may have been typed that is to be sent.
    typed_into: BTreeSet<MirrorId>,
    /// Mirrors by the numbers of their streams.
    streams: HashMap<u64, MirrorId>,
    commands: VecDeque<LocalCommand>,
    reports: VecDeque<Report>,
    counts: NodeCounts,
}

impl NodeCore {
    /// A node of this name. `incarnation` is drawn at random.
    pub(crate) fn new(now: Duration, name: NodeName, incarnation: Incarnation, allow: AllowList) -> Self {
        let down =
            LaneState { is_connected: false, is_up: false, most: 0, nonce: 0, echo_due: now, heard: now };
        Self {
            directory: Directory::new(now, name.clone(), incarnation),
            name,
            incarnation,
            allow,
            sessions: 0,
            last_number: incarnation.0 << 32,
            bulk: down,
            quick: down,
            outbox: VecDeque::new(),
            requests: Requests::default(),
            pool: Pool::default(),
            hosting: BTreeMap::new(),
            ready: BTreeSet::new(),
            served: FollowId(0),
            streams_due: Duration::MAX,
            mirrors_due: Duration::MAX,
            remembered: Remembered::default(),
            resized: HashMap::new(),
            resized_due: now,
            mirrors: BTreeMap::new(),
            typed_into: BTreeSet::new(),
            streams: HashMap::new(),
            commands: VecDeque::new(),
            reports: VecDeque::new(),
            counts: NodeCounts::default(),
        }
    }

    /// The next command, if there is one.
    pub(crate) fn next_local(&mut self) -> Option<LocalCommand> {
        self.commands.pop_front()
    }

    /// The next report, if there is one.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// The nodes that are known.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeName, &KnownNode)> {
        self.directory.nodes()
    }

    /// Whether both connections stand.
    pub(crate) fn is_up(&self) -> bool {
        self.bulk.is_up && self.quick.is_up
    }

    /// Asks which sessions a node has. The answer is a [`Report::Listed`] of the number that this returns.
    pub(crate) fn list(&mut self, now: Duration, host: &NodeName) -> u64 {
        let list = self.draw_number();
        self.ask_list(now, host, list, Vec::new());
        list
    }

    fn ask_list(&mut self, now: Duration, host: &NodeName, list: u64, sessions: Vec<RemoteSession>) {
        let after = sessions.last().map(|session| session.id);
        let message = (host.clone(), Class::Read, encode(&ReadRequest::List { after }));
        let (number, purpose) = (self.draw_number(), Purpose::List { list, sessions });
        if self.requests.ask(now, number, message, Some(now + LIST_TIME), purpose).is_err() {
            self.reports.push_back(Report::Listed { list, result: Err(Refusal::TooMany) });
        }
    }

    /// A number that nothing else of this run has.
    pub(crate) fn draw_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Takes in what the carrier tells.
    pub(crate) fn handle_carrier(&mut self, now: Duration, event: CarrierEvent) {
        match event {
            CarrierEvent::Connected { lane, max_payload } => {
                let nonce = self.draw_number();
                let most = max_payload.saturating_sub(OVERHEAD);
                *self.lane(lane) =
                    LaneState { is_connected: true, is_up: false, most, nonce, echo_due: now, heard: now };
            }
            CarrierEvent::Disconnected { lane } => {
                let state = self.lane(lane);
                (state.is_connected, state.is_up) = (false, false);
            }
            CarrierEvent::NobodyThere { to, reply } => self.nobody_there(now, &to, reply),
            CarrierEvent::Denied(Subject { class, to: Some(to), .. }) => self.denied(now, &to, class),
            CarrierEvent::Denied(_) => {}
            CarrierEvent::Message(message) => self.receive(now, message),
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Bulk => &mut self.bulk,
            Lane::Quick => &mut self.quick,
        }
    }

    fn receive(&mut self, now: Duration, message: CarrierMessage) {
        let CarrierMessage { subject: Subject { class, to, from }, reply, payload } = message;
        if to.is_some_and(|to| to != self.name) {
            return;
        }
        match class {
            Class::Stream(0) => self.echoed(now, Lane::Bulk, &from, &payload),
            Class::Stream(number) => self.receive_stream(now, number, &from, &payload),
            Class::Read => match decode(&payload) {
                Some(ReadRequest::Echo { .. }) => self.echoed(now, Lane::Quick, &from, &payload),
                Some(request) => self.read_request(now, from, reply, request),
                None => {}
            },
            Class::Write => {
                if let (Some(number), Some(request)) = (reply, decode(&payload)) {
                    self.write_request(now, ReplyTo { node: from, number }, request);
                }
            }
            Class::Reply(number) => {
                if let Some(answer) = decode(&payload) {
                    self.answered(now, &from, number, answer);
                }
            }
            Class::Beat => {
                if let Some(beat) = decode(&payload) {
                    self.hear(now, &from, beat);
                }
            }
            Class::Ask if from != self.name => {
                let here = Answer::Here(self.own_beat(now, false));
                self.answer(&ReplyTo { node: from, number: TO_ASK }, &here);
            }
            Class::Ask => {}
        }
    }

    /// A message to oneself came back: so subscriptions stand, and the line is whole.
    fn echoed(&mut self, now: Duration, lane: Lane, from: &NodeName, payload: &[u8]) {
        let Some(ReadRequest::Echo { nonce }) = decode(payload) else { return };
        let is_own = *from == self.name;
        let state = self.lane(lane);
        if !is_own || nonce != state.nonce || !state.is_connected {
            return;
        }
        state.heard = now;
        if !std::mem::replace(&mut state.is_up, true) {
            state.echo_due = now + ECHO_EVERY;
            if self.is_up() {
                self.directory.beat_soon(now);
                let ask = Subject::to_all(Class::Ask, &self.name);
                self.send(CarrierMessage { subject: ask, reply: None, payload: Bytes::new() });
                self.reopen(now, None);
            }
        }
    }

    fn hear(&mut self, now: Duration, from: &NodeName, beat: Beat) {
        let away = self.directory.lost_for(now, from);
        let run = beat.incarnation;
        match self.directory.hear(now, from, beat) {
            BeatNews::Nothing => {}
            BeatNews::Came => {
                self.requests.hurry(now, from);
                self.reopen(now, Some((from, run)));
                self.reports.push_back(Report::Came(from.clone(), away));
            }
            BeatNews::Left => self.reports.push_back(Report::Lost(from.clone())),
            BeatNews::Elder => self.reports.push_back(Report::NameTaken),
            BeatNews::Younger => {
                // So that it hears of this one at once.
                self.directory.beat_soon(now);
                self.reports.push_back(Report::NameWanted);
            }
        }
    }

    fn answered(&mut self, now: Duration, from: &NodeName, number: u64, answer: Answer) {
        if let Answer::Here(beat) = answer {
            return self.hear(now, from, beat);
        }
        if let Some(mirror) = self.streams.get(&number).copied() {
            if let Answer::Refused(why) = answer {
                self.not_opened(now, mirror, from, why);
            }
            return;
        }
        if let Some(purpose) = self.requests.answered(number, from) {
            self.take_answer(now, from, purpose, answer);
        }
    }

    /// The broker refuses what was to be asked.
    fn denied(&mut self, now: Duration, to: &NodeName, class: Class) {
        while let Some(purpose) = self.requests.denied(to, class) {
            let why = "the permissions that this node has at nats-server do not allow that";
            self.take_answer(now, to, purpose, Answer::Refused(Refusal::failed(why)));
        }
    }

    fn take_answer(&mut self, now: Duration, from: &NodeName, purpose: Purpose, answer: Answer) {
        match purpose {
            Purpose::List { list, sessions } => self.listed(now, from, (list, sessions), answer),
            Purpose::Input { mirror, stream } => self.typed(now, mirror, stream, answer),
            Purpose::Resize { .. } => {}
            Purpose::Change { change, .. } => self.changed(change, answer),
            Purpose::Kill { mirror } => {
                let result = if let Answer::Refused(why) = answer { Err(why) } else { Ok(()) };
                self.commands.push_back(LocalCommand::MirrorKilled { mirror, result });
            }
        }
    }

    fn listed(
        &mut self,
        now: Duration,
        from: &NodeName,
        (list, mut sessions): (u64, Vec<RemoteSession>),
        answer: Answer,
    ) {
        let result = match answer {
            Answer::Sessions { sessions: more, has_more } => {
                // Each page goes on after the last: so there is an end.
                let goes_on =
                    has_more && more.last().map(|last| last.id) > sessions.last().map(|last| last.id);
                sessions.extend(more);
                if goes_on {
                    return self.ask_list(now, from, list, sessions);
                }
                Ok(sessions)
            }
            Answer::Refused(why) => Err(why),
            _ => Err(Refusal::failed("it answers what was not asked")),
        };
        self.reports.push_back(Report::Listed { list, result });
    }

    fn nobody_there(&mut self, now: Duration, to: &NodeName, reply: u64) {
        if let Some(mirror) = self.streams.get(&reply).copied() {
            self.no_host(now, mirror, to);
            return;
        }
        match self.requests.nobody_there(now, reply) {
            Some(Purpose::List { list, .. }) => {
                self.reports.push_back(Report::Listed { list, result: Err(nobody(to)) });
            }
            Some(Purpose::Change { change, host }) => self.change_unanswered(change, &host),
            Some(Purpose::Kill { mirror }) => {
                self.commands.push_back(LocalCommand::MirrorKilled { mirror, result: Err(nobody(to)) });
            }
            _ => {}
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Duration) {
        for name in self.directory.lose(now) {
            self.reports.push_back(Report::Lost(name));
        }
        while let Some(purpose) = self.requests.give_up(now) {
            let why = Refusal::failed("it does not answer");
            match purpose {
                Purpose::List { list, .. } => {
                    self.reports.push_back(Report::Listed { list, result: Err(why) });
                }
                Purpose::Kill { mirror } => {
                    self.commands.push_back(LocalCommand::MirrorKilled { mirror, result: Err(why) });
                }
                Purpose::Change { change, host } => self.change_unanswered(change, &host),
                Purpose::Input { .. } | Purpose::Resize { .. } => {}
            }
        }
        for lane in Lane::ALL {
            let state = self.lane(lane);
            if state.is_up && now >= state.heard + ECHO_LOST {
                // Nothing that was sent comes back: as if there were no connection, until something does.
                (state.is_up, state.echo_due) = (false, now);
            }
        }
        self.tick_streams(now);
        self.tick_sizes(now);
        self.tick_mirrors(now);
    }

    /// The next message for the lane, if there is one. It is asked for while the carrier has room.
    pub(crate) fn poll_publish(&mut self, now: Duration, lane: Lane) -> Option<CarrierMessage> {
        let own = self.name.clone();
        let state = self.lane(lane);
        if !state.is_connected {
            return None;
        }
        if now >= state.echo_due {
            state.echo_due = now + if state.is_up { ECHO_EVERY } else { ECHO_WAIT };
            let payload = encode(&ReadRequest::Echo { nonce: state.nonce });
            let class = if lane == Lane::Bulk { Class::Stream(0) } else { Class::Read };
            return Some(CarrierMessage { subject: Subject::new(class, &own, &own), reply: None, payload });
        }
        if !state.is_up {
            return None;
        }
        let most = state.most;
        match lane {
            Lane::Bulk => self.poll_streams(now, most),
            Lane::Quick => self.poll_quick(now, most),
        }
    }

    fn poll_quick(&mut self, now: Duration, most: usize) -> Option<CarrierMessage> {
        if let Some(message) = self.outbox.pop_front() {
            return Some(message);
        }
        if self.directory.is_beat_due(now) {
            return Some(self.beat(now, false));
        }
        self.ask_typed(now, most.saturating_sub(WRITE_HEAD));
        let (number, to, class, payload) = self.requests.say(now)?;
        if payload.len() > most
            && let Some(purpose) = self.requests.answered(number, &to)
        {
            let why = format!("it takes {} bytes, and nats-server lets {most} through", payload.len());
            self.take_answer(now, &to, purpose, Answer::Refused(Refusal::failed(&why)));
            return None;
        }
        let subject = Subject::new(class, &to, &self.name);
        Some(CarrierMessage { subject, reply: Some(number), payload })
    }

    /// What this node says of itself; the last one says that it leaves.
    pub(crate) fn beat(&self, now: Duration, is_last: bool) -> CarrierMessage {
        let subject = Subject::to_all(Class::Beat, &self.name);
        CarrierMessage { subject, reply: None, payload: encode(&self.own_beat(now, is_last)) }
    }

    fn own_beat(&self, now: Duration, is_last: bool) -> Beat {
        Beat {
            incarnation: self.incarnation,
            uptime_ms: self.directory.uptime_ms(now),
            every_ms: self.directory.every_ms(),
            sessions: self.sessions,
            streams: u32::try_from(self.hosting.len()).unwrap_or(u32::MAX),
            is_last,
        }
    }

    fn send(&mut self, message: CarrierMessage) {
        if self.outbox.len() < MAX_QUICK {
            self.outbox.push_back(message);
        }
    }

    fn answer(&mut self, ReplyTo { node, number }: &ReplyTo, answer: &Answer) {
        let subject = Subject::new(Class::Reply(*number), node, &self.name);
        self.send(CarrierMessage { subject, reply: None, payload: encode(answer) });
    }

    /// What is left for windows, in bytes: for tests of the credit.
    #[cfg(test)]
    pub(crate) fn pool_left(&self) -> usize {
        self.pool.left()
    }

    /// When [`tick`](Self::tick) and [`poll_publish`](Self::poll_publish) have something to do though nothing comes.
    pub(crate) fn due(&self) -> Duration {
        let lane = |state: &LaneState| {
            let lost = if state.is_up { state.heard + ECHO_LOST } else { Duration::MAX };
            if state.is_connected { state.echo_due.min(lost) } else { Duration::MAX }
        };
        let mut due = lane(&self.bulk).min(lane(&self.quick));
        if self.quick.is_up {
            due = due.min(self.directory.due()).min(self.requests.due().unwrap_or(Duration::MAX));
        }
        if self.is_up() {
            due = due.min(self.streams_due);
        }
        due.min(self.mirrors_due)
    }
}

/// There is no such node.
fn nobody(name: &NodeName) -> Refusal {
    Refusal::failed(&format!("there is no node {name}; `list --nodes` shows which there are"))
}
