//! What programs print and servers are given: lines of text.

/// A line of the payload: plain text, ended as a terminal ends the lines that a program prints.
pub(crate) const LINE: &[u8; 64] = b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWX\r\n";

/// `bytes` of lines.
pub(crate) fn lines(bytes: usize) -> Vec<u8> {
    LINE.iter().copied().cycle().take(bytes).collect()
}

/// The most that [`numbered_lines`] returns at once.
const NUMBERED: usize = 64 * 1024;

/// A piece of a stream of lines that differ: from the byte at `at` on, which is a line's first, and at most `left`
/// bytes.
pub(crate) fn numbered_lines(at: u64, left: u64) -> Vec<u8> {
    let size = LINE.len() as u64;
    let mut piece = Vec::with_capacity(NUMBERED);
    for number in (at / size..).take(NUMBERED / LINE.len()) {
        piece.extend_from_slice(format!("{number:016x}").as_bytes());
        piece.extend_from_slice(&LINE[16..]);
    }
    piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    piece
}
