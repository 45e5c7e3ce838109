//! What was typed and not answered, which outlives a connection: what sender and receiver share of it.

use std::cell::{Cell, RefCell};

use crate::{SessionId, client::InputStream, message::ClientMessage};

/// Replies to input come in the order in which it was sent, to one session.
#[derive(Debug)]
pub(super) struct Typing {
    stream: RefCell<InputStream>,
    /// The first request of this stream on this connection; those before it are of another. `None` before there is one.
    first: Cell<Option<u64>>,
}

impl Typing {
    pub(super) fn new(session: SessionId) -> Self {
        Self { stream: RefCell::new(InputStream::new(session)), first: Cell::new(None) }
    }

    /// What is typed into `session` next, as a request.
    pub(super) fn push(&self, session: SessionId, piece: Vec<u8>) -> ClientMessage {
        if self.stream.borrow().session() != session {
            self.start_anew(session);
        }
        self.stream.borrow_mut().push(piece)
    }

    /// A request of the stream was sent.
    pub(super) fn sent(&self, request: u64) {
        if self.first.get().is_none() {
            self.first.set(Some(request));
        }
    }

    /// The oldest request of the stream that was not answered is, if this is one of its requests.
    pub(super) fn answered(&self, request: u64) {
        if self.first.get().is_some_and(|first| request >= first) {
            self.stream.borrow_mut().answered();
        }
    }

    /// The connection was lost.
    pub(super) fn lost(&self) {
        self.first.set(None);
    }

    /// What is to be sent again on the next connection.
    pub(super) fn unanswered(&self) -> Vec<ClientMessage> {
        self.stream.borrow().unanswered().collect()
    }

    /// A request was refused, as bytes before it did not arrive. If it is one of the stream's, gives up what was not
    /// answered, and returns how many bytes that are.
    pub(super) fn refused(&self, request: u64) -> usize {
        if self.first.get().is_some_and(|first| request >= first) { self.give_up() } else { 0 }
    }

    /// Gives up what was not answered, and returns how many bytes that are.
    pub(super) fn give_up(&self) -> usize {
        let session = self.stream.borrow().session();
        let bytes = self.stream.borrow().unanswered_bytes();
        self.start_anew(session);
        bytes
    }

    fn start_anew(&self, session: SessionId) {
        self.stream.replace(InputStream::new(session));
        self.first.set(None);
    }
}
