//! A client's stay in a session's stream, and what of it the writer decides by.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    ClientId, TerminalSize,
    message::{OnLag, View as Options},
    session::{Claim, Reader, Session},
};

/// A client's stay; it ends when this drops.
#[derive(Debug)]
pub(super) struct View {
    pub(super) session: Arc<Session>,
    pub(super) reader: Reader,
    pub(super) on_lag: OnLag,
    /// The client's terminal, if it is one.
    pub(super) size: Option<TerminalSize>,
    /// The session's size, as the client was told.
    pub(super) session_size: TerminalSize,
    /// The screen is to be drawn before anything else is sent.
    pub(super) redraw: bool,
    pub(super) next_picture: Option<Instant>,
    /// There is no model to make pictures of.
    pub(super) pictures_failed: bool,
    /// Held for its drop.
    _seat: Option<Seat>,
}

/// What a client with a terminal has in a session: it counts for its size, and may answer its questions.
#[derive(Debug)]
pub(super) struct Seat {
    session: Arc<Session>,
    client: ClientId,
    claim: Claim,
}

impl Seat {
    /// Takes a seat for a terminal of this size.
    pub(super) fn take(session: &Arc<Session>, client: ClientId, size: TerminalSize) -> Self {
        Self { session: Arc::clone(session), client, claim: session.join_terminal(size) }
    }

    pub(super) fn claim(&self) -> Claim {
        self.claim
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.session.leave_terminal(self.claim, self.client);
    }
}

impl View {
    pub(super) fn new(
        session: Arc<Session>,
        reader: Reader,
        options: Options,
        seat: Option<Seat>,
        session_size: TerminalSize,
    ) -> Self {
        let mut view = Self {
            session,
            reader,
            on_lag: options.on_lag,
            size: options.size,
            session_size,
            redraw: false,
            next_picture: None,
            pictures_failed: false,
            _seat: seat,
        };
        view.redraw = view.is_pictured();
        view
    }

    /// Whether the client's terminal has another size than the session's, so that output would not fit it. Who wants
    /// every byte gets the bytes all the same.
    pub(super) fn is_pictured(&self) -> bool {
        !self.pictures_failed && self.is_drawn() && self.size != Some(self.session_size)
    }

    /// Whether a drawn screen serves this client as well as the output it stands for.
    fn is_drawn(&self) -> bool {
        self.size.is_some() && self.on_lag != OnLag::Lossless
    }

    /// The client's terminal has another size, and has made of its contents what it would.
    pub(super) fn set_size(&mut self, size: TerminalSize) {
        if self.size.is_some_and(|before| before != size) {
            self.size = Some(size);
            self.redraw |= self.is_drawn();
        }
    }

    /// The session's size, if the client has not been told of it.
    pub(super) fn new_session_size(&mut self) -> Option<TerminalSize> {
        let size = self.session.size();
        if std::mem::replace(&mut self.session_size, size) == size {
            return None;
        }
        self.redraw |= self.is_drawn();
        Some(size)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.session.leave(&self.reader);
    }
}
