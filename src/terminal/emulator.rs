//! The model itself: `alacritty_terminal`, with what it keeps to itself tracked beside it.
//!
//! Of the emulators measured it is the fastest by far. It has no dump of its own and hides its scroll region, character
//! set and tab stops, which a redraw must restore; so its handler is wrapped, and those calls are noted on their way.

use std::{collections::BTreeMap, fmt, time::Duration};

use alacritty_terminal::{
    event::VoidListener,
    grid::Dimensions,
    term::{Config, Term, TermMode},
    vte::ansi::{
        Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
        KeyboardModesApplyBehavior, LineClearMode, Mode, ModifyOtherKeys, NamedPrivateMode, PrivateMode,
        Processor, Rgb, StandardCharset, TabulationClearMode, Timeout,
    },
};

use super::{
    Picture, ScreenModel, TerminalSize, redraw,
    skip::{Feed, ScrollSkipper},
};

/// Combining characters on one character. No script needs more, and without a bound they would fill the memory.
const MAX_COMBINING: usize = 8;

/// The longest title that is kept, in bytes, and how deep keyboard modes stack up.
const MAX_TITLE: usize = 4096;
const MAX_KEYBOARD_MODES: usize = 64;

/// The fewest columns the emulator works with: it has to have room for a wide character.
const MIN_COLUMNS: u16 = 2;

/// Private modes that the emulator does not know and a redraw restores: reverse video, the oldest mouse mode, two mouse
/// encodings, notices of a changed colour scheme.
const OTHER_MODES: [u16; 5] = [5, 9, 1015, 1016, 2031];

/// A terminal of one size, as the bytes so far have left it.
pub(crate) struct Emulator {
    pub(super) screen: Tracked,
    parser: Processor<Unsynchronised>,
    skipper: ScrollSkipper,
}

/// The emulator, and what it hides.
pub(super) struct Tracked {
    pub(super) term: Term<VoidListener>,
    /// The lines that scroll, the first and the one after the last; `None` for all of them.
    pub(super) region: Option<(usize, usize)>,
    pub(super) charset: CharsetIndex,
    /// Tab stops, once they are not every eight columns.
    pub(super) tabs: Option<Vec<bool>>,
    /// [`OTHER_MODES`] that are set.
    pub(super) other_modes: BTreeMap<u16, bool>,
    pub(super) title: Option<String>,
    /// Kitty's keyboard modes, the newest last; and whether any were ever set.
    pub(super) keyboard: Vec<KeyboardModes>,
    pub(super) keyboard_used: bool,
    pub(super) modify_other_keys: Option<ModifyOtherKeys>,
    /// Whether a colour of the palette was ever changed.
    pub(super) colors_used: bool,
}

/// Synchronised updates are applied as they come: a redraw shows all that was printed.
#[derive(Default)]
struct Unsynchronised;

impl Timeout for Unsynchronised {
    fn set_timeout(&mut self, _: Duration) {}
    fn clear_timeout(&mut self) {}
    fn pending_timeout(&self) -> bool {
        false
    }
}

/// A size the emulator works with.
struct Room(TerminalSize);

impl Dimensions for Room {
    fn total_lines(&self) -> usize {
        self.0.rows().into()
    }

    fn screen_lines(&self) -> usize {
        self.0.rows().into()
    }

    fn columns(&self) -> usize {
        self.0.cols().max(MIN_COLUMNS).into()
    }
}

impl Emulator {
    pub(crate) fn new(size: TerminalSize) -> Self {
        // A shape that no program can choose stands for none having been chosen.
        let default_cursor_style = CursorStyle { shape: CursorShape::HollowBlock, blinking: false };
        let config = Config { scrolling_history: 0, default_cursor_style, ..Config::default() };
        let screen = Tracked {
            term: Term::new(config, &Room(size), VoidListener),
            region: None,
            charset: CharsetIndex::G0,
            tabs: None,
            other_modes: BTreeMap::new(),
            title: None,
            keyboard: Vec::new(),
            keyboard_used: false,
            modify_other_keys: None,
            colors_used: false,
        };
        Self { screen, parser: Processor::new(), skipper: ScrollSkipper::default() }
    }
}

#[cfg(any(test, fuzzing))]
impl Emulator {
    /// Shows output without sparing the model anything.
    pub(super) fn feed_all(&mut self, output: &[u8]) {
        self.parser.advance(&mut self.screen, output);
    }
}

