//! All that knows what terminals are told and what they say: bytes in, bytes or verdicts out.
//!
//! Nothing here reads, writes, waits, or knows more of this crate than sizes and the ids of clients.

#[cfg(any(test, fuzzing))]
mod compare;
mod emulator;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
#[cfg(feature = "cli")]
mod keys;
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
pub(crate) use self::{
    emulator::Emulator,
    model::{MakeModel, emulator},
    queries::{HOLD_TIME, Queries, Typed},
    redraw::RESET,
};
#[cfg(feature = "cli")]
pub(crate) use self::{
    keys::{KeyFinder, MOMENT},
    undo::Modes,
};
pub use self::{
    model::ScreenModel,
    size::{SizeError, TerminalSize},
};
