//! Lines that scrolled off a screen's top, the newest of them.
//!
//! In a flood most lines are never seen, and taking them apart would cost more than all else. Such text is kept as it
//! was printed, with the colours in force where it begins, and taken apart only when its lines are wanted.

use std::collections::VecDeque;

use super::{cell::Cell, grid::Line, screen::Pen};

/// What a history may hold in bytes for each line that it may hold: a few hundred cells.
const LINE_BYTES: usize = 4 * 1024;

/// Text of whole lines, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) pen: Pen,
    pub(super) text: Vec<u8>,
    /// Line feeds in it; wrapped lines make it more.
    lines: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Without the blanks at its end.
    Line(Line),
    Unread(Unread),
}

impl Entry {
    fn lines(&self) -> usize {
        match self {
            Self::Line(_) => 1,
            Self::Unread(unread) => unread.lines,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => size_of::<Self>() + size_of_val(&*line.cells),
            Self::Unread(unread) => size_of::<Self>() + unread.text.len(),
        }
    }
}

/// The newest lines, the oldest of them first.
#[derive(Clone, Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    max_lines: usize,
    lines: usize,
    bytes: usize,
    /// Lines that ever came, those that are gone included; text that was not taken apart counts by its line feeds.
    arrived: u64,
    /// So many lines of the screen are in here already, and are not to be taken again when they scroll off.
    taken: usize,
}

impl History {
    pub(super) fn new(max_lines: usize) -> Self {
        Self { entries: VecDeque::new(), max_lines, lines: 0, bytes: 0, arrived: 0, taken: 0 }
    }

    /// See the field.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    pub(super) fn max_lines(&self) -> usize {
        self.max_lines
    }

    /// Takes a line that scrolled off.
    pub(super) fn push(&mut self, line: &Line) {
        if self.max_lines == 0 {
            return;
        }
        if let Some(taken) = self.taken.checked_sub(1) {
            self.taken = taken;
            return;
        }
        self.push_line(line);
    }

    fn push_line(&mut self, line: &Line) {
        let text = line.text();
        // The room of the line that goes is used again.
        let is_full = self.lines >= self.max_lines && matches!(self.entries.front(), Some(Entry::Line(_)));
        let mut kept = match is_full.then(|| self.pop_oldest()).flatten() {
            Some(Entry::Line(line)) => line,
            _ => Line::default(),
        };
        kept.cells.clear();
        kept.cells.extend_from_slice(text);
        if kept.cells.capacity() > 2 * text.len() {
            kept.cells.shrink_to(text.len());
        }
        (kept.wraps, kept.size) = (line.wraps, line.size);
        self.push_entry(Entry::Line(kept));
    }

    /// Takes text that is not shown: `above` are the lines of the screen, which it follows, and which will have
    /// scrolled off when it is followed itself.
    pub(super) fn push_unread<'a>(
        &mut self,
        above: impl ExactSizeIterator<Item = &'a Line>,
        pen: Pen,
        text: &[u8],
    ) {
        if self.max_lines == 0 {
            return;
        }
        let count = above.len();
        for line in above.skip(self.taken) {
            self.push_line(line);
        }
        self.taken = count;
        let lines = memchr::memchr_iter(b'\n', text).count();
        self.push_entry(Entry::Unread(Unread { pen, text: text.to_vec(), lines }));
    }

    fn push_entry(&mut self, entry: Entry) {
        self.lines += entry.lines();
        self.arrived += entry.lines() as u64;
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > 1
            && let Some(oldest) = self.entries.front()
            && (self.lines - oldest.lines() >= self.max_lines
                || self.bytes > self.max_lines.saturating_mul(LINE_BYTES))
        {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.lines -= entry.lines();
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// Whether there is text that was not taken apart.
    pub(super) fn has_unread(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Unread(_)))
    }

    /// Puts lines in the place of text, which `read` takes apart.
    pub(super) fn read_all(&mut self, mut read: impl FnMut(Unread) -> Vec<Line>) {
        let (arrived, taken) = (self.arrived, self.taken);
        let before = std::mem::replace(self, Self::new(self.max_lines));
        for entry in before.entries {
            match entry {
                Entry::Line(line) => self.push_entry(Entry::Line(line)),
                Entry::Unread(unread) => read(unread).iter().for_each(|line| self.push_line(line)),
            }
        }
        (self.arrived, self.taken) = (arrived, taken);
    }

    /// All lines, the oldest first; those of text that was not taken apart are left out.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Line(line) => Some(line),
            Entry::Unread(_) => None,
        })
    }

    pub(super) fn for_each_cell(&self, each: impl FnMut(&Cell)) {
        self.lines().flat_map(|line| &line.cells).for_each(each);
    }

    /// Takes the newest line back.
    pub(super) fn pop(&mut self) -> Option<Line> {
        let Some(Entry::Line(_)) = self.entries.back() else { return None };
        let entry = self.entries.pop_back()?;
        self.lines -= 1;
        self.bytes -= entry.bytes();
        match entry {
            Entry::Line(line) => Some(line),
            Entry::Unread(_) => None,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { arrived: self.arrived, taken: self.taken, ..Self::new(self.max_lines) };
    }
}
