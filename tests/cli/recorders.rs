//! Recorders that outlive the terminal they were started from, recordings in parts, and what is held as a file.

use super::*;

/// The first line of an asciicast, and its events.
pub(super) fn cast(path: &Path) -> (Value, Vec<(f64, String, String)>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    (header, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What events of this kind say, in one.
pub(super) fn told(events: &[(f64, String, String)], code: &str) -> String {
    events.iter().filter(|event| event.1 == code).map(|event| event.2.as_str()).collect()
}

fn recorded(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn numbers(to: usize) -> String {
    (1..=to).map(|number| format!("{number}\r\n")).collect()
}

#[test]
fn new_records_from_the_first_byte_and_beyond_the_terminal() {
    let home = Home::new();
    let path = home.directory.path().join("a.cast");
    let mut terminal = home.terminal(&["new", "a", "--record", path.to_str().unwrap(), "--", "sh"]);
    terminal.wait_for("ready>");
    terminal.type_in("echo one$((1))\n");
    terminal.wait_for("one1");
    eventually("it is recorded", || recorded(&path).contains("one1"));
    // The terminal's window is closed.
    terminal.signal_foreground(Signal::HUP);
    wait(&mut terminal.child);
    drop(terminal);
    eventually("only the recorder is left", || home.session("a")["clients"] == 1);
    home.succeed(&["send", "a", "--keys", "e x i t Space 5 Enter"]);
    eventually("the end is recorded", || recorded(&path).ends_with("\"x\", \"5\"]\n"));
    let (header, events) = cast(&path);
    assert_eq!(header["command"], "sh");
    // Nothing was drawn before it.
    assert!(told(&events, "o").starts_with("ready> "), "{events:?}");
}

#[test]
fn a_program_that_ends_at_once_is_recorded_whole() {
    let home = Home::new();
    let path = home.directory.path().join("a.cast");
    let record = ["new", "a", "--record", path.to_str().unwrap(), "-d", "--", "seq", "1", "100000"];
    let id = home.succeed(&record);
    assert_eq!(id.trim_end().len(), 36, "{id}");
    eventually("the end is recorded", || recorded(&path).ends_with("\"x\", \"0\"]\n"));
    assert_eq!(told(&cast(&path).1, "o"), numbers(100_000));
    // The file is there: nothing is started.
    let refused = home.run(&record);
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("exists already"), "{refused:?}");
    assert_eq!(home.json(&["list", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_recorder_without_a_session_says_why_and_leaves_no_file() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let path = home.directory.path().join("a.cast");
    let file = path.to_str().unwrap();
    for (arguments, why) in [
        (&["record", "typo", file, "-d"][..], "typo"),
        (&["new", "a", "--record", file, "-d"], "session a exists already"),
        (&["new", "b", "--record", file, "-d", "--", "/no/such/program"], "/no/such/program"),
    ] {
        let refused = home.run(arguments);
        assert_eq!(refused.status.code(), Some(255), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
        assert!(!path.exists(), "{arguments:?}");
    }
    // A name that is the directory's gets a number.
    let directory = home.directory.path().join("a");
    std::fs::create_dir(&directory).unwrap();
    let arguments = ["new", "--record", file, "-d", "-C", directory.to_str().unwrap(), "--", "sleep", "1000"];
    home.succeed(&arguments);
    assert_eq!(home.session("a-2")["clients"], 1);
}

#[test]
fn a_recorder_in_the_background_can_be_started_inside_and_stopped() {
    let home = Home::new();
    let path = home.directory.path().join("a.cast");
    let terminal = home.terminal(&["new", "a", "--", "sh"]);
    terminal.wait_for("ready>");
    let binary = env!("CARGO_BIN_EXE_fugue-server");
    terminal.type_in(&format!("clear; {binary} record a {} -d\n", path.display()));
    terminal.wait_for("[recording session a into");
    eventually("both are attached", || home.session("a")["clients"] == 2);
    terminal.type_in("echo two$((2))\n");
    eventually("it is recorded", || recorded(&path).contains("two2"));
    let stats = home.json(&["stats", "--json"]);
    let clients = stats["by_client"].as_array().unwrap();
    let attached = clients.iter().filter(|client| !client["session"].is_null());
    for client in attached.map(|client| client["id"].to_string()) {
        home.succeed(&["detach", "a", &client]);
    }
    eventually("nobody is attached", || home.session("a")["clients"] == 0);
    // The log says why it ended, and what it has plays.
    let log = home.socket().with_extension("sock.log");
    eventually("the log tells", || recorded(&log).contains("a.cast ends here"));
    home.succeed(&["play", path.to_str().unwrap(), "--idle-limit", "0"]);
}

#[test]
fn a_recording_in_parts_has_every_byte_and_each_part_plays() {
    let home = Home::new();
    let directory = home.directory.path();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "stty -echo; printf ready; read go; seq 1 60000"]);
    eventually("it is ready", || home.session("a")["printed_bytes"] == 5);
    let mut recorders = Vec::new();
    for (name, raw) in [("a.cast", None), ("a.raw", Some("--raw"))] {
        let path = directory.join(name);
        let arguments = ["record", "a", path.to_str().unwrap(), "--rotate", "64KiB", "--from", "start"];
        recorders.push(home.command(&arguments).args(raw).stderr(Stdio::null()).spawn().unwrap());
    }
    eventually("both are attached", || home.session("a")["clients"] == 2);
    home.succeed(&["send", "a", "--keys", "Enter"]);
    assert!(recorders.iter_mut().all(|recorder| wait(recorder).code() == Some(0)));

    let part = |number: usize, extension: &str| {
        let name = if number == 1 { format!("a.{extension}") } else { format!("a.{number}.{extension}") };
        Some(directory.join(name)).filter(|path| path.exists())
    };
    let casts: Vec<_> = (1..).map_while(|number| part(number, "cast")).collect();
    let mut all = String::new();
    for (number, path) in casts.iter().enumerate() {
        assert!(path.metadata().unwrap().len() <= 64 << 10);
        home.succeed(&["play", path.to_str().unwrap(), "--idle-limit", "0"]);
        let (header, mut events) = cast(path);
        assert_eq!(header["term"]["rows"], 24);
        if number > 0 {
            // The screen.
            events.remove(0);
        }
        all += &told(&events, "o");
    }
    let expected = format!("ready{}", numbers(60_000));
    assert!(casts.len() > 5 && all == expected, "{} parts, {} bytes", casts.len(), all.len());
    let raws: Vec<_> = (1..).map_while(|number| part(number, "raw")).map(|path| recorded(&path)).collect();
    assert!(raws.iter().rev().skip(1).all(|part| part.len() == 64 << 10));
    assert_eq!(raws.concat(), expected);
}

#[test]
fn a_full_disk_leaves_a_recording_that_plays() {
    let home = Home::new();
    home.succeed(&[
        "new",
        "a",
        "-d",
        "--",
        "sh",
        "-c",
        "stty -echo; printf ready; read go; seq 1 60000; read go",
    ]);
    eventually("it is ready", || home.session("a")["printed_bytes"] == 5);
    let path = home.directory.path().join("a.cast");
    // No file may have more than 100 KiB, or 50 where a block is half of one.
    let script = format!("ulimit -f 100; exec fugue-server record a {}", path.display());
    let mut recorder = Command::new("/bin/sh");
    recorder.args(["-c", &script]).envs(home.environment()).env("PATH", super::path()).stdin(Stdio::null());
    let recorder = recorder.stderr(Stdio::piped()).spawn().unwrap();
    eventually("it is attached", || home.session("a")["clients"] == 1);
    home.succeed(&["send", "a", "--keys", "Enter"]);
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(254), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("ends here: writing it failed: File too large"), "{said}");
    // Its last line is whole, and the session goes on.
    assert!(recorded(&path).ends_with("]\n"));
    let played = home.succeed(&["play", path.to_str().unwrap(), "--idle-limit", "0"]);
    assert!(played.contains("ready"), "{played}");
    assert_eq!(home.session("a")["running"], true);
}

#[test]
fn export_writes_what_is_held_and_says_what_is_gone() {
    let home = Home::new();
    let _server = serve(&home, &["--history", "128KiB"]);
    home.succeed(&[
        "new",
        "a",
        "-d",
        "--",
        "sh",
        "-c",
        "stty -opost; seq 1 60000; printf '\\033[1mend'; read go",
    ]);
    let printed = 348_894 + 7;
    eventually("all is printed", || home.session("a")["printed_bytes"] == printed);
    let raw = home.run(&["export", "a", "--raw"]);
    assert_eq!(raw.status.code(), Some(0));
    let said = String::from_utf8_lossy(&raw.stderr);
    let gone =
        said.strip_prefix("[the first ").and_then(|said| said.split_once(" bytes of session a are no"));
    let gone: usize = gone.expect("what is gone").0.parse().unwrap();
    assert_eq!(gone + raw.stdout.len(), printed);
    assert!(raw.stdout.ends_with(b"\n60000\n\x1b[1mend"));
    let newest = home.run(&["export", "a", "--raw", "--from", "1KiB"]);
    assert!(newest.stdout.len() <= 1024 && raw.stdout.ends_with(&newest.stdout), "{newest:?}");

    let path = home.directory.path().join("a.cast");
    home.succeed(&["export", "a", path.to_str().unwrap()]);
    let (header, events) = cast(&path);
    assert_eq!(header["term"]["cols"], 80);
    assert_eq!(told(&events, "o").as_bytes(), raw.stdout);
    assert!(events.iter().all(|event| event.0 == 0.0));
    // The screen alone, which is what the program left of it.
    let screen = home.succeed(&["export", "a", "--from", "screen"]);
    assert!(screen.lines().count() == 2 && screen.contains("end"), "{screen}");
    eventually("nobody is attached", || home.session("a")["clients"] == 0);
}

#[test]
fn export_has_sizes_where_they_were_in_the_output() {
    let home = Home::new();
    let program = "stty -echo -opost; printf one; read go; printf two; read go; printf three; read go";
    home.succeed(&["new", "a", "-d", "--size", "80x24", "--", "sh", "-c", program]);
    for (word, size) in [("one", "100x30"), ("two", "60x20"), ("three", "70x10")] {
        home.succeed(&["wait", "a", "--for", word]);
        home.succeed(&["resize", "a", size]);
        if word != "three" {
            home.succeed(&["send", "a", "--keys", "Enter"]);
        }
    }
    let path = home.directory.path().join("a.cast");
    home.succeed(&["export", "a", path.to_str().unwrap()]);
    let (header, events) = cast(&path);
    assert_eq!((&header["term"]["cols"], &header["term"]["rows"]), (&80.into(), &24.into()));
    let events: Vec<_> = events.iter().map(|event| event.2.as_str()).collect();
    assert_eq!(events, ["one", "100x30", "two", "60x20", "three"]);
}

#[test]
fn export_of_a_program_that_never_stops_ends() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "yes"]);
    eventually("it prints", || home.session("a")["printed_bytes"].as_u64() > Some(100_000));
    let exported = home.run(&["export", "a", "--raw", "--from", "64KiB"]);
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    assert!(exported.stdout.len() > 1000);
}

#[test]
fn export_reads_a_session_that_ended_and_its_screen() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "seq 1 1000; exit 3"]);
    assert_eq!(home.run(&["wait", "a"]).status.code(), Some(3));
    let raw = home.run(&["export", "a", "--raw"]);
    assert_eq!((raw.status.code(), &*String::from_utf8_lossy(&raw.stdout)), (Some(0), &*numbers(1000)));
    let path = home.directory.path().join("a.cast");
    assert_eq!(home.run(&["export", "a", path.to_str().unwrap()]).status.code(), Some(0));
    let (header, events) = cast(&path);
    assert_eq!(told(&events, "o"), numbers(1000));
    assert_eq!(header["command"], "sh -c 'seq 1 1000; exit 3'");
    let screen = home.succeed(&["export", "a", "--from", "screen"]);
    assert!(screen.contains("1000"), "{screen}");
}
