//! The first witness: the `vt100` crate, which needs nothing else but knows less.

use fugue_server::TerminalSize;

use super::{Case, Step};

type Terminal = vt100::Parser<Unknown>;

/// A terminal that went through these steps.
fn terminal(size: TerminalSize, steps: &[Step]) -> Terminal {
    let mut parser = vt100::Parser::new_with_callbacks(size.rows(), size.cols(), 0, Unknown::default());
    for step in steps {
        match step {
            Step::Bytes(bytes) => parser.process(bytes),
            Step::Size(size) => parser.screen_mut().set_size(size.rows(), size.cols()),
        }
    }
    parser
}

fn cell(cell: &vt100::Cell) -> String {
    let text = if cell.contents().is_empty() { " " } else { cell.contents() };
    // Nobody sees how a space looks, but for its colours and lines.
    let (seen, lined) = (text != " ", cell.inverse() || cell.underline());
    let foreground = (seen || lined).then(|| cell.fgcolor());
    let looks = (cell.bold() && seen, cell.dim() && seen, cell.italic() && seen, cell.underline());
    format!("{text:?} {foreground:?} {:?} {looks:?} {}", cell.bgcolor(), cell.inverse())
}

/// What its keys send and its next character looks like.
fn modes(terminal: &Terminal) -> Vec<String> {
    let screen = terminal.screen();
    let pen = (screen.bold(), screen.dim(), screen.italic(), screen.underline(), screen.inverse());
    vec![
        format!("cursor hidden {}", screen.hide_cursor()),
        format!("alternate screen {}", screen.alternate_screen()),
        format!("cursor keys {} keypad {}", screen.application_cursor(), screen.application_keypad()),
        format!("bracketed paste {}", screen.bracketed_paste()),
        format!("mouse {:?} {:?}", screen.mouse_protocol_mode(), screen.mouse_protocol_encoding()),
        format!("pen {:?} {:?} {pen:?}", screen.fgcolor(), screen.bgcolor()),
    ]
}

fn differing(
    expected: impl IntoIterator<Item = String>,
    actual: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let differing = expected.into_iter().zip(actual).filter(|(one, other)| one != other);
    differing.map(|(one, other)| format!("{one} expected, {other} shown")).collect()
}

/// Where the two ways of a case differ; `None` if the witness can't tell, since it does not know what the program sent.
pub(super) fn judge(case: &Case) -> Option<Vec<String>> {
    let (expected, actual) = (terminal(case.size, &case.expected), terminal(case.size, &case.actual));
    if expected.callbacks().0 {
        return None;
    }
    let (one, other) = (expected.screen(), actual.screen());
    let mut differences = Vec::new();
    for (row, col) in (0..case.size.rows()).flat_map(|row| (0..case.size.cols()).map(move |col| (row, col))) {
        let (one, other) = (one.cell(row, col).unwrap(), other.cell(row, col).unwrap());
        // Cells are seldom different, and text takes far longer to compare.
        if one != other && cell(one) != cell(other) {
            let place = format!("row {} column {}", row + 1, col + 1);
            differences.push(format!("{place}: {} expected, {} shown", cell(one), cell(other)));
        }
    }
    let cursor = |screen: &vt100::Screen| format!("cursor at {:?}", screen.cursor_position());
    differences.extend(differing([cursor(one)], [cursor(other)]));
    differences.extend(differing(modes(&expected), modes(&actual)));
    Some(differences)
}

/// As [`judge`], but for what is on the screen and where the cursor is.
#[cfg(feature = "cli")]
pub(super) fn judge_modes(case: &Case) -> Vec<String> {
    differing(modes(&terminal(case.size, &case.expected)), modes(&terminal(case.size, &case.actual)))
}

/// Whether anything came that the crate does not know and that changes what is shown.
#[derive(Default)]
struct Unknown(bool);

impl vt100::Callbacks for Unknown {
    fn unhandled_escape(&mut self, _: &mut vt100::Screen, i1: Option<u8>, _: Option<u8>, byte: u8) {
        // ASCII as a character set, and the end of a string, are what it has.
        self.0 |= !matches!((i1, byte), (Some(b'('..=b'+'), b'B') | (None, b'\\'));
    }

    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        i1: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        action: char,
    ) {
        let harmless = match (i1, action) {
            // Modes of keys and reports, wrapping as it always does, the cursor's blinking.
            (Some(b'?'), 'h') => params.iter().all(|it| matches!(it, [7 | 12 | 1001..=1046 | 1050..])),
            (Some(b'?'), 'l') => {
                params.iter().all(|it| matches!(it, [3 | 5 | 12 | 45 | 69 | 1001..=1046 | 1050..]))
            }
            (None, 'l') => params.iter().all(|it| matches!(it, [4 | 20])),
            // Looks that it does not have; those written with colons it may misread.
            (None, 'm') => params.iter().all(|it| it.len() == 1),
            (Some(b'>' | b'<' | b'=' | b' '), 'm' | 'u' | 'q' | 'c' | 'f') => true,
            (_, 'n' | 'c' | 'p' | 't') => true,
            _ => false,
        };
        self.0 |= !harmless;
    }
}
