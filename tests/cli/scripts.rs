//! What scripts drive sessions with: what a session shows, keys and pastes, waiting for what comes.

use super::*;

/// A program that sets the terminal up with `sequence` and shows each byte that it is typed.
fn shows_bytes(home: &Home, name: &str, sequence: &str) {
    let script = format!("stty raw -echo; printf '{sequence}ready '; exec cat -v");
    home.succeed(&["new", name, "-d", "--", "/bin/sh", "-c", &script]);
    home.succeed(&["wait", name, "--for", "ready", "--timeout", "120"]);
}

/// Runs a command with this standard input.
fn with_input(home: &Home, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = home.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_screen_is_printed_line_by_line_with_lines_above_it() {
    let home = Home::new();
    let script = r"seq 1 30; printf '\033[1;31mred\033[m  two  \n漢字\n'; printf '> '; read end";
    home.succeed(&["new", "a", "-d", "--size", "20x6", "--", "/bin/sh", "-c", script]);
    home.succeed(&["wait", "a", "--for", "> ", "--timeout", "120"]);
    assert_eq!(home.succeed(&["screen", "a"]), "28\n29\n30\nred  two\n漢字\n>\n");
    assert_eq!(home.succeed(&["screen", "a", "--lines", "2"]), "26\n27\n28\n29\n30\nred  two\n漢字\n>\n");
    assert_eq!(home.succeed(&["screen", "a", "--lines", "99"]).lines().count(), 27 + 6);
    let ansi = home.succeed(&["screen", "a", "--ansi"]);
    assert_eq!(ansi, "28\n29\n30\n\x1b[0;1;31mred\x1b[0m  two\x1b[m\n漢字\n>\n".replace("two\x1b[m", "two"));
    let svg = home.succeed(&["screen", "a", "--svg"]);
    assert!(svg.starts_with("<svg ") && svg.contains("font-weight=\"bold\">red</text>"), "{svg}");
}

#[test]
fn a_screen_as_json_says_all_that_is_seen() {
    let home = Home::new();
    let script =
        r"printf '\033]2;title\007\033[?1h\033[?2004h\033[?1049h\033[2;3H\033[1;44mbold\033[m漢'; read end";
    home.succeed(&["new", "a", "-d", "--size", "20x6", "--", "/bin/sh", "-c", script]);
    home.succeed(&["wait", "a", "--for", "bold漢", "--timeout", "120"]);
    let json = home.json(&["screen", "a", "--json", "--lines", "5"]);
    assert_eq!((&json["session"], &json["columns"], &json["rows"]), (&"a".into(), &20.into(), &6.into()));
    assert_eq!(json["id"], home.session("a")["id"]);
    assert_eq!(json["offset"], home.session("a")["printed_bytes"]);
    assert_eq!((&json["title"], &json["other_screen"]), (&"title".into(), &true.into()));
    let cursor = serde_json::json!({"row": 1, "column": 8, "visible": true, "shape": "block"});
    assert_eq!(json["cursor"], cursor);
    assert_eq!(json["modes"]["application_cursor_keys"], true);
    assert_eq!(json["modes"]["bracketed_paste"], true);
    assert_eq!(json["modes"]["mouse"], Value::Null);
    assert_eq!(json["above"], serde_json::json!([]));
    let line = serde_json::json!({"text": "  bold漢", "wraps": false, "runs": [
        {"text": "  ", "column": 0, "columns": 2},
        {"text": "bold", "column": 2, "columns": 4, "background": 4, "attributes": ["bold"]},
        {"text": "漢", "column": 6, "columns": 2},
    ]});
    assert_eq!(json["screen"][1], line);
}

/// Of each cell what it shows and how.
fn cells(screen: &vt100::Screen) -> Vec<String> {
    let (rows, cols) = screen.size();
    let cell = |row, col| {
        let cell = screen.cell(row, col).unwrap();
        let text = if cell.contents().is_empty() { " " } else { cell.contents() };
        let looks = (cell.bold(), cell.dim(), cell.italic(), cell.underline(), cell.inverse());
        format!("{row} {col}: {text} {:?} {:?} {looks:?}", cell.fgcolor(), cell.bgcolor())
    };
    (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))).map(|(row, col)| cell(row, col)).collect()
}

