//! Frames and payloads from bytes of any kind.

use bytes::{Bytes, BytesMut};

use super::{
    Frame, FrameDecoder, HEADER_LEN, Header, Hello, HelloReply, Kind, OLDEST_VERSION, Side, VERSION,
    WireError, decode_event, decode_news, decode_relay, decode_reply, decode_request, encode_event,
    encode_news, encode_relay, encode_reply, encode_request,
};
use crate::fuzz::input::{choice, pieces};

/// More than the longest frame: what a decoder may ever hold.
const MAX_HELD: usize = 5 * 1024 * 1024;

/// Cuts bytes into frames: the same frames, and the same end, however the bytes come; none longer than its kind
/// allows; and the same bytes again when they are put together.
pub(crate) fn frames(input: &[u8]) {
    let (cut, bytes) = choice(input);
    for from in [Side::Client, Side::Server] {
        let (whole, end) = decode(bytes, 0, from);
        let (pieced, end_pieced) = decode(bytes, cut, from);
        assert_eq!(whole, pieced);
        assert_eq!(end, end_pieced);
        let (in_parts, whole_contents) = (contents(parts(bytes, cut, from)), contents(whole.clone()));
        let (same, more) = in_parts.split_at(whole_contents.len());
        assert_eq!(same, whole_contents);
        assert!(more.iter().all(|content| matches!(content, Content::Output(..))), "of what was cut off");
        let mut again = Vec::new();
        for Frame { kind, a, payload } in &whole {
            assert!(payload.len() <= kind.limit() && kind.sender() == from);
            again.extend_from_slice(&Header { length: payload.len(), kind: *kind, a: *a }.encode());
            again.extend_from_slice(payload);
        }
        assert!(again.len() <= bytes.len());
        assert_eq!(decode(&again, cut, from), (whole, None));
    }
}

/// All frames in `bytes`, and what was wrong after them.
pub(crate) fn decode(bytes: &[u8], cut: u8, from: Side) -> (Vec<Frame>, Option<String>) {
    let mut decoder = FrameDecoder::new(from);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces(bytes, cut) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        assert!(buffer.capacity() <= bytes.len() + MAX_HELD);
    }
    let error = decoder.end(&buffer).err();
    assert!(matches!(error, None | Some(WireError::Cut)), "{error:?} only at the end");
    (frames, error.map(|error| error.to_string()))
}

/// What frames hold, however output is cut into them.
#[derive(Debug, PartialEq)]
enum Content {
    Output(u64, u8),
    Other(Frame),
}

fn contents(frames: Vec<Frame>) -> Vec<Content> {
    let contents = |frame: Frame| match frame.kind {
        Kind::Output => {
            let offset = |at: usize| frame.a.saturating_add(at as u64);
            frame.payload.iter().enumerate().map(|(at, byte)| Content::Output(offset(at), *byte)).collect()
        }
        _ => vec![Content::Other(frame)],
    };
    frames.into_iter().flat_map(contents).collect()
}

/// All frames in `bytes`, where a frame of output is handed out as it comes.
fn parts(bytes: &[u8], cut: u8, from: Side) -> Vec<Frame> {
    let mut decoder = FrameDecoder::new(from);
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces(bytes, cut) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
        if decoder.has_part(&buffer) {
            frames.extend(decoder.take_part(&mut buffer));
            assert!(buffer.is_empty(), "all that came");
        }
    }
    frames
}

/// Reads a payload as what the first byte says, and as all that either side reads unasked. What is read is the same
/// after another journey, which takes no more bytes than it came in.
pub(crate) fn messages(input: &[u8]) {
    let (kind, payload) = choice(input);
    let kind = Kind::from_byte(kind).unwrap_or(Kind::Create);
    if payload.len() <= kind.limit() {
        let frame = Frame { kind, a: 7, payload: Bytes::copy_from_slice(payload) };
        if let Ok(request) = decode_request(&frame) {
            let again = encode_request(7, &request).expect("what came in a frame fits a frame");
            assert!(again.len() <= HEADER_LEN + payload.len());
            let (again, end) = decode(&again, 0, Side::Client);
            assert_eq!((again.len(), end), (1, None));
            assert_eq!(decode_request(&again[0]).ok(), Some(request));
        }
    }
    if payload.len() <= Kind::Relay.limit()
        && let Ok(relay) = decode_relay(payload)
    {
        let again = encode_relay(&relay).expect("what came in a frame fits a frame");
        assert_eq!(decode_relay(&again[HEADER_LEN..]).ok(), Some(relay));
    }
    if let Ok(hello) = Hello::decode(payload) {
        assert!(payload.starts_with(b"fugue\0") && payload[6..8] == hello.version.to_le_bytes());
        let known = OLDEST_VERSION..=VERSION;
        let agreed = hello.agreed();
        assert!(agreed.is_none_or(
            |version| known.contains(&version) && (hello.oldest..=hello.version).contains(&version)
        ));
    }
    // What is no text grows as it is made one.
    if let Ok(reply) = HelloReply::decode(payload)
        && payload.len() * 3 <= Kind::HelloReply.limit()
    {
        let again = HelloReply::decode(&reply.encode()[HEADER_LEN..]);
        assert_eq!(again.ok(), Some(reply));
    }
    if let Ok(reply) = decode_reply(payload) {
        assert_eq!(decode_reply(&encode_reply(1, &reply)[HEADER_LEN..]).ok(), Some(reply));
    }
    if let Ok(event) = decode_event(payload) {
        let again = encode_event(&event).ok();
        assert_eq!(again.and_then(|frame| decode_event(&frame[HEADER_LEN..]).ok()), Some(event));
    }
    if let Ok((session, news)) = decode_news(payload)
        && payload.len() <= Kind::Provider.limit()
    {
        let again = encode_news(session, &news).expect("what came in a frame fits a frame");
        assert_eq!(decode_news(&again[HEADER_LEN..]).ok(), Some((session, news)));
    }
}
