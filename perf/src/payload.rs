//! What programs print and servers are given: lines of text.

/// A line of the payload: plain text, ended as a terminal ends the lines that a program prints.
pub(crate) const LINE: &[u8; 64] = b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWX\r\n";

/// `bytes` of lines.
pub(crate) fn lines(bytes: usize) -> Vec<u8> {
    LINE.iter().copied().cycle().take(bytes).collect()
}
