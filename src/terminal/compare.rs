//! Two models side by side: all of their state that people see or a program may build on.

use alacritty_terminal::{
    grid::{Cursor, Dimensions},
    index::Line,
    term::{
        TermMode,
        cell::{Cell, Flags},
    },
};

use super::{ScreenModel, emulator::Emulator, redraw};
use crate::TerminalSize;

/// What people see of a cell, and what a program may build on.
fn cell(cell: &Cell, shown: Option<char>) -> String {
    let halves = Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER;
    let mut flags = cell.flags.difference(halves | Flags::WRAPLINE);
    if shown == Some(' ') {
        // Nobody sees how a space looks, but for its colours and lines.
        flags -= Flags::BOLD | Flags::DIM | Flags::ITALIC | Flags::HIDDEN;
    }
    let link = cell.hyperlink().map(|link| link.uri().to_owned());
    let marks = cell.zerowidth().unwrap_or_default();
    format!("{:?} {:?} {flags:?} {marks:?} {:?} {link:?}", cell.fg, cell.bg, cell.underline_color())
}

fn rows(emulator: &Emulator) -> Vec<String> {
    let grid = emulator.screen.term.grid();
    let mut rows = Vec::new();
    for line in 0..grid.screen_lines() {
        let row = &grid[Line(i32::try_from(line).unwrap_or(i32::MAX))][..];
        for column in 0..row.len() {
            let shown = redraw::shown(row, column);
            rows.push(format!("{line} {column}: {shown:?} {}", cell(&row[column], shown)));
        }
    }
    rows
}

fn cursor(cursor: &Cursor<Cell>) -> String {
    let template = &cursor.template;
    format!("{:?} {} {:?} {:?}", cursor.point, cell(template, None), template.flags, cursor.charsets)
}

/// All of a model's state that a redraw restores, but its rows.
fn beside_rows(emulator: &Emulator) -> Vec<String> {
    let screen = &emulator.screen;
    let grid = screen.term.grid();
    vec![
        format!("cursor {} {}", cursor(&grid.cursor), grid.cursor.input_needs_wrap),
        format!("saved {}", cursor(&grid.saved_cursor)),
        format!("modes {:?}", screen.term.mode()),
        format!("region {:?} charset {:?}", screen.region, screen.charset as usize),
        format!("tabs {:?}", screen.tabs.as_ref().map(|tabs| &tabs[..grid.columns()])),
        format!("title {:?} keys {:?}", screen.title, screen.keyboard),
        format!("others {:?} {:?}", screen.other_modes, screen.modify_other_keys),
        format!("style {:?}", screen.term.cursor_style()),
    ]
}

/// Fails where two models' states differ.
pub(super) fn assert_same(one: &Emulator, other: &Emulator, what: &str) {
    let (grid, others) = (one.screen.term.grid(), other.screen.term.grid());
    let mut lines = (0..).map(Line).take(grid.screen_lines());
    // Cells are seldom different where they look the same, and text takes far longer to compare.
    if grid.screen_lines() != others.screen_lines() || !lines.all(|line| grid[line][..] == others[line][..]) {
        assert_same_lines(&rows(one), &rows(other), what);
    }
    assert_same_lines(&beside_rows(one), &beside_rows(other), what);
}

/// As [`assert_same`], and of models on the alternate screen, which they leave, compares that beneath as well.
pub(super) fn assert_same_throughout(one: &mut Emulator, other: &mut Emulator, what: &str) {
    assert_same(one, other, what);
    if one.screen.term.mode().contains(TermMode::ALT_SCREEN) {
        for emulator in [&mut *one, &mut *other] {
            emulator.advance(b"\x18\x1b[?6;7l\x1b[r\x1b[?1049l");
        }
        assert_same_lines(&rows(one), &rows(other), what);
        assert_eq!(one.screen.term.grid().cursor.point, other.screen.term.grid().cursor.point, "{what}");
    }
}

fn assert_same_lines(one: &[String], other: &[String], what: &str) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other, "{what}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
}

/// A terminal that shows something else, in modes of its own, and was cut off in the middle of a sequence.
const ELSEWHERE: &[u8] =
    b"\x1b]8;;http://y\x1b\\junk\x1b[?1049h\x1b[31;44mjunk\x1b[2;3r\x1b[?6h\x1b[?7l\x1b[4h\x1b(0\x1b)0\x0e\x1b[?1000h\x1b[?2004h\
    \x1b[?1h\x1b=\x1b[?25l\x1b[5 q\x1b[?1004h\x1b[20h\x1b[?5h\x1b]8;;http://x\x1b\\lots of junk\x1b[3;";

/// A terminal of this size that was given a redraw over all that.
pub(super) fn restored(size: TerminalSize, redraw: &[u8]) -> Emulator {
    let mut emulator = Emulator::new(size);
    emulator.advance(ELSEWHERE);
    emulator.advance(redraw);
    emulator
}

/// With origin mode, no sequence takes the cursor to where it can still be left: outside the scroll region.
pub(super) fn is_out_of_its_region(emulator: &Emulator) -> bool {
    let line = usize::try_from(emulator.screen.term.grid().cursor.point.line.0).unwrap_or(0);
    emulator.screen.term.mode().contains(TermMode::ORIGIN)
        && emulator.screen.region.is_some_and(|(start, end)| !(start..end).contains(&line))
}
