//! Presses of the key and what only looks like one, whole and cut at every byte.

use proptest::prelude::*;

use super::*;

const BACKSLASH: u8 = 0x1c;

/// What `input` does in one piece, with the moment after it.
fn found(key: u8, input: &[u8]) -> KeysFound {
    found_in([input].into_iter(), key)
}

/// What pieces do that come right after each other, with the moment after them.
fn found_in<'a>(pieces: impl Iterator<Item = &'a [u8]>, key: u8) -> KeysFound {
    let (mut finder, now) = (KeyFinder::new(key), Instant::now());
    let mut all = KeysFound::default();
    for piece in pieces {
        let found = finder.find(piece, now);
        assert!(finder.kept.len() <= MAX_KEPT);
        all.passes.extend(found.passes);
        if found.is_pressed {
            return KeysFound { is_pressed: true, ..all };
        }
    }
    let found = finder.flush();
    all.passes.extend(found.passes);
    KeysFound { is_pressed: found.is_pressed, ..all }
}

#[track_caller]
fn pressed(key: u8, input: &str) {
    let text = [b"a", input.as_bytes(), b"z"].concat();
    assert_eq!(found(key, &text), KeysFound { passes: b"a".to_vec(), is_pressed: true }, "{input:?}");
    for at in 1..text.len() {
        let (before, after) = text.split_at(at);
        let KeysFound { mut passes, is_pressed } = found_in([before, after].into_iter(), key);
        // An ESC that comes alone passes at once.
        passes.pop_if(|last| *last == ESC);
        assert_eq!((passes.as_slice(), is_pressed), (&b"a"[..], true), "{input:?} cut at {at}");
    }
}

#[track_caller]
fn not_pressed(key: u8, input: &str) {
    let all = KeysFound { passes: input.as_bytes().to_vec(), is_pressed: false };
    assert_eq!(found(key, input.as_bytes()), all, "{input:?}");
    for at in 1..input.len() {
        let (before, after) = input.as_bytes().split_at(at);
        assert_eq!(found_in([before, after].into_iter(), key), all, "{input:?} cut at {at}");
    }
}

#[test]
fn the_key_is_found_in_each_encoding() {
    for press in [
        "\x1c",
        "\x1b[92;5u",
        "\x1b[92;5:1u",
        "\x1b[92:124;5u",
        "\x1b[92:124:92;5:1u",
        // Held down.
        "\x1b[92;5:2u",
        // With text, and with the locks on.
        "\x1b[92;5;92u",
        "\x1b[92;5:1;92:92u",
        "\x1b[92;69u",
        "\x1b[92;133u",
        "\x1b[92;197:1u",
        // Another layout's key where a US keyboard has the backslash.
        "\x1b[35::92;5u",
        "\x1b[1105:1025:92;5u",
        "\x1b[27;5;92~",
        "\x1b[27;69;92~",
        // Right and left, with the locks on.
        "\x1b[220;43;28;1;8;1_",
        "\x1b[220;43;28;1;228;1_",
    ] {
        pressed(BACKSLASH, press);
    }
}

#[test]
fn other_keys_are_not_the_key() {
    for other in [
        // Let go.
        "\x1b[92;5:3u",
        "\x1b[92;69:3u",
        // Without ctrl, or with more.
        "\x1b[92u",
        "\x1b[92;1u",
        "\x1b[92;6u",
        "\x1b[92:124;6u",
        "\x1b[92;7u",
        "\x1b[92;13u",
        "\x1b[27;6;92~",
        "\x1b[27;7;92~",
        "\x1b[27;5;93~",
        "\x1b\x1c",
        "\x1b[93;5u",
        "\x1b[93:92;5u",
        "\x1b[57442;5u",
        // Numbers that are too large, too many or missing.
        "\x1b[4294967388;5u",
        "\x1b[92;4294967300u",
        "\x1b[;5u",
        "\x1b[92;;u",
        "\x1b[27;5~",
        "\x1b[u",
        // Let go, without ctrl, with AltGr, and with Shift.
        "\x1b[220;43;28;0;8;1_",
        "\x1b[220;43;28;1;0;1_",
        "\x1b[220;43;28;1;9;1_",
        "\x1b[220;43;28;1;24;1_",
        "\x1b[220;43;92;1;8;1_",
        "\x1b[220;43;28_",
        // Other sequences.
        "\x1b[92;5~",
        "\x1b[92;5R",
        "\x1b[?92;5u",
        "\x1b[<92;5;5M",
        "\x1b[92;5 u",
        "\x1b[I\x1bOA\x1b[1;5A\x1b[201~",
        "é\u{1c0}\u{41c}",
    ] {
        not_pressed(BACKSLASH, other);
    }
    let long = format!("\x1b[{}92;5u", "0".repeat(MAX_KEPT));
    not_pressed(BACKSLASH, &long);
}

