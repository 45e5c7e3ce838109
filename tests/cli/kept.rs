//! Servers that are killed: what they ran goes on, and the next one has it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    process::{Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use fugue_server::{Client, client::InputStream};
use rustix::{
    net::{
        AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, socket_with,
    },
    process::Signal,
};

use super::{Home, Terminal, eventually, lives, script, serve, signal, wait};

/// A program that says what it is told, line by line, and the signals that it gets.
const ECHO: &str = "trap 'echo hung up' HUP; echo ready; while read -r line; do echo \"got $line\"; done";

/// How long a server waits for those who want every byte; and less than that.
const HELD_FOR: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(3);

fn program(home: &Home, name: &str) -> u64 {
    home.session(name)["pid"].as_u64().unwrap()
}

/// Waits for a word on the screen of a session.
fn shows(home: &Home, name: &str, word: &str) {
    eventually(word, || home.succeed(&["screen", name]).contains(word));
}

/// Sessions of which the next server has a picture.
fn pictures(home: &Home) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", home.server_pid())).unwrap();
    let is_pictured = |path: std::path::PathBuf| {
        let is_marks = fs::read_link(&path).is_ok_and(|link| link.to_string_lossy().contains("fugue-marks"));
        let mut length = [0; 8];
        is_marks
            && fs::File::open(path).is_ok_and(|file| file.read_exact_at(&mut length, 4096).is_ok())
            && length != [0; 8]
    };
    descriptors.filter(|entry| is_pictured(entry.as_ref().unwrap().path())).count()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn send(home: &Home, name: &str, line: &str) {
    let mut sending = home.command(&["send", name]).stdin(Stdio::piped()).spawn().unwrap();
    sending.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    assert!(wait(&mut sending).success());
}

#[test]
fn a_killed_servers_sessions_are_the_next_ones_with_all_that_they_show() {
    let home = Home::new();
    home.succeed(&["new", "work", "-d", "--title", "mine", "--", "sh", "-c", ECHO]);
    home.succeed(&[
        "new",
        "other",
        "-d",
        "--size",
        "100x30",
        "--",
        "sh",
        "-c",
        "echo other; exec sleep 1000",
    ]);
    shows(&home, "work", "ready");
    home.succeed(&["rename", "work", "renamed"]);
    home.succeed(&["resize", "renamed", "90x20"]);
    let before = home.session("renamed");
    for round in 0..3 {
        home.signal_server(Signal::KILL);
        // Any command starts the next one.
        let session = home.session("renamed");
        for what in ["id", "pid", "command", "size", "title", "running"] {
            assert_eq!(session[what], before[what], "{what}");
        }
        assert_eq!(home.session("other")["size"], "100x30");
        assert_eq!(home.keepers().len(), 1);
        send(&home, "renamed", &format!("round {round}\n"));
        shows(&home, "renamed", &format!("got round {round}"));
    }
    // Of one that is silent for a moment, the screen is there as well.
    eventually("both are pictured", || pictures(&home) == 2);
    home.signal_server(Signal::KILL);
    assert!(home.succeed(&["screen", "renamed"]).contains("got round 2"));
    assert!(!home.succeed(&["screen", "renamed"]).contains("hung up"));
    home.succeed(&["stop"]);
    eventually("the keeper has gone", || home.keepers().is_empty());
    assert!(!lives(before["pid"].as_u64().unwrap()));
    let left: Vec<_> = fs::read_dir(home.socket().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| name.to_str().is_some_and(|name| name.ends_with(".lock") || name.ends_with(".log"))),
        "{left:?}"
    );
}

#[test]
fn a_terminal_goes_on_where_its_server_was_killed() {
    let home = Home::new();
    let mut terminal = home.terminal(&["new", "work"]);
    terminal.wait_for("ready>");
    for round in 0..3 {
        home.signal_server(Signal::KILL);
        terminal.type_in(&format!("echo round $(({round} + 10))\n"));
        terminal.wait_for(&format!("round {}", round + 10));
    }
    terminal.type_in("exit 3\n");
    terminal.ends_with(3);
}

#[test]
fn how_a_program_ended_without_a_server_is_told_by_the_next() {
    let home = Home::new();
    let gate = home.directory.path().join("gate");
    let script =
        format!("echo begun; until [ -e {} ]; do sleep 0.01; done; echo last words; exit 7", gate.display());
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", &script]);
    shows(&home, "a", "begun");
    let pid = program(&home, "a");
    home.signal_server(Signal::KILL);
    fs::write(&gate, "").unwrap();
    // It is a zombie, whose status nobody has asked for.
    eventually("it has ended", || !lives(pid));
    let waited = home.run(&["wait", "a"]);
    assert_eq!(waited.status.code(), Some(7), "{waited:?}");
    assert!(home.succeed(&["screen", "a"]).contains("last words"));
}

