//! Why bytes were no frame, or a frame no message.

/// The other end sent what can't be understood. The stream is of no further use unless said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A kind of frame this side does not accept, and that was not marked as one to skip.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A payload longer than its kind allows. Nothing was allocated for it.
    #[error("a frame of kind {kind} with {length} bytes, of which at most {limit} are allowed")]
    TooLong {
        /// The frame's kind.
        kind: u8,
        /// What its header claims.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Bits that must be zero are not.
    #[error("a frame with reserved bits set")]
    ReservedBits,
    /// A payload that is no message of its kind. Only this frame is lost: the next one starts where it should.
    #[error("malformed {what} payload")]
    Payload {
        /// What it should have been.
        what: &'static str,
    },
    /// The stream ended in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Cut,
    /// A frame was begun and not finished, and nothing more of it arrived for so long.
    #[error("a frame that was begun, and of which nothing more arrived for {seconds} s")]
    Stalled {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
