//! The host's end of a stream: what one node is sent of one session, within the credit that it gave.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{
    message::{ITEM_HEAD, MAX_MESSAGE, MESSAGE_HEAD, StreamItem, StreamMessage, encode},
    subject::NodeName,
};
use crate::{SessionId, SessionName};

/// What waits to be sent, in bytes, before no more is read from the session.
const MAX_QUEUED: usize = MAX_MESSAGE;

/// How long after the last part it is said that there is nothing to send: at first, so that a lost last part is soon
/// noticed, and from then on.
const FIRST_TAIL: Duration = Duration::from_millis(250);
const TAIL: Duration = Duration::from_secs(2);

/// A stream ends when its watcher says nothing for so long. It says something every two seconds.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// The least data that a message is cut to.
const LEAST_DATA: usize = 512;

/// A stream to one watching node.
#[derive(Debug)]
pub(crate) struct HostStream {
    pub(crate) watcher: NodeName,
    pub(crate) number: u64,
    pub(crate) session: SessionId,
    /// What the session is called, once that is known.
    pub(crate) name: Option<SessionName>,
    /// The program may be held back for it.
    pub(crate) is_lossless: bool,
    seq: u32,
    /// Bytes that were sent, and that may be.
    sent: u64,
    limit: u64,
    queue: VecDeque<StreamItem>,
    queued: usize,
    /// When the watcher said something.
    heard: Duration,
    /// When something was sent, and whether that was a tail.
    said: Duration,
    is_quiet: bool,
    /// The last part is in the queue or sent.
    is_over: bool,
}

impl HostStream {
    /// A stream within this credit.
    pub(crate) fn new(
        now: Duration,
        watcher: NodeName,
        number: u64,
        session: SessionId,
        (limit, is_lossless): (u64, bool),
    ) -> Self {
        Self {
            watcher,
            number,
            session,
            name: None,
            is_lossless,
            seq: 0,
            sent: 0,
            limit,
            queue: VecDeque::new(),
            queued: 0,
            heard: now,
            said: now,
            is_quiet: true,
            is_over: false,
        }
    }

    /// The watcher is there, and takes so many bytes in all.
    pub(crate) fn more(&mut self, now: Duration, limit: u64) {
        self.heard = now;
        self.limit = self.limit.max(limit);
    }

    /// Whether more of the session is to be read.
    pub(crate) fn wants(&self) -> bool {
        !self.is_over && self.queued < MAX_QUEUED
    }

    /// Adds what comes next. Nothing comes after the last part.
    pub(crate) fn push(&mut self, item: StreamItem) {
        if !self.is_over {
            self.is_over = matches!(item, StreamItem::Ended { .. } | StreamItem::Refused(_));
            self.queued += item.weight();
            self.queue.push_back(item);
        }
    }

    /// The next message, of at most `most` bytes, if there is one and it is within the credit.
    pub(crate) fn poll(&mut self, now: Duration, most: usize) -> Option<Bytes> {
        let credit = usize::try_from(self.limit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let items = self.take(most.min(MAX_MESSAGE).min(credit));
        let is_tail = items.is_empty();
        if is_tail && now < self.tail_due() {
            return None;
        }
        let items = if is_tail { vec![StreamItem::Tail] } else { items };
        let payload = encode(&StreamMessage { seq: self.seq, items });
        self.seq = self.seq.wrapping_add(1);
        if !is_tail {
            self.sent += payload.len() as u64;
        }
        (self.said, self.is_quiet) = (now, is_tail);
        Some(payload)
    }

    /// Takes what fits into a message of so many bytes.
    fn take(&mut self, most: usize) -> Vec<StreamItem> {
        let mut room = most.saturating_sub(MESSAGE_HEAD);
        let mut items = Vec::new();
        while let Some(item) = self.queue.front_mut() {
            let weight = item.weight();
            if weight <= room {
                room -= weight;
                self.queued -= weight;
                items.extend(self.queue.pop_front());
                continue;
            }
            if let Some(part) =
                room.checked_sub(ITEM_HEAD + LEAST_DATA).and_then(|_| cut(item, room - ITEM_HEAD))
            {
                self.queued -= weight - item.weight();
                items.push(part);
            }
            break;
        }
        items
    }

    fn tail_due(&self) -> Duration {
        self.said + if self.is_quiet { TAIL } else { FIRST_TAIL }
    }

    /// When there is something to do though nothing comes.
    pub(crate) fn due(&self) -> Duration {
        self.tail_due().min(self.expires())
    }

    /// When its watcher was silent for too long.
    pub(crate) fn expires(&self) -> Duration {
        self.heard + LEASE
    }

    /// Bytes that were sent, and that may be: for tests of the credit.
    #[cfg(test)]
    pub(crate) fn sent_and_limit(&self) -> (u64, u64) {
        (self.sent, self.limit)
    }
}

/// Cuts so many bytes off an item that can be cut.
fn cut(item: &mut StreamItem, length: usize) -> Option<StreamItem> {
    match item {
        StreamItem::Output { offset, data } => {
            let part = StreamItem::Output { offset: *offset, data: data.split_to(length) };
            *offset += length as u64;
            Some(part)
        }
        StreamItem::Screen { offset, data, .. } => {
            Some(StreamItem::Screen { offset: *offset, data: data.split_to(length), is_last: false })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::ExitStatus, nodes::message::decode};

    fn stream(limit: u64) -> HostStream {
        HostStream::new(Duration::ZERO, "w".parse().unwrap(), 1, SessionId::from(1_u64), (limit, false))
    }

    fn output(offset: u64, length: usize) -> StreamItem {
        StreamItem::Output { offset, data: vec![b'x'; length].into() }
    }

    #[test]
    fn messages_are_within_credit_and_payload_and_say_all() {
        let mut stream = stream(1000);
        stream.push(output(0, 10_000));
        stream.push(StreamItem::Ended { at: 10_000, status: ExitStatus::Code(3) });
        stream.push(output(10_000, 1));
        let (mut at, mut seq, mut sent, mut limit) = (0, 0, 0, 1000);
        loop {
            while let Some(payload) = stream.poll(Duration::ZERO, 4000) {
                assert!(payload.len() <= 4000);
                sent += payload.len() as u64;
                assert!(sent <= limit);
                let message: StreamMessage = decode(&payload).unwrap();
                assert_eq!(message.seq, seq);
                seq += 1;
                for item in message.items {
                    match item {
                        StreamItem::Output { offset, data } => {
                            assert_eq!(offset, at);
                            at += data.len() as u64;
                        }
                        StreamItem::Ended { at: end, .. } => {
                            assert_eq!((end, at), (10_000, 10_000));
                            assert!(!stream.wants());
                            return;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            limit += 700;
            stream.more(Duration::ZERO, limit);
            // What comes late takes nothing back.
            stream.more(Duration::ZERO, limit - 500);
        }
    }

    #[test]
    fn a_tail_comes_soon_after_output_and_then_every_two_seconds() {
        let mut stream = stream(1000);
        stream.push(output(0, 10));
        let mut told = Vec::new();
        for ms in 0..5000 {
            let now = Duration::from_millis(ms);
            assert!(stream.due() >= now);
            while stream.poll(now, 4000).is_some() {
                told.push(ms);
            }
        }
        assert_eq!(told, [0, 250, 2250, 4250]);
    }

    #[test]
    fn a_silent_watcher_loses_its_stream() {
        let mut stream = stream(1000);
        assert_eq!(stream.expires(), LEASE);
        stream.more(Duration::from_secs(1), 0);
        assert_eq!(stream.expires(), LEASE + Duration::from_secs(1));
    }
}
