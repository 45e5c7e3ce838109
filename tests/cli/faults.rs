//! What goes wrong with real clients: stopped, slow, late, of another size, without a server; and what each then shows.

use super::*;

const DETACH: &str = "\x1c";

fn send(home: &Home, name: &str, line: &str) {
    let sent = script(home, &format!("printf '{line}\\n' | fugue-server send {name}"));
    assert!(sent.status.success(), "{sent:?}");
}

/// What `stats` says of the clients that watch a session.
fn watchers(home: &Home) -> Vec<Value> {
    let stats = home.json(&["stats", "--json"]);
    let clients = stats["by_client"].as_array().unwrap();
    clients.iter().filter(|client| !client["session"].is_null()).cloned().collect()
}

fn most(home: &Home, count: &str) -> u64 {
    watchers(home).iter().map(|client| client[count].as_u64().unwrap()).max().unwrap_or(0)
}

fn rows(screen: &vt100::Screen) -> Vec<String> {
    screen.rows(0, screen.size().1).map(|row| row.trim_end().to_owned()).collect()
}

/// All of a screen that a person sees or types into.
#[derive(Debug, PartialEq)]
struct State {
    lines: Vec<String>,
    /// Each cell's look: its colours, bold, italic, underlined, inverse.
    look: Vec<(vt100::Color, vt100::Color, [bool; 4])>,
    cursor: (u16, u16),
    /// Alternate screen, bracketed paste, hidden cursor, application cursor keys and keypad.
    modes: [bool; 5],
    mouse: vt100::MouseProtocolMode,
}

fn state(shown: &Shown) -> State {
    let screen = shown.screen.screen();
    let (height, cols) = screen.size();
    let cells = (0..height).flat_map(|row| (0..cols).filter_map(move |col| screen.cell(row, col)));
    let look = |cell: &vt100::Cell| {
        (cell.fgcolor(), cell.bgcolor(), [cell.bold(), cell.italic(), cell.underline(), cell.inverse()])
    };
    State {
        lines: rows(screen),
        look: cells.map(look).collect(),
        cursor: screen.cursor_position(),
        modes: [
            screen.alternate_screen(),
            screen.bracketed_paste(),
            screen.hide_cursor(),
            screen.application_cursor(),
            screen.application_keypad(),
        ],
        mouse: screen.mouse_protocol_mode(),
    }
}

