//! Commands for sessions of other nodes: `SESSION@NODE`.

use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    machine::{Broker, Machine, eventually},
    sessions::{lines, two},
};

/// What a command that failed said.
fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

/// Waits until a machine's node knows another one.
fn meets(machine: &Machine, node: &str) {
    eventually(node, || machine.ok(&["list", "--nodes"]).contains(node).then_some(()));
}

#[test]
fn commands_for_a_session_of_another_node_work_as_for_one_of_this_machine() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    meets(&watcher, "h1");
    let script = "stty -echo; echo ready; while read word; do echo \"<$word>\"; done; exit 7";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    watcher.ok(&["wait", "build@h1", "--for", "ready"]);
    assert_eq!(watcher.ok(&["screen", "=build@h1"]).trim_end(), "ready");
    assert!(watcher.send("build@h1", "one\n").status.success());
    watcher.ok(&["send", "bui@h1", "--keys", "t w o Enter"]);
    watcher.ok(&["wait", "build@h1", "--for", "<two>"]);
    // At the host it was typed once, and in order.
    let typed = host.ok(&["export", "--raw", "build"]);
    assert_eq!(typed, "ready\r\n<one>\r\n<two>\r\n");
    let recording = watcher.directory.path().join("recording.cast");
    watcher.ok(&["record", "-d", "build@h1", recording.to_str().unwrap()]);
    watcher.ok(&["export", "--from", "screen", "build@h1"]);
    watcher.ok(&["detach", "build@h1"]);
    // `kill` ends the program where it runs.
    let mut waits = watcher.command(&["wait", "build@h1"]).spawn().unwrap();
    eventually("who waits", || watcher.ok(&["list", "--clients"]).lines().nth(2).map(drop));
    let killed = watcher.run(&["kill", "build@h1"]);
    let said = String::from_utf8_lossy(&killed.stderr).into_owned();
    assert!(killed.status.success() && said.contains("session build ended: killed by SIGHUP"), "{said}");
    assert_eq!(waits.wait().unwrap().code(), Some(129));
    eventually("its end at the host", || host.ok(&["list"]).contains("SIGHUP").then_some(()));
    let recorded = eventually("the recording", || {
        std::fs::read_to_string(&recording).ok().filter(|recorded| recorded.contains("\"x\""))
    });
    assert!(recorded.contains("<two>") && recorded.contains("129"), "{recorded}");
}

#[test]
fn what_is_done_where_a_session_runs_is_refused_elsewhere() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    meets(&watcher, "h1");
    host.ok(&["new", "-d", "build", "--", "sleep", "1000"]);
    let commands: [&[&str]; 4] =
        [&["rename", "build@h1", "x"], &["share", "build@h1"], &["env", "build@h1"], &["export", "build@h1"]];
    for words in commands {
        let said = refused(&watcher.run(words));
        assert!(said.contains("build@h1 runs on another node: do that on h1"), "{words:?}: {said}");
    }
    for (session, why) in [
        ("none@h1", "there is no session none on h1"),
        ("=buil@h1", "there is no session buil on h1"),
        ("build@h7", "there is no node h7"),
        ("build@h2", "there is no session build on h2"),
        ("dev:build@h1", "not on both"),
    ] {
        for command in ["kill", "screen", "wait", "send"] {
            let said = refused(&watcher.run(&[command, session]));
            assert!(said.contains(why), "{command} {session}: {said}");
        }
    }
    let alone = Machine::new();
    let said = refused(&alone.run(&["send", "build@h1"]));
    assert!(said.contains("no node runs on this machine"), "{said}");
    // Nothing was ended by all that.
    assert!(host.ok(&["list"]).contains("running"));
}

