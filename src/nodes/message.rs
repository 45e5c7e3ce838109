//! What nodes say to each other: a version, and then postcard. Pure functions.
//!
//! A message is at most [`MAX_MESSAGE`] bytes, and what is read of it takes no more than a small multiple of that.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    SessionId, SessionName, TerminalSize,
    message::{Create, ExitStatus, InputPosition, InputStreamId, PixelSize, SessionChange, SessionRules},
};

/// The version of what nodes say. A node reads what has its own, and says in its beats which that is.
pub(crate) const NODES_VERSION: u8 = 1;

/// The longest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// The most that is typed by one message, in bytes.
pub(crate) const MAX_TYPED: usize = 8 * 1024;

/// The most that a [`HostChange`] may take, in bytes.
pub(crate) const MAX_CHANGE: usize = 32 * 1024;

/// The longest reason that is passed on, in bytes.
const MAX_WHY: usize = 512;

/// The size that those who watch a session at a node want together, and the same in pixels where that is known; `None`
/// if none of them counts.
pub(crate) type WantedSize = Option<(TerminalSize, Option<PixelSize>)>;

/// Which run of a node this is: drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Incarnation(pub(crate) u64);

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Begin {
    /// With this byte. If it is no longer held: with the gap, and the screen that stands for it.
    At(u64),
    /// With the screen, and what is printed from then on.
    Screen,
}

/// Asks for what changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReadRequest {
    /// Answered by [`Answer::Sessions`]: those after this id.
    List { after: Option<SessionId> },
    /// Opens the stream of this number. It is said again until the stream's first part has come. If it is lossless, the
    /// program may be held back for it, as for any client that wants every byte.
    Open { stream: u64, session: SessionId, begin: Begin, limit: u64, is_lossless: bool },
    /// So many bytes of parts may be sent on a stream, in all since it was opened. Also that its watcher is there. A
    /// stream that is lossless stays so.
    More { stream: u64, limit: u64, is_lossless: bool },
    /// The stream is not needed.
    Close { stream: u64 },
    /// To oneself: comes back when the subscriptions stand.
    Echo { nonce: u64 },
}

/// Asks for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteRequest {
    /// At most [`MAX_TYPED`] bytes. What a terminal types may have its answers to questions in it.
    Input { session: SessionId, stream: [u8; 16], offset: u64, from_terminal: bool, data: Bytes },
    /// Of two, the one with the higher number holds. The node counts for the session's size as one terminal, as long as
    /// it watches.
    Resize { session: SessionId, window: WantedSize, order: u64 },
    /// Ends its program.
    Kill { session: SessionId },
    /// What is done once, however often it is said, and only by this run of the host.
    Once { run: Incarnation, change: HostChange },
}

/// What is changed once at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HostChange {
    /// Starts a session. What it leaves open the host decides: variables, the directory, the shell.
    Create(Box<Create>),
    /// Changes what its terminal is sized by, or sends a signal into it.
    Session(SessionId, SessionChange),
}

impl WriteRequest {
    /// The session that it is about, if that is there already.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self {
            Self::Input { session, .. }
            | Self::Resize { session, .. }
            | Self::Kill { session }
            | Self::Once { change: HostChange::Session(session, _), .. } => Some(*session),
            Self::Once { change: HostChange::Create(_), .. } => None,
        }
    }

    /// Something typed, at its place.
    pub(crate) fn input(session: SessionId, piece: TypedPiece) -> Self {
        let TypedPiece { position, from_terminal, data } = piece;
        Self::Input {
            session,
            stream: position.stream.to_bytes(),
            offset: position.offset,
            from_terminal,
            data,
        }
    }
}

/// Something typed, and its place in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypedPiece {
    pub(crate) position: InputPosition,
    /// A terminal typed it, whose answers to the program's questions may be in it.
    pub(crate) from_terminal: bool,
    pub(crate) data: Bytes,
}

