//! Lines as few bytes, for those that nobody looks at.
//!
//! A cell takes 16 bytes, and in most lines differs from the one before it only in its character. So cells are packed
//! as runs of one look, and a character as its code in LEB128 (as in DWARF and WebAssembly): ASCII is a byte a
//! character.

use super::{
    cell::{Attributes, Cell, Colour, Glyph},
    grid::Line,
};

/// The bits of a line's head below its length: `ESC # size`, and whether it runs on.
const SIZE_BITS: u32 = 3;
const HEAD_BITS: u32 = SIZE_BITS + 1;

/// Appends a line, without the blanks at its end.
pub(super) fn pack(line: &Line, out: &mut Vec<u8>) {
    let text = line.text();
    put(out, (text.len() as u32) << HEAD_BITS | u32::from(line.wraps) << SIZE_BITS | u32::from(line.size));
    let mut rest = text;
    while let Some(first) = rest.first() {
        let (run, is_ascii) = if is_ascii_alike(rest, first) {
            (rest, true)
        } else {
            let is_other = |cell: &Cell| !is_alike(cell, first);
            (&rest[..rest.iter().position(is_other).unwrap_or(rest.len())], false)
        };
        put(out, run.len() as u32);
        put_look(out, first);
        if is_ascii {
            out.extend(run.iter().map(|cell| cell.glyph.code().to_le_bytes()[0]));
        } else {
            for cell in run {
                // No character that is shown has such a code.
                if let Some(half) = cell.attributes.half() {
                    put(out, half);
                }
                put(out, cell.glyph.code());
            }
        }
        rest = &rest[run.len()..];
    }
}

/// Reads a line that was packed. The blanks at its end are missing.
pub(super) fn unpack(bytes: &mut impl Iterator<Item = u8>) -> Line {
    let head = get(bytes);
    let length = (head >> HEAD_BITS) as usize;
    let mut line = Line {
        cells: Vec::with_capacity(length),
        wraps: head >> SIZE_BITS & 1 != 0,
        size: (head & ((1 << SIZE_BITS) - 1)).to_le_bytes()[0],
    };
    while line.cells.len() < length {
        let run = get(bytes) as usize;
        let look = get_look(bytes);
        for _ in 0..run.clamp(1, length - line.cells.len()) {
            let mut cell = look;
            let mut code = get(bytes);
            if let Some(attributes) = cell.attributes.with_half(code) {
                cell.attributes = attributes;
                code = get(bytes);
            }
            line.cells.push(Cell { glyph: Glyph::of_code(code), ..cell });
        }
    }
    line
}

/// Whether two cells may be in one run.
fn is_alike(one: &Cell, other: &Cell) -> bool {
    one.has_look_of(other) && one.extra == other.extra
}

/// Whether all cells are one run of ASCII, none of it wide. Looks at all: the compiler makes vector instructions of
/// that.
fn is_ascii_alike(cells: &[Cell], first: &Cell) -> bool {
    let differs = |cell: &Cell| {
        let blank = Cell { glyph: Glyph::of_code(cell.glyph.code() & !0x7f), ..*cell };
        blank.difference(first)
    };
    // Codes below a space are halves, or nothing at all.
    let is_text = |all: bool, cell: &Cell| all & (cell.glyph.code() == 0 || cell.glyph.code() >= 0x20);
    cells.iter().fold(0, |all, cell| all | differs(cell)) == 0
        && first.attributes.half().is_none()
        && cells.iter().fold(true, is_text)
}

/// Appends how a cell looks, but for its character and which half of one it is.
pub(super) fn put_look(out: &mut Vec<u8>, cell: &Cell) {
    put(out, cell.foreground.code());
    put(out, cell.background.code());
    put(out, cell.attributes.look().code().into());
    put(out, cell.extra.into());
}

pub(super) fn get_look(bytes: &mut impl Iterator<Item = u8>) -> Cell {
    let (foreground, background) = (Colour::of_code(get(bytes)), Colour::of_code(get(bytes)));
    let attributes = Attributes::of_code(low_half(get(bytes)));
    Cell { glyph: Glyph::BLANK, foreground, background, attributes, extra: low_half(get(bytes)) }
}

fn low_half(number: u32) -> u16 {
    (number & 0xffff) as u16
}

fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Reads a number. What was packed has one.
fn get(bytes: &mut impl Iterator<Item = u8>) -> u32 {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let Some(byte) = bytes.next() else { break };
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells() -> impl Strategy<Value = Cell> {
        let glyph = prop_oneof![
            4 => Just(Glyph::character('a')),
            1 => Just(Glyph::BLANK),
            1 => any::<char>().prop_filter("shown", |it| !it.is_control()).prop_map(Glyph::character),
            1 => any::<[u8; 3]>().prop_map(|bytes| Glyph::raw(&bytes)),
        ];
        let colour = prop_oneof![
            4 => Just(Colour::DEFAULT),
            1 => any::<u8>().prop_map(Colour::indexed),
            1 => any::<[u8; 3]>().prop_map(|[red, green, blue]| Colour::rgb(red, green, blue)),
        ];
        let attributes = prop_oneof![4 => Just(0), 1 => any::<u16>()].prop_map(Attributes::of_code);
        let extra = prop_oneof![4 => Just(0), 1 => any::<u16>()];
        (glyph, colour.clone(), colour, attributes, extra).prop_map(
            |(glyph, foreground, background, attributes, extra)| Cell {
                glyph,
                foreground,
                background,
                attributes,
                extra,
            },
        )
    }

    fn lines() -> impl Strategy<Value = Line> {
        // Of few different cells, so that there are runs.
        let picked = (prop::collection::vec(cells(), 1..4), prop::collection::vec(0_usize..4, 0..100));
        (picked, any::<bool>(), 0_u8..7).prop_map(|((cells, picks), wraps, size)| {
            let cells = picks.into_iter().map(|pick| cells[pick % cells.len()]).collect();
            Line { cells, wraps, size }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn packed_lines_come_back_as_they_were(lines in prop::collection::vec(lines(), 0..5)) {
            let mut packed = Vec::new();
            for line in &lines {
                pack(line, &mut packed);
            }
            let mut bytes = packed.into_iter();
            for line in &lines {
                let without_blanks = Line { cells: line.text().to_vec(), ..line.clone() };
                prop_assert_eq!(unpack(&mut bytes), without_blanks);
            }
            prop_assert_eq!(bytes.next(), None);
        }
    }

    #[test]
    fn plain_text_is_a_byte_a_character() {
        let cells = vec![Cell { glyph: Glyph::character('x'), ..Cell::default() }; 80];
        let mut packed = Vec::new();
        pack(&Line { cells, wraps: false, size: 0 }, &mut packed);
        assert!(packed.len() < 90, "{} bytes", packed.len());
    }
}
