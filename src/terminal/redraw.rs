//! From a terminal's state to the bytes that bring another into it, whatever that showed before.
//!
//! Two forms. [`whole`] is for a terminal of the session's own size, which is given the program's output from there on:
//! it restores everything that output may rely on. [`picture`] is for a terminal of another size, which is only ever
//! given pictures: it shows a part, or the whole with a margin, and restores what matters for the keyboard and mouse.

use super::{
    Picture,
    cell::{Attributes, Cell, Colour, Glyph, Shade, is_disputed},
    charsets,
    grid::Grid,
    modes,
    parser::Parser,
    resize,
    screen::{Cursor, Pen, Saved, ScreenBuffer, Tabs},
    settings::Settings,
    size::TerminalSize,
    state::{Protection, TerminalState},
};

/// Empties a keyboard's stack, of the screen that is shown; see
/// [`ChangedModes::on_top`](super::undo::ChangedModes::on_top).
pub(super) const EMPTY_KEYBOARD: &str = "\x1b[<64u";

/// How text is written: no link, no margins, no protection, no colours, no other character sets.
fn put_plain(out: &mut Vec<u8>) {
    put!(out, "\x1b]8;;\x1b\\{}\x1b[?6l\x1b[0\"q\x1b[m", charsets::RESET);
}

/// What brings a terminal of any state back to normal.
pub(crate) fn reset() -> Vec<u8> {
    let mut out = Vec::new();
    put_reset(&mut out, &Settings::default(), false);
    out
}

/// Ends whatever sequence was cut short, and leaves the other screen first: what that restores is undone as well.
fn put_reset(out: &mut Vec<u8>, settings: &Settings, on_other: bool) {
    let screen = if on_other { 'h' } else { 'l' };
    put!(out, "\x18\x1b[?1049{screen}{EMPTY_KEYBOARD}\x1b[=0;1u");
    settings.reset(out);
    put!(out, "\x1b[r");
    put_plain(out);
}

/// What brings a terminal of the same size into a state, with up to `history` lines above its screen.
pub(super) fn whole(state: &mut TerminalState, parser: &Parser, history: usize) -> Vec<u8> {
    let shows_other = state.settings.screen() == 1;
    if history > 0 && !shows_other {
        resize::read_history(state);
    }
    let state = &*state;
    let [first, other] = &state.screens;
    let mut out = Vec::new();
    put_reset(&mut out, &state.settings, false);
    // Nobody sees it being drawn.
    put!(out, "\x1b[?2026h");
    // What the other screen showed before is shown again by a program that goes there without clearing it.
    put!(out, "\x1b[?1049h{EMPTY_KEYBOARD}\x1b[=0;1u\x1b[H\x1b7\x1b[2J");
    if !shows_other {
        lines(&mut out, state, &other.grid);
        saved(&mut out, state, other);
        state.settings.keyboards[1].restore(&mut out);
    }
    put!(out, "\x1b[?1049l");
    put_plain(&mut out);
    // A cursor that another program saved is no longer there to be restored.
    put!(out, "\x1b[H\x1b7\x1b[2J");
    if history > 0 && !shows_other {
        scrolled_lines(&mut out, state, history);
    }
    lines(&mut out, state, &first.grid);
    if shows_other {
        // Showing the other screen saves the cursor of this one, and all that goes with it.
        put_saved(&mut out, state, &first.grid, &first.saved);
        state.settings.keyboards[0].restore(&mut out);
        put!(out, "\x1b[?1049h");
        put_plain(&mut out);
        put!(out, "\x1b[H\x1b[2J");
        lines(&mut out, state, &other.grid);
    }
    tabs(&mut out, &state.tabs, state.columns());
    margins(&mut out, state);
    let screen = state.screen();
    saved(&mut out, state, screen);
    saved_modes(&mut out, &state.settings);
    if state.is_set(modes::DECOM) {
        put!(out, "\x1b[?6h");
    }
    place(&mut out, state, &screen.grid, state.cursor, state.is_set(modes::DECOM));
    pens(&mut out, state);
    pen(&mut out, state, &state.pen);
    if state.protection == Protection::Always && !state.pen.cell.attributes.has(Attributes::PROTECTED) {
        put!(out, "\x1bV\x1bW");
    }
    state.charsets.restore(&mut out);
    state.settings.keyboards[usize::from(shows_other)].restore(&mut out);
    state.settings.restore(&mut out);
    if !state.is_set(SYNCHRONISED) {
        put!(out, "\x1b[?2026l");
    }
    last_character(&mut out, state);
    match state.charsets.single {
        Some(2) => put!(out, "\x1bN"),
        Some(_) => put!(out, "\x1bO"),
        None => {}
    }
    out.extend(parser.pending());
    out
}

