//! The protocol between client and server: frames on a Unix stream socket. Pure functions, and a reader of frames
//! around one of them.
//!
//! Every frame is a fixed 16-byte header and a payload, integers little endian:
//!
//! | bytes | field | meaning |
//! |---|---|---|
//! | 0..4 | `length` | bytes of payload |
//! | 4 | `kind` | what the payload is |
//! | 5 | `flags` | bit 0: a receiver that does not know this kind may skip the frame |
//! | 6..8 | | zero |
//! | 8..16 | `a` | requests and replies: the request's id; output and prints: the offset in the session's stream; a screen: the offset from which output follows it; else zero |
//!
//! `length` is checked against the kind's own limit before anything is allocated. Output and screens are raw bytes, a
//! screen in as many frames as it needs; input is the session's id (16 bytes), its place in a stream (the stream's id,
//! 16 bytes, and an offset, 8; all zero where it has none) and raw bytes; what a provider prints is the session's id
//! and raw bytes; hellos are fixed bytes, the same in every
//! version; all other payloads are [postcard](https://postcard.jamesmunns.com/wire-format). A connection starts with a
//! client's hello and the server's hello reply. Nothing else is accepted before, but for what a relay says of its
//! client: once, and before that one's hello.

mod codec;
mod error;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod hello;
mod reader;

#[cfg(feature = "cli")]
pub(crate) use self::hello::find_hello_reply;
pub(crate) use self::hello::{FOLLOWS, LINKS, PROVIDES};
pub use self::{
    codec::{
        decode_event, decode_news, decode_relay, decode_reply, decode_request, encode_event, encode_news,
        encode_relay, encode_reply, encode_request,
    },
    error::WireError,
    hello::{Hello, HelloReply},
    reader::{Frame, FrameDecoder, FrameReader},
};

use crate::message::{MAX_DRAWING_PIECE, MAX_PRINT};

/// The newest version of the protocol that this side speaks.
pub const VERSION: u16 = 4;

/// The oldest. Both sides speak the newest version that both know.
pub const OLDEST_VERSION: u16 = 4;

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 16;

/// The most output in one frame, and so in one gathered write.
pub const MAX_OUTPUT: usize = 256 * 1024;

/// The most input in one frame.
pub const MAX_INPUT: usize = 64 * 1024;

/// Bytes of an input frame before what is typed.
const INPUT_HEAD: usize = 16 + 16 + 8;

/// Bytes of a print's frame before its output: the session's id.
const PRINT_HEAD: usize = 16;

/// The most that a relay says of its client.
const MAX_RELAY: usize = 64 * 1024;

/// The most payload of a reply.
pub(crate) const MAX_REPLY: usize = 4 * 1024 * 1024;

/// The most payload a frame of unknown kind may have to be skipped rather than refused.
const MAX_SKIPPED: usize = 64 * 1024;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
#[allow(missing_docs, reason = "each names the message it carries")]
pub enum Kind {
    Hello = 1,
    List = 2,
    Create = 3,
    Attach = 4,
    Detach = 5,
    Input = 6,
    Resize = 7,
    Kill = 8,
    Stats = 9,
    Ping = 10,
    Resync = 11,
    Environment = 12,
    ReadScreen = 13,
    Wait = 14,
    Find = 15,
    Change = 16,
    Listen = 17,
    Relay = 18,
    Share = 19,
    Shares = 20,
    Unshare = 21,
    Redeem = 22,
    Provide = 23,
    Print = 24,
    Statement = 25,
    RemoteInput = 26,
    RemoteResize = 27,
    Rules = 28,

    HelloReply = 128,
    Reply = 129,
    Output = 130,
    Event = 131,
    Screen = 132,
    Provider = 133,
}

