//! A screen as a picture, in SVG.
//!
//! Every character has its cell, whatever font the viewer has: text that is plain ASCII is stretched to its cells as a
//! whole, and any other character by itself. Backgrounds are drawn first, then text, then lines on it.

use std::fmt::Write;

use crate::terminal::{Attributes, CursorShape, Look, Palette, Rgb, Shade, Snapshot, SnapshotLine, TextRun};

/// Of a cell, the text on its base line, and the margin, in pixels.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
const FONT: f64 = 14.0;
const BASE: f64 = 13.5;
const MARGIN: f64 = 8.0;

const FOREGROUND: Rgb = [0xd4, 0xd4, 0xd4];
const BACKGROUND: Rgb = [0x1b, 0x1d, 0x23];

/// The sixteen colours that have names: xterm's, somewhat softened so that text in them can be read on the background.
const NAMED: [Rgb; 16] = [
    [0x2e, 0x34, 0x36],
    [0xd5, 0x4e, 0x53],
    [0x7f, 0xb3, 0x47],
    [0xd8, 0xa6, 0x34],
    [0x5b, 0x8f, 0xd6],
    [0xb0, 0x7c, 0xc6],
    [0x3f, 0xa9, 0xa9],
    [0xc8, 0xcc, 0xd0],
    [0x70, 0x78, 0x80],
    [0xff, 0x6e, 0x73],
    [0xa0, 0xe0, 0x5e],
    [0xff, 0xd7, 0x5f],
    [0x82, 0xb4, 0xff],
    [0xd7, 0x9d, 0xf1],
    [0x5f, 0xd7, 0xd7],
    [0xff, 0xff, 0xff],
];

/// How a run is painted.
struct Paint {
    text: Rgb,
    back: Option<Rgb>,
    underline: Rgb,
}

struct Canvas<'a> {
    palette: &'a Palette,
    foreground: Rgb,
    background: Rgb,
    backs: String,
    texts: String,
}

/// The picture of a screen and what is above it.
pub(super) fn picture(snapshot: &Snapshot) -> String {
    let palette = &snapshot.palette;
    let (foreground, background) =
        (palette.foreground.unwrap_or(FOREGROUND), palette.background.unwrap_or(BACKGROUND));
    let (foreground, background) =
        if snapshot.modes.reverse { (background, foreground) } else { (foreground, background) };
    let mut canvas = Canvas { palette, foreground, background, backs: String::new(), texts: String::new() };
    let lines = snapshot.above.iter().chain(&snapshot.screen);
    for (row, line) in lines.enumerate() {
        line.runs.iter().for_each(|run| canvas.run(row, run));
    }
    if snapshot.cursor.is_shown {
        canvas.cursor(snapshot);
    }
    let rows = snapshot.above.len() + snapshot.screen.len();
    let (width, height) =
        (snapshot.columns as f64 * WIDTH + 2.0 * MARGIN, rows as f64 * HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.1}\" \
         height=\"{height:.1}\" font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" \
         font-size=\"{FONT}\">\n"
    );
    if let Some(title) = &snapshot.title {
        svg += &format!("<title>{}</title>\n", escaped(title));
    }
    svg += &format!("<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n", hex(background));
    svg + &canvas.backs + &canvas.texts + "</svg>\n"
}

fn x(column: usize) -> f64 {
    MARGIN + column as f64 * WIDTH
}

fn y(row: usize) -> f64 {
    MARGIN + row as f64 * HEIGHT
}