const SYNCHRONISED: usize = match modes::index_of(modes::Number::Private(2026)) {
    Some(row) => row,
    None => panic!("no such row"),
};

/// What shows a state on a terminal of another size, and which part that is: its first line and column.
pub(super) fn picture(state: &TerminalState, size: TerminalSize) -> Picture {
    let grid = state.grid();
    let Cursor { line, column, .. } = state.cursor;
    let (rows, cols) = (usize::from(size.rows()), usize::from(size.cols()));
    let top = (line + 1).saturating_sub(rows);
    // In steps of half a width, so that the picture does not move with every key.
    let step = (cols / 2).max(1);
    let left = match column.checked_sub(cols) {
        Some(beyond) => ((beyond / step + 1) * step).min(grid.columns.saturating_sub(cols)),
        None => 0,
    };
    let mut out = b"\x1b[?2026h".to_vec();
    // What is beneath stays as it is, so that a terminal that is left shows it again.
    put_reset(&mut out, &state.settings, state.settings.screen() == 1);
    put!(out, "\x1b[?7;25l");
    for row in 0..rows {
        go_to(&mut out, row, 0);
        let mut length = 0;
        if let Some(line) = grid.lines.get(top + row) {
            let mut line = line.clone();
            let end = (left + cols).min(grid.columns);
            // Of a character at an edge, a half is not shown.
            line.cut(left, end);
            let cells = &line.cells[left.min(end)..end];
            length = cells.iter().rposition(|cell| !cell.is_blank()).map_or(0, |last| last + 1);
            row_of(&mut out, state, cells, 0..length);
        }
        // After a whole line the cursor is still on its last character, which is not to be erased.
        if length < cols {
            put!(out, "\x1b[m\x1b[K");
        }
    }
    state.settings.keyboards[state.settings.screen()].restore(&mut out);
    put!(out, "\x1b[m");
    let mut settings = state.settings.clone();
    // Each picture would push them again.
    settings.title_stack.clear();
    settings.pointer_stack.clear();
    for row in [modes::DECAWM, modes::IRM, modes::LNM, SYNCHRONISED] {
        settings.modes.change(row, modes::MODES[row].normal.is_set());
    }
    let is_shown = state.is_set(modes::DECTCEM) && column - left < cols;
    settings.modes.change(modes::DECTCEM, is_shown);
    settings.restore(&mut out);
    if is_shown {
        put!(out, "\x1b[?25h");
    }
    go_to(&mut out, line - top, column.saturating_sub(left));
    put!(out, "\x1b[?7h\x1b[?2026l");
    let place = |at| u16::try_from(at).unwrap_or(u16::MAX);
    Picture { bytes: out, top: place(top), left: place(left) }
}

/// The newest lines of the history, which scroll off the top of a cleared screen on their way.
fn scrolled_lines(out: &mut Vec<u8>, state: &TerminalState, count: usize) {
    let mut newest = state.history.newest(count).peekable();
    if newest.peek().is_none() {
        return;
    }
    let mut runs_on = true;
    for line in newest {
        if !runs_on {
            put!(out, "\r\n");
        }
        row_of(out, state, &line.cells, 0..line.cells.len());
        runs_on = line.wraps && line.cells.len() == state.columns();
        if !runs_on {
            put!(out, "\x1b[m");
        }
    }
    put!(out, "\x1b[m");
    // So many line feeds leave nothing of them on the screen, wherever the last one is.
    out.extend(std::iter::repeat_n(b'\n', state.rows()));
    put!(out, "\r");
}