#[test]
fn a_screen_with_colours_shows_in_a_terminal_what_the_session_does() {
    let home = Home::new();
    let script = r"stty -opost
        printf '\033[1mbold\033[22;2mdim\033[22;3mitalic\033[23;4munder\033[24;7minverse\033[m\r\n'
        printf '\033[31;42mred\033[95;104mbright\033[38;5;200;48;5;17mindexed\033[38;2;1;2;3;48;2;250;1;9mrgb\033[m|\r\n'
        printf '漢字\033[44m wide e\314\201 \033[K\033[m\r\n\033[7m   \033[m   end\033[10;70Hwrapped at the edge, and on'
        printf '\033[12;1H\033[44m\033[2K\033[m\033[5;5Hdone'; read end";
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    home.succeed(&["wait", "a", "--for", "done", "--timeout", "120"]);
    let terminal = home.terminal(&["attach", "a"]);
    let expected = terminal
        .wait_until("done", |shown| shown.text().contains("done").then(|| cells(shown.screen.screen())));
    let printed = home.succeed(&["screen", "a", "--ansi"]);
    let mut screen = vt100::Parser::new(24, 80, 0);
    screen.process(printed.trim_end_matches('\n').replace('\n', "\r\n").as_bytes());
    for (cell, expected) in cells(screen.screen()).iter().zip(&expected) {
        assert_eq!(cell, expected);
    }
}

/// The names under "Reading" in the document, and those that are printed.
#[test]
fn the_document_names_each_field_of_a_screen() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scripts.md")).unwrap();
    let (_, text) = text.split_once("## Reading").unwrap();
    let home = Home::new();
    let script = r"printf '\033]8;;http://a\033\\\033[4;31;44;58;5;1mx\033[m'; read end";
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    home.succeed(&["wait", "a", "--for", "x", "--timeout", "120"]);
    let json = home.json(&["screen", "a", "--json"]);
    let line = &json["screen"][0];
    assert_eq!(line["runs"][0].as_object().unwrap().len(), 8, "{line}");
    for object in [&json, &json["cursor"], &json["modes"], line, &line["runs"][0]] {
        for field in object.as_object().unwrap().keys() {
            assert!(text.contains(&format!("`{field}`")), "{field}");
        }
    }
}

#[test]
fn a_screen_is_printed_in_the_session_itself() {
    let home = Home::new();
    let terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    terminal.type_in("echo $((40 + 2))\n");
    terminal.wait_for("\n42");
    terminal.type_in("fugue-server screen work | grep -c ^42\n");
    terminal.wait_for("\n1\n");
    // It would print the session in itself, if it printed anything.
    terminal.type_in("fugue-server wait work --for '/^l[a]ter$/' --timeout 30 && echo $((50 + 1))\n");
    eventually("it watches", || home.session("work")["clients"] == 2);
    terminal.type_in("later\n");
    terminal.wait_for("\n51");
}

