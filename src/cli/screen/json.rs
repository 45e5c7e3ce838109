//! A screen as JSON, in the shape that docs/scripts.md describes. Names stay; others may be added.

use serde::{Serialize, Serializer};

use crate::{
    message::SessionScreen,
    terminal::{Attributes, CursorShape, Look, Shade, Snapshot, SnapshotLine, TextRun},
};

#[derive(Serialize)]
pub(super) struct Described<'a> {
    session: &'a str,
    id: String,
    offset: u64,
    columns: usize,
    rows: usize,
    title: Option<&'a str>,
    cursor: DescribedCursor,
    other_screen: bool,
    modes: DescribedModes,
    above: Vec<DescribedLine>,
    screen: Vec<DescribedLine>,
}

#[derive(Serialize)]
struct DescribedCursor {
    row: usize,
    column: usize,
    visible: bool,
    shape: &'static str,
}

#[derive(Serialize)]
struct DescribedModes {
    application_cursor_keys: bool,
    application_keypad: bool,
    bracketed_paste: bool,
    focus_events: bool,
    mouse: Option<&'static str>,
    kitty_keyboard: u16,
    reverse_video: bool,
}

#[derive(Serialize)]
struct DescribedLine {
    text: String,
    wraps: bool,
    runs: Vec<DescribedRun>,
}

/// Of its look, what is not as usual.
#[derive(Serialize)]
struct DescribedRun {
    text: String,
    column: usize,
    columns: usize,
    #[serde(skip_serializing_if = "is_usual", serialize_with = "colour")]
    foreground: Shade,
    #[serde(skip_serializing_if = "is_usual", serialize_with = "colour")]
    background: Shade,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<&'static str>,
    #[serde(skip_serializing_if = "is_usual", serialize_with = "colour")]
    underline_colour: Shade,
    #[serde(skip_serializing_if = "String::is_empty")]
    link: String,
}

impl<'a> Described<'a> {
    pub(super) fn new(screen: &'a SessionScreen, snapshot: &'a Snapshot) -> Self {
        let (cursor, modes) = (snapshot.cursor, snapshot.modes);
        let lines = |lines: &[SnapshotLine]| lines.iter().map(line).collect();
        Self {
            session: screen.name.as_str(),
            id: screen.session.to_string(),
            offset: screen.offset,
            columns: snapshot.columns,
            rows: snapshot.screen.len(),
            title: snapshot.title.as_deref(),
            cursor: DescribedCursor {
                row: cursor.line,
                column: cursor.column,
                visible: cursor.is_shown,
                shape: match cursor.shape {
                    CursorShape::Block => "block",
                    CursorShape::Underline => "underline",
                    CursorShape::Bar => "bar",
                },
            },
            other_screen: snapshot.is_other_screen,
            modes: DescribedModes {
                application_cursor_keys: modes.cursor_keys,
                application_keypad: modes.keypad,
                bracketed_paste: modes.bracketed_paste,
                focus_events: modes.focus,
                mouse: modes.mouse.map(|number| match number {
                    9 => "presses",
                    1000 => "buttons",
                    1002 => "drags",
                    _ => "motion",
                }),
                kitty_keyboard: modes.kitty_keyboard,
                reverse_video: modes.reverse,
            },
            above: lines(&snapshot.above),
            screen: lines(&snapshot.screen),
        }
    }
}

fn line(line: &SnapshotLine) -> DescribedLine {
    let text = line.text();
    DescribedLine {
        text: text.trim_end_matches(' ').to_owned(),
        wraps: line.wraps,
        runs: line.runs.iter().map(run).collect(),
    }
}

fn run(run: &TextRun) -> DescribedRun {
    let look = &run.look;
    DescribedRun {
        text: run.text(),
        column: run.column,
        columns: run.columns(),
        foreground: look.foreground(),
        background: look.background(),
        attributes: attributes(look),
        underline_colour: look.underline_colour(),
        link: look.link.clone(),
    }
}

fn attributes(look: &Look) -> Vec<&'static str> {
    let named = [
        (Attributes::BOLD, "bold"),
        (Attributes::DIM, "dim"),
        (Attributes::ITALIC, "italic"),
        (Attributes::BLINK, "blink"),
        (Attributes::FAST_BLINK, "fast_blink"),
        (Attributes::INVERSE, "inverse"),
        (Attributes::HIDDEN, "hidden"),
        (Attributes::STRUCK, "struck"),
        (Attributes::OVERLINE, "overline"),
    ];
    let underline = match look.underline() {
        0 => None,
        2 => Some("double_underline"),
        3 => Some("curly_underline"),
        4 => Some("dotted_underline"),
        5 => Some("dashed_underline"),
        _ => Some("underline"),
    };
    let named = named.into_iter().filter(|(attribute, _)| look.has(*attribute)).map(|(_, name)| name);
    named.chain(underline).collect()
}

fn is_usual(shade: &Shade) -> bool {
    *shade == Shade::Default
}

/// A number of the palette, or `"#rrggbb"`.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde passes it")]
fn colour<S: Serializer>(shade: &Shade, to: S) -> Result<S::Ok, S::Error> {
    match shade {
        Shade::Default => to.serialize_none(),
        Shade::Named(index) | Shade::Indexed(index) => to.serialize_u8(*index),
        Shade::Rgb(red, green, blue) => to.collect_str(&format_args!("#{red:02x}{green:02x}{blue:02x}")),
    }
}
