//! What a person does at a terminal, what it reports by itself, and what passes beside pictures.

use super::*;
use crate::TerminalSize;

const OF: TerminalSize = TerminalSize::DEFAULT;

/// What passes of `input`, from a terminal that shows this part.
fn through(part: Option<Part>, modes: Reports, input: &[u8]) -> Passed {
    let mut queries = Queries::new(true);
    let shows = if part.is_some() { Shows::Pictures(part) } else { SINCE_START };
    queries.joined(A, 1, shows, true);
    queries.set_modes(modes);
    ReplyFilter::default().filter(&mut queries, A, input, Instant::now())
}

fn modes(numbers: &[u16]) -> Reports {
    Reports::read(|number| numbers.contains(&number))
}

#[test]
fn keys_pastes_presses_and_the_wheel_are_use_and_nothing_else_is() {
    let x10 = modes(&[1003]);
    for (input, is_use) in [
        ("k", true),
        ("\r", true),
        ("\x1b[A", true),
        ("\x1b[97;5u", true),
        ("\x1b[97;5:2u", true),
        ("\x1b[200~", true),
        ("\x1b[<0;5;5M", true),
        ("\x1b[<64;5;5M", true),
        ("\x1b[32;5;5M", true),
        ("\x1b[M !!", true),
        ("\x1b[M`!!", true),
        ("\x1b]0;no\r", true),
        ("\x1b[97;5:3u", false),
        ("\x1b[1;2:3A", false),
        ("\x1b[<0;5;5m", false),
        ("\x1b[<35;5;5M", false),
        ("\x1b[<32;5;5M", false),
        ("\x1b[35;5;5M", false),
        ("\x1b[67;5;5M", false),
        ("\x1b[M#!!", false),
        ("\x1b[MC!!", false),
        ("\x1b[I", false),
        ("\x1b[O", false),
        ("\x1b[?997;2n", false),
        ("\x1b[48;24;80;0;0t", false),
        ("\x1b[?6c", false),
        ("\x1b]11;rgb:0/0/0\x07", false),
        ("\x1b]99;i=1;\x1b\\", false),
    ] {
        assert_eq!(through(None, x10, input.as_bytes()).is_use, is_use, "{input:?}");
    }
}

#[test]
fn a_click_on_a_picture_is_one_where_the_session_has_what_it_shows() {
    let part = Part { top: 10, left: 40, of: OF };
    for (numbers, typed, expected) in [
        (&[1000, 1006][..], "\x1b[<0;5;3M", "\x1b[<0;45;13M"),
        (&[1000, 1006], "\x1b[<35;40;14M", "\x1b[<35;80;24M"),
        (&[1000, 1006], "\x1b[<0;41;14M", ""),
        (&[1000, 1006], "\x1b[<0;40;15M", ""),
        (&[1000, 1006], "\x1b[<0;41;14m", ""),
        (&[1000, 1006], "\x1b[<35;65535;3M", ""),
        (&[1000, 1006], "\x1b[<0;1;1Mx\x1b[<0;90;90m", "\x1b[<0;41;11Mx\x1b[<0;80;24m"),
        (&[1000, 1006], "\x1b[<0;90;90M\x1b[<0;90;90m", ""),
        (&[1000, 1015], "\x1b[32;5;3M", "\x1b[32;45;13M"),
        (&[1000], "\x1b[M !!", "\x1b[M I+"),
        (&[1000], "\x1b[M I!x", "x"),
        (&[9], "\x1b[M \x1bx", "\x1b[M \x1bx"),
        (&[1002, 1005], "\x1b[M \u{21}!", "\x1b[M I+"),
        (&[1002, 1016], "\x1b[<0;5;3M", ""),
        (&[], "\x1b[M !!", "\x1b[M !!"),
    ] {
        let passed = through(Some(part), modes(numbers), typed.as_bytes()).bytes;
        assert_eq!(text(passed), expected, "{typed:?}");
        for split in 0..typed.len() {
            let mut queries = Queries::new(true);
            queries.joined(A, 1, Shows::Pictures(Some(part)), true);
            queries.set_modes(modes(numbers));
            // So that the ESC at a cut is kept.
            queries.printed(UNANSWERED.as_bytes(), 0, Instant::now());
            let mut typing = ReplyFilter::default();
            let (before, after) = typed.as_bytes().split_at(split);
            let mut passed = typing.filter(&mut queries, A, before, Instant::now()).bytes;
            passed.extend(typing.filter(&mut queries, A, after, Instant::now()).bytes);
            if split == 1 && queries.terminals[0].shows == Shows::Pictures(Some(part)) {
                // A lone ESC is a key where no reply is awaited.
                continue;
            }
            assert_eq!(text(passed), expected, "{typed:?} at {split}");
        }
        let whole = through(None, modes(numbers), typed.as_bytes()).bytes;
        assert_eq!(text(whole), typed, "in the session's own size");
    }
    let wide = Part { top: 0, left: 200, of: TerminalSize::new(500, 24).unwrap() };
    assert_eq!(
        through(Some(wide), modes(&[1000]), b"\x1b[MxxX").bytes,
        b"",
        "there is no word for that place"
    );
    let placed = through(Some(wide), modes(&[1000, 1005]), b"\x1b[M !!").bytes;
    assert_eq!(text(placed), "\x1b[M \u{e9}!");
}