#[test]
fn an_idle_sessions_recording_goes_on_when_its_server_is_killed() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    let recorder =
        home.command(&["attach", "a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for round in 0..3 {
        eventually("the recorder is attached", || home.session("a")["clients"] == 1);
        send(&home, "a", &format!("{round}\n"));
        shows(&home, "a", &format!("got {round}"));
        home.signal_server(Signal::KILL);
    }
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    home.succeed(&["kill", "a"]);
    let recorded = recorder.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&recorded.stdout);
    assert!((0..3).all(|round| text.contains(&format!("got {round}\r\n"))), "{recorded:?}");
}

#[test]
fn a_killed_keeper_is_replaced_and_its_programs_run_on() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    let pid = program(&home, "a");
    let [keeper] = home.keepers()[..] else { panic!("one keeper") };
    signal(keeper, Signal::KILL);
    eventually("there is another", || home.keepers().iter().any(|other| *other != keeper && lives(*other)));
    send(&home, "a", "still\n");
    shows(&home, "a", "got still");
    // The new one has it also when the server goes.
    eventually("it is taken over", || {
        home.signal_server(Signal::KILL);
        home.json(&["list", "--json"])
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["pid"] == pid && one["running"] == true))
    });
    send(&home, "a", "again\n");
    shows(&home, "a", "got again");
    // Who is not its parent is not told how it ends, and says so.
    signal(pid, Signal::KILL);
    let waited = home.run(&["wait", "a"]);
    assert_eq!(waited.status.code(), Some(255), "{waited:?}");
    let ended = home.session("a");
    assert_eq!((&ended["running"], &ended["exit_code"]), (&false.into(), &255.into()));
}

#[test]
fn a_keeper_that_is_stopped_costs_a_bounded_wait_and_is_named() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    let [keeper] = home.keepers()[..] else { panic!("one keeper") };
    signal(keeper, Signal::STOP);
    // What runs goes on.
    send(&home, "a", "still\n");
    shows(&home, "a", "got still");
    home.signal_server(Signal::KILL);
    let refused = home.run(&["list"]);
    assert!(!refused.status.success() && said(&refused).contains("does not answer"), "{refused:?}");
    signal(keeper, Signal::CONT);
    send(&home, "a", "again\n");
    shows(&home, "a", "got again");
}

#[test]
fn a_supervised_servers_stop_ends_its_sessions_and_its_keeper() {
    let home = Home::new();
    let mut server = serve(&home, &[]);
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "trap '' HUP; exec sleep 1000"]);
    let pid = program(&home, "a");
    let [keeper] = home.keepers()[..] else { panic!("one keeper") };
    // As a service manager does to all that a service started.
    signal(keeper, Signal::TERM);
    server.stop();
    assert!(!lives(pid));
    eventually("the keeper has gone", || home.keepers().is_empty());
}

#[test]
fn a_server_that_is_told_twice_leaves_no_program() {
    let home = Home::new();
    let mut server = serve(&home, &[]);
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    home.succeed(&["new", "b", "-d", "--", "sh", "-c", "trap '' HUP; echo ready; while :; do sleep 1; done"]);
    shows(&home, "b", "ready");
    let pid = program(&home, "a");
    signal(server.pid(), Signal::TERM);
    eventually("it shuts down", || !home.socket().exists());
    signal(server.pid(), Signal::TERM);
    wait(&mut server.0);
    eventually("its program has ended", || !lives(pid));
    eventually("the keeper has gone", || home.keepers().is_empty());
}

#[test]
fn typed_while_a_server_is_killed_is_typed_once() {
    let home = Home::new();
    let terminal: Terminal = home.terminal(&["new", "a", "--", "sh", "-c", ECHO]);
    terminal.wait_for("ready");
    for round in 10..20 {
        terminal.type_in(&format!("{round}\n"));
        if round % 3 == 0 {
            home.signal_server(Signal::KILL);
        }
    }
    shows(&home, "a", "got 19");
    let screen = home.succeed(&["screen", "a", "--lines", "100"]);
    for round in 10..20 {
        assert!(screen.matches(&format!("got {round}")).count() <= 1, "{screen}");
    }
}

