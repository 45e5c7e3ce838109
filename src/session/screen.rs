//! The screen: a terminal model behind the broadcast, which knows what a terminal that saw everything shows now.
//!
//! It reads the session's log like any client, at an offset of its own, and never holds the pump up for less than half
//! a history. A redraw is what it shows at its offset; the log from there on is what follows, so the two together are
//! exact however far behind it stands. Before a redraw it is brought up to the newest byte, so that little follows.
//!
//! A model that panics is given up: the session goes on without it.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    answers::{self, Answers},
    history::{History, Read},
};
use crate::{
    sync::{Mutex, Rank},
    terminal::{Picture, Reports, ScreenModel, TerminalSize},
};

/// How much a model is fed at a time, in bytes: some milliseconds at most, which others on this thread wait for.
const STEP: usize = 128 * 1024;

/// How long the model lets output gather. In a flood, what scrolls past within that time is never seen, and skipping it
/// costs a hundredth of showing it; a redraw brings the model up to the newest byte at once.
const PAUSE: Duration = Duration::from_millis(20);

/// How often a terminal of another size than its session's is sent a picture, at most.
pub(super) const PICTURE_TIME: Duration = Duration::from_millis(33);

/// What a terminal is to be shown.
#[derive(Clone, Debug)]
pub(crate) struct ScreenDump {
    pub(crate) bytes: Bytes,
    /// The offset of the first byte of output that these bytes do not show.
    pub(crate) at: u64,
    /// Of a picture, the row and column of the session that it shows first.
    pub(crate) part: (u16, u16),
    /// The session's size there.
    pub(crate) size: TerminalSize,
    /// What this client alone is sent before it.
    pub(crate) before: Bytes,
}

/// A session's model and where it stands.
pub(super) struct Screen {
    model: tokio::sync::Mutex<ModelFeed>,
    /// A leaf lock.
    beside: Mutex<Beside>,
    /// There is more in the log.
    appended: Notify,
    /// There is so much more that the pump will wait soon.
    hurry: Notify,
    has_model: AtomicBool,
    /// What the program asks, which the model answers where it stands.
    answers: Arc<Answers>,
}

/// Characters of a title that lists show.
const MAX_TITLE: usize = 200;

/// What is known beside the model.
#[derive(Default)]
struct Beside {
    /// Sizes the terminal was given, and the offsets from which they hold, until the model is there.
    resizes: VecDeque<(u64, TerminalSize)>,
    /// The newest drawings, one of each size; none where the session was resized since.
    drawings: Vec<Drawing>,
    /// The title that the program set.
    title: Option<String>,
    /// The newest gaps in the log, by where they end, and what the screen showed there.
    skips: VecDeque<(u64, Bytes)>,
}

/// Gaps that are kept so.
const MAX_SKIPS: usize = 4;

/// Which lines above a screen are drawn: the newest `lines` of those that scrolled off after the offset `since`, if
/// there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scrollback {
    pub(super) lines: usize,
    pub(super) since: Option<u64>,
}

/// What is drawn of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of it, and so many lines above it.
    Whole { scrollback: usize },
    /// What a terminal of this size shows around the cursor.
    Around(TerminalSize),
}

/// What was drawn, for others who want the same.
#[derive(Clone)]
struct Drawing {
    part: Part,
    drawn: ScreenDump,
    drawn_at: Instant,
}

/// How many drawings are kept, one of each size, and their bytes. A larger one is drawn each time.
const MAX_DRAWINGS: usize = 4;
const MAX_DRAWING_BYTES: usize = 256 * 1024;

struct ModelFeed {
    /// `None` without a model, or once it failed.
    model: Option<Box<dyn ScreenModel>>,
    at: u64,
    /// The terminal's size there.
    size: TerminalSize,
    failed: bool,
    reports: Reports,
    scrolled: Scrolled,
}

impl Screen {
    pub(super) fn new(
        model: Option<Box<dyn ScreenModel>>,
        at: u64,
        size: TerminalSize,
        answers: Arc<Answers>,
    ) -> Self {
        Self {
            has_model: AtomicBool::new(model.is_some()),
            model: tokio::sync::Mutex::new(ModelFeed {
                model,
                at,
                size,
                failed: false,
                reports: Reports::default(),
                scrolled: Scrolled::default(),
            }),
            beside: Mutex::new(Rank::Leaf, Beside::default()),
            appended: Notify::new(),
            hurry: Notify::new(),
            answers,
        }
    }

