//! The watched view as text: lines for a terminal of a given size, drawn from statistics and what led to them.

use std::env;

use super::{
    json::state,
    tables::is_stuck,
    trend::{KEPT, Trend},
};
use crate::{
    cli::{bytes::about, time::age},
    message::{ClientStats, ServerStats, SessionStats},
};

/// The characters that bars and sparklines are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// From nothing to the most.
    steps: [char; 9],
    full: char,
    empty: char,
}

const BLOCKS: Marks =
    Marks { steps: [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'], full: '█', empty: '░' };
const ASCII: Marks = Marks { steps: [' ', '.', ':', '-', '=', '+', '*', '#', '@'], full: '#', empty: '.' };

impl Marks {
    /// Those that a terminal of this locale shows.
    pub(super) fn of_locale() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
            let value = env::var(name).unwrap_or_default();
            (!value.is_empty()).then_some(value)
        });
        let is_utf8 = |locale: String| locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        if locale.is_some_and(is_utf8) { BLOCKS } else { ASCII }
    }

    /// The newest values, as many as fit, in relation to the largest.
    fn sparkline(self, values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
        let mut shown: Vec<_> = values.rev().take(width).collect();
        shown.reverse();
        let most = shown.iter().copied().fold(0.0, f64::max);
        let step = |value: f64| match (value / most * 8.0).ceil() {
            step if step >= 1.0 => self.steps[(step as usize).min(8)],
            _ => self.steps[0],
        };
        let line: String = shown.into_iter().map(step).collect();
        format!("{line:>width$}")
    }

    fn bar(self, part: u64, of: u64, width: usize) -> String {
        let width_of = |part: u64| (u128::from(part) * width as u128).div_ceil(u128::from(of.max(1)));
        let full = usize::try_from(width_of(part)).unwrap_or(width).min(width);
        let mark = |at| if at < full { self.full } else { self.empty };
        (0..width).map(mark).collect()
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineLook {
    Plain,
    Bold,
    Dim,
    /// It needs attention.
    Alarm,
}

impl LineLook {
    fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Alarm => "\x1b[1;33m",
        }
    }
}

/// Widths of the columns: names, rates and states, what is held.
const NAME: usize = 18;
const RATE: usize = 14;
const HELD: usize = 12;

/// The view for a terminal of this size, with the first `hidden` lines of its body left out: what draws it in place,
/// and how many lines can be left out at most.
pub(super) fn frame(trend: &Trend, marks: Marks, (cols, rows): (u16, u16), hidden: usize) -> (String, usize) {
    let (cols, rows) = (usize::from(cols), usize::from(rows));
    let Some(stats) = trend.newest() else { return (String::new(), 0) };
    let mut lines = head(trend, stats);
    let body = body(trend, stats, marks, cols);
    // The last line is the foot.
    let room = rows.saturating_sub(lines.len() + 1);
    let most = body.len().saturating_sub(room);
    let hidden = hidden.min(most);
    let (all, last) = (body.len(), body.len().min(hidden + room));
    lines.extend(body.into_iter().skip(hidden).take(room));
    lines.truncate(rows.saturating_sub(1));
    lines.resize(rows.saturating_sub(1), (String::new(), LineLook::Plain));
    let more = if most > 0 {
        format!("; j and k move: lines {}-{last} of {all}", hidden + 1)
    } else {
        String::new()
    };
    lines.push((format!("q quits{more}"), LineLook::Dim));
    let drawn = lines.into_iter().map(|(text, look)| {
        let text: String = text.chars().take(cols).collect();
        format!("{}{}\x1b[m\x1b[K", look.sgr(), text.trim_end())
    });
    // Shown at once, where the terminal can do that.
    (format!("\x1b[?2026h\x1b[H{}\x1b[?2026l", drawn.collect::<Vec<_>>().join("\r\n")), most)
}

