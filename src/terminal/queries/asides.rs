//! What stands for itself in what a program prints: bells, clipboard writes, notifications.
//!
//! It changes nothing on the screen, so no picture shows it: a terminal that is sent pictures is passed it beside them.

use std::collections::VecDeque;

use bytes::Bytes;

/// The longest that is passed, in bytes: a large clipboard.
pub(super) const MAX_ASIDE: usize = 256 * 1024;

/// What is kept for terminals that have not been passed it, in number and in bytes. The oldest goes first.
const MAX_ASIDES: usize = 64;

/// The newest asides, the oldest first, each with the offset after it.
#[derive(Debug, Default)]
pub(super) struct Asides {
    kept: VecDeque<(u64, Bytes)>,
    bytes: usize,
    newest_bell: u64,
}

const BELL: &[u8] = b"\x07";

impl Asides {
    pub(super) fn bell(&mut self, at: u64) {
        self.newest_bell = at;
        // Many bells at once are one.
        match self.kept.back_mut() {
            Some((last, aside)) if &aside[..] == BELL => *last = at,
            _ => self.push(at, Bytes::from_static(BELL)),
        }
    }

    /// The offset after the newest bell; 0 if none was rung.
    pub(super) fn newest_bell(&self) -> u64 {
        self.newest_bell
    }

    pub(super) fn push(&mut self, at: u64, aside: Bytes) {
        self.bytes += aside.len();
        self.kept.push_back((at, aside));
        while self.bytes > MAX_ASIDE || self.kept.len() > MAX_ASIDES {
            let Some((_, oldest)) = self.kept.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// What lies after `from` and not after `to`.
    pub(super) fn between(&self, from: u64, to: u64) -> Vec<u8> {
        let lies_between = |at: u64| at > from && at <= to;
        let asides = self.kept.iter().filter(|(at, _)| lies_between(*at));
        asides.flat_map(|(_, aside)| aside.iter().copied()).collect()
    }
}

/// Whether a string that begins like this may be long and an aside.
pub(super) fn may_be_one(introducer: u8, beginning: &[u8]) -> bool {
    let long: [&[u8]; 3] = [b"52;", b"99;", b"1337;Copy="];
    introducer == b']' && long.iter().any(|long| beginning.starts_with(long))
}

/// Whether a whole string is one.
pub(super) fn is_one(introducer: u8, body: &[u8]) -> bool {
    let Some(command) = body.iter().position(|byte| *byte == b';') else { return false };
    let (number, parameters) = (&body[..command], &body[command + 1..]);
    let first = parameters.split(|byte| *byte == b';').next().unwrap_or_default();
    introducer == b']'
        && match number {
            b"52" => parameters.len() > first.len() && &parameters[first.len()..] != b";?",
            // With a number it is one of ConEmu's commands, such as a program's progress, which is a state.
            b"9" => first.is_empty() || !first.iter().all(u8::is_ascii_digit),
            b"99" => !first.split(|byte| *byte == b':').any(|key| matches!(key, b"p=?" | b"p=alive")),
            b"777" => first == b"notify",
            b"1337" => first.starts_with(b"Copy=") || first.starts_with(b"RequestAttention="),
            _ => false,
        }
}
