//! Sessions of one machine, watched and used at another.

use rustix::process::Signal;
use serde_json::Value;

use crate::machine::{Broker, Machine, eventually};

/// Two machines with a node each.
pub(crate) fn two(broker: &Broker) -> (Machine, Machine) {
    let (mut host, mut watcher) = (Machine::new(), Machine::new());
    host.start_node("h1", &broker.url(None), &[]);
    watcher.start_node("h2", &broker.url(None), &[]);
    (host, watcher)
}

/// The lines from 1 to `last`, as a terminal has them.
pub(crate) fn lines(last: u32) -> Vec<u8> {
    (1..=last).flat_map(|line| format!("{line}\r\n").into_bytes()).collect()
}

#[test]
fn a_session_is_watched_at_another_node_and_typed_into_once() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    let script = "stty -echo; echo ready; read word; echo \"<$word>\"; seq 1 200000; exit 7";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    host.ok(&["wait", "build", "--for", "ready"]);
    let recorder = watcher.record("build@h1");
    assert!(watcher.send("build", "go\n").status.success());
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(7), "{said}");
    assert!(output == [b"<go>\r\n".to_vec(), lines(200_000)].concat(), "{} bytes", output.len());
    // The session has ended here as it has there.
    let listed = watcher.ok(&["list"]);
    assert!(listed.contains("exit status 7") && listed.contains("build@h1"), "{listed}");
}

#[test]
fn a_session_that_is_resized_in_a_flood_brings_every_byte_and_its_size() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    let script = "read word; stty -echo; seq 1 100000; read word; stty size";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    let recorder = watcher.record("build@h1");
    host.send("build", "\n");
    for round in 0..20 {
        host.ok(&["resize", "build", &format!("{}x{}", 80 + round, 24 + round)]);
    }
    eventually("its size at the other node", || {
        watcher.ok(&["list", "--json"]).contains("99x43").then_some(())
    });
    host.send("build", "\n");
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        output.ends_with(&[lines(100_000), b"43 99\r\n".to_vec()].concat()),
        "{} bytes: {said}",
        output.len()
    );
}

#[test]
fn messages_are_cut_to_what_the_broker_takes() {
    let Some(broker) = Broker::start("max_payload: 8KB\n") else { return };
    let (host, watcher) = two(&broker);
    let script = "stty raw -echo; head -c 20000 | cksum; stty cooked; seq 1 100000";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    for number in 0..60 {
        host.ok(&["new", "-d", &format!("other-{number}"), "--", "sleep", "1000"]);
    }
    let recorder = watcher.record("build@h1");
    // As much as one piece may be, and more.
    assert!(watcher.send("build@h1", &"x".repeat(20_000)).status.success());
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(output.ends_with(&lines(100_000)), "{} bytes", output.len());
    let expected = "1755777811 20000";
    assert!(String::from_utf8_lossy(&output).contains(expected), "the checksum of what was typed");
    let listed: Value = serde_json::from_str(&watcher.ok(&["list", "--nodes", "--json"])).unwrap();
    assert_eq!(listed[0]["sessions"].as_array().unwrap().len(), 61);
}

#[test]
fn a_killed_broker_and_killed_nodes_lose_nothing_that_the_host_holds() {
    let Some(mut broker) = Broker::start("") else { return };
    let (mut host, watcher) = two(&broker);
    // Slow enough that the host has all of it when the line is back.
    let script = "read word; stty -echo; for i in $(seq 1 30); do seq 1 1000; sleep 0.1; done; exit 4";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    let recorder = watcher.record("build@h1");
    host.send("build", "\n");
    broker.restart();
    host.kill_node();
    host.start_node("h1", &broker.url(None), &[]);
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(4), "{said}");
    let expected = lines(1000).repeat(30);
    assert!(output.ends_with(&expected), "{} bytes, not {}", output.len(), expected.len());
}

#[test]
fn a_watcher_s_killed_node_is_followed_by_one_that_goes_on() {
    let Some(broker) = Broker::start("") else { return };
    let (host, mut watcher) = two(&broker);
    let script = "read word; stty -echo; seq 1 20000; read word; seq 1 20000; exit 6";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    let recorder = watcher.record("build@h1");
    host.send("build", "\n");
    watcher.ok(&["wait", "build", "--for", "20000"]);
    watcher.kill_node();
    host.send("build", "\n");
    watcher.start_node("h2", &broker.url(None), &[]);
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(6), "{said}");
    assert!(output.ends_with(&lines(20_000).repeat(2)), "{} bytes: {said}", output.len());
}

#[test]
fn a_host_that_is_silent_is_told_of_where_somebody_types() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; exit 5"]);
    let recorder = watcher.record("build@h1");
    host.node().signal(Signal::STOP);
    eventually("a lost node", || watcher.ok(&["list", "--nodes"]).contains("lost").then_some(()));
    let refused = watcher.send("build", "x\n");
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("h1 is silent"), "{why}");
    host.node().signal(Signal::CONT);
    eventually("the host", || watcher.send("build", "x\n").status.success().then_some(()));
    assert_eq!(recorder.finish().2, Some(5));
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    host.ok(&["new", "-d", "build", "--", "sleep", "1000"]);
    for (session, said) in [
        ("none@h1", "there is no session none"),
        ("build@h7", "there is no node h7"),
        ("x@h2", "no session x"),
    ] {
        let refused = watcher.run(&["attach", session]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(255) && why.contains(said), "{session}: {why}");
    }
    let alone = Machine::new();
    let refused = alone.run(&["list", "--nodes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no node runs on this machine"));
    // A second node of one name.
    let mut other = alone.command(&["node", "--name", "h1", "--nats", &broker.url(None)]);
    let ended = other.output().unwrap();
    let why = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && why.contains("another node is called h1"), "{why}");
}
