//! What shows a session: the person's terminal, which is put back when it is left or the client stopped; or a file,
//! of the bytes as they are or of an asciicast.

use std::{
    cell::{Cell, RefCell},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;

use super::{
    super::terminal::{self, RawMode},
    cast_writer::CastWriter,
    io_threads::{DisplayPermit, ScreenThread},
    recording_file::RecordingFile,
    title::TitleNames,
};
use crate::{TerminalSize, message::ExitStatus, terminal::ChangedModes};

/// More rows than a terminal has, for one that does not say how many.
const MANY_ROWS: u16 = 999;

pub(super) struct Display {
    screen: ScreenThread,
    /// `None` where stdin or stdout is none, and of a file.
    terminal: Option<DisplayTerminal>,
    /// What makes an asciicast of what is shown, if that is wanted.
    cast: Option<RefCell<CastWriter>>,
    /// A file of our own, in which nothing is to be left out when the person has seen enough.
    path: Option<PathBuf>,
    /// Where enough of the output is shown.
    until: Option<u64>,
}

/// What to show a session in.
pub(super) enum Medium {
    /// The person's terminal. With `scroll_away`, what it shows is kept in its scrollback.
    Terminal { scroll_away: bool },
    /// A file, or what standard output is.
    File(Box<FileMedium>),
}

/// What to write a session into.
#[derive(Default)]
pub(super) struct FileMedium {
    /// `None` for standard output.
    pub(super) file: Option<RecordingFile>,
    /// What makes an asciicast of it, if that is wanted.
    pub(super) cast: Option<CastWriter>,
    /// The most that waits while it is slow, in bytes.
    pub(super) spool: u64,
    /// Where it ends, if the session goes on until then.
    pub(super) until: Option<u64>,
}

struct DisplayTerminal {
    raw_mode: RawMode,
    /// The modes that the session's program set.
    modes: RefCell<ChangedModes>,
    /// The first screen is to be drawn beneath what the terminal shows.
    scroll_away: Cell<bool>,
    /// The terminal is as it was, and shows nothing until a screen is drawn.
    is_left: Cell<bool>,
    /// What is the person's own was put beneath the session's.
    has_entered: Cell<bool>,
    /// Anything of the session was shown.
    has_shown: Cell<bool>,
    /// What puts the session's name into the title, if that is wanted.
    titles: RefCell<Option<TitleNames>>,
}

/// Where the cursor goes when the terminal is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorLeft {
    /// To the next line: the program has ended, and left it where it would.
    NextLine,
    /// Below all that is shown.
    Below,
}

impl Display {
    /// Sets a terminal to raw mode.
    pub(super) fn start(medium: Medium) -> anyhow::Result<Self> {
        let scroll_away = match medium {
            Medium::Terminal { scroll_away } => scroll_away,
            Medium::File(medium) => {
                let FileMedium { file, cast, spool, until } = *medium;
                let path = file.as_ref().map(|file| file.path().to_owned());
                let screen = ScreenThread::start_spooled(file, spool).context("opening the output failed")?;
                let cast = cast.map(RefCell::new);
                return Ok(Self { screen, terminal: None, cast, path, until });
            }
        };
        let terminal = DisplayTerminal {
            raw_mode: RawMode::enter().context("setting the terminal failed")?,
            modes: RefCell::default(),
            scroll_away: Cell::new(scroll_away),
            is_left: Cell::new(false),
            has_entered: Cell::new(false),
            has_shown: Cell::new(false),
            titles: RefCell::default(),
        };
        Ok(Self {
            screen: ScreenThread::start(),
            terminal: Some(terminal),
            cast: None,
            path: None,
            until: None,
        })
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// The file that this writes, unless it is standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How many of the bytes from this offset on are still to be shown, and whether these are the last.
    pub(super) fn wanted(&self, offset: u64, bytes: usize) -> (usize, bool) {
        let Some(until) = self.until else { return (bytes, false) };
        let wanted = usize::try_from(until.saturating_sub(offset)).unwrap_or(usize::MAX);
        (wanted.min(bytes), wanted <= bytes)
    }

    /// Begins an asciicast.
    pub(super) async fn begin(&self) {
        let Some(cast) = &self.cast else { return };
        if let Some(room) = self.room().await {
            room.show(cast.borrow_mut().begin().into());
        }
    }

    /// Waits for room; `None` once nothing can be shown any more.
    pub(super) async fn room(&self) -> Option<DisplayPermit<'_>> {
        self.screen.room().await
    }

    /// Shows a screen, on top of what is the person's own.
    pub(super) fn show_screen(&self, room: DisplayPermit<'_>, data: &Bytes) {
        let drawn = match &self.terminal {
            Some(terminal) => terminal.modes.borrow().on_top(data).into(),
            None => data.clone(),
        };
        self.show(room, drawn);
    }

