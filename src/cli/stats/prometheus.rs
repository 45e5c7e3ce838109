//! Statistics in the text format of Prometheus (version 0.0.4), as the node exporter's text file collector takes it.
//!
//! Each sample says which server it is of, by its socket: a directory of such files may hold those of several users.
//! Clients have no series of their own, because each attach would begin one: a session has that of its client which is
//! furthest behind.

use std::fmt::{Display, Write};

#[cfg(feature = "nodes")]
use crate::nodes::NodeFigure;
use crate::{
    client::{Figure, FigureKind, SERVER_FIGURES, SESSION_FIGURES},
    message::ServerStats,
};

/// The whole text.
pub(super) fn text(stats: &ServerStats, socket: &str) -> String {
    let mut text = Exposition { text: String::new(), server: format!("socket=\"{}\"", escaped(socket)) };
    of_server(&mut text, stats);
    of_sessions(&mut text, stats);
    text.text
}

/// The text of what a node counts.
#[cfg(feature = "nodes")]
pub(super) fn of_node(figures: &[NodeFigure], socket: &str) -> String {
    let mut text = Exposition { text: String::new(), server: format!("socket=\"{}\"", escaped(socket)) };
    for figure in figures {
        let name = text.named(figure.kind, &format!("node_{}", figure.name), &figure.help);
        for (of, value) in &figure.samples {
            let label = match figure.label.as_str() {
                "" => String::new(),
                label => format!(",{label}=\"{}\"", escaped(of)),
            };
            text.sample(&name, &label, *value);
        }
    }
    text.text
}

fn of_server(text: &mut Exposition, stats: &ServerStats) {
    for figure in &SERVER_FIGURES {
        let name = text.family(figure);
        text.sample(&name, "", (figure.value)(stats));
    }
}

/// Each family with a sample for each session.
fn of_sessions(text: &mut Exposition, stats: &ServerStats) {
    // One without samples is allowed, and says nothing.
    if stats.sessions.is_empty() {
        return;
    }
    for figure in &SESSION_FIGURES {
        let name = text.family(figure);
        for session in &stats.sessions {
            let label = format!(",session=\"{}\"", escaped(session.name.as_str()));
            text.sample(&name, &label, (figure.value)(stats, session));
        }
    }
}

struct Exposition {
    text: String,
    /// The label that every sample has.
    server: String,
}

impl Exposition {
    /// Begins the samples of a figure, and returns their name.
    fn family<Of>(&mut self, figure: &Figure<Of>) -> String {
        self.named(figure.kind, figure.name, figure.help)
    }

    fn named(&mut self, kind: FigureKind, name: &str, help: &str) -> String {
        let (kind, name) = match kind {
            FigureKind::Counter => ("counter", format!("{name}_total")),
            FigureKind::Gauge => ("gauge", name.to_owned()),
        };
        self.line(format_args!("# HELP fugue_{name} {help}\n# TYPE fugue_{name} {kind}"));
        name
    }

    fn sample(&mut self, name: &str, more_labels: &str, value: u64) {
        let server = std::mem::take(&mut self.server);
        self.line(format_args!("fugue_{name}{{{server}{more_labels}}} {value}"));
        self.server = server;
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A label's value, as the format wants it between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_value_may_have_any_character() {
        assert_eq!(escaped("/tmp/a \"b\"\\c\nd/ü"), r#"/tmp/a \"b\"\\c\nd/ü"#);
    }
}
