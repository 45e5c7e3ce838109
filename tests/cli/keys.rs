//! What is typed at real terminals: the detach key in every encoding, what only looks like it, and pastes.

use super::*;

const DETACH: &str = "\x1c";

/// A program that sets the terminal up with `sequence` and shows each byte that it is typed.
fn shows_bytes(home: &Home, name: &str, detach_key: &str, sequence: &str) -> Terminal {
    let script = format!("stty raw -echo; printf '{sequence}'; printf ready; exec cat -v");
    let terminal = home.terminal(&["new", name, "--detach-key", detach_key, "--", "/bin/sh", "-c", &script]);
    terminal.wait_for("ready");
    terminal
}

#[test]
fn the_detach_key_is_recognised_however_the_terminal_sends_it() {
    let home = Home::new();
    for (number, (detach_key, sequence, keys)) in [
        (r"ctrl-\", "", "\x1c"),
        (r"ctrl-\", "\\033[>1u", "\x1b[92;5u"),
        (r"ctrl-\", "\\033[>15u", "\x1b[57442;5ux\x1b[92;133:1u"),
        (r"ctrl-\", "\\033[>5u", "\x1b[35::92;5u"),
        (r"ctrl-\", "\\033[>4;2m", "\x1b[27;5;92~"),
        ("ctrl-a", "\\033[>1u", "\x1b[97;5u"),
        ("ctrl-a", "\\033[>4;2m", "\x1b[27;69;65~"),
        ("ctrl-@", "", "\0"),
        ("ctrl-@", "\\033[>1u", "\x1b[32;5u"),
        ("ctrl-[", "", "\x1b"),
        ("ctrl-[", "\\033[>1u", "\x1b[91;5u"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut terminal = shows_bytes(&home, &format!("s{number}"), detach_key, sequence);
        terminal.type_in(keys);
        terminal.wait_for("[detached");
        terminal.ends_with(0);
    }
}

#[test]
fn what_is_not_the_detach_key_is_typed() {
    let home = Home::new();
    let mut terminal = shows_bytes(&home, "work", r"ctrl-\", "");
    for (keys, shown) in [
        ("\x1b[92;5:3u1", "^[[92;5:3u1"),
        ("\x1b[92;7u2", "^[[92;7u2"),
        ("\x1b[27;6;92~3", "^[[27;6;92~3"),
        ("\x1b[200~ \x1c \x1b[92;5u \x1b[201~4", "^[[200~ ^\\ ^[[92;5u ^[[201~4"),
        // By itself: nothing is waited for.
        ("\x1b", "4^["),
    ] {
        terminal.type_in(keys);
        terminal.wait_for(shown);
    }
    // In a reply of the terminal's.
    terminal.type_in("\x1b]52;c;\x1c\x07");
    terminal.type_in("end");
    terminal.wait_for("end");
    terminal.type_in(DETACH);
    terminal.ends_with(0);
}

#[test]
fn a_detach_key_in_pieces_leaves_the_program_in_no_sequence() {
    let home = Home::new();
    let mut terminal = shows_bytes(&home, "work", r"ctrl-\", "");
    terminal.type_in("a\x1b[9");
    // It may have been typed by hand.
    terminal.wait_for("a^[[9");
    terminal.type_in("2;5u");
    terminal.wait_for("[detached");
    terminal.ends_with(0);
    let mut terminal = home.terminal(&["attach", "work"]);
    terminal.wait_for("a^[[9}");
    terminal.type_in("\x1bx\x1b");
    terminal.wait_for("}^[x^[");
    terminal.type_in("[92;5u");
    terminal.ends_with(0);
    let terminal = home.terminal(&["attach", "work"]);
    terminal.type_in("end");
    terminal.wait_for("}^[x^[end");
}

#[test]
fn pastes_of_two_people_at_once_do_not_mix() {
    const LENGTH: usize = 60_000;
    let home = Home::new();
    let file = home.directory.path().join("pasted");
    let both = 2 * (LENGTH + "\x1b[200~\x1b[201~".len());
    let script = format!("stty raw -echo; printf ready; head -c {both} >{}; printf done", file.display());
    let first = home.terminal(&["new", "work", "--", "/bin/sh", "-c", &script]);
    first.wait_for("ready");
    let second = home.terminal(&["attach", "work"]);
    second.wait_for("ready");
    let pastes = ["a", "b"].map(|text| format!("\x1b[200~{}\x1b[201~", text.repeat(LENGTH)));
    thread::scope(|scope| {
        scope.spawn(|| first.type_in(&pastes[0]));
        scope.spawn(|| second.type_in(&pastes[1]));
    });
    first.wait_for("done");
    let pasted = std::fs::read_to_string(file).unwrap();
    assert!(pasted == pastes.concat() || pasted == pastes[1].clone() + &pastes[0], "they are mixed");
}