    /// The log has more.
    pub(super) fn appended(&self) {
        self.appended.notify_one();
    }

    /// Waits until the log has more.
    ///
    /// # Cancel safety
    /// Cancel safe: what nobody waited for is kept.
    pub(super) async fn wait(&self) {
        self.appended.notified().await;
    }

    /// Lets more gather, unless that is a lot already.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn pause(&self) {
        // An error says that the time is over.
        let _ = tokio::time::timeout(PAUSE, self.hurry.notified()).await;
    }

    /// The log has a lot more: the model is not to pause.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The terminal has this size from offset `at` on.
    pub(super) fn resized(&self, at: u64, size: TerminalSize) {
        let outdated = self.beside.with(|Beside { resizes, drawings, .. }| {
            match resizes.back_mut() {
                // Nothing was printed in the size before, if it began here. So there is never more than one for each
                // byte of output, however often a client is resized.
                Some((from, latest)) if *from == at => *latest = size,
                _ => resizes.push_back((at, size)),
            }
            std::mem::take(drawings)
        });
        drop(outdated);
        self.appended();
    }

    /// Nothing was printed for a while: gives back memory.
    pub(super) async fn rest(&self) {
        self.model.lock().await.with(|model| model.rest());
        let drawings = self.beside.with(|beside| std::mem::take(&mut beside.drawings));
        drop(drawings);
    }

    /// The title that the program set, cut to what lists show.
    pub(super) fn title(&self) -> Option<String> {
        self.beside.with(|beside| beside.title.as_ref().map(|title| title.chars().take(MAX_TITLE).collect()))
    }

    /// Where the model stands, and whether it panicked.
    pub(super) async fn position(&self) -> (u64, bool) {
        let model = self.model.lock().await;
        (model.at, model.failed)
    }

    /// Whether there is a model, which has not failed.
    pub(super) fn has_model(&self) -> bool {
        // Relaxed: it stands for itself, and a drawing that finds no model says so.
        self.has_model.load(Ordering::Relaxed)
    }

    /// Brings the model up to what the log holds now, step by step.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn catch_up(&self, history: &History) {
        let head = history.head();
        while !self.is_caught_up(&mut *self.model.lock().await, history, head) {
            tokio::task::yield_now().await;
        }
    }

    /// Feeds the model a step. Returns whether it has all before `head`.
    fn is_caught_up(&self, model: &mut ModelFeed, history: &History, head: u64) -> bool {
        !self.step(model, history) || model.at >= head
    }

    /// The screen as it is now, with lines above it; `None` without a model of it.
    pub(super) async fn redraw(&self, history: &History, scrollback: Scrollback) -> Option<ScreenDump> {
        let head = history.head();
        let part = |model: &ModelFeed| Part::Whole {
            scrollback: match scrollback.since {
                None => scrollback.lines,
                Some(offset) => model.scrolled.since(offset).min(scrollback.lines),
            },
        };
        // What was drawn at this very offset is what would be drawn again.
        self.draw(history, part, |drawing| drawing.drawn.at >= head).await
    }

    /// The screen for a terminal of another size that was shown what it was at `shown`; `None` without a model of it.
    pub(super) async fn picture(
        &self,
        history: &History,
        size: TerminalSize,
        shown: u64,
    ) -> Option<ScreenDump> {
        let (head, is_last) = (history.head(), history.span().ended.is_some());
        // However many terminals there are of this size, it is drawn as often as for one.
        let serves = |drawn: &Drawing| {
            let is_recent = || drawn.drawn_at.elapsed() < PICTURE_TIME;
            drawn.drawn.at >= head || (!is_last && drawn.drawn.at > shown && is_recent())
        };
        self.draw(history, |_| Part::Around(size), serves).await
    }

    /// Draws the whole screen or a part, unless there is a drawing that `serves`.
    async fn draw(
        &self,
        history: &History,
        part: impl Fn(&ModelFeed) -> Part,
        serves: impl Fn(&Drawing) -> bool,
    ) -> Option<ScreenDump> {
        let head = history.head();
        loop {
            let mut model = self.model.lock().await;
            // Others may have drawn it while this waited.
            let wanted = part(&model);
            if let Some(drawing) = self.drawing(|drawing| drawing.part == wanted && serves(drawing)) {
                return Some(drawing.drawn);
            }
            if self.is_caught_up(&mut model, history, head) {
                let part = part(&model);
                let picture = model.with(|model| match part {
                    Part::Around(size) => model.picture(size),
                    Part::Whole { scrollback: 0 } => Picture { bytes: model.redraw(), top: 0, left: 0 },
                    Part::Whole { scrollback } => {
                        Picture { bytes: model.redraw_with_history(scrollback), top: 0, left: 0 }
                    }
                });
                let Some(Picture { bytes, top, left }) = picture else {
                    // It may have failed just now: nothing is kept for it any more.
                    self.step(&mut model, history);
                    return None;
                };
                let before = Bytes::new();
                let drawn = ScreenDump {
                    bytes: bytes.into(),
                    at: model.at,
                    part: (top, left),
                    size: model.size,
                    before,
                };
                self.remember(Drawing { part, drawn: drawn.clone(), drawn_at: Instant::now() });
                // It is to rest again some time.
                self.appended();
                return Some(drawn);
            }
            drop(model);
            tokio::task::yield_now().await;
        }
    }

    /// A drawing that still holds, if there is one.
    fn drawing(&self, is_it: impl Fn(&Drawing) -> bool) -> Option<Drawing> {
        self.beside.with(|Beside { resizes, drawings, .. }| {
            let drawing = drawings.iter().find(|drawing| is_it(drawing));
            drawing.filter(|_| resizes.is_empty()).cloned()
        })
    }

    /// Keeps a drawing in the place of the one of its size, or of the oldest.
    fn remember(&self, drawing: Drawing) {
        if drawing.drawn.bytes.len() > MAX_DRAWING_BYTES {
            return;
        }
        let replaced = self.beside.with(|Beside { resizes, drawings, .. }| {
            // It is outdated if the session was resized meanwhile.
            if !resizes.is_empty() {
                return Some(drawing);
            }
            let same = drawings.iter().position(|other| other.part == drawing.part);
            let oldest = (drawings.len() == MAX_DRAWINGS).then_some(0);
            let replaced = same.or(oldest).map(|at| drawings.remove(at));
            drawings.push(drawing);
            replaced
        });
        drop(replaced);
    }

    /// The size that holds at `at`, if that is another since the last call, and the offset from which the next one
    /// does.
    fn due_size(&self, at: u64) -> (Option<TerminalSize>, u64) {
        self.beside.with(|Beside { resizes, .. }| {
            let mut due = None;
            while let Some((from, size)) = resizes.front().copied() {
                if from > at {
                    return (due, from);
                }
                due = Some(size);
                resizes.pop_front();
            }
            (due, u64::MAX)
        })
    }

    /// Goes on at offset `to` in the log, which has nothing between its head and that. `drawing`, if it is not empty,
    /// is what the model shows there; otherwise it shows what it did. For the log's only writer.
    ///
    /// # Cancel safety
    /// Cancel safe: it is done, or nothing is.
    pub(super) async fn skip(&self, history: &History, to: u64, drawing: &Bytes) {
        self.catch_up(history).await;
        let mut model = self.model.lock().await;
        // A size that holds from the head on was there before.
        self.step(&mut model, history);
        let to = to.max(history.head());
        history.skip_to(to);
        if !drawing.is_empty() {
            model.with(|model| model.advance(drawing));
            model.scrolled = Scrolled::default();
        }
        let outdated = self.beside.with(|beside| {
            if beside.skips.len() == MAX_SKIPS {
                beside.skips.pop_front();
            }
            let drawing = if drawing.len() > MAX_DRAWING_BYTES { Bytes::new() } else { drawing.clone() };
            beside.skips.push_back((to, drawing));
            std::mem::take(&mut beside.drawings)
        });
        drop(outdated);
        model.at = to;
        // Its state is another now, and what it keeps of the log.
        self.step(&mut model, history);
    }

    /// What the screen showed after a gap that ends at `to`, if there was one; empty if that is not known.
    pub(super) fn after_skip(&self, to: u64) -> Option<Bytes> {
        self.beside.with(|beside| {
            let skip = beside.skips.iter().rev().find(|(at, _)| *at == to);
            skip.map(|(_, drawing)| drawing.clone())
        })
    }

    /// Feeds the model a step. Returns whether there may be more.
    fn step(&self, model: &mut ModelFeed, history: &History) -> bool {
        self.answer(model);
        let (size, next) = self.due_size(model.at);
        if let Some(size) = size {
            model.with(|model| model.resize(size));
            model.size = size;
            model.scrolled = Scrolled::default();
            self.answers.resized(size);
        }
        if model.model.is_none() {
            // Nothing is kept for it any more.
            self.has_model.store(false, Ordering::Relaxed);
            self.beside.with(|beside| beside.resizes.clear());
            self.answers.model_is_gone();
            history.set_floor(u64::MAX);
            return false;
        }
        let next = next.min(self.answers.next_question());
        let room = usize::try_from(next - model.at).unwrap_or(STEP).min(STEP);
        let mut pieces = Vec::new();
        let more = match history.read(model.at, room, &mut pieces) {
            Read::Data => true,
            // The log keeps what the model needs.
            Read::AtHead | Read::Ended(_) | Read::Evicted { .. } => false,
        };
        // As one: what scrolls away within it need not be taken apart, which costs far more than the copy.
        let joined = match &pieces[..] {
            [piece] => piece.clone(),
            pieces => pieces.concat().into(),
        };
        if !joined.is_empty() {
            model.with(|model| model.advance(&joined));
            model.at += joined.len() as u64;
            let scrolled = model.with(|model| model.scrolled()).unwrap_or_default();
            model.scrolled.stands_at(model.at, scrolled);
        }
        self.report(model);
        self.note_title(model);
        self.answer(model);
        history.set_floor(if model.model.is_some() { model.at } else { u64::MAX });
        more
    }
}

