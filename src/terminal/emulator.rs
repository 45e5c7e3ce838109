//! The model that comes with this crate: parser, state, and what spares it text that nobody will see.

use std::{fmt, sync::Arc};

use super::{
    TerminalSize, answers,
    cell::Cell,
    history::ScrolledLines,
    model::{MakeModel, Picture, ScreenModel},
    modes,
    pack::{pack, unpack},
    parser::Parser,
    redraw, resize,
    skip::{ScrollSkipper, Sink},
    state::TerminalState,
};

/// The fewest columns the emulator works with: it has to have room for a wide character.
const MIN_COLUMNS: u16 = 2;

/// Lines of history that are kept, unless told otherwise.
pub(crate) const DEFAULT_SCROLLBACK: usize = 1000;

/// Makes the model that comes with this crate, which keeps so many lines of what scrolls off its top.
pub(crate) fn emulator(scrollback: usize) -> MakeModel {
    Arc::new(move |size| {
        let mut emulator = Emulator::with_history(size, scrollback);
        // Most sessions wait long before they print, or print little.
        emulator.rest();
        Box::new(emulator)
    })
}

/// A terminal of one size, as the bytes so far have left it.
pub(crate) struct Emulator {
    pub(super) state: TerminalState,
    pub(super) parser: Parser,
    skipper: ScrollSkipper,
    /// The lines of both screens, packed, while nothing happens to them; and how many a screen has.
    resting: Option<(usize, Vec<u8>)>,
}

fn columns(size: TerminalSize) -> usize {
    size.cols().max(MIN_COLUMNS).into()
}

impl Emulator {
    /// With a history of at most so many lines.
    pub(crate) fn with_history(size: TerminalSize, lines: usize) -> Self {
        let state = TerminalState::new(size.rows().into(), columns(size), lines);
        Self { state, parser: Parser::default(), skipper: ScrollSkipper::default(), resting: None }
    }

    /// Its state, with the lines of its screens.
    fn wake(&mut self) -> &mut TerminalState {
        if let Some((rows, packed)) = self.resting.take() {
            let columns = self.state.columns();
            let mut bytes = packed.into_iter();
            for screen in &mut self.state.screens {
                screen.grid.lines.extend((0..rows).map(|_| {
                    let mut line = unpack(&mut bytes);
                    line.cells.resize(columns, Cell::default());
                    line
                }));
            }
        }
        &mut self.state
    }
}

#[cfg(all(any(test, fuzzing), feature = "cli"))]
impl Emulator {
    pub(crate) fn new(size: TerminalSize) -> Self {
        Self::with_history(size, DEFAULT_SCROLLBACK)
    }

    /// Shows output without sparing the model anything.
    pub(super) fn feed_all(&mut self, output: &[u8]) {
        self.parser.advance(output, &mut self.state);
    }
}

impl ScreenModel for Emulator {
    fn advance(&mut self, output: &[u8]) {
        self.wake();
        let Self { state, parser, skipper, .. } = self;
        skipper.advance(output, &mut Parsed { state, parser });
    }

    fn resize(&mut self, size: TerminalSize) {
        resize::resize(self.wake(), size.rows().into(), columns(size));
    }

    fn redraw(&mut self) -> Vec<u8> {
        self.redraw_with_history(0)
    }

    fn redraw_with_history(&mut self, lines: usize) -> Vec<u8> {
        self.wake();
        redraw::whole(&mut self.state, &self.parser, lines)
    }

    fn scrolled(&self) -> u64 {
        self.state.history.arrived()
    }

    fn rest(&mut self) {
        let rows = self.wake().rows();
        let mut packed = Vec::new();
        for screen in &mut self.state.screens {
            std::mem::take(&mut screen.grid.lines).iter().for_each(|line| pack(line, &mut packed));
        }
        packed.shrink_to_fit();
        self.state.history.shrink();
        self.resting = Some((rows, packed));
    }

    fn picture(&mut self, size: TerminalSize) -> Picture {
        redraw::picture(self.wake(), size)
    }

    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        answers::answer(self.wake(), question)
    }

    fn title(&self) -> Option<&str> {
        self.state.settings.titles.window.as_deref().filter(|title| !title.is_empty())
    }

    fn mode(&self, private: bool, number: u16) -> bool {
        let number = if private { modes::Number::Private(number) } else { modes::Number::Ansi(number) };
        modes::index_of(number).is_some_and(|row| self.state.is_set(row))
    }
}

/// The parser and what it drives, borrowed apart from the scan for what is seen.
struct Parsed<'a> {
    state: &'a mut TerminalState,
    parser: &'a mut Parser,
}

impl Sink for Parsed<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(bytes, self.state);
    }

    fn scrolling_rows(&self) -> Option<usize> {
        let state = &*self.state;
        let is_usual = state.margins() == state.grid().whole()
            && state.is_set(modes::DECAWM)
            && !state.is_set(modes::IRM)
            && !state.is_set(modes::REVERSE_WRAP)
            && state.charsets.is_plain();
        is_usual.then(|| state.rows())
    }

    fn history_lines(&self) -> usize {
        if self.state.settings.screen() == 0 { self.state.history.max_lines() } else { 0 }
    }

    fn skip(&mut self, text: &[u8]) {
        let TerminalState { screens: [first, _], history, cursor, pen, .. } = &mut *self.state;
        let above = first.grid.lines.range(..cursor.line);
        ScrolledLines::push_unread(history, above, *pen, text);
    }

    fn resume(&mut self) {
        let (columns, line) = (self.state.columns(), self.state.cursor.line);
        let blank = self.state.pen.blank();
        self.state.grid_mut().erase(line, 0, columns, blank, |_| false);
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("rows", &self.state.rows()).finish_non_exhaustive()
    }
}