#[test]
fn a_restart_that_cannot_be_leaves_the_server_as_it_was() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    let before = home.server_pid();
    let config = home.directory.path().join("config/fugue/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "[serve]\nhistory = \"none\"\n").unwrap();
    // The command itself has other settings.
    let refused = home.command(&["restart"]).env("XDG_CONFIG_HOME", "/nonexistent").output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        said(&refused).contains("could not be restarted") && said(&refused).contains("history"),
        "{refused:?}"
    );
    fs::remove_file(&config).unwrap();
    assert_eq!(home.server_pid(), before);
    send(&home, "a", "still\n");
    shows(&home, "a", "got still");

    home.succeed(&["restart"]);
    assert_ne!(home.server_pid(), before);
    send(&home, "a", "again\n");
    shows(&home, "a", "got again");
    assert!(home.succeed(&["screen", "a"]).contains("ready"), "the screen went along");
    home.succeed(&["kill", "a"]);
    // Also of one without a session.
    home.succeed(&["restart"]);
}

#[test]
fn what_is_taken_and_not_typed_is_typed_after_a_restart() {
    let home = Home::new();
    let gate = home.directory.path().join("gate");
    let program = format!(
        "stty raw -echo; printf ready; until [ -e {} ]; do sleep 0.01; done; head -c 150000 | cksum; read go",
        gate.display()
    );
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", &program]);
    shows(&home, "a", "ready");
    let all: String = (0..25_000).map(|number| format!("{number:05} ")).collect();
    let sums = "seq -f %05.0f 0 24999 | tr '\\n' ' ' | cksum";
    let expected = String::from_utf8(script(&home, sums).stdout).unwrap();
    let session = home.session("a")["id"].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut input = InputStream::new(session);
    // More than the program's terminal holds: it does not read yet.
    runtime.block_on(async {
        let mut client = Client::connect(&home.socket()).await.unwrap();
        for piece in all.as_bytes().chunks(50_000) {
            client.send(&input.push(piece.to_vec())).await.unwrap();
        }
        client.ping().await.unwrap();
    });
    home.succeed(&["restart"]);
    fs::write(&gate, "").unwrap();
    runtime.block_on(async {
        let mut client = Client::connect(&home.socket()).await.unwrap();
        for piece in input.unanswered() {
            client.request(&piece).await.unwrap();
        }
    });
    shows(&home, "a", expected.split_whitespace().next().unwrap());
}

#[test]
fn the_next_server_begins_while_the_one_before_sees_its_programs_out() {
    let home = Home::new();
    let mut first = serve(&home, &[]);
    let stays = "trap '' HUP; echo ready; while :; do sleep 1; done";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", stays]);
    shows(&home, "a", "ready");
    let [keeper] = home.keepers()[..] else { panic!("one keeper") };
    signal(first.pid(), Signal::TERM);
    eventually("it shuts down", || !home.socket().exists());
    home.succeed(&["new", "b", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "b", "ready");
    assert_eq!(home.json(&["list", "--json"]).as_array().unwrap().len(), 1);
    assert_eq!(wait(&mut first.0).code(), Some(0));
    eventually("its keeper has gone", || !lives(keeper));
    home.signal_server(Signal::KILL);
    send(&home, "b", "still\n");
    shows(&home, "b", "got still");
}

#[test]
fn a_server_that_is_killed_as_it_ends_leaves_no_keeper() {
    let home = Home::new();
    let mut server = serve(&home, &[]);
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "trap '' HUP; echo ready; read go"]);
    shows(&home, "a", "ready");
    let pid = program(&home, "a");
    signal(server.pid(), Signal::TERM);
    eventually("it shuts down", || !home.socket().exists());
    signal(server.pid(), Signal::KILL);
    wait(&mut server.0);
    eventually("the keeper has gone", || home.keepers().is_empty());
    // Its terminal has gone as well.
    eventually("its program has ended", || !lives(pid));
}

