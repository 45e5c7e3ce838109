//! A client's stream as decisions, without a socket: what it is sent next, and what it is never sent.
//!
//! A follower keeps a cursor into the stream of the session that its client watches. A message at the cursor is what
//! comes next; one before it was sent already; one beyond it says that some were skipped, and those are read from the
//! history. Before it says that the client has caught up it compares the cursor with the head under the history's lock:
//! the pump appends under that lock before it broadcasts, so a skipped last message is found without a later one
//! arriving. So what a client gets never depends on a broadcast having reached its queue.
//!
//! A client that fell out of the history is told of the gap and shown the screen, and goes on from there; so is one
//! that interrupted its program, one that asks, and a terminal whose session was resized. A terminal of another size
//! than its session's is never sent output, only pictures of the screen.
//!
//! A connection's writer does what the follower decides, and alone calls it. The models run this very type.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;

use super::{
    ClientStatus, Session,
    history::{MAX_PIECES, NotHeld, Read, Reader, Span},
    screen::{PICTURE_TIME, ScreenDump, Scrollback},
    size::{Claim, Window},
};
use crate::{
    ClientId, ServerMessage, SessionId, TerminalSize,
    message::{
        Access, AttachOptions, AttachedTo, ClientEnvironment, ClientState, Event, ExitStatus, OnLag, StartAt,
    },
    registry::{AttachError, ClientRegistry},
    sync::Receiver,
    terminal::{Part, Shows, reset},
    wire::MAX_OUTPUT,
};

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests;

/// Ends whatever sequence a terminal is in.
const CANCEL: u8 = 0x18;

pub(crate) struct Follower {
    client: ClientId,
    registry: ClientRegistry<Arc<ServerMessage>>,
    status: Arc<ClientStatus>,
    queue: Receiver<Arc<ServerMessage>>,
    /// Messages that the queue holds, at most.
    depth: usize,
    /// Messages taken from the queue and not yet looked at, the next one last.
    inbox: Vec<Arc<ServerMessage>>,
    attachment: Option<Attachment>,
    /// The offset of the next byte to send.
    cursor: u64,
    /// Once the server is stopping: up to where this client is still served, and whether that is the end.
    stop: Option<(u64, bool)>,
}

/// A client's stay in a session; it ends when this drops.
struct Attachment {
    client: ClientId,
    session: Arc<Session>,
    reader: Reader,
    on_lag: OnLag,
    /// The client's terminal, if it is one.
    size: Option<TerminalSize>,
    /// It takes whatever size the session has.
    follows: bool,
    /// Lines that it takes at most into its own scrollback.
    scrollback: usize,
    /// What a terminal that may type has: it counts for the session's size, and may answer its questions.
    claim: Option<Claim>,
    /// The session's size, as the client was told.
    session_size: TerminalSize,
    /// Of what is no terminal: changes of the size up to here were told, and output beyond the other is not sent before
    /// the next one is.
    sizes: (u64, u64),
    /// How often the session's screen was given anew, as far as the client was shown.
    drawn: u64,
    /// The screen is to be drawn before anything else is sent.
    redraw: bool,
    next_picture: Option<Instant>,
    /// There is no model to make pictures of.
    pictures_failed: bool,
    /// Up to where those that wait for answers know that the client was sent its output.
    reached: u64,
    /// It was told of as one that began, and so will be as one that ended.
    is_announced: bool,
}

/// What a client is sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The stream from `offset` on: `length` bytes, which are in the pieces now.
    Output {
        offset: u64,
        length: usize,
    },
    /// What [`Follower::draw`] draws.
    Screen(Draw),
    Event(Event),
    /// What lies between is no longer held, and the client chose to be disconnected then.
    FellBehind {
        from: u64,
        to: u64,
    },
    /// There will be a picture, no sooner than this.
    NotBefore(Instant),
    /// Nothing: the client has it all, until [`Follower::poll_message`] says so.
    CaughtUp,
}

/// What is to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// The screen; it stands for all that was not sent yet.
    Redraw,
    /// The screen, after bytes that are no longer held.
    RedrawAfterGap,
    /// The part of the screen that a terminal of this size shows.
    Picture(TerminalSize),
}

