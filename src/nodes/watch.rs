//! The watcher's end of a stream: one session of another node, from its first byte here to its end.
//!
//! There is one way to repair anything: where a message is missing, or nothing comes, or the connection is another one,
//! the stream is dropped, and another one opened at the first byte that is lacking. What came in order is kept.

use std::{mem, time::Duration};

use bytes::Bytes;

use super::{
    figure::WhyReopened,
    message::{Begin, Incarnation, ReadRequest, Refusal, StreamItem, StreamMessage},
    subject::NodeName,
    window::{Pool, Window},
};
use crate::{SessionId, SessionName, TerminalSize, message::SessionRules};

/// A stream of which nothing comes for so long is lost. Its host says something every two seconds.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// A host that answers nothing for so long has no such session, for who waits for it.
const BEGIN_TIME: Duration = Duration::from_secs(15);

/// How often the host is told that its watcher is there; and at first, in case that the last credit got lost.
const MORE: Duration = Duration::from_secs(2);
const FIRST_MORE: Duration = Duration::from_millis(200);

/// How long an opening is waited for before it is said again: at first and at most.
const FIRST_OPEN: Duration = Duration::from_millis(300);
const LAST_OPEN: Duration = Duration::from_secs(2);

/// The pause before a stream is opened again: after none that brought anything, doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// What is kept of a screen until its last piece has come, in bytes.
const MAX_SCREEN: usize = 4 * 1024 * 1024;

/// A session of another node that is watched here.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) host: NodeName,
    pub(crate) session: SessionId,
    window: Window,
    state: WatchState,
    /// The run of the host that had the session.
    incarnation: Option<Incarnation>,
    /// Where it begins.
    first: Begin,
    /// The first byte that is lacking, once it has begun.
    head: Option<u64>,
    size: TerminalSize,
    /// What came before the head does not make a screen: one has to be drawn.
    needs_screen: bool,
    /// The pieces of one that have come; `None` of one that is too large.
    screen: Option<Vec<StreamItem>>,
    /// Streams in a row that brought nothing.
    failures: u32,
    /// Somebody here wants every byte.
    is_lossless: bool,
    /// When something came of it last, and whether it was said that nothing does.
    heard: Duration,
    is_silent: bool,
}

#[derive(Debug)]
enum WatchState {
    /// No stream; another one is opened then.
    Closed(Duration),
    Opening {
        number: u64,
        due: Duration,
        pause: Duration,
    },
    Open {
        number: u64,
        seq: u32,
        heard: Duration,
        due: Duration,
        pause: Duration,
        has_brought: bool,
    },
    Over,
}

/// What a watch has to say.
#[derive(Debug, Default)]
pub(crate) struct WatchOutcome {
    /// To its host.
    pub(crate) requests: Vec<ReadRequest>,
    /// To its mirror.
    pub(crate) news: Vec<WatchNews>,
    /// Its stream is dropped, and another one will be opened.
    pub(crate) reopens: Option<WhyReopened>,
}

/// What a mirror is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WatchNews {
    /// It begins here.
    Begins { start: u64, name: SessionName, size: TerminalSize, rules: SessionRules },
    /// A stream of it is open, the first or another one.
    Opened,
    /// This comes next: output, a gap, a screen, a size, or the end.
    Item(StreamItem),
    /// The host is silent for so long.
    Silent { silent_for: Duration },
    /// It is there again.
    Back,
    /// It will not be, for this reason.
    Over(Refusal),
}

impl Watch {
    /// Watches a session. It is opened when next [`tick`](Self::tick)ed.
    pub(crate) fn new(now: Duration, host: NodeName, session: SessionId, window: Window) -> Self {
        Self {
            host,
            session,
            window,
            state: WatchState::Closed(now),
            incarnation: None,
            first: Begin::Screen,
            head: None,
            size: TerminalSize::DEFAULT,
            needs_screen: true,
            screen: Some(Vec::new()),
            failures: 0,
            is_lossless: false,
            heard: now,
            is_silent: false,
        }
    }

    /// This watch, from another place on.
    pub(crate) fn beginning(self, first: Begin) -> Self {
        Self { first, ..self }
    }

    /// Goes on with one whose mirror has come to this byte, with this size.
    pub(crate) fn resume(self, head: u64, size: TerminalSize) -> Self {
        Self { head: Some(head), size, needs_screen: false, ..self }
    }

