//! What a redraw leaves out shows as a difference between two models: one that saw the output, and one that was given
//! the redraw over a screen full of something else. The wire tests compare through another emulator.

use alacritty_terminal::index::Line;
use proptest::prelude::*;

use super::{
    compare::{assert_same, assert_same_throughout, is_out_of_its_region, restored},
    emulator::Emulator,
    skip::Feed,
    *,
};

const SIZE: (u16, u16) = (20, 6);

fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

fn emulator_of(output: &[u8]) -> Emulator {
    let mut emulator = Emulator::new(size(SIZE.0, SIZE.1));
    emulator.advance(output);
    emulator
}

fn assert_redrawn(output: &[u8]) {
    let mut seen = emulator_of(output);
    let redraw = seen.redraw();
    let mut drawn = restored(size(SIZE.0, SIZE.1), &redraw);
    // A second redraw shows that the first changed nothing in the model.
    assert!(seen.redraw() == redraw, "a redraw changed what it drew");
    let after = format!("after {:?}", String::from_utf8_lossy(output));
    assert_same_throughout(&mut seen, &mut drawn, &after);
}

#[test]
fn a_redraw_restores_what_programs_rely_on() {
    for output in [
        "",
        "hello",
        "one\r\ntwo\r\n\x1b[31mred \x1b[1;4;7mloud",
        "a line that is longer than the screen is wide, twice over",
        "exactly twenty wide!",
        "exactly twenty wide!\x1b[?7l",
        "wide 漢字漢字漢字漢字漢字",
        "\u{e9} e\u{301} combined\u{301}\u{302}",
        "\x1b[3;5r\x1b[4;2Hin the region",
        "\x1b[2;4r\x1b[?6h\x1b[2;2Hrelative",
        "beneath\x1b[?1049hin front\x1b[2;3H",
        "beneath 漢字\x1b[5;5H\x1b[?1049h\x1b[7mfront",
        "\x1b[?1047hold form",
        "\x1b(0lqqk\x1b(B plain \x1b)0\x0eqqq",
        "\x1b[?1;1002;1006;2004;1004h\x1b=",
        "\x1b[?1003;1015;5h",
        "\x1b[4h\x1b[20hinserting",
        "\x1b[?7lno wrapping of this long line at all",
        "\x1b[?25l\x1b[4 q",
        "\x1b[6 q",
        "\x1b[?12h",
        "\x1b[4 q\x1b[?12h",
        "\x1b]2;a title\x07\x1b]0;another\x1b\\",
        "\x1b[2;2H\x1b[32m\x1b7\x1b[m\x1b[4;4Hsaved",
        "\x1b[3g\x1b[1;5H\x1bH\x1b[1;9H\x1bH\r\tx",
        "\x1b[44m\x1b[2J\x1b[3;3Hon blue\x1b[K",
        "\x1b]8;;http://example.com/\x1b\\link\x1b]8;;\x1b\\ no link",
        "am\x1b]8;;http://example.com/\x1b\\\x1b[?1049h\x1b[2;3Hlink",
        "   indented",
        "\x1b[38;2;1;2;3m\x1b[48;5;200mcolours\x1b[58:2::9:8:7m\x1b[4:3mcurly",
        "\x1b[>1u\x1b[>5u\x1b[=3u",
        "\x1b[>4;2m",
        "\x1b[9mstruck\x1b[2mdim\x1b[3mitalic\x1b[8mhidden\x1b[21mdouble",
        "tabs\there\tand there",
        "\x1b#8",
        "\u{1b}[1;20H漢",
        "éaé\r\né é漢 漢x\u{1F600}x漢",
    ] {
        assert_redrawn(output.as_bytes());
        // Whatever it is cut into.
        let mut cut = Emulator::new(size(SIZE.0, SIZE.1));
        output.as_bytes().iter().for_each(|byte| cut.advance(&[*byte]));
        let whole = emulator_of(output.as_bytes());
        assert_same(&cut, &whole, output);
        for at in 1..output.len() {
            let (before, after) = output.as_bytes().split_at(at);
            let mut cut = emulator_of(before);
            cut.advance(after);
            assert_same(&cut, &whole, &format!("{output:?} cut at {at}"));
        }
    }
}

