//! Lines that scrolled off a screen's top, the newest of them.
//!
//! In a flood most lines are never seen, and taking them apart would cost more than all else. Such text is kept as it
//! was printed, with the colours in force where it begins, and taken apart only when its lines are wanted. Lines that
//! were seen are packed.

use std::collections::VecDeque;

use super::{
    cell::Cell,
    grid::Line,
    pack::{get_look, pack, put_look, unpack},
    screen::Pen,
};

/// What a history may hold in bytes for each line that it may hold.
const LINE_BYTES: usize = 4 * 1024;

/// Text of whole lines, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) pen: Pen,
    pub(super) text: Vec<u8>,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: EntryKind,
    bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryKind {
    /// A line that was packed.
    Line,
    /// Text, after the look that it is written in; so many line feeds are in it. Wrapped lines make it more.
    Unread { lines: u32 },
}

impl Entry {
    fn lines(self) -> usize {
        match self.kind {
            EntryKind::Line => 1,
            EntryKind::Unread { lines } => lines as usize,
        }
    }

    /// What it is charged.
    fn charge(self) -> usize {
        size_of::<Self>() + self.bytes as usize
    }
}

/// The newest lines, the oldest of them first.
#[derive(Clone, Debug)]
pub(super) struct ScrolledLines {
    entries: VecDeque<Entry>,
    bytes: VecDeque<u8>,
    max_lines: usize,
    lines: usize,
    /// What all entries are charged.
    charged: usize,
    /// Lines that ever came, those that are gone included; text that was not taken apart counts by its line feeds.
    arrived: u64,
    /// So many lines of the screen are in here already, and are not to be taken again when they scroll off.
    taken: usize,
    /// For packing.
    scratch: Vec<u8>,
}

impl ScrolledLines {
    pub(super) fn new(max_lines: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: VecDeque::new(),
            max_lines,
            lines: 0,
            charged: 0,
            arrived: 0,
            taken: 0,
            scratch: Vec::new(),
        }
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
        self.scratch.clear();
        pack(line, &mut self.scratch);
        self.push_scratch(EntryKind::Line);
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
        self.scratch.clear();
        put_look(&mut self.scratch, &pen.cell);
        self.scratch.extend_from_slice(text);
        // As much as an output's offsets say in a piece of it.
        self.push_scratch(EntryKind::Unread { lines: u32::try_from(lines).unwrap_or(u32::MAX) });
    }

    fn push_scratch(&mut self, kind: EntryKind) {
        let Ok(bytes) = u32::try_from(self.scratch.len()) else { return };
        let entry = Entry { kind, bytes };
        self.lines += entry.lines();
        self.arrived += entry.lines() as u64;
        self.charged += entry.charge();
        self.entries.push_back(entry);
        self.bytes.extend(&self.scratch);
        while self.entries.len() > 1
            && let Some(oldest) = self.entries.front()
            && (self.lines - oldest.lines() >= self.max_lines
                || self.charged > self.max_lines.saturating_mul(LINE_BYTES))
        {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.lines -= entry.lines();
        self.charged -= entry.charge();
        self.bytes.drain(..entry.bytes as usize);
    }

    /// Whether there is text that was not taken apart.
    pub(super) fn has_unread(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind != EntryKind::Line)
    }

    /// Puts lines in the place of text, which `read` takes apart.
    pub(super) fn read_all(&mut self, mut read: impl FnMut(Unread) -> Vec<Line>) {
        let (arrived, taken) = (self.arrived, self.taken);
        let mut before = std::mem::replace(self, Self::new(self.max_lines));
        for entry in before.entries {
            let mut bytes = before.bytes.drain(..entry.bytes as usize);
            match entry.kind {
                EntryKind::Line => {
                    self.scratch.clear();
                    self.scratch.extend(bytes);
                    self.push_scratch(EntryKind::Line);
                }
                EntryKind::Unread { .. } => {
                    let pen = Pen { cell: get_look(&mut bytes) };
                    read(Unread { pen, text: bytes.collect() }).iter().for_each(|line| self.push_line(line));
                }
            }
        }
        (self.arrived, self.taken) = (arrived, taken);
    }

    /// The lines of the newest `count` entries, the oldest first. Text that was not taken apart is left out.
    pub(super) fn newest(&self, count: usize) -> impl Iterator<Item = Line> {
        let first = self.entries.len().saturating_sub(count);
        let mut at: usize = self.entries.range(..first).map(|entry| entry.bytes as usize).sum();
        self.entries.range(first..).filter_map(move |entry| {
            let from = at;
            at += entry.bytes as usize;
            (entry.kind == EntryKind::Line).then(|| unpack(&mut self.bytes.range(from..at).copied()))
        })
    }

    /// All lines, the oldest first; those of text that was not taken apart are left out.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.newest(usize::MAX)
    }

    pub(super) fn for_each_cell(&self, mut each: impl FnMut(&Cell)) {
        self.lines().for_each(|line| line.cells.iter().for_each(&mut each));
    }

    /// Takes the newest line back.
    pub(super) fn pop(&mut self) -> Option<Line> {
        let entry = *self.entries.back().filter(|entry| entry.kind == EntryKind::Line)?;
        self.entries.pop_back();
        self.lines -= 1;
        self.charged -= entry.charge();
        let from = self.bytes.len() - entry.bytes as usize;
        Some(unpack(&mut self.bytes.drain(from..)))
    }

    /// Gives back the memory that what comes next would need.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
        self.scratch = Vec::new();
    }

    pub(super) fn clear(&mut self) {
        *self = Self { arrived: self.arrived, taken: self.taken, ..Self::new(self.max_lines) };
    }
}
