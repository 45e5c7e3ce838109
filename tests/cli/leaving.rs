//! Leaving, in every way, a terminal that takes nothing; stopping and going on; and where the last word is written.

use super::*;

const DETACH: &str = "\x1c";

/// A terminal that a flood is shown at, until it takes nothing more.
fn stuck(home: &Home) -> Terminal {
    let terminal = home.terminal(&["new", "work", "--", "yes", "flood"]);
    terminal.wait_until("a flood", |shown| (shown.bytes.len() > 1 << 16).then_some(()));
    terminal.stop();
    eventually("the client is behind", || {
        let stats = home.json(&["stats", "--json"]);
        let clients = stats["by_client"].as_array().unwrap();
        clients.iter().any(|client| client["lag_bytes"].as_u64() >= Some(1 << 19))
    });
    terminal
}

fn is_stopped(terminal: &Terminal) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", terminal.pid())).unwrap();
    stat.contains(") T ")
}

#[test]
fn a_signal_ends_a_client_whose_terminal_takes_nothing() {
    for (with, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let home = Home::new();
        let mut terminal = stuck(&home);
        signal(terminal.pid(), with);
        terminal.ends_with(code);
    }
}

#[test]
fn a_terminal_that_takes_nothing_can_be_detached() {
    let home = Home::new();
    let mut terminal = stuck(&home);
    terminal.type_in(DETACH);
    terminal.ends_with(0);
}

#[test]
fn a_terminal_that_sleeps_through_an_end_shows_it_when_it_wakes() {
    for (is_server, code, said) in
        [(false, 129, "[session work ended"), (true, 254, "the connection to the server was lost")]
    {
        let home = Home::new();
        let mut terminal = stuck(&home);
        if is_server {
            home.kill_all();
        } else {
            home.succeed(&["kill", "work"]);
        }
        terminal.go_on();
        terminal.wait_for(said);
        terminal.ends_with(code);
    }
}

#[test]
fn a_stopped_client_puts_its_terminal_back_and_redraws_it_later() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("printf '\\033[?1049h\\033[?1h\\033[?2004h\\033[?25l'; echo in $((8 + 8))\n");
    terminal.wait_for("in 16");
    for _ in 0..2 {
        signal(terminal.pid(), Signal::TSTP);
        eventually("it stops", || is_stopped(&terminal));
        assert!(terminal.is_as_it_was(), "the terminal's modes are not as they were");
        terminal.wait_until("the terminal as it was", |shown| {
            let screen = shown.screen.screen();
            let is_set = screen.alternate_screen()
                || screen.hide_cursor()
                || screen.bracketed_paste()
                || screen.application_cursor();
            (!is_set).then_some(())
        });
        signal(terminal.pid(), Signal::CONT);
        terminal.wait_until("the session again", |shown| {
            let screen = shown.screen.screen();
            let is_set = screen.alternate_screen()
                && screen.hide_cursor()
                && screen.bracketed_paste()
                && screen.application_cursor();
            (is_set && shown.text().contains("in 16")).then_some(())
        });
        assert!(!terminal.is_as_it_was(), "it is raw while it shows the session");
    }
    terminal.type_in("echo on $((9 + 9))\n");
    terminal.wait_for("on 18");
    terminal.type_in(DETACH);
    terminal.ends_with(0);
}

#[test]
fn a_client_that_is_told_to_stop_and_to_go_on_at_once_goes_on() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    for round in 0..10 {
        signal(terminal.pid(), Signal::TSTP);
        signal(terminal.pid(), Signal::CONT);
        terminal.type_in(&format!("echo round $((100 + {round}))\n"));
        terminal.wait_for(&format!("round {}", 100 + round));
    }
    terminal.type_in(DETACH);
    terminal.ends_with(0);
}

#[test]
fn a_client_stops_though_its_terminal_takes_nothing() {
    let home = Home::new();
    let mut terminal = stuck(&home);
    signal(terminal.pid(), Signal::TSTP);
    eventually("it stops", || is_stopped(&terminal));
    assert!(terminal.is_as_it_was(), "the terminal's modes are not as they were");
    terminal.go_on();
    signal(terminal.pid(), Signal::CONT);
    let shown = terminal.shown.0.lock().unwrap().bytes.len();
    terminal.wait_until("more of the flood", |now| (now.bytes.len() > shown + (1 << 20)).then_some(()));
    terminal.type_in(DETACH);
    terminal.ends_with(0);
}

#[test]
fn the_last_word_is_written_below_all_that_is_shown() {
    let home = Home::new();
    // The cursor stands far above the last line, and so it does on the other screen.
    let lines = "seq -f 'line %g.' 1 22; printf '\\033[5;1H'";
    for (name, program) in [("a", "printf shown"), ("b", "printf '\\033[?1049h\\033[2;10rshown'")] {
        let script = format!("{lines}; exec fugue-server new {name} -- sh -c \"{program}; exec sleep 1000\"");
        let mut terminal = home.shell_terminal(&script);
        terminal.wait_for("shown");
        terminal.type_in(DETACH);
        terminal.wait_for(&format!("[detached from {name}]"));
        terminal.ends_with(0);
        terminal.wait_until("the screen", |shown| {
            let text = shown.text();
            let rows: Vec<_> = text.lines().collect();
            // The last line, from which the shell's prompt scrolls.
            let is_last = rows.get(22..) == Some(&[&*format!("[detached from {name}]")]);
            let is_there = |line| rows.contains(&format!("line {line}.").as_str());
            (is_last && (6..=22).all(is_there)).then_some(())
        });
    }
}