impl Canvas<'_> {
    fn paint(&self, look: &Look) -> Paint {
        let text = self.colour(look.foreground()).unwrap_or(self.foreground);
        let back = self.colour(look.background());
        let (text, back) = if look.has(Attributes::INVERSE) {
            (back.unwrap_or(self.background), Some(text))
        } else {
            (text, back)
        };
        Paint { text, back, underline: self.colour(look.underline_colour()).unwrap_or(text) }
    }

    fn colour(&self, shade: Shade) -> Option<Rgb> {
        let index = match shade {
            Shade::Default => return None,
            Shade::Rgb(red, green, blue) => return Some([red, green, blue]),
            Shade::Named(index) | Shade::Indexed(index) => index,
        };
        let chosen = self.palette.indexed.iter().find(|(other, _)| *other == index);
        Some(chosen.map_or_else(|| indexed(index), |(_, colour)| *colour))
    }

    fn run(&mut self, row: usize, run: &TextRun) {
        let paint = self.paint(&run.look);
        if let Some(back) = paint.back {
            self.block(row, run.column, run.columns(), back);
        }
        if !run.look.has(Attributes::HIDDEN) {
            self.text(row, run, &paint);
        }
    }

    fn block(&mut self, row: usize, column: usize, columns: usize, colour: Rgb) {
        let _ = writeln!(
            self.backs,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{HEIGHT}\" fill=\"{}\" shape-rendering=\"crispEdges\"/>",
            x(column),
            y(row),
            columns as f64 * WIDTH,
            hex(colour)
        );
    }

    fn text(&mut self, row: usize, run: &TextRun, paint: &Paint) {
        let look = &run.look;
        let mut style = format!(" fill=\"{}\"", hex(paint.text));
        if look.has(Attributes::BOLD) {
            style += " font-weight=\"bold\"";
        }
        if look.has(Attributes::ITALIC) {
            style += " font-style=\"italic\"";
        }
        if look.has(Attributes::DIM) {
            style += " opacity=\"0.6\"";
        }
        let mut column = run.column;
        let mut rest = &run.characters[..];
        while let Some(first) = rest.first() {
            let is_plain = |character: &String| character.is_ascii();
            let count = if is_plain(first) { rest.iter().take_while(|it| is_plain(it)).count() } else { 1 };
            let (now, later) = rest.split_at(count);
            let text = now.concat();
            if is_plain(&text) {
                words(&text).for_each(|(at, word)| self.glyphs(row, column + at, word.len(), word, &style));
            } else {
                self.glyphs(row, column, run.width, &text, &style);
            }
            column += count * run.width;
            rest = later;
        }
        self.lines(row, run, paint);
    }

    /// Text in its cells.
    fn glyphs(&mut self, row: usize, column: usize, columns: usize, text: &str, style: &str) {
        let _ = writeln!(
            self.texts,
            "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.2}\" lengthAdjust=\"spacingAndGlyphs\"{style}>{}</text>",
            x(column),
            y(row) + BASE,
            columns as f64 * WIDTH,
            escaped(text)
        );
    }

    /// The lines under, through and over text.
    fn lines(&mut self, row: usize, run: &TextRun, paint: &Paint) {
        let look = &run.look;
        let (from, to, base) = (x(run.column), x(run.column + run.columns()), y(row) + BASE);
        let mut line = |at: f64, colour: Rgb, more: &str| {
            let colour = hex(colour);
            let _ = writeln!(
                self.texts,
                "<path d=\"M{from:.1} {at:.1}H{to:.1}\" stroke=\"{colour}\" fill=\"none\"{more}/>"
            );
        };
        match look.underline() {
            0 => {}
            2 => {
                line(base + 1.0, paint.underline, "");
                line(base + 3.0, paint.underline, "");
            }
            4 => line(base + 2.0, paint.underline, " stroke-dasharray=\"1 2\""),
            5 => line(base + 2.0, paint.underline, " stroke-dasharray=\"4 2\""),
            3 => {
                let mut curve = format!("M{from:.1} {:.1}", base + 3.0);
                for _ in 0..run.columns() {
                    let quarter = WIDTH / 4.0;
                    let _ = write!(curve, "q{quarter} -3 {} 0t{} 0", WIDTH / 2.0, WIDTH / 2.0);
                }
                let colour = hex(paint.underline);
                let _ = writeln!(self.texts, "<path d=\"{curve}\" stroke=\"{colour}\" fill=\"none\"/>");
            }
            _ => line(base + 2.0, paint.underline, ""),
        }
        let mut line = |at: f64| {
            let colour = hex(paint.text);
            let _ = writeln!(self.texts, "<path d=\"M{from:.1} {at:.1}H{to:.1}\" stroke=\"{colour}\"/>");
        };
        if look.has(Attributes::STRUCK) {
            line(base - 4.0);
        }
        if look.has(Attributes::OVERLINE) {
            line(y(row) + 0.5);
        }
    }

    /// The cursor: a block shows its character in the colour of what is behind that.
    fn cursor(&mut self, snapshot: &Snapshot) {
        let cursor = snapshot.cursor;
        let row = snapshot.above.len() + cursor.line;
        let under = snapshot.screen.get(cursor.line).and_then(|line| at(line, cursor.column));
        let (column, width) = under.map_or((cursor.column, 1), |(column, run, _)| (column, run.width));
        let paint = under.map(|(_, run, _)| self.paint(&run.look));
        let colour = self.palette.cursor.unwrap_or(self.foreground);
        let (left, top, full) = (x(column), y(row), width as f64 * WIDTH);
        let (left, top, full, height) = match cursor.shape {
            CursorShape::Block => (left, top, full, HEIGHT),
            CursorShape::Underline => (left, top + HEIGHT - 2.0, full, 2.0),
            CursorShape::Bar => (left, top, 2.0, HEIGHT),
        };
        let _ = writeln!(
            self.texts,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{full:.2}\" height=\"{height}\" fill=\"{}\"/>",
            hex(colour)
        );
        if let (CursorShape::Block, Some((_, run, character)), Some(paint)) = (cursor.shape, under, paint) {
            let text = paint.back.filter(|back| *back != colour).unwrap_or(self.background);
            let weight = if run.look.has(Attributes::BOLD) { " font-weight=\"bold\"" } else { "" };
            self.glyphs(row, column, width, character, &format!(" fill=\"{}\"{weight}", hex(text)));
        }
    }
}

