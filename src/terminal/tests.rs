//! What a redraw leaves out shows as a difference between two models: one that saw the output, and one that was given
//! the redraw over a screen full of something else. The wire tests compare through another emulator.

use proptest::prelude::*;

use super::{
    compare::{assert_same, assert_same_history, assert_same_throughout, is_out_of_its_region, restored},
    emulator::Emulator,
    modes::{MODES, Number},
    skip::Sink,
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
    let set = |emulator: &Emulator| {
        let colours = emulator.state.settings.colours.iter().filter(|(_, colour)| colour.is_some());
        colours.map(|(name, colour)| (name.clone(), colour.clone())).collect::<Vec<_>>()
    };
    assert_eq!(set(&seen).len(), 2);
    // The one that the redraw was not told of is not touched: it may be the person's own.
    drawn.advance(b"\x1b]104;2\x1b\\");
    assert_eq!(set(&seen), set(&drawn));
}

/// One sequence of those that the table and the settings are about, or that move, write and erase.
fn sequence() -> impl Strategy<Value = String> {
    let number = || 0..9_u16;
    let mode = (0..MODES.len(), any::<bool>()).prop_map(|(row, set)| {
        let last = if set { 'h' } else { 'l' };
        match MODES[row].number {
            Number::Ansi(number) => format!("\x1b[{number}{last}"),
            Number::Private(number) => format!("\x1b[?{number}{last}"),
        }
    });
    let rectangle = prop::collection::vec(number(), 4).prop_map(|sides| {
        let [top, left, height, width] = [sides[0], sides[1] * 2, sides[2], sides[3] * 3];
        format!("{top};{left};{};{}", top + height, left + width)
    });
    let in_rectangle =
        (rectangle, 0..8_usize, number(), number()).prop_map(|(area, which, a, b)| match which {
            0 => format!("\x1b[{};{area}$x", 88 + a),
            1 => format!("\x1b[{area}$z"),
            2 => format!("\x1b[{area}${{"),
            3 => format!("\x1b[{area};1;{a};{b};1$v"),
            4 => format!("\x1b[{area};1;4;7$r"),
            5 => format!("\x1b[{area};0$t"),
            6 => format!("\x1b[{a}*x"),
            _ => format!("\x1b[{a};{b}s"),
        });
    let fixed = prop::sample::select(vec![
        "\x1bc",
        "\x1b[!p",
        "\x1b7",
        "\x1b8",
        "\x1bH",
        "\x1bM",
        "\x1bD",
        "\x1bE",
        "\x1b6",
        "\x1b9",
        "\x1bN",
        "\x1bO",
        "\x1bn",
        "\x1bo",
        "\x0e",
        "\x0f",
        "\x1b(0",
        "\x1b(B",
        "\x1b)0",
        "\x1b*K",
        "\x1b+A",
        "\x1bV",
        "\x1bW",
        "\x1b[1\"q",
        "\x1b[0\"q",
        "\x1b[?J",
        "\x1b[?1K",
        "\x1b[3J",
        "\x1b[s",
        "\x1b[u",
        "\x1b[1#{",
        "\x1b[#}",
        "\x1b[62\"p",
        "\x1b[5W",
        "\x1b[?5W",
        "\x1b[3g",
        "\x1b[g",
        "\x1b#8",
        "\x1b#6",
        "\x1b#5",
        "\x1b=",
        "\x1b>",
        "\x1b F",
        "\x1b G",
        "\x1b[>1u",
        "\x1b[>5u",
        "\x1b[<u",
        "\x1b[<3u",
        "\x1b[=3;1u",
        "\x1b[=4;2u",
        "\x1b[=1;3u",
        "\x1b[>4;2m",
        "\x1b[>4m",
        "\x1b[>m",
        "\x1b[>2;1m",
        "\x1b[>4;1f",
        "\x1b[>4n",
        "\x1b[3 q",
        "\x1b[0 q",
        "\x1b[>2p",
        "\x1b[>2t",
        "\x1b[>2T",
        "\x1b[22;0t",
        "\x1b[23;0t",
        "\x1b[22;2t",
        "\x1b]0;both\x07",
        "\x1b]1;icon\x1b\\",
        "\x1b]2;title\x1b\\",
        "\x1b]4;1;rgb:11/22/33;200;#445566\x07",
        "\x1b]104;1\x07",
        "\x1b]104\x07",
        "\x1b]5;0;red\x07",
        "\x1b]10;#123456;blue\x07",
        "\x1b]17;green\x1b\\",
        "\x1b]111\x07",
        "\x1b]21;foreground=red;cursor=?\x07",
        "\x1b]21;foreground\x07",
        "\x1b]7;file://host/tmp\x07",
        "\x1b]22;text\x07",
        "\x1b]22;>wait\x07",
        "\x1b]22;<\x07",
        "\x1b]9;4;1;50\x07",
        "\x1b]9;4;0\x07",
        "\x1b]8;;http://a.b/\x1b\\",
        "\x1b]8;id=1;http://a.b/c\x1b\\",
        "\x1b]8;;\x1b\\",
        "\x1b[?1004s",
        "\x1b[?1004r",
        "\x1b[?7;1000s",
        "\x1b[?7;1000r",
        "\x1b_Gi=1,a=q;AAAA\x1b\\",
        "\x1bPq#0\x1b\\",
        "\u{9b}2J",
        "\u{84}",
        "\u{9d}2;x\u{7}",
    ]);
    prop_oneof![
        6 => fixed.prop_map(str::to_owned),
        4 => mode,
        2 => in_rectangle,
        3 => (number(), number()).prop_map(|(row, column)| format!("\x1b[{row};{}H", column * 3)),
        3 => (number(), "[ABCDEFGXPLMST@JKdbIZae`]").prop_map(|(count, action)| {
            format!("\x1b[{}{action}", if action == "J" || action == "K" { count % 3 } else { count })
        }),
        1 => (number(), "[@A]|'[}~]").prop_map(|(count, action)| {
            let space = if action.starts_with('\'') { "" } else { " " };
            format!("\x1b[{}{space}{action}", count % 4)
        }),
        2 => (number(), number()).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r")),
        3 => prop::collection::vec(prop::sample::select(vec![
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "22", "24", "25", "27", "31", "42", "95", "106", "39", "49",
            "38;5;1", "48;5;200", "38;2;1;2;3", "38:2::4:5:6", "48:5:7", "58:5:3", "58;2;7;8;9", "59", "4:3", "4:0", "53", "55",
        ]), 1..4).prop_map(|codes| format!("\x1b[{}m", codes.join(";"))),
    ]
}