/// A client now watches a session.
pub(crate) struct Followed {
    pub(crate) to: AttachedTo,
    /// The screen to begin with, if there is anything on it.
    pub(crate) drawn: Option<ScreenDump>,
    pub(crate) claim: Option<Claim>,
}

/// A client was not attached, and watches what it watched before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFollowed {
    NotHeld(NotHeld),
    /// The client is no longer in the registry.
    Unregistered,
}

impl Follower {
    pub(crate) fn new(
        client: ClientId,
        registry: ClientRegistry<Arc<ServerMessage>>,
        status: Arc<ClientStatus>,
        queue: Receiver<Arc<ServerMessage>>,
        depth: usize,
    ) -> Self {
        let inbox = Vec::new();
        Self { client, registry, status, queue, depth, inbox, attachment: None, cursor: 0, stop: None }
    }

    pub(crate) fn client(&self) -> ClientId {
        self.client
    }

    pub(crate) fn status(&self) -> &ClientStatus {
        &self.status
    }

    /// Watches `session` from now on, and leaves the one that was watched before.
    ///
    /// What may be refused comes first, so that a refused client holds, resizes and draws nothing.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends the stay in either session. The client may still be in the registry's.
    pub(crate) async fn attach(
        &mut self,
        session: Arc<Session>,
        options: &AttachOptions,
    ) -> Result<Followed, NotFollowed> {
        let reader = session.history.attach(options.start, options.on_lag).map_err(NotFollowed::NotHeld)?;
        let mut attachment = Attachment::new(self.client, session, reader, options);
        let session = Arc::clone(&attachment.session);
        // Only this task attaches and detaches its client, so what the registry says and what is watched agree. By now
        // the log keeps the bytes that this announces.
        self.registry
            .attach_to_session(self.client, session.id())
            .map_err(|AttachError::UnknownClient(_)| NotFollowed::Unregistered)?;
        let is_over = session.is_over();
        // One that is over has the size that it had.
        if options.access == Access::ReadWrite && !is_over {
            // Before the screen is drawn, which it is in the session's new size then; and before the client leaves the
            // stay that it had, so that attaching again does not resize twice.
            // Without a model, drawing it would clear it.
            let is_drawn = attachment.is_drawn() && session.screen.has_model();
            attachment.claim =
                Window::of(options).map(|window| session.join_terminal(self.client, window, is_drawn));
        }
        attachment.session_size = session.size();
        if attachment.is_no_terminal() {
            attachment.begin_sizes(options.start);
        }
        attachment.redraw = attachment.is_pictured() || attachment.starts_before_a_resize(options.start);
        self.attachment = None;
        self.stop = None;
        self.cursor = attachment.reader.start();
        let mut drawn = None;
        if options.start == StartAt::Screen {
            if attachment.is_pictured() {
                self.cursor = session.head();
            } else {
                let scrollback = Scrollback { lines: attachment.scrollback, since: None };
                let screen = session.redraw(scrollback).await;
                self.cursor = screen.at;
                attachment.is_shown(&screen);
                drawn = (screen.at > 0).then_some(screen);
            }
            session.history.advance(&attachment.reader, self.cursor);
        }
        self.status.enter(ClientState::Live);
        self.status.stands_at(self.cursor, session.head());
        let to = AttachedTo {
            session: session.id(),
            name: session.name(),
            start: self.cursor,
            size: attachment.session_size,
        };
        attachment.shows(self.cursor, None);
        let claim = attachment.claim;
        if !is_over {
            attachment.is_announced = true;
            session.attached(self.client, attachment.size.is_some());
        }
        self.attachment = Some(attachment);
        self.status.attached(options.size, options.access);
        self.status.set_watching(true);
        Ok(Followed { to, drawn, claim })
    }

    /// The client is used from where this is the environment; that counts where the client does.
    pub(crate) fn join_environment(&self, environment: ClientEnvironment) {
        if let Some(Attachment { session, claim: Some(claim), .. }) = &self.attachment {
            session.join_environment(*claim, environment);
        }
    }

    /// Watches nothing from now on.
    pub(crate) fn leave(&mut self) {
        if self.attachment.take().is_some() {
            self.status.set_watching(false);
            self.status.detached();
            // An error says that the client was unregistered before; it is in no session then.
            let _ = self.registry.detach_from_session(self.client);
        }
    }

