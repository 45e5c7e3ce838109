//! What is waited for, and the search for it in output that comes in pieces.

use std::str::FromStr;

use regex::Regex;

use crate::terminal::OutputText;

/// The text that is kept to be searched, in bytes: what is looked for is found if it is no longer than this.
const WINDOW: usize = 64 * 1024;

/// Output that is looked at in one go, in bytes. All that is kept is searched again after each, so about as much.
const PIECE: usize = 64 * 1024;

/// A text, or a regular expression.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Text(String),
    Expression(Box<Regex>),
}

/// What matched; of an expression with a group, that group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found(pub(super) String);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("give a text, or a regular expression in slashes".to_owned());
        }
        if text.len() > WINDOW {
            return Err(format!("give at most {WINDOW} bytes"));
        }
        let expression = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
        let Some(expression) = expression.filter(|expression| !expression.is_empty()) else {
            return Ok(Self::Text(text.to_owned()));
        };
        let multiline = regex::RegexBuilder::new(expression).multi_line(true).build();
        multiline.map(|regex| Self::Expression(Box::new(regex))).map_err(|error| error.to_string())
    }
}

impl Pattern {
    pub(super) fn find(&self, text: &str) -> Option<Found> {
        self.find_with_end(text).map(|(found, _)| found)
    }

    /// What is found first, and where it ends.
    fn find_with_end(&self, text: &str) -> Option<(Found, usize)> {
        match self {
            Self::Text(wanted) => text.find(wanted).map(|at| (Found(wanted.clone()), at + wanted.len())),
            Self::Expression(regex) => {
                let captures = regex.captures(text)?;
                let whole = captures.get(0)?;
                let found = captures.get(1).unwrap_or(whole).as_str().to_owned();
                Some((Found(found), whole.end()))
            }
        }
    }
}

/// Looks for a pattern in output.
pub(super) struct Searcher<'a> {
    pattern: &'a Pattern,
    reader: OutputText,
    /// The newest text.
    window: String,
}

impl<'a> Searcher<'a> {
    pub(super) fn new(pattern: &'a Pattern) -> Self {
        Self { pattern, reader: OutputText::default(), window: String::new() }
    }

    /// Looks at a screen, on which the output goes on after `before`.
    pub(super) fn begin(&mut self, before: String, after: &str) -> Option<Found> {
        let found = self.pattern.find(&format!("{before}{after}"));
        self.window = before;
        self.forget();
        found
    }

    /// Looks at more output. What an expression matches at its very end may become another match, or none, with what
    /// follows: that is left to [`at_rest`](Self::at_rest).
    pub(super) fn search(&mut self, output: &[u8]) -> Option<Found> {
        for piece in output.chunks(PIECE) {
            self.reader.append(piece, &mut self.window);
            if let Some((found, end)) = self.pattern.find_with_end(&self.window)
                && (end < self.window.len() || matches!(self.pattern, Pattern::Text(_)))
            {
                return Some(found);
            }
            self.forget();
        }
        None
    }

    /// Nothing follows for now: what matches at the end counts.
    pub(super) fn at_rest(&self) -> Option<Found> {
        self.pattern.find(&self.window)
    }

    /// Forgets what is too old, in whole lines where that is possible.
    fn forget(&mut self) {
        if self.window.len() <= 2 * WINDOW {
            return;
        }
        let mut from = self.window.len() - WINDOW;
        while !self.window.is_char_boundary(from) {
            from += 1;
        }
        let oldest = from - WINDOW / 4;
        let line = memchr::memrchr(b'\n', &self.window.as_bytes()[oldest..from]);
        self.window.drain(..line.map_or(from, |at| oldest + at + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_is_found_wherever_the_output_is_cut() {
        let output = b"one \x1b[1mtwo\x1b[m\r\nthr\x1b[32mee\x1b[m = 42\r\nmore";
        for (text, expected) in [
            ("two", "two"),
            ("two\nthree", "two\nthree"),
            ("/^three = ([0-9]+)$/", "42"),
            ("/t[a-z]+/", "two"),
            ("/two$/", "two"),
        ] {
            for size in 1..output.len() {
                let pattern = pattern(text);
                let mut searcher = Searcher::new(&pattern);
                let found = output.chunks(size).find_map(|piece| searcher.search(piece));
                assert_eq!(found, Some(Found(expected.to_owned())), "{text} by {size}");
            }
        }
    }

    #[test]
    fn what_matches_at_the_very_end_counts_once_nothing_follows() {
        let pattern = pattern("/[0-9]+$/");
        let mut searcher = Searcher::new(&pattern);
        assert_eq!(searcher.search(b"4"), None);
        assert_eq!(searcher.search(b"2"), None);
        assert_eq!(searcher.at_rest(), Some(Found("42".to_owned())));
        assert_eq!(searcher.search(b" apples"), None);
        assert_eq!(searcher.at_rest(), None);
    }

    #[test]
    fn a_search_begins_on_the_screen_and_goes_on_in_the_output() {
        let pattern = pattern("ready> ls");
        let mut searcher = Searcher::new(&pattern);
        assert_eq!(searcher.begin("x\nready".to_owned(), "\nbelow"), None);
        assert_eq!(searcher.search(b"> l\x1b[K"), None);
        assert!(searcher.search(b"s").is_some());
        assert!(Searcher::new(&pattern).begin("a ready> ".to_owned(), "ls").is_some());
    }

    #[test]
    fn a_flood_without_lines_is_forgotten_and_its_newest_text_is_not() {
        let wanted = "x".repeat(1000) + "end";
        for break_at in [60, usize::MAX] {
            let pattern = pattern(&wanted);
            let mut searcher = Searcher::new(&pattern);
            let line = "ü".repeat(1000) + if break_at == 60 { "\r\n" } else { "" };
            for _ in 0..1000 {
                assert!(searcher.search(line.as_bytes()).is_none());
                assert!(searcher.window.len() <= 2 * WINDOW + PIECE);
            }
            assert!(searcher.search(&wanted.as_bytes()[..600]).is_none());
            assert!(searcher.search(&wanted.as_bytes()[600..]).is_some());
        }
    }

    #[test]
    fn what_can_not_be_waited_for_is_refused() {
        for wrong in ["", "/(/", "/[/"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
        assert!("x".repeat(WINDOW + 1).parse::<Pattern>().is_err());
        assert!(matches!(pattern("/"), Pattern::Text(_)));
        assert!(matches!(pattern("//"), Pattern::Text(_)));
        assert!(matches!(pattern("/usr/bin"), Pattern::Text(_)));
    }
}
