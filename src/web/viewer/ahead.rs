//! What is read of the server ahead of a slow page, once the page has interrupted its program.
//!
//! At an interrupt the server leaves out what it has not sent yet, and sends the screen. But what it has sent lies
//! before that: in the gateway, in the socket, and in a write that is under way; on a slow line that is seconds. So
//! from the interrupt on the gateway reads ahead, until it has the screen, and leaves out the output before it too. If
//! no screen comes, because that key interrupts nothing here, the page gets everything, in order.

use std::collections::VecDeque;

use crate::client::Incoming;

/// What interrupts the program of most terminals, when it is typed. Where another character does, nothing is read
/// ahead.
const INTERRUPT: u8 = 0x03;

/// The most output that is read ahead: more than a socket, a write of the server's and a read of ours hold together.
const MAX_AHEAD: usize = 1024 * 1024;

/// What was read ahead, in order.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    came: VecDeque<Incoming>,
    /// Of these, output.
    bytes: usize,
    state: State,
}

/// What is read for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing.
    #[default]
    Idle,
    /// The answer to this request, which interrupts the program.
    Answer(u64),
    /// What comes after the answer: the screen, or output if nothing was left out.
    Next,
}

/// Whether this has a key that may interrupt the program.
pub(super) fn interrupts(typed: &[u8]) -> bool {
    typed.contains(&INTERRUPT)
}

impl ReadAhead {
    /// The page has typed an interrupt, with this request.
    pub(super) fn begin(&mut self, request: u64) {
        self.state = State::Answer(request);
    }

    /// Whether more is to be read, though the page has no room.
    pub(super) fn wants_more(&self) -> bool {
        self.state != State::Idle && self.bytes < MAX_AHEAD
    }

    pub(super) fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// Takes what came. Returns whether the output before it is to be left out: it is the screen after an interrupt.
    pub(super) fn push(&mut self, incoming: Incoming) -> bool {
        let is_screen = matches!(incoming, Incoming::Screen { .. });
        let is_awaited = self.state != State::Idle;
        match (&incoming, self.state) {
            (Incoming::Reply { request, .. }, State::Answer(awaited)) if *request == awaited => {
                self.state = State::Next;
            }
            (Incoming::Screen { .. }, State::Next) | (Incoming::Output { .. }, State::Next) => {
                self.state = State::Idle;
            }
            _ => {}
        }
        if is_screen && is_awaited {
            self.came.retain(|before| !matches!(before, Incoming::Output { .. }));
            self.bytes = 0;
        }
        if let Incoming::Output { data, .. } = &incoming {
            self.bytes += data.len();
        }
        self.came.push_back(incoming);
        is_screen && is_awaited
    }

    /// The next of what was read ahead.
    pub(super) fn pop(&mut self) -> Option<Incoming> {
        let next = self.came.pop_front()?;
        if let Incoming::Output { data, .. } = &next {
            self.bytes -= data.len();
        }
        Some(next)
    }
}