    /// The client's terminal has this size now, and has made of its contents what it would.
    pub(crate) fn set_size(&mut self, size: TerminalSize) {
        if let Some(attachment) = &mut self.attachment
            && attachment.size.is_some_and(|before| before != size)
        {
            attachment.size = Some(size);
            self.status.resized(size);
            attachment.redraw |= attachment.is_drawn();
        }
    }

    /// Draws the screen again, before anything else.
    pub(crate) fn resync(&mut self) {
        if let Some(attachment) = &mut self.attachment {
            attachment.redraw = true;
        }
    }

    /// The client interrupted the program of `session`: it is not sent what was printed before, unless it wants that.
    pub(crate) fn purge(&mut self, session: SessionId) {
        if let Some(attachment) = &mut self.attachment
            && attachment.session.id() == session
            && attachment.on_lag == OnLag::Resync
            && attachment.session.head() > self.cursor
        {
            attachment.redraw = true;
            self.status.purged();
        }
    }

    /// The client took `bytes` of what it was sent; of its output `unwritten` bytes are still to be taken.
    pub(crate) fn wrote(&mut self, bytes: usize, unwritten: u64) {
        self.status.wrote(bytes);
        if let Some(Attachment { session, reader, reached, claim, .. }) = &mut self.attachment {
            let taken = self.cursor - unwritten;
            self.status.stands_at(taken, session.head());
            session.history.advance(reader, taken);
            if claim.is_some() && taken > *reached && session.answers.newest() > *reached {
                *reached = taken;
                session.answers.reached(self.client, taken);
            }
        }
    }

    /// Says whether the client makes the progress that entitles it to hold the program back.
    pub(crate) fn set_holding(&mut self, holding: bool) {
        if let Some(Attachment { session, reader, .. }) = &self.attachment {
            session.history.set_holding(reader, holding);
        }
    }