impl ScreenModel for Emulator {
    fn advance(&mut self, output: &[u8]) {
        let Self { screen, parser, skipper } = self;
        skipper.advance(output, &mut Parsed { screen, parser });
    }

    fn resize(&mut self, size: TerminalSize) {
        self.screen.term.resize(Room(size));
        self.screen.region = None;
        if let Some(tabs) = &mut self.screen.tabs {
            tabs.resize(size.cols().max(MIN_COLUMNS).into(), false);
        }
    }

    fn redraw(&mut self) -> Vec<u8> {
        redraw::whole(&mut self.screen)
    }

    fn picture(&mut self, size: TerminalSize) -> Picture {
        redraw::picture(&self.screen, size)
    }
}

/// The parser and what it drives, borrowed apart from the scan for what is visible.
struct Parsed<'a> {
    screen: &'a mut Tracked,
    parser: &'a mut Processor<Unsynchronised>,
}

impl Feed for Parsed<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        // The rest of a character that was cut goes in by single bytes: given more, the parser may lose what follows it.
        let rest = bytes.iter().take(3).take_while(|byte| matches!(byte, 0x80..0xc0)).count();
        let (rest, bytes) = bytes.split_at(rest);
        for byte in rest {
            self.parser.advance(self.screen, &[*byte]);
        }
        self.parser.advance(self.screen, bytes);
    }

    fn scrolling_rows(&self) -> Option<usize> {
        self.screen.region.is_none().then(|| self.screen.term.screen_lines())
    }
}

impl Tracked {
    fn column(&self) -> usize {
        self.term.grid().cursor.point.column.0
    }

    fn tabs_mut(&mut self) -> &mut Vec<bool> {
        let columns = self.term.columns();
        self.tabs.get_or_insert_with(|| (0..columns).map(|column| column % 8 == 0).collect())
    }

    /// Whether a combining character finds its character full already.
    fn is_full(&self) -> bool {
        let grid = self.term.grid();
        let point = grid.cursor.point;
        let before = point.column.saturating_sub(if grid.cursor.input_needs_wrap { 0 } else { 1 });
        // A wide character's second half passes it on to the first.
        [before, before.saturating_sub(1)].iter().any(|column| {
            let cell = &grid[point.line][alacritty_terminal::index::Column(*column)];
            cell.zerowidth().is_some_and(|marks| marks.len() >= MAX_COMBINING)
        })
    }

    fn set_other_mode(&mut self, mode: u16, set: bool) {
        if OTHER_MODES.contains(&mode) {
            if set {
                self.other_modes.insert(mode, true);
            } else {
                self.other_modes.remove(&mode);
            }
        }
    }
}

/// Passes calls on as they are.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $name(&mut self, $($argument: $type),*) {
            self.term.$name($($argument),*);
        })*
    };
}

impl Handler for Tracked {
    pass_on! {
        set_cursor_style(style: Option<CursorStyle>);
        set_cursor_shape(shape: CursorShape);
        goto(line: i32, column: usize);
        goto_line(line: i32);
        goto_col(column: usize);
        insert_blank(count: usize);
        move_up(rows: usize);
        move_down(rows: usize);
        move_forward(columns: usize);
        move_backward(columns: usize);
        move_down_and_cr(rows: usize);
        move_up_and_cr(rows: usize);
        put_tab(count: u16);
        backspace();
        carriage_return();
        substitute();
        newline();
        scroll_up(rows: usize);
        scroll_down(rows: usize);
        insert_blank_lines(count: usize);
        delete_lines(count: usize);
        erase_chars(count: usize);
        delete_chars(count: usize);
        move_backward_tabs(count: u16);
        move_forward_tabs(count: u16);
        save_cursor_position();
        restore_cursor_position();
        clear_line(mode: LineClearMode);
        clear_screen(mode: ClearMode);
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        reset_color(index: usize);
        decaln();
        set_hyperlink(link: Option<Hyperlink>);
    }

    fn input(&mut self, character: char) {
        let combines = character >= '\u{300}'
            && unicode_width::UnicodeWidthChar::width(character) == Some(0)
            && self.is_full();
        if !combines {
            self.term.input(character);
        }
    }