/// What leaving is to put back.
fn undone_state(emulator: &Emulator) -> Vec<String> {
    let state = &emulator.state;
    let settings = &state.settings;
    let set = (0..MODES.len()).filter(|row| state.is_set(*row)).map(|row| MODES[row].name);
    let flags = settings.keyboards.each_ref().map(|keyboard| (keyboard.flags, keyboard.stack.clone()));
    let colours = settings.colours.iter().filter(|(_, colour)| colour.is_some());
    vec![
        format!("{:?}", set.collect::<Vec<_>>()),
        format!("{flags:?} {:?} {:?}", settings.titles.window, settings.title_stack),
        format!(
            "{:?} {:?}",
            settings.key_modifiers.map(Option::flatten),
            settings.key_formats.map(Option::flatten)
        ),
        format!("{:?} {:?}", settings.cursor_style.unwrap_or(0), colours.collect::<Vec<_>>()),
        format!("{:?} {:?}", settings.pointer.as_deref().unwrap_or(""), settings.pointer_stack),
        format!("{:?} {:?}", settings.pointer_mode.unwrap_or(1), settings.progress.as_deref().unwrap_or("0")),
        format!("{} {} {}", settings.title_modes, settings.eight_bit_replies, settings.attribute_extent),
        // A character set for one character can't be taken back without one.
        format!("{:?} {:?} {} {:?}", state.margins(), state.charsets.sets, state.charsets.active, state.pen),
        format!("{:?}", (0..80).filter(|column| state.tabs.is_stop(*column)).collect::<Vec<_>>()),
        format!("{}", emulator.parser.is_amid()),
    ]
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[a-zA-Z ]{1,8}".prop_map(String::into_bytes),
        2 => "[漢字é\u{301}\u{1F600}❤\u{fe0f}\u{ad}]{1,4}".prop_map(String::into_bytes),
        3 => Just(b"\r\n".to_vec()),
        1 => prop::sample::select(vec!["\r", "\n", "\x08", "\t", "\x0b"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec![b"caf\xe9 ".to_vec(), b"\xf0\x9f".to_vec(), b"\xff\xfe".to_vec()]),
        8 => sequence().prop_map(String::into_bytes),
    ]
}

