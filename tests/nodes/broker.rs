//! What the broker sees to: who may change what, and who sees whom.

use std::process::Command;

use crate::machine::{Broker, Machine, eventually};

/// A user of nats-server's configuration with what `node permissions` prints.
fn user(name: &str, more: &[&str]) -> String {
    let machine = Machine::new();
    let permissions = machine.ok(&[&["node", "permissions", name], more].concat());
    format!("{{ user: {name}, password: secret, {permissions} }}\n")
}

#[test]
fn a_read_only_node_is_refused_by_the_broker() {
    let users = [user("h1", &[]), user("rw", &[]), user("ro", &["--read-only"])].concat();
    let Some(broker) = Broker::start(&format!("authorization {{ users: [\n{users}] }}\n")) else { return };
    let [mut host, mut may, mut may_not] = [Machine::new(), Machine::new(), Machine::new()];
    host.start_node("h1", &broker.url(Some("h1")), &[]);
    may.start_node("rw", &broker.url(Some("rw")), &[]);
    may_not.start_node("ro", &broker.url(Some("ro")), &[]);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; echo \"<$word>\"; exit 3"]);
    let recorders = [&may, &may_not].map(|machine| machine.record("build@h1"));
    let refused = may_not.send("build", "no\n");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("permissions"), "{why}");
    let refused = may_not.run(&["kill", "build"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("permissions"));
    assert!(may.send("build", "yes\n").status.success());
    for recorder in recorders {
        let (output, said, code) = recorder.finish();
        let output = String::from_utf8(output).unwrap();
        assert_eq!(code, Some(3), "{said}");
        assert!(output.contains("<yes>") && !output.contains("no"), "{output}");
    }
}

#[test]
fn a_node_can_not_speak_as_another() {
    let users = [user("h1", &[]), user("h2", &[])].concat();
    let Some(broker) = Broker::start(&format!("authorization {{ users: [\n{users}] }}\n")) else { return };
    let [mut host, mut other] = [Machine::new(), Machine::new()];
    host.start_node("h1", &broker.url(Some("h1")), &[]);
    // It is connected as h2, and so nothing that it says as `x` is carried.
    other.start_node("x", &broker.url(Some("h2")), &[]);
    let seen = host.ok(&["list", "--nodes", "--json"]);
    assert_eq!(seen.trim(), "[]");
    other.kill_node();
    other.start_node("h2", &broker.url(Some("h2")), &[]);
    eventually("h2", || host.ok(&["list", "--nodes"]).contains("h2").then_some(()));
    assert!(!host.ok(&["list", "--nodes"]).contains(" x "));
}

#[test]
fn a_host_may_refuse_what_the_broker_allows() {
    let Some(broker) = Broker::start("") else { return };
    let [mut host, mut reads, mut other] = [Machine::new(), Machine::new(), Machine::new()];
    host.start_node("h1", &broker.url(None), &["--allow", "ci-*=read"]);
    reads.start_node("ci-1", &broker.url(None), &[]);
    other.start_node("laptop", &broker.url(None), &[]);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; exit 3"]);
    let recorder = reads.record("build@h1");
    let refused = reads.send("build", "x\n");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not allow that"));
    let refused = other.run(&["attach", "build@h1"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not allow that"));
    host.send("build", "x\n");
    assert_eq!(recorder.finish().2, Some(3));
}

#[test]
fn two_tenants_see_nothing_of_each_other() {
    let accounts = "accounts { A { users: [{ user: a, password: secret }] }, B { users: [{ user: b, password: secret }] } }\n";
    let Some(broker) = Broker::start(accounts) else { return };
    let names = ["a1", "a2", "b1", "b2"];
    // By accounts; and within one account by names.
    for (users, tenants) in [(["a", "a", "b", "b"], ["main"; 4]), (["a"; 4], ["t1", "t1", "t2", "t2"])] {
        let mut machines = names.map(|_| Machine::new());
        for (at, machine) in machines.iter_mut().enumerate() {
            machine.start_node(names[at], &broker.url(Some(users[at])), &["--tenant", tenants[at]]);
        }
        for (at, machine) in machines.iter().enumerate() {
            let other = names[at ^ 1];
            eventually(other, || machine.ok(&["list", "--nodes"]).contains(other).then_some(()));
            let seen = machine.ok(&["list", "--nodes"]);
            assert!(names.iter().all(|name| *name == other || !seen.contains(name)), "{seen}");
        }
    }
}

#[test]
fn a_password_or_token_of_any_letters_is_understood_in_a_url() {
    for (authorization, user) in [
        ("users: [{ user: \"a b\", password: \"p@s/s:w%rd\" }]", "a%20b:p%40s%2Fs%3Aw%25rd"),
        ("token: \"to/k@n\"", "to%2Fk%40n"),
    ] {
        let Some(broker) = Broker::start(&format!("authorization {{ {authorization} }}\n")) else { return };
        Machine::new().start_node("h1", &format!("nats://{user}@127.0.0.1:{}", broker.port), &[]);
    }
}

#[test]
fn a_broker_whose_messages_are_too_short_is_refused() {
    let Some(broker) = Broker::start("max_payload: 1KB\n") else { return };
    let refused = Machine::new().run(&["node", "--name", "h1", "--nats", &broker.url(None)]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("raise its max_payload"), "{why}");
}

#[test]
fn a_broker_with_tls_is_trusted_by_its_certificate_only() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] =
        ["cert.pem", "key.pem"].map(|name| directory.path().join(name).display().to_string());
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate]);
    if !openssl.output().is_ok_and(|made| made.status.success()) {
        println!("not shown: openssl makes no certificate here");
        return;
    }
    let tls = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n");
    let Some(broker) = Broker::start(&tls) else { return };
    let url = format!("tls://localhost:{}", broker.port);
    let [mut host, mut watcher, stranger] = [Machine::new(), Machine::new(), Machine::new()];
    let refused = stranger.run(&["node", "--name", "h3", "--nats", &url]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("could not connect to nats-server"), "{why}");
    host.start_node("h1", &url, &["--ca", &certificate]);
    watcher.start_node("h2", &url, &["--ca", &certificate]);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; exit 6"]);
    let recorder = watcher.record("build@h1");
    assert!(watcher.send("build", "go\n").status.success());
    assert_eq!(recorder.finish().2, Some(6));
}
