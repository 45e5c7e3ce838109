//! What a mouse reports, in the forms that terminals have for it, and its way from a picture into the session.

use super::control::Control;
use crate::TerminalSize;

/// What a terminal that is sent pictures shows of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The session's row and column that the terminal shows first, from 0.
    pub(crate) top: u16,
    pub(crate) left: u16,
    /// The session's size.
    pub(crate) of: TerminalSize,
}

/// What a mouse reported: a button, or several bits of it, and a character's place from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mouse {
    form: MouseForm,
    button: u16,
    column: u16,
    row: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MouseForm {
    /// `CSI < b ; x ; y M`, and `m` where the button was released.
    Sgr { released: bool },
    /// `CSI b ; x ; y M`.
    Urxvt,
    /// `CSI M` and three bytes.
    X10,
    /// `CSI M` and three characters in UTF-8.
    Utf8,
}

/// What is added to numbers where they are characters or, in urxvt's form, to the button.
const OFFSET: u16 = 32;

const MOTION: u16 = 32;
const WHEEL: u16 = 64;

/// What a mouse did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// A button, or the wheel.
    Press {
        wheel: bool,
    },
    Release,
    Motion,
}

impl Mouse {
    pub(super) fn parse(control: &Control<'_>) -> Option<Self> {
        let mut numbers = control.numbers();
        let (button, column, row) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let form = match (control.private, control.intermediates, control.last, numbers.next()) {
            (b"<", b"", b'M', None) => MouseForm::Sgr { released: false },
            (b"<", b"", b'm', None) => MouseForm::Sgr { released: true },
            (b"", b"", b'M', None) => MouseForm::Urxvt,
            _ => return None,
        };
        let button = if form == MouseForm::Urxvt { button.checked_sub(OFFSET)? } else { button };
        Some(Self { form, button, column, row })
    }

    /// The oldest form, from what follows `CSI M`: `None` where that is not all yet, and `Some(None)` for what is none.
    pub(super) fn parse_x10(bytes: &[u8], is_utf8: bool) -> Option<Option<Self>> {
        let numbers: Vec<u16> = if is_utf8 {
            let text = match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) if error.error_len().is_none() => return None,
                Err(_) => return Some(None),
            };
            text.chars().map(|character| u16::try_from(u32::from(character)).unwrap_or(u16::MAX)).collect()
        } else {
            bytes.iter().map(|byte| u16::from(*byte)).collect()
        };
        let [button, column, row] = numbers[..] else { return None };
        let form = if is_utf8 { MouseForm::Utf8 } else { MouseForm::X10 };
        let number = |character: u16| character.checked_sub(OFFSET);
        let mouse =
            || Some(Self { form, button: number(button)?, column: number(column)?, row: number(row)? });
        Some(mouse())
    }

    pub(super) fn did(&self) -> Did {
        let is_released = match self.form {
            MouseForm::Sgr { released } => released,
            _ => self.button & 3 == 3 && self.button & (MOTION | WHEEL) == 0,
        };
        match self.button {
            _ if is_released => Did::Release,
            button if button & MOTION != 0 => Did::Motion,
            button => Did::Press { wheel: button & WHEEL != 0 },
        }
    }

    /// Where this is in the session of which a terminal shows a part. What lies outside of the session is `None`; with
    /// a button held since within, it is at the edge.
    pub(super) fn within(self, part: Part, is_held: bool) -> Option<Self> {
        let place = |number: u16, offset: u16, last: u16| {
            let place = u32::from(number) + u32::from(offset);
            let place = if is_held { place.clamp(1, last.into()) } else { place };
            u16::try_from(place).ok().filter(|place| (1..=last).contains(place))
        };
        let column = place(self.column, part.left, part.of.cols())?;
        let row = place(self.row, part.top, part.of.rows())?;
        Some(Self { column, row, ..self })
    }

    /// As typed; `None` where the form has no word for it.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let Self { form, button, column, row } = *self;
        Some(match form {
            MouseForm::Sgr { released } => {
                format!("\x1b[<{button};{column};{row}{}", if released { 'm' } else { 'M' }).into()
            }
            MouseForm::Urxvt => format!("\x1b[{};{column};{row}M", button + OFFSET).into(),
            MouseForm::X10 => {
                let mut bytes = b"\x1b[M".to_vec();
                for number in [button, column, row] {
                    bytes.push(u8::try_from(number + OFFSET).ok()?);
                }
                bytes
            }
            MouseForm::Utf8 => {
                let mut text = "\x1b[M".to_owned();
                for number in [button, column, row] {
                    text.push(
                        char::from_u32(u32::from(number) + u32::from(OFFSET)).filter(|c| *c < '\u{800}')?,
                    );
                }
                text.into()
            }
        })
    }
}
