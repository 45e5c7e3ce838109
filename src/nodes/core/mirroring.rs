//! The sessions of other nodes that are watched here.

use std::time::Duration;

use super::{LocalCommand, MirrorId, NodeCore, Purpose, nobody};
use crate::{
    SessionId, SessionName, TerminalSize,
    message::{InputStreamId, Pace, SessionRules, SizePolicy},
    nodes::{
        carrier::CarrierMessage,
        figure::WhyReopened,
        message::{
            Answer, Begin, Incarnation, ReadRequest, Refusal, StreamItem, StreamMessage, TypedPiece,
            WantedSize, WriteRequest, decode, encode,
        },
        subject::{Class, NodeName, Subject},
        typing::Typing,
        watch::{Watch, WatchNews, WatchOutcome},
        window::Window,
    },
};

/// How long the end of a session waits for answers to what was typed before it: those come on another connection.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// How long a host has to end a program.
const KILL_TIME: Duration = Duration::from_secs(8);

/// A session of another node.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) watch: Watch,
    pub(super) typing: Typing,
    /// Bytes that the local server has not taken.
    untaken: usize,
    /// Its end, which waits until then for answers to what was typed.
    ending: Option<(StreamItem, Duration)>,
    /// What it is called, since when its host is silent, and why it is over: to be told.
    pub(super) name: Option<SessionName>,
    pub(super) silent_since: Option<Duration>,
    pub(super) why_over: Option<Refusal>,
    /// The size that those who watch want together, once they do, and its order.
    wanted: Option<(u64, WantedSize)>,
}

/// A mirror that is in the local server still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftMirror {
    pub(crate) host: NodeName,
    pub(crate) session: SessionId,
    pub(crate) name: SessionName,
    pub(crate) size: TerminalSize,
    /// The byte that comes next.
    pub(crate) head: u64,
}

impl Mirror {
    fn new(watch: Watch) -> Self {
        let typing = Typing::default();
        Self {
            watch,
            typing,
            untaken: 0,
            ending: None,
            wanted: None,
            name: None,
            silent_since: None,
            why_over: None,
        }
    }

    pub(super) fn is_of(&self, session: SessionId) -> bool {
        self.watch.session == session
    }

    pub(super) fn due(&self, is_up: bool) -> Option<Duration> {
        self.ending.as_ref().map(|(_, until)| *until).or_else(|| self.watch.due(is_up))
    }
}

impl NodeCore {
    /// Watches a session of another node, from this place on unless it is watched already. Brings `Provide` once its
    /// stream has begun, or `EndMirror`.
    ///
    /// # Errors
    /// [`Refusal`]: this node watches as many as it can; or it would watch itself.
    pub(crate) fn watch(
        &mut self,
        now: Duration,
        host: &NodeName,
        session: SessionId,
        begin: Begin,
    ) -> Result<MirrorId, Refusal> {
        if *host == self.name {
            return Err(Refusal::failed("it is a session of this machine: leave out its node's name"));
        }
        if let Some((mirror, _)) = self.mirrors.iter().find(|(_, mirror)| mirror.is_of(session)) {
            return Ok(*mirror);
        }
        self.add_mirror(now, host, session, |watch| watch.beginning(begin))
    }

    /// Goes on with a mirror that an earlier run of this node has left, from where that had come to. Brings `Provide`.
    ///
    /// # Errors
    /// [`Refusal`]: this node watches as many as it can.
    pub(crate) fn resume(&mut self, now: Duration, left: LeftMirror) -> Result<MirrorId, Refusal> {
        let LeftMirror { host, session, name, size, head } = left;
        let mirror = self.add_mirror(now, &host, session, |watch| watch.resume(head, size))?;
        if let Some(entry) = self.mirrors.get_mut(&mirror) {
            entry.name = Some(name.clone());
        }
        // The local server knows the session, and its rules.
        let (rules, start) = (SessionRules::new(Pace::Fastest, SizePolicy::Latest), head);
        self.commands.push_back(LocalCommand::Provide { mirror, host, session, name, size, rules, start });
        Ok(mirror)
    }

    fn add_mirror(
        &mut self,
        now: Duration,
        host: &NodeName,
        session: SessionId,
        begin: impl FnOnce(Watch) -> Watch,
    ) -> Result<MirrorId, Refusal> {
        let window = Window::new(now, &mut self.pool).ok_or(Refusal::TooMany)?;
        let mirror = MirrorId(self.draw_number());
        let watch = begin(Watch::new(now, host.clone(), session, window));
        self.mirrors.insert(mirror, Mirror::new(watch));
        self.mirrors_due = now;
        Ok(mirror)
    }

