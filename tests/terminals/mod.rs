//! What a terminal shows that came late, fell behind or changed its size, against one that was there all along: on
//! recordings of real programs, and on a table of what a program may change in a terminal. And a terminal that is left
//! is as it was.
//!
//! Three witnesses judge: `vt100`, quickly, on what it knows; xterm.js, where node and its package are (see
//! `.ci/terminals.sh`), with a ledger of what xterm.js does not keep; and libvterm, where that is, on what was printed
//! within margins at the sides. `FUGUE_CUTS` sets at how many places each recording is
//! cut, `FUGUE_RECORDINGS` a part of the names of those that are tried.

mod corpus;
mod differential;
mod known;
#[cfg(feature = "cli")]
mod player;
mod programs;
mod rows;
mod sessions;
#[cfg(feature = "cli")]
mod undo;
mod vt100_witness;

use fugue_server::TerminalSize;

/// What a terminal goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Bytes(Vec<u8>),
    Size(TerminalSize),
}

/// Two ways of a terminal to the same state.
#[derive(Debug)]
struct Case {
    /// The recording and what happened.
    name: String,
    /// How much of the recording was printed by then.
    cut: usize,
    size: TerminalSize,
    expected: Vec<Step>,
    actual: Vec<Step>,
    /// What was drawn, for a person to look at.
    drawn: Vec<u8>,
}

/// A terminal that another program has used: text, colours, modes, and a sequence that was cut off.
const USED_BEFORE: &[u8] = b"older\r\nlines\r\n\x1b]8;;http://y\x1b\\junk\x1b]8;;\x1b\\\x1b[31;44mjunk\x1b[3;9r\x1b[?6h\x1b[?7l\x1b[4h\x1b(0\x1b)0\x0e\
    \x1b[?1002h\x1b[?1006h\x1b[?2004h\x1b[?1h\x1b=\x1b[?25l\x1b[5 q\x1b[?1004h\x1b[20h\x1b[?5h\x1b[4:3;58:5:3m\x1b7junk\x1b[3;";
