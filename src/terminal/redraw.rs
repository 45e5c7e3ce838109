//! From a model's state to the bytes that bring a terminal into it, whatever it showed before.
//!
//! Two sequences. [`whole`] is for a terminal of the session's own size, which is given the program's output from there on:
//! it restores everything that output may rely on. [`picture`] is for a terminal of another size, which is only ever
//! given pictures: it shows a part, or the whole with a margin, and restores what matters for the keyboard and mouse.

use std::fmt::Write;

use alacritty_terminal::{
    grid::{Cursor, Dimensions, Grid, GridCell},
    index::{Column, Line},
    term::{
        TermMode,
        cell::{Cell, Flags, Hyperlink},
    },
    vte::ansi::{CharsetIndex, Color, CursorShape, ModifyOtherKeys, NamedColor, StandardCharset},
};

use super::emulator::Tracked;
use crate::{Picture, TerminalSize};

/// Ends whatever sequence was cut short, leaves the alternate screen, and undoes every mode a program may have set; a
/// link that was begun ends as well.
pub(crate) const RESET: &str = "\x18\x1b[?1049l\x1b]8;;\x1b\\\x1b[!p\x1b[?1;5;6;9;1000;1002;1003;1004;1005;1006;1015;1016;2004;2031l\
                     \x1b[4;20l\x1b[?7h\x1b>\x1b[r\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[m";

const CHARSETS: [(CharsetIndex, char); 4] =
    [(CharsetIndex::G0, '('), (CharsetIndex::G1, ')'), (CharsetIndex::G2, '*'), (CharsetIndex::G3, '+')];

/// Appends formatted text to a `String`, which can't fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {
        let _ = write!($out, $($format)*);
    };
}

/// What brings a terminal of the same size into the state of `screen`.
pub(super) fn whole(screen: &mut Tracked) -> Vec<u8> {
    let mut out = String::from(RESET);
    // A cursor that another program saved is no longer there to be restored.
    out += "\x1b[H\x1b7\x1b[2J";
    if screen.term.mode().contains(TermMode::ALT_SCREEN) {
        // The screen beneath is hidden: it is fetched to the front, and what was in front put back.
        let front = screen.term.grid().clone();
        screen.term.swap_alt();
        lines(&mut out, screen.term.grid());
        let beneath = &screen.term.grid().cursor;
        position(&mut out, beneath.point.line.0, beneath.point.column.0);
        pen(&mut out, &beneath.template);
        let linked = beneath.template.hyperlink().is_some();
        screen.term.swap_alt();
        *screen.term.grid_mut() = front;
        out += "\x1b[?1049h\x1b[m\x1b[H\x1b[2J";
        if linked {
            hyperlink(&mut out, None);
        }
    }
    let screen = &*screen;
    let (grid, mode) = (screen.term.grid(), *screen.term.mode());
    lines(&mut out, grid);
    tabs(&mut out, screen);
    saved_cursor(&mut out, &grid.saved_cursor);
    if let Some((start, end)) = screen.region {
        put!(out, "\x1b[{};{end}r", start + 1);
    }
    let point = grid.cursor.point;
    let mut line = point.line.0;
    if mode.contains(TermMode::ORIGIN) {
        out += "\x1b[?6h";
        line -= screen.region.map_or(0, |(start, _)| i32::try_from(start).unwrap_or(0));
    }
    if grid.cursor.input_needs_wrap {
        // The next character wraps: the terminal is brought there by writing the last one again.
        let cells = &grid[point.line][..];
        let column = point.column.0 - usize::from(shown(cells, point.column.0).is_none());
        position(&mut out, line, column);
        row_of(&mut out, &cells[column..=point.column.0]);
    } else {
        position(&mut out, line, point.column.0);
    }
    for (set, code) in [(TermMode::INSERT, 4), (TermMode::LINE_FEED_NEW_LINE, 20)] {
        if mode.contains(set) {
            put!(out, "\x1b[{code}h");
        }
    }
    if !mode.contains(TermMode::LINE_WRAP) {
        out += "\x1b[?7l";
    }
    charsets(&mut out, &grid.cursor);
    out += match screen.charset {
        CharsetIndex::G0 => "",
        CharsetIndex::G1 => "\x0e",
        CharsetIndex::G2 => "\x1bn",
        CharsetIndex::G3 => "\x1bo",
    };
    pen(&mut out, &grid.cursor.template);
    input_modes(&mut out, screen);
    cursor(&mut out, screen, true);
    colors(&mut out, screen);
    out.into_bytes()
}