#[test]
fn commands_that_meet_a_server_as_it_is_killed_share_the_next_one() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    for _ in 0..3 {
        home.signal_server(Signal::KILL);
        let commands: Vec<_> = (0..8)
            .map(|_| {
                let mut command = home.command(&["stats", "--json"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let mut servers = std::collections::BTreeSet::new();
        for command in commands {
            let output = command.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(stats["sessions"], 1, "{stats}");
            servers.insert(stats["pid"].as_u64());
        }
        assert_eq!(servers.len(), 1);
    }
}

#[test]
fn sizes_stay_where_they_were_in_the_output_over_a_restart() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    for (line, size) in [("one\n", "90x20"), ("two\n", "70x30")] {
        home.succeed(&["resize", "a", size]);
        send(&home, "a", line);
        shows(&home, "a", &format!("got {}", line.trim()));
    }
    let exported = || {
        let exported = home.succeed(&["export", "a"]);
        let events: Vec<_> = exported.lines().skip(1).map(str::to_owned).collect();
        assert!(events.iter().any(|event| event.contains("90x20")), "{exported}");
        events
    };
    let before = exported();
    home.succeed(&["restart"]);
    assert_eq!(exported(), before);
}

#[test]
fn what_had_ended_is_known_and_read_on_after_a_restart() {
    let home = Home::new();
    home.succeed(&[
        "new",
        "early",
        "-d",
        "--title",
        "first",
        "--",
        "sh",
        "-c",
        "printf '\\033[31mred'; exit 7",
    ]);
    let flood = "stty -echo -opost; printf ready; read go; seq 1 300000";
    home.succeed(&["new", "big", "-d", "--pace", "free", "--", "sh", "-c", flood]);
    let mut recorder = home.command(&["attach", "big", "--from", "start", "--on-lag", "resync"]);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shows(&home, "big", "ready");
    eventually("it is recorded", || home.session("big")["clients"] == 1);
    signal(recorder.id().into(), Signal::STOP);
    send(&home, "big", "go\n");
    eventually("it ends", || home.session("big")["running"] == false);
    let ended = || {
        let mut list: serde_json::Value = serde_json::from_str(&home.succeed(&["list", "--json"])).unwrap();
        for session in list.as_array_mut().unwrap() {
            // What goes on with the time.
            session.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_seconds") && key != "clients");
        }
        list
    };
    let before = ended();
    // What is read of it now is read again after two restarts.
    let screen = home.succeed(&["screen", "early", "--ansi"]);
    for _ in 0..2 {
        home.succeed(&["restart"]);
        assert_eq!(ended(), before);
    }
    assert_eq!(home.succeed(&["screen", "early", "--ansi"]), screen);
    assert_eq!(home.run(&["wait", "early"]).status.code(), Some(7));
    let read = home.run(&["attach", "early", "--from", "start"]);
    assert_eq!((read.status.code(), &*read.stdout), (Some(7), &b"\x1b[31mred"[..]), "{read:?}");

    signal(recorder.id().into(), Signal::CONT);
    let mut output = Vec::new();
    recorder.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert!(wait(&mut recorder).success());
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert!(output == ["ready", &expected].concat().as_bytes(), "{} bytes", output.len());
}

#[test]
fn a_restarted_server_waits_for_recorders_that_come_back() {
    let home = Home::new();
    // Twice what a history holds.
    let flood = "stty -echo -opost; printf ready; read go; seq 1 1200000; read end";
    home.succeed(&["new", "flood", "-d", "--pace", "free", "--", "sh", "-c", flood]);
    let mut recorder = home.command(&["attach", "flood", "--from", "start"]);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = recorder.stdout.take().unwrap();
    let mut first = [0; 5];
    output.read_exact(&mut first).unwrap();
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).unwrap();
        all
    });
    signal(recorder.id().into(), Signal::STOP);
    let begun = Instant::now();
    home.succeed(&["restart"]);
    send(&home, "flood", "go\n");
    let (printed, mut before) = (|| home.session("flood")["printed_bytes"].as_u64().unwrap(), 0);
    eventually("it prints, and stands", || {
        let now = printed();
        assert!(now < 2_000_000 || begun.elapsed() > HELD_FOR, "{now} bytes, and nobody waits");
        std::mem::replace(&mut before, now) == now && now > 500_000
    });
    let waited = begun.elapsed();
    signal(recorder.id().into(), Signal::CONT);
    eventually("it is printed to its end", || printed() > 8_000_000);
    home.succeed(&["kill", "flood"]);
    let ended = recorder.wait_with_output().unwrap();
    let recorded = reading.join().unwrap();
    // A machine that takes seconds for a command shows nothing.
    if waited < PATIENCE {
        let all: String = (1..=1_200_000).map(|number| format!("{number}\n")).collect();
        assert!(all.as_bytes().starts_with(&recorded), "other bytes");
        assert!(recorded.len() > 8_000_000, "{} bytes; {}", recorded.len(), said(&ended));
    }
}

