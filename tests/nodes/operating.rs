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

/// What a node counts.
fn figures(machine: &Machine) -> serde_json::Value {
    serde_json::from_str(&machine.ok(&["stats", "--node", "--json"])).unwrap()
}

#[test]
fn a_node_counts_what_it_carries_and_opens_again() {
    let Some(mut broker) = Broker::start("") else { return };
    let [mut host, mut watcher] = [Machine::new(), Machine::new()];
    host.start_node("h1", &broker.url(None), &["--allow", "h2=read"]);
    watcher.start_node("h2", &broker.url(None), &[]);
    let script = "read word; stty -echo; for i in $(seq 1 30); do seq 1 1000; sleep 0.1; done; read word";
    host.ok(&["new", "-d", "build", "--", "sh", "-c", script]);
    let recorder = watcher.record("build@h1");
    assert!(!watcher.send("build", "x\n").status.success());
    host.send("build", "\n");
    eventually("output", || {
        (figures(&watcher)["received_bytes"]["bulk"].as_u64() > Some(10_000)).then_some(())
    });
    let (at_host, here) = (figures(&host), figures(&watcher));
    assert_eq!((&at_host["connected"]["bulk"], &at_host["connected"]["quick"]), (&1.into(), &1.into()));
    assert_eq!((&at_host["nodes"]["there"], &at_host["streams"]), (&1.into(), &1.into()), "{at_host}");
    // What is not answered at once is asked for again.
    for counted in ["streams_opened", "refused"] {
        assert!(at_host[counted].as_u64() > Some(0), "{counted}: {at_host}");
    }
    assert!(at_host["sent_bytes"]["bulk"].as_u64() > Some(10_000), "{at_host}");
    assert_eq!((&here["mirrors"]["live"], &here["mirrors"]["silent"]), (&1.into(), &0.into()), "{here}");
    assert_eq!(here["streams_reopened"]["connection"], 0, "{here}");
    broker.restart();
    eventually("the stream", || {
        let here = figures(&watcher);
        (here["streams_reopened"]["connection"].as_u64() > Some(0)
            && here["connects"]["bulk"].as_u64() > Some(1))
        .then_some(())
    });
    let text = watcher.ok(&["stats", "--node"]);
    assert!(text.contains("streams_reopened connection") && text.contains("mirrors live"), "{text}");
    let text = watcher.ok(&["stats", "--node", "--prometheus"]);
    assert!(text.contains("# TYPE fugue_node_streams_reopened_total counter\n"), "{text}");
    assert!(text.contains(",why=\"connection\"} ") && text.contains("fugue_node_streams{socket="), "{text}");
    drop(recorder);
}

#[test]
fn a_log_says_which_node_which_session_and_why() {
    let Some(broker) = Broker::start("") else { return };
    let machines = [Machine::new(), Machine::new()];
    let logs = machines.each_ref().map(|machine| machine.directory.path().join("log"));
    let _nodes: Vec<_> = ["h1", "h2"]
        .iter()
        .zip(machines.iter().zip(&logs))
        .map(|(name, (machine, log))| {
            let mut command =
                machine.command(&["node", "--log", "info", "--name", name, "--nats", &broker.url(None)]);
            let log = fs::File::create(log).unwrap();
            let mut child = Process(command.stdout(Stdio::piped()).stderr(log).spawn().unwrap());
            let mut line = String::new();
            BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
            child
        })
        .collect();
    let [host, watcher] = &machines;
    let id = host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; exit 5"]);
    let recorder = watcher.record("build@h1");
    host.send("build", "\n");
    assert_eq!(recorder.finish().2, Some(5));
    let [at_host, here] = &logs;
    for (log, message, fields) in [
        (at_host, "a node is there", &["node=h2"][..]),
        (at_host, "a node is sent a session", &["node=h2", "name=build", id.trim()]),
        (
            at_host,
            "a node is not sent a session any more",
            &["node=h2", "name=build", "why=\"its node closed it\""],
        ),
        (here, "a mirror begins", &["node=h1", "name=build", id.trim()]),
        (here, "a mirror ends", &["node=h1", "name=build", id.trim()]),
    ] {
        eventually(message, || {
            let text = fs::read_to_string(log).unwrap();
            let is_it =
                |line: &&str| line.contains(message) && fields.iter().all(|field| line.contains(field));
            text.lines().find(is_it).map(|_| ())
        });
    }
}

#[cfg(feature = "web")]
#[test]
fn the_gateways_metrics_have_the_figures_of_a_node_that_runs_here() {
    use std::{
        collections::BTreeSet,
        io::{Read, Write},
        os::unix::net::UnixStream,
        path::Path,
    };

    let Some(broker) = Broker::start("") else { return };
    let mut machine = Machine::new();
    machine.ok(&["new", "-d", "build", "--", "sleep", "1000"]);
    let path = machine.directory.path().join("metrics");
    let mut command = machine.command(&["web", "--listen", "127.0.0.1:0", "--metrics"]);
    let (_gateway, _) = connected({
        command.arg(format!("unix:{}", path.display()));
        command
    });
    let scrape = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("fugue_up 1\n"), "{answer}");
        answer
    };
    assert!(!scrape().contains("fugue_node_"));
    machine.start_node("h1", &broker.url(None), &[]);
    eventually("its connection", || {
        scrape().contains("fugue_node_connected{lane=\"quick\"} 1").then_some(())
    });
    let answer = scrape();
    for line in [
        "fugue_node_connected{lane=\"quick\"} 1",
        "fugue_node_streams 0",
        "fugue_node_streams_reopened_total{why=\"hole\"} 0",
    ] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    // The dashboard shows each of them, and names no other; nor does a rule.
    let named = |text: &str| -> BTreeSet<String> {
        let words = text.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
        words.filter(|word| word.starts_with("fugue_node_")).map(str::to_owned).collect()
    };
    let told = answer.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring");
    let read = |name: &str| fs::read_to_string(monitoring.join(name)).unwrap();
    assert_eq!(named(&read("dashboard.json")), named(&told));
    assert!(named(&read("alerts.yml")).is_subset(&named(&told)));
    // One that does not answer costs a second, and nothing else.
    machine.node().signal(rustix::process::Signal::STOP);
    assert!(!scrape().contains("fugue_node_"));
    machine.node().signal(rustix::process::Signal::CONT);
}

#[test]
fn typing_waits_for_a_silent_host_where_that_is_set() {
    let Some(broker) = Broker::start("") else { return };
    let [mut host, mut watcher] = [Machine::new(), Machine::new()];
    host.start_node("h1", &broker.url(None), &[]);
    watcher.start_node("h2", &broker.url(None), &["--typing", "wait"]);
    host.ok(&["new", "-d", "build", "--", "sh", "-c", "read word; echo \"<$word>\"; read word; exit 5"]);
    let recorder = watcher.record("build@h1");
    host.node().signal(rustix::process::Signal::STOP);
    eventually("a lost node", || watcher.ok(&["list", "--nodes"]).contains("lost").then_some(()));
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| watcher.send("build", "hello\n"));
        eventually("typing that waits", || (figures(&watcher)["typing_waiting_bytes"] == 6).then_some(()));
        host.node().signal(rustix::process::Signal::CONT);
        assert!(sending.join().unwrap().status.success());
    });
    host.send("build", "\n");
    let (output, said, code) = recorder.finish();
    assert_eq!(code, Some(5), "{said}");
    assert_eq!(String::from_utf8(output).unwrap().matches("<hello>").count(), 1);
}