#[test]
fn a_session_that_ended_or_never_was_has_no_screen() {
    let home = Home::new();
    let _server = serve(&home, &["--ended", "0"]);
    home.run(&["new", "a", "--", "/bin/sh", "-c", "exit 3"]);
    home.run(&["wait", "a"]);
    for (name, reason) in [("a", "session a has ended: exit status 3"), ("b", "there is no session b")] {
        let output = home.run(&["screen", name]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{output:?}");
    }
}

#[test]
fn keys_are_typed_as_the_programs_modes_want_them() {
    let home = Home::new();
    for (name, sequence, shown) in [
        ("plain", "", "ready ^[[A^C^[OPx^[x^?^M"),
        ("cursor", r"\033[?1h", "ready ^[OA^C^[OPx^[x^?^M"),
        ("kitty", r"\033[>1u", "ready ^[[A^[[99;5u^[[Px^[[120;3u^?^M"),
    ] {
        shows_bytes(&home, name, sequence);
        home.succeed(&["send", name, "--keys", "Up C-c F1 x M-x BSpace Enter"]);
        home.succeed(&["wait", name, "--for", shown, "--timeout", "120"]);
    }
}

#[test]
fn a_paste_is_in_brackets_where_the_program_wants_them() {
    let home = Home::new();
    for (name, sequence, shown) in [
        ("plain", "", "ready a^Mb^[[201~^Mend"),
        ("brackets", r"\033[?2004h", "ready ^[[200~a^Mb^[[201~^Mend^[[201~"),
    ] {
        shows_bytes(&home, name, sequence);
        let sent = with_input(&home, &["send", name, "--paste"], b"a\nb\x1b[201~\r\nend");
        assert!(sent.status.success(), "{sent:?}");
        home.succeed(&["wait", name, "--for", shown, "--timeout", "120"]);
    }
    // What is shown of the end within is two characters, where a real one is an escape character.
    let shown = home.succeed(&["screen", "brackets"]);
    assert_eq!(shown.matches("^[[201~").count(), 2, "{shown}");
}

#[test]
fn a_wait_ends_with_the_program_and_its_status() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", "read end; exit 7"]);
    let mut waiting = home.command(&["wait", "a"]).stderr(Stdio::piped()).spawn().unwrap();
    let output = home.run(&["wait", "a", "--timeout", "0.01"]);
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("a has not ended within 10ms"), "{output:?}");
    assert!(waiting.try_wait().unwrap().is_none());
    assert!(with_input(&home, &["send", "a"], b"\n").status.success());
    assert_eq!(wait(&mut waiting).code(), Some(7));
    // It ended before.
    let output = home.run(&["wait", "a"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("[session a ended: exit status 7]"),
        "{output:?}"
    );
    assert_eq!(home.run(&["wait", "b"]).status.code(), Some(255));
}

#[test]
fn a_wait_whose_server_is_lost_says_so() {
    for arguments in [&["wait", "a"][..], &["wait", "a", "--for", "x"], &["wait", "a", "--idle", "1h"]] {
        let home = Home::new();
        home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
        let waiting = home.command(arguments).stderr(Stdio::piped()).spawn().unwrap();
        home.has_connections(1);
        home.kill_all();
        let output = waiting.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(254), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("server"), "{output:?}");
    }
}

#[test]
fn what_is_waited_for_is_found_on_the_screen_and_in_what_follows() {
    let home = Home::new();
    let script = r"printf 'one two\r\n\033[1mbo\033[mld> '; read line; printf 'got %s\n' $line; read end";
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    for pattern in ["two", "bold> ", "/^one/", "two\nbold"] {
        home.succeed(&["wait", "a", "--for", pattern, "--timeout", "120"]);
    }
    let mut waiting = home.command(&["wait", "a", "--for", "/^got (.*)$/", "--print"]);
    let mut waiting = waiting.stdout(Stdio::piped()).spawn().unwrap();
    eventually("it watches", || home.session("a")["clients"] == 1);
    assert!(with_input(&home, &["send", "a"], b"something\n").status.success());
    assert!(wait(&mut waiting).success());
    assert_eq!(waiting.wait_with_output().unwrap().stdout, b"something\n");
}

#[test]
fn an_answer_between_send_and_wait_is_not_missed_nor_an_earlier_one_taken() {
    let home = Home::new();
    let script = "stty -echo; echo ready; while read line; do echo answer to $line; done";
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    home.succeed(&["wait", "a", "--for", "ready", "--timeout", "120"]);
    for number in 0..20 {
        let sent = with_input(&home, &["send", "a", "--offset"], format!("{number}\n").as_bytes());
        let offset = String::from_utf8(sent.stdout).unwrap();
        if number % 2 == 0 {
            // The answer is there before anybody waits for it.
            eventually("it has answered", || {
                home.session("a")["printed_bytes"].as_u64() > offset.trim().parse().ok()
            });
        }
        let arguments = [
            "wait",
            "a",
            "--since",
            offset.trim(),
            "--for",
            "/answer to (.*)\n/",
            "--print",
            "--timeout",
            "120",
        ];
        assert_eq!(home.succeed(&arguments), format!("{number}\n"));
    }
    // Nothing was printed since.
    let now = home.session("a")["printed_bytes"].to_string();
    let output = home.run(&["wait", "a", "--since", &now, "--for", "answer", "--timeout", "0.1"]);
    assert_eq!(output.status.code(), Some(124));
}

