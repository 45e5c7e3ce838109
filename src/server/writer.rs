//! A connection's writer: the one task that writes to its socket, and the one that moves it between sessions.
//!
//! It keeps a cursor into the stream of the session it watches. A message at the cursor is what comes next; one before
//! it was written already; one beyond it says that some were skipped, and those are read from the history. Before it
//! sleeps on an empty queue it compares its cursor with the head under the history's lock: the pump appends under that
//! lock before it broadcasts, so a skipped last message is found without a later one arriving. So what a client gets
//! never depends on a broadcast having reached its queue.
//!
//! A client that fell out of the history is told of the gap and shown the screen, and goes on from there; so is one that
//! interrupted its program, one that asks, and a terminal whose session was resized. A terminal of another size than
//! its session's is never sent output, only pictures of the screen.
//!
//! Replies and commands come by a small queue of their own, which is served first. The reply to an attach is written
//! when the cursor moves, so that all output before it is the old session's and all after it the new one's.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::unix::OwnedWriteHalf,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    Shared,
    outgoing::Outgoing,
    progress::{Progress, Verdict},
    standing::Standing,
    view::View,
};
use crate::{
    ClientId, ServerMessage, SessionId, TerminalSize,
    message::{AttachedTo, ClientState, CloseReason, Event, ExitStatus, OnLag, Reply},
    registry::AttachError,
    session::{Drawn, MAX_PIECES, RESET, Read, Span},
    wire::{self, MAX_OUTPUT},
};

/// How long a connection that is being closed has to take what is written already and the reason.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How often a terminal of another size than its session's is sent a picture, at most.
const PICTURE_TIME: Duration = Duration::from_millis(33);

/// What the reader asks of the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Write this frame.
    Frame(Bytes),
    /// Watch a session from now on, beginning with the screen where there is one, and reply to this request. Dropping
    /// `begin` lets the session begin to print, now that it is watched.
    Attach { request: u64, view: View, drawn: Option<Drawn>, begin: Option<oneshot::Sender<()>> },
    /// Watch nothing from now on, and reply to this request.
    Detach { request: u64 },
    /// The client's terminal has this size now.
    Resize { request: u64, size: TerminalSize },
    /// Draw the screen anew, and reply to this request.
    Resync { request: u64 },
    /// The client interrupted the program: it is not to see what was printed before, if it watches this session.
    Purge(SessionId),
    /// Write the reason, and end.
    Close(CloseReason),
}

/// The way to a writer. Boxed: a queue has room for 32 commands from its first on, and most clients are idle.
pub(super) type Commands = mpsc::Sender<Box<Command>>;

pub(super) struct Writer {
    shared: Arc<Shared>,
    client: ClientId,
    socket: OwnedWriteHalf,
    commands: mpsc::Receiver<Box<Command>>,
    queue: mpsc::Receiver<Arc<ServerMessage>>,
    /// Messages taken from the queue and not yet looked at, the next one last.
    inbox: Vec<Arc<ServerMessage>>,
    /// What is watched, and the offset of the next byte to gather.
    view: Option<View>,
    cursor: u64,
    /// Handles on the output being gathered.
    pieces: Vec<Bytes>,
    outgoing: Outgoing,
    progress: Progress,
    standing: Arc<Standing>,
    /// Once the server is stopping: the offset up to which this client is still served.
    last: Option<u64>,
    /// Ends this connection at once.
    cancel: CancellationToken,
}

/// Why a connection ends from this side.
#[derive(Debug)]
pub(super) enum End {
    /// The socket failed, the client hung up, or it was cancelled; there is nobody to tell.
    Gone,
    /// The client is to be told why.
    Close(CloseReason),
}