#[test]
fn any_control_key_is_found() {
    for (key, press) in [
        (1, "\x01"),
        (1, "\x1b[97;5u"),
        (1, "\x1b[1092::97;5u"),
        // With caps lock, as xterm says it.
        (1, "\x1b[27;5;65~"),
        (26, "\x1b[122;5u"),
        (0x1d, "\x1d"),
        (0x1d, "\x1b[93;5u"),
        (0x1d, "\x1b[27;5;93~"),
        // ctrl-@, mostly typed as ctrl-space.
        (0, "\0"),
        (0, "\x1b[32;5u"),
        (0, "\x1b[64;5u"),
        (0, "\x1b[50:64;6u"),
        (0, "\x1b[50;6u"),
        (0, "\x1b[27;5;32~"),
        (0, "\x1b[27;6;64~"),
        (0, "\x1b[32;57;32;1;8;1_"),
        (0x1e, "\x1b[54;7;30;1;24;1_"),
        (0x1e, "\x1b[54:94;6u"),
        (0x1f, "\x1b[45:95;6u"),
        (0x1f, "\x1b[27;6;95~"),
        // Shift-7, on some keyboards.
        (BACKSLASH, "\x1b[55:92;6u"),
        // ctrl-i and ctrl-m, also where Tab and Return are keys of their own.
        (9, "\t"),
        (9, "\x1b[105;5u"),
        (13, "\r"),
        (13, "\x1b[109;5u"),
        (0x1b, "\x1b[91;5u"),
        (0x1b, "\x1b[27;5;91~"),
    ] {
        pressed(key, press);
    }
    for (key, other) in [
        (1, "\x1b[97:65;6u"),
        (1, "\x1b[97;6u"),
        (0, "\x1b[32;6u"),
        (0, "\x1b[50;5u"),
        (0x1e, "\x1b[54:38;6u"),
        (9, "\x1b[9u\x1b[9;5u"),
        (13, "\x1b[13u\x1b[13;5u"),
        (0x1b, "\x1b[27u\x1b[27;5uz"),
    ] {
        not_pressed(key, other);
    }
}

#[test]
fn an_escape_is_ctrl_bracket_if_nothing_follows_at_once() {
    let (start, escape) = (Instant::now(), 0x1b);
    let mut finder = KeyFinder::new(escape);
    assert_eq!(finder.find(b"a\x1b", start), KeysFound { passes: b"a".to_vec(), is_pressed: false });
    assert!(finder.is_holding());
    assert_eq!(finder.flush(), KeysFound { passes: vec![], is_pressed: true });

    // Whoever is late with the flush finds it as well.
    let mut finder = KeyFinder::new(escape);
    finder.find(b"\x1b", start);
    assert_eq!(finder.find(b"x", start + MOMENT), KeysFound { passes: vec![], is_pressed: true });

    not_pressed(escape, "\x1bx");
    not_pressed(escape, "\x1b[A\x1bOA\x1b]11;rgb:0/0/0\x1b\\z");
    not_pressed(escape, "\x1b[200~\x1b \x1b[201~z");
    assert_eq!(found(escape, b"\x1b\x1b"), KeysFound { passes: vec![ESC], is_pressed: true });
}

#[test]
fn nothing_in_a_paste_is_the_key() {
    let paste = "\x1b[200~a \x1c b \x1b[92;5u \x1b[27;5;92~ \x1b[20\x1c \x1b\x1b[201~";
    not_pressed(BACKSLASH, paste);
    let (paste, key) = (paste.as_bytes(), b"\x1c");
    let KeysFound { passes, is_pressed } = found(BACKSLASH, &[paste, key].concat());
    assert_eq!((passes.as_slice(), is_pressed), (paste, true));
    // What only looks like the beginning of one.
    for no_paste in ["[200~", "\x1b[2000~", "\x1b[200u", "\x1b[0200~", "\x1b[200;1~", "\x1b]200~\x07"] {
        let KeysFound { passes, is_pressed } = found(BACKSLASH, &[no_paste.as_bytes(), key].concat());
        assert_eq!((passes.as_slice(), is_pressed), (no_paste.as_bytes(), true), "{no_paste:?}");
    }
}

#[test]
fn a_paste_that_never_ends_can_be_left() {
    let (mut finder, now) = (KeyFinder::new(BACKSLASH), Instant::now());
    assert!(!finder.find(b"\x1b[200~a\x1c", now).is_pressed);
    assert!(finder.is_pasting());
    assert!(!finder.find(b"\x1c", now + PASTE_PAUSE - MOMENT).is_pressed);
    assert!(finder.find(b"\x1c", now + 2 * PASTE_PAUSE).is_pressed);
}