/// What shows `screen` on a terminal of another size.
pub(super) fn picture(screen: &Tracked, size: TerminalSize) -> Picture {
    let grid = screen.term.grid();
    let point = grid.cursor.point;
    let (rows, cols) = (usize::from(size.rows()), usize::from(size.cols()));
    let (line, column) = (usize::try_from(point.line.0).unwrap_or(0), point.column.0);
    let top = (line + 1).saturating_sub(rows);
    // In steps of half a width, so that the picture does not move with every key.
    let step = (cols / 2).max(1);
    let left = match column.checked_sub(cols) {
        Some(beyond) => ((beyond / step + 1) * step).min(grid.columns().saturating_sub(cols)),
        None => 0,
    };

    let mut out = String::from("\x1b[?2026h");
    out += RESET;
    out += "\x1b[?7;25l";
    for row in 0..rows {
        position(&mut out, i32::try_from(row).unwrap_or(i32::MAX), 0);
        let mut length = 0;
        if top + row < grid.screen_lines() {
            let line = &grid[Line(i32::try_from(top + row).unwrap_or(i32::MAX))];
            let end = (left + cols).min(grid.columns());
            let cells = &line[Column(left)..Column(end)];
            length = cells.iter().rposition(|cell| !is_blank(cell)).map_or(0, |last| last + 1);
            row_of(&mut out, &cells[..length]);
        }
        // After a whole line the cursor is still on its last character, which is not to be erased.
        if length < cols {
            out += "\x1b[m\x1b[K";
        }
    }
    input_modes(&mut out, screen);
    position(&mut out, i32::try_from(line - top).unwrap_or(0), column.saturating_sub(left));
    cursor(&mut out, screen, column - left < cols);
    out += "\x1b[?2026l";
    let [top, left] = [top, left].map(|offset| u16::try_from(offset).unwrap_or(u16::MAX));
    Picture { bytes: out.into_bytes(), top, left }
}

/// All lines of a cleared screen. Lines that ran on into the next do so again.
fn lines(out: &mut String, grid: &Grid<Cell>) {
    let mut runs_on = false;
    for row in 0..grid.screen_lines() {
        let index = i32::try_from(row).unwrap_or(i32::MAX);
        let cells = &grid[Line(index)][..];
        let Some(last) = cells.iter().rposition(|cell| !is_blank(cell)) else {
            runs_on = false;
            continue;
        };
        if !runs_on {
            position(out, index, 0);
        }
        row_of(out, &cells[..=last]);
        // A wide character that found no room leaves a space behind; the line after that is placed.
        runs_on = cells.last().is_some_and(|cell| {
            cell.flags & (Flags::WRAPLINE | Flags::LEADING_WIDE_CHAR_SPACER) == Flags::WRAPLINE
        });
    }
    *out += "\x1b[m";
}

fn is_blank(cell: &Cell) -> bool {
    cell.is_empty() && cell.hyperlink().is_none()
}

/// A line's cells, from the first given on.
fn row_of(out: &mut String, cells: &[Cell]) {
    let mut before: Option<&Cell> = None;
    let mut link: Option<Hyperlink> = None;
    for (column, cell) in cells.iter().enumerate() {
        let Some(shown) = shown(cells, column) else { continue };
        if before.is_none_or(|before| !same_look(before, cell)) {
            look(out, cell);
        }
        if link != cell.hyperlink() {
            link = cell.hyperlink();
            hyperlink(out, link.as_ref());
        }
        out.push(shown);
        out.extend(cell.zerowidth().into_iter().flatten());
        before = Some(cell);
    }
    if link.is_some() {
        hyperlink(out, None);
    }
}