#[test]
fn what_a_program_draws_piece_by_piece_is_found_on_its_screen() {
    let home = Home::new();
    let script = r"printf '\033[2J\033[1;1Hw rd'; read go; printf '\033[1;2Ho\033[5;1H'; read end";
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    let mut waiting = home.command(&["wait", "a", "--for", "word"]).spawn().unwrap();
    eventually("it watches", || home.session("a")["clients"] == 1);
    assert!(with_input(&home, &["send", "a"], b"\n").status.success());
    assert!(wait(&mut waiting).success());
}

#[test]
fn a_wait_for_what_never_comes_ends_with_the_session() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", "read end; printf 'the en'; exit 3"]);
    let waiting = home.command(&["wait", "a", "--for", "the end"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut partial = home.command(&["wait", "a", "--for", "/the en$/"]).spawn().unwrap();
    let mut silent = home.command(&["wait", "a", "--idle", "1h"]).spawn().unwrap();
    eventually("they watch", || home.session("a")["clients"] == 3);
    assert!(with_input(&home, &["send", "a"], b"\n").status.success());
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("[session a ended: exit status 3]"),
        "{output:?}"
    );
    assert_eq!(wait(&mut partial).code(), Some(0));
    // Nothing is printed any more.
    assert_eq!(wait(&mut silent).code(), Some(0));
}

#[test]
fn a_session_is_idle_once_it_prints_nothing_for_so_long() {
    let home = Home::new();
    home.succeed(&["new", "flood", "-d", "--", "/bin/sh", "-c", "while :; do echo y; done"]);
    let output = home.run(&["wait", "flood", "--idle", "30s", "--timeout", "0.2"]);
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    home.succeed(&["new", "still", "-d", "--", "sleep", "1000"]);
    home.succeed(&["wait", "still", "--idle", "100ms", "--timeout", "120"]);
}

#[test]
fn a_flood_is_searched_without_missing_a_byte() {
    let home = Home::new();
    let script = "read go; seq 1 400000; printf 'the needle'; seq 1 400000; read end";
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    let mut waiting = home.command(&["wait", "a", "--for", "the needle1\n2\n3\n"]).spawn().unwrap();
    eventually("it watches", || home.session("a")["clients"] == 1);
    assert!(with_input(&home, &["send", "a"], b"\n").status.success());
    assert!(wait(&mut waiting).success());
}

#[test]
fn a_reader_that_has_gone_is_noticed_before_anything_is_printed() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", "echo needle; read end"]);
    let mut recorder =
        home.command(&["attach", "a", "--from", "start"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut read = [0; 6];
    recorder.stdout.take().unwrap().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"needle");
    // It is closed now.
    assert_eq!(wait(&mut recorder).code(), Some(141));
    eventually("nobody watches any more", || home.session("a")["clients"] == 0);
}

#[test]
fn commands_on_a_new_sessions_standard_input_are_not_ignored_silently() {
    let home = Home::new();
    let file = home.directory.path().join("commands");
    for (commands, is_said) in [("echo commands\n", true), ("", false)] {
        std::fs::write(&file, commands).unwrap();
        let mut new = home.command(&["new", "a", "--", "true"]);
        let output = new.stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("`fugue-server send NAME` does that"), is_said, "{said}");
    }
}

/// The block of the document that begins with `#!/bin/sh`.
#[test]
fn the_documents_script_talks_to_a_program_without_a_sleep() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scripts.md")).unwrap();
    let block = text.split("```sh\n").find(|block| block.starts_with("#!/bin/sh")).unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert!(!block.contains("sleep"), "{block}");
    let home = Home::new();
    let output = script(&home, block);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said, "6 times 7 is 42\nbc has 2 letters\nit ended with status 3\n", "{output:?}");
    assert_eq!(home.session("calc")["exit_code"], 3);
}
