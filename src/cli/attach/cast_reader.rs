//! Reads asciicasts, versions 2 and 3, line by line, and says where one can't be read.

use std::{
    io::{BufRead, Read},
    time::Duration,
};

use serde::Deserialize;

use crate::TerminalSize;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What the first line says.
#[derive(Debug)]
pub(super) struct CastHeader {
    version: u64,
    pub(super) size: Option<TerminalSize>,
    /// The longest pause that its author wants.
    pub(super) idle_limit: Option<Duration>,
}

/// Something that happened while it was recorded.
#[derive(Debug, PartialEq)]
pub(super) struct CastEvent {
    /// Since the event before.
    pub(super) after: Duration,
    /// `o` is output.
    pub(super) code: String,
    pub(super) data: String,
}

/// Why a line can't be read.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(super) struct CastError {
    line: usize,
    why: String,
}

#[derive(Debug)]
pub(super) struct CastReader<R> {
    lines: R,
    line: usize,
    header: CastHeader,
    /// The time of the event before, of version 2.
    last: f64,
}

/// The first line as it is written: version 2 has the size in it, version 3 in `term`.
#[derive(Deserialize)]
struct FirstLine {
    version: u64,
    width: Option<u16>,
    height: Option<u16>,
    term: Option<RecordedTerm>,
    idle_time_limit: Option<f64>,
}

#[derive(Deserialize)]
struct RecordedTerm {
    cols: u16,
    rows: u16,
}

impl<R: BufRead> CastReader<R> {
    /// Reads the first line.
    pub(super) fn new(mut lines: R) -> Result<Self, CastError> {
        let mut line = 0;
        let wrong = |why: String| CastError { line: 1, why };
        let Some(text) = next_line(&mut lines, &mut line)? else {
            return Err(wrong("the file is empty; an asciicast begins with a line about it".to_owned()));
        };
        let first: FirstLine = serde_json::from_slice(&text).map_err(|error| {
            wrong(format!("{}; an asciicast begins with a line of JSON about it", reason(&error)))
        })?;
        if !matches!(first.version, 2 | 3) {
            return Err(wrong(format!("this is version {}; versions 2 and 3 can be played", first.version)));
        }
        let size = match (first.term, first.width, first.height) {
            (Some(RecordedTerm { cols, rows }), ..) | (None, Some(cols), Some(rows)) => {
                TerminalSize::clamped(cols, rows)
            }
            _ => None,
        };
        let idle_limit = first.idle_time_limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
        let header = CastHeader { version: first.version, size, idle_limit };
        Ok(Self { lines, line, header, last: 0.0 })
    }

    pub(super) fn header(&self) -> &CastHeader {
        &self.header
    }

    /// The next event; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<CastEvent>, CastError> {
        loop {
            let Some(text) = next_line(&mut self.lines, &mut self.line)? else { return Ok(None) };
            if text.iter().all(u8::is_ascii_whitespace)
                || (self.header.version == 3 && text.starts_with(b"#"))
            {
                continue;
            }
            let wrong = |why| CastError { line: self.line, why };
            let event: (f64, String, String) = serde_json::from_slice(&text)
                .map_err(|error| wrong(format!("{}; an event is [time, code, data]", reason(&error))))?;
            let (time, code, data) = event;
            let after = if self.header.version == 2 { (time - self.last).max(0.0) } else { time };
            self.last = time;
            let after =
                Duration::try_from_secs_f64(after).map_err(|error| wrong(format!("{time}: {error}")))?;
            return Ok(Some(CastEvent { after, code, data }));
        }
    }
}

/// The next line with its end; `None` at the end of the file.
fn next_line(lines: &mut impl BufRead, line: &mut usize) -> Result<Option<Vec<u8>>, CastError> {
    *line += 1;
    let mut text = Vec::new();
    let wrong = |why| CastError { line: *line, why };
    lines.take(LONGEST).read_until(b'\n', &mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 == LONGEST && !text.ends_with(b"\n") {
        return Err(wrong(format!("it is longer than {LONGEST} bytes")));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// What is wrong with a line, and at which column.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("column {}: {what}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<CastEvent>, CastError> {
        let mut reader = CastReader::new(text.as_bytes())?;
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    fn output(milliseconds: u64, data: &str) -> CastEvent {
        CastEvent { after: Duration::from_millis(milliseconds), code: "o".to_owned(), data: data.to_owned() }
    }

    #[test]
    fn both_versions_are_read_with_the_time_since_the_event_before() {
        let two = "{\"version\": 2, \"width\": 80, \"height\": 24}\n[0.5, \"o\", \"a\"]\n[2, \"o\", \"b\"]\n";
        assert_eq!(read(two), Ok(vec![output(500, "a"), output(1500, "b")]));
        let three = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24},\"new\":1}\n# a comment\n\n[0.5,\"o\",\"a\"]\n\
                     [2,\"o\",\"\\u001b[1m\"]";
        assert_eq!(read(three), Ok(vec![output(500, "a"), output(2000, "\x1b[1m")]));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_where_and_why() {
        let first = "{\"version\": 3, \"term\": {\"cols\": 80, \"rows\": 24}}\n[1, \"o\", \"a\"]\n";
        for (text, said) in [
            ("", "line 1: the file is empty"),
            ("not a cast\n", "line 1: column 2: expected"),
            ("{\"version\": 1}\n", "line 1: this is version 1; versions 2 and 3"),
            (&format!("{first}[1, \"o\""), "line 3: column 7: EOF"),
            (&format!("{first}[-1, \"o\", \"\"]\n"), "line 3: -1"),
            (&format!("{first}[1, \"o\"]\n"), "line 3: column 8: invalid length"),
            (&format!("{first}\n{{}}\n"), "line 4: column 0: invalid type: map"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}, not {said}");
        }
    }
}