#[test]
fn before_its_first_picture_a_terminal_has_nothing_to_click_on() {
    let mut queries = Queries::new(true);
    queries.joined(A, 1, Shows::Pictures(None), true);
    let passed = ReplyFilter::default().filter(&mut queries, A, b"\x1b[<0;5;3M", Instant::now());
    assert_eq!(passed, Passed { bytes: Vec::new(), is_use: true });
}

#[test]
fn the_terminal_used_last_tells_the_theme_to_programs_that_asked() {
    let mut watched = Watched::with(&[B, A], true);
    let report = "\x1b[?997;1n";
    assert_eq!(watched.a_types(report), "");
    watched.queries.set_modes(modes(&[2031]));
    assert_eq!(watched.a_types(report), report);
    assert_eq!(watched.b_types(report), "");
    watched.b_types("x");
    assert_eq!(watched.b_types(report), report);
}

#[test]
fn a_session_tells_its_size_itself() {
    let mut watched = Watched::with(&[A], true);
    watched.queries.resized(30, 100);
    assert_eq!(watched.typed(), "");
    watched.queries.set_modes(modes(&[2048]));
    watched.queries.resized(30, 100);
    assert_eq!(watched.typed(), "\x1b[48;30;100;0;0t");
    assert_eq!(watched.a_types("\x1b[48;24;80;480;640t"), "");
    for _ in 0..10_000 {
        watched.queries.resized(30, 100);
    }
    assert!(watched.queries.outbox.len() < MAX_OUTBOX + 100);
}

#[test]
fn a_program_is_told_when_its_last_terminal_leaves_and_one_is_used_again() {
    let mut watched = Watched::with(&[B, A], true);
    watched.queries.set_modes(modes(&[1004]));
    watched.queries.left(B, B.0, watched.now);
    assert_eq!(watched.typed(), "");
    watched.queries.left(A, A.0, watched.now);
    assert_eq!(watched.typed(), "\x1b[O");
    watched.queries.joined(A, 3, SINCE_START, true);
    assert_eq!(watched.a_types("\x1b[?6c"), "");
    assert_eq!(watched.a_types("k"), "\x1b[Ik");
    assert_eq!(watched.a_types("k\x1b[O"), "k\x1b[O");
    watched.queries.left(A, 3, watched.now);
    assert_eq!(watched.typed(), "", "it knows");
    watched.queries.joined(A, 4, SINCE_START, true);
    assert_eq!(watched.a_types("k\x1b[I"), "k\x1b[I", "its terminal says so");
    watched.queries.set_modes(Reports::default());
    watched.queries.left(A, 4, watched.now);
    assert_eq!(watched.typed(), "", "it does not want to know");
    watched.queries.set_modes(modes(&[1004]));
    assert_eq!(watched.typed(), "\x1b[O", "now it does");
}

