//! The model of a screen, and the modes a client tracks, fed bytes of any kind.

use super::{
    ScreenModel,
    compare::{assert_same, assert_same_throughout, is_out_of_its_region, restored},
    emulator::Emulator,
    output_text::OutputText,
    snapshot::ShownScreen,
    undo::ChangedModes,
};
use crate::{
    TerminalSize,
    fuzz::input::{choice, pieces},
};

/// More than a terminal of the sizes used here takes to be drawn, but for what the output itself brings in: links.
const MAX_DRAWN: usize = 64 * 1024;

/// Shows output on a small terminal, several times over so that text scrolls away: what is spared the model leaves no
/// trace, a redraw restores everything and changes nothing, and drawing at any size and resizing do no harm.
pub(crate) fn screen(input: &[u8]) {
    let (cols, input) = choice(input);
    let (rows, input) = choice(input);
    let (cut, input) = choice(input);
    let (times, input) = choice(input);
    let size = size(cols % 24, rows % 8);
    // Enough for a run of text to be worth skipping; often once, because most inputs are about sequences.
    let times = match times {
        0..192 => 1,
        times => usize::from(times) - 190,
    };
    let output = input.repeat(times);

    let mut whole = Emulator::new(size);
    whole.feed_all(&output);
    let mut spared = Emulator::new(size);
    pieces(&output, cut).for_each(|piece| spared.advance(piece));
    assert_same(&spared, &whole, "what was spared the model left a trace");

    let redraw = spared.redraw();
    assert!(redraw.len() <= MAX_DRAWN + 200 * output.len());
    assert!(spared.redraw() == redraw, "a redraw changed what it drew");
    if !is_out_of_its_region(&spared) {
        let mut drawn = restored(size, &redraw);
        assert_same_throughout(&mut drawn, &mut whole, "the redraw misses something");
    }
    let mut shown = ShownScreen::new(size, &redraw, 10);
    let (before, after) = shown.text();
    let snapshot = shown.snapshot();
    assert_eq!(snapshot.screen.len(), usize::from(size.rows()));
    for run in snapshot.screen.iter().flat_map(|line| &line.runs) {
        assert!(run.column + run.columns() <= snapshot.columns);
        assert!(!run.text().contains(char::is_control), "a control character on a screen");
    }
    assert!(!(before + &after).contains(|letter: char| letter.is_control() && letter != '\n'));
    for other in [self::size(0, 0), self::size(2, 1), self::size(cols % 80, rows % 16)] {
        spared.picture(other);
        spared.resize(other);
        spared.advance(input);
        spared.redraw();
    }
}

fn size(cols: u8, rows: u8) -> TerminalSize {
    TerminalSize::new(u16::from(cols) + 1, u16::from(rows) + 1).unwrap_or(TerminalSize::DEFAULT)
}

/// Follows a session's output: however it comes, the same is undone at the end, and undoing it leaves little to undo.
/// Its text is the same as well, and has no control characters but the ends of lines and tabs.
pub(crate) fn modes(input: &[u8]) {
    let (cut, output) = choice(input);
    let (mut text, mut reader) = (String::new(), OutputText::default());
    pieces(output, cut).for_each(|piece| reader.append(piece, &mut text));
    let mut at_once = String::new();
    OutputText::default().append(output, &mut at_once);
    assert_eq!(text, at_once);
    assert!(!text.contains(|letter: char| letter.is_control() && !"\n\t".contains(letter)));
    let mut whole = ChangedModes::default();
    whole.follow(output);
    let mut pieced = ChangedModes::default();
    pieces(output, cut).for_each(|piece| pieced.follow(piece));
    let undo = whole.undo();
    assert_eq!(undo, pieced.undo());
    assert!(undo.len() <= MAX_DRAWN + 2 * output.len());
    assert_eq!(undo.is_empty(), output.is_empty());
    whole.follow(&undo);
    // What is reset is remembered as changed, and reset once more.
    let rest = whole.undo();
    whole.follow(&rest);
    assert_eq!(whole.undo(), rest);
}
