//! All that knows what terminals are told and what they say: bytes in, bytes or verdicts out.
//!
//! Nothing here reads, writes, waits, or knows more of this crate than sizes and the ids of clients.

#[cfg(any(test, fuzzing))]
mod compare;
mod emulator;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod model;
mod queries;
mod redraw;
mod size;
mod skip;
#[cfg(feature = "cli")]
mod undo;

#[cfg(test)]
mod tests;

#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) use self::queries::fuzz::queries as fuzz_queries;
#[cfg(feature = "cli")]
pub(crate) use self::undo::Modes;
pub(crate) use self::{
    emulator::Emulator,
    model::{MakeModel, emulator},
    queries::{HOLD_TIME, Modes as Reports, Part, Passed, Queries, Shows, Typed},
    redraw::RESET,
};
pub use self::{
    model::{Picture, ScreenModel},
    size::{SizeError, TerminalSize},
};