fn head(trend: &Trend, stats: &ServerStats) -> Vec<(String, LineLook)> {
    let (written, writes) = trend.written();
    let watching = stats.clients.iter().filter(|client| client.session.is_some()).count();
    let line = format!("fugue-server, process {}, started {} ago", stats.pid, age(stats.uptime_seconds));
    let rates = format!(
        "printed {}   to viewers {} in {writes:.0} writes/s",
        rate(trend.printed_by_all()),
        rate(written)
    );
    let counts = format!(
        "{}   {}   {} held   {} gaps   {} closed",
        count(stats.sessions.len(), "session"),
        count(watching, "viewer"),
        about(stats.history_bytes),
        stats.gaps,
        stats.connections_closed
    );
    [
        (line, LineLook::Bold),
        (rates, LineLook::Plain),
        (counts, LineLook::Plain),
        (String::new(), LineLook::Plain),
    ]
    .into()
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

/// Bytes a second.
fn rate(bytes: f64) -> String {
    format!("{}/s", about(bytes as u64))
}

fn body(trend: &Trend, stats: &ServerStats, marks: Marks, cols: usize) -> Vec<(String, LineLook)> {
    let width = cols.saturating_sub(NAME + RATE + HELD + 10).clamp(8, KEPT);
    let title =
        format!("{:NAME$} {:>RATE$}  {:width$}  {:>HELD$}", "SESSION", "PRINTS", "LAST MINUTE", "HELD");
    let mut lines = vec![(title, LineLook::Dim)];
    for session in &stats.sessions {
        let printed = trend.printed(session.session).next_back().unwrap_or(0.0);
        let line = format!(
            "{:NAME$} {:>RATE$}  {}  {:>HELD$}",
            cut(session.name.as_str()),
            rate(printed),
            marks.sparkline(trend.printed(session.session), width),
            about(session.history_bytes),
        );
        let failed = if session.screen_failed { "  no screen" } else { "" };
        lines.push((line + failed, if session.screen_failed { LineLook::Alarm } else { LineLook::Bold }));
        let watching = stats.clients.iter().filter(|client| client.session == Some(session.session));
        lines.extend(watching.map(|client| viewer(client, session, marks, width)));
    }
    if stats.sessions.is_empty() {
        lines.push(("no session runs".to_owned(), LineLook::Plain));
    }
    lines
}

/// A viewer's line. Its bar is full where all that is held waits for it.
fn viewer(client: &ClientStats, session: &SessionStats, marks: Marks, width: usize) -> (String, LineLook) {
    let standing = if is_stuck(client) {
        format!("stuck {} s", client.idle_ms / 1000)
    } else {
        state(client.state).to_owned()
    };
    let mut line = format!(
        "{:NAME$} {:>RATE$}  {}  {:>HELD$}",
        format!("  client {}", client.client.0),
        standing,
        marks.bar(client.lag_bytes, session.history_bytes, width),
        about(client.lag_bytes),
    );
    if client.gaps > 0 {
        line += &format!("  {}", count(usize::try_from(client.gaps).unwrap_or(usize::MAX), "gap"));
    }
    let needs_attention = client.gaps > 0 || is_stuck(client);
    (line, if needs_attention { LineLook::Alarm } else { LineLook::Plain })
}

/// A name in its column.
fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        None => name.to_owned(),
        Some(_) => name.chars().take(NAME - 1).chain(['~']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_ends_with_the_newest_value_and_is_scaled_to_the_largest() {
        let values = [9.0, 0.0, 1.0, 4.0, 8.0];
        assert_eq!(BLOCKS.sparkline(values.into_iter(), 4), " ▁▄█");
        assert_eq!(BLOCKS.sparkline(values.into_iter(), 7), "  █ ▁▄█");
        assert_eq!(ASCII.sparkline([0.0, 0.0].into_iter(), 3), "   ", "nothing was printed");
        assert_eq!(ASCII.sparkline([].into_iter(), 2), "  ");
    }

    #[test]
    fn a_bar_is_full_where_all_that_is_held_waits() {
        assert_eq!(ASCII.bar(0, 100, 4), "....");
        assert_eq!(ASCII.bar(1, 100, 4), "#...", "a little is seen");
        assert_eq!(ASCII.bar(50, 100, 4), "##..");
        assert_eq!(ASCII.bar(u64::MAX, 100, 4), "####");
        assert_eq!(ASCII.bar(0, 0, 4), "....");
    }
}
