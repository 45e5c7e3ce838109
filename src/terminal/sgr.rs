//! SGR: colours and attributes of what is written next, with subparameters (`4:3`, `38:2::1:2:3`) and without
//! (`38;2;1;2;3`).

use super::{
    cell::{Attributes, Colour},
    parser::ControlSequence,
    screen::Pen,
};

/// Changes the pen as a sequence says. Returns the underline's colour, where that was chosen too.
pub(super) fn apply(sequence: &ControlSequence, pen: &mut Pen) -> Option<Colour> {
    let mut underline = None;
    let mut parameters = sequence.parameters();
    while let Some(parameter) = parameters.next() {
        let set = match parameter[0] {
            0 => {
                pen.reset_look();
                underline = Some(Colour::DEFAULT);
                continue;
            }
            38 | 48 | 58 => {
                let colour = if parameter.len() > 1 {
                    with_subparameters(&parameter[1..])
                } else {
                    with_parameters(&mut parameters)
                };
                match (parameter[0], colour) {
                    (38, Some(colour)) => pen.cell.foreground = colour,
                    (48, Some(colour)) => pen.cell.background = colour,
                    (_, colour) => underline = colour.or(underline),
                }
                continue;
            }
            4 => {
                let style = parameter.get(1).copied().unwrap_or(1);
                if style <= 5 {
                    pen.cell.attributes = pen.cell.attributes.with_underline(style);
                }
                continue;
            }
            21 => {
                pen.cell.attributes = pen.cell.attributes.with_underline(2);
                continue;
            }
            24 => {
                pen.cell.attributes = pen.cell.attributes.with_underline(0);
                continue;
            }
            22 => {
                pen.set(Attributes::BOLD, false);
                (Attributes::DIM, false)
            }
            25 => {
                pen.set(Attributes::BLINK, false);
                (Attributes::FAST_BLINK, false)
            }
            1 => (Attributes::BOLD, true),
            2 => (Attributes::DIM, true),
            3 => (Attributes::ITALIC, true),
            5 => (Attributes::BLINK, true),
            6 => (Attributes::FAST_BLINK, true),
            7 => (Attributes::INVERSE, true),
            8 => (Attributes::HIDDEN, true),
            9 => (Attributes::STRUCK, true),
            23 => (Attributes::ITALIC, false),
            27 => (Attributes::INVERSE, false),
            28 => (Attributes::HIDDEN, false),
            29 => (Attributes::STRUCK, false),
            53 => (Attributes::OVERLINE, true),
            55 => (Attributes::OVERLINE, false),
            number @ (30..=37 | 90..=97 | 39) => {
                pen.cell.foreground = named(number, 30);
                continue;
            }
            number @ (40..=47 | 100..=107 | 49) => {
                pen.cell.background = named(number, 40);
                continue;
            }
            59 => {
                underline = Some(Colour::DEFAULT);
                continue;
            }
            _ => continue,
        };
        pen.set(set.0, set.1);
    }
    underline
}

fn named(number: u16, base: u16) -> Colour {
    let index = match number - base {
        index @ 0..=7 => index,
        index @ 60..=67 => index - 60 + 8,
        _ => return Colour::DEFAULT,
    };
    Colour::named(index.to_le_bytes()[0])
}

fn byte(value: u16) -> Option<u8> {
    u8::try_from(value).ok()
}

/// `2::r:g:b`, `2:r:g:b`, `5:n`.
fn with_subparameters(values: &[u16]) -> Option<Colour> {
    match values {
        [5, index, ..] => Some(Colour::indexed(byte(*index)?)),
        [2, red, green, blue] | [2, _, red, green, blue, ..] => {
            Some(Colour::rgb(byte(*red)?, byte(*green)?, byte(*blue)?))
        }
        _ => None,
    }
}

/// `2;r;g;b`, `5;n`.
fn with_parameters<'a>(parameters: &mut impl Iterator<Item = &'a [u16]>) -> Option<Colour> {
    let mut next = || parameters.next().map(|values| values[0]);
    match next()? {
        5 => Some(Colour::indexed(byte(next()?)?)),
        2 => {
            let (red, green, blue) = (next()?, next()?, next()?);
            Some(Colour::rgb(byte(red)?, byte(green)?, byte(blue)?))
        }
        _ => None,
    }
}