    /// Watches a session no longer.
    pub(crate) fn unwatch(&mut self, mirror: MirrorId) {
        let Some(Mirror { watch, name, why_over, .. }) = self.mirrors.remove(&mirror) else { return };
        self.requests.cancel(|purpose| match purpose {
            Purpose::Input { mirror: of, .. }
            | Purpose::Resize { mirror: of }
            | Purpose::Kill { mirror: of } => *of == mirror,
            Purpose::List { .. } | Purpose::Change { .. } => false,
        });
        self.streams.retain(|_, of| *of != mirror);
        let host = watch.host.clone();
        self.tell_not_mirrored(host.clone(), watch.session, name, why_over);
        if let Some(close) = watch.close(&mut self.pool) {
            self.send_read(&host, None, &close);
        }
    }

    fn send_read(&mut self, to: &NodeName, reply: Option<u64>, request: &ReadRequest) {
        let subject = Subject::new(Class::Read, to, &self.name);
        self.send(CarrierMessage { subject, reply, payload: encode(request) });
    }

    pub(super) fn receive_stream(&mut self, now: Duration, number: u64, from: &NodeName, payload: &[u8]) {
        let mirror = self.streams.get(&number).copied();
        let entry = mirror.and_then(|mirror| Some((mirror, self.mirrors.get_mut(&mirror)?)));
        let Some((mirror, entry)) = entry.filter(|(_, entry)| entry.watch.host == *from) else {
            // It was closed, and its host has not heard of that.
            return self.send_read(from, None, &ReadRequest::Close { stream: number });
        };
        let mut outcome = WatchOutcome::default();
        match decode::<StreamMessage>(payload) {
            Some(message) => {
                entry.watch.receive(now, message, payload.len(), &mut self.pool, &mut outcome);
            }
            None => entry.watch.reopen(now, WhyReopened::Hole, &mut outcome),
        }
        self.carry_out(now, mirror, outcome);
    }

    /// Passes on what a watch has to say, and does what is due then.
    fn carry_out(&mut self, now: Duration, mirror: MirrorId, outcome: WatchOutcome) {
        self.pass_on(now, mirror, outcome);
        if !self.unwatch_if_over(mirror) {
            self.tick_mirror(now, mirror);
        }
    }

    /// Whether a mirror was over, of which nothing waits to be said.
    fn unwatch_if_over(&mut self, mirror: MirrorId) -> bool {
        let is_it = |entry: &Mirror| entry.watch.is_over() && entry.ending.is_none();
        let is_over = self.mirrors.get(&mirror).is_some_and(is_it);
        if is_over {
            self.unwatch(mirror);
        }
        is_over
    }

    fn pass_on(&mut self, now: Duration, mirror: MirrorId, outcome: WatchOutcome) {
        self.tell_watch(now, mirror, &outcome);
        let Some(entry) = self.mirrors.get_mut(&mirror) else { return };
        let (host, session) = (entry.watch.host.clone(), entry.watch.session);
        let mut is_opened = false;
        for news in outcome.news {
            if let WatchNews::Item(end @ StreamItem::Ended { .. }) = &news
                && entry.typing.is_waiting()
            {
                entry.ending = Some((end.clone(), now + ANSWER_TIME));
                continue;
            }
            self.commands.push_back(match news {
                WatchNews::Begins { start, name, size, rules } => {
                    LocalCommand::Provide { mirror, host: host.clone(), session, name, size, rules, start }
                }
                WatchNews::Opened => {
                    is_opened = true;
                    continue;
                }
                WatchNews::Item(item) => {
                    if let StreamItem::Output { data, .. } | StreamItem::Screen { data, .. } = &item {
                        entry.untaken += data.len();
                    }
                    LocalCommand::Item { mirror, item }
                }
                WatchNews::Silent { silent_for } => {
                    LocalCommand::HostSilent { mirror, silent_for: Some(silent_for) }
                }
                WatchNews::Back => LocalCommand::HostSilent { mirror, silent_for: None },
                WatchNews::Over(why) => {
                    let known = self.directory.get(&host).map(|known| known.beat.incarnation);
                    LocalCommand::EndMirror { mirror, why: ended(&entry.watch, known, why) }
                }
            });
        }
        for request in outcome.requests {
            let mut reply = None;
            match request {
                // The number of a stream is that of its answer as well: nobody may be there.
                ReadRequest::Open { stream, .. } => {
                    self.streams.insert(stream, mirror);
                    reply = Some(stream);
                }
                ReadRequest::Close { stream } => {
                    self.streams.remove(&stream);
                }
                _ => {}
            }
            self.send_read(&host, reply, &request);
        }
        if is_opened {
            self.ask_size(now, mirror);
        }
    }

