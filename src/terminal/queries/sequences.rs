//! What queries and replies look like: xterm's, and what kitty and others added.

use super::ESC;

/// What is asked for. A reply answers a query of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PrimaryAttributes,
    SecondaryAttributes,
    TertiaryAttributes,
    Version,
    Status,
    Cursor,
    ExtendedCursor,
    /// The other DEC status reports: printer, keyboard, colour scheme.
    DecStatus,
    AnsiMode,
    DecMode,
    TerminalParameters,
    KeyboardFlags,
    KeyModifiers,
    /// A report on the window, by the number that asks for it.
    Window(u16),
    /// Colour registers and the size of sixel graphics.
    SixelAttributes,
    /// A colour of the palette, whichever.
    Palette,
    /// Foreground, background, cursor and the like, by its number.
    Colour(u16),
    Clipboard,
    Setting,
    Capability,
    Graphics,
}

/// Window reports that come as strings.
const ICON_LABEL: u16 = 20;
const TITLE: u16 = 21;

/// How replies that are strings begin, after their ESC. None of these begins another.
const STRING_REPLIES: [(&[u8], Kind); 21] = [
    (b"P!|", Kind::TertiaryAttributes),
    (b"P>|", Kind::Version),
    (b"P0$r", Kind::Setting),
    (b"P1$r", Kind::Setting),
    (b"P0+r", Kind::Capability),
    (b"P1+r", Kind::Capability),
    (b"]4;", Kind::Palette),
    (b"]10;", Kind::Colour(10)),
    (b"]11;", Kind::Colour(11)),
    (b"]12;", Kind::Colour(12)),
    (b"]13;", Kind::Colour(13)),
    (b"]14;", Kind::Colour(14)),
    (b"]15;", Kind::Colour(15)),
    (b"]16;", Kind::Colour(16)),
    (b"]17;", Kind::Colour(17)),
    (b"]18;", Kind::Colour(18)),
    (b"]19;", Kind::Colour(19)),
    (b"]52;", Kind::Clipboard),
    (b"]L", Kind::Window(ICON_LABEL)),
    (b"]l", Kind::Window(TITLE)),
    (b"_G", Kind::Graphics),
];

/// What a sequence that is typed is, as far as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// It may become anything yet.
    Beginning,
    Key,
    PasteStart,
    Reply(Kind),
    /// A reply as far as its string's beginning says; the string goes on.
    StringReply(Kind),
    /// Shift-F3 and the cursor's place in the first line look the same.
    KeyOrReply(Kind),
}

/// What `sequence` is, which begins with ESC and was a [`Beginning`](Input::Beginning) without its last byte.
pub(super) fn input(sequence: &[u8]) -> Input {
    match sequence {
        [] | [ESC] | [ESC, b'['] => Input::Beginning,
        [ESC, b'[', .., before, b'0'..=b'?'] if is_intermediate(*before) => Input::Key,
        [ESC, b'[', .., b' '..=b'?'] => Input::Beginning,
        [ESC, b'[', .., b'@'..=b'~'] => Control::parse(&sequence[2..]).map_or(Input::Key, control_input),
        [ESC, string @ ..] => STRING_REPLIES
            .iter()
            .find(|(beginning, _)| beginning.starts_with(string))
            .map_or(Input::Key, |(beginning, kind)| {
                if beginning.len() == string.len() { Input::StringReply(*kind) } else { Input::Beginning }
            }),
        _ => Input::Key,
    }
}

/// What the control sequence `body`, which follows ESC [, asks for.
pub(super) fn control_query(body: &[u8]) -> Option<Kind> {
    let control = Control::parse(body)?;
    let first = control.first()?;
    Some(match (control.private, control.intermediates, control.last) {
        (b"", b"", b'c') if first == 0 => Kind::PrimaryAttributes,
        (b">", b"", b'c') if first == 0 => Kind::SecondaryAttributes,
        (b"=", b"", b'c') if first == 0 => Kind::TertiaryAttributes,
        (b">", b"", b'q') if first == 0 => Kind::Version,
        (b"", b"", b'n') if first == 5 => Kind::Status,
        (b"", b"", b'n') if first == 6 => Kind::Cursor,
        (b"?", b"", b'n') if first == 6 => Kind::ExtendedCursor,
        (b"?", b"", b'n') => Kind::DecStatus,
        (b"", b"$", b'p') => Kind::AnsiMode,
        (b"?", b"$", b'p') => Kind::DecMode,
        (b"", b"", b'x') => Kind::TerminalParameters,
        (b"?", b"", b'u') => Kind::KeyboardFlags,
        (b"?", b"", b'm') => Kind::KeyModifiers,
        (b"", b"", b't') if matches!(first, 11 | 13..=16 | 18..=21) => Kind::Window(first),
        (b"?", b"", b'S') => Kind::SixelAttributes,
        _ => return None,
    })
}