#[test]
fn a_backspace_to_the_line_before_is_not_skipped() {
    for after in 90..130 {
        let output = [b"\x1b[?45h".to_vec(), b" x\r\n".repeat(1200), b"\x08aaa\r\n".repeat(after)].concat();
        let [mut whole, mut spared] = [(); 2].map(|()| Emulator::with_history(size(SIZE.0, SIZE.1), 100));
        whole.feed_all(&output);
        spared.advance(&output);
        assert_same(&whole, &spared, &format!("{after} lines after it"));
        assert_same_history(&mut whole, &mut spared);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_redraw_restores_whatever_was_printed(tokens in prop::collection::vec(token(), 0..60)) {
        let output = tokens.concat();
        prop_assume!(!is_out_of_its_region(&emulator_of(&output)));
        assert_redrawn(&output);
    }

    #[test]
    fn a_late_joiner_sees_what_all_see_wherever_it_joins(tokens in prop::collection::vec(token(), 0..40), cut in any::<prop::sample::Index>()) {
        let output = tokens.concat();
        let (before, after) = output.split_at(cut.index(output.len() + 1));
        let mut seen = emulator_of(before);
        prop_assume!(!is_out_of_its_region(&seen));
        let mut joined = restored(size(SIZE.0, SIZE.1), &seen.redraw());
        seen.advance(after);
        joined.advance(after);
        let what = format!("{:?} cut at {}", String::from_utf8_lossy(&output), before.len());
        assert_same_throughout(&mut seen, &mut joined, &what);
    }

    #[test]
    fn what_was_done_to_a_terminal_is_undone(tokens in prop::collection::vec(token(), 0..40)) {
        let output = tokens.concat();
        let mut terminal = Emulator::new(size(80, 6));
        let mut modes = ChangedModes::default();
        modes.set_columns(80);
        // What the person had before, beneath. A program that takes away more than it put there takes that.
        let takes = |token: &Vec<u8>| token == b"\x1bc" || token.starts_with(b"\x1b[<") || token.starts_with(b"\x1b[23;");
        prop_assume!(!tokens.iter().any(takes));
        let before = b"\x1b]2;the person's own\x07\x1b[=2;1u";
        terminal.advance(before);
        terminal.advance(modes.enter());
        modes.follow(&output);
        terminal.advance(&output);
        terminal.advance(&modes.undo());
        let left = undone_state(&terminal);
        let mut fresh = Emulator::new(size(80, 6));
        fresh.advance(before);
        assert_eq!(left, undone_state(&fresh), "after {:?}, undone by {:?}", String::from_utf8_lossy(&output),
            String::from_utf8_lossy(&modes.undo()));
    }

    #[test]
    fn nothing_depends_on_where_output_is_cut(tokens in prop::collection::vec(token(), 0..30), cuts in 0..=255_u8) {
        let output = tokens.concat();
        let mut cut = Emulator::new(size(SIZE.0, SIZE.1));
        crate::fuzz::input::pieces(&output, cuts).for_each(|piece| {
            cut.rest();
            cut.advance(piece);
        });
        assert_same(&cut, &emulator_of(&output), &format!("{:?}", String::from_utf8_lossy(&output)));
    }

    #[test]
    fn what_is_skipped_leaves_no_trace(
        runs in prop::collection::vec((prop::collection::vec(token(), 0..8), 0..2_usize, "[a-z]{0,30}", any::<bool>()), 1..6),
        cut in 1..5000_usize,
    ) {
        let mut output = Vec::new();
        for (tokens, repeat, word, returns) in runs {
            output.extend(tokens.concat());
            let end = if returns { "\r\n" } else { "\n" };
            for line in 0..repeat * 400 {
                let line = match line % 100 {
                    7 => format!("{word} \x1b[{};4m漢{end}", 31 + line % 7),
                    13 => format!("\x1b[7m{word}\x1b[48;5;{}m{end}", line % 256),
                    50 => format!("{word}\x1b[m{end}"),
                    _ => format!("{word} 漢\t{end}"),
                };
                output.extend(line.as_bytes());
            }
        }
        let mut whole = Emulator::new(size(SIZE.0, SIZE.1));
        let mut spared = Emulator::new(size(SIZE.0, SIZE.1));
        for (at, piece) in output.chunks(cut).enumerate() {
            whole.feed_all(piece);
            spared.advance(piece);
            if at % 100 == 0 {
                spared.rest();
            }
        }
        // To be looked at.
        spared.advance(b"");
        assert_same(&whole, &spared, "what was spared the model left a trace");
        assert_same_history(&mut whole, &mut spared);
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
fn a_pen_that_was_saved_is_undone_when_it_comes_back() {
    let pens = [
        ("\x1b]8;;http://a.b/\x1b\\", "\x1b]8;;\x1b\\"),
        ("\x1b[1\"q", "\x1b[0\"q"),
        ("\x1bV", "\x1bW"),
        ("\x1b(0", "\x1b(B"),
    ];
    for (set, reset) in pens {
        for (save, comes_back) in [("\x1b[?1049h", ""), ("\x1b7", "\x1b8"), ("\x1b[?1048h", "\x1b[?1048l")] {
            let output = format!("{set}{save}{reset}x{comes_back}");
            let mut terminal = Emulator::new(size(80, 6));
            let mut modes = ChangedModes::default();
            modes.follow(output.as_bytes());
            terminal.advance(output.as_bytes());
            terminal.advance(&modes.undo());
            assert_eq!(
                undone_state(&terminal),
                undone_state(&Emulator::new(size(80, 6))),
                "after {output:?}"
            );
        }
    }
}

#[test]
fn a_flood_of_text_is_mostly_skipped_and_titles_do_not_fill_the_memory() {
    struct Count(usize);
    impl Sink for Count {
        fn feed(&mut self, bytes: &[u8]) {
            self.0 += bytes.len();
        }
        fn scrolling_rows(&self) -> Option<usize> {
            Some(24)
        }
        fn history_lines(&self) -> usize {
            100
        }
        fn skip(&mut self, text: &[u8]) {
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 100);
        }
        fn resume(&mut self) {}
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
fn a_model_that_rests_is_as_it_was_whatever_it_is_asked() {
    fn resize(model: &mut Emulator) -> Vec<u8> {
        model.resize(size(SIZE.0 - 2, SIZE.1 + 1));
        model.redraw()
    }
    let ways: [fn(&mut Emulator) -> Vec<u8>; 5] = [
        Emulator::redraw,
        |model| model.redraw_with_history(9),
        |model| model.picture(size(7, 3)).bytes,
        |model| model.answer(b"\x1b[18t").unwrap_or_default(),
        resize,
    ];
    let output = b"\x1b[31mred\r\n\xe6\xbc\xa2 wide\x1b[?1049h\x1b[4;2Hother\x1b[1;3";
    let mut rested = emulator_of(output);
    for (number, ask) in ways.iter().enumerate() {
        rested.rest();
        rested.rest();
        assert_eq!(ask(&mut rested), ask(&mut emulator_of(output)), "way {number}");
    }
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

#[cfg(feature = "cli")]
#[test]
fn a_picture_of_the_other_screen_leaves_the_first_one_as_it_was() {
    let mut emulator = Emulator::new(size(80, 24));
    emulator.advance(b"shell\x1b[?1049h\x1b[>1u\x1b[H\x1b[2Jeditor");
    let (mut viewer, mut seen) = (vt100::Parser::new(10, 40, 0), ChangedModes::default());
    viewer.process(b"a person's own\r\n");
    let mut show = |emulator: &mut Emulator| {
        let picture = seen.on_top(&emulator.picture(size(40, 10)).bytes);
        seen.follow(&picture);
        viewer.process(&picture);
        let screen = viewer.screen();
        let shown = (screen.alternate_screen(), screen.contents());
        viewer.process(&seen.undo());
        let left = (viewer.screen().alternate_screen(), viewer.screen().contents());
        viewer.process(&picture);
        (shown, left, String::from_utf8(seen.undo()).unwrap())
    };
    for _ in 0..2 {
        let ((on_other, shown), (still_on_other, left), undo) = show(&mut emulator);
        assert!(on_other && shown.contains("editor") && !shown.contains("own"), "{shown:?}");
        assert!(!still_on_other && left.contains("own") && !left.contains("editor"), "{left:?}");
        // However many pictures there were, the keyboard was pushed once.
        assert!(undo.contains("\x1b[<1u"), "{undo:?}");
    }
    emulator.advance(b"\x1b[<u\x1b[?1049l");
    let ((on_other, shown), ..) = show(&mut emulator);
    assert!(!on_other && shown.contains("shell"), "{shown:?}");
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
    let grid = viewer.state.grid();
    let text = |cell: &super::cell::Cell| cell.glyph.as_char().unwrap_or(' ');
    let shown = |row: usize| grid.lines[row].cells.iter().map(text).collect::<String>();
    assert_eq!([shown(0), shown(2)], [&line[40..], &line[40..]]);
    assert_eq!(shown(3).trim_end(), "");
}
