//! What a model answers when a program asks its terminal something. `None` leaves a question to a person's terminal.
//!
//! A session is a terminal of its own: a VT220 with colours that knows xterm's sequences. It does not say that it has
//! what only some of the terminals that show it have: margins at the sides, rectangles, pictures, other keyboards.

use super::{
    modes::{self, Number},
    parser::{ControlSequence, Parser, Perform},
    screen::Pen,
    settings::{ColourName, Settings},
    state::TerminalState,
};

/// Modes that are kept, but that a terminal may lack: a program is not to rely on them.
const NOT_OFFERED: [u16; 6] = [69, 1016, 2027, 9001, 1047, 47];

/// The reply to a question, which is a whole sequence; empty where it is known to have none.
pub(super) fn answer(state: &TerminalState, question: &[u8]) -> Option<Vec<u8>> {
    let mut asked = PendingReply { state, reply: None };
    Parser::default().advance(question, &mut asked);
    asked.reply
}

struct PendingReply<'a> {
    state: &'a TerminalState,
    reply: Option<Vec<u8>>,
}

impl Perform for PendingReply<'_> {
    fn print(&mut self, _: &str) {}
    fn print_invalid(&mut self, _: &[u8]) {}
    fn control(&mut self, _: u8) {}

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        if (intermediates, last) == (&[], b'Z') {
            self.reply = Some(PRIMARY.to_vec());
        }
    }

    fn control_sequence(&mut self, sequence: &ControlSequence) {
        self.reply = control_sequence(self.state, sequence);
    }

    fn string(&mut self, introducer: u8, contents: &[u8]) {
        self.reply = match introducer {
            b']' => std::str::from_utf8(contents).ok().and_then(|text| colours(&self.state.settings, text)),
            b'P' => device_control(self.state, contents),
            _ => None,
        };
    }
}

/// DA1: a VT220 with ANSI's colours.
const PRIMARY: &[u8] = b"\x1b[?62;22c";

fn control_sequence(state: &TerminalState, sequence: &ControlSequence) -> Option<Vec<u8>> {
    let first = sequence.parameter(0, 0);
    let (rows, columns) = (state.rows(), state.columns());
    let (line, column) = state.relative(state.cursor.line, state.cursor.column);
    let reply = match (sequence.private, sequence.intermediates(), sequence.last) {
        // DA1, DA2 and DA3. The second one's version is that of an xterm which knows what this knows.
        (0, [], b'c') if first == 0 => PRIMARY.to_vec(),
        (b'>', [], b'c') if first == 0 => b"\x1b[>41;354;0c".to_vec(),
        (b'=', [], b'c') if first == 0 => b"\x1bP!|00000000\x1b\\".to_vec(),
        // XTVERSION.
        (b'>', [], b'q') if first == 0 => {
            concat!("\x1bP>|fugue-server ", env!("CARGO_PKG_VERSION"), "\x1b\\").as_bytes().to_vec()
        }
        // DSR: the terminal is well; CPR and DECXCPR: where the cursor is.
        (0, [], b'n') if first == 5 => b"\x1b[0n".to_vec(),
        (0, [], b'n') if first == 6 => format!("\x1b[{};{}R", line + 1, column + 1).into_bytes(),
        (b'?', [], b'n') => match first {
            6 => format!("\x1b[?{};{};1R", line + 1, column + 1).into_bytes(),
            // No printer, no keys of one's own, a keyboard of North America, no locator, no macros, all is well.
            15 => b"\x1b[?13n".to_vec(),
            25 => b"\x1b[?20n".to_vec(),
            26 => b"\x1b[?27;1;0;0n".to_vec(),
            53 | 55 => b"\x1b[?50n".to_vec(),
            56 => b"\x1b[?57;0n".to_vec(),
            62 => b"\x1b[0*{".to_vec(),
            75 => b"\x1b[?70n".to_vec(),
            _ => return None,
        },
        // DECRQM.
        (private @ (0 | b'?'), [b'$'], b'p') => {
            let (number, mark) =
                if private == 0 { (Number::Ansi(first), "") } else { (Number::Private(first), "?") };
            format!("\x1b[{mark}{first};{}$y", mode(state, number)).into_bytes()
        }
        // DECREQTPARM.
        (0, [], b'x') if first <= 1 => format!("\x1b[{};1;1;128;128;1;0x", first + 2).into_bytes(),
        // DECRQDE: what of the page is shown.
        (0, [b'"'], b'v') => format!("\x1b[{rows};{columns};1;1;1\"w").into_bytes(),
        // DECRQCRA is not offered: its checksums would tell what is on the screen.
        (0, [b'*'], b'y') => Vec::new(),
        (0, [], b't') => return window(first, rows, columns),
        // In-band reports of the size begin with one.
        (b'?', [], b'h') if sequence.numbers().any(|number| number == 2048) => {
            format!("\x1b[48;{rows};{columns};0;0t").into_bytes()
        }
        _ => return None,
    };
    Some(reply)
}

/// XTWINOPS. Sizes in pixels are the terminal's to say. Titles are not told: what a program wrote there would be typed.
fn window(what: u16, rows: usize, columns: usize) -> Option<Vec<u8>> {
    Some(match what {
        11 => b"\x1b[1t".to_vec(),
        13 => b"\x1b[3;0;0t".to_vec(),
        18 => format!("\x1b[8;{rows};{columns}t").into_bytes(),
        19 => format!("\x1b[9;{rows};{columns}t").into_bytes(),
        20 => b"\x1b]L\x1b\\".to_vec(),
        21 => b"\x1b]l\x1b\\".to_vec(),
        _ => return None,
    })
}

