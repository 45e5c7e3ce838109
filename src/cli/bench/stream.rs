//! The known stream: what the program on the PTY prints, and how a reader's copy of it is checked.

use std::io;

use xxhash_rust::xxh3::Xxh3;

/// Said once the terminal is raw; the stream proper comes when a byte is typed.
pub(super) const READY: &[u8] = b"ready\r\n";

/// A line of the stream: its number, so that no two are alike, and text as programs print it.
const LINE: &[u8; 64] = b"0000000000000000 the quick brown fox jumps over the lazy dog .\r\n";

/// Makes the first `bytes` of the stream, piece by piece.
pub(super) fn each_piece(bytes: u64, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = Vec::with_capacity(64 * 1024);
    let (mut left, mut line) = (bytes, 0_u64);
    while left > 0 {
        piece.clear();
        while piece.len() + LINE.len() <= piece.capacity() {
            let at = piece.len();
            piece.extend_from_slice(LINE);
            for (digit, byte) in piece[at..at + 16].iter_mut().enumerate() {
                *byte = b"0123456789abcdef"[(line >> (60 - 4 * digit)) as usize & 15];
            }
            line += 1;
        }
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(piece.len()));
        visit(&piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// What every reader must have received in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Bytes of the stream proper.
    pub(super) stream: u64,
    /// Bytes a reader receives: [`READY`] and the stream.
    pub(super) bytes: u64,
    hash: u64,
}

impl Expected {
    pub(super) fn of(stream: u64) -> Self {
        let mut copy = StreamDigest::default();
        copy.take(READY);
        // Only writing can fail.
        let _ = each_piece(stream, |piece| {
            copy.take(piece);
            Ok(())
        });
        Self { stream, bytes: copy.bytes, hash: copy.hash.digest() }
    }

    /// All that is expected, piece by piece.
    pub(super) fn each_piece(self, mut visit: impl FnMut(&[u8])) {
        visit(READY);
        // Only writing can fail.
        let _ = each_piece(self.stream, |piece| {
            visit(piece);
            Ok(())
        });
    }
}

/// A reader's copy of the stream: not the bytes, but how many and their hash.
#[derive(Default)]
pub(super) struct StreamDigest {
    pub(super) bytes: u64,
    hash: Xxh3,
}

impl StreamDigest {
    pub(super) fn take(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.hash.update(data);
    }

    pub(super) fn is(&self, expected: Expected) -> bool {
        self.bytes == expected.bytes && self.hash.digest() == expected.hash
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn bytes(count: u64) -> Vec<u8> {
        let mut all = Vec::new();
        each_piece(count, |piece| all.write_all(piece)).unwrap();
        all
    }

    #[test]
    fn the_stream_is_as_long_as_asked_and_does_not_repeat() {
        for count in [0, 1, 63, 64, 65_535, 65_536, 65_537, 1_000_000] {
            assert_eq!(bytes(count).len() as u64, count);
        }
        let all = bytes(1 << 20);
        let lines: std::collections::HashSet<_> = all.chunks(64).collect();
        assert_eq!(lines.len(), (1 << 20) / 64);
    }

    #[test]
    fn a_copy_with_a_lost_swapped_or_changed_byte_is_not_the_stream() {
        let expected = Expected::of(1000);
        let whole: Vec<u8> = [READY, &bytes(1000)].concat();
        let check = |data: &[u8]| {
            let mut copy = StreamDigest::default();
            data.chunks(77).for_each(|piece| copy.take(piece));
            copy.is(expected)
        };
        assert!(check(&whole));
        assert!(!check(&whole[1..]));
        assert!(!check(&whole[..whole.len() - 1]));
        let mut changed = whole.clone();
        changed[500] ^= 1;
        assert!(!check(&changed));
        let mut swapped = whole;
        swapped.swap(100, 101);
        assert!(!check(&swapped));
    }
}