    pub(super) fn tick_mirrors(&mut self, now: Duration) {
        if now < self.mirrors_due {
            return;
        }
        let is_up = self.is_up();
        let is_due = |mirror: &Mirror| mirror.due(is_up).is_some_and(|due| now >= due);
        let due = self.mirrors.iter().filter(|(_, mirror)| is_due(mirror));
        let due: Vec<_> = due.map(|(mirror, _)| *mirror).collect();
        due.into_iter().for_each(|mirror| self.tick_mirror(now, mirror));
        let due = self.mirrors.values().filter_map(|mirror| mirror.due(is_up)).min();
        self.mirrors_due = due.unwrap_or(Duration::MAX);
    }

    fn tick_mirror(&mut self, now: Duration, mirror: MirrorId) {
        let (is_up, next) = (self.is_up(), self.draw_number());
        let Some(entry) = self.mirrors.get_mut(&mirror) else { return };
        if entry.ending.as_ref().is_some_and(|(_, until)| now >= *until) {
            return self.end_mirror(mirror);
        }
        let mut outcome = WatchOutcome::default();
        if is_up {
            entry.watch.tick(now, entry.untaken, || next, &mut outcome);
        } else {
            entry.watch.look(now, &mut outcome);
        }
        self.mirrors_due = self.mirrors_due.min(entry.due(is_up).unwrap_or(Duration::MAX));
        self.pass_on(now, mirror, outcome);
        self.unwatch_if_over(mirror);
    }

    /// Opens the streams again, of a host that came, in this run, or of all: what was on its way may be lost.
    pub(super) fn reopen(&mut self, now: Duration, host: Option<(&NodeName, Incarnation)>) {
        // A stream that is open goes on when the first beat of its host comes.
        let is_it = |mirror: &Mirror| {
            host.is_none_or(|(host, run)| mirror.watch.host == *host && !mirror.watch.is_open_to(run))
        };
        let which = self.mirrors.iter().filter(|(_, mirror)| is_it(mirror));
        let which: Vec<_> = which.map(|(mirror, _)| *mirror).collect();
        for mirror in which {
            let Some(entry) = self.mirrors.get_mut(&mirror) else { continue };
            let mut outcome = WatchOutcome::default();
            let why = if host.is_some() { WhyReopened::Host } else { WhyReopened::Connection };
            entry.watch.reopen(now, why, &mut outcome);
            self.carry_out(now, mirror, outcome);
        }
    }

    pub(super) fn not_opened(&mut self, now: Duration, mirror: MirrorId, from: &NodeName, why: Refusal) {
        let entry = self.mirrors.get_mut(&mirror);
        let Some(entry) = entry.filter(|entry| entry.watch.host == *from) else { return };
        let mut outcome = WatchOutcome::default();
        entry.watch.refused(now, why, &mut outcome);
        self.carry_out(now, mirror, outcome);
    }

    pub(super) fn no_host(&mut self, now: Duration, mirror: MirrorId, host: &NodeName) {
        let is_new = self.mirrors.get(&mirror).is_some_and(|entry| !entry.watch.has_begun());
        if is_new {
            self.not_opened(now, mirror, host, nobody(host));
        }
    }

    pub(super) fn mirror_took(&mut self, now: Duration, mirror: MirrorId, bytes: usize) {
        if let Some(entry) = self.mirrors.get_mut(&mirror) {
            entry.untaken = entry.untaken.saturating_sub(bytes);
            self.tick_mirror(now, mirror);
        }
    }

    pub(super) fn mirror_typing(&mut self, now: Duration, mirror: MirrorId, piece: &TypedPiece) {
        let Some(entry) = self.mirrors.get_mut(&mirror) else { return };
        let stream = piece.position.stream;
        self.typed_into.insert(mirror);
        self.commands.extend(match entry.typing.push(now, piece) {
            Ok(taken) => taken.map(|taken| LocalCommand::MirrorTyped { mirror, stream, taken }),
            Err(why) => Some(LocalCommand::MirrorNotTyped { mirror, stream, why: why.to_string() }),
        });
    }

