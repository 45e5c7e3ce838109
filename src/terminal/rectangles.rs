//! DEC's rectangles (VT420): filling, erasing, copying, and changing attributes of a part of the screen.

use super::{
    cell::{Attributes, Cell, Glyph},
    grid::Area,
    modes,
    parser::ControlSequence,
    state::TerminalState,
};

/// What a sequence with a dollar does to a rectangle.
pub(super) fn apply(state: &mut TerminalState, sequence: &ControlSequence) {
    match sequence.last {
        b'x' => {
            let number = sequence.parameter(0, 0);
            // What DECFRA may fill with: all that is printed in one byte.
            let character = u8::try_from(number).ok().filter(|byte| matches!(byte, b' '..=b'~' | 0xa0..));
            if let (Some(byte), Some(area)) = (character, area(state, sequence, 1)) {
                let glyph = Glyph::character(char::from(byte));
                let cell = Cell { glyph, ..state.pen.cell };
                for_each_line(state, area, |cells| cells.fill(cell));
            }
        }
        b'z' => {
            if let Some(area) = area(state, sequence, 0) {
                let blank = state.pen.blank();
                for_each_line(state, area, |cells| cells.fill(blank));
            }
        }
        b'{' => {
            if let Some(Area { top, bottom, left, right }) = area(state, sequence, 0) {
                (top..bottom).for_each(|line| state.erase(line, left, right, true));
            }
        }
        b'v' => copy(state, sequence),
        b'r' | b't' => change_attributes(state, sequence),
        _ => {}
    }
}

/// The rectangle whose sides are the parameters from `first` on; none where they are crossed.
fn area(state: &TerminalState, sequence: &ControlSequence, first: usize) -> Option<Area> {
    let (rows, columns) = (state.rows(), state.columns());
    let side = |index| usize::from(sequence.parameter(first + index, 0));
    let (base, end) = if state.is_set(modes::DECOM) {
        let margins = state.margins();
        ((margins.top, margins.left), (margins.bottom, margins.right))
    } else {
        ((0, 0), (rows, columns))
    };
    let top = base.0 + side(0).max(1) - 1;
    let left = base.1 + side(1).max(1) - 1;
    let bottom = if side(2) == 0 { end.0 } else { (base.0 + side(2)).min(end.0) };
    let right = if side(3) == 0 { end.1 } else { (base.1 + side(3)).min(end.1) };
    (top < bottom && left < right).then_some(Area { top, bottom, left, right })
}

fn for_each_line(state: &mut TerminalState, area: Area, mut change: impl FnMut(&mut [Cell])) {
    for line in area.top..area.bottom {
        let line = &mut state.grid_mut().lines[line];
        line.cut(area.left, area.right);
        change(&mut line.cells[area.left..area.right]);
    }
}

/// DECCRA. Pages there are none but the first.
fn copy(state: &mut TerminalState, sequence: &ControlSequence) {
    let Some(from) = area(state, sequence, 0) else { return };
    let (rows, columns) = (state.rows(), state.columns());
    let margins = state.margins();
    let (base, end) = if state.is_set(modes::DECOM) {
        ((margins.top, margins.left), (margins.bottom, margins.right))
    } else {
        ((0, 0), (rows, columns))
    };
    let top = base.0 + usize::from(sequence.parameter(5, 1)) - 1;
    let left = base.1 + usize::from(sequence.parameter(6, 1)) - 1;
    if top >= end.0 || left >= end.1 {
        return;
    }
    let height = (from.bottom - from.top).min(end.0 - top);
    let width = (from.right - from.left).min(end.1 - left);
    let copied: Vec<Vec<Cell>> = (from.top..from.top + height)
        .map(|line| {
            let mut line = state.grid().lines[line].clone();
            // Halves of characters are not copied.
            line.cut(from.left, from.left + width);
            line.cells[from.left..from.left + width].to_vec()
        })
        .collect();
    let to = Area { top, bottom: top + height, left, right: left + width };
    let mut copied = copied.iter();
    for_each_line(state, to, |cells| {
        if let Some(copied) = copied.next() {
            cells.copy_from_slice(copied);
        }
    });
}

/// DECCARA and DECRARA: sets or toggles attributes, of the rectangle or of the stream of characters from its first
/// corner to its last, as DECSACE chose.
fn change_attributes(state: &mut TerminalState, sequence: &ControlSequence) {
    let Some(Area { top, bottom, left, right }) = area(state, sequence, 0) else { return };
    let toggles = sequence.last == b't';
    let is_stream = state.settings.attribute_extent != 2;
    let (columns, last) = (state.columns(), bottom - 1);
    for line in top..bottom {
        let from = if is_stream && line > top { 0 } else { left };
        let to = if is_stream && line < last { columns } else { right };
        let cells = &mut state.grid_mut().lines[line].cells;
        // The second half of a character goes with its first.
        for cell in cells[from..to].iter_mut().filter(|cell| !cell.attributes.has(Attributes::TAIL)) {
            for number in sequence.numbers().skip(4) {
                cell.attributes = change(cell.attributes, number, toggles);
            }
        }
        for column in 1..columns {
            if cells[column].attributes.has(Attributes::TAIL) {
                let look = cells[column - 1].attributes.with(Attributes::WIDE, false);
                cells[column].attributes = look.with(Attributes::TAIL, true);
            }
        }
    }
}

fn change(attributes: Attributes, number: u16, toggles: bool) -> Attributes {
    let one = |attribute: Attributes, set: bool| {
        attributes.with(attribute, if toggles { !attributes.has(attribute) } else { set })
    };
    match number {
        0 if toggles => [1, 4, 5, 7].iter().fold(attributes, |all, number| change(all, *number, true)),
        0 => [Attributes::BOLD, Attributes::BLINK, Attributes::INVERSE]
            .iter()
            .fold(attributes.with_underline(0), |all, attribute| all.with(*attribute, false)),
        1 => one(Attributes::BOLD, true),
        4 if toggles && attributes.underline() != 0 => attributes.with_underline(0),
        4 => attributes.with_underline(1),
        5 => one(Attributes::BLINK, true),
        7 => one(Attributes::INVERSE, true),
        22 if !toggles => one(Attributes::BOLD, false),
        24 if !toggles => attributes.with_underline(0),
        25 if !toggles => one(Attributes::BLINK, false),
        27 if !toggles => one(Attributes::INVERSE, false),
        _ => attributes,
    }
}
