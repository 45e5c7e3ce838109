//! All that knows what terminals are told and what they say: bytes in, bytes or verdicts out.
//!
//! Nothing here reads, writes, waits, or knows more of this crate than sizes and the ids of clients.

/// Appends formatted text to bytes, which can't fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {{
        use std::io::Write as _;
        let _ = write!($out, $($format)*);
    }};
}

mod answers;
mod cell;
mod charsets;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
mod compare;
mod control;
mod emulator;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod grid;
mod history;
#[cfg(feature = "cli")]
mod keys;
mod model;
mod modes;
#[cfg(feature = "cli")]
mod named_keys;
#[cfg(feature = "cli")]
mod output_text;
mod pack;
mod parser;
mod perform;
mod queries;
mod rectangles;
mod redraw;
mod resize;
mod screen;
mod settings;
mod sgr;
mod size;
mod skip;
#[cfg(feature = "cli")]
mod snapshot;
mod state;
#[cfg(feature = "cli")]
mod undo;

#[cfg(test)]
#[cfg(feature = "cli")]
mod tests;

#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) use self::queries::fuzz::queries as fuzz_queries;
#[cfg(feature = "cli")]
pub(crate) use self::{
    cell::{Attributes, Shade},
    keys::{KeyFinder, MOMENT},
    named_keys::NamedKey,
    output_text::OutputText,
    snapshot::{
        CursorShape, Look, Palette, Rgb, ShownScreen, Snapshot, SnapshotLine, SnapshotModes, TextRun,
    },
    undo::ChangedModes,
};
pub(crate) use self::{
    emulator::{DEFAULT_SCROLLBACK, emulator},
    model::MakeModel,
    queries::{HOLD_TIME, Part, Passed, Queries, ReplyFilter, Reports, Shows},
    redraw::reset,
};
pub use self::{
    model::{Picture, ScreenModel},
    size::{SizeError, TerminalSize},
};
