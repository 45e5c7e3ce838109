//! Naming a session, or none: beginnings of names, the one used last, what is left to choose, and names by themselves.

use super::*;

fn session(home: &Home, name: &str) {
    home.succeed(&["new", name, "-d", "--", "sh"]);
}

fn waits_for(home: &Home, session: &str, text: &str) {
    home.succeed(&["wait", session, "--for", text, "--timeout", "120s"]);
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Attaches in a terminal, detaches, and returns the name of the session.
fn attaches_to(home: &Home, arguments: &[&str]) -> String {
    let mut terminal = home.terminal(arguments);
    terminal.wait_for("ready>");
    terminal.type_in("\x1c");
    terminal.ends_with(0);
    terminal.wait_until("its name", |shown| {
        let text = shown.text();
        let name = text.split_once("[detached from ")?.1.split_once(']')?.0;
        Some(name.to_owned())
    })
}

#[test]
fn attach_alone_takes_the_only_session_or_the_one_used_last() {
    let home = Home::new();
    session(&home, "one");
    assert_eq!(attaches_to(&home, &["attach"]), "one");
    session(&home, "two");
    assert_eq!(attaches_to(&home, &["attach"]), "one", "it was used last");
    assert_eq!(attaches_to(&home, &["attach", "tw"]), "two");
    assert_eq!(attaches_to(&home, &["attach"]), "two");
    let sessions = home.json(&["ls", "--json"]);
    let used: Vec<_> = sessions.as_array().unwrap().iter().map(|session| &session["used_last"]).collect();
    assert_eq!(used, [false, true]);
    home.succeed(&["kill", "two"]);
    assert_eq!(attaches_to(&home, &["attach"]), "one");
    home.succeed(&["kill", "one"]);
    let none = home.run(&["attach"]);
    assert_eq!(none.status.code(), Some(255));
    assert!(told(&none).contains("no session to attach to; `fugue-server new` starts one"), "{none:?}");
}

#[test]
fn several_sessions_that_nobody_used_are_chosen_from() {
    let home = Home::new();
    for name in ["alpha", "beta", "7"] {
        session(&home, name);
    }
    let elsewhere = home.run(&["attach"]);
    assert_eq!(elsewhere.status.code(), Some(255));
    assert!(
        told(&elsewhere).contains("there are several sessions: alpha, beta, 7; say which"),
        "{elsewhere:?}"
    );
    for (choice, said) in
        [("9", "there are 3 sessions"), ("", "no session was chosen"), ("x", "no session x")]
    {
        let mut terminal = home.terminal(&["attach"]);
        terminal.wait_for("Which one?");
        terminal.type_in(&format!("{choice}\n"));
        terminal.wait_for(said);
        terminal.ends_with(255);
    }
    for (choice, name) in [("2", "beta"), ("al", "alpha"), ("7", "7")] {
        let home = Home::new();
        for name in ["alpha", "beta", "7"] {
            session(&home, name);
        }
        let mut terminal = home.terminal(&["attach"]);
        terminal.wait_for("3  7  sh");
        terminal.type_in(&format!("{choice}\n"));
        terminal.wait_for("ready>");
        terminal.type_in("\x1c");
        terminal.wait_for(&format!("[detached from {name}]"));
        terminal.ends_with(0);
    }
}

#[test]
fn the_beginning_of_a_name_is_enough_for_each_command_and_two_are_listed() {
    let home = Home::new();
    for name in ["work", "worker", "build"] {
        session(&home, name);
    }
    home.succeed(&["resize", "b", "100x30"]);
    assert_eq!(home.session("build")["size"], "100x30");
    home.succeed(&["env", "b"]);
    home.succeed(&["screen", "b"]);
    home.succeed(&["send", "b"]);
    home.succeed(&["detach", "b"]);
    home.succeed(&["rename", "b", "built"]);
    assert_eq!(home.session("built")["running"], true);
    for arguments in [&["kill", "wo"][..], &["rename", "wo", "x"], &["send", "wo"], &["detach", "wo"]] {
        let refused = home.run(arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(told(&refused).contains("wo is the beginning of several names: work, worker"), "{refused:?}");
    }
    assert_eq!(home.run(&["attach", "wo"]).status.code(), Some(255));
    let exact = home.run(&["kill", "=wor"]);
    assert!(told(&exact).contains("no session wor"), "{exact:?}");
    let killed = home.run(&["kill", "work"]);
    assert!(told(&killed).contains("[session work ended: killed by SIGHUP]"), "{killed:?}");
    assert_eq!(home.session("worker")["running"], true);
}

#[test]
fn attach_or_create_does_either_whoever_else_does() {
    let home = Home::new();
    session(&home, "worker");
    assert_eq!(attaches_to(&home, &["attach", "-A", "work"]), "work", "no beginning of a name is enough");
    assert_eq!(attaches_to(&home, &["new", "-A", "work"]), "work");
    assert_eq!(home.json(&["list", "--json"]).as_array().unwrap().len(), 2);
    // Several at once share what one of them creates.
    let terminals: Vec<_> = (0..4).map(|_| home.terminal(&["attach", "-A", "shared"])).collect();
    eventually("all are attached", || {
        let sessions = home.json(&["list", "--json"]);
        sessions
            .as_array()
            .unwrap()
            .iter()
            .any(|session| session["name"] == "shared" && session["clients"] == 4)
    });
    drop(terminals);
}

#[test]
fn a_session_without_a_name_is_called_after_its_directory() {
    let home = Home::new();
    let directory = home.directory.path().join("my project");
    std::fs::create_dir(&directory).unwrap();
    for _ in 0..3 {
        let mut new = home.command(&["new", "-d", "--", "sleep", "1000"]);
        assert!(new.current_dir(&directory).status().unwrap().success());
    }
    home.succeed(&["new", "-d", "-C", "/", "--", "sleep", "1000"]);
    let sessions = home.json(&["list", "--json"]);
    let names: Vec<_> =
        sessions.as_array().unwrap().iter().map(|session| session["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["my-project", "my-project-2", "my-project-3", "root"]);
}

#[test]
fn new_sets_the_directory_variables_title_and_name_of_a_program() {
    let home = Home::new();
    let directory = home.directory.path().to_str().unwrap().to_owned();
    let script = r#"printf '%s\n' "$PWD" "$(pwd)" "$A" "$B" "$0"; exec sleep 1000"#;
    home.succeed(&[
        "new", "a", "-d", "-C", &directory, "-e", "A=1", "-e", "B=x=y z", "-e", "A=2", "--title", "my title",
        "--", "sh", "-c", script,
    ]);
    waits_for(&home, "a", "x=y z");
    let shown = home.succeed(&["screen", "a"]);
    let lines: Vec<_> = shown.lines().take(4).collect();
    assert_eq!(lines, [&*directory, &*directory, "2", "x=y z"]);
    assert_eq!(home.session("a")["title"], "my title");
    home.succeed(&["new", "b", "-d", "--login", "--", "sh", "-c", "echo called $0; exec sleep 1000"]);
    waits_for(&home, "b", "called -sh");
    for (wrong, why) in [("/no/such/directory", "No such file"), ("/dev/null", "is not a directory")] {
        let refused = home.run(&["new", "c", "-d", "-C", wrong]);
        assert_eq!(refused.status.code(), Some(255), "{refused:?}");
        assert!(told(&refused).contains(why), "{refused:?}");
    }
}

#[test]
fn no_start_starts_nothing_and_stop_ends_all_and_waits() {
    let home = Home::new();
    let refused = home.run(&["new", "a", "-d", "--no-start"]);
    assert_eq!(refused.status.code(), Some(255));
    assert!(told(&refused).contains("no server listens"), "{refused:?}");
    assert!(!home.socket().exists());
    session(&home, "a");
    home.succeed(&["new", "b", "-d", "--no-start", "--", "sh"]);
    let (server, program) = (home.server_pid(), home.session("a")["pid"].as_u64().unwrap());
    home.succeed(&["stop"]);
    assert!(!lives(server) && !lives(program));
    assert!(!home.socket().exists());
    let again = home.run(&["stop"]);
    assert!(again.status.success() && told(&again).contains("no server listens"), "{again:?}");
}

#[test]
fn kill_takes_several_names_all_of_them_or_a_signal() {
    let home = Home::new();
    for name in ["a", "b", "c", "d"] {
        session(&home, name);
    }
    let some = home.run(&["kill", "a", "none", "b"]);
    assert_eq!(some.status.code(), Some(1), "one of them is not there");
    for said in ["session a ended: killed by SIGHUP", "no session none", "session b ended"] {
        assert!(told(&some).contains(said), "{some:?}");
    }
    home.succeed(&[
        "new",
        "e",
        "-d",
        "--",
        "sh",
        "-c",
        "trap 'exit 7' USR1; echo set; while :; do sleep 0.01; done",
    ]);
    waits_for(&home, "e", "set");
    home.succeed(&["kill", "-s", "usr1", "e"]);
    assert_eq!(home.run(&["wait", "e", "--timeout", "120s"]).status.code(), Some(7));
    let all = home.run(&["kill", "--all"]);
    assert!(all.status.success());
    assert!(told(&all).contains("session c ended") && told(&all).contains("session d ended"), "{all:?}");
    assert!(told(&home.run(&["kill", "--all"])).contains("no session runs"));
}
