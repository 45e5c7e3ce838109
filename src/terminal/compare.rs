//! Two models side by side: all of their state that people see or a program may build on.

use super::{
    ScreenModel, TerminalSize,
    cell::{Attributes, Cell},
    emulator::Emulator,
    modes::{self, MODES},
    screen::Cursor,
    state::TerminalState,
};

/// What people see of a cell, and what a program may build on.
fn cell(state: &TerminalState, cell: &Cell) -> String {
    if cell.attributes.has(Attributes::TAIL) {
        return "the rest of it".to_owned();
    }
    let extra = state.extras.get(cell.extra);
    let mut bytes = Vec::new();
    cell.glyph.push_to(&mut bytes);
    // Nobody sees how a space looks, but for its colours and lines.
    let mut attributes = cell.attributes;
    if bytes == b" " && extra.marks.is_empty() {
        for unseen in [Attributes::BOLD, Attributes::DIM, Attributes::ITALIC, Attributes::HIDDEN] {
            attributes = attributes.with(unseen, false);
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let link = extra.link.rsplit_once(';').map(|(_, link)| link);
    let (fore, back) = (cell.foreground, cell.background);
    format!("{text:?} {fore:?} {back:?} {attributes:?} {:?} {:?} {link:?}", extra.marks, extra.underline)
}

fn rows(state: &TerminalState) -> Vec<String> {
    let lines = state.grid().lines.iter().enumerate();
    let text = |(row, line): (usize, &super::grid::Line)| {
        let cells =
            line.cells.iter().enumerate().map(|(column, it)| format!("{row} {column}: {}", cell(state, it)));
        cells.chain([format!("{row}: {}", line.size)]).collect::<Vec<_>>()
    };
    lines.flat_map(text).collect()
}

/// All of a model's state that a redraw restores, but its rows.
fn beside_rows(emulator: &Emulator) -> Vec<String> {
    let state = &emulator.state;
    let settings = &state.settings;
    let pen = |pen: &super::screen::Pen| cell(state, &pen.cell);
    let saved = &state.screen().saved;
    let cursor = |cursor: &Cursor| format!("{cursor:?}");
    let set: Vec<_> = (0..MODES.len())
        .filter(|row| MODES[*row].kind != modes::ModeKind::Screen && state.is_set(*row))
        .map(|row| MODES[row].name)
        .collect();
    let colours: Vec<_> = settings.colours.iter().filter(|(_, colour)| colour.is_some()).collect();
    vec![
        format!("cursor {} pen {} charsets {:?}", cursor(&state.cursor), pen(&state.pen), state.charsets),
        format!(
            "saved {} pen {} {:?} {}",
            cursor(&saved.cursor),
            pen(&saved.pen),
            saved.charsets,
            saved.origin
        ),
        format!("modes {set:?} screen {}", settings.screen()),
        format!("margins {:?}", state.margins()),
        format!(
            "tabs {:?}",
            (0..state.columns()).filter(|column| state.tabs.is_stop(*column)).collect::<Vec<_>>()
        ),
        format!("titles {:?} {:?}", settings.titles, settings.title_stack),
        format!("keyboards {:?}", settings.keyboards),
        format!(
            "keys {:?} {:?}",
            settings.key_modifiers.map(Option::flatten),
            settings.key_formats.map(Option::flatten)
        ),
        format!("style {:?} colours {colours:?}", settings.cursor_style.unwrap_or(0)),
        format!(
            "pointer {:?} {:?} {:?}",
            settings.pointer.as_deref().unwrap_or(""),
            settings.pointer_stack,
            settings.pointer_mode.unwrap_or(1)
        ),
        format!(
            "progress {:?} {:?}",
            settings.progress.as_deref().filter(|progress| !progress.starts_with('0')),
            settings.directory
        ),
        format!(
            "replies {} extent {} titles {}",
            settings.eight_bit_replies, settings.attribute_extent, settings.title_modes
        ),
        format!("pens {:?}", state.pens.iter().map(pen).collect::<Vec<_>>()),
        format!("protection {:?}", state.protection),
        format!("pending {:?}", emulator.parser.pending()),
    ]
}

/// Fails where two models' states differ.
pub(super) fn assert_same(one: &Emulator, other: &Emulator, what: &str) {
    let (grid, others) = (one.state.grid(), other.state.grid());
    // Cells are seldom different where they look the same, and text takes far longer to compare.
    if grid.lines.len() != others.lines.len() || grid != others {
        assert_same_lines(&rows(&one.state), &rows(&other.state), what);
    }
    assert_same_lines(&beside_rows(one), &beside_rows(other), what);
}

/// As [`assert_same`], and of models on the other screen, which they leave, compares that beneath as well.
pub(super) fn assert_same_throughout(one: &mut Emulator, other: &mut Emulator, what: &str) {
    assert_same(one, other, what);
    if one.state.settings.screen() == 1 {
        for emulator in [&mut *one, &mut *other] {
            emulator.advance(b"\x18\x1b[?1049l");
        }
        assert_same(one, other, &format!("{what}, beneath"));
    }
}

/// Fails where the lines that scrolled away differ.
pub(super) fn assert_same_history(one: &mut Emulator, other: &mut Emulator) {
    let lines = |emulator: &mut Emulator| -> Vec<String> {
        super::resize::read_history(&mut emulator.state);
        let state = &emulator.state;
        let text = |line: &super::grid::Line| line.cells.iter().map(|it| cell(state, it)).collect::<String>();
        state.history.lines().map(|line| format!("{} {}", text(&line), line.wraps)).collect()
    };
    assert_same_lines(&lines(one), &lines(other), "the history");
}

fn assert_same_lines(one: &[String], other: &[String], what: &str) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!(one, other, "{what}");
    }
    assert_eq!(one.len(), other.len(), "{what}");
}

/// A terminal that shows something else, in modes of its own, and was cut off in the middle of a sequence.
const ELSEWHERE: &[u8] =
    b"\x1b]8;;http://y\x1b\\junk\x1b[=3u\x1b[>5u\x1b[?1049h\x1b[>1u\x1b[31;44mjunk\x1b[2;3r\x1b[?69h\x1b[3;5s\x1b[?6h\x1b[?7l\x1b[4h\x1b(0\x1b)0\x0e\x1b[?1000h\
    \x1b[?2004h\x1b[?1h\x1b=\x1b[?25l\x1b[?1004h\x1b[20h\x1b[?5h\x1b[1\"q\x1b[3g\x1b]8;;http://x\x1b\\lots of junk\x1b[3;";

/// A terminal of this size that was given a redraw over all that.
pub(super) fn restored(size: TerminalSize, redraw: &[u8]) -> Emulator {
    let mut emulator = Emulator::new(size);
    emulator.advance(ELSEWHERE);
    emulator.advance(redraw);
    emulator
}

/// With origin mode, no sequence takes the cursor to where it can still be left: outside the margins.
pub(super) fn is_out_of_its_region(emulator: &Emulator) -> bool {
    let state = &emulator.state;
    let is_out = |cursor: &Cursor| !state.margins().contains(cursor.line, cursor.column);
    let saved = &state.screen().saved;
    state.is_set(modes::DECOM) && is_out(&state.cursor)
        || saved.origin && is_out(&saved.cursor)
        || state.screens[0].saved.origin
}
