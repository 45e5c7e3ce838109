//! Commands within a session: they act on the terminal that they are typed in.

use std::sync::mpsc;

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
    eventually("it is resized", || home.session("other")["size"] == "100x30");
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
    eventually("only that is attached", || attached(&home) == ["second"]);
    // One that prints nothing is shown as that.
    terminal.type_in("fugue-server new silent -- cat\n");
    terminal.wait_until("nothing", |shown| shown.text().trim().is_empty().then_some(()));
    eventually("only that is attached", || attached(&home) == ["silent"]);
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
    eventually("one is left", || attached(&home) == ["first"]);
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
fn the_key_for_the_next_session_shows_it_and_what_follows_is_for_that() {
    let home = Home::new();
    for name in ["a", "b", "c"] {
        session(&home, name);
        home.succeed(&["wait", name, "--for", "ready>", "--timeout", "120s"]);
    }
    let mut terminal = home.terminal(&["attach", "a", "--next-key", "ctrl-]"]);
    terminal.wait_for("ready>");
    terminal.type_in("echo this is $FUGUE_SESSION\n\x1decho now in $FUGUE_SESSION\n");
    terminal.wait_for("now in b");
    assert!(!terminal.text().contains("this is"), "{}", terminal.text());
    eventually("only that is attached", || attached(&home) == ["b"]);
    home.succeed(&["wait", "a", "--for", "this is a", "--timeout", "120s"]);
    // By itself, after a moment; after the last comes the first.
    terminal.type_in("\x1d");
    eventually("the third is shown", || attached(&home) == ["c"]);
    terminal.type_in("\x1d");
    terminal.wait_for("this is a");
    // Where there is no other, this one stays.
    home.succeed(&["kill", "b", "c"]);
    terminal.type_in("\x1decho still in $FUGUE_SESSION\n");
    terminal.wait_for("still in a");
    terminal.type_in("\x1c");
    terminal.wait_for("[detached from a]");
    terminal.ends_with(0);

    let shows_keys = ["--", "sh", "-c", "stty raw -echo; printf ready; exec cat -v"];
    home.succeed(&[&["new", "keys", "-d"][..], &shows_keys].concat());
    let terminal = home.shell_terminal("FUGUE_NEXT_KEY=ctrl-] fugue-server attach keys");
    terminal.wait_for("ready");
    terminal.type_in("\x1d\x1dx");
    terminal.wait_for("ready^]x");
    terminal.type_in("\x1d");
    eventually("the other is shown", || attached(&home) == ["a"]);
}

#[test]
fn the_name_is_in_the_title_if_asked_for_and_is_gone_afterwards() {
    let home = Home::new();
    session(&home, "a");
    session(&home, "b");
    let mut terminal = home.terminal(&["attach", "a", "--name-in-title", "--next-key", "ctrl-]"]);
    let wait_for = |bytes: &str| {
        terminal.wait_until(bytes, |shown| {
            shown.bytes.windows(bytes.len()).any(|window| window == bytes.as_bytes()).then_some(())
        });
    };
    wait_for("\x1b]2;a\x07");
    terminal.wait_for("ready>");
    terminal.type_in("printf '\\033]2;mine\\007'\n");
    wait_for("\x1b]2;a: mine\x07");
    terminal.type_in("\x1d");
    wait_for("\x1b]2;b\x07");
    terminal.type_in("\x1c");
    terminal.wait_for("[detached from b]");
    // What it was before is what is popped.
    wait_for("\x1b[23;0t");
    terminal.ends_with(0);
    // Without being asked for, no title is set.
    let other = home.terminal(&["attach", "b"]);
    other.wait_for("ready>");
    other.wait_until("no title", |shown| {
        assert!(!shown.bytes.windows(4).any(|bytes| bytes == b"\x1b]2;"));
        Some(())
    });
}

#[test]
fn a_session_that_is_ended_by_somebody_says_who_that_was() {
    let home = Home::new();
    session(&home, "a");
    let mut terminal = home.terminal(&["attach", "a"]);
    terminal.wait_for("ready>");
    let mut kill = home.command(&["kill", "a"]).stderr(Stdio::null()).spawn().unwrap();
    let by = format!("[notice: process {} told this session to end]", kill.id());
    assert!(wait(&mut kill).success());
    terminal.wait_for(&by);
    terminal.wait_for("[session a ended: killed by SIGHUP]");
    terminal.ends_with(129);
}

#[test]
fn a_renamed_session_is_known_by_its_id_where_its_terminal_is_not() {
    let home = Home::new();
    session(&home, "a");
    let id = home.session("a")["id"].as_str().unwrap().to_owned();
    home.succeed(&["rename", "a", "b"]);
    let mut env = home.command(&["env"]);
    let env = env.env("FUGUE_SESSION", "a").env("FUGUE_SESSION_ID", id).output().unwrap();
    assert!(env.status.success(), "{env:?}");
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
    let (mut listener, lines) = listen(&["events", "--json"]);
    let (sender, events) = mpsc::sync_channel(64);
    thread::spawn(move || {
        for line in lines {
            let _ = sender.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    // What happens before it listens is not told, so things happen until it tells of one.
    let mut first = None;
    eventually("an event is told", || {
        home.succeed(&["rename", "a", "c"]);
        home.succeed(&["rename", "c", "a"]);
        first = events.try_recv().ok();
        first.is_some()
    });
    home.succeed(&["rename", "a", "b"]);
    home.succeed(&["kill", "b"]);
    let mut told: Vec<_> = first.into_iter().collect();
    while told.last().is_some_and(|event| event["event"] != "ended") {
        told.push(events.recv_timeout(PATIENCE).unwrap());
    }
    let [.., renamed, ended] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&renamed["event"], &renamed["before"]), (&"renamed".into(), &"a".into()));
    assert_eq!(renamed["session"], "b");
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
