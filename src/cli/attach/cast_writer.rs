//! A recording as an asciicast, version 3: a line of JSON about it, and one for each thing that happens, with the time
//! since the one before.
//!
//! If it is cut into parts, each of them can be played alone: it begins with a first line of its own, and with what
//! draws the screen as it is then. A part begins where a line begins with a brace, which no other line does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    TerminalSize,
    message::ExitStatus,
    terminal::{ScreenModel, emulator},
};

/// The most output that a line has, in bytes.
const LINE: usize = 16 * 1024;

/// What the first line says, besides the size.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) command: String,
    pub(super) title: Option<String>,
    /// What terminal escape sequences are for: `TERM` where this runs.
    pub(super) term: Option<String>,
    /// Seconds since 1970.
    pub(super) timestamp: Option<u64>,
}

/// Makes lines of what arrives, at the time when it does.
pub(super) struct CastWriter {
    about: About,
    size: TerminalSize,
    /// `None` where it is not known when anything happened.
    start: Option<Instant>,
    /// When the last line was, in microseconds: rounding adds nothing up.
    last: u128,
    /// The beginning of a character whose end has not come.
    unfinished: Vec<u8>,
    parts: Option<Parts>,
}

/// What is known of the part that is written now.
struct Parts {
    /// The most that a part has, unless what it begins with is more than half of that.
    limit: usize,
    begun: usize,
    written: usize,
    /// It has more than what each part begins with.
    has_own: bool,
    /// What the lines so far show.
    screen: Box<dyn ScreenModel>,
}

impl CastWriter {
    pub(super) fn new(size: TerminalSize, about: About) -> Self {
        let start = Some(Instant::now());
        Self { about, size, start, last: 0, unfinished: Vec::new(), parts: None }
    }

    /// Everything happens at once.
    pub(super) fn without_times(self) -> Self {
        Self { start: None, ..self }
    }

    /// Begins another part before one has more than so many bytes.
    pub(super) fn in_parts(self, limit: usize) -> Self {
        let screen = emulator(0)(self.size);
        Self { parts: Some(Parts { limit, begun: 0, written: 0, has_own: false, screen }), ..self }
    }

    /// The first line.
    pub(super) fn begin(&mut self) -> String {
        let first = self.first_line();
        if let Some(parts) = &mut self.parts {
            parts.written = first.len();
        }
        first
    }

    fn first_line(&self) -> String {
        let mut term = json!({"cols": self.size.cols(), "rows": self.size.rows()});
        let mut header = json!({"version": 3, "command": self.about.command});
        if let Some(name) = &self.about.term {
            term["type"] = name.as_str().into();
            header["env"] = json!({"TERM": name});
        }
        header["term"] = term;
        if let Some(title) = &self.about.title {
            header["title"] = title.as_str().into();
        }
        if let Some(timestamp) = self.about.timestamp {
            header["timestamp"] = (timestamp + Duration::from_micros(self.last as u64).as_secs()).into();
        }
        format!("{header}\n")
    }

    pub(super) fn output(&mut self, data: &[u8]) -> String {
        self.output_at(self.now(), data)
    }

