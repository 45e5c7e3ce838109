//! Answers on their way to the program: the rules of [`Queries`], where output, terminals and the model meet them.
//!
//! All that is typed because of a question, by the session itself or by a terminal, is taken out of the queue while the
//! terminal is held for typing: so answers are typed in the order of their questions, whatever gives them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::pty::Pty;
use crate::{
    ClientId, TerminalSize,
    sync::{Mutex, Rank},
    terminal::{Passed, Queries, ReplyFilter, Reports, ScreenModel, Shows},
};

#[derive(Debug)]
pub(super) struct Answers {
    /// A leaf lock.
    pub(super) queries: Mutex<Queries>,
    /// Something may be due.
    changed: Notify,
    /// The offset after the newest question.
    newest: AtomicU64,
    /// The client that is to be passed a question; 0 for none.
    passed_to: AtomicU64,
    /// The offset after the newest bell.
    newest_bell: AtomicU64,
}

impl Answers {
    pub(super) fn new(has_model: bool) -> Self {
        Self::of(Queries::new(has_model))
    }

    /// Of a session whose questions are answered where its program runs.
    pub(super) fn elsewhere(has_model: bool) -> Self {
        Self::of(Queries::new(has_model).answered_elsewhere())
    }

    fn of(queries: Queries) -> Self {
        Self {
            queries: Mutex::new(Rank::Leaf, queries),
            changed: Notify::new(),
            newest: AtomicU64::new(0),
            passed_to: AtomicU64::new(0),
            newest_bell: AtomicU64::new(0),
        }
    }

    /// Takes note of output from offset `at` on. Returns whether it asks something.
    pub(super) fn printed(&self, output: &[u8], at: u64) -> bool {
        // Read only where there is a question, which is seldom.
        let (newest, bell) = self.queries.with(|queries| {
            let newest = queries.printed(output, at, Instant::now());
            (newest, queries.newest_bell())
        });
        self.newest_bell.store(bell, Ordering::Relaxed);
        let Some(newest) = newest else { return false };
        // Relaxed: a follower that misses it is late to say that its client was sent the question.
        self.newest.store(newest, Ordering::Relaxed);
        self.changed.notify_one();
        true
    }

    /// The offset after the newest question.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// The offset after the newest bell; 0 if none was rung.
    pub(super) fn newest_bell(&self) -> u64 {
        self.newest_bell.load(Ordering::Relaxed)
    }

    /// Of the terminals that may type, the one used last.
    pub(super) fn latest(&self) -> Option<ClientId> {
        self.queries.with(|queries| queries.latest())
    }

    /// Runs `change`, after which something may be due.
    fn change<T>(&self, change: impl FnOnce(&mut Queries, Instant) -> T) -> T {
        let changed = self.queries.with(|queries| change(queries, Instant::now()));
        self.changed.notify_one();
        changed
    }

    pub(super) fn joined(&self, client: ClientId, stay: u64, shows: Shows, is_drawn: bool) {
        self.change(|queries, _| queries.joined(client, stay, shows, is_drawn));
    }

    pub(super) fn left(&self, client: ClientId, stay: u64) {
        self.change(|queries, now| queries.left(client, stay, now));
    }

    pub(super) fn shows(&self, client: ClientId, shows: Shows) {
        self.change(|queries, _| queries.shows(client, shows));
    }

    pub(super) fn reached(&self, client: ClientId, at: u64) {
        self.change(|queries, now| queries.reached(client, at, now));
    }

    pub(super) fn asides(&self, from: u64, to: u64) -> Bytes {
        self.queries.with(|queries| queries.asides(from, to)).into()
    }

    /// Whether this client is to be passed a question.
    pub(super) fn is_passed_to(&self, client: ClientId) -> bool {
        // Relaxed: it comes before the doorbell that tells the client's writer to look.
        self.passed_to.load(Ordering::Relaxed) == client.0
    }

    pub(super) fn take_passed(&self, client: ClientId) -> Option<Bytes> {
        let passed = self.change(|queries, now| queries.take_passed(client, now));
        // Or it would be drawn again and again until the session's own task has looked. An error says that it has.
        let _ = self.passed_to.compare_exchange(client.0, 0, Ordering::Relaxed, Ordering::Relaxed);
        passed
    }

    /// What of `input` the program may see.
    pub(super) fn filter(&self, typed: &mut ReplyFilter, client: ClientId, input: &[u8]) -> Passed {
        let (passed, is_idle) = self.queries.with(|queries| {
            let passed = typed.filter(queries, client, input, Instant::now());
            (passed, queries.is_idle())
        });
        // Most input is keys, while nothing is asked.
        if !is_idle {
            self.changed.notify_one();
        }
        passed
    }

    /// The offset after the first question that the model has yet to answer.
    pub(super) fn next_question(&self) -> u64 {
        self.queries.with(|queries| queries.question()).map_or(u64::MAX, |(at, _)| at)
    }

    /// Puts to the model the questions that end before or at `at`, where it stands. `None` of it, once it fails.
    pub(super) fn put_to(&self, at: u64, mut model: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        while let Some((asked_at, question)) = self.queries.with(|queries| queries.question())
            && asked_at <= at
        {
            let answer = model(&question);
            self.change(|queries, now| queries.model_says(asked_at, answer, now));
        }
    }

    pub(super) fn set_modes(&self, modes: Reports) {
        self.change(|queries, _| queries.set_modes(modes));
    }

    pub(super) fn resized(&self, size: TerminalSize) {
        self.change(|queries, _| queries.resized(size.rows(), size.cols()));
    }

    pub(super) fn model_is_gone(&self) {
        self.change(|queries, now| queries.model_is_gone(now));
    }

    /// Types what is due, as it becomes due, and calls `ring` with each client that is to be passed a question. Ends
    /// when the terminal is closed.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of an answer typed.
    pub(super) async fn type_all(&self, pty: &Pty, ring: impl Fn(ClientId)) {
        loop {
            let (deadline, has_outbox, passed_to) = self.queries.with(|queries| {
                let now = Instant::now();
                let deadline = queries.look(now);
                (deadline, queries.has_outbox(now), queries.is_passed_to())
            });
            let client = passed_to.map_or(0, |client| client.0);
            if self.passed_to.swap(client, Ordering::Relaxed) != client {
                passed_to.into_iter().for_each(&ring);
            }
            if has_outbox {
                let take = || self.queries.with(|queries| queries.take_outbox(Instant::now()));
                if pty.write_taken(take).await.is_err() {
                    return;
                }
                continue;
            }
            let changed = self.changed.notified();
            match deadline {
                // An error says that it is time.
                Some(deadline) => drop(tokio::time::timeout_at(deadline.into(), changed).await),
                None => changed.await,
            }
        }
    }
}

/// The modes in which the model is.
pub(super) fn modes(model: &dyn ScreenModel) -> Reports {
    Reports::read(|number| model.mode(true, number))
}