/// The parts of a text that have no more than one blank at a time in them, and where they are: viewers differ in what
/// they make of more.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    text.split("  ").filter_map(move |part| {
        let at = next + part.len() - part.trim_start_matches(' ').len();
        next += part.len() + 2;
        let word = part.trim_matches(' ');
        (!word.is_empty()).then_some((at, word))
    })
}

/// The character that is shown at a column: its first column, its run, and itself.
fn at(line: &SnapshotLine, column: usize) -> Option<(usize, &TextRun, &str)> {
    let run = line.runs.iter().find(|run| (run.column..run.column + run.columns()).contains(&column))?;
    let index = (column - run.column) / run.width;
    Some((run.column + index * run.width, run, run.characters.get(index)?))
}

/// One of 256 colours: those with names, a cube of six shades each, greys.
fn indexed(index: u8) -> Rgb {
    match index {
        0..16 => NAMED[usize::from(index)],
        16..232 => {
            let shade = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            let cube = index - 16;
            [shade(cube / 36), shade(cube / 6 % 6), shade(cube % 6)]
        }
        232.. => [8 + 10 * (index - 232); 3],
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text for XML, which has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            character if character.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TerminalSize, terminal::ShownScreen};

    #[test]
    fn wide_gaps_are_left_out_and_words_are_where_they_were() {
        let found: Vec<_> = words(" a b   c  d    ").collect();
        assert_eq!(found, [(1, "a b"), (7, "c"), (10, "d")]);
        assert_eq!(words("    ").count(), 0);
    }

    fn drawn(output: &str) -> String {
        let size = TerminalSize::new(20, 3).unwrap();
        picture(&ShownScreen::new(size, output.as_bytes(), 0).snapshot())
    }

    #[test]
    fn colours_weights_and_places_are_in_the_picture() {
        let svg = drawn("\x1b[?25lab\x1b[1;38;2;1;2;3mcd\x1b[m\x1b[7mx\x1b[m漢<&\x1b[48;5;196m ");
        for expected in [
            "fill=\"#d4d4d4\">ab</text>",
            "fill=\"#010203\" font-weight=\"bold\">cd</text>",
            "fill=\"#1b1d23\">x</text>",
            "textLength=\"16.80\" lengthAdjust=\"spacingAndGlyphs\" fill=\"#d4d4d4\">漢</text>",
            "&lt;&amp;</text>",
            "fill=\"#ff0000\" shape-rendering",
        ] {
            assert!(svg.contains(expected), "{expected} is not in:\n{svg}");
        }
    }

    #[test]
    fn the_cursor_shows_the_character_beneath_it_and_a_hidden_one_nothing() {
        let svg = drawn("ab\x1b[D\x1b[D");
        assert!(svg.contains("fill=\"#1b1d23\">a</text>"), "{svg}");
        assert!(!drawn("ab\x1b[D\x1b[D\x1b[?25l").contains("fill=\"#1b1d23\">a</text>"));
        assert!(drawn("\x1b[6 q").contains("width=\"2.00\" height=\"18\""));
    }

    #[test]
    fn colours_of_the_program_and_reverse_video_are_the_pictures() {
        let svg = drawn("\x1b]4;1;#112233\x1b\\\x1b]11;#445566\x1b\\\x1b[31mx\x1b[?5h");
        assert!(svg.contains("fill=\"#112233\">x</text>"), "{svg}");
        assert!(svg.contains("rx=\"6\" fill=\"#d4d4d4\""), "{svg}");
    }
}
