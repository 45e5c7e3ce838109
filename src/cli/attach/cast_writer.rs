//! A recording as an asciicast, version 3: a line of JSON about it, and one for each thing that happens, with the time
//! since the one before.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{TerminalSize, message::ExitStatus};

/// The most output that a line has, in bytes.
const LINE: usize = 16 * 1024;

/// What the first line says, besides the size.
#[derive(Debug)]
pub(super) struct About {
    pub(super) command: String,
    pub(super) title: Option<String>,
    /// What terminal escape sequences are for: `TERM` where this runs.
    pub(super) term: Option<String>,
    /// Seconds since 1970.
    pub(super) timestamp: Option<u64>,
}

/// Makes lines of what arrives, at the time when it does.
#[derive(Debug)]
pub(super) struct CastWriter {
    start: Instant,
    /// When the last line was, in microseconds: rounding adds nothing up.
    last: u128,
    /// The first line.
    first: String,
    /// The beginning of a character whose end has not come.
    unfinished: Vec<u8>,
}

impl CastWriter {
    pub(super) fn new(size: TerminalSize, about: &About) -> Self {
        let mut term = json!({"cols": size.cols(), "rows": size.rows()});
        let mut header = json!({"version": 3, "command": about.command});
        if let Some(name) = &about.term {
            term["type"] = name.as_str().into();
            header["env"] = json!({"TERM": name});
        }
        header["term"] = term;
        if let Some(title) = &about.title {
            header["title"] = title.as_str().into();
        }
        if let Some(timestamp) = about.timestamp {
            header["timestamp"] = timestamp.into();
        }
        Self { start: Instant::now(), last: 0, first: format!("{header}\n"), unfinished: Vec::new() }
    }

    pub(super) fn output(&mut self, data: &[u8]) -> Bytes {
        self.output_after(self.start.elapsed(), data)
    }

    fn output_after(&mut self, since_start: Duration, data: &[u8]) -> Bytes {
        let mut bytes = std::mem::take(&mut self.unfinished);
        bytes.extend_from_slice(data);
        let cut = bytes.len() - unfinished(&bytes);
        self.unfinished = bytes.split_off(cut);
        let mut lines = std::mem::take(&mut self.first);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let mut part = &rest[..rest.len().min(LINE)];
            part = &part[..part.len() - unfinished(part)];
            lines += &self.line(since_start, 'o', &String::from_utf8_lossy(part));
            rest = &rest[part.len()..];
        }
        lines.into()
    }

    pub(super) fn resized(&mut self, size: TerminalSize) -> Bytes {
        let line = self.line(self.start.elapsed(), 'r', &size.to_string());
        (std::mem::take(&mut self.first) + &line).into()
    }

    pub(super) fn ended(&mut self, status: ExitStatus) -> Bytes {
        let mut lines = std::mem::take(&mut self.first);
        let unfinished = std::mem::take(&mut self.unfinished);
        let now = self.start.elapsed();
        if !unfinished.is_empty() {
            lines += &self.line(now, 'o', &String::from_utf8_lossy(&unfinished));
        }
        lines += &self.line(now, 'x', &status.as_exit_code().to_string());
        lines.into()
    }

    fn line(&mut self, since_start: Duration, code: char, data: &str) -> String {
        let now = since_start.as_micros().max(self.last);
        let since = now - self.last;
        self.last = now;
        let data = Value::from(data);
        format!("[{}.{:06}, \"{code}\", {data}]\n", since / 1_000_000, since % 1_000_000)
    }
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
        let about = About { command: "sh".to_owned(), title: None, term: None, timestamp: None };
        CastWriter::new(TerminalSize::DEFAULT, &about)
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
                    lines += std::str::from_utf8(&writer.output(part)).unwrap();
                }
                lines += std::str::from_utf8(&writer.ended(ExitStatus::Code(3))).unwrap();
                assert_eq!(told(&lines).concat(), whole, "cut at {cut} and {next}");
                assert!(lines.ends_with(", \"x\", \"3\"]\n"), "{lines}");
            }
        }
    }

    #[test]
    fn a_long_piece_is_cut_between_characters_and_bytes_that_are_none_end() {
        let long = "€".repeat(LINE);
        let lines = writer().output(long.as_bytes());
        let told = told(std::str::from_utf8(&lines).unwrap());
        assert!(told.len() > 3 && told.iter().all(|data| data.len() <= LINE));
        assert_eq!(told.concat(), long);
        // Continuation bytes alone.
        let lines = writer().output(&[0x80; 3 * LINE]);
        assert_eq!(self::told(std::str::from_utf8(&lines).unwrap()).concat().chars().count(), 3 * LINE);
    }

    #[test]
    fn times_are_since_the_line_before_and_add_up() {
        let mut writer = writer();
        let mut lines = String::new();
        for nanos in [1_500_999, 2_000_499, 2_000_999, 1_000_000_000] {
            lines += std::str::from_utf8(&writer.output_after(Duration::from_nanos(nanos), b"x")).unwrap();
        }
        let times: Vec<_> = lines.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
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
        let lines = CastWriter::new(TerminalSize::DEFAULT, &about).output(b"");
        let header: Value = serde_json::from_slice(&lines).unwrap();
        let expected = json!({
            "version": 3, "term": {"cols": 80, "rows": 24, "type": "xterm"}, "command": "vim a", "title": "x\"y",
            "env": {"TERM": "xterm"}, "timestamp": 5,
        });
        assert_eq!(header, expected);
    }
}