/// The character to write for a cell; `None` for the second half of a wide one, which is written with the first. A half
/// without the other shows as a space, and so does the mark that a tab leaves.
pub(super) fn shown(cells: &[Cell], column: usize) -> Option<char> {
    let cell = &cells[column];
    let is = |column: Option<usize>, flag| {
        column.and_then(|column| cells.get(column)).is_some_and(|cell: &Cell| cell.flags.contains(flag))
    };
    let is_half = if cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
        if is(column.checked_sub(1), Flags::WIDE_CHAR) {
            return None;
        }
        true
    } else {
        cell.flags.contains(Flags::WIDE_CHAR) && !is(Some(column + 1), Flags::WIDE_CHAR_SPACER)
    };
    Some(if is_half || cell.c.is_control() { ' ' } else { cell.c })
}

fn position(out: &mut String, line: i32, column: usize) {
    put!(out, "\x1b[{};{}H", line + 1, column + 1);
}

const LOOKS: Flags = Flags::INVERSE
    .union(Flags::BOLD)
    .union(Flags::ITALIC)
    .union(Flags::DIM)
    .union(Flags::HIDDEN)
    .union(Flags::STRIKEOUT)
    .union(Flags::ALL_UNDERLINES);

fn same_look(one: &Cell, other: &Cell) -> bool {
    one.fg == other.fg
        && one.bg == other.bg
        && one.flags & LOOKS == other.flags & LOOKS
        && one.underline_color() == other.underline_color()
}

/// Selects a cell's colours and attributes.
fn look(out: &mut String, cell: &Cell) {
    *out += "\x1b[0";
    for (flag, code) in [
        (Flags::BOLD, "1"),
        (Flags::DIM, "2"),
        (Flags::ITALIC, "3"),
        (Flags::UNDERLINE, "4"),
        (Flags::DOUBLE_UNDERLINE, "4:2"),
        (Flags::UNDERCURL, "4:3"),
        (Flags::DOTTED_UNDERLINE, "4:4"),
        (Flags::DASHED_UNDERLINE, "4:5"),
        (Flags::INVERSE, "7"),
        (Flags::HIDDEN, "8"),
        (Flags::STRIKEOUT, "9"),
    ] {
        if cell.flags.contains(flag) {
            put!(out, ";{code}");
        }
    }
    color(out, cell.fg, 30);
    color(out, cell.bg, 40);
    match cell.underline_color() {
        Some(Color::Indexed(index)) => {
            put!(out, ";58:5:{index}");
        }
        Some(Color::Spec(rgb)) => {
            put!(out, ";58:2::{}:{}:{}", rgb.r, rgb.g, rgb.b);
        }
        _ => {}
    }
    out.push('m');
}

