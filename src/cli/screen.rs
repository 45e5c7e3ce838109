//! `screen`: what a session shows, for programs and people who do not attach.

mod json;
mod svg;

use std::io::{self, Write};

use super::{Exit, Globals, block_on, target::SessionArg};
use crate::terminal::{ShownScreen, Snapshot, SnapshotLine};

/// Prints what a session shows, without attaching to it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line of the screen is a line of text, without the blanks at its end. Nobody waits for this, \
and no size changes. docs/scripts.md describes the JSON, and says how to wait for what a session shows."
)]
pub(super) struct Args {
    /// The session's name, or its beginning
    name: SessionArg,
    /// With colours and attributes, as escape sequences
    #[arg(long, group = "form")]
    ansi: bool,
    /// As JSON: runs of characters with their looks, cursor, title, modes, size
    #[arg(long, group = "form")]
    json: bool,
    /// As a picture, in SVG
    #[arg(long, group = "form")]
    svg: bool,
    /// Lines above the screen to print before it, at most
    #[arg(long, value_name = "LINES")]
    lines: Option<u32>,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let lines = args.lines.unwrap_or(0);
        let (mut client, target) = common.connect_to(&args.name).await?;
        let screen = client.read_screen(target, lines).await?;
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        let snapshot = ShownScreen::new(screen.size, &screen.drawing, lines).snapshot();
        if args.json {
            super::print_json(&json::Described::new(&screen, &snapshot))?;
            return Ok(Exit::SUCCESS);
        }
        let text = match (args.ansi, args.svg) {
            (true, _) => with_looks(&snapshot),
            (_, true) => svg::picture(&snapshot).into_bytes(),
            _ => plain(&snapshot),
        };
        match io::stdout().lock().write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Exit::SUCCESS),
        }
    })
}

fn all_lines(snapshot: &Snapshot) -> impl Iterator<Item = &SnapshotLine> {
    snapshot.above.iter().chain(&snapshot.screen)
}

fn plain(snapshot: &Snapshot) -> Vec<u8> {
    let mut text = String::new();
    for line in all_lines(snapshot) {
        let line = line.text();
        text += line.trim_end_matches(' ');
        text.push('\n');
    }
    text.into_bytes()
}

/// Each line by itself: it begins and ends with no look.
fn with_looks(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    for line in all_lines(snapshot) {
        let mut before = None;
        for run in &line.runs {
            let sgr = run.look.sgr();
            if before.as_ref() != Some(&sgr) && (before.is_some() || sgr != b"\x1b[0m") {
                out.extend(&sgr);
            }
            before = Some(sgr);
            if run.look.link.is_empty() {
                out.extend(run.text().bytes());
            } else {
                out.extend(format!("\x1b]8;;{}\x1b\\{}\x1b]8;;\x1b\\", run.look.link, run.text()).bytes());
            }
        }
        if before.is_some_and(|sgr| sgr != b"\x1b[0m") {
            out.extend(b"\x1b[m");
        }
        out.push(b'\n');
    }
    out
}
