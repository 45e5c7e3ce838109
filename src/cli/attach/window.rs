//! How much input may be on its way to the program: half of what the server allows, in pieces and in bytes.

use std::{cell::RefCell, collections::VecDeque};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What may be outstanding, in bytes.
const BYTES: usize = 128 * 1024;

/// The least that a piece counts as, in bytes: so there are at most 32.
const LEAST: usize = 4 * 1024;

/// Sent pieces are answered in order.
#[derive(Debug)]
pub(super) struct TerminalWindow {
    room: Semaphore,
    /// What each unanswered piece counts as.
    outstanding: RefCell<VecDeque<usize>>,
}

impl TerminalWindow {
    pub(super) fn new() -> Self {
        Self { room: Semaphore::new(BYTES), outstanding: RefCell::default() }
    }

    /// Waits until a piece of so many bytes may be sent, at most [`BYTES`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn room(&self, bytes: usize) {
        let permits = u32::try_from(bytes.max(LEAST)).unwrap_or(u32::MAX);
        // Given back at once: every sender takes it.
        let _ = self.room.acquire_many(permits).await;
    }

    /// Whether a piece of so many bytes may be sent now.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.room.available_permits() >= bytes.max(LEAST)
    }

    /// Whether a piece that was sent is unanswered.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outstanding.borrow().is_empty()
    }

    /// A piece is sent.
    pub(super) fn sent(&self, bytes: usize) {
        let bytes = bytes.max(LEAST);
        self.outstanding.borrow_mut().push_back(bytes);
        if let Ok(permit) = self.room.try_acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)) {
            SemaphorePermit::forget(permit);
        }
    }

    /// The oldest piece that was sent is answered.
    pub(super) fn answered(&self) {
        if let Some(bytes) = self.outstanding.borrow_mut().pop_front() {
            self.room.add_permits(bytes);
        }
    }
}