#[test]
fn a_session_is_created_on_another_node_and_used_from_here() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    meets(&watcher, "h1");
    // In the home directory there, with the variables that are said and those of the host.
    let script = "echo \"$PWD $WHO $TERM $SHELL_OF_HOST\"; read word; exit 3";
    let mut words = vec!["new", "-d", "build@h1", "-e", "WHO=me", "--size", "91x31", "--title", "T"];
    words.extend(["--", "sh", "-c", script]);
    let mut command = watcher.command(&words);
    let created = command.env("TERM", "vt100").env("SHELL_OF_HOST", "no").output().unwrap();
    let id = String::from_utf8(created.stdout).unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let listed: serde_json::Value = serde_json::from_str(&host.ok(&["list", "--json"])).unwrap();
    let session = &listed[0];
    assert_eq!((session["id"].as_str(), session["name"].as_str()), (Some(id.trim()), Some("build")));
    assert_eq!((session["size"].as_str(), session["title"].as_str()), (Some("91x31"), Some("T")));
    let home = std::env::var("HOME").unwrap();
    watcher.ok(&["wait", "build@h1", "--for", "vt100"]);
    assert_eq!(watcher.ok(&["screen", "build@h1"]).trim_end(), format!("{home} me vt100"));
    // A name is of one session there; with `-A` that one is attached to.
    let said = refused(&watcher.run(&["new", "-d", "build@h1"]));
    assert!(said.contains("build@h1: a session of this name runs there"), "{said}");
    let mut attached = watcher.command(&["new", "-A", "h1:build"]).spawn().unwrap();
    eventually("who attaches", || watcher.ok(&["list", "--clients"]).lines().nth(1).map(drop));
    assert!(watcher.send("h1:build", "go\n").status.success());
    assert_eq!(attached.wait().unwrap().code(), Some(3));
    // A program that is over soon, and `attach -A`, which creates what is not there.
    let over = watcher.run(&["new", "soon@h1", "-C", "/", "--", "sh", "-c", "pwd; exit 4"]);
    assert_eq!((over.status.code(), over.stdout), (Some(4), b"/\r\n".to_vec()));
    let mut shell = watcher.command(&["attach", "-A", "shell@h1"]).spawn().unwrap();
    eventually("a shell", || watcher.ok(&["list", "--nodes"]).contains("shell").then_some(()));
    eventually("its viewer", || watcher.ok(&["list", "--clients"]).contains("shell").then_some(()));
    watcher.ok(&["send", "shell@h1", "--keys", "e x i t Space 5 Enter"]);
    assert_eq!(shell.wait().unwrap().code(), Some(5));
    for (words, why) in [
        (&["new", "x@h1", "--record", "x.cast"][..], "leave out --record"),
        (&["new", "x@h7"], "there is no node h7"),
        (&["new", "x@h2"], "it is this machine"),
        (&["new", "h7:x"], "[remotes.h7]"),
        (&["new", "-d", "x@h1", "-C", "/none"], "could not start"),
        (&["new", "-d", "x@h1", "--", &"x".repeat(40_000)], "can be sent"),
    ] {
        let said = refused(&watcher.run(words));
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn sizes_and_signals_are_the_hosts_and_a_name_that_is_elsewhere_is_told() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    meets(&watcher, "h1");
    let script = "trap 'echo caught' INT; echo ready; while :; do read word; done";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    host.ok(&["wait", "build", "--for", "ready"]);
    watcher.ok(&["resize", "build@h1", "101x33"]);
    assert!(host.ok(&["list"]).contains("101x33"));
    watcher.ok(&["kill", "-s", "INT", "build@h1"]);
    host.ok(&["wait", "build", "--for", "caught"]);
    for words in [&["attach", "bui"][..], &["send", "build"], &["kill", "build"], &["screen", "build"]] {
        let said = refused(&watcher.run(words));
        assert!(said.contains("build@h1 is one, on another node"), "{words:?}: {said}");
    }
    let said = refused(&watcher.run(&["attach", "none"]));
    assert!(!said.contains("another node"), "{said}");
    host.ok(&["new", "-d", "builds"]);
    // Of two that begin so, none is meant; of one that is called so, that one.
    let told = |name| refused(&watcher.run(&["attach", name])).contains("is one");
    assert!(!told("bui") && told("build"));
}

#[test]
fn a_node_that_may_not_write_creates_nothing() {
    let Some(broker) = Broker::start("") else { return };
    let (mut host, mut reads) = (Machine::new(), Machine::new());
    host.start_node("h1", &broker.url(None), &["--allow", "ci-*=read"]);
    reads.start_node("ci-1", &broker.url(None), &[]);
    meets(&reads, "h1");
    for words in [&["new", "-d", "build@h1"][..], &["resize", "x@h1", "80x24"]] {
        let said = refused(&reads.run(words));
        assert!(said.contains("does not allow that") || words[0] == "resize", "{said}");
    }
    assert!(!host.ok(&["list"]).contains("build"));
}

/// Kills the server of a machine, which has no time to say anything.
fn kill_server(machine: &Machine) {
    let stats: serde_json::Value = serde_json::from_str(&machine.ok(&["stats", "--json"])).unwrap();
    let server = Pid::from_raw(stats["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
    kill_process(server, Signal::KILL).unwrap();
}

#[test]
fn a_viewer_goes_on_when_its_own_server_is_killed() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    meets(&watcher, "h1");
    let script = "stty -echo; echo ready; read word; echo \"<$word>\"; read word; seq 1 300000; exit 4";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    host.ok(&["wait", "build", "--for", "ready"]);
    let path = watcher.directory.path().join("seen");
    let seen = || std::fs::read(&path).unwrap();
    let mut viewer = watcher.command(&["attach", "build@h1", "--from", "now"]);
    let viewer = viewer.stdout(std::fs::File::create(&path).unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let attached = |what: &str| {
        // A server that is being killed may still be there to be asked.
        let listed = || String::from_utf8(watcher.run(&["list", "--clients"]).stdout).unwrap();
        eventually(what, || listed().contains("build").then_some(()));
    };
    attached("the viewer");
    kill_server(&watcher);
    // It starts the next one, and is there again.
    attached("the viewer again");
    assert!(watcher.send("build@h1", "one\n").status.success());
    eventually("what came then", || (seen() == b"<one>\r\n").then_some(()));
    // In a flood it sees each byte, or says how many it does not.
    assert!(watcher.send("build@h1", "\n").status.success());
    eventually("the flood", || (seen().len() > 100_000).then_some(()));
    kill_server(&watcher);
    let output = viewer.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let all = [b"<one>\r\n".to_vec(), lines(300_000)].concat();
    match output.status.code() {
        Some(4) => assert!(seen() == all, "{said}"),
        code => {
            assert!(code == Some(254) && said.contains("bytes are no longer held"), "{code:?}: {said}");
            assert!(all.starts_with(&seen()), "{said}");
        }
    }
}