    /// Whether the client watches, and is shown the screen once it fell behind.
    pub(crate) fn resyncs(&self) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| attachment.on_lag == OnLag::Resync)
    }

    /// Once the server is stopping: whether the client was sent all that the log had by then, the end included.
    pub(crate) fn has_all(&mut self) -> bool {
        let Some(Attachment { session, .. }) = &self.attachment else { return true };
        let (head, is_end) = *self.stop.get_or_insert_with(|| {
            let Span { head, ended, .. } = session.span();
            (head, ended.is_some())
        });
        // A client that was told of the end watches nothing any more.
        self.cursor >= head && !is_end
    }

    /// Waits for a message. Returns whether there will be any: without its queue, a client would not hear of new
    /// output.
    pub(crate) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let received = ready!(self.queue.poll_recv_many(context, &mut self.inbox, self.depth));
        self.inbox.reverse();
        self.status.took_messages(received);
        Poll::Ready(received > 0)
    }

    /// Decides what the client is sent next: at most [`MAX_OUTPUT`] bytes of output, handles on which are put into
    /// `pieces`.
    pub(crate) fn next(&mut self, now: Instant, pieces: &mut Vec<Bytes>) -> Next {
        if let Some(attachment) = &mut self.attachment {
            if let Some(size) = attachment.new_session_size(self.cursor) {
                return Next::Event(Event::Resized { session: attachment.session.id(), size });
            }
            attachment.redraw |= attachment.is_passed_a_question() || attachment.is_drawn_anew();
            if attachment.is_pictured() {
                return self.next_picture(now);
            }
            if std::mem::take(&mut attachment.redraw) {
                return Next::Screen(Draw::Redraw);
            }
        }
        let (length, queue) = self.gather_from_queue(pieces);
        if length > 0 {
            if queue == QueueLook::InStep {
                self.status.enter(ClientState::Live);
            }
            return Next::Output { offset: self.cursor - length as u64, length };
        }
        if let QueueLook::Notice(text) = queue {
            return Next::Event(Event::Notice(text));
        }
        self.next_from_history(pieces)
    }

    fn next_from_history(&mut self, pieces: &mut Vec<Bytes>) -> Next {
        let Some(attachment) = &self.attachment else { return Next::CaughtUp };
        let most = attachment.room(self.cursor);
        match attachment.session.history.read(self.cursor, most, pieces) {
            Read::Data => {
                self.status.enter(ClientState::Behind);
                let (offset, length) = (self.cursor, pieces.iter().map(Bytes::len).sum());
                self.cursor += length as u64;
                Next::Output { offset, length }
            }
            Read::AtHead => {
                self.status.enter(ClientState::Live);
                Next::CaughtUp
            }
            Read::Ended(status) => self.ended(status),
            Read::Evicted { oldest } if attachment.on_lag == OnLag::Disconnect => {
                Next::FellBehind { from: self.cursor, to: oldest }
            }
            Read::Evicted { .. } => {
                self.status.enter(ClientState::Gap);
                Next::Screen(Draw::RedrawAfterGap)
            }
        }
    }

    /// A picture of the screen, if that changed and the last one is old enough.
    fn next_picture(&mut self, now: Instant) -> Next {
        // Of what is printed, only that there was something matters.
        while let Some(message) = self.take_message() {
            if let ServerMessage::Notice { text } = &*message {
                return Next::Event(Event::Notice(text.clone()));
            }
        }
        let Some(attachment) = &mut self.attachment else { return Next::CaughtUp };
        let Span { head, ended, .. } = attachment.session.span();
        if head == self.cursor && !attachment.redraw {
            return ended.map_or(Next::CaughtUp, |status| self.ended(status));
        }
        if let Some(next) = attachment.next_picture.filter(|next| *next > now && ended.is_none()) {
            return Next::NotBefore(next);
        }
        let Some(size) = attachment.size else { return Next::CaughtUp };
        attachment.next_picture = Some(now + PICTURE_TIME);
        attachment.redraw = false;
        Next::Screen(Draw::Picture(size))
    }

    /// Draws what was decided, and brings the client to where that stands. With it comes the gap that the client is
    /// told of first. `None` without a model to make a picture of: the client is sent the output as it is from now on.
    ///
    /// # Cancel safety
    /// Not cancel safe: what is drawn must be sent.
    pub(crate) async fn draw(&mut self, draw: Draw) -> Option<(Option<Event>, ScreenDump)> {
        let attachment = self.attachment.as_mut()?;
        let session = &attachment.session;
        let mut drawn = match draw {
            Draw::Redraw | Draw::RedrawAfterGap => {
                let scrollback = Scrollback { lines: attachment.scrollback, since: Some(self.cursor) };
                let after_gap = match draw {
                    Draw::RedrawAfterGap => attachment.after_gap(self.cursor),
                    _ => None,
                };
                match after_gap {
                    Some(after_gap) => after_gap,
                    None => session.redraw(scrollback).await,
                }
            }
            Draw::Picture(size) => {
                let picture = session.picture(size, self.cursor).await;
                attachment.pictures_failed = picture.is_none();
                // The picture that it shows is no place to go on from.
                attachment.redraw |= picture.is_none();
                if picture.is_none() {
                    attachment.shows(self.cursor, None);
                }
                picture?
            }
        };
        let is_picture = matches!(draw, Draw::Picture(_));
        attachment.shows(drawn.at.max(self.cursor), is_picture.then_some(drawn.part));
        drawn.before = attachment.before(self.cursor, drawn.at);
        // Where there is no model, it may lie before, or within a gap.
        drawn.at = session.history.held_from(drawn.at.max(self.cursor));
        self.status.skipped(drawn.at - self.cursor);
        let gap = Event::Gap { from: self.cursor, to: drawn.at };
        // What is gathered or queued before that offset is recognised as such by its own.
        if draw == Draw::RedrawAfterGap {
            session.gap(self.client, drawn.at - self.cursor);
        }
        // It may be that of another size, of which the client is told first.
        attachment.redraw |= attachment.follows && drawn.size != attachment.session_size;
        self.cursor = drawn.at;
        Some(((draw == Draw::RedrawAfterGap).then_some(gap), drawn))
    }

    fn ended(&mut self, status: ExitStatus) -> Next {
        let Some(attachment) = &self.attachment else { return Next::CaughtUp };
        let session = attachment.session.id();
        self.leave();
        Next::Event(Event::Ended { session, status })
    }

    /// Takes from the queue what comes next at the cursor. Returns how many bytes that is, and why it stopped.
    fn gather_from_queue(&mut self, pieces: &mut Vec<Bytes>) -> (usize, QueueLook) {
        let mut length = 0;
        let most = self.attachment.as_ref().map_or(MAX_OUTPUT, |attachment| attachment.room(self.cursor));
        while length < most && pieces.len() < MAX_PIECES {
            let Some(message) = self.take_message() else { break };
            let (session, offset, data) = match &*message {
                ServerMessage::Output { session, offset, data } => (*session, *offset, data),
                ServerMessage::Notice { text } if length == 0 => return (0, QueueLook::Notice(text.clone())),
                // First what was gathered before it.
                ServerMessage::Notice { .. } => {
                    self.inbox.push(message);
                    break;
                }
                // The end is in the log, and the size with the session.
                ServerMessage::Ended { .. } | ServerMessage::Resized { .. } => continue,
            };
            let end = offset + data.len() as u64;
            // What lies beyond its log is of a session that is provided under the same id after it had ended.
            let is_its_own = |attachment: &Attachment| {
                attachment.session.id() == session && end <= attachment.session.head()
            };
            if !self.attachment.as_ref().is_some_and(is_its_own) {
                continue;
            }
            let Some(sent) = self.cursor.checked_sub(offset) else {
                // Some were skipped before this one. The log has them, and this one too.
                return (length, QueueLook::Skipped);
            };
            let Some(sent) = usize::try_from(sent).ok().filter(|sent| *sent < data.len()) else { continue };
            let next = data.slice(sent..data.len().min(sent + most - length));
            length += next.len();
            self.cursor += next.len() as u64;
            let is_whole = sent + next.len() == data.len();
            pieces.push(next);
            if !is_whole {
                // The rest comes first the next time.
                self.inbox.push(message);
            }
        }
        (length, QueueLook::InStep)
    }

    fn take_message(&mut self) -> Option<Arc<ServerMessage>> {
        if let Some(message) = self.inbox.pop() {
            return Some(message);
        }
        let message = self.queue.try_recv().ok()?;
        self.status.took_messages(1);
        Some(message)
    }
}

