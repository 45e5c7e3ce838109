//! Frames from a stream of bytes: a decoder without I/O, and a reader around it.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::{HEADER_LEN, Header, Kind, MAX_OUTPUT, Side, WireError};

/// Bytes that a server reads at once between frames: most requests whole, and without any memory for one that is idle.
const SMALL: usize = 64;

/// Bytes that a client reads at once, unless it wants less: one whole frame of output.
const LARGE: usize = HEADER_LEN + MAX_OUTPUT;

/// A client reads into what room is left of that until less than this is.
const LEAST: usize = 16 * 1024;

/// The most room that is made for a payload before half as much of it has arrived.
const FIRST_ROOM: usize = 64 * 1024;

/// A frame as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// What the payload is.
    pub kind: Kind,
    /// The request's id, or the offset of output.
    pub a: u64,
    /// At most [`Kind::limit`] bytes.
    pub payload: Bytes,
}

impl Frame {
    /// A frame with this header and payload.
    #[must_use]
    pub fn new(kind: Kind, a: u64, payload: Bytes) -> Self {
        Self { kind, a, payload }
    }
}

/// Cuts a stream of bytes into frames, however it was chunked.
///
/// Takes no more than one frame's payload for one: the header is checked against its kind's limit first.
#[derive(Debug)]
pub struct FrameDecoder {
    from: Side,
    /// The frame whose payload is still coming.
    header: Option<Header>,
    /// Bytes left of a frame that is being skipped.
    skip: usize,
}

impl FrameDecoder {
    /// Decodes what `from` sends; the other side's kinds are unknown to it.
    #[must_use]
    pub fn new(from: Side) -> Self {
        Self { from, header: None, skip: 0 }
    }

    /// The next frame, which is taken from the front of `bytes`; `None` when more bytes are needed for it.
    ///
    /// # Errors
    /// [`WireError`] when there is no frame there, after which the stream is of no further use.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let header = loop {
            let skipped = self.skip.min(bytes.len());
            bytes.advance(skipped);
            self.skip -= skipped;
            if let Some(header) = self.header {
                break header;
            }
            if self.skip > 0 {
                return Ok(None);
            }
            let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            match Header::decode(header, self.from)? {
                Ok(header) => self.header = Some(header),
                Err(length) => self.skip = length,
            }
            bytes.advance(HEADER_LEN);
        };
        if bytes.len() < header.length {
            return Ok(None);
        }
        self.header = None;
        let payload = bytes.split_to(header.length).freeze();
        Ok(Some(Frame { kind: header.kind, a: header.a, payload }))
    }

    /// Makes sure that a stream ends where a frame does; `bytes` are those that no frame was made of.
    ///
    /// # Errors
    /// [`WireError::Cut`] when it ends in the middle of one.
    pub fn end(&self, bytes: &BytesMut) -> Result<(), WireError> {
        if self.is_within_a_frame(bytes) { Err(WireError::Cut) } else { Ok(()) }
    }

    fn is_within_a_frame(&self, bytes: &BytesMut) -> bool {
        !bytes.is_empty() || self.header.is_some() || self.skip > 0
    }

    /// Whether a part of a frame of output is there, and the rest is not. A part is of use without the rest.
    pub(super) fn has_part(&self, bytes: &BytesMut) -> bool {
        !bytes.is_empty() && self.awaits_output()
    }

    /// Whether the header of a frame of output was read, and not all of its payload.
    fn awaits_output(&self) -> bool {
        self.header.is_some_and(|header| header.kind == Kind::Output)
    }

    /// Takes what is there of a frame of output, as a frame. The rest becomes one of its own.
    pub(super) fn take_part(&mut self, bytes: &mut BytesMut) -> Option<Frame> {
        let header = self.header.as_mut()?;
        let payload = bytes.split_to(bytes.len().min(header.length)).freeze();
        let offset = header.a;
        header.length -= payload.len();
        header.a = offset.saturating_add(payload.len() as u64);
        Some(Frame { kind: header.kind, a: offset, payload })
    }

    /// Bytes that the payload whose header was read lacks.
    fn missing(&self, bytes: &BytesMut) -> usize {
        self.header.map_or(0, |header| header.length.saturating_sub(bytes.len()))
    }
}

