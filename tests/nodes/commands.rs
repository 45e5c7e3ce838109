//! Commands for sessions of other nodes: `SESSION@NODE`.

use std::process::Output;

use crate::{
    machine::{Broker, Machine, eventually},
    sessions::two,
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