/// What a look at the queue found.
#[derive(Debug, PartialEq, Eq)]
enum QueueLook {
    /// Nothing was missed before what was taken.
    InStep,
    Skipped,
    Notice(String),
}

impl Attachment {
    /// Whether the bytes that come first were meant for another width.
    fn starts_before_a_resize(&self, start: StartAt) -> bool {
        let is_before = matches!(start, StartAt::Offset(offset) if offset < self.session.resized_at());
        is_before && self.is_drawn()
    }

    /// That of a client which has got nothing yet but its place in the log.
    fn new(client: ClientId, session: Arc<Session>, reader: Reader, options: &AttachOptions) -> Self {
        if options.on_lag == OnLag::Lossless {
            session.reads_all(true);
        }
        Self {
            client,
            reader,
            on_lag: options.on_lag,
            size: options.size,
            follows: options.follows,
            scrollback: usize::try_from(options.scrollback).unwrap_or(usize::MAX),
            claim: None,
            session_size: session.size(),
            sizes: (0, u64::MAX),
            drawn: session.drawn(),
            redraw: false,
            next_picture: None,
            pictures_failed: !session.screen.has_model(),
            reached: 0,
            is_announced: false,
            session,
        }
    }

    /// Whether the client's terminal has another size than the session's, so that output would not fit it. A client
    /// that wants every byte gets the bytes all the same.
    fn is_pictured(&self) -> bool {
        !self.pictures_failed && self.is_drawn() && !self.follows && self.size != Some(self.session_size)
    }

    /// Whether the session's screen was given anew since the last look, and that is not what the client shows.
    fn is_drawn_anew(&mut self) -> bool {
        let drawn = self.session.drawn();
        std::mem::replace(&mut self.drawn, drawn) != drawn && self.is_drawn()
    }

    /// Whether a drawn screen serves this client as well as the output it stands for.
    fn is_drawn(&self) -> bool {
        (self.size.is_some() || self.follows) && self.on_lag != OnLag::Lossless
    }

    /// Whether the client gets bytes that no terminal of its own shows: it is told of another size where that is.
    fn is_no_terminal(&self) -> bool {
        self.size.is_none() && !self.is_drawn()
    }

    /// Begins with a screen. Where no size of its own counts, the client is told of the sizes from that one on.
    fn is_shown(&mut self, screen: &ScreenDump) {
        if self.size.is_none() {
            self.sizes = (screen.at, u64::MAX);
            self.session_size = screen.size;
        }
    }

