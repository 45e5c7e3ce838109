//! Commands within a session: they act on the terminal that they are typed in.

use super::*;

fn session(home: &Home, name: &str) {
    home.succeed(&["new", name, "-d", "--", "sh"]);
}

/// The names of what is attached.
fn attached(home: &Home) -> Vec<String> {
    let clients = home.json(&["list", "--clients", "--json"]);
    clients.as_array().unwrap().iter().map(|client| client["session"].as_str().unwrap().to_owned()).collect()
}

/// A terminal that shows a session in which the binary is found by its name.
fn inside(home: &Home, name: &str) -> Terminal {
    let terminal = home.shell_terminal(&format!("exec fugue-server new {name} -- sh"));
    terminal.wait_for("ready>");
    terminal
}

#[test]
fn attach_switches_the_terminal_that_it_is_typed_in() {
    let home = Home::new();
    session(&home, "other");
    let mut terminal = inside(&home, "first");
    terminal.type_in("echo in-the-first; fugue-server attach oth\n");
    eventually("it is switched", || attached(&home) == ["other"]);
    terminal.wait_until("the other one alone", |shown| {
        (!shown.text().contains("in-the-first") && shown.text().contains("ready>")).then_some(())
    });
    terminal.type_in("echo now in $FUGUE_SESSION\n");
    terminal.wait_for("now in other");
    // The size follows as well.
    terminal.resize(30, 100);
    terminal.type_in("stty size\n");
    terminal.wait_for("30 100");
    // The other one leads back, and alone to the one before.
    terminal.type_in("clear; PATH=$PATH:$(dirname ");
    terminal.type_in(env!("CARGO_BIN_EXE_fugue-server"));
    terminal.type_in("); fugue-server attach\n");
    terminal.wait_for("in-the-first");
    terminal.type_in("\x1c");
    terminal.wait_for("[detached from first]");
    terminal.ends_with(0);
}

#[test]
fn new_within_a_session_shows_the_new_one_in_its_place() {
    let home = Home::new();
    let mut terminal = inside(&home, "first");
    terminal.type_in("echo in-the-first; fugue-server new second -- sh -c 'echo $FUGUE_SESSION; exec sh'\n");
    terminal.wait_until("the second one alone", |shown| {
        (!shown.text().contains("in-the-first") && shown.text().contains("second")).then_some(())
    });
    assert_eq!(attached(&home), ["second"]);
    // One that prints nothing is shown as that.
    terminal.type_in("fugue-server new silent -- cat\n");
    terminal.wait_until("nothing", |shown| shown.text().trim().is_empty().then_some(()));
    assert_eq!(attached(&home), ["silent"]);
    home.succeed(&["kill", "silent"]);
    terminal.wait_for("[session silent ended: killed by SIGHUP]");
    terminal.ends_with(129);
}

#[test]
fn detach_within_a_session_detaches_the_terminal_used_last() {
    let home = Home::new();
    let mut terminal = inside(&home, "first");
    let other = home.terminal(&["attach", "first"]);
    other.wait_for("ready>");
    terminal.type_in("fugue-server detach\n");
    terminal.wait_for("[detached from first]");
    terminal.ends_with(0);
    assert_eq!(attached(&home), ["first"]);
    // From outside, all of them.
    let detached = home.run(&["detach", "first"]);
    assert!(
        String::from_utf8_lossy(&detached.stderr).contains("[1 client detached from first]"),
        "{detached:?}"
    );
    other.wait_for("[detached from first]");
    let outside = home.run(&["detach"]);
    assert_eq!(outside.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&outside.stderr).contains("not the terminal of a session"),
        "{outside:?}"
    );
}

#[test]
fn a_recorder_is_detached_only_when_it_is_named() {
    let home = Home::new();
    session(&home, "a");
    let mut recorder = home.command(&["attach", "a"]);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it is attached", || attached(&home) == ["a"]);
    home.succeed(&["detach", "a"]);
    let clients = home.json(&["list", "--clients", "--json"]);
    assert_eq!((&clients[0]["size"], &clients[0]["tty"]), (&Value::Null, &Value::Null));
    assert_eq!(clients[0]["pid"], u64::from(recorder.id()));
    home.succeed(&["detach", "a", &clients[0]["client"].to_string()]);
    assert_eq!(wait(&mut recorder).code(), Some(254));
    let mut told = String::new();
    recorder.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("detached by `fugue-server detach`"), "{told}");
}