    /// Asks for what was typed to be typed.
    pub(super) fn ask_typed(&mut self, now: Duration, most: usize) {
        let mut number = self.last_number;
        for mirror in std::mem::take(&mut self.typed_into) {
            let Some(entry) = self.mirrors.get_mut(&mirror) else { continue };
            while let Some(piece) = entry.typing.next(most) {
                number += 1;
                let stream = piece.position.stream;
                let request = WriteRequest::input(entry.watch.session, piece);
                let message = (entry.watch.host.clone(), Class::Write, encode(&request));
                let purpose = Purpose::Input { mirror, stream };
                if self.requests.ask(now, number, message, None, purpose).is_err() {
                    entry.typing.put_back(stream);
                    self.typed_into.insert(mirror);
                    break;
                }
            }
        }
        self.last_number = number;
    }

    pub(super) fn typed(&mut self, now: Duration, mirror: MirrorId, stream: InputStreamId, answer: Answer) {
        let Some(entry) = self.mirrors.get_mut(&mirror) else { return };
        self.commands.extend(match answer {
            Answer::Done => {
                self.typed_into.insert(mirror);
                let taken = entry.typing.typed(now, stream);
                taken.map(|taken| LocalCommand::MirrorTyped { mirror, stream, taken })
            }
            Answer::Refused(why) => {
                entry.typing.refused(stream);
                Some(LocalCommand::MirrorNotTyped { mirror, stream, why: why.to_string() })
            }
            _ => None,
        });
        if entry.ending.is_some() && !entry.typing.is_waiting() {
            self.end_mirror(mirror);
        }
    }

    /// Says the end that has waited.
    fn end_mirror(&mut self, mirror: MirrorId) {
        let ending = self.mirrors.get_mut(&mirror).and_then(|entry| entry.ending.take());
        self.commands.extend(ending.map(|(item, _)| LocalCommand::Item { mirror, item }));
        self.unwatch(mirror);
    }

    pub(super) fn mirror_resize(&mut self, now: Duration, mirror: MirrorId, window: WantedSize) {
        let order = self.draw_number();
        if let Some(entry) = self.mirrors.get_mut(&mirror) {
            entry.wanted = Some((order, window));
            self.ask_size(now, mirror);
        }
    }

    /// Has this node count for the session's size. A host forgets of that what it was told before it was lost; what it
    /// still knows has the same order, and changes nothing.
    fn ask_size(&mut self, now: Duration, mirror: MirrorId) {
        let number = self.draw_number();
        let Some(entry) = self.mirrors.get(&mirror) else { return };
        let Some((order, window)) = entry.wanted else { return };
        let request = WriteRequest::Resize { session: entry.watch.session, window, order };
        let message = (entry.watch.host.clone(), Class::Write, encode(&request));
        self.requests.cancel(|purpose| matches!(purpose, Purpose::Resize { mirror: of } if *of == mirror));
        // One that can't be asked for is as good as one that is late.
        let _ = self.requests.ask(now, number, message, None, Purpose::Resize { mirror });
    }

    pub(super) fn mirror_lossless(&mut self, now: Duration, mirror: MirrorId, is_lossless: bool) {
        let Some(entry) = self.mirrors.get_mut(&mirror) else { return };
        let mut outcome = WatchOutcome::default();
        entry.watch.set_lossless(now, is_lossless, &mut outcome);
        self.carry_out(now, mirror, outcome);
    }

    pub(super) fn mirror_kill(&mut self, now: Duration, mirror: MirrorId) {
        let number = self.draw_number();
        let Some(entry) = self.mirrors.get(&mirror) else { return };
        let request = WriteRequest::Kill { session: entry.watch.session };
        let message = (entry.watch.host.clone(), Class::Write, encode(&request));
        let until = Some(now + KILL_TIME);
        if self.requests.ask(now, number, message, until, Purpose::Kill { mirror }).is_err() {
            let result = Err(Refusal::TooMany);
            self.commands.push_back(LocalCommand::MirrorKilled { mirror, result });
        }
    }
}

/// Why a mirror is over, for those who watch it, if any do.
fn ended(watch: &Watch, known: Option<Incarnation>, why: Refusal) -> Refusal {
    let host = &watch.host;
    match why {
        why if !watch.has_begun() => why,
        Refusal::NoSession if known.is_some() && known != watch.incarnation() => {
            Refusal::failed(&format!("{host} was restarted, and no longer has this session"))
        }
        Refusal::NoSession => Refusal::failed(&format!("{host} no longer has this session")),
        why => Refusal::failed(&format!("{host} refuses this session: {why}")),
    }
}
