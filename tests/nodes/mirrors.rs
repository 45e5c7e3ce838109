//! What a mirror's clients have as those at the host do.

use serde_json::Value;

use crate::{
    machine::{Broker, Machine, eventually},
    sessions::two,
};

/// What `list` says of the only session of a machine that runs.
fn listed(machine: &Machine) -> Value {
    let all: Value = serde_json::from_str(&machine.ok(&["list", "--json"])).unwrap();
    all.as_array().unwrap().iter().find(|session| session["running"] == true).unwrap().clone()
}

#[test]
fn a_broker_that_is_lost_is_told_of_at_mirrors_and_nowhere_else() {
    let Some(broker) = Broker::start("") else { return };
    let (host, watcher) = two(&broker);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; exit 5"]);
    let _recorder = watcher.record("build@h1");
    drop(broker);
    eventually("a silent host", || {
        let silent = listed(&watcher)["silent_seconds"].as_u64()?;
        (silent >= 5).then_some(())
    });
    assert!(watcher.ok(&["list"]).contains("silent for"));
    let refused = watcher.run(&["kill", "build"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("h1 is silent"), "{why}");
    assert_eq!(listed(&host)["silent_seconds"], Value::Null);
    assert!(host.send("build", "go\n").status.success());
}