#[test]
fn a_restart_that_a_limit_of_file_sizes_forbids_changes_nothing() {
    let home = Home::new();
    let started = script(&home, "ulimit -f 100; exec fugue-server new a -d -- sh -c 'seq 1 30000; read go'");
    assert!(started.status.success(), "{started:?}");
    shows(&home, "a", "30000");
    let server = home.server_pid();
    let refused = home.run(&["restart"]);
    assert!(!refused.status.success() && said(&refused).contains("ulimit -f"), "{refused:?}");
    assert_eq!(home.server_pid(), server);
    shows(&home, "a", "30000");
}

#[test]
fn a_keeper_of_another_version_is_named_and_left_alone() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    home.kill_all();
    let address = SocketAddrUnix::new(home.socket().with_extension("sock.keeper")).unwrap();
    fs::remove_file(home.socket().with_extension("sock.keeper")).unwrap();
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &address).unwrap();
    listen(&listener, 16).unwrap();
    // It says hello in a later version, as process 77, to whoever calls.
    std::thread::spawn(move || {
        let mut callers = Vec::new();
        while let Ok(caller) = accept(&listener) {
            // An error says that it only looked.
            let _ = rustix::net::send(&caller, &[0, 2, 77], SendFlags::NOSIGNAL);
            callers.push(caller);
        }
    });
    let refused = home.run(&["list"]);
    let said = said(&refused);
    assert!(
        !refused.status.success() && said.contains("process 77") && said.contains("version"),
        "{refused:?}"
    );
}

#[test]
fn what_was_typed_before_a_kill_is_known_after_it() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ECHO]);
    shows(&home, "a", "ready");
    let mut input = InputStream::new(home.session("a")["id"].as_str().unwrap().parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = input.push("one\n");
    runtime.block_on(async {
        let mut client = Client::connect(&home.socket()).await.unwrap();
        client.send(&first).await.unwrap();
        // The answer is on its way, and never read.
        client.ping().await.unwrap();
    });
    shows(&home, "a", "got one");
    home.signal_server(Signal::KILL);
    home.succeed(&["list"]);
    let second = input.push("two\n");
    runtime.block_on(async {
        let mut client = Client::connect(&home.socket()).await.unwrap();
        client.request(&first).await.expect("it was typed, and is not typed again");
        client.request(&second).await.expect("it follows what was typed");
    });
    shows(&home, "a", "got two");
    assert!(!home.succeed(&["screen", "a"]).contains("one"), "it was typed twice");
}

#[test]
fn who_waits_or_listens_goes_on_with_the_next_server() {
    let home = Home::new();
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", &format!("{ECHO}; exit 9")]);
    shows(&home, "work", "ready");
    let spawn = |arguments: &[&str]| {
        home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let waits = spawn(&["wait", "work"]);
    let finds = spawn(&["wait", "work", "--for", "got the word", "--print"]);
    let mut listens = spawn(&["events", "--json"]);
    let mut counts = spawn(&["stats", "--watch", "--json"]);
    let mut lists = spawn(&["list", "--watch", "--json"]);
    let mut listed = BufReader::new(lists.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut events = BufReader::new(listens.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut counted = BufReader::new(counts.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["pid"].clone();
    for end in ["restart", "kill", "restart"] {
        let first = counted.next().unwrap();
        // Each of them is attached, waits or listens.
        home.has_connections(5);
        eventually("it is looked for", || home.session("work")["clients"] == 1);
        match end {
            "kill" => home.signal_server(Signal::KILL),
            _ => drop(home.succeed(&["restart"])),
        }
        home.succeed(&["list"]);
        assert!(events.any(|line| line.contains("reconnected")));
        assert!(counted.any(|line| pid(&line) != pid(&first)));
    }
    home.has_connections(5);
    home.succeed(&["rename", "work", "worked"]);
    assert!(listed.any(|line| line.contains("\"worked\"")));
    send(&home, "work", "the word\n");
    let found = finds.wait_with_output().unwrap();
    assert_eq!((found.status.code(), &*found.stdout), (Some(0), &b"got the word\n"[..]), "{found:?}");
    send(&home, "work", "\u{4}");
    let ended = waits.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(9), "{ended:?}");
    assert!(events.any(|line| line.contains("\"ended\"")));
    home.succeed(&["stop"]);
    assert!([&mut listens, &mut counts, &mut lists].iter_mut().all(|watching| !wait(watching).success()));
}
