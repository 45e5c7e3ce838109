//! The first witness: the `vt100` crate, which needs nothing else but knows less.

use fugue_server::TerminalSize;

use super::{Case, Step};

/// What the terminal shows and what its keys send, line by line, and whether it was told something that it does not know.
fn shown(size: TerminalSize, steps: &[Step]) -> (Vec<String>, bool) {
    let mut parser = vt100::Parser::new_with_callbacks(size.rows(), size.cols(), 0, Unknown::default());
    for step in steps {
        match step {
            Step::Bytes(bytes) => parser.process(bytes),
            Step::Size(size) => parser.screen_mut().set_size(size.rows(), size.cols()),
        }
    }
    let screen = parser.screen();
    let (rows, cols) = screen.size();
    let cell = |row, col| {
        let cell = screen.cell(row, col).unwrap();
        let text = if cell.contents().is_empty() { " " } else { cell.contents() };
        // Nobody sees how a space looks, but for its colours and lines.
        let (seen, lined) = (text != " ", cell.inverse() || cell.underline());
        let foreground = (seen || lined).then(|| cell.fgcolor());
        let looks = (cell.bold() && seen, cell.dim() && seen, cell.italic() && seen, cell.underline());
        format!("{text:?} {foreground:?} {:?} {looks:?} {}", cell.bgcolor(), cell.inverse())
    };
    let mut state: Vec<_> = (0..rows)
        .flat_map(|row| (0..cols).map(move |col| (row, col)))
        .map(|(row, col)| format!("row {} column {}: {}", row + 1, col + 1, cell(row, col)))
        .collect();
    state.push(format!("cursor at {:?}", screen.cursor_position()));
    state.push(format!("cursor hidden {}", screen.hide_cursor()));
    state.push(format!("alternate screen {}", screen.alternate_screen()));
    state.push(format!("cursor keys {} keypad {}", screen.application_cursor(), screen.application_keypad()));
    state.push(format!("bracketed paste {}", screen.bracketed_paste()));
    state.push(format!("mouse {:?} {:?}", screen.mouse_protocol_mode(), screen.mouse_protocol_encoding()));
    let pen = (screen.bold(), screen.dim(), screen.italic(), screen.underline(), screen.inverse());
    state.push(format!("pen {:?} {:?} {pen:?}", screen.fgcolor(), screen.bgcolor()));
    (state, parser.callbacks().0)
}

/// Where the two ways of a case differ; `None` if the witness can't tell, since it does not know what the program sent.
pub(super) fn judge(case: &Case) -> Option<Vec<String>> {
    let (expected, is_unknown) = shown(case.size, &case.expected);
    if is_unknown {
        return None;
    }
    let (actual, _) = shown(case.size, &case.actual);
    let differences = expected.iter().zip(&actual).filter(|(one, other)| one != other);
    Some(differences.map(|(one, other)| format!("{one} expected, {other} shown")).collect())
}

/// As [`judge`], but for what is on the screen and where the cursor is.
#[cfg(feature = "cli")]
pub(super) fn judge_modes(case: &Case) -> Vec<String> {
    let modes = |steps| {
        let (state, _) = shown(case.size, steps);
        state.into_iter().filter(|line| !line.starts_with("row ") && !line.starts_with("cursor at "))
    };
    let differing = modes(&case.expected).zip(modes(&case.actual)).filter(|(one, other)| one != other);
    differing.map(|(one, other)| format!("{one} expected, {other} shown")).collect()
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