#[test]
fn what_happened_to_a_notification_passes_unasked() {
    let mut watched = Watched::with(&[B, A], true);
    for event in ["\x1b]99;i=mine;\x1b\\", "\x1b]99;i=mine:p=close;\x1b\\"] {
        assert_eq!(watched.b_types(event), event);
    }
    // A locator reports in the words of an answer.
    assert_eq!(watched.b_types("\x1b[2;1;5;5&w"), "\x1b[2;1;5;5&w");
    watched.a_types("x");
    watched.print("\x1b['|");
    watched.model_says(&[None]);
    assert_eq!(watched.b_types("\x1b[2;1;5;5&w"), "");
    assert_eq!(watched.a_types("\x1b[2;1;5;5&w"), "\x1b[2;1;5;5&w");
    let paste = "\x1b]5522;type=read:status=OK\x1b\\";
    assert_eq!(watched.b_types(paste), "");
    watched.queries.set_modes(modes(&[5522]));
    assert_eq!(watched.b_types(paste), paste);
}

/// What passes of `output` to a terminal that is sent pictures, wherever it is cut.
fn asides(output: &str) -> String {
    let of = |cut: usize| {
        let mut watched = Watched::with(&[], true);
        watched.print(&output[..cut]);
        watched.print(&output[cut..]);
        text(watched.queries.asides(0, watched.at))
    };
    let whole = of(0);
    for cut in 0..output.len() {
        assert_eq!(of(cut), whole, "at {cut}");
    }
    whole
}

#[test]
fn what_stands_for_itself_is_kept_for_terminals_of_another_size() {
    for aside in [
        "\x07",
        "\x1b]52;c;aGk=\x07",
        "\x1b]52;;aGk=\x1b\\",
        "\x1b]52;c;\x07",
        "\x1b]9;done\x07",
        "\x1b]9;4 apples\x07",
        "\x1b]99;i=1:d=0;title\x1b\\",
        "\x1b]777;notify;title;body\x1b\\",
        "\x1b]1337;RequestAttention=yes\x07",
        "\x1b]1337;Copy=:aGk=\x07",
    ] {
        assert_eq!(asides(&format!("a{aside}b\x1b[mc")), aside);
    }
    for other in [
        "\x1b]9;4;1;50\x07",
        "\x1b]9;9;dir\x07",
        "\x1b]0;title\x07",
        "\x1b]777;other\x07",
        "\x1b]99;p=?;\x07",
        "\x1b]52;c;?\x07",
        "\x1b]52;c\x07",
        "\x1b]52;c;aGk=\x18",
        "\x1b]1337;File=:aGk=\x07",
        "\x1bPq\x07\x1b\\",
    ] {
        assert_eq!(asides(other), "", "{other:?}");
    }
    assert_eq!(asides("\x1b[\x07m\x1b\x07[m"), "\x07", "many bells at once are one");
}

#[test]
fn of_what_stands_for_itself_the_newest_is_kept_within_bounds() {
    let mut watched = Watched::with(&[], true);
    let clipboard = |bytes: usize| format!("\x1b]52;c;{}\x07", "A".repeat(bytes));
    watched.print("\x07");
    let large = clipboard(asides::MAX_ASIDE - 20);
    watched.print(&large);
    assert_eq!(text(watched.queries.asides(0, u64::MAX)), format!("\x07{large}"));
    let at = watched.at;
    watched.print(&clipboard(asides::MAX_ASIDE));
    assert_eq!(text(watched.queries.asides(at, u64::MAX)), "", "too large");
    watched.print(&clipboard(100));
    assert_eq!(text(watched.queries.asides(0, u64::MAX)), clipboard(100));
    assert_eq!(text(watched.queries.asides(watched.at, u64::MAX)), "", "it was passed before");
    for number in 0..1000 {
        watched.print(&format!("\x1b]9;{number}th\x07"));
    }
    let kept = text(watched.queries.asides(0, u64::MAX));
    assert!(kept.ends_with("\x1b]9;999th\x07") && kept.len() < 1000);
}