#[test]
fn colours_of_the_palette_are_restored_and_those_missed_are_reset() {
    let mut seen = emulator_of(b"\x1b]4;1;rgb:11/22/33\x1b\\\x1b]11;rgb:44/55/66\x1b\\");
    let mut drawn = emulator_of(b"\x1b]4;2;rgb:99/99/99\x1b\\");
    drawn.advance(&seen.redraw());
    for index in 0..258 {
        assert_eq!(seen.screen.term.colors()[index], drawn.screen.term.colors()[index], "{index}");
    }
}

fn token() -> impl Strategy<Value = String> {
    let number = || 0..9_u16;
    prop_oneof![
        6 => "[a-zA-Z ]{1,8}",
        2 => "[漢字é\u{301}\u{1F600}]{1,4}",
        3 => Just("\r\n".to_owned()),
        1 => prop_oneof![Just("\r"), Just("\n"), Just("\x08"), Just("\t"), Just("\x0e"), Just("\x0f"), Just("\x1bM"),
            Just("\x1b7"), Just("\x1b8"), Just("\x1bH"), Just("\x1b(0"), Just("\x1b(B"), Just("\x1b)0"),
            Just("\x1bE"), Just("\x1bD"), Just("\x1bc")].prop_map(str::to_owned),
        3 => (number(), number()).prop_map(|(row, column)| format!("\x1b[{row};{}H", column * 3)),
        2 => (number(), "[ABCDEFGXPLMST@JKdb]").prop_map(|(count, action)| {
            format!("\x1b[{}{action}", if action == "J" || action == "K" { count % 3 } else { count })
        }),
        1 => (number(), number()).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
        3 => prop::collection::vec(prop_oneof![0..10_u16, 30..38_u16, 40..48_u16, 90..98_u16], 1..3)
            .prop_map(|codes| {
                let codes: Vec<_> = codes.iter().map(u16::to_string).collect();
                format!("\x1b[{}m", codes.join(";"))
            }),
        2 => (prop_oneof![Just(1), Just(6), Just(7), Just(25), Just(1000), Just(1049), Just(2004), Just(1002), Just(1048)],
            any::<bool>()).prop_map(|(mode, set)| format!("\x1b[?{mode}{}", if set { 'h' } else { 'l' })),
        1 => (prop_oneof![Just(4), Just(20)], any::<bool>())
            .prop_map(|(mode, set)| format!("\x1b[{mode}{}", if set { 'h' } else { 'l' })),
    ]
}

proptest! {
    #[test]
    fn a_redraw_restores_whatever_was_printed(tokens in prop::collection::vec(token(), 0..60)) {
        let output = tokens.concat();
        prop_assume!(!is_out_of_its_region(&emulator_of(output.as_bytes())));
        assert_redrawn(output.as_bytes());
    }

    #[test]
    fn what_is_skipped_leaves_no_trace(
        runs in prop::collection::vec((prop::collection::vec(token(), 0..8), 0..2_usize, "[a-z]{0,30}", any::<bool>()), 1..6),
        cut in 1..5000_usize,
    ) {
        let mut output = String::new();
        for (tokens, repeat, word, returns) in runs {
            output += &tokens.concat();
            let end = if returns { "\r\n" } else { "\n" };
            for line in 0..repeat * 400 {
                output += &match line % 100 {
                    7 => format!("{word} \x1b[{};4m漢{end}", 31 + line % 7),
                    13 => format!("\x1b[7m{word}\x1b[48;5;{}m{end}", line % 256),
                    50 => format!("{word}\x1b[m{end}"),
                    _ => format!("{word} 漢\t{end}"),
                };
            }
        }
        let mut whole = Emulator::new(size(SIZE.0, SIZE.1));
        let mut spared = Emulator::new(size(SIZE.0, SIZE.1));
        for piece in output.as_bytes().chunks(cut) {
            whole.feed_all(piece);
            spared.advance(piece);
        }
        assert_same(&whole, &spared, "what was spared the model left a trace");
    }

    #[test]
    fn no_output_is_too_strange(output in prop::collection::vec(prop_oneof![
        3 => any::<u8>(), 2 => 0x1b..0x1c_u8, 2 => b'['..=b'_', 2 => b'0'..=b';'], 0..2000)) {
        let mut emulator = emulator_of(&output);
        restored(size(SIZE.0, SIZE.1), &emulator.redraw());
        for (cols, rows) in [(1, 1), (3, 2), (40, 3), (200, 60)] {
            emulator.picture(size(cols, rows));
            emulator.resize(size(cols, rows));
            emulator.advance(&output);
            emulator.redraw();
        }
    }
}

