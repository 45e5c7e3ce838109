//! Into files and pipes: every byte, none added, and the program's own exit status.

use super::{recorders::cast, *};

#[test]
fn a_recording_is_the_programs_bytes_and_its_status() {
    let home = Home::new();
    let output =
        home.run(&["new", "a", "--", "sh", "-c", r"stty -opost; printf '\033[1mbold\n\377'; exit 7"]);
    assert_eq!(output.stdout, b"\x1b[1mbold\n\xff");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_recording_has_what_was_printed_before_it_came() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "seq 1 20000; read end"]);
    let recorder = home.command(&["attach", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    let numbers: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    // The terminal echoes the newline where the program stands: it must have printed everything.
    eventually("all is printed", || home.session("a")["printed_bytes"] == numbers.len());
    let sent = script(&home, "echo | fugue-server send a");
    assert!(sent.status.success(), "{sent:?}");
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    // The echo of the newline that ended it comes last.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), numbers + "\r\n");
}

#[test]
fn a_recording_whose_beginning_is_gone_is_refused_or_says_so() {
    let home = Home::new();
    let started = script(&home, "fugue-server new a -d -- sh -c 'head -c 9000000 /dev/zero; echo; read end'");
    assert!(started.status.success(), "{started:?}");
    eventually("all is printed", || home.session("a")["printed_bytes"].as_u64() >= Some(9_000_000));
    let output = home.run(&["attach", "a", "--from", "start"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no longer held"), "{output:?}");

    // Nobody asked for the beginning: the rest is recorded, and what is missing is counted.
    let recorder =
        home.command(&["attach", "a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stderr);
    let gone =
        told.split_once("[the first ").and_then(|(_, rest)| rest.split_once(" bytes of session a are no"));
    let gone: usize = gone.expect("what is missing").0.parse().unwrap();
    // The program's own newline and the echo of the one that ended it come last, each as two bytes.
    assert_eq!(gone + output.stdout.len(), 9_000_004, "{told}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_recording() {
    let home = Home::new();
    let output = script(&home, "fugue-server new a -- sh -c 'while :; do echo y; done' | head -c 10");
    assert_eq!(output.stdout, b"y\r\ny\r\ny\r\ny");
    eventually("nobody watches any more", || home.session("a")["clients"] == 0);
}

#[test]
fn a_flood_into_a_pipe_is_whole() {
    let home = Home::new();
    let output = script(
        &home,
        "fugue-server new a -- sh -c 'stty -opost; seq 1 1000000' | cksum; seq 1 1000000 | cksum",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let (recorded, expected) = text.split_once('\n').unwrap();
    assert_eq!(recorded, expected.trim_end());
}

#[test]
fn what_is_sent_arrives_whole() {
    let home = Home::new();
    let program = "stty raw -echo; printf ready; head -c 2000000 | cksum; printf done";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", program]);
    eventually("the terminal is raw", || home.session("a")["printed_bytes"] == 5);
    let recorder = home.command(&["attach", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    let sent = script(
        &home,
        "seq 1 400000 | head -c 2000000 | fugue-server send a; seq 1 400000 | head -c 2000000 | cksum",
    );
    let expected = String::from_utf8(sent.stdout).unwrap();
    let recorded = String::from_utf8(recorder.wait_with_output().unwrap().stdout).unwrap();
    assert!(recorded.contains(expected.trim_end()), "{recorded} has not {expected}");
}

#[test]
fn a_recording_is_cut_short_with_a_word_when_its_session_vanishes() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let recorder =
        home.command(&["attach", "a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    home.kill_all();
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(254));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("connection to the server was lost"),
        "{output:?}"
    );
}

/// Prints 1.2 MiB once it is told to: more than the client and a small history hold in memory.
const FLOOD: &str = "stty -echo; printf ready; read go; stty -opost; seq 1 200000";

/// Tells it to, once it does not echo that.
fn start_flood(home: &Home) {
    home.succeed(&["wait", "a", "--for", "ready"]);
    home.succeed(&["send", "a", "--keys", "Enter"]);
}

/// A recorder of the flood whose output is read once the gate is opened, and what its script prints in the end.
fn gated(home: &Home, attach: &str) -> Child {
    let (gate, sum) = (home.directory.path().join("gate"), "{ printf ready; seq 1 200000; } | cksum");
    let script = format!(
        "mkfifo {gate}; {attach} | {{ read opened < {gate}; cat; }} | cksum; {sum}",
        gate = gate.display()
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).envs(home.environment()).env("PATH", path()).stdin(Stdio::null());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn open_gate(home: &Home) {
    std::fs::write(home.directory.path().join("gate"), "open\n").unwrap();
}

fn is_whole(recorded: &[u8]) -> bool {
    let text = std::str::from_utf8(recorded).unwrap();
    let (recorded, expected) = text.split_once('\n').unwrap();
    recorded == expected.trim_end()
}

#[test]
fn a_pipe_that_nobody_reads_yet_holds_nobody_and_gets_every_byte() {
    let home = Home::new();
    let _server = serve(&home, &["--history", "256KiB"]);
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", FLOOD]);
    let recorder = gated(&home, "fugue-server attach a --from start");
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    let viewer = thread::spawn({
        let mut viewer = home.command(&["attach", "a", "--from", "start"]);
        move || viewer.output().unwrap()
    });
    eventually("the viewer is attached", || home.session("a")["clients"] == 2);
    start_flood(&home);
    // The program ends, and the viewer has all, though nothing was read here.
    let viewed = viewer.join().unwrap();
    assert_eq!(viewed.status.code(), Some(0));
    assert!(viewed.stdout.len() > 1_200_000);
    // It has been told of the end, and leaves: who asks is alone.
    eventually("the recorder has all", || {
        home.json(&["stats", "--json"])["by_client"].as_array().unwrap().len() == 1
    });
    // Not even its server is needed any more.
    home.signal_server(Signal::KILL);
    open_gate(&home);
    let output = recorder.wait_with_output().unwrap();
    assert!(is_whole(&output.stdout), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("[session a ended: exit status 0]") && !said.contains("waits"), "{said}");
}

#[test]
fn a_slow_pipe_holds_the_program_at_the_spools_limit_or_without_a_spool() {
    for (attach, note) in [
        ("fugue-server attach a --from start --spool 64KiB", "wait to be read, the most that may"),
        ("TMPDIR=/nonexistent fugue-server attach a --from start", "can't wait in a temporary file"),
    ] {
        let home = Home::new();
        let _server = serve(&home, &["--history", "256KiB"]);
        home.succeed(&["new", "a", "-d", "--", "sh", "-c", FLOOD]);
        let mut recorder = gated(&home, attach);
        eventually("the recorder is attached", || home.session("a")["clients"] == 1);
        start_flood(&home);
        let mut said = String::new();
        let mut stderr = BufReader::new(recorder.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains(note), "{said}");
        open_gate(&home);
        let recorded = recorder.wait_with_output().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let length = recorded.stdout.len();
        assert!(is_whole(&recorded.stdout), "{attach}: {length} bytes, {}, {said}", recorded.status);
    }
}

#[test]
fn a_reader_that_goes_ends_what_is_still_to_be_written() {
    let home = Home::new();
    // It goes when the session has ended.
    let reader = "{ read first; fugue-server wait a; exec 0<&-; }";
    let output =
        script(&home, &format!("{{ fugue-server new a -- seq 1 1000000; echo $? >&2; }} | {reader}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.lines().any(|line| line == "141"), "{said}");
}

#[test]
fn a_full_disk_ends_a_recording_with_the_reason_and_leaves_the_session() {
    let home = Home::new();
    let ready = "printf ready; sleep 1000";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ready]);
    for command in
        ["attach a --from start > /dev/full", "record a /dev/full", "record a --raw --from start /dev/full"]
    {
        let output = script(&home, &format!("fugue-server {command}"));
        assert_eq!(output.status.code(), Some(254), "{command}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("writing it failed: No space left"), "{command}: {said}");
    }
    assert_eq!(home.session("a")["running"], true);
}

#[test]
fn an_asciicast_has_the_screen_the_output_sizes_and_the_status() {
    let home = Home::new();
    let program = "stty -echo; printf '\\033[1mbefore\\n'; read go; printf 'after \\342\\202\\254\\377\\n'; read go; exit 3";
    home.succeed(&["new", "a", "-d", "--title", "A title", "--size", "80x24", "--", "sh", "-c", program]);
    home.succeed(&["wait", "a", "--for", "before"]);
    let path = home.directory.path().join("a.cast");
    let mut recorder = home.command(&["record", "a"]);
    let recorder = recorder.arg(&path).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    home.succeed(&["send", "a", "--keys", "Enter"]);
    home.succeed(&["wait", "a", "--for", "after"]);
    home.succeed(&["resize", "a", "100x30"]);
    eventually("the size is recorded", || std::fs::read_to_string(&path).unwrap().contains("100x30"));
    home.succeed(&["send", "a", "--keys", "Enter"]);
    assert_eq!(recorder.wait_with_output().unwrap().status.code(), Some(3));

    let (header, events) = cast(&path);
    assert_eq!(header["version"], 3);
    assert_eq!(header["term"]["cols"], 80);
    assert_eq!(header["title"], "A title");
    assert_eq!(header["env"]["TERM"], "xterm-256color");
    assert!(header["timestamp"].as_u64().unwrap() > 1_700_000_000);
    let of = |code: &str| {
        events.iter().filter(|event| event.1 == code).map(|event| event.2.as_str()).collect::<Vec<_>>()
    };
    let output = of("o").concat();
    assert!(output.contains("before") && output.contains("after \u{20ac}\u{fffd}"), "{output:?}");
    assert_eq!((of("r"), of("x")), (vec!["100x30"], vec!["3"]));
    assert_eq!(events.last().unwrap().1, "x");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // It plays here as it looked there.
    let player = home.terminal(&["play", path.to_str().unwrap(), "--idle-limit", "100ms"]);
    player.wait_for("after");
    let player_text = player.wait_until("it", |shown| Some(shown.text()));
    assert!(player_text.contains("before"), "{player_text}");
}

#[test]
fn a_raw_recording_is_the_programs_bytes_and_a_file_that_is_there_stays() {
    let home = Home::new();
    home.succeed(&[
        "new",
        "a",
        "-d",
        "--",
        "sh",
        "-c",
        r"stty -opost -echo; printf '\033[1m\377'; read go; printf end",
    ]);
    eventually("it waits", || home.session("a")["printed_bytes"] == 5);
    let path = home.directory.path().join("a.raw");
    std::fs::write(&path, "mine").unwrap();
    let arguments = ["record", "a", path.to_str().unwrap(), "--raw", "--from", "start"];
    let refused = home.run(&arguments);
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("exists already"), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    std::fs::remove_file(&path).unwrap();
    let recorder = home.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    home.succeed(&["send", "a", "--keys", "Enter"]);
    assert_eq!(recorder.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(std::fs::read(&path).unwrap(), b"\x1b[1m\xffend");
}

#[test]
fn both_versions_of_asciicasts_play_and_a_broken_one_says_where() {
    let home = Home::new();
    let path = home.directory.path().join("some.cast");
    let name = path.to_str().unwrap();
    let play = |text: &str| {
        std::fs::write(&path, text).unwrap();
        home.run(&["play", name, "--speed", "100"])
    };
    let two = "{\"version\": 2, \"width\": 80, \"height\": 24}\n[1.0, \"o\", \"a\"]\n[2.0, \"i\", \"x\"]\n[3.0, \"o\", \"b\"]\n";
    assert_eq!(play(two).stdout, b"ab");
    let three = "{\"version\": 3, \"term\": {\"cols\": 80, \"rows\": 24}}\n# one\n[1.0, \"o\", \"a\"]\n[1.0, \"m\", \"\"]\n";
    assert_eq!(play(&format!("{three}[0.1, \"o\", \"b\"]\n[0, \"x\", \"0\"]\n")).stdout, b"ab");
    let broken = play(&format!("{three}[0.1, \"o\", \"b"));
    assert_eq!((broken.status.code(), broken.stdout), (Some(1), b"a".to_vec()));
    let said = String::from_utf8_lossy(&broken.stderr);
    assert!(said.contains("some.cast: line 5: column 13: EOF"), "{said}");
}

#[test]
fn a_player_stops_at_a_key_and_puts_the_terminal_back() {
    let home = Home::new();
    let path = home.directory.path().join("long.cast");
    std::fs::write(&path, "{\"version\": 3, \"term\": {\"cols\": 80, \"rows\": 24}}\n[0, \"o\", \"\\u001b[?25lshown\"]\n[1000, \"o\", \"never\"]\n").unwrap();
    for key in ["q", "\x03", " q"] {
        let mut player = home.terminal(&["play", path.to_str().unwrap()]);
        player.wait_for("shown");
        player.type_in(key);
        player.ends_with(0);
        player.wait_until("the cursor", |shown| (!shown.screen.screen().hide_cursor()).then_some(()));
    }
}

/// Made by asciinema 2.4, of a program of ours.
const THEIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/asciinema.cast");

#[test]
fn a_recording_of_asciinemas_plays_here() {
    let home = Home::new();
    let elsewhere = home.succeed(&["play", THEIRS, "--speed", "10"]);
    assert!(elsewhere.starts_with("\x1b[1;32mgreen\x1b[0m € ") && elsewhere.ends_with("tab\r\n\x1b[?25h"));
    let terminal = home.terminal(&["play", THEIRS, "--speed", "10"]);
    terminal.wait_for(r#"second screen "quoted" \"#);
}
