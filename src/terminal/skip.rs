//! What of a program's output can still be seen, so that a terminal model need not be fed the rest.
//!
//! Text that has scrolled away changes nothing. In a run of text without control sequences, on a screen of `rows` lines
//! that scrolls as a whole: after `rows` line feeds the cursor is on the last line, and from there each line feed moves
//! everything up by one. So what lies between the first `rows` and the last `rows` line feeds leaves no trace, if it
//! begins and ends just after a carriage return and a line feed, where the column is the first. Sequences that select
//! colours and attributes may be in such a run: of what is skipped, those alone are fed. The newest
//! lines of it are a history's, which takes them apart when they are wanted.
//!
//! Strings (titles, images) are shortened as well: a parser would gather them in memory without bound.

/// Runs shorter than this are not worth a second look.
const WORTH_SKIPPING: usize = 4096;

/// The most of an operating system command (a title, a colour) that is fed: enough for the parser to see that it is too
/// long.
const MAX_STRING: usize = super::parser::MAX_STRING + 1;

/// Where the stream stands, from the bytes alone.
///
/// It may call a place inside a sequence that a parser has left already, never the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SkipState {
    #[default]
    Ground,
    Escape,
    /// Between an escape's intermediate bytes and its last.
    Intermediate,
    Csi,
    /// An operating system command, and how much of it has passed.
    Osc(usize),
    /// Any other string: no model shows its contents.
    String,
}

/// Cuts a stream into what to feed.
#[derive(Debug, Default)]
pub(super) struct ScrollSkipper {
    state: SkipState,
}

/// A terminal model, as this needs it.
pub(super) trait Sink {
    fn feed(&mut self, bytes: &[u8]);
    /// Its lines, if it scrolls as a whole now, and text goes only down and to the right.
    fn scrolling_rows(&self) -> Option<usize>;
    /// Lines that it keeps of those that scrolled away.
    fn history_lines(&self) -> usize;
    /// Takes whole lines that are in the history alone, in the place of feeding them.
    fn skip(&mut self, text: &[u8]);
    /// Goes on after that, with the colours that it left, in a line that its last line feed made.
    fn resume(&mut self);
}

impl ScrollSkipper {
    /// Feeds what matters of `data`, and returns how many bytes that was.
    pub(super) fn advance(&mut self, data: &[u8], model: &mut impl Sink) -> usize {
        let (mut at, mut unfed, mut fed) = (0, 0, 0);
        while at < data.len() {
            let run = at;
            match self.state {
                SkipState::Ground => {
                    at += text(&data[at..]);
                    if at - run >= WORTH_SKIPPING {
                        fed += feed(model, &data[unfed..run]) + feed_text(model, &data[run..at]);
                        unfed = at;
                    }
                    if at < data.len() {
                        self.step(data[at]);
                        at += 1;
                    }
                }
                SkipState::Escape | SkipState::Intermediate | SkipState::Csi => {
                    self.step(data[at]);
                    at += 1;
                }
                SkipState::Osc(passed) => {
                    at += string(&data[at..]);
                    let room = MAX_STRING.saturating_sub(passed);
                    if at - run > room {
                        fed += feed(model, &data[unfed..run + room]);
                        unfed = at;
                    }
                    self.state = SkipState::Osc(passed + at - run);
                    self.step_at(data, &mut at);
                }
                SkipState::String => {
                    at += string(&data[at..]);
                    fed += feed(model, &data[unfed..run]);
                    unfed = at;
                    self.step_at(data, &mut at);
                }
            }
        }
        fed + feed(model, &data[unfed..])
    }

    fn step_at(&mut self, data: &[u8], at: &mut usize) {
        if let Some(byte) = data.get(*at) {
            self.step(*byte);
            *at += 1;
        }
    }

    /// Takes note of a byte that is not plain text.
    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (_, 0x18 | 0x1a) => SkipState::Ground,
            (_, 0x1b) => SkipState::Escape,
            (SkipState::Ground, _) | (SkipState::Csi, b'@'..=b'~') | (SkipState::Osc(_), 0x07) => {
                SkipState::Ground
            }
            (SkipState::Escape, b'[') => SkipState::Csi,
            (SkipState::Escape, b']') => SkipState::Osc(0),
            (SkipState::Escape, b'P' | b'X' | b'^' | b'_') => SkipState::String,
            (SkipState::Escape, b' '..=b'/') => SkipState::Intermediate,
            (SkipState::Escape | SkipState::Intermediate, b'0'..=b'~') => SkipState::Ground,
            (state, _) => state,
        };
    }
}

