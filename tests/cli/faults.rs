//! What people see when something is slow, late, stopped or of another size.

use super::*;

const DETACH: &str = "\x1c";

/// A server with a small history, so that falling out of it is soon done.
fn small_history() -> Home {
    let home = Home::new();
    home.command(&["serve", "--history", "256KiB"]).stderr(Stdio::null()).spawn().unwrap();
    eventually("the server listens", || home.run(&["stats"]).status.success());
    home
}

/// How the client that fared worst did.
fn most(home: &Home, count: &str) -> u64 {
    let stats = home.json(&["stats", "--json"]);
    stats["by_client"].as_array().unwrap().iter().map(|client| client[count].as_u64().unwrap()).max().unwrap()
}

#[test]
fn a_stopped_client_costs_nobody_anything_and_shows_the_truth_when_it_goes_on() {
    let home = small_history();
    let program =
        "stty -opost -echo; printf ready; read go; seq 1 2000000; printf '\\033[H\\033[2Jthe end'; read end";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", program]);
    let stopped = home.terminal(&["attach", "a"]);
    let quick = home.terminal(&["attach", "a"]);
    for terminal in [&stopped, &quick] {
        terminal.wait_for("ready");
    }
    let recorder = home.command(&["attach", "a", "--from", "start"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("all are attached", || home.session("a")["clients"] == 3);
    signal(stopped.pid(), Signal::STOP);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    let recorded = thread::spawn(|| recorder.wait_with_output().unwrap());
    quick.wait_for("the end");

    // Every command answers while one client is stopped.
    home.succeed(&["new", "b", "-d", "--", "sleep", "1000"]);
    assert_eq!(home.json(&["list", "--json"]).as_array().unwrap().len(), 2);
    home.succeed(&["stats"]);
    home.run(&["kill", "b"]);
    assert!(most(&home, "lag_bytes") > 256 * 1024);

    signal(stopped.pid(), Signal::CONT);
    stopped.wait_for("the end");
    assert_eq!(stopped.text().trim(), quick.text().trim());
    assert!(most(&home, "gaps") >= 1 && most(&home, "skipped_bytes") > 1 << 20);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    let recorded = recorded.join().unwrap();
    let numbers: String = (1..=2_000_000).map(|number| format!("{number}\n")).collect();
    assert!(recorded.stdout == format!("ready{numbers}\x1b[H\x1b[2Jthe end").into_bytes());
}

#[test]
fn who_comes_late_sees_what_the_others_see_and_leaves_its_terminal_as_it_was() {
    let home = Home::new();
    let program = "printf 'beneath\\033[?1049h\\033[2J\\033[?2004h\\033[?25l\\033[?1h\\033[3;4Hin \\033[7mfront'; read end";
    let first = home.terminal(&["new", "a", "--", "sh", "-c", program]);
    first.wait_for("in front");
    let mut late = home.terminal(&["attach", "a"]);
    late.wait_for("in front");
    late.wait_until("the modes", |shown| {
        let screen = shown.screen.screen();
        let set = screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste();
        (set && screen.application_cursor()).then_some(())
    });
    assert_eq!(late.text(), first.text());
    late.type_in(DETACH);
    late.wait_for("[detached");
    late.ends_with(0);
    late.wait_until("the modes as they were", |shown| {
        let screen = shown.screen.screen();
        let set = screen.alternate_screen() || screen.hide_cursor() || screen.bracketed_paste();
        (!set && !screen.application_cursor()).then_some(())
    });
}

#[test]
fn what_a_terminal_showed_before_is_scrolled_away_and_not_erased() {
    let home = Home::new();
    home.succeed(&["new", "empty", "-d", "--", "sleep", "1000"]);
    home.succeed(&["new", "full", "-d", "--", "sh", "-c", "printf full; sleep 1000"]);
    eventually("it has printed", || home.session("full")["printed_bytes"] == 4);
    let mut empty = home.terminal(&["attach", "empty"]);
    eventually("it is attached", || home.session("empty")["clients"] == 1);
    empty.type_in(DETACH);
    empty.ends_with(0);
    empty.wait_until("nothing drawn", |shown| {
        assert!(!contains(&shown.bytes, b"\x1b[2J"), "{:?}", String::from_utf8_lossy(&shown.bytes));
        Some(())
    });
    let full = home.terminal(&["attach", "full"]);
    full.wait_for("full");
    full.wait_until("as many lines as the terminal has, before it is cleared", |shown| {
        let cleared = shown.bytes.windows(4).position(|bytes| bytes == b"\x1b[2J")?;
        assert_eq!(shown.bytes[..cleared].iter().filter(|byte| **byte == b'\n').count(), 24);
        Some(())
    });
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn a_read_only_terminal_only_watches() {
    let home = Home::new();
    let owner = home.terminal(&["new", "work"]);
    owner.wait_for("ready>");
    let mut watcher = home.terminal(&["attach", "work", "-r"]);
    watcher.wait_for("ready>");
    watcher.type_in("echo never\n");
    watcher.resize(10, 40);
    owner.type_in("echo shown $((1 + 1)); stty size\n");
    watcher.wait_for("24 80");
    assert!(!watcher.text().contains("never") && !owner.text().contains("never"));
    assert_eq!(home.session("work")["size"], "80x24");
    watcher.type_in(DETACH);
    watcher.ends_with(0);
    owner.type_in("exit\n");
}

#[test]
fn the_session_has_the_size_of_the_terminal_in_use_and_the_other_is_not_corrupted() {
    let home = Home::new();
    let large = home.terminal(&["new", "work"]);
    large.wait_for("ready>");
    let mut small = home.terminal(&["attach", "work"]);
    small.wait_for("ready>");
    small.resize(10, 40);
    eventually("it is small", || home.session("work")["size"] == "40x10");
    // The large one types, and the session is large again; the small one shows its part.
    large.type_in("printf 'x%.0s' $(seq 1 70); echo; seq 1 100\n");
    eventually("it is large", || home.session("work")["size"] == "80x24");
    for terminal in [&large, &small] {
        terminal.wait_until("the last number", |shown| {
            let text = shown.text();
            (text.contains("\n100\n") && text.trim_end().ends_with("ready>")).then_some(())
        });
    }
    let text = large.text();
    for line in small.text().lines() {
        assert!(text.lines().any(|whole| whole.starts_with(line)), "{line:?} is not in\n{text}");
    }
    small.type_in(DETACH);
    small.ends_with(0);

    let fixed = home.terminal(&["new", "fixed", "--size", "60x10"]);
    fixed.wait_for("ready>");
    fixed.type_in("stty size\n");
    fixed.wait_for("10 60");
    let one = home.terminal(&["new", "least", "--size", "smallest"]);
    one.wait_for("ready>");
    let two = home.terminal(&["attach", "least"]);
    two.resize(30, 50);
    eventually("the least of both", || home.session("least")["size"] == "50x24");
    drop(two);
    eventually("one is left", || home.session("least")["size"] == "80x24");
}

#[test]
fn a_recording_with_a_gap_ends_there_and_says_so() {
    let home = small_history();
    let program = "stty -opost -echo; printf ready; read go; seq 1 1000000; printf end; read end";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", program]);
    let quick = home.terminal(&["attach", "a"]);
    quick.wait_for("ready");
    let arguments = ["attach", "a", "--from", "start", "--on-lag", "resync"];
    let mut slow = home.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("both are attached", || home.session("a")["clients"] == 2);
    quick.type_in("\n");
    quick.wait_for("end");
    let mut recorded = Vec::new();
    slow.stdout.take().unwrap().read_to_end(&mut recorded).unwrap();
    let output = slow.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(254));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the recording ends here"), "{output:?}");
    let numbers: String = (1..=1_000_000).map(|number| format!("{number}\n")).collect();
    let whole = format!("ready{numbers}end").into_bytes();
    assert!(recorded.len() > 1000 && whole.starts_with(&recorded), "{} bytes", recorded.len());
}

#[test]
fn where_to_start_is_checked() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "stty -opost -echo; seq 1 100; read end"]);
    eventually("all is printed", || home.session("a")["printed_bytes"] == 292);
    let refused = home.run(&["attach", "a", "--from", "screen"]);
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("for terminals"), "{refused:?}");
    let wrong = home.run(&["attach", "a", "--from", "nonsense"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("screen, now, start, or a number"), "{wrong:?}");
    let last = home.command(&["attach", "a", "--from", "9"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("it is attached", || home.session("a")["clients"] == 1);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    assert_eq!(last.wait_with_output().unwrap().stdout, b"99\n100\n");
    for wrong in [
        &["new", "b", "--size", "0x0"][..],
        &["new", "b", "--pace", "none"],
        &["attach", "a", "--on-lag", "x"],
    ] {
        assert_eq!(home.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_stopped_terminal_goes_on_where_the_session_is() {
    let home = small_history();
    let program = "stty -echo -ixon; printf ready; read go; seq 1 1000000; printf 'the end'; read end";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", program]);
    let stopped = home.terminal(&["attach", "a"]);
    let quick = home.terminal(&["attach", "a"]);
    for terminal in [&stopped, &quick] {
        terminal.wait_for("ready");
    }
    // What ctrl-S does where the terminal acts on it.
    rustix::termios::tcflow(&stopped.slave, rustix::termios::Action::OOff).unwrap();
    quick.type_in("\n");
    quick.wait_for("the end");
    eventually("it has fallen behind", || most(&home, "lag_bytes") > 256 * 1024);
    rustix::termios::tcflow(&stopped.slave, rustix::termios::Action::OOn).unwrap();
    stopped.wait_for("the end");
    assert_eq!(stopped.text(), quick.text());
}

#[test]
fn a_server_that_is_killed_while_a_client_is_behind_leaves_a_sane_terminal() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("while :; do echo flood; done\n");
    terminal.wait_until("a mebibyte of flood", |shown| (shown.bytes.len() > 1 << 20).then_some(()));
    home.signal_server(Signal::KILL);
    terminal.wait_for("the connection to the server was lost");
    terminal.ends_with(254);
}