    fn output_at(&mut self, now: u128, data: &[u8]) -> String {
        let mut bytes = std::mem::take(&mut self.unfinished);
        bytes.extend_from_slice(data);
        let cut = bytes.len() - unfinished(&bytes);
        self.unfinished = bytes.split_off(cut);
        let mut lines = String::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let mut part = &rest[..rest.len().min(LINE)];
            part = &part[..part.len() - unfinished(part)];
            self.add_output(&mut lines, now, &String::from_utf8_lossy(part));
            rest = &rest[part.len()..];
        }
        lines
    }

    fn add_output(&mut self, lines: &mut String, now: u128, data: &str) {
        self.add(lines, now, 'o', data);
        if let Some(parts) = &mut self.parts {
            parts.screen.advance(data.as_bytes());
        }
    }

    pub(super) fn resized(&mut self, size: TerminalSize) -> String {
        let mut lines = String::new();
        self.add(&mut lines, self.now(), 'r', &size.to_string());
        self.size = size;
        if let Some(parts) = &mut self.parts {
            parts.screen.resize(size);
        }
        lines
    }

    pub(super) fn ended(&mut self, status: ExitStatus) -> String {
        let (mut lines, now) = (String::new(), self.now());
        let unfinished = std::mem::take(&mut self.unfinished);
        if !unfinished.is_empty() {
            self.add_output(&mut lines, now, &String::from_utf8_lossy(&unfinished));
        }
        self.add(&mut lines, now, 'x', &status.as_exit_code().to_string());
        lines
    }

    /// Microseconds since the start.
    fn now(&self) -> u128 {
        self.start.map_or(0, |start| start.elapsed().as_micros())
    }

    /// Adds a line for something that happens now, in a part of its own if this one has no room.
    fn add(&mut self, lines: &mut String, now: u128, code: char, data: &str) {
        let now = now.max(self.last);
        let mut added = line(now - self.last, code, data);
        self.last = now;
        let is_full =
            |parts: &Parts| parts.has_own && parts.written + added.len() > parts.limit.max(2 * parts.begun);
        if self.parts.as_ref().is_some_and(is_full) {
            let mut begun = self.first_line();
            if let Some(parts) = &mut self.parts {
                let drawing = parts.screen.redraw();
                begun += &line(0, 'o', &String::from_utf8_lossy(&drawing));
                (parts.begun, parts.written) = (begun.len(), begun.len());
            }
            *lines += &begun;
            added = line(0, code, data);
        }
        if let Some(parts) = &mut self.parts {
            parts.written += added.len();
            parts.has_own = true;
        }
        *lines += &added;
    }
}

fn line(since: u128, code: char, data: &str) -> String {
    let data = Value::from(data);
    format!("[{}.{:06}, \"{code}\", {data}]\n", since / 1_000_000, since % 1_000_000)
}