/// A foreground (`base` 30) or background (`base` 40) colour.
fn color(out: &mut String, color: Color, base: usize) {
    match color {
        Color::Named(named) if (named as usize) < 8 => {
            put!(out, ";{}", base + named as usize);
        }
        Color::Named(named) if (named as usize) < 16 => {
            put!(out, ";{}", base + 60 + named as usize - 8);
        }
        Color::Named(_) => {}
        Color::Indexed(index) => {
            put!(out, ";{};5;{index}", base + 8);
        }
        Color::Spec(rgb) => {
            put!(out, ";{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b);
        }
    }
}

/// What is written next looks like `template`.
fn pen(out: &mut String, template: &Cell) {
    look(out, template);
    if let Some(link) = template.hyperlink() {
        hyperlink(out, Some(&link));
    }
}

fn hyperlink(out: &mut String, link: Option<&Hyperlink>) {
    match link {
        Some(link) => {
            put!(out, "\x1b]8;id={};{}\x1b\\", link.id(), link.uri());
        }
        None => *out += "\x1b]8;;\x1b\\",
    }
}

fn charsets(out: &mut String, cursor: &Cursor<Cell>) {
    for (index, designator) in CHARSETS {
        if cursor.charsets[index] == StandardCharset::SpecialCharacterAndLineDrawing {
            put!(out, "\x1b{designator}0");
        }
    }
}

fn tabs(out: &mut String, screen: &Tracked) {
    let Some(tabs) = &screen.tabs else { return };
    *out += "\x1b[3g";
    for (column, _) in tabs.iter().enumerate().filter(|(_, stop)| **stop) {
        put!(out, "\x1b[1;{}H\x1bH", column + 1);
    }
}

fn saved_cursor(out: &mut String, saved: &Cursor<Cell>) {
    if *saved == Cursor::default() {
        return;
    }
    position(out, saved.point.line.0, saved.point.column.0);
    pen(out, &saved.template);
    charsets(out, saved);
    *out += "\x1b7\x1b(B\x1b)B\x1b*B\x1b+B\x1b[m";
    if saved.template.hyperlink().is_some() {
        hyperlink(out, None);
    }
}

/// What decides which bytes the keyboard and the mouse send.
fn input_modes(out: &mut String, screen: &Tracked) {
    let mode = *screen.term.mode();
    for (set, code) in [
        (TermMode::APP_CURSOR, 1),
        (TermMode::MOUSE_REPORT_CLICK, 1000),
        (TermMode::MOUSE_DRAG, 1002),
        (TermMode::MOUSE_MOTION, 1003),
        (TermMode::FOCUS_IN_OUT, 1004),
        (TermMode::UTF8_MOUSE, 1005),
        (TermMode::SGR_MOUSE, 1006),
        (TermMode::BRACKETED_PASTE, 2004),
    ] {
        if mode.contains(set) {
            put!(out, "\x1b[?{code}h");
        }
    }
    if !mode.contains(TermMode::ALTERNATE_SCROLL) {
        *out += "\x1b[?1007l";
    }
    for other in screen.other_modes.keys() {
        put!(out, "\x1b[?{other}h");
    }
    if mode.contains(TermMode::APP_KEYPAD) {
        *out += "\x1b=";
    }
    if screen.keyboard_used {
        *out += "\x1b[<64u";
        for mode in &screen.keyboard {
            put!(out, "\x1b[>{}u", mode.bits());
        }
    }
    match screen.modify_other_keys {
        Some(ModifyOtherKeys::EnableAll) => *out += "\x1b[>4;2m",
        Some(ModifyOtherKeys::EnableExceptWellDefined) => *out += "\x1b[>4;1m",
        _ => {}
    }
    if let Some(title) = &screen.title {
        put!(out, "\x1b]2;{title}\x1b\\");
    }
}

fn cursor(out: &mut String, screen: &Tracked, within: bool) {
    let style = screen.term.cursor_style();
    let steady = match style.shape {
        CursorShape::Block => 2,
        CursorShape::Underline => 4,
        CursorShape::Beam => 6,
        // None was chosen (see the emulator's settings): the terminal's own, which may have been told to blink.
        _ => 0,
    };
    // The blinking form of a shape is the one before its steady form.
    put!(out, "\x1b[{} q", if style.blinking && steady > 0 { steady - 1 } else { steady });
    if style.blinking && steady == 0 {
        *out += "\x1b[?12h";
    }
    let shown = within && screen.term.mode().contains(TermMode::SHOW_CURSOR);
    *out += if shown { "\x1b[?25h" } else { "\x1b[?25l" };
}

fn colors(out: &mut String, screen: &Tracked) {
    if !screen.colors_used {
        return;
    }
    *out += "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\";
    let colors = screen.term.colors();
    for index in 0..256 {
        if let Some(rgb) = colors[index] {
            put!(out, "\x1b]4;{index};rgb:{:02x}/{:02x}/{:02x}\x1b\\", rgb.r, rgb.g, rgb.b);
        }
    }
    for (named, code) in
        [(NamedColor::Foreground, 10), (NamedColor::Background, 11), (NamedColor::Cursor, 12)]
    {
        if let Some(rgb) = colors[named] {
            put!(out, "\x1b]{code};rgb:{:02x}/{:02x}/{:02x}\x1b\\", rgb.r, rgb.g, rgb.b);
        }
    }
}