/// The place that input names; `None` if it names none.
pub(crate) fn position(stream: [u8; 16], offset: u64) -> Option<InputPosition> {
    InputStreamId::from_bytes(stream).map(|stream| InputPosition { stream, offset })
}

/// Answers a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To `List`: some sessions in the order of their ids, and whether there are more.
    Sessions { sessions: Vec<RemoteSession>, has_more: bool },
    /// To `WriteRequest`: it is done.
    Done,
    /// To `HostChange::Create`: the session's id.
    Created { session: SessionId },
    /// To the question which nodes there are: this one.
    Here(Beat),
    /// It is refused.
    Refused(Refusal),
}

/// A session of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoteSession {
    pub(crate) id: SessionId,
    pub(crate) name: SessionName,
    pub(crate) size: TerminalSize,
    /// Bytes that it has printed.
    pub(crate) printed: u64,
    /// Whether its program runs.
    pub(crate) is_running: bool,
}

/// Why a node does not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it has no such session, or no longer; `list --nodes` shows which there are")]
    NoSession,
    #[error("its configuration does not allow that to this node (`nodes.allow`)")]
    NotAllowed,
    #[error("a session of this name runs there; choose another name, or attach to that one")]
    NameTaken,
    #[error("it has as many streams as it serves; end some, or try again later")]
    TooMany,
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// Another reason, cut to what is passed on.
    pub(crate) fn failed(why: &str) -> Self {
        let end = why.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_WHY - 4).last();
        Self::Failed(why[..if why.len() <= MAX_WHY { why.len() } else { end.unwrap_or(0) }].to_owned())
    }
}

/// Several parts of a stream that travel together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamMessage {
    /// Counts the messages of the stream, from 0 on.
    pub(crate) seq: u32,
    pub(crate) items: Vec<StreamItem>,
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StreamItem {
    /// The first part: where the stream begins, and what it is a stream of.
    Opened {
        incarnation: Incarnation,
        start: u64,
        name: SessionName,
        size: TerminalSize,
        rules: SessionRules,
    },
    /// What the program printed.
    Output { offset: u64, data: Bytes },
    /// The host no longer had this. The screen follows.
    Gap { from: u64, to: u64 },
    /// A piece of a drawn screen, after which output goes on at this offset.
    Screen { offset: u64, data: Bytes, is_last: bool },
    /// The size from here on.
    Resized { size: TerminalSize },
    /// The program ended here. Nothing follows but `Tail`.
    Ended { at: u64, status: ExitStatus },
    /// Nothing to send: the host is there.
    Tail,
    /// Instead of `Opened`, or at the end of a stream that the host gives up.
    Refused(Refusal),
}

impl StreamItem {
    /// Bytes that it takes in a message, or a few more.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Output { data, .. } | Self::Screen { data, .. } => ITEM_HEAD + data.len(),
            Self::Opened { .. } => ITEM_HEAD + SessionName::MAX_LEN + ITEM_HEAD,
            Self::Gap { .. } | Self::Resized { .. } | Self::Ended { .. } | Self::Tail => ITEM_HEAD,
            Self::Refused(_) => ITEM_HEAD + MAX_WHY,
        }
    }
}

/// Bytes of an item without its data, at most: a tag, two numbers of 64 bits, and what tells a size or an end.
pub(crate) const ITEM_HEAD: usize = 32;

/// Bytes of a message around its items, at most: the version, `seq`, and the number of items.
pub(crate) const MESSAGE_HEAD: usize = 16;

/// How a node is, said to all every few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) incarnation: Incarnation,
    /// Milliseconds since it started.
    pub(crate) uptime_ms: u64,
    /// Milliseconds until it says that again.
    pub(crate) every_ms: u32,
    /// Sessions that it has of its own.
    pub(crate) sessions: u32,
    /// Streams that it sends.
    pub(crate) streams: u32,
    /// It leaves, and this is its last.
    pub(crate) is_last: bool,
}