/// Calls `note` for each query in a string that ESC and `introducer` began. One string may ask for many things, and
/// each is answered by a reply of its own.
pub(super) fn string_queries(introducer: u8, body: &[u8], note: &mut impl FnMut(Kind)) {
    match (introducer, body) {
        (b'P', [b'$', b'q', ..]) => note(Kind::Setting),
        (b'P', [b'+', b'q', names @ ..]) => names.split(is_separator).for_each(|_| note(Kind::Capability)),
        (b'_', [b'G', command @ ..]) => {
            // What follows the first semicolon is an image.
            let keys = command.split(is_separator).next().unwrap_or_default();
            let has = |wanted: &[u8]| keys.split(|byte| *byte == b',').any(|key| key.starts_with(wanted));
            // A terminal also says what became of an image that has a name, unless told to be quiet.
            if (has(b"a=q") || has(b"i=") || has(b"I=")) && !has(b"q=2") {
                note(Kind::Graphics);
            }
        }
        (b']', body) => {
            let mut parts = body.split(is_separator);
            let Some(command) = parts.next().and_then(number) else { return };
            let asked = parts.enumerate().filter(|(_, part)| *part == b"?").map(|(place, _)| place);
            match command {
                // Pairs of a number and a colour.
                4 => asked.filter(|place| place % 2 == 1).for_each(|_| note(Kind::Palette)),
                // Colours, the first for this number and each other for the next.
                10..=19 => (command..=19)
                    .zip(0..)
                    .filter(|(_, place)| asked.clone().any(|asked| asked == *place))
                    .for_each(|(number, _)| note(Kind::Colour(number))),
                52 => asked.filter(|place| *place == 1).for_each(|_| note(Kind::Clipboard)),
                _ => {}
            }
        }
        _ => {}
    }
}

fn control_input(control: Control<'_>) -> Input {
    let first = control.first().unwrap_or(u16::MAX);
    let has_parameters = !control.parameters.is_empty();
    Input::Reply(match (control.private, control.intermediates, control.last) {
        (b"", b"", b'~') if control.parameters == b"200" => return Input::PasteStart,
        (b"?", b"", b'c') => Kind::PrimaryAttributes,
        (b">", b"", b'c') => Kind::SecondaryAttributes,
        (b"", b"", b'n') if matches!(control.parameters, b"0" | b"3") => Kind::Status,
        (b"", b"", b'R') => {
            let mut numbers = control.parameters.split(is_separator).map(number);
            return match (numbers.next().flatten(), numbers.next().flatten(), numbers.next()) {
                (Some(1), Some(2..=16), None) => Input::KeyOrReply(Kind::Cursor),
                (Some(_), Some(_), None) => Input::Reply(Kind::Cursor),
                _ => Input::Key,
            };
        }
        (b"?", b"", b'R') => Kind::ExtendedCursor,
        (b"?", b"", b'n') => Kind::DecStatus,
        // With one parameter it is a shifted key of rxvt's and the letter that was typed next.
        (b"", b"$", b'y') if control.parameters.contains(&b';') => Kind::AnsiMode,
        (b"?", b"$", b'y') if control.parameters.contains(&b';') => Kind::DecMode,
        (b"", b"", b'x') if has_parameters => Kind::TerminalParameters,
        (b"?", b"", b'u') if has_parameters => Kind::KeyboardFlags,
        (b">", b"", b'm') if has_parameters => Kind::KeyModifiers,
        (b"", b"", b't') => match first {
            1 | 2 => Kind::Window(11),
            3..=6 | 8 | 9 => Kind::Window(first + 10),
            _ => return Input::Key,
        },
        (b"?", b"", b'S') => Kind::SixelAttributes,
        _ => return Input::Key,
    })
}

/// A control sequence, taken apart.
struct Control<'a> {
    private: &'a [u8],
    parameters: &'a [u8],
    intermediates: &'a [u8],
    last: u8,
}

impl<'a> Control<'a> {
    /// Takes apart what follows ESC [. `None` where a part is out of its place, and with subparameters: neither
    /// queries nor replies have them, and kitty's keys do.
    fn parse(body: &'a [u8]) -> Option<Self> {
        let (last, body) = body.split_last()?;
        let is_private = |byte: &u8| matches!(byte, b'<'..=b'?');
        let private = body.iter().take_while(|byte| is_private(byte)).count();
        let (private, body) = body.split_at(private);
        let intermediates = body.iter().rev().take_while(|byte| is_intermediate(**byte)).count();
        let (parameters, intermediates) = body.split_at(body.len() - intermediates);
        let is_parameter = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
        let in_place = parameters.iter().all(is_parameter);
        in_place.then_some(Self { private, parameters, intermediates, last: *last })
    }

    /// The first parameter, which is 0 when left out; `None` if it is more than any that is known.
    fn first(&self) -> Option<u16> {
        match self.parameters.split(is_separator).next() {
            None | Some([]) => Some(0),
            Some(digits) => number(digits),
        }
    }
}

fn is_intermediate(byte: u8) -> bool {
    matches!(byte, b' '..=b'/')
}

fn is_separator(byte: &u8) -> bool {
    *byte == b';'
}

/// `None` for anything but digits, and for a number that does not fit.
fn number(text: &[u8]) -> Option<u16> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