#[test]
fn nothing_in_a_terminals_string_is_the_key() {
    for string in [
        "\x1b]52;c;\x1c\x07",
        "\x1b]52;c;\x1c\x1b\\",
        "\x1bP1+r\x1c\x07\x1c\x1b\\",
        "\x1b_Gi=1;\x1c\x1b\\",
        "\x1b^\x1c\x1b\\",
        "\x1bX\x1c\x1b\\",
        "\x1b]2;\x1c\x18",
    ] {
        not_pressed(BACKSLASH, string);
        let string = string.as_bytes();
        let KeysFound { passes, is_pressed } = found(BACKSLASH, &[string, b"\x1b[92;5u"].concat());
        assert_eq!((passes.as_slice(), is_pressed), (string, true));
    }
}

#[test]
fn keys_that_begin_a_string_only_by_their_bytes_keep_nobody() {
    for alt in [&b"\x1bP"[..], b"\x1b]", b"\x1b_"] {
        let (mut finder, now) = (KeyFinder::new(BACKSLASH), Instant::now());
        assert_eq!(finder.find(alt, now).passes, alt);
        assert!(finder.find(b"\x1c", now + MOMENT).is_pressed, "{alt:?}");
        // Escape, and what follows later.
        let mut finder = KeyFinder::new(BACKSLASH);
        finder.find(&alt[..1], now);
        assert_eq!(finder.find(&alt[1..], now + MOMENT).passes, &alt[1..]);
        assert!(finder.find(b"\x1c", now + MOMENT).is_pressed, "{alt:?}");
        // ReplyFilter without a pause; then a pause ends it.
        let mut finder = KeyFinder::new(BACKSLASH);
        assert!(!finder.find(&[alt, b"x\x1c"].concat(), now).is_pressed);
        assert!(finder.find(b"\x1c", now + STRING_PAUSE).is_pressed, "{alt:?}");
    }
    for key in ["\x1bO\x1c", "\x1b[\x1c", "\x1b[9\x1c", "\x1b[<\x1c", "\x1b[1é\x1c"] {
        assert!(found(BACKSLASH, key.as_bytes()).is_pressed, "{key:?}");
    }
}

#[test]
fn nothing_typed_is_kept_back_for_longer_than_a_moment() {
    let (mut finder, now) = (KeyFinder::new(BACKSLASH), Instant::now());
    // An ESC not at all.
    assert_eq!(finder.find(b"\x1b", now).passes, b"\x1b");
    assert!(!finder.is_holding());
    assert_eq!(finder.find(b"[9", now).passes, b"");
    assert!(finder.is_holding());
    assert_eq!(finder.flush(), KeysFound { passes: b"[9".to_vec(), is_pressed: false });
    assert!(!finder.is_holding());
    // It is parsed on all the same, and what has passed is ended.
    let rest = finder.find(b"2;5u", now + Duration::from_secs(60));
    assert_eq!(rest, KeysFound { passes: vec![HARMLESS_FINAL], is_pressed: true });

    let mut finder = KeyFinder::new(BACKSLASH);
    finder.find(b"\x1b", now);
    let rest = finder.find(b"[92;5u", now + Duration::from_secs(60));
    assert_eq!(rest, KeysFound { passes: vec![], is_pressed: true });

    // Another key in pieces comes to the program whole.
    let mut finder = KeyFinder::new(BACKSLASH);
    finder.find(b"\x1b[9", now);
    assert_eq!(finder.flush().passes, b"\x1b[9");
    assert_eq!(finder.find(b"3;5ux", now).passes, b"3;5ux");
}

/// What is typed, pasted and replied.
fn input() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 20] = [
        "x",
        "é",
        "\x1b",
        "\x1c",
        "\x1b[",
        "\x1b[A",
        "\x1b[92;5u",
        "\x1b[92;5:3u",
        "\x1b[27;5;92~",
        "\x1b[200~",
        "\x1b[201~",
        "\x1b]52;c;",
        "\x1bP",
        "\x07",
        "\x1b\\",
        "9",
        ";",
        "u",
        "~",
        "\x18",
    ];
    proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..20)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_gives_the_same(
        input in input(),
        cuts in proptest::collection::vec(1_usize..8, 0..40),
        key in proptest::sample::select(&[BACKSLASH, 0x1b, 0x07, b'\t'][..]),
    ) {
        let whole = found(key, &input);
        let mut cuts = cuts.into_iter();
        let mut rest = input.as_slice();
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let mut cut = found_in(pieces, key);
        prop_assert_eq!(cut.is_pressed, whole.is_pressed);
        if cut.passes.len() > whole.passes.len() {
            // The ESC of the key, which came alone.
            prop_assert_eq!(cut.passes.pop(), Some(ESC));
        }
        prop_assert_eq!(&cut.passes, &whole.passes);
        // What passes is the beginning of what came.
        prop_assert!(input.starts_with(&whole.passes));
        prop_assert!(whole.is_pressed || whole.passes == input);
    }
}