/// Reads frames from a socket.
///
/// What it holds suits its side. A client, which reads from a server, reads as much at once as there may be. A server
/// has many clients that are idle most of the time: between their frames it holds no memory for them, and for a long
/// frame it makes room as the frame arrives.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    decoder: FrameDecoder,
    bytes: BytesMut,
    stall: Option<Duration>,
    /// Bytes that are read at once from a server. Once so many of a frame of output are there they are a frame by
    /// themselves.
    at_once: usize,
    /// Why there is no more, once the part before that was handed out.
    failed: Option<WireError>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads what `from` sends.
    #[must_use]
    pub fn new(io: R, from: Side) -> Self {
        Self {
            io,
            decoder: FrameDecoder::new(from),
            bytes: BytesMut::new(),
            stall: None,
            at_once: LARGE,
            failed: None,
        }
    }

    /// Gives up on a frame that was begun and of which nothing more arrives for this long. By default it is waited for.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall = Some(timeout);
        self
    }

    /// Reads so many bytes at once, in place of a whole frame of output: for one of many clients in a process.
    #[cfg(feature = "web")]
    pub(crate) fn set_at_once(&mut self, bytes: usize) {
        self.at_once = bytes.clamp(LEAST, LARGE);
        // The room that there is may be for more.
        let mut bytes = BytesMut::with_capacity(self.at_once);
        bytes.extend_from_slice(&self.bytes);
        self.bytes = bytes;
    }

    /// The next frame; `None` at the end of the stream.
    ///
    /// Of a long frame of output, what has arrived is a frame by itself where the rest would be waited for. So a slow
    /// line shows what it brings, and nothing that came is lost when the line breaks.
    ///
    /// # Errors
    /// [`WireError`]: there is no frame, or not all of one, or the socket failed. The stream is of no further use.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.bytes)? {
                if self.bytes.is_empty() && self.decoder.from == Side::Client {
                    // What was made for this frame goes with it.
                    self.bytes = BytesMut::new();
                }
                return Ok(Some(frame));
            }
            if self.decoder.has_part(&self.bytes) {
                if self.bytes.len() >= self.at_once {
                    return Ok(self.decoder.take_part(&mut self.bytes));
                }
                match now(self.read()).await {
                    Some(Ok(read)) if read > 0 => continue,
                    none_now => self.failed = none_now.map(|ended| ended.err().unwrap_or(WireError::Cut)),
                }
                return Ok(self.decoder.take_part(&mut self.bytes));
            }
            let read = match self.stall {
                Some(stall) if self.decoder.is_within_a_frame(&self.bytes) => {
                    // Seldom, so no idle connection has room for it.
                    let read = Box::pin(tokio::time::timeout(stall, self.read()));
                    read.await.unwrap_or(Err(WireError::Stalled { seconds: stall.as_secs() }))?
                }
                _ => self.read().await?,
            };
            if read == 0 {
                self.decoder.end(&self.bytes)?;
                return Ok(None);
            }
        }
    }

    /// What it reads from.
    #[must_use]
    pub fn get_ref(&self) -> &R {
        &self.io
    }

    /// What it reads from. What was read and is no whole frame yet is dropped.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.io
    }

    /// Reads once.
    async fn read(&mut self) -> Result<usize, WireError> {
        let missing = self.decoder.missing(&self.bytes);
        if self.decoder.from == Side::Server {
            let room = self.bytes.capacity() - self.bytes.len();
            // Of output, a part will do.
            let missing = if self.decoder.awaits_output() { missing.min(self.at_once) } else { missing };
            if room < LEAST.max(missing) {
                self.bytes.reserve(self.at_once.max(missing));
            }
            return Ok(self.io.read_buf(&mut self.bytes).await?);
        }
        if missing == 0 {
            return Ok(poll_fn(|context| self.poll_read_small(context)).await?);
        }
        // No more than this frame, so that nothing keeps its memory when it is done.
        self.bytes.reserve(missing.min(self.bytes.len().max(FIRST_ROOM)));
        Ok(self.io.read_buf(&mut (&mut self.bytes).limit(missing)).await?)
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads a few bytes at most. They are on the stack, so that a future that waits for them has no room for them.
    fn poll_read_small(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut small = [0; SMALL];
        let mut buffer = ReadBuf::new(&mut small);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
        self.bytes.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

/// What a future gives at once, if anything.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::{SessionId, message::ClientMessage, wire::encode_request};

    /// A socket that has received these pieces, each of which arrived alone. Counts what is read from it.
    struct Received {
        pieces: VecDeque<Bytes>,
        reads: usize,
    }

    impl AsyncRead for Received {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            self.reads += 1;
            if let Some(piece) = self.pieces.front_mut() {
                buffer.put_slice(&piece.split_to(piece.len().min(buffer.remaining())));
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    async fn reads(pieces: Vec<Bytes>, from: Side) -> (usize, usize) {
        let mut reader = FrameReader::new(Received { pieces: pieces.into(), reads: 0 }, from);
        let mut frames = 0;
        while reader.next().await.unwrap().is_some() {
            frames += 1;
        }
        (frames, reader.io.reads - 1)
    }

    fn input(bytes: usize) -> Bytes {
        let data = Bytes::from(vec![b'x'; bytes]);
        encode_request(1, &ClientMessage::Input { session: SessionId::from(1_u64), position: None, data })
            .unwrap()
    }

    #[tokio::test]
    async fn a_small_request_is_one_read_and_a_long_one_two() {
        assert_eq!(reads(vec![input(1); 10], Side::Client).await, (10, 10));
        assert_eq!(reads(vec![input(16 * 1024); 10], Side::Client).await, (10, 20));
    }

    #[tokio::test]
    async fn what_has_piled_up_is_read_at_once_by_a_client() {
        let mut frame = Header::new(Kind::Output, 0, 64 * 1024).encode().to_vec();
        frame.extend_from_slice(&[b'x'; 64 * 1024]);
        let (frames, reads) = reads(vec![frame.repeat(16).into()], Side::Server).await;
        assert_eq!(frames, 16);
        // 1 MiB, in pieces of 256 KiB and a little more.
        assert!(reads <= 6, "{reads}");
    }

    #[cfg(feature = "web")]
    #[tokio::test]
    async fn a_reader_that_reads_less_at_once_hands_out_parts_and_holds_no_more() {
        let (frame, payload) = output(5, MAX_OUTPUT);
        let (mut write, read) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(read, Side::Server);
        // What is read before is read as by any client.
        write.write_all(&output(0, 5).0).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().payload.len(), 5);
        reader.set_at_once(20_000);
        write.write_all(&frame.repeat(3)).await.unwrap();
        drop(write);
        let mut came = Vec::new();
        while let Some(Frame { a, payload, .. }) = reader.next().await.unwrap() {
            assert_eq!(a, 5 + (came.len() % MAX_OUTPUT) as u64);
            assert!(payload.len() <= 40_000 && reader.bytes.capacity() <= 40_000, "{}", payload.len());
            came.extend_from_slice(&payload);
        }
        assert!(came == payload.repeat(3));
    }

    /// A frame of output at `offset`, and its payload.
    fn output(offset: u64, length: usize) -> (Vec<u8>, Vec<u8>) {
        let payload: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
        let header = Header::new(Kind::Output, offset, length).encode();
        ([&header[..], &payload].concat(), payload)
    }

    #[tokio::test]
    async fn of_a_frame_of_output_that_breaks_off_all_that_came_is_handed_out() {
        let (frame, payload) = output(1000, 300);
        for cut in 0..frame.len() {
            let mut reader = FrameReader::new(&frame[..cut], Side::Server);
            let mut came = Vec::new();
            let end = loop {
                match reader.next().await {
                    Ok(Some(Frame { a, payload, .. })) => {
                        assert_eq!(a, 1000 + came.len() as u64);
                        came.extend_from_slice(&payload);
                    }
                    end => break end,
                }
            };
            assert!(came == payload[..cut.saturating_sub(HEADER_LEN)], "cut at {cut}");
            assert!(if cut == 0 { matches!(end, Ok(None)) } else { matches!(end, Err(WireError::Cut)) });
        }
    }

    #[tokio::test]
    async fn output_is_handed_out_as_it_comes_and_other_frames_whole() {
        let (mut write, read) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(read, Side::Server);
        let (frame, payload) = output(7, 100_000);
        write.write_all(&frame[..HEADER_LEN + 10]).await.unwrap();
        let next = reader.next().await.unwrap().unwrap();
        assert_eq!((next.a, &next.payload[..]), (7, &payload[..10]));
        assert!(now(reader.next()).await.is_none(), "there is no more, and no empty frame");
        write.write_all(&frame[HEADER_LEN + 10..]).await.unwrap();
        let mut screen = Header::new(Kind::Screen, 9, 20).encode().to_vec();
        screen.extend_from_slice(&[b's'; 20]);
        write.write_all(&screen[..screen.len() - 1]).await.unwrap();
        let next = reader.next().await.unwrap().unwrap();
        assert_eq!((next.a, next.payload.len()), (17, 100_000 - 10), "what is there is one frame");
        assert!(now(reader.next()).await.is_none(), "a part of a screen is of no use");
        write.write_all(&screen[screen.len() - 1..]).await.unwrap();
        let next = reader.next().await.unwrap().unwrap();
        assert_eq!((next.kind, next.payload.len()), (Kind::Screen, 20));
    }
}
