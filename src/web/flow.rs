//! How much a page is sent ahead of what it has acknowledged, and what waits to be written to it.
//!
//! A page acknowledges what its terminal has taken. Once so much is in flight as the window allows, the gateway reads
//! nothing more of the server, which then sees a slow client as any other: it is told of a gap, or its program's
//! backlog is dropped at an interrupt. So nothing is kept here for a slow page beyond the window, but at an interrupt
//! (`viewer::ahead`).
//!
//! The window is what the line carries in [`TARGET`], because the answer to the key that interrupts a flood comes
//! behind whatever is in flight. It begins with the least, and grows while the line carries more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use axum::extract::ws::Message;

/// The most that is in flight, in bytes of output and screens.
pub(super) const MAX_WINDOW: u64 = 512 * 1024;

/// The least that may be, however slow the line is.
const MIN_WINDOW: u64 = 64 * 1024;

/// How long what is in flight may take: the window halves above it, and doubles below a quarter of it. Until it was
/// once too large it doubles below this as well, so that a fast line with a long way is used too.
const TARGET: Duration = Duration::from_millis(400);

/// The longest piece of output in one message, so that what is small need not wait for long.
pub(super) const MAX_PIECE: usize = 32 * 1024;

/// Bytes sent and acknowledged over one connection.
#[derive(Debug)]
pub(super) struct SendWindow {
    size: u64,
    sent: u64,
    acknowledged: u64,
    /// When a byte was sent whose acknowledgement is awaited, to see how long that takes.
    probe: Option<(u64, Instant)>,
    /// It was never too large yet.
    is_starting: bool,
}

/// A page acknowledged more than it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

impl SendWindow {
    pub(super) fn new() -> Self {
        Self { size: MIN_WINDOW, sent: 0, acknowledged: 0, probe: None, is_starting: true }
    }

    /// How much may be sent now.
    pub(super) fn room(&self) -> u64 {
        self.size.saturating_sub(self.in_flight())
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.acknowledged
    }

    pub(super) fn sent(&mut self, bytes: u64, now: Instant) {
        self.sent += bytes;
        if self.probe.is_none() {
            self.probe = Some((self.sent, now));
        }
    }

    /// So many bytes were taken in all. One that comes late changes nothing.
    pub(super) fn acknowledge(&mut self, received: u64, now: Instant) -> Result<(), TooMuch> {
        if received > self.sent {
            return Err(TooMuch);
        }
        // A line that is hardly used does not show what it carries.
        let is_used = self.in_flight() >= self.size / 2;
        self.acknowledged = self.acknowledged.max(received);
        if let Some((_, sent_at)) = self.probe.filter(|(at, _)| *at <= received) {
            let took = now.saturating_duration_since(sent_at);
            if took > TARGET {
                self.size = (self.size / 2).max(MIN_WINDOW);
                self.is_starting = false;
            } else if is_used && (self.is_starting || took < TARGET / 4) {
                self.size = (self.size * 2).min(MAX_WINDOW);
            }
            self.probe = None;
        }
        Ok(())
    }
}

/// The most that waits here to be written; what answers a page is not read beyond it.
const MAX_WAITING: usize = 1024 * 1024;
const MAX_MESSAGES: usize = 64;

/// Messages to a page that its socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct PageOutbox {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The socket's own buffer may hold a part of the last one.
    is_unflushed: bool,
}

impl PageOutbox {
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += size(&message);
        self.messages.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= size(&message);
        self.is_unflushed = true;
        Some(message)
    }

    pub(super) fn flushed(&mut self) {
        self.is_unflushed = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether anything is still to be written.
    pub(super) fn is_pending(&self) -> bool {
        self.is_unflushed || !self.is_empty()
    }

    /// Whether a page that asks for more is to be heard.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_WAITING && self.messages.len() < MAX_MESSAGES
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fills the window this often, each time until all of it is acknowledged after so long.
    fn fill(window: &mut SendWindow, now: &mut Instant, times: usize, takes: Duration) {
        for _ in 0..times {
            window.sent(window.room(), *now);
            *now += takes;
            window.acknowledge(window.sent, *now).unwrap();
        }
    }

    #[test]
    fn a_slow_line_has_little_in_flight_and_a_fast_one_much() {
        let (mut window, mut now) = (SendWindow::new(), Instant::now());
        for (takes, size) in [(1000, MIN_WINDOW), (9, MAX_WINDOW), (1000, MIN_WINDOW), (200, MIN_WINDOW)] {
            fill(&mut window, &mut now, 4, Duration::from_millis(takes));
            assert_eq!(window.room(), size);
        }
        assert_eq!(window.acknowledge(window.sent + 1, now), Err(TooMuch));
    }

    #[test]
    fn a_line_with_a_long_way_is_used_until_it_carries_no_more() {
        let (mut window, mut now) = (SendWindow::new(), Instant::now());
        fill(&mut window, &mut now, 2, Duration::from_millis(300));
        assert_eq!(window.room(), 4 * MIN_WINDOW);
        fill(&mut window, &mut now, 1, Duration::from_millis(500));
        fill(&mut window, &mut now, 3, Duration::from_millis(300));
        assert_eq!(window.room(), 2 * MIN_WINDOW);
    }

    #[test]
    fn a_few_keys_do_not_make_the_window_larger() {
        let (mut window, mut now) = (SendWindow::new(), Instant::now());
        for _ in 0..100 {
            window.sent(10, now);
            now += Duration::from_millis(2);
            window.acknowledge(window.sent, now).unwrap();
        }
        assert_eq!(window.room(), MIN_WINDOW);
    }

    proptest! {
        /// Whatever a page acknowledges, and whenever: no more is in flight than the window, and it opens again.
        #[test]
        fn the_window_is_never_exceeded(steps in prop::collection::vec((0..200_000_u64, 0..2000_u64), 1..100)) {
            let mut window = SendWindow::new();
            let mut now = Instant::now();
            let mut total = 0;
            for (acknowledged, milliseconds) in steps {
                let sent = window.room().min(MAX_PIECE as u64);
                window.sent(sent, now);
                total += sent;
                prop_assert!(window.in_flight() <= MAX_WINDOW);
                now += Duration::from_millis(milliseconds);
                let _ = window.acknowledge(acknowledged, now);
                prop_assert!(window.in_flight() <= total);
            }
            window.acknowledge(total, now).unwrap();
            prop_assert!((MIN_WINDOW..=MAX_WINDOW).contains(&window.room()));
        }
    }
}
