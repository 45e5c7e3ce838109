//! What a page typed and the server has not taken yet.
//!
//! The server takes so much of a client at once; a page may type more, as one that pastes does.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{
    super::protocol::{MAX_TYPED, TypedByPage},
    Asked,
};
use crate::{SessionId, message::ClientMessage};

/// What is with the server and not answered: half of what it allows a client.
const MAX_REQUESTS: usize = 32;
const MAX_REQUESTED: usize = 128 * 1024;

/// What waits here: a page keeps 1 MiB that is not answered.
const MAX_WAITING: usize = 1024 * 1024 + MAX_TYPED;
/// What each piece takes besides its bytes.
const PIECE: usize = 128;

#[derive(Debug, Default)]
pub(super) struct PageTyping {
    session: Option<SessionId>,
    waiting: VecDeque<TypedByPage>,
    waiting_bytes: usize,
    requests: usize,
    requested: usize,
}

/// More was typed than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypingFull;

impl PageTyping {
    /// Takes what was typed into this session.
    pub(super) fn push(&mut self, session: SessionId, typed: TypedByPage) -> Result<(), TypingFull> {
        if self.session != Some(session) {
            self.forget();
            self.session = Some(session);
        }
        // Keys that follow one another become one request.
        if let Some(last) = self.waiting.back_mut().filter(|last| {
            last.position.stream == typed.position.stream
                && last.end() == typed.position.offset
                && last.data.len() + typed.data.len() <= MAX_TYPED
        }) {
            self.waiting_bytes += typed.data.len();
            let mut data = BytesMut::from(std::mem::take(&mut last.data));
            data.extend_from_slice(&typed.data);
            last.data = data.freeze();
        } else {
            self.waiting_bytes += typed.data.len() + PIECE;
            // Not the message that it came in.
            let data = Bytes::copy_from_slice(&typed.data);
            self.waiting.push_back(TypedByPage { data, ..typed });
        }
        if self.waiting_bytes > MAX_WAITING { Err(TypingFull) } else { Ok(()) }
    }

    /// What waits is not to be typed any more.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// The next request, if the server has room for one more.
    pub(super) fn next(&mut self) -> Option<(ClientMessage, Asked)> {
        if self.requests >= MAX_REQUESTS || self.requested >= MAX_REQUESTED {
            return None;
        }
        let session = self.session?;
        let typed = self.waiting.pop_front()?;
        let bytes = typed.data.len();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes + PIECE);
        self.requests += 1;
        self.requested += bytes;
        let asked = Asked::Typed { stream: typed.position.stream, end: typed.end(), bytes };
        Some((ClientMessage::Input { session, position: Some(typed.position), data: typed.data }, asked))
    }

    /// A request of so many bytes was answered.
    pub(super) fn answered(&mut self, bytes: usize) {
        self.requests -= 1;
        self.requested -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{InputPosition, InputStreamId};

    fn typed(offset: u64, data: &[u8]) -> TypedByPage {
        let stream = InputStreamId::from_bytes([7; 16]).unwrap();
        TypedByPage { position: InputPosition { stream, offset }, data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn what_is_typed_is_sent_on_in_order_and_within_bounds() {
        let (session, mut typing) = (SessionId::from(1_u64), PageTyping::default());
        let mut offset = 0;
        let (mut sent, mut answers) = (0, VecDeque::new());
        for round in 0..2000_u64 {
            let data = vec![b'x'; (round % 700 + 1) as usize];
            typing.push(session, typed(offset, &data)).unwrap();
            offset += data.len() as u64;
            while let Some((request, Asked::Typed { end, bytes, .. })) = typing.next() {
                let ClientMessage::Input { position, .. } = request else { panic!() };
                assert_eq!((position.unwrap().offset, end), (sent, sent + bytes as u64));
                sent = end;
                answers.push_back(bytes);
            }
            assert!(answers.len() <= MAX_REQUESTS);
            assert!(answers.iter().sum::<usize>() <= MAX_REQUESTED + MAX_TYPED);
            if let Some(bytes) = answers.pop_front().filter(|_| round % 3 == 0) {
                typing.answered(bytes);
            }
        }
    }

    #[test]
    fn more_than_is_kept_is_refused() {
        let (session, mut typing) = (SessionId::from(1_u64), PageTyping::default());
        let pushed = (0..).map_while(|at| typing.push(session, typed(at * 2, b"x")).ok()).count();
        assert_eq!(pushed, MAX_WAITING / (PIECE + 1));
        // Another session's input is not typed into this one.
        typing.push(SessionId::from(2_u64), typed(0, b"y")).unwrap();
        let Some((ClientMessage::Input { session, data, .. }, _)) = typing.next() else { panic!() };
        assert_eq!((session, &data[..]), (SessionId::from(2_u64), &b"y"[..]));
        assert!(typing.next().is_none());
    }
}