impl Kind {
    const ALL: [Self; 34] = [
        Self::Hello,
        Self::List,
        Self::Create,
        Self::Attach,
        Self::Detach,
        Self::Input,
        Self::Resize,
        Self::Kill,
        Self::Stats,
        Self::Ping,
        Self::Resync,
        Self::Environment,
        Self::ReadScreen,
        Self::Wait,
        Self::Find,
        Self::Change,
        Self::Listen,
        Self::Relay,
        Self::Share,
        Self::Shares,
        Self::Unshare,
        Self::Redeem,
        Self::Provide,
        Self::Print,
        Self::Statement,
        Self::RemoteInput,
        Self::RemoteResize,
        Self::Rules,
        Self::HelloReply,
        Self::Reply,
        Self::Output,
        Self::Event,
        Self::Screen,
        Self::Provider,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Who sends this kind.
    #[must_use]
    pub fn sender(self) -> Side {
        if (self as u8) < 128 { Side::Client } else { Side::Server }
    }

    /// The most payload a frame of this kind may have, in bytes.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::List | Self::Detach | Self::Stats | Self::Ping | Self::Resync => 0,
            Self::Listen | Self::Shares => 0,
            Self::Hello => 64,
            Self::Resize | Self::Kill | Self::Environment | Self::ReadScreen | Self::Wait => 256,
            Self::Find | Self::Change | Self::Unshare | Self::Redeem | Self::RemoteResize | Self::Rules => {
                256
            }
            // With a label.
            Self::Share => 1024,
            // With an environment: sixteen values of 1 KiB.
            Self::Attach => 256 + 17 * 1024,
            Self::Input | Self::RemoteInput => INPUT_HEAD + MAX_INPUT,
            // With a command line and a title.
            Self::Provide => 8 * 1024,
            Self::Print => PRINT_HEAD + MAX_PRINT,
            // A piece of a drawing is the longest.
            Self::Statement => PRINT_HEAD + MAX_DRAWING_PIECE + 16,
            // What was typed is, with the session, a number and a place in a stream.
            Self::Provider => MAX_INPUT + 128,
            // A command line and an environment: Linux allows a quarter of the stack, most often 2 MiB, for both.
            Self::Create => 2 * 1024 * 1024,
            // With an environment, which takes a few KiB.
            Self::Relay => MAX_RELAY,
            Self::HelloReply => 4 * 1024,
            Self::Reply => MAX_REPLY,
            Self::Output | Self::Screen => MAX_OUTPUT,
            Self::Event => 64 * 1024,
        }
    }
}

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Side {
    Client,
    Server,
}

/// Says that a receiver may skip the frame.
const SKIPPABLE: u8 = 1;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Bytes of payload.
    pub length: usize,
    /// What the payload is.
    pub kind: Kind,
    /// The request's id, or the offset of output.
    pub a: u64,
}

impl Header {
    /// The header of a frame with `length` bytes of payload.
    #[must_use]
    pub fn new(kind: Kind, a: u64, length: usize) -> Self {
        Self { length, kind, a }
    }

    /// The header as it travels.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        debug_assert!(self.length <= self.kind.limit(), "{:?} of {} bytes", self.kind, self.length);
        let length = u32::try_from(self.length).expect("every kind's limit fits 32 bits");
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[8..16].copy_from_slice(&self.a.to_le_bytes());
        bytes
    }

    /// Reads a header sent by `from`. `Ok(Err(length))` is a frame to skip.
    fn decode(bytes: &[u8; HEADER_LEN], from: Side) -> Result<Result<Self, usize>, WireError> {
        let [l0, l1, l2, l3, kind, flags, z0, z1, a @ ..] = *bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if (z0, z1) != (0, 0) || flags & !SKIPPABLE != 0 {
            return Err(WireError::ReservedBits);
        }
        match Kind::from_byte(kind).filter(|kind| kind.sender() == from) {
            Some(kind) if length > kind.limit() => {
                Err(WireError::TooLong { kind: kind as u8, length, limit: kind.limit() })
            }
            Some(kind) => Ok(Ok(Self { length, kind, a: u64::from_le_bytes(a) })),
            None if flags & SKIPPABLE == 0 => Err(WireError::UnknownKind(kind)),
            None if length > MAX_SKIPPED => Err(WireError::TooLong { kind, length, limit: MAX_SKIPPED }),
            None => Ok(Err(length)),
        }
    }
}