    /// The number of its stream, if it has one.
    pub(crate) fn number(&self) -> Option<u64> {
        match self.state {
            WatchState::Opening { number, .. } | WatchState::Open { number, .. } => Some(number),
            WatchState::Closed(_) | WatchState::Over => None,
        }
    }

    /// Whether anything of it has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.head.is_some()
    }

    /// Whether it has a stream from this run of its host.
    pub(crate) fn is_open_to(&self, run: Incarnation) -> bool {
        matches!(self.state, WatchState::Open { .. }) && self.incarnation == Some(run)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, WatchState::Over)
    }

    /// Ends it, and gives its window back.
    pub(crate) fn close(self, pool: &mut Pool) -> Option<ReadRequest> {
        let number = self.number();
        self.window.close(pool);
        number.map(|stream| ReadRequest::Close { stream })
    }

    /// The connection is another one, or the host came back: what was on its way may be lost.
    pub(crate) fn reopen(&mut self, now: Duration, why: WhyReopened, outcome: &mut WatchOutcome) {
        if !self.is_over() {
            self.failures = 0;
            self.drop_stream(now, why, outcome);
        }
    }

    /// Whether somebody here wants every byte. The host holds its program back from where the stream is on; no longer
    /// with another stream.
    pub(crate) fn set_lossless(&mut self, now: Duration, is_lossless: bool, outcome: &mut WatchOutcome) {
        if std::mem::replace(&mut self.is_lossless, is_lossless) == is_lossless {
            return;
        }
        match &mut self.state {
            WatchState::Open { due, pause, .. } if is_lossless => (*due, *pause) = (now, FIRST_MORE),
            _ if is_lossless => {}
            _ => self.reopen(now, WhyReopened::Lossless, outcome),
        }
    }

    /// The run of the host that has the session, as far as is known.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// Says that the host is silent, if it is: also while there is no connection. What has not begun by then is over.
    pub(crate) fn look(&mut self, now: Duration, outcome: &mut WatchOutcome) {
        if !self.is_over() && !self.has_begun() && now >= self.heard + BEGIN_TIME {
            return self.refused(now, Refusal::failed("it does not answer"), outcome);
        }
        if !self.is_over() && !self.is_silent && now >= self.heard + SILENCE {
            self.is_silent = true;
            outcome.news.push(WatchNews::Silent { silent_for: now.saturating_sub(self.heard) });
        }
    }

    /// Does what is due. `unused` is what its mirror has not taken yet, in bytes; `next` draws a stream's number.
    pub(crate) fn tick(
        &mut self,
        now: Duration,
        unused: usize,
        next: impl FnOnce() -> u64,
        outcome: &mut WatchOutcome,
    ) {
        if let WatchState::Open { heard, .. } = self.state
            && now >= heard + SILENCE
        {
            self.drop_stream(now, WhyReopened::Silence, outcome);
        }
        self.look(now, outcome);
        let begin = match self.head {
            Some(head) if !self.needs_screen => Begin::At(head),
            Some(_) => Begin::Screen,
            None => self.first,
        };
        let (session, window, is_lossless) = (self.session, &mut self.window, self.is_lossless);
        let open = |number, window: &Window| ReadRequest::Open {
            stream: number,
            session,
            begin,
            limit: window.granted(),
            is_lossless,
        };
        match &mut self.state {
            WatchState::Closed(due) if now >= *due => {
                window.restart(now);
                let number = next();
                outcome.requests.push(open(number, window));
                self.state = WatchState::Opening { number, due: now + FIRST_OPEN, pause: FIRST_OPEN };
            }
            WatchState::Opening { number, due, pause } if now >= *due => {
                outcome.requests.push(open(*number, window));
                *pause = (*pause * 2).min(LAST_OPEN);
                *due = now + *pause;
            }
            WatchState::Open { number, due, pause, .. } => {
                if let Some(limit) = window.grant(now, unused) {
                    outcome.requests.push(ReadRequest::More { stream: *number, limit, is_lossless });
                    (*due, *pause) = (now + FIRST_MORE, FIRST_MORE);
                } else if now >= *due {
                    let limit = window.granted();
                    outcome.requests.push(ReadRequest::More { stream: *number, limit, is_lossless });
                    *pause = (*pause * 2).min(MORE);
                    *due = now + *pause;
                }
            }
            WatchState::Closed(_) | WatchState::Opening { .. } | WatchState::Over => {}
        }
    }

    /// When there is something to do though nothing comes: without a connection, only to say that the host is silent.
    pub(crate) fn due(&self, is_up: bool) -> Option<Duration> {
        let silence = match self.is_silent {
            _ if self.is_over() => None,
            false => Some(self.heard + SILENCE),
            true => (!self.has_begun()).then_some(self.heard + BEGIN_TIME),
        };
        if !is_up {
            return silence;
        }
        let due = match self.state {
            WatchState::Closed(due) | WatchState::Opening { due, .. } => due,
            WatchState::Open { heard, due, .. } => due.min(heard + SILENCE),
            WatchState::Over => return None,
        };
        Some(silence.map_or(due, |silence| due.min(silence)))
    }

    /// Takes in a message of its stream, of so many bytes.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        message: StreamMessage,
        bytes: usize,
        pool: &mut Pool,
        outcome: &mut WatchOutcome,
    ) {
        if let WatchState::Opening { number, .. } = self.state {
            let (due, pause) = (now + FIRST_MORE, FIRST_MORE);
            self.state = WatchState::Open { number, seq: 0, heard: now, due, pause, has_brought: false };
        }
        let WatchState::Open { seq, heard, .. } = &mut self.state else { return };
        *heard = now;
        self.heard = now;
        let after = message.seq.wrapping_sub(*seq);
        if after > u32::MAX / 2 {
            // It came before.
            return;
        }
        let weight = if message.items == [StreamItem::Tail] { 0 } else { bytes };
        if after > 0 {
            self.drop_stream(now, WhyReopened::Hole, outcome);
            return;
        }
        if !self.window.receive(now, weight, pool) {
            self.drop_stream(now, WhyReopened::Credit, outcome);
            return;
        }
        *seq = seq.wrapping_add(1);
        if mem::take(&mut self.is_silent) {
            outcome.news.push(WatchNews::Back);
        }
        for item in message.items {
            if !self.take(now, item, outcome) {
                self.drop_stream(now, WhyReopened::Hole, outcome);
                return;
            }
        }
    }

    /// Takes in a part. Whether it goes on from what was there.
    fn take(&mut self, now: Duration, item: StreamItem, outcome: &mut WatchOutcome) -> bool {
        let WatchState::Open { has_brought, seq, .. } = &mut self.state else { return true };
        match (&item, self.head) {
            (StreamItem::Tail, _) => return true,
            (StreamItem::Opened { incarnation, start, name, size, rules }, _) => {
                let opened = (*incarnation, *start, name.clone(), *size, *rules);
                return *seq == 1 && self.begin(now, opened, outcome);
            }
            (StreamItem::Refused(why), _) => {
                self.refused(now, why.clone(), outcome);
                return true;
            }
            (StreamItem::Output { offset, data }, Some(head)) if *offset == head => {
                self.head = Some(head + data.len() as u64);
                self.needs_screen = false;
                *has_brought = true;
            }
            (StreamItem::Gap { from, to }, Some(head)) if *from == head && to > from => {
                self.head = Some(*to);
                self.needs_screen = true;
                *has_brought = true;
            }
            (StreamItem::Screen { offset, is_last, .. }, Some(head)) if *offset == head => {
                return self.take_screen(*is_last, item, outcome);
            }
            (StreamItem::Resized { size }, Some(_)) => self.size = *size,
            (StreamItem::Ended { at, .. }, Some(head)) if *at == head => {
                outcome.requests.extend(self.number().map(|stream| ReadRequest::Close { stream }));
                self.state = WatchState::Over;
            }
            _ => return false,
        }
        outcome.news.push(WatchNews::Item(item));
        true
    }

    /// A screen is passed on once it is whole; in the place of one that is too large, an empty one is.
    fn take_screen(&mut self, is_last: bool, item: StreamItem, outcome: &mut WatchOutcome) -> bool {
        let StreamItem::Screen { offset, .. } = item else { return true };
        if let Some(pieces) = &mut self.screen {
            pieces.push(item);
            if pieces.iter().map(StreamItem::weight).sum::<usize>() > MAX_SCREEN {
                self.screen = None;
            }
        }
        if is_last {
            let none = || vec![StreamItem::Screen { offset, data: Bytes::new(), is_last: true }];
            let pieces = self.screen.replace(Vec::new()).unwrap_or_else(none);
            outcome.news.extend(pieces.into_iter().map(WatchNews::Item));
            self.needs_screen = false;
        }
        true
    }

    /// A stream begins. An id that a server draws is of one session ever, so another run of the host may have the
    /// session still. An id that is used again may be of another one by now.
    fn begin(
        &mut self,
        now: Duration,
        (incarnation, start, name, size, rules): (Incarnation, u64, SessionName, TerminalSize, SessionRules),
        outcome: &mut WatchOutcome,
    ) -> bool {
        let is_other = self.incarnation.replace(incarnation).is_some_and(|before| before != incarnation);
        let is_used_once = self.session.as_uuid().get_version_num() == 4;
        if is_other && !is_used_once || self.head.is_some_and(|head| start < head) {
            self.refused(now, Refusal::NoSession, outcome);
            return true;
        }
        match self.head.replace(start) {
            None => {
                // Before its first byte there is nothing to draw.
                self.needs_screen = start > 0;
                outcome.news.push(WatchNews::Begins { start, name, size, rules });
            }
            Some(head) => {
                if start > head {
                    outcome.news.push(WatchNews::Item(StreamItem::Gap { from: head, to: start }));
                    self.needs_screen = true;
                }
                if size != self.size {
                    outcome.news.push(WatchNews::Item(StreamItem::Resized { size }));
                }
            }
        }
        self.size = size;
        outcome.news.push(WatchNews::Opened);
        true
    }

    /// The host refuses: for good, or so that it is tried again.
    pub(crate) fn refused(&mut self, now: Duration, why: Refusal, outcome: &mut WatchOutcome) {
        let is_final = self.head.is_none() || matches!(why, Refusal::NoSession | Refusal::NotAllowed);
        self.drop_stream(now, WhyReopened::Refused, outcome);
        if is_final {
            outcome.reopens = None;
            self.state = WatchState::Over;
            outcome.news.push(WatchNews::Over(why));
        }
    }

    /// Drops the stream; another one is opened, soon if this one brought anything.
    fn drop_stream(&mut self, now: Duration, why: WhyReopened, outcome: &mut WatchOutcome) {
        if matches!(self.state, WatchState::Open { .. }) {
            outcome.reopens = Some(why);
        }
        outcome.requests.extend(self.number().map(|stream| ReadRequest::Close { stream }));
        self.screen = Some(Vec::new());
        let has_brought = matches!(self.state, WatchState::Open { has_brought: true, .. });
        self.failures = if has_brought { 0 } else { self.failures + 1 };
        let pause = match self.failures {
            0 | 1 => Duration::ZERO,
            failures => (FIRST_PAUSE * (1 << (failures - 2).min(10))).min(LAST_PAUSE),
        };
        self.state = WatchState::Closed(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Pace, SizePolicy};

    #[test]
    fn what_comes_twice_is_taken_once() {
        let (now, mut pool, mut outcome) = (Duration::ZERO, Pool::default(), WatchOutcome::default());
        let window = Window::new(now, &mut pool).unwrap();
        let mut watch = Watch::new(now, "h".parse().unwrap(), SessionId::from(1_u64), window);
        watch.tick(now, 0, || 1, &mut outcome);
        let (incarnation, name) = (Incarnation(1), "s".parse().unwrap());
        let (size, rules) = (TerminalSize::DEFAULT, SessionRules::new(Pace::Fastest, SizePolicy::Latest));
        let opened = StreamItem::Opened { incarnation, start: 0, name, size, rules };
        let output = |offset, data: &'static str| StreamItem::Output { offset, data: data.into() };
        // One comes twice at once, one after what follows it, and the first of all in the end.
        let items = [&opened, &output(0, "a"), &output(0, "a"), &output(1, "b"), &output(0, "a"), &opened];
        let mut outcome = WatchOutcome::default();
        for (seq, item) in [0, 1, 1, 2, 1, 0].into_iter().zip(items) {
            let message = StreamMessage { seq, items: vec![item.clone()] };
            watch.receive(now, message, 10, &mut pool, &mut outcome);
        }
        assert_eq!((watch.number(), outcome.requests), (Some(1), Vec::new()), "its stream goes on");
        let news = [output(0, "a"), output(1, "b")].map(WatchNews::Item);
        assert_eq!(outcome.news[2..], news);
    }
}