/// A message as it travels. It is empty if it is longer than a message may be, which no message here is.
pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    let encoded = postcard::to_extend(message, vec![NODES_VERSION]).unwrap_or_default();
    debug_assert!((1..=MAX_MESSAGE).contains(&encoded.len()), "{} bytes", encoded.len());
    encoded.into()
}

/// Bytes that this takes in a message.
pub(crate) fn encoded_len(part: &impl Serialize) -> usize {
    postcard::to_extend(part, Vec::new()).map_or(usize::MAX, |encoded| encoded.len())
}

/// Reads a message; `None` of what is none, or of another version.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (version, rest) = bytes.split_first().filter(|_| bytes.len() <= MAX_MESSAGE)?;
    let (message, rest) =
        (*version == NODES_VERSION).then(|| postcard::take_from_bytes(rest).ok()).flatten()?;
    rest.is_empty().then_some(message)
}

/// Reads bytes as each kind of message: what is read travels again as the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    fn again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(input: &[u8]) {
        if let Some(message) = decode::<T>(input) {
            let encoded = encode(&message);
            assert!(encoded.len() <= input.len());
            assert_eq!(decode::<T>(&encoded), Some(message));
        }
    }
    again::<ReadRequest>(input);
    again::<WriteRequest>(input);
    again::<Answer>(input);
    again::<Beat>(input);
    again::<StreamMessage>(input);
    if let Some(message) = decode::<StreamMessage>(input) {
        let weight: usize = message.items.iter().map(StreamItem::weight).sum();
        // What is refused in words is cut by whoever says it.
        let has_words = message.items.iter().any(|item| matches!(item, StreamItem::Refused(_)));
        assert!(has_words || encode(&message).len() <= MESSAGE_HEAD + weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Pace, SizePolicy};

    #[test]
    fn another_version_or_anything_after_a_message_is_refused() {
        let encoded = encode(&ReadRequest::Close { stream: 7 });
        assert_eq!(decode(&encoded), Some(ReadRequest::Close { stream: 7 }));
        assert_eq!(decode::<ReadRequest>(&[&encoded[..], &[0]].concat()), None);
        assert_eq!(decode::<ReadRequest>(&encoded[..encoded.len() - 1]), None);
        let mut other = encoded.to_vec();
        other[0] += 1;
        assert_eq!(decode::<ReadRequest>(&other), None);
        assert_eq!(decode::<ReadRequest>(&[]), None);
    }

    #[test]
    fn items_take_no_more_than_their_weight() {
        let name: SessionName = "x".repeat(64).parse().unwrap();
        let size = TerminalSize::new(1000, 1000).unwrap();
        let rules = SessionRules::new(Pace::Free, SizePolicy::Fixed);
        let items = [
            StreamItem::Opened { incarnation: Incarnation(u64::MAX), start: u64::MAX, name, size, rules },
            StreamItem::Output { offset: u64::MAX, data: vec![7; 60_000].into() },
            StreamItem::Gap { from: u64::MAX, to: u64::MAX },
            StreamItem::Screen { offset: u64::MAX, data: vec![7; 60_000].into(), is_last: true },
            StreamItem::Resized { size },
            StreamItem::Ended { at: u64::MAX, status: ExitStatus::Code(i32::MIN) },
            StreamItem::Tail,
            StreamItem::Refused(Refusal::failed(&"ü".repeat(1000))),
        ];
        for item in items {
            let weight = item.weight();
            let message = StreamMessage { seq: u32::MAX, items: vec![item] };
            assert!(encode(&message).len() <= MESSAGE_HEAD + weight, "{message:?}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let message = StreamMessage {
            seq: 3,
            items: vec![
                StreamItem::Gap { from: 1, to: 2 },
                StreamItem::Output { offset: 2, data: "hello".into() },
                StreamItem::Ended { at: 7, status: ExitStatus::Signal(9) },
            ],
        };
        let encoded = encode(&message);
        for at in 0..encoded.len() {
            for byte in 0..=255 {
                let mut changed = encoded.to_vec();
                changed[at] = byte;
                fuzz(&changed);
                fuzz(&changed[..at]);
            }
        }
    }
}
