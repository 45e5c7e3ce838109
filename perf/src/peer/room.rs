//! A room: a way to broadcast, the queues it should fill, and the time that takes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;

use super::{DEPTH, FanOut, Queue};

/// A room of any system.
pub(crate) trait Measured {
    /// Nanoseconds per delivery, of calls that together take `at_least` as long, or ten times that with their drains.
    ///
    /// The queues are drained, and what came out of them counted, while the clock stands. The first time, every
    /// message in every queue is looked at before anything is timed.
    fn sample(&mut self, at_least: Duration) -> anyhow::Result<f64>;

    /// Allocations per call, once the queues own all the memory they will need.
    fn allocations(&mut self) -> anyhow::Result<f64>;
}

pub(crate) struct Room<W, Q> {
    way: W,
    queues: Vec<Q>,
    messages: Vec<Bytes>,
    /// Calls between two drains.
    calls: usize,
    checked: bool,
}

impl<W: FanOut, Q: Queue> Room<W, Q> {
    /// A room whose calls send `messages` to each of `queues`.
    pub(crate) fn new(way: W, queues: Vec<Q>, messages: Vec<Bytes>) -> Self {
        // As many as there is room for, so that the clock is seldom read.
        let calls = (DEPTH / messages.len()).max(1);
        Self { way, queues, messages, calls, checked: false }
    }

    /// Drains after so many calls, for rooms so large that full queues would take too much memory.
    pub(crate) fn draining_after(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// Deliveries asked for by one call.
    fn deliveries(&self) -> usize {
        self.queues.len() * self.messages.len()
    }

    fn check(&mut self) -> anyhow::Result<()> {
        if self.checked {
            return Ok(());
        }
        let numbered: Vec<Bytes> =
            (0..self.messages.len()).map(|index| Bytes::from(index.to_be_bytes().to_vec())).collect();
        let sent = self.way.send(&numbered);
        ensure!(sent == self.deliveries(), "{sent} of {} deliveries were made", self.deliveries());
        for queue in &mut self.queues {
            let received: Vec<Bytes> = std::iter::from_fn(|| queue.take()).collect();
            ensure!(received == numbered, "a queue got {received:?} instead of {numbered:?}");
        }
        self.checked = true;
        // The queues grow to their size before anything is timed.
        self.batch(self.calls, |calls| calls())
    }

    /// Makes `calls`, hands back what `around` says of them, and drains the queues.
    fn batch<R>(&mut self, calls: usize, around: impl FnOnce(&mut dyn FnMut()) -> R) -> anyhow::Result<R> {
        let Self { way, messages, .. } = self;
        let mut sent = 0;
        let result = around(&mut || {
            for _ in 0..calls {
                sent += black_box(way.send(messages));
            }
        });
        let mut received = 0;
        for queue in &mut self.queues {
            received += std::iter::from_fn(|| queue.take()).count();
        }
        let asked = calls * self.deliveries();
        ensure!(sent == asked && received == asked, "{asked} asked for, {sent} sent, {received} received");
        Ok(result)
    }
}

impl<W: FanOut, Q: Queue> Measured for Room<W, Q> {
    fn sample(&mut self, at_least: Duration) -> anyhow::Result<f64> {
        self.check()?;
        let calls = self.calls;
        let (mut spent, mut made) = (Duration::ZERO, 0);
        // Where sending is next to nothing and receiving is the work, draining would go on for minutes.
        let begun = Instant::now();
        while spent < at_least && (made == 0 || begun.elapsed() < 10 * at_least) {
            spent += self.batch(calls, |calls| {
                let start = Instant::now();
                calls();
                start.elapsed()
            })?;
            made += calls * self.deliveries();
        }
        Ok(spent.as_nanos() as f64 / made as f64)
    }

    fn allocations(&mut self) -> anyhow::Result<f64> {
        self.check()?;
        // A tokio channel keeps messages in blocks of 32. One that is drained as it is filled has, after a few blocks,
        // all it will ever need; from then on any allocation counts.
        const WARM_UP: usize = 100;
        const CALLS: usize = 100;
        let mut allocations = 0;
        for call in 0..WARM_UP + CALLS {
            let info = self.batch(1, |call| allocation_counter::measure(call))?;
            allocations += if call < WARM_UP { 0 } else { info.count_total };
        }
        Ok(allocations as f64 / CALLS as f64)
    }
}