#[test]
fn a_flood_of_text_is_mostly_skipped_and_titles_do_not_fill_the_memory() {
    struct Count(usize);
    impl Feed for Count {
        fn feed(&mut self, bytes: &[u8]) {
            self.0 += bytes.len();
        }
        fn scrolling_rows(&self) -> Option<usize> {
            Some(24)
        }
    }
    for line in ["a line of a flood that nobody will ever see\r\n", "\x1b[1;31ma line\x1b[m in colours\r\n"] {
        let (mut fed, mut skipper) = (Count(0), skip::ScrollSkipper::default());
        let flood = line.repeat(100_000);
        for chunk in flood.as_bytes().chunks(64 * 1024) {
            skipper.advance(chunk, &mut fed);
        }
        assert!(fed.0 < flood.len() / 10, "{} of {} bytes", fed.0, flood.len());
    }

    let mut fed = Count(0);
    let mut skipper = skip::ScrollSkipper::default();
    skipper.advance(b"\x1b]2;", &mut fed);
    for _ in 0..1000 {
        skipper.advance(&[b'x'; 1000], &mut fed);
    }
    skipper.advance(b"\x1b\\\x1bPq", &mut fed);
    for _ in 0..1000 {
        skipper.advance(&[b'x'; 1000], &mut fed);
    }
    skipper.advance(b"\x1b\\text", &mut fed);
    assert!(fed.0 < 10_000, "{} bytes", fed.0);
}

#[test]
fn combining_characters_do_not_fill_the_memory() {
    let mut emulator = emulator_of(format!("a{}", "\u{301}".repeat(1000)).as_bytes());
    assert!(emulator.redraw().len() < 2000);
}

#[test]
fn a_picture_shows_the_part_around_the_cursor_and_nothing_beyond() {
    let mut emulator = Emulator::new(size(80, 24));
    emulator.advance(b"top left\x1b[24;70Hbottom");
    for (cols, rows) in [(80, 10), (40, 24), (100, 30), (20, 5), (1, 1)] {
        let mut viewer = vt100::Parser::new(rows, cols, 0);
        viewer.process(&emulator.picture(size(cols, rows)).bytes);
        let shown = viewer.screen().contents();
        if cols >= 20 {
            assert!(shown.contains("bottom"), "{cols}x{rows}: {shown:?}");
        }
        assert_eq!(shown.contains("top left"), cols >= 80 && rows >= 24, "{cols}x{rows}: {shown:?}");
    }
}

#[test]
fn a_picture_has_whole_lines_to_their_last_character() {
    let mut emulator = Emulator::new(size(80, 24));
    let line = "0123456789".repeat(8);
    emulator.advance(line.repeat(3).as_bytes());
    // Over a screen full of something else.
    let mut viewer = Emulator::new(size(40, 24));
    viewer.advance("x".repeat(24 * 40).as_bytes());
    let picture = emulator.picture(size(40, 24)).bytes;
    viewer.advance(&picture);
    // Some terminals would erase the last character with the rest of its line.
    assert!(!String::from_utf8(picture).unwrap().contains("9\x1b[m\x1b[K"));
    let grid = viewer.screen.term.grid();
    let shown = |row: i32| grid[Line(row)][..].iter().map(|cell| cell.c).collect::<String>();
    assert_eq!([shown(0), shown(2)], [&line[40..], &line[40..]]);
    assert_eq!(shown(3).trim_end(), "");
}
