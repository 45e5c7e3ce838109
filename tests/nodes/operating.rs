//! A node as a service: what sets it up, and who is told that it runs.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixDatagram,
    process::{Command, Output, Stdio},
};

use crate::machine::{Broker, Machine, PATIENCE, Process, eventually};

/// A command with a configuration of this text.
fn configured(machine: &Machine, text: &str, words: &[&str]) -> Command {
    let config = machine.directory.path().join("config.toml");
    fs::write(&config, text).unwrap();
    let mut command = machine.command(words);
    command.env("FUGUE_CONFIG", config);
    command
}

/// Runs a node, and waits until it is connected. The process, and the name that it says.
fn connected(mut command: Command) -> (Process, String) {
    let mut child = Process(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim_end().to_owned())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_node_is_what_the_configuration_says_and_the_command_line_wins() {
    let Some(broker) = Broker::start("") else { return };
    let [mut other, host] = [Machine::new(), Machine::new()];
    other.start_node("ci-1", &broker.url(None), &["--tenant", "team"]);
    let text = format!(
        "[nodes]\nname = 'dev'\nnats = ['{}']\ntenant = 'team'\n[nodes.allow]\n'ci-1' = 'read'\n'*' = 'write'\n",
        broker.url(None)
    );
    let (node, name) = connected(configured(&host, &text, &["node"]));
    assert_eq!(name, "dev");
    host.ok(&["new", "-d", "build", "--", "sleep", "1000"]);
    let recorder = other.record("build@dev");
    let refused = other.send("build", "x");
    assert!(said(&refused).contains("does not allow that"), "{}", said(&refused));
    drop(node);
    let (_node, name) = connected(configured(&host, &text, &["node", "--name", "lap", "--allow", "*=write"]));
    assert_eq!(name, "lap");
    eventually("lap", || other.ok(&["list", "--nodes"]).contains("lap").then_some(()));
    drop(recorder);
    // What is shown is a file that says the same.
    let shown = configured(&host, &text, &["config", "show"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("allow = { \"ci-1\" = \"read\", \"*\" = \"write\" }"), "{shown}");
    let again = configured(&host, &shown, &["config", "show", "--json"]).output().unwrap();
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    let value =
        |key: &str| again.as_array().unwrap().iter().find(|one| one["key"] == key).unwrap()["value"].clone();
    assert_eq!(value("nodes.allow"), "ci-1=read,*=write");
    assert_eq!((value("nodes.name"), value("nodes.tenant")), ("dev".into(), "team".into()));
}

#[test]
fn what_is_missing_or_wrong_in_the_configuration_is_said_with_its_place() {
    let machine = Machine::new();
    for (text, words, expected) in [
        ("", &["node"][..], "--name NAME, or `name` in [nodes]"),
        ("[nodes]\nname = 'dev'\n", &["node"], "--nats URL, or `nats` in [nodes]"),
        ("[nodes]\nname = 'a.b'\n", &["node"], "config.toml:2:8: nodes.name can't be \"a.b\""),
        (
            "[nodes]\nname = 'dev'\nnats = 'nats://127.0.0.1:1'\ncreds = '/x'\n",
            &["node", "--nkey", "/y"],
            "credentials or an nkey, and not both",
        ),
        (
            "[nodes]\nname = 'dev'\nnats = 'nats://127.0.0.1:1'\ncert = '/x'\n",
            &["node"],
            "a certificate and its key go together",
        ),
    ] {
        let refused = configured(&machine, text, words).output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains(expected), "{text}: {}", said(&refused));
    }
}

#[test]
fn a_service_manager_is_told_once_a_node_is_connected() {
    let Some(broker) = Broker::start("") else { return };
    let machine = Machine::new();
    let path = machine.directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = machine.command(&["node", "--name", "dev", "--nats", &broker.url(None)]);
    let (_node, _) = connected({
        command.env("NOTIFY_SOCKET", &path);
        command
    });
    let mut message = [0; 64];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1");
}