fn feed(model: &mut impl Sink, bytes: &[u8]) -> usize {
    if !bytes.is_empty() {
        model.feed(bytes);
    }
    bytes.len()
}

/// Feeds a run of text but for the part that scrolls away.
fn feed_text(model: &mut impl Sink, text: &[u8]) -> usize {
    match model.scrolling_rows().and_then(|rows| hidden(text, rows)) {
        Some((from, to)) => {
            let hidden = &text[from..to];
            let (gone, kept) = hidden.split_at(newest_lines(hidden, model.history_lines()));
            let mut fed = feed(model, &text[..from]) + feed_colours(model, gone);
            if !kept.is_empty() {
                model.skip(kept);
                fed += feed_colours(model, kept);
                model.resume();
            }
            fed + feed(model, &text[to..])
        }
        None => feed(model, text),
    }
}

/// Where the last `lines` of whole lines begin.
fn newest_lines(text: &[u8], lines: usize) -> usize {
    // Each line ends in a line feed, the last as well.
    let ends = || memchr::memchr_iter(b'\n', text);
    match ends().count().checked_sub(lines) {
        None | Some(0) => 0,
        // From the end that is nearer.
        Some(before) if before < lines => ends().nth(before - 1).map_or(0, |end| end + 1),
        Some(_) => memchr::memrchr_iter(b'\n', text).nth(lines).map_or(0, |end| end + 1),
    }
}

/// Feeds the colours and attributes that `hidden` leaves selected.
fn feed_colours(model: &mut impl Sink, hidden: &[u8]) -> usize {
    let mut rest = &hidden[memchr::memmem::rfind(hidden, b"\x1b[m").unwrap_or(0)..];
    let mut fed = 0;
    while let Some(at) = memchr::memchr(0x1b, rest) {
        let (colours, after) = rest[at..].split_at(colours(&rest[at..]).max(1));
        fed += feed(model, colours);
        rest = after;
    }
    fed
}

/// The part of `text` that leaves no trace.
fn hidden(text: &[u8], rows: usize) -> Option<(usize, usize)> {
    let is_break = |at: &usize| text[..*at].ends_with(b"\r\n");
    let after_feed = |(at, byte): (usize, &u8)| (*byte == b'\n').then_some(at + 1);
    let from = text.iter().enumerate().filter_map(after_feed).skip(rows.saturating_sub(1)).find(is_break)?;
    let to = text.iter().enumerate().rev().filter_map(after_feed).skip(rows).find(is_break)?;
    (from < to).then_some((from, to))
}

/// The length of the text that `data` begins with, colours and attributes included.
fn text(data: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += plain(&data[at..]);
        match colours(&data[at..]) {
            0 => return at,
            length => at += length,
        }
    }
}

/// The length of the sequence that selects colours and attributes which `data` begins with; 0 if it does not.
fn colours(data: &[u8]) -> usize {
    let Some(parameters) = data.strip_prefix(b"\x1b[") else { return 0 };
    let length = parameters.iter().position(|byte| !matches!(byte, b'0'..=b';'));
    length.filter(|length| parameters[*length] == b'm').map_or(0, |length| length + 3)
}

/// The length of the plain text that `data` begins with: no control sequence or character set can begin in it.
fn plain(data: &[u8]) -> usize {
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = 0x20;
        while byte < 0x100 {
            // DEL is left out, and the byte that C1 controls begin with in UTF-8.
            plain[byte] = byte != 0x7f && byte != 0xc2;
            byte += 1;
        }
        plain[0x07] = true;
        plain[0x08] = true;
        plain[b'\t' as usize] = true;
        plain[b'\n' as usize] = true;
        plain[b'\r' as usize] = true;
        plain
    };
    data.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(data.len())
}

/// The length of a string's contents that `data` begins with.
fn string(data: &[u8]) -> usize {
    data.iter().position(|byte| matches!(byte, 0x07 | 0x18 | 0x1a | 0x1b)).unwrap_or(data.len())
}