    /// Shows a piece of output, unless a screen is awaited that stands for it.
    pub(super) fn show(&self, room: DisplayPermit<'_>, data: Bytes) {
        let Some(terminal) = &self.terminal else {
            return room.show(match &self.cast {
                Some(cast) => cast.borrow_mut().output(&data).into(),
                None => data,
            });
        };
        if terminal.is_left.get() {
            return;
        }
        let mut modes = terminal.modes.borrow_mut();
        let mut before = Vec::new();
        let size = terminal::size();
        if terminal.scroll_away.take() {
            before.resize(size.map_or(0, |size| size.rows().into()), b'\n');
        }
        modes.set_columns(size.map_or(0, |size| size.cols()));
        if !terminal.has_entered.replace(true) {
            before.extend_from_slice(modes.enter());
        }
        let named = terminal.titles.borrow_mut().as_mut().and_then(|titles| titles.named(&data));
        let data = named.map_or(data, Bytes::from);
        modes.follow(&data);
        terminal.has_shown.set(true);
        if before.is_empty() {
            return room.show(data);
        }
        before.extend_from_slice(&data);
        room.show(before.into());
    }

    /// The session has another size, which an asciicast tells.
    pub(super) fn resized(&self, room: DisplayPermit<'_>, size: TerminalSize) {
        if let Some(cast) = &self.cast {
            room.show(cast.borrow_mut().resized(size).into());
        }
    }

    /// The session has ended, which an asciicast tells.
    pub(super) async fn ended(&self, status: ExitStatus) {
        let Some(cast) = &self.cast else { return };
        if let Some(room) = self.room().await {
            room.show(cast.borrow_mut().ended(status).into());
        }
    }

    /// Says something on the terminal's last line, on top of what it shows, until the next screen is drawn.
    pub(super) fn say(&self, room: DisplayPermit<'_>, what: &str) {
        let Some(terminal) = &self.terminal else { return };
        if terminal.is_left.get() || !terminal.has_shown.get() {
            return;
        }
        let (rows, cols) = terminal::size().map_or((MANY_ROWS, 1), |size| (size.rows(), size.cols()));
        // A character short of the margin, where a terminal might go to the next line.
        let what = what.get(..usize::from(cols - 1).min(what.len())).unwrap_or_default();
        // The program may be in the middle of a sequence.
        room.show(format!("\x18\x1b7\x1b[{rows};1H\x1b[0;7m{what}\x1b[m\x1b8").into());
    }

    /// The title begins with this session's name from now on.
    pub(super) fn name_titles(&self, name: &str) {
        if let Some(terminal) = &self.terminal {
            terminal.titles.borrow_mut().get_or_insert_default().set(name);
        }
    }

    /// A screen comes next.
    pub(super) fn screen_comes(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.is_left.set(false);
        }
    }

    /// Puts the terminal back, for this process to be stopped. Until [`screen_comes`](Self::screen_comes) nothing more
    /// is shown.
    pub(super) async fn put_back(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.is_left.set(true);
            self.undo(terminal, CursorLeft::Below).await;
            terminal.modes.take();
            terminal.titles.borrow_mut().iter_mut().for_each(TitleNames::again);
            terminal.has_entered.set(false);
            // Nothing can be done if the terminal is gone.
            let _ = terminal.raw_mode.suspend();
        }
    }

    /// Sets raw mode again after a stop.
    pub(super) fn go_on(&self) {
        if let Some(terminal) = &self.terminal {
            // The terminal may be gone; the next key will tell.
            let _ = terminal.raw_mode.apply();
        }
    }

    /// Waits until what is on its way is shown: in a file however long that takes, in a terminal as long as it takes
    /// anything.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        if self.is_terminal() {
            self.screen.drain().await;
            return Ok(());
        }
        self.screen.finish().await
    }

    /// How many bytes wait to be written, of what is no terminal.
    pub(super) fn waiting(&self) -> u64 {
        self.screen.waiting()
    }

    /// Puts the terminal back. Returns whether it took that: one that takes nothing is not waited for.
    pub(super) async fn leave(self, cursor: CursorLeft) -> bool {
        match &self.terminal {
            Some(terminal) if !terminal.is_left.get() => self.undo(terminal, cursor).await,
            _ => true,
        }
    }

    /// Undoes the modes that the session's program left set.
    async fn undo(&self, terminal: &DisplayTerminal, cursor: CursorLeft) -> bool {
        let mut undo = Vec::new();
        if terminal.has_shown.get() {
            undo.extend(terminal.modes.borrow().undo());
            if cursor == CursorLeft::Below {
                let rows = terminal::size().map_or(MANY_ROWS, |size| size.rows());
                undo.extend_from_slice(format!("\x1b[{rows};1H").as_bytes());
            }
            // What follows begins on a line of its own.
            undo.extend_from_slice(b"\r\n");
        }
        self.screen.write_instead(undo.into()).await
    }
}