/// What there is to write.
enum Gathered {
    Something,
    Nothing,
    /// A picture, once it is time for the next.
    At(Instant),
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        client: ClientId,
        standing: Arc<Standing>,
        socket: OwnedWriteHalf,
        commands: mpsc::Receiver<Box<Command>>,
        queue: mpsc::Receiver<Arc<ServerMessage>>,
        cancel: CancellationToken,
    ) -> Self {
        let progress = Progress::new(&shared.timing);
        Self {
            shared,
            client,
            socket,
            commands,
            queue,
            inbox: Vec::new(),
            view: None,
            cursor: 0,
            pieces: Vec::new(),
            outgoing: Outgoing::default(),
            progress,
            standing,
            last: None,
            cancel,
        }
    }

    /// Writes until the connection ends.
    pub(super) async fn run(&mut self) {
        let end = self.write_all_there_is().await;
        self.leave_session();
        self.standing.enter(ClientState::Closed);
        if let End::Close(reason) = end {
            info!(client = %self.client, %reason, "closing");
            self.shared.counters.closed.fetch_add(1, Ordering::Relaxed);
            self.push_event(&Event::Closing(reason));
            // A client that takes nothing more is not waited for; it sees the connection end.
            let _ = Box::pin(tokio::time::timeout(CLOSE_TIME, self.flush())).await;
        }
        self.cancel.cancel();
    }

    async fn write_all_there_is(&mut self) -> End {
        loop {
            while let Ok(command) = self.commands.try_recv() {
                if let Some(end) = self.obey(*command) {
                    return end;
                }
            }
            if self.shared.stopping.is_cancelled() && self.has_what_was_printed_before_the_stop() {
                return End::Close(CloseReason::ShuttingDown);
            }
            self.tell_size();
            let gathered = match self.gather().await {
                Ok(gathered) => gathered,
                Err(end) => return end,
            };
            if !self.outgoing.is_empty() {
                if let Err(end) = self.flush().await {
                    return end;
                }
                if let Gathered::Something = gathered {
                    // Others on this thread have had to wait for a quarter of a MiB to be copied.
                    tokio::task::yield_now().await;
                }
                continue;
            }
            let next_picture = match gathered {
                Gathered::At(next) => Some(next),
                Gathered::Something | Gathered::Nothing => {
                    // Nothing is pending: the client has taken all there is.
                    self.caught_up();
                    None
                }
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return End::Gone,
                command = self.commands.recv() => match command {
                    Some(command) => if let Some(end) = self.obey(*command) { return end },
                    None => return End::Gone,
                },
                received = self.queue.recv_many(&mut self.inbox, self.shared.queue_depth) => {
                    // Without its queue, a client would not hear of new output; better that it hears of that.
                    if received == 0 {
                        return End::Close(CloseReason::Unregistered);
                    }
                    self.inbox.reverse();
                }
                () = self.shared.stopping.cancelled() => {}
                () = sleep_until(next_picture) => {}
            }
        }
    }

    fn has_what_was_printed_before_the_stop(&mut self) -> bool {
        self.view.as_ref().is_none_or(|view| {
            let last = *self.last.get_or_insert_with(|| view.session.span().head);
            self.cursor >= last
        })
    }

    fn obey(&mut self, command: Command) -> Option<End> {
        #[cfg(test)]
        if let Command::Detach { request } = command {
            super::tests::panic_if_asked(request);
        }
        match command {
            Command::Frame(frame) => self.outgoing.push(frame),
            Command::Attach { request, view, drawn, begin: _begin } => {
                return self.attach(request, view, drawn).err();
            }
            Command::Detach { request } => {
                self.leave_session();
                self.outgoing.push(wire::encode_reply(request, &Ok(Reply::Detached)));
            }
            Command::Resize { request, size } => {
                if let Some(view) = &mut self.view {
                    view.set_size(size);
                }
                self.outgoing.push(wire::encode_reply(request, &Ok(Reply::Resized)));
            }
            Command::Resync { request } => {
                if let Some(view) = &mut self.view {
                    view.redraw = true;
                }
                self.outgoing.push(wire::encode_reply(request, &Ok(Reply::Resynced)));
            }
            Command::Purge(session) => {
                if let Some(view) = &mut self.view
                    && view.session.id() == session
                    && view.on_lag == OnLag::Resync
                    && view.session.head() > self.cursor
                {
                    view.redraw = true;
                    self.standing.purged();
                }
            }
            Command::Close(reason) => return Some(End::Close(reason)),
        }
        None
    }

    /// Tells the client of another size of its session. Whatever a terminal made of that by itself, it is drawn anew.
    fn tell_size(&mut self) {
        if let Some(view) = &mut self.view
            && let Some(size) = view.new_session_size()
        {
            let session = view.session.id();
            self.push_event(&Event::Resized { session, size });
        }
    }

    fn attach(&mut self, request: u64, view: View, drawn: Option<Drawn>) -> Result<(), End> {
        let session = &view.session;
        // Only this task attaches and detaches its client, so what the registry says and what is watched agree.
        self.shared
            .registry
            .attach_to_session(self.client, session.id())
            .map_err(|AttachError::UnknownClient(_)| End::Close(CloseReason::Unregistered))?;
        let attached = AttachedTo {
            session: session.id(),
            name: session.name().clone(),
            start: view.reader.start(),
            size: view.session_size,
        };
        self.outgoing.push(wire::encode_reply(request, &Ok(Reply::Attached(attached))));
        self.cursor = view.reader.start();
        self.standing.enter(ClientState::Live);
        self.standing.stands_at(self.cursor, session.head());
        if let Some(Drawn { bytes, at }) = drawn.filter(|_| !view.is_pictured()) {
            self.outgoing.push_screen(at, bytes);
        }
        self.view = Some(view);
        Ok(())
    }

    fn leave_session(&mut self) {
        if self.view.take().is_some() {
            // An error says that the client was unregistered before; it is in no session then.
            let _ = self.shared.registry.detach_from_session(self.client);
        }
    }

    /// Puts the next piece of output, at most [`MAX_OUTPUT`] bytes, behind what is outgoing already; or a screen.
    async fn gather(&mut self) -> Result<Gathered, End> {
        if self.view.as_ref().is_some_and(View::is_pictured) {
            return Ok(Box::pin(self.gather_picture()).await);
        }
        if self.view.as_mut().is_some_and(|view| std::mem::take(&mut view.redraw)) {
            // Boxed, like the others that are seldom under way: an idle client is not to hold room for them.
            Box::pin(self.redraw(None)).await;
            return Ok(Gathered::Something);
        }
        let is_next = self.gather_from_queue();
        let Some(view) = &self.view else { return Ok(Gathered::Nothing) };
        if self.pieces.is_empty() {
            match view.session.read(self.cursor, MAX_OUTPUT, &mut self.pieces) {
                Read::Data => self.standing.enter(ClientState::Behind),
                Read::AtHead => {
                    self.standing.enter(ClientState::Live);
                    return Ok(Gathered::Nothing);
                }
                Read::Ended(status) => return Ok(self.end(status)),
                Read::Evicted { oldest } if view.on_lag == OnLag::Disconnect => {
                    return Err(End::Close(CloseReason::FellBehind { from: self.cursor, to: oldest }));
                }
                Read::Evicted { .. } => {
                    self.standing.enter(ClientState::Gap);
                    Box::pin(self.redraw(Some(self.cursor))).await;
                    return Ok(Gathered::Something);
                }
            }
            self.cursor += self.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        } else if is_next {
            self.standing.enter(ClientState::Live);
        }
        let length: usize = self.pieces.iter().map(Bytes::len).sum();
        self.outgoing.push_output(self.cursor - length as u64, length, self.pieces.drain(..));
        Ok(Gathered::Something)
    }

    fn end(&mut self, status: ExitStatus) -> Gathered {
        if let Some(view) = &self.view {
            let session = view.session.id();
            self.leave_session();
            self.push_event(&Event::Ended { session, status });
        }
        Gathered::Nothing
    }

    /// Brings the client to where the screen's model stands. With `gap_from`, what lies between is no longer held.
    async fn redraw(&mut self, gap_from: Option<u64>) {
        let Some(view) = &self.view else { return };
        let drawn = match view.session.redraw().await {
            Some(drawn) => drawn,
            // Without a model, a cleared screen and the newest lines are the best there is.
            None => Drawn {
                bytes: Bytes::from_static(RESET.as_bytes()),
                at: view.session.tail().max(self.cursor),
            },
        };
        // What was gathered or queued before that offset is recognised as such by its own.
        self.standing.skipped(drawn.at.saturating_sub(self.cursor));
        self.cursor = drawn.at;
        if let Some(from) = gap_from {
            self.push_event(&Event::Gap { from, to: drawn.at });
        }
        self.outgoing.push_screen(drawn.at, drawn.bytes);
    }

    /// Draws a picture of the screen if it changed and the last one is old enough.
    async fn gather_picture(&mut self) -> Gathered {
        // Only that there was something matters.
        while let Some(message) = self.inbox.pop().or_else(|| self.queue.try_recv().ok()) {
            self.standing.took_message();
            if let ServerMessage::Notice { text } = &*message {
                self.push_event(&Event::Notice(text.clone()));
            }
        }
        let Some(view) = &mut self.view else { return Gathered::Nothing };
        let Span { head, ended, .. } = view.session.span();
        if head == self.cursor && !view.redraw {
            return match ended {
                Some(status) => self.end(status),
                None => Gathered::Nothing,
            };
        }
        if let Some(next) = view.next_picture.filter(|next| *next > Instant::now() && ended.is_none()) {
            return Gathered::At(next);
        }
        view.next_picture = Some(Instant::now() + PICTURE_TIME);
        view.redraw = false;
        let Some(size) = view.size else { return Gathered::Nothing };
        match view.session.picture(size).await {
            Some(Drawn { bytes, at }) => {
                self.standing.skipped(at.saturating_sub(self.cursor));
                self.cursor = at;
                self.outgoing.push_screen(at, bytes);
            }
            // Without a model there are no pictures, and the output as it is must do.
            None => view.pictures_failed = true,
        }
        Gathered::Something
    }

    /// Takes from the queue what comes next at the cursor. Returns whether nothing was missed before it.
    fn gather_from_queue(&mut self) -> bool {
        let mut room = MAX_OUTPUT;
        while room > 0 && self.pieces.len() < MAX_PIECES {
            let Some(message) = self.inbox.pop().or_else(|| self.queue.try_recv().ok()) else { break };
            self.standing.took_message();
            let (session, offset, data) = match &*message {
                ServerMessage::Output { session, offset, data } => (*session, *offset, data),
                ServerMessage::Notice { text } => {
                    self.push_event(&Event::Notice(text.clone()));
                    continue;
                }
                // The end is in the log, and the size with the session.
                ServerMessage::Ended { .. } | ServerMessage::Resized { .. } => continue,
            };
            if self.view.as_ref().is_none_or(|view| view.session.id() != session) {
                continue;
            }
            let Some(written) = self.cursor.checked_sub(offset) else {
                // Some were skipped before this one. The log has them, and this one too.
                return false;
            };
            let Some(left) = (data.len() as u64).checked_sub(written).filter(|left| *left > 0) else {
                continue;
            };
            let written = data.len() - left as usize;
            let next = data.slice(written..data.len().min(written + room));
            room -= next.len();
            self.cursor += next.len() as u64;
            let is_whole = written + next.len() == data.len();
            self.pieces.push(next);
            if !is_whole {
                // The rest comes first the next time.
                self.inbox.push(message);
            }
        }
        true
    }

    fn push_event(&mut self, event: &Event) {
        match wire::encode_event(event) {
            Ok(frame) => self.outgoing.push(frame),
            Err(error) => debug!(client = %self.client, %error, "event not sent"),
        }
    }

    /// Writes all that is outgoing. Ends early when the client is gone, cancelled, or too slow.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.outgoing.is_empty() {
            match self.outgoing.write_to(&self.socket) {
                Ok(0) => return Err(End::Gone),
                Ok(written) => self.wrote(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Box::pin(self.wait_for_room()).await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    debug!(client = %self.client, %error, "write failed");
                    return Err(End::Gone);
                }
            }
        }
        Ok(())
    }

    async fn wait_for_room(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(End::Gone),
            ready = self.socket.writable() => ready.map_err(|_| End::Gone),
            () = tokio::time::sleep_until(self.progress.next_verdict()) => {
                let verdict = self.progress.judge();
                self.apply(verdict)
            }
        }
    }

    fn wrote(&mut self, bytes: usize) {
        let counters = &self.shared.counters;
        counters.writes.fetch_add(1, Ordering::Relaxed);
        counters.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
        let may_hold_again = self.progress.took(bytes);
        if let Some(view) = &self.view {
            let taken = self.cursor - self.outgoing.unwritten_output();
            self.standing.wrote(taken, view.session.head());
            view.session.advance(&view.reader, taken);
            if may_hold_again {
                view.session.set_holding(&view.reader, true);
            }
        }
    }

    fn apply(&mut self, verdict: Verdict) -> Result<(), End> {
        match verdict {
            Verdict::Fine => Ok(()),
            Verdict::TooSlowToHold => {
                if let Some(view) = &self.view {
                    debug!(client = %self.client, session = %view.session.id(), "no longer holds the program back");
                    view.session.set_holding(&view.reader, false);
                }
                Ok(())
            }
            Verdict::TooSlow(limit) => Err(End::Close(CloseReason::TooSlow(limit))),
        }
    }

    fn caught_up(&mut self) {
        if self.progress.caught_up()
            && let Some(view) = &self.view
        {
            view.session.set_holding(&view.reader, true);
        }
    }
}

/// Sleeps until then; for ever without a time.
///
/// # Cancel safety
/// Cancel safe.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => Box::pin(tokio::time::sleep_until(time)).await,
        None => std::future::pending().await,
    }
}
