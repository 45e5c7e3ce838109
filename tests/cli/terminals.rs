//! At real terminals: sharing, leaving, being thrown out; and the terminal is as it was afterwards.

use super::*;

const DETACH: &str = "\x1c";

/// Two terminals at one shell, both of which have shown that they are.
fn two_at_one_shell(home: &Home) -> (Terminal, Terminal) {
    let first = home.terminal(&["new", "work"]);
    first.wait_for("ready>");
    let second = home.terminal(&["attach", "work"]);
    eventually("both are attached", || home.session("work")["clients"] == 2);
    first.type_in("echo first $((1 + 1))\n");
    second.wait_for("first 2");
    (first, second)
}

#[test]
fn two_terminals_at_one_shell_show_what_either_types() {
    let home = Home::new();
    let (mut first, mut second) = two_at_one_shell(&home);
    second.type_in("echo second $((2 + 2))\n");
    first.wait_for("second 4");
    second.wait_for("second 4");
    assert!(!first.is_as_it_was(), "it is raw while it shows the session");
    first.type_in("exit 5\n");
    first.wait_for("[session work ended: exit status 5]");
    first.ends_with(5);
    second.ends_with(5);
}

#[test]
fn one_that_is_killed_is_gone_and_the_other_notices_nothing() {
    let home = Home::new();
    let (first, second) = two_at_one_shell(&home);
    signal(second.pid(), Signal::KILL);
    eventually("one client is left", || home.session("work")["clients"] == 1);
    first.type_in("echo alone $((3 + 3))\n");
    first.wait_for("alone 6");
}

#[test]
fn the_detach_key_leaves_the_session_running() {
    let home = Home::new();
    let (mut first, second) = two_at_one_shell(&home);
    first.type_in(DETACH);
    first.wait_for("[detached from work]");
    first.ends_with(0);
    second.type_in("echo here $((4 + 4))\n");
    second.wait_for("here 8");
    assert_eq!(home.session("work")["clients"], 1);

    let mut other_key = home.terminal(&["attach", "work", "--detach-key", "ctrl-]"]);
    eventually("both are attached", || home.session("work")["clients"] == 2);
    other_key.type_in("\x1d");
    other_key.ends_with(0);
}

#[test]
fn what_was_typed_before_the_detach_key_is_typed() {
    let home = Home::new();
    let (mut first, second) = two_at_one_shell(&home);
    first.type_in(&format!("echo last $((5 + 5))\n{DETACH}echo never\n"));
    first.ends_with(0);
    second.wait_for("last 10");
    second.type_in("echo end $((6 + 6))\n");
    second.wait_for("end 12");
    second.wait_until("the screen", |shown| {
        assert!(!shown.text().contains("never"), "{}", shown.text());
        Some(())
    });
}

#[test]
fn a_server_that_dies_with_its_keeper_leaves_a_sane_terminal_and_says_so() {
    let home = Home::new();
    let (mut first, mut second) = two_at_one_shell(&home);
    home.kill_all();
    first.wait_for("the connection to the server was lost");
    first.ends_with(254);
    second.ends_with(254);
}

#[test]
fn a_server_that_shuts_down_leaves_a_sane_terminal_and_says_so() {
    let home = Home::new();
    let (mut first, mut second) = two_at_one_shell(&home);
    home.signal_server(Signal::TERM);
    first.wait_for("the server is shutting down");
    first.ends_with(254);
    second.ends_with(254);
}

#[test]
fn a_signal_to_the_client_leaves_a_sane_terminal() {
    for (with, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let home = Home::new();
        let mut terminal = home.terminal(&["new", "work"]);
        terminal.wait_for("ready>");
        signal(terminal.pid(), with);
        terminal.ends_with(code);
        assert_eq!(home.session("work")["running"], true);
    }
}

#[test]
fn a_stopped_client_is_raw_again_when_it_goes_on() {
    let home = Home::new();
    let (first, _second) = two_at_one_shell(&home);
    signal(first.pid(), Signal::STOP);
    // As a shell does for itself meanwhile.
    let mut cooked = tcgetattr(&*first.pty).unwrap();
    cooked.local_modes |= rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ICANON;
    rustix::termios::tcsetattr(&*first.pty, rustix::termios::OptionalActions::Now, &cooked).unwrap();
    signal(first.pid(), Signal::CONT);
    eventually("the terminal is raw again", || {
        !tcgetattr(&*first.pty).unwrap().local_modes.contains(rustix::termios::LocalModes::ICANON)
    });
    first.type_in("echo again $((7 + 7))\n");
    first.wait_for("again 14");
}

#[test]
fn a_new_size_reaches_the_session() {
    let home = Home::new();
    let (first, _second) = two_at_one_shell(&home);
    first.type_in("stty size\n");
    first.wait_for("24 80");
    first.resize(40, 132);
    eventually("the session has the size", || home.session("work")["size"] == "132x40");
    first.type_in("clear; stty size\n");
    first.wait_for("40 132");
}

#[test]
fn modes_that_a_program_left_set_are_undone() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal
        .type_in("printf '\\033[?1049h\\033[?25l\\033[?2004h\\033[?1003h\\033[?1h'; echo in $((8 + 8))\n");
    terminal.wait_for("in 16");
    terminal.wait_until("the program's modes", |shown| {
        let screen = shown.screen.screen();
        (screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste()).then_some(())
    });
    terminal.type_in(DETACH);
    terminal.wait_for("[detached");
    terminal.ends_with(0);
    terminal.wait_until("the modes as they were", |shown| {
        let screen = shown.screen.screen();
        let set = screen.alternate_screen()
            || screen.hide_cursor()
            || screen.bracketed_paste()
            || screen.application_cursor()
            || screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
        (!set).then_some(())
    });
}

#[test]
fn a_flood_can_be_interrupted_and_left() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("while :; do echo flood; done\n");
    terminal.wait_until("a mebibyte of flood", |shown| (shown.bytes.len() > 1 << 20).then_some(()));
    terminal.type_in("\x03");
    terminal.type_in("echo stopped $((9 + 9))\n");
    terminal.wait_for("stopped 18");
    terminal.type_in("while :; do echo flood; done\n");
    terminal.wait_until("two mebibytes of flood", |shown| (shown.bytes.len() > 2 << 20).then_some(()));
    terminal.type_in(DETACH);
    terminal.ends_with(0);
}