/// DECRQM's words: 1 set, 2 reset, 0 not recognised.
fn mode(state: &TerminalState, number: Number) -> u8 {
    let is_offered = !matches!(number, Number::Private(number) if NOT_OFFERED.contains(&number));
    match modes::index_of(number).filter(|_| is_offered) {
        Some(row) if state.is_set(row) => 1,
        Some(_) => 2,
        None => 0,
    }
}

fn device_control(state: &TerminalState, contents: &[u8]) -> Option<Vec<u8>> {
    if let Some(setting) = contents.strip_prefix(b"$q") {
        return Some(match self::setting(state, setting) {
            Some(value) => [b"\x1bP1$r", &*value, b"\x1b\\"].concat(),
            None => b"\x1bP0$r\x1b\\".to_vec(),
        });
    }
    let names = contents.strip_prefix(b"+q")?;
    // XTGETTCAP: each name is answered by itself.
    let mut reply = Vec::new();
    for name in names.split(|byte| *byte == b';') {
        let value = match decode_hex(name).as_deref() {
            Some(b"TN" | b"name") => Some("xterm-256color"),
            Some(b"Co" | b"colors") => Some("256"),
            Some(b"RGB") => Some("8/8/8"),
            _ => None,
        };
        let name = String::from_utf8_lossy(name);
        match value {
            Some(value) => {
                put!(reply, "\x1bP1+r{name}=");
                value.bytes().for_each(|byte| put!(reply, "{byte:02X}"));
                put!(reply, "\x1b\\");
            }
            // What is no name is not said again.
            None if name.bytes().all(|byte| byte.is_ascii_hexdigit()) => put!(reply, "\x1bP0+r{name}\x1b\\"),
            None => put!(reply, "\x1bP0+r\x1b\\"),
        }
    }
    Some(reply)
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let pairs = text.chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// DECRQSS: a setting as the sequence that would set it, without its introducer.
fn setting(state: &TerminalState, setting: &[u8]) -> Option<Vec<u8>> {
    let text = match setting {
        b"m" => return Some(look(&state.pen, state)),
        b"r" => format!("{};{}r", state.top + 1, state.bottom),
        b"s" => format!("{};{}s", state.left + 1, state.right),
        b" q" => format!("{} q", state.settings.cursor_style.unwrap_or(0)),
        b"\"q" => {
            format!("{}\"q", u8::from(state.pen.cell.attributes.has(super::cell::Attributes::PROTECTED)))
        }
        b"\"p" => "62;1\"p".to_owned(),
        b"*x" => format!("{}*x", state.settings.attribute_extent),
        b"t" => format!("{}t", state.rows()),
        b"$|" => format!("{}$|", state.columns()),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn look(pen: &Pen, state: &TerminalState) -> Vec<u8> {
    let mut out = Vec::new();
    super::redraw::look(&mut out, &pen.cell, state.extras.get(pen.cell.extra).underline);
    // Without its introducer.
    out.split_off(2)
}

/// Colours that the program set itself; the terminal's own are the terminal's to say.
fn colours(settings: &Settings, command: &str) -> Option<Vec<u8>> {
    let (number, rest) = command.split_once(';')?;
    let number: u16 = number.parse().ok()?;
    let mut reply = Vec::new();
    let mut put = |what: String, name: ColourName| {
        let colour = normalised(settings.colours.get(&name)?.as_deref()?)?;
        put!(reply, "\x1b]{what};{colour}\x1b\\");
        Some(())
    };
    let parts: Vec<&str> = rest.split(';').collect();
    match number {
        4 | 5 => {
            for pair in parts.chunks(2) {
                let [index, "?"] = pair else { return None };
                let index: u16 = index.parse().ok()?;
                let name = if number == 4 && index < 256 {
                    ColourName::Palette(index)
                } else {
                    ColourName::Special(index)
                };
                put(format!("{number};{index}"), name)?;
            }
        }
        10..=19 => {
            for (number, part) in (number..=19).zip(parts) {
                if part != "?" {
                    return None;
                }
                put(number.to_string(), ColourName::Dynamic(number))?;
            }
        }
        _ => return None,
    }
    Some(reply)
}

/// A colour as terminals report it, `rgb:rrrr/gggg/bbbb`; of the names that X11 has, none is known here.
fn normalised(colour: &str) -> Option<String> {
    let widen = |digits: &str| {
        let value = u32::from_str_radix(digits, 16).ok()?;
        let most = (1_u32 << (4 * digits.len())) - 1;
        (1..=4).contains(&digits.len()).then(|| value * 0xffff / most)
    };
    let parts: Vec<&str> = if let Some(parts) = colour.strip_prefix("rgb:") {
        parts.split('/').collect()
    } else {
        let digits = colour.strip_prefix('#').filter(|digits| digits.is_ascii())?;
        let length = digits.len() / 3;
        if !(1..=4).contains(&length) || digits.len() != 3 * length {
            return None;
        }
        vec![&digits[..length], &digits[length..2 * length], &digits[2 * length..]]
    };
    let [red, green, blue] = parts[..] else { return None };
    Some(format!("rgb:{:04x}/{:04x}/{:04x}", widen(red)?, widen(green)?, widen(blue)?))
}