/// All lines of a cleared screen. Lines that ran on into the next do so again.
fn lines(out: &mut Vec<u8>, state: &TerminalState, grid: &Grid) {
    let mut runs_on = false;
    for (row, line) in grid.lines.iter().enumerate() {
        let text = line.text();
        if line.size != 0 {
            go_to(out, row, 0);
            put!(out, "\x1b#{}", line.size);
            runs_on = false;
        }
        if text.is_empty() {
            runs_on = false;
            continue;
        }
        if !runs_on {
            go_to(out, row, 0);
        }
        row_of(out, state, &line.cells, 0..text.len());
        // A wide character that found no room leaves a space behind; the line after that is placed.
        runs_on = line.wraps && text.len() == grid.columns;
    }
    put!(out, "\x1b[m");
}

/// Some of a line's cells, from the first column on.
fn row_of(out: &mut Vec<u8>, state: &TerminalState, cells: &[Cell], range: std::ops::Range<usize>) {
    let mut before = Cell::default();
    let mut extra = state.extras.get(0);
    let mut is_first = true;
    let mut column = range.start;
    while column < range.end {
        let cell = &cells[column];
        let other = state.extras.get(cell.extra);
        if is_first || !cell.has_look_of(&before) || other.underline != extra.underline {
            look(out, cell, other.underline);
            if cell.attributes.has(Attributes::PROTECTED) != before.attributes.has(Attributes::PROTECTED) {
                put!(out, "\x1b[{}\"q", u8::from(cell.attributes.has(Attributes::PROTECTED)));
            }
        }
        if other.link != extra.link {
            link(out, &other.link);
        }
        let width = if cell.attributes.has(Attributes::WIDE) { 2 } else { 1 };
        cell.glyph.push_to(out);
        out.extend(other.marks.as_bytes());
        if is_disputed(cell, &other.marks) && column + width < range.end {
            put!(out, "\x1b[{}G", column + width + 1);
        }
        (before, extra, is_first) = (*cell, other, false);
        column += width;
    }
    if !extra.link.is_empty() {
        link(out, "");
    }
    if before.attributes.has(Attributes::PROTECTED) {
        put!(out, "\x1b[0\"q");
    }
}

fn go_to(out: &mut Vec<u8>, line: usize, column: usize) {
    put!(out, "\x1b[{};{}H", line + 1, column + 1);
}

/// Selects a cell's colours and attributes.
pub(super) fn look(out: &mut Vec<u8>, cell: &Cell, underline: Colour) {
    put!(out, "\x1b[0");
    for (attribute, code) in [
        (Attributes::BOLD, 1),
        (Attributes::DIM, 2),
        (Attributes::ITALIC, 3),
        (Attributes::BLINK, 5),
        (Attributes::FAST_BLINK, 6),
        (Attributes::INVERSE, 7),
        (Attributes::HIDDEN, 8),
        (Attributes::STRUCK, 9),
        (Attributes::OVERLINE, 53),
    ] {
        if cell.attributes.has(attribute) {
            put!(out, ";{code}");
        }
    }
    match cell.attributes.underline() {
        0 => {}
        1 => put!(out, ";4"),
        style => put!(out, ";4:{style}"),
    }
    colour(out, cell.foreground, 30);
    colour(out, cell.background, 40);
    match underline.shade() {
        Shade::Default => {}
        Shade::Named(index) | Shade::Indexed(index) => put!(out, ";58:5:{index}"),
        Shade::Rgb(red, green, blue) => put!(out, ";58:2::{red}:{green}:{blue}"),
    }
    put!(out, "m");
}

/// A foreground (`base` 30) or background (`base` 40) colour.
fn colour(out: &mut Vec<u8>, colour: Colour, base: u8) {
    match colour.shade() {
        Shade::Default => {}
        Shade::Named(index @ 0..=7) => put!(out, ";{}", base + index),
        Shade::Named(index) => put!(out, ";{}", base + 60 + index - 8),
        Shade::Indexed(index) => put!(out, ";{};5;{index}", base + 8),
        Shade::Rgb(red, green, blue) => put!(out, ";{};2;{red};{green};{blue}", base + 8),
    }
}

fn link(out: &mut Vec<u8>, link: &str) {
    if link.is_empty() {
        put!(out, "\x1b]8;;\x1b\\");
    } else {
        put!(out, "\x1b]8;{link}\x1b\\");
    }
}

/// What is written next looks like this.
fn pen(out: &mut Vec<u8>, state: &TerminalState, pen: &Pen) {
    let extra = state.extras.get(pen.cell.extra);
    look(out, &pen.cell, extra.underline);
    if !extra.link.is_empty() {
        link(out, &extra.link);
    }
    if pen.cell.attributes.has(Attributes::PROTECTED) {
        match state.protection {
            Protection::Selective => put!(out, "\x1b[1\"q"),
            Protection::Always => put!(out, "\x1bV"),
        }
    }
}