#[test]
fn a_renamed_session_is_still_known_from_within() {
    let home = Home::new();
    let mut terminal = inside(&home, "first");
    home.succeed(&["rename", "first", "second"]);
    terminal.type_in("fugue-server env >/dev/null && echo found $((40 + 2))\n");
    terminal.wait_for("found 42");
    terminal.type_in("fugue-server detach\n");
    // The name that it was attached by.
    terminal.wait_for("[detached from first]");
    terminal.ends_with(0);
}

#[test]
fn the_detach_key_typed_twice_is_typed_and_none_and_a_variable_set_it() {
    let home = Home::new();
    let shows_keys = ["--", "sh", "-c", "stty raw -echo; printf ready; exec cat -v"];
    let mut terminal = home.terminal(&[&["new", "a"][..], &shows_keys].concat());
    terminal.wait_for("ready");
    terminal.type_in("\x1c\x1cx");
    terminal.wait_for("ready^\\x");
    terminal.type_in("\x1c");
    terminal.wait_for("[detached from a]");
    terminal.ends_with(0);
    let terminal = home.terminal(&["attach", "a", "--detach-key", "none"]);
    terminal.wait_for("ready^\\x");
    terminal.type_in("\x1cy");
    terminal.wait_for("ready^\\x^\\y");
    let mut terminal = home.shell_terminal("FUGUE_DETACH_KEY=ctrl-a fugue-server attach a");
    terminal.wait_for("ready^\\x^\\y");
    terminal.type_in("\x1cz\x01");
    terminal.wait_for("^\\z");
    terminal.wait_for("[detached from a]");
    terminal.ends_with(0);
}

#[test]
fn events_are_printed_as_they_happen_and_a_watched_list_follows_them() {
    let home = Home::new();
    session(&home, "a");
    let listen = |arguments: &[&str]| {
        let mut child = home.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        (child, lines.lines().map(Result::unwrap))
    };
    let (mut watcher, mut arrays) = listen(&["list", "--json", "--watch"]);
    let first: Value = serde_json::from_str(&arrays.next().unwrap()).unwrap();
    assert_eq!(first.as_array().unwrap().len(), 1);
    let (mut listener, mut lines) = listen(&["events", "--json"]);
    let connected = || home.json(&["stats", "--json"])["clients"].as_u64().unwrap();
    eventually("both listen", || connected() == 3);
    home.succeed(&["rename", "a", "b"]);
    home.succeed(&["kill", "b"]);
    let mut event = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    // It may have connected, and not have asked yet.
    let renamed = event();
    assert_eq!((&renamed["event"], &renamed["before"]), (&"renamed".into(), &"a".into()));
    let ended = event();
    assert_eq!(
        (&ended["event"], &ended["session"], &ended["exit_code"]),
        (&"ended".into(), &"b".into(), &129.into())
    );
    let last = arrays.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let last = last.into_iter().find(|sessions| sessions[0]["running"] == false).unwrap();
    assert_eq!(last[0]["name"], "b");
    home.succeed(&["stop"]);
    for child in [&mut listener, &mut watcher] {
        assert_eq!(wait(child).code(), Some(1));
    }
}

#[test]
fn the_log_says_what_happened_to_sessions() {
    let home = Home::new();
    let mut command = home.command(&["serve", "--log", "info"]);
    let log = home.directory.path().join("log");
    let mut server = Served::start(command.stderr(std::fs::File::create(&log).unwrap()));
    let mut terminal = inside(&home, "first");
    terminal.type_in("fugue-server detach\n");
    terminal.ends_with(0);
    home.succeed(&["rename", "first", "second"]);
    home.succeed(&["kill", "second"]);
    server.stop();
    let log = std::fs::read_to_string(log).unwrap();
    for line in ["started", "attached", "detached", "renamed", "told to end", "ended", "killed by SIGHUP"] {
        assert!(log.contains(line), "{line}:\n{log}");
    }
}
