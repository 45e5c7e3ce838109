//! What is typed into a session of another node: of each stream of input one piece is on its way, and what comes
//! meanwhile goes with the next. So it comes in order, and the host's server, which knows how far it has taken each
//! stream, types each byte once.

use std::{collections::HashMap, time::Duration};

use bytes::{Bytes, BytesMut};

use super::message::{MAX_TYPED, TypedPiece};
use crate::message::{InputPosition, InputStreamId};

/// Streams of input that are known of one session, and for how long after their last use: as a server does.
const MAX_STREAMS: usize = 64;
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// What one stream may have waiting, in bytes. A server has as much on its way to a provider.
const MAX_WAITING: usize = 256 * 1024;

/// The streams of input to one session.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    streams: HashMap<InputStreamId, Keys>,
}

#[derive(Debug)]
struct Keys {
    /// Where in the stream `data` begins: all before is taken.
    taken: u64,
    data: BytesMut,
    /// How much of it is on its way.
    sent: usize,
    from_terminal: bool,
    used: Duration,
}

/// Why something can't be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTyped {
    #[error("more is typed than the session's host takes; type it again later")]
    Full,
    #[error("what was typed before this is missing")]
    Hole,
}

impl Typing {
    /// Bytes that were typed and are not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.streams.values().map(|keys| keys.data.len()).sum()
    }

    /// Takes in what was typed. How far its stream is taken, if that is at or past its end.
    pub(crate) fn push(&mut self, now: Duration, piece: &TypedPiece) -> Result<Option<u64>, NotTyped> {
        let TypedPiece { position: InputPosition { stream, offset }, from_terminal, data } = piece;
        let (stream, offset) = (*stream, *offset);
        if !self.streams.contains_key(&stream) {
            self.make_room(now)?;
        }
        let new = || Keys {
            taken: offset,
            data: BytesMut::new(),
            sent: 0,
            from_terminal: *from_terminal,
            used: now,
        };
        let keys = self.streams.entry(stream).or_insert_with(new);
        keys.used = now;
        let (end, known) = (offset + data.len() as u64, keys.taken + keys.data.len() as u64);
        if offset > known {
            return Err(NotTyped::Hole);
        }
        let fresh =
            usize::try_from(end.saturating_sub(known)).map_or(data.len(), |fresh| fresh.min(data.len()));
        if keys.data.len() + fresh > MAX_WAITING {
            return Err(NotTyped::Full);
        }
        keys.data.extend_from_slice(&data[data.len() - fresh..]);
        Ok((end <= keys.taken).then_some(keys.taken))
    }

    /// Makes room for another stream: the one that was used least is forgotten if nothing of it waits.
    fn make_room(&mut self, now: Duration) -> Result<(), NotTyped> {
        self.streams.retain(|_, keys| !keys.data.is_empty() || now < keys.used + KNOWN_FOR);
        if self.streams.len() >= MAX_STREAMS {
            let idle = self.streams.iter().filter(|(_, keys)| keys.data.is_empty());
            let oldest = *idle.min_by_key(|(_, keys)| keys.used).ok_or(NotTyped::Full)?.0;
            self.streams.remove(&oldest);
        }
        Ok(())
    }

    /// Whether anything was typed that is not answered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.streams.values().any(|keys| !keys.data.is_empty())
    }

    /// The next piece that is to be sent, of at most so many bytes, and asked for until it is answered.
    pub(crate) fn next(&mut self, most: usize) -> Option<TypedPiece> {
        let is_ready = |keys: &Keys| keys.sent == 0 && !keys.data.is_empty();
        let (stream, keys) = self.streams.iter_mut().find(|(_, keys)| is_ready(keys))?;
        keys.sent = keys.data.len().min(MAX_TYPED).min(most);
        let position = InputPosition { stream: *stream, offset: keys.taken };
        let data = Bytes::copy_from_slice(&keys.data[..keys.sent]);
        Some(TypedPiece { position, from_terminal: keys.from_terminal, data })
    }

    /// The piece that was sent could not be asked for: it is to be sent later.
    pub(crate) fn put_back(&mut self, stream: InputStreamId) {
        if let Some(keys) = self.streams.get_mut(&stream) {
            keys.sent = 0;
        }
    }

    /// The piece that was sent is typed. How far the stream is taken now.
    pub(crate) fn typed(&mut self, now: Duration, stream: InputStreamId) -> Option<u64> {
        let keys = self.streams.get_mut(&stream).filter(|keys| keys.sent > 0)?;
        let _ = keys.data.split_to(keys.sent);
        keys.taken += keys.sent as u64;
        (keys.sent, keys.used) = (0, now);
        Some(keys.taken)
    }

    /// It is refused. All that waits of the stream is forgotten: it may not be typed without what came before.
    pub(crate) fn refused(&mut self, stream: InputStreamId) {
        self.streams.remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: InputStreamId, offset: u64, data: &[u8]) -> TypedPiece {
        let position = InputPosition { stream, offset };
        TypedPiece { position, from_terminal: true, data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn one_piece_is_on_its_way_and_the_rest_follows_it() {
        let (mut typing, stream, now) = (Typing::default(), InputStreamId::random(), Duration::ZERO);
        assert_eq!(typing.push(now, &piece(stream, 10, b"abc")), Ok(None));
        assert_eq!(typing.next(MAX_TYPED), Some(piece(stream, 10, b"abc")));
        assert_eq!(typing.push(now, &piece(stream, 13, b"de")), Ok(None));
        // Said again, by a server that was restarted.
        assert_eq!(typing.push(now, &piece(stream, 12, b"cdef")), Ok(None));
        assert_eq!(typing.next(MAX_TYPED), None);
        assert_eq!(typing.typed(now, stream), Some(13));
        assert_eq!(typing.next(MAX_TYPED), Some(piece(stream, 13, b"def")));
        assert_eq!(typing.typed(now, stream), Some(16));
        assert_eq!(typing.typed(now, stream), None, "answered twice");
        assert_eq!(typing.push(now, &piece(stream, 10, b"abc")), Ok(Some(16)));
        assert_eq!(typing.push(now, &piece(stream, 17, b"x")), Err(NotTyped::Hole));
        assert_eq!(typing.next(MAX_TYPED), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut typing, stream, now) = (Typing::default(), InputStreamId::random(), Duration::ZERO);
        assert_eq!(typing.push(now, &piece(stream, 0, &[b'x'; MAX_WAITING])), Ok(None));
        assert_eq!(typing.push(now, &piece(stream, MAX_WAITING as u64, b"x")), Err(NotTyped::Full));
        assert_eq!(typing.next(MAX_TYPED).unwrap().data.len(), MAX_TYPED);
        for _ in 1..MAX_STREAMS {
            assert_eq!(typing.push(now, &piece(InputStreamId::random(), 0, b"x")), Ok(None));
        }
        assert_eq!(typing.push(now, &piece(InputStreamId::random(), 0, b"x")), Err(NotTyped::Full));
    }
}