/// How many bytes at the end are the beginning of a character that may go on.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|byte| byte & 0xc0 != 0x80) else { return 0 };
    let begun = &tail[lead..];
    match std::str::from_utf8(begun) {
        // Not an error of what is there, but of what is not.
        Err(error) if error.error_len().is_none() && error.valid_up_to() == 0 => begun.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> CastWriter {
        let about = About { command: "sh".to_owned(), ..About::default() };
        CastWriter::new(TerminalSize::DEFAULT, about)
    }

    /// The data of each line of output.
    fn told(lines: &str) -> Vec<String> {
        let lines = lines.lines().skip_while(|line| line.starts_with('{'));
        let events = lines.map(|line| serde_json::from_str::<(f64, char, String)>(line).unwrap());
        events.filter(|(_, code, _)| *code == 'o').map(|(_, _, data)| data).collect()
    }

    #[test]
    fn any_cutting_of_characters_records_the_same_text() {
        let text = "aä€😀\x1b[1m".as_bytes();
        let bytes = [text, b"\xff\xe2\x82", text, b"\xf0\x9f"].concat();
        let whole = String::from_utf8_lossy(&bytes);
        for cut in 0..bytes.len() {
            for next in cut..bytes.len() {
                let mut writer = writer();
                let mut lines = String::new();
                for part in [&bytes[..cut], &bytes[cut..next], &bytes[next..]] {
                    lines += &writer.output(part);
                }
                lines += &writer.ended(ExitStatus::Code(3));
                assert_eq!(told(&lines).concat(), whole, "cut at {cut} and {next}");
                assert!(lines.ends_with(", \"x\", \"3\"]\n"), "{lines}");
            }
        }
    }

    #[test]
    fn a_long_piece_is_cut_between_characters_and_bytes_that_are_none_end() {
        let long = "€".repeat(LINE);
        let lines = writer().output(long.as_bytes());
        let told = told(&lines);
        assert!(told.len() > 3 && told.iter().all(|data| data.len() <= LINE));
        assert_eq!(told.concat(), long);
        // Continuation bytes alone.
        let lines = writer().output(&[0x80; 3 * LINE]);
        assert_eq!(self::told(&lines).concat().chars().count(), 3 * LINE);
    }

    #[test]
    fn times_are_since_the_line_before_and_add_up() {
        let mut writer = writer();
        let mut lines = String::new();
        for micros in [1_500, 2_000, 2_000, 1_000_000] {
            lines += &writer.output_at(micros, b"x");
        }
        let times: Vec<_> = lines.lines().map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(times, ["[0.001500", "[0.000500", "[0.000000", "[0.998000"]);
    }

    #[test]
    fn the_first_line_has_what_is_known() {
        let about = About {
            command: "vim a".to_owned(),
            title: Some("x\"y".to_owned()),
            term: Some("xterm".to_owned()),
            timestamp: Some(5),
        };
        let header = CastWriter::new(TerminalSize::DEFAULT, about).begin();
        let header: Value = serde_json::from_str(&header).unwrap();
        let expected = json!({
            "version": 3, "term": {"cols": 80, "rows": 24, "type": "xterm"}, "command": "vim a", "title": "x\"y",
            "env": {"TERM": "xterm"}, "timestamp": 5,
        });
        assert_eq!(header, expected);
    }

    /// What a part shows at its end, and how many bytes it has.
    fn played(part: &str) -> (Vec<u8>, usize) {
        let mut lines = part.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let of = |side: &str| header["term"][side].as_u64().unwrap() as u16;
        let mut screen = emulator(0)(TerminalSize::new(of("cols"), of("rows")).unwrap());
        for line in lines {
            let (_, code, data): (f64, char, String) = serde_json::from_str(line).unwrap();
            match code {
                'o' => screen.advance(data.as_bytes()),
                'r' => screen.resize(data.parse().unwrap()),
                _ => {}
            }
        }
        (again(screen), part.len())
    }

    /// What draws a terminal that was drawn: a drawing brings more into a known state than a program does.
    fn again(mut screen: Box<dyn ScreenModel>) -> Vec<u8> {
        let drawing = screen.redraw();
        let mut drawn = emulator(0)(TerminalSize::new(40, 30).unwrap());
        drawn.advance(&drawing);
        drawn.redraw()
    }

    #[test]
    fn each_part_shows_alone_what_the_whole_shows_there() {
        let mut writer = writer().in_parts(4096);
        let mut lines = writer.begin();
        let mut whole = emulator(0)(TerminalSize::DEFAULT);
        for number in 0..500 {
            let output =
                format!("\x1b[3{}mline {number} \u{20ac}\x1b[{};5Hthere\r\n", number % 8, number % 24 + 1);
            // Cut in a sequence and in a character as well.
            let (before, after) = output.as_bytes().split_at(number % output.len());
            for part in [before, after] {
                lines += &writer.output(part);
                whole.advance(part);
            }
            if number == 250 {
                let size = TerminalSize::new(40, 30).unwrap();
                lines += &writer.resized(size);
                whole.resize(size);
            }
        }
        lines += &writer.ended(ExitStatus::Code(0));
        let cuts: Vec<_> = lines
            .match_indices("{\"")
            .map(|(at, _)| at)
            .filter(|at| *at == 0 || lines.as_bytes()[at - 1] == b'\n')
            .collect();
        assert!(cuts.len() > 5, "{cuts:?}");
        let ends = cuts.iter().skip(1).copied().chain([lines.len()]);
        let parts: Vec<_> = cuts.iter().zip(ends).map(|(start, end)| played(&lines[*start..end])).collect();
        assert!(parts.iter().all(|(_, bytes)| *bytes <= 4096));
        assert_eq!(parts.last().unwrap().0, again(whole));
        // A part begins with what the one before it ended with.
        for (part, (start, before)) in cuts.iter().skip(1).zip(&parts).enumerate() {
            let first = lines[*start..].split_inclusive('\n').take(2).collect::<String>();
            assert_eq!(played(&first).0, before.0, "part {part}");
        }
    }
}