impl Screen {
    /// Has the model answer what was asked before where it stands.
    fn answer(&self, model: &mut ModelFeed) {
        if model.model.is_some() {
            self.answers.put_to(model.at, |question| model.with(|model| model.answer(question)).flatten());
        }
    }

    /// Notes the model's title, if that is another than before.
    fn note_title(&self, model: &mut ModelFeed) {
        let outdated = model.with(|model| {
            let title = model.title();
            self.beside.with(|beside| {
                let is_new = title != beside.title.as_deref();
                is_new.then(|| std::mem::replace(&mut beside.title, title.map(str::to_owned)))
            })
        });
        drop(outdated);
    }

    /// Says in which modes the model is, if those are others than before.
    fn report(&self, model: &mut ModelFeed) {
        if let Some(reports) = model.with(|model| answers::modes(model))
            && std::mem::replace(&mut model.reports, reports) != reports
        {
            self.answers.set_modes(reports);
        }
    }
}

/// Which lines scrolled off where: how many had at some offsets, the newest last. They lie closer together the newer
/// they are.
#[derive(Debug, Default)]
struct Scrolled {
    marks: Vec<(u64, u64)>,
}

/// SessionMarks that are kept, 16 bytes each.
const MAX_MARKS: usize = 64;

impl Scrolled {
    fn stands_at(&mut self, offset: u64, lines: u64) {
        if self.marks.last().is_some_and(|(_, before)| *before == lines) {
            return;
        }
        if self.marks.len() == MAX_MARKS {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index > MAX_MARKS / 2 || index % 2 == 0
            });
        }
        self.marks.push((offset, lines));
    }

    /// Lines that certainly scrolled off after `offset`.
    fn since(&self, offset: u64) -> usize {
        let Some((_, newest)) = self.marks.last() else { return 0 };
        let first = self.marks.partition_point(|(at, _)| *at < offset);
        let before = self.marks.get(first).map_or(*newest, |(_, lines)| *lines);
        usize::try_from(newest.saturating_sub(before)).unwrap_or(usize::MAX)
    }
}

impl ModelFeed {
    /// Calls the model, and gives it up if it panics.
    fn with<T>(&mut self, call: impl FnOnce(&mut dyn ScreenModel) -> T) -> Option<T> {
        let model = self.model.as_deref_mut()?;
        // Nothing of a model that panicked is used again.
        let result = catch_unwind(AssertUnwindSafe(|| call(model)));
        if result.is_err() {
            self.failed = true;
            // Its drop might panic as well.
            let failed = self.model.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(failed)));
        }
        result.ok()
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}