    /// Begins with the size that the output was printed in where the client starts.
    fn begin_sizes(&mut self, start: StartAt) {
        let at = self.reader.start();
        // Who resumes was told of changes before this place, and perhaps not of one that is here.
        let told = if matches!(start, StartAt::Offset(_)) { at.saturating_sub(1) } else { at };
        self.sizes = (told, u64::MAX);
        self.session_size = self.session.size_at(told);
    }

    /// How many bytes from `cursor` on may be sent before anything else is to be told.
    fn room(&self, cursor: u64) -> usize {
        let (_, until) = self.sizes;
        usize::try_from(until.saturating_sub(cursor)).unwrap_or(MAX_OUTPUT).min(MAX_OUTPUT)
    }

    /// Says what the client is sent from here on, if it may be asked: pictures of the part that begins there, or output
    /// from `at` on.
    fn shows(&self, at: u64, part: Option<(u16, u16)>) {
        let of = self.session_size;
        let shows = match part {
            Some((top, left)) => Shows::Pictures(Some(Part { top, left, of })),
            None if self.is_pictured() => Shows::Pictures(None),
            None => Shows::Output { from: at },
        };
        if self.claim.is_some() {
            self.session.answers.shows(self.client, shows);
        }
    }

    /// Whether the client is to be passed what the program asks, because it does not find that in its output.
    fn is_passed_a_question(&self) -> bool {
        self.is_drawn() && self.claim.is_some() && self.session.answers.is_passed_to(self.client)
    }

    /// What the client is sent before it is drawn: of what it is not sent from `from` to `to` that which no screen
    /// shows, and what it is asked.
    fn before(&self, from: u64, to: u64) -> Bytes {
        if !self.is_drawn() {
            return Bytes::new();
        }
        let asides = self.session.answers.asides(from, to);
        let question = self.is_passed_a_question().then(|| self.session.answers.take_passed(self.client));
        let question = question.flatten().unwrap_or_default();
        if asides.is_empty() && question.is_empty() {
            return Bytes::new();
        }
        // Its output may have ended within a sequence.
        [&[CANCEL], &asides[..], &question[..]].concat().into()
    }

    /// What a client that wants every byte, and is in a gap of the log itself, is shown of its end: it misses no byte
    /// that was there.
    fn after_gap(&self, cursor: u64) -> Option<ScreenDump> {
        if self.on_lag != OnLag::Lossless {
            return None;
        }
        let at = self.session.history.held_from(cursor);
        let drawing = self.session.screen.after_skip(at)?;
        let bytes = if drawing.is_empty() { reset().into() } else { drawing };
        let size = self.session.size_at(at);
        Some(ScreenDump { bytes, at, part: (0, 0), size, before: Bytes::new() })
    }

    /// The session's size, if the client has not been told of it. Terminals reflow in their own ways, so it is drawn.
    fn new_session_size(&mut self, cursor: u64) -> Option<TerminalSize> {
        if self.is_no_terminal() {
            return self.new_size_at(cursor);
        }
        let size = self.session.size();
        if std::mem::replace(&mut self.session_size, size) == size {
            return None;
        }
        self.redraw |= self.is_drawn();
        Some(size)
    }

    /// The size from `cursor` on, if the client has not been told of it; and how far that holds.
    fn new_size_at(&mut self, cursor: u64) -> Option<TerminalSize> {
        let mut size = self.session.size();
        if size == self.session_size && self.session.resized_at() <= self.sizes.0 {
            self.sizes.1 = u64::MAX;
            return None;
        }
        match self.session.resized_beyond(self.sizes.0) {
            Some((at, _)) if at > cursor => {
                self.sizes.1 = at;
                return None;
            }
            Some(change) => (self.sizes.0, size) = change,
            // It changed again where it did last.
            None => {}
        }
        (std::mem::replace(&mut self.session_size, size) != size).then_some(size)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.history.detach(&self.reader);
        if self.on_lag == OnLag::Lossless {
            self.session.reads_all(false);
        }
        if let Some(claim) = self.claim {
            self.session.leave_terminal(claim, self.client);
        }
        if self.is_announced {
            self.session.detached(self.client, self.size.is_some());
        }
    }
}