/// The stack of pens (XTPUSHSGR).
fn pens(out: &mut Vec<u8>, state: &TerminalState) {
    for pushed in &state.pens {
        look(out, &pushed.cell, state.extras.get(pushed.cell.extra).underline);
        put!(out, "\x1b[#{{");
    }
}

fn tabs(out: &mut Vec<u8>, tabs: &Tabs, columns: usize) {
    put!(out, "\x1b[3g");
    for column in (0..columns).filter(|column| tabs.is_stop(*column)) {
        put!(out, "\x1b[{}G\x1bH", column + 1);
    }
}

fn margins(out: &mut Vec<u8>, state: &TerminalState) {
    if (state.top, state.bottom) != (0, state.rows()) {
        put!(out, "\x1b[{};{}r", state.top + 1, state.bottom);
    }
    if state.is_set(modes::DECLRMM) {
        put!(out, "\x1b[?69h");
        if (state.left, state.right) != (0, state.columns()) {
            put!(out, "\x1b[{};{}s", state.left + 1, state.right);
        }
    }
}

/// Modes that were saved (XTSAVE), which are saved again as they were.
fn saved_modes(out: &mut Vec<u8>, settings: &Settings) {
    for (row, set) in &settings.saved_modes {
        let mode = &modes::MODES[*row];
        if let (
            modes::Number::Private(number),
            modes::ModeKind::Plain | modes::ModeKind::MouseEvents | modes::ModeKind::MouseEncoding,
        ) = (mode.number, mode.kind)
        {
            let last = |set| if set { 'h' } else { 'l' };
            put!(out, "\x1b[?{number}{}\x1b[?{number}s", last(*set));
            if *set != mode.normal.is_set() {
                put!(out, "\x1b[?{number}{}", last(mode.normal.is_set()));
            }
        }
    }
}

/// Saves the cursor again as it was saved, on the screen that is shown.
fn saved(out: &mut Vec<u8>, state: &TerminalState, screen: &ScreenBuffer) {
    if screen.saved != Saved::default() {
        put_saved(out, state, &screen.grid, &screen.saved);
        put!(out, "\x1b7");
        put_plain(out);
    }
}

/// Puts everything in place that saving the cursor saves.
fn put_saved(out: &mut Vec<u8>, state: &TerminalState, grid: &Grid, saved: &Saved) {
    if saved.origin {
        put!(out, "\x1b[?6h");
    }
    place(out, state, grid, saved.cursor, saved.origin);
    pen(out, state, &saved.pen);
    saved.charsets.restore(out);
}

/// Puts the cursor in its place. Where the next character wraps, a terminal is brought there by writing the last one
/// again.
fn place(out: &mut Vec<u8>, state: &TerminalState, grid: &Grid, cursor: Cursor, origin: bool) {
    let Cursor { line, mut column, wraps } = cursor;
    let (top, left) = if origin { (state.margins().top, state.margins().left) } else { (0, 0) };
    let cells = &grid.lines[line].cells;
    if wraps && cells[column].attributes.has(Attributes::TAIL) {
        column = column.saturating_sub(1);
    }
    go_to(out, line.saturating_sub(top), column.saturating_sub(left));
    if wraps {
        row_of(out, state, cells, column..cursor.column + 1);
    }
}

/// Prints the last character again, as the program did, where nothing came after it: a terminal may be told to repeat
/// it, or be sent what combines with it.
fn last_character(out: &mut Vec<u8>, state: &TerminalState) {
    let (Some(last), Some((line, column))) = (state.last, state.before_cursor()) else { return };
    let cell = &state.grid().lines[line].cells[column];
    let is_as_written = cell.has_look_of(&state.pen.cell) && cell.glyph != Glyph::BLANK;
    if !is_as_written || state.is_set(modes::IRM) {
        return;
    }
    let (line, column) = state.relative(line, column);
    go_to(out, line, column);
    let mut buffer = [0; 4];
    out.extend(last.encode_utf8(&mut buffer).as_bytes());
    out.extend(state.extras.get(cell.extra).marks.as_bytes());
}