    fn linefeed(&mut self) {
        self.term.linefeed();
        if self.term.mode().contains(TermMode::LINE_FEED_NEW_LINE) {
            self.term.carriage_return();
        }
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let rows = self.term.screen_lines();
        let end = bottom.unwrap_or(rows).min(rows);
        // A region of one line is none, as in every other terminal.
        if top < end {
            self.region = ((top, end) != (1, rows)).then_some((top - 1, end));
            self.term.set_scrolling_region(top, bottom);
        }
    }

    fn set_color(&mut self, index: usize, color: Rgb) {
        self.colors_used = true;
        self.term.set_color(index, color);
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.charset = index;
        self.term.set_active_charset(index);
    }

    fn set_horizontal_tabstop(&mut self) {
        let column = self.column();
        if let Some(stop) = self.tabs_mut().get_mut(column) {
            *stop = true;
        }
        self.term.set_horizontal_tabstop();
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        let column = self.column();
        let tabs = self.tabs_mut();
        match mode {
            TabulationClearMode::All => tabs.fill(false),
            TabulationClearMode::Current => tabs.get_mut(column).into_iter().for_each(|stop| *stop = false),
        }
        self.term.clear_tabs(mode);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            // The older sequences of one mode: with and without clearing, and the cursor alone.
            PrivateMode::Unknown(47 | 1047) => {
                self.term.set_private_mode(NamedPrivateMode::SwapScreenAndSetRestoreCursor.into());
            }
            PrivateMode::Unknown(1048) => self.term.save_cursor_position(),
            PrivateMode::Unknown(other) => self.set_other_mode(other, true),
            // Unsets the margins as well, which the emulator keeps to itself.
            PrivateMode::Named(NamedPrivateMode::ColumnMode) => {
                self.region = None;
                self.term.set_private_mode(mode);
            }
            named => self.term.set_private_mode(named),
        }
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        match mode {
            PrivateMode::Unknown(47 | 1047) => {
                self.term.unset_private_mode(NamedPrivateMode::SwapScreenAndSetRestoreCursor.into());
            }
            PrivateMode::Unknown(1048) => self.term.restore_cursor_position(),
            PrivateMode::Unknown(other) => self.set_other_mode(other, false),
            // Home, as every other terminal goes.
            named @ PrivateMode::Named(NamedPrivateMode::Origin) => {
                self.term.unset_private_mode(named);
                self.term.goto(0, 0);
            }
            PrivateMode::Named(NamedPrivateMode::ColumnMode) => {
                self.region = None;
                self.term.unset_private_mode(mode);
            }
            named => self.term.unset_private_mode(named),
        }
    }

    fn reset_state(&mut self) {
        self.region = None;
        self.charset = CharsetIndex::G0;
        self.tabs = None;
        self.other_modes.clear();
        self.title = None;
        self.keyboard.clear();
        self.modify_other_keys = None;
        self.term.reset_state();
    }

    fn set_title(&mut self, title: Option<String>) {
        self.title = title.filter(|title| title.len() <= MAX_TITLE);
    }

    fn push_keyboard_mode(&mut self, mode: KeyboardModes) {
        self.keyboard_used = true;
        if self.keyboard.len() == MAX_KEYBOARD_MODES {
            self.keyboard.remove(0);
        }
        self.keyboard.push(mode);
    }

    fn pop_keyboard_modes(&mut self, count: u16) {
        self.keyboard.truncate(self.keyboard.len().saturating_sub(count.into()));
    }

    fn set_keyboard_mode(&mut self, mode: KeyboardModes, behavior: KeyboardModesApplyBehavior) {
        self.keyboard_used = true;
        if self.keyboard.is_empty() {
            self.keyboard.push(KeyboardModes::NO_MODE);
        }
        if let Some(current) = self.keyboard.last_mut() {
            *current = match behavior {
                KeyboardModesApplyBehavior::Replace => mode,
                KeyboardModesApplyBehavior::Union => current.union(mode),
                KeyboardModesApplyBehavior::Difference => current.difference(mode),
            };
        }
    }

    fn set_modify_other_keys(&mut self, mode: ModifyOtherKeys) {
        self.modify_other_keys = match mode {
            ModifyOtherKeys::Reset => None,
            set => Some(set),
        };
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("rows", &self.screen.term.screen_lines()).finish_non_exhaustive()
    }
}