/// Waits until a terminal shows all that another one does.
fn show_the_same(one: &Terminal, other: &Terminal) {
    let start = Instant::now();
    loop {
        let [one, other] = [one, other].map(|terminal| terminal.wait_until("", |shown| Some(state(shown))));
        if one == other {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "never the same: {one:?}\nand {other:?}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits for a marker's line, and that exactly the numbers before it are above it.
fn shows_the_end_of(terminal: &Terminal, last: u64) {
    let mut expected: Vec<_> = (last - 21..=last).map(|number| number.to_string()).collect();
    expected.extend(["the end".to_owned(), String::new()]);
    terminal.wait_until("the last lines", |shown| (rows(shown.screen.screen()) == expected).then_some(()));
}

/// Prints numbers to 24 MiB and a little.
const NUMBERS: u64 = 2_900_000;

#[test]
fn a_stopped_client_shows_the_true_screen_when_it_goes_on() {
    let home = Home::new();
    let _server = serve(&home, &["--history", "1MiB"]);
    let program = format!("stty -echo; echo ready; read go; seq 1 {NUMBERS}; echo the end; read go");
    let stopped = home.terminal(&["new", "work", "--", "sh", "-c", &program]);
    stopped.wait_for("ready");
    home.succeed(&["new", "other", "-d", "--", "sh"]);
    let expected =
        script(&home, &format!("(echo ready; seq 1 {NUMBERS}; echo the end) | sed 's/$/\\r/' | cksum"));
    thread::scope(|scope| {
        let record = || script(&home, "fugue-server attach work --from start | cksum");
        let recorders = [(); 3].map(|()| scope.spawn(record));
        eventually("all are attached", || home.session("work")["clients"] == 4);
        signal(stopped.pid(), Signal::STOP);
        send(&home, "work", "go");
        eventually("the stopped one is behind", || most(&home, "lag_bytes") > 64 << 10);
        // All of the server answers meanwhile.
        send(&home, "other", "exit 3");
        eventually("what was sent arrives", || home.session("other")["exit_code"] == 3);
        home.succeed(&["new", "third", "-d", "--", "sleep", "1000"]);
        home.succeed(&["kill", "third"]);
        home.succeed(&["stats"]);
        assert_eq!(home.session("work")["running"], true);

        let printed = expected_bytes();
        eventually("all is printed", || home.session("work")["printed_bytes"] == printed);
        eventually("only the stopped one is behind", || {
            watchers(&home).iter().filter(|client| client["lag_bytes"] != 0).count() == 1
        });
        signal(stopped.pid(), Signal::CONT);
        shows_the_end_of(&stopped, NUMBERS);
        let skipped = most(&home, "skipped_bytes");
        assert!(skipped > 16 << 20, "{skipped}");
        send(&home, "work", "go");
        for recorder in recorders {
            let recorded = recorder.join().unwrap();
            assert_eq!(recorded.stdout, expected.stdout, "{recorded:?}");
        }
    });
}

/// Bytes of `ready`, the numbers and `the end` on a terminal.
fn expected_bytes() -> u64 {
    let numbers: usize = (1..=NUMBERS).map(|number| number.ilog10() as usize + 3).sum();
    (numbers + "ready\r\nthe end\r\n".len()) as u64
}

#[test]
fn a_stopped_terminal_behind_the_history_is_told_of_the_gap() {
    let home = Home::new();
    let _server = serve(&home, &["--history", "256KiB"]);
    let program = "stty -echo; echo ready; read go; seq 1 600000; echo the end; read go";
    let terminal = home.terminal(&["new", "work", "--pace", "free", "--", "sh", "-c", program]);
    terminal.wait_for("ready");
    terminal.stop();
    send(&home, "work", "go");
    let printed = (1..=600_000_u64).map(|number| u64::from(number.ilog10()) + 3).sum::<u64>();
    eventually("all is printed", || {
        home.session("work")["printed_bytes"].as_u64() == Some(printed + "ready\r\nthe end\r\n".len() as u64)
    });
    terminal.go_on();
    shows_the_end_of(&terminal, 600_000);
    assert_eq!(most(&home, "gaps"), 1);
    let (lag, skipped) = (most(&home, "lag_max_bytes"), most(&home, "skipped_bytes"));
    assert!(lag > 256 << 10 && (1..printed).contains(&skipped), "{lag} {skipped}");
    eventually("it has caught up", || most(&home, "lag_bytes") == 0);
    assert_eq!(watchers(&home)[0]["state"], "live");
}

#[test]
fn output_that_was_stopped_with_ctrl_s_goes_on_with_ctrl_q() {
    let home = Home::new();
    let files = tempfile::tempdir().unwrap();
    let (before, after) = (files.path().join("before"), files.path().join("after"));
    let program = format!(
        "stty -echo; echo ready; read go; : > {}; seq 1 1000; echo the end; : > {}; read go",
        before.display(),
        after.display()
    );
    let terminal = home.terminal(&["new", "work", "--", "sh", "-c", &program]);
    terminal.wait_for("ready");
    terminal.type_in("\x13\n");
    eventually("the program goes on to print", || before.exists());
    // Time enough for it to print, if it could.
    for _ in 0..5 {
        assert_eq!(home.session("work")["printed_bytes"], "ready\r\n".len());
    }
    assert!(!after.exists());
    terminal.type_in("\x11");
    shows_the_end_of(&terminal, 1000);
    eventually("it was not held up again", || after.exists());
}

#[test]
fn a_late_joiner_sees_what_the_first_one_sees() {
    let home = Home::new();
    let program = r"stty -echo
        printf 'one \033[1;31mred\033[m\r\n\033[4munder\033[m \033[7mback\033[m\r\n'; read next
        printf '\033[?1049h\033[2J\033[?2004h\033[?25l\033[?1h\033=\033[?1002h\033[5;7Hin \033[32mgreen'; read next
        printf '\033[?1049l\033[?2004l\033[?25h\033[?1l\033>\033[?1002lback\r\n'; read next";
    let first = home.terminal(&["new", "work", "--", "sh", "-c", program]);
    first.wait_for("under back");
    let plain = home.terminal(&["attach", "work"]);
    plain.wait_for("under back");
    show_the_same(&first, &plain);

    first.type_in("\n");
    first.wait_for("in green");
    let full = home.terminal(&["attach", "work"]);
    full.wait_for("in green");
    show_the_same(&first, &full);
    full.wait_until("the program's modes", |shown| {
        let screen = shown.screen.screen();
        assert!(screen.alternate_screen() && screen.bracketed_paste() && screen.hide_cursor());
        assert!(screen.application_cursor() && screen.application_keypad());
        assert_eq!(screen.cursor_position(), (4, 14));
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::ButtonMotion);
        Some(())
    });
    show_the_same(&first, &plain);

    // What was beneath the program's screen is there as well.
    first.type_in("\n");
    for terminal in [&first, &plain, &full] {
        terminal.wait_for("one red\nunder back\nback");
    }
    show_the_same(&first, &full);
    show_the_same(&first, &plain);
}

#[test]
fn what_a_terminal_showed_before_is_kept_above_the_screen() {
    let home = Home::new();
    home.succeed(&["new", "silent", "-d", "--", "sleep", "1000"]);
    home.succeed(&["new", "full", "-d", "--", "sh", "-c", "seq 101 150; read end"]);
    eventually("it has printed", || home.session("full")["printed_bytes"] == 250);
    for (name, screen) in [("silent", ""), ("full", "149\n150")] {
        // More than a screen and less than one.
        for before in [40, 3] {
            let mut terminal =
                home.shell_terminal(&format!("seq 1 {before}; exec fugue-server attach {name}"));
            eventually("it is attached", || !terminal.is_as_it_was());
            terminal.wait_until("the screen", |shown| {
                let shown = rows(shown.screen.screen()).join("\n");
                shown.trim_end().ends_with(screen).then_some(())
            });
            terminal.wait_until("what was there before", |shown| {
                let kept = everything(shown);
                let expected = (1..=before).map(|number| number.to_string());
                kept.starts_with(&expected.collect::<Vec<_>>()).then_some(())
            });
            terminal.type_in(DETACH);
            terminal.ends_with(0);
            terminal.wait_for(&format!("[detached from {name}]"));
        }
    }
}

/// The scrollback's lines and the screen's.
fn everything(shown: &Shown) -> Vec<String> {
    let mut screen = shown.screen.screen().clone();
    let visible = rows(&screen);
    screen.set_scrollback(SCROLLBACK);
    let mut lines = Vec::new();
    for above in (1..=screen.scrollback()).rev() {
        screen.set_scrollback(above);
        lines.push(rows(&screen).remove(0));
    }
    lines.extend(visible);
    lines
}

#[test]
fn modes_that_a_drawn_screen_set_are_undone() {
    let home = Home::new();
    let program = r"printf '\033[?1049h\033[?25l\033[?2004h\033[?1003;1006h\033[?1h\033=in it'; read end";
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", program]);
    let mut terminal = home.shell_terminal("echo before; exec fugue-server attach work");
    terminal.wait_for("in it");
    terminal.wait_until("the program's modes", |shown| {
        let screen = shown.screen.screen();
        (screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste()).then_some(())
    });
    terminal.type_in(DETACH);
    terminal.ends_with(0);
    terminal.wait_for("[detached from work]");
    terminal.wait_until("the modes as they were", |shown| {
        let state = state(shown);
        assert_eq!(state.modes, [false; 5]);
        assert_eq!(state.mouse, vt100::MouseProtocolMode::None);
        assert!(everything(shown).contains(&"before".to_owned()), "{:?}", everything(shown));
        Some(())
    });
}

#[test]
fn a_read_only_viewer_neither_types_nor_sizes() {
    let home = Home::new();
    let first = home.terminal(&["new", "work"]);
    first.wait_for("ready>");
    let mut reader = home.terminal_of(24, 80, &["attach", "work", "-r"]);
    reader.wait_for("ready>");
    reader.resize(10, 40);
    // It is sent pictures now.
    reader.wait_until("a picture", |shown| {
        String::from_utf8_lossy(&shown.bytes).contains("\x1b[?2026h").then_some(())
    });
    reader.wait_for("ready>");
    assert_eq!(home.session("work")["size"], "80x24");
    // Requests are answered in order: once it has detached, what it typed would be there.
    reader.type_in("echo nev''er\n\x03\x04");
    reader.type_in(DETACH);
    reader.wait_for("[detached from work]");
    reader.ends_with(0);
    first.type_in("echo here $((4 + 4)); stty size\n");
    first.wait_for("here 8\n24 80\nready>");
    first.wait_until("the screen", |shown| {
        assert!(!shown.text().contains("nev"), "{}", shown.text());
        Some(())
    });
}

/// Waits until every line of the smaller terminal is a part of a line of the larger one.
fn shows_a_part_of(part: &Terminal, whole: &Terminal) {
    let start = Instant::now();
    loop {
        let [part, whole] =
            [part, whole].map(|terminal| terminal.wait_until("", |shown| Some(rows(shown.screen.screen()))));
        let wrong = part.iter().find(|row| !whole.iter().any(|line| line.contains(row.as_str())));
        let Some(wrong) = wrong else { return };
        assert!(start.elapsed() < PATIENCE, "{wrong:?} is not in\n{}", whole.join("\n"));
        thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn the_session_has_the_size_of_the_terminal_that_typed_last() {
    let home = Home::new();
    let large = home.terminal(&["new", "work"]);
    large.wait_for("ready>");
    let mut small = home.terminal_of(10, 40, &["attach", "work"]);
    eventually("the latest to attach decides", || home.session("work")["size"] == "40x10");
    large.type_in("echo $((1 + 1)) `seq -s - 1 40`; stty size\n");
    eventually("the latest to type decides", || home.session("work")["size"] == "80x24");
    large.wait_for("24 80\nready>");
    small.wait_for("24 80\nready>");
    shows_a_part_of(&small, &large);
    large.type_in("seq 1 100 | sed 's/$/ a line that is longer than forty columns are wide/'\n");
    large.wait_for("100 a line that is longer than forty columns are wide\nready>");
    small.wait_until("the last lines", |shown| {
        rows(shown.screen.screen())
            .contains(&"100 a line that is longer than forty col".to_owned())
            .then_some(())
    });
    shows_a_part_of(&small, &large);

    small.type_in("clear; echo small $((2 + 2)); stty size\n");
    eventually("the latest to type decides", || home.session("work")["size"] == "40x10");
    for terminal in [&large, &small] {
        terminal.wait_for("small 4\n10 40\nready>");
    }
    shows_a_part_of(&small, &large);
    shows_a_part_of(&large, &small);

    small.type_in(DETACH);
    small.ends_with(0);
    eventually("who is left decides", || home.session("work")["size"] == "80x24");
    large.type_in("clear; stty size\n");
    large.wait_for("24 80\nready>");
}

#[test]
fn the_smallest_and_the_largest_terminal_decide_where_they_shall() {
    let home = Home::new();
    for (policy, with_both) in [("smallest", "60x24"), ("largest", "80x30")] {
        let mut first = home.terminal(&["new", policy, "--size", policy]);
        first.wait_for("ready>");
        let mut second = home.terminal_of(30, 60, &["attach", policy]);
        let size_is = |size: &str| eventually(size, || home.session(policy)["size"] == size);
        size_is(with_both);
        first.type_in("stty size\n");
        second.wait_for(&format!("{}\nready>", if policy == "smallest" { "24 60" } else { "30 80" }));
        // Neither typing nor a viewer that only watches changes it.
        let viewer = home.terminal_of(5, 20, &["attach", policy, "-r"]);
        eventually("it is attached", || home.session(policy)["clients"] == 3);
        size_is(with_both);
        drop(viewer);
        if policy == "smallest" {
            second.type_in(DETACH);
            second.ends_with(0);
            size_is("80x24");
        } else {
            first.type_in(DETACH);
            first.ends_with(0);
            size_is("60x30");
        }
    }
}

#[test]
fn a_fixed_size_stays() {
    let home = Home::new();
    let mut first = home.terminal(&["new", "work", "--size", "60x10"]);
    first.wait_for("ready>");
    let same = home.terminal_of(10, 60, &["attach", "work"]);
    same.wait_for("ready>");
    same.type_in("stty size; seq -s - 1 40\n");
    same.wait_for("10 60\n");
    first.wait_for("10 60\n");
    first.resize(40, 132);
    first.type_in("echo typed $((5 + 5))\n");
    for terminal in [&first, &same] {
        terminal.wait_for("typed 10\nready>");
    }
    shows_a_part_of(&same, &first);
    shows_a_part_of(&first, &same);
    assert_eq!(home.session("work")["size"], "60x10");
    first.type_in(DETACH);
    first.ends_with(0);
    assert_eq!(home.session("work")["size"], "60x10");
}

#[test]
fn an_interrupted_flood_ends_with_the_prompt() {
    let home = Home::new();
    let terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("sh -c 'while :; do echo xxxxxxxx; done'\n");
    terminal.wait_until("half a mebibyte", |shown| (shown.bytes.len() > 1 << 19).then_some(()));
    terminal.type_in("\x03");
    terminal.wait_until("the prompt, last", |shown| {
        let lines = rows(shown.screen.screen());
        lines.iter().rev().find(|line| !line.is_empty())?.ends_with("ready>").then_some(())
    });
    terminal.type_in("clear; echo after $((6 + 6))\n");
    terminal.wait_for("after 12\nready>");
}

#[test]
fn an_interrupt_from_a_terminal_that_is_behind_skips_the_flood() {
    let home = Home::new();
    let terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("sh -c 'echo pid=$$=; read go; while :; do echo xxxxxxxx; done'\n");
    let pid = terminal.wait_until("the pid", |shown| {
        shown.text().lines().find_map(|line| line.strip_prefix("pid=")?.strip_suffix('=')?.parse().ok())
    });
    terminal.stop();
    terminal.type_in("\n");
    // More than what is on its way to the terminal.
    eventually("it is behind", || most(&home, "lag_bytes") > 256 << 10);
    terminal.type_in("\x03");
    eventually("the flood is over", || !lives(pid));
    let shown_before = terminal.wait_until("", |shown| Some(shown.bytes.len()));
    terminal.go_on();
    terminal.wait_until("the prompt, last", |shown| {
        let lines = rows(shown.screen.screen());
        lines.iter().rev().find(|line| !line.is_empty())?.ends_with("ready>").then_some(())
    });
    assert_eq!(most(&home, "purges"), 1);
    let skipped = most(&home, "skipped_bytes");
    assert!(skipped > 0, "{shown_before} bytes before, {skipped} skipped");
}

#[test]
fn a_recorder_that_is_too_slow_ends_with_an_error_and_a_true_beginning() {
    let home = Home::new();
    let _server = serve(&home, &["--history", "256KiB"]);
    let words = [("resync", "the recording ends here: it was too slow"), ("disconnect", "fell behind")];
    for (on_lag, word) in words {
        let program = "stty -echo -opost; echo ready; read go; seq 1 300000; read go";
        home.succeed(&["new", on_lag, "-d", "--pace", "free", "--", "sh", "-c", program]);
        let mut recorder = home.command(&["attach", on_lag, "--from", "start", "--on-lag", on_lag]);
        recorder.args(["--spool", "0"]);
        let recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("it is attached", || home.session(on_lag)["clients"] == 1);
        eventually("it is ready", || home.session(on_lag)["printed_bytes"] == "ready\n".len());
        send(&home, on_lag, "go");
        let source: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
        let source = format!("ready\n{source}");
        eventually("the flood is over", || home.session(on_lag)["printed_bytes"] == source.len());
        // Only now is anything read of what it recorded.
        let output = recorder.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(254));
        let why = String::from_utf8(output.stderr).unwrap();
        // On a loaded machine the flood may take the 30 s after which such a client is closed.
        assert!(why.contains(word) || why.contains("took less than 64 KiB in 30 s"), "{why}");
        let recorded = output.stdout.len();
        assert!((1..source.len()).contains(&recorded), "{recorded} bytes");
        assert!(source.as_bytes().starts_with(&output.stdout), "{recorded} bytes are not the beginning");
    }
}

#[test]
fn where_to_start_is_refused_with_a_word_where_it_makes_no_sense() {
    let home = Home::new();
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", "seq 1000 1099; read end"]);
    eventually("all is printed", || home.session("work")["printed_bytes"] == 600);

    let screen = home.run(&["attach", "work", "--from", "screen"]);
    assert_eq!(screen.status.code(), Some(255));
    assert!(screen.stdout.is_empty());
    assert!(String::from_utf8_lossy(&screen.stderr).contains("is for terminals"), "{screen:?}");

    let nonsense = home.run(&["attach", "work", "--from", "nonsense"]);
    assert_eq!(nonsense.status.code(), Some(2));
    let why = String::from_utf8_lossy(&nonsense.stderr);
    assert!(why.contains("screen, now, start, or a number of bytes"), "{why}");
}

#[test]
fn a_number_of_bytes_starts_with_the_first_whole_line_within() {
    let home = Home::new();
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", "stty -echo; seq 1000 1099; read end"]);
    eventually("all is printed", || home.session("work")["printed_bytes"] == 600);
    // Lines have 6 bytes: 100 begin within one, 96 and 600 with one, and there are only 600.
    let lines = |from: u32| (from..1100).map(|number| format!("{number}\r\n")).collect::<String>();
    let starts = [("100", 1084), ("96", 1084), ("600", 1000), ("1MiB", 1000)];
    let recorders = starts.map(|(bytes, _)| {
        let mut recorder = home.command(&["attach", "work", "--from", bytes]);
        recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    eventually("all are attached", || home.session("work")["clients"] == 4);
    home.succeed(&["kill", "work"]);
    for (recorder, (bytes, first)) in recorders.into_iter().zip(starts) {
        let output = recorder.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), lines(first), "from {bytes}");
    }
}

#[test]
fn a_server_that_is_killed_while_a_terminal_is_behind_leaves_it_sane() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("printf '\\033[?1049h\\033[?25l'; echo in $((8 + 8)); read go; seq 1 10000000\n");
    terminal.wait_for("in 16");
    terminal.stop();
    terminal.type_in("\n");
    eventually("it is behind", || most(&home, "lag_bytes") > 256 << 10);
    home.kill_all();
    terminal.go_on();
    terminal.wait_for("the connection to the server was lost");
    terminal.ends_with(254);
    terminal.wait_until("the modes as they were", |shown| (state(shown).modes == [false; 5]).then_some(()));
}
