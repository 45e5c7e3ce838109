//! What monitoring systems are told.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{gateway::*, support::*};

pub(crate) async fn scrape(address: SocketAddr) -> String {
    let (head, body) = ask(address, &["GET /metrics HTTP/1.1", &format!("Host: {address}")]).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("openmetrics-text"), "{head}");
    String::from_utf8(body).unwrap()
}

fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Whether there is a sample of the server's, or of the session's.
fn has_series(text: &str, name: &str) -> bool {
    let of_it = text.lines().filter_map(|line| line.strip_prefix(name));
    of_it.into_iter().any(|rest| rest.starts_with(' ') || rest.starts_with("{session=\"build\"} "))
}

/// What `stats` prints.
async fn stats(server: &TestServer, form: &'static str) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    command.arg("--socket").arg(&server.socket).args(["stats", form]);
    String::from_utf8(soon(command.output()).await.unwrap().stdout).unwrap()
}

#[tokio::test]
async fn metrics_have_every_figure_of_the_statistics_and_no_clients() {
    let mut server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "build", "echo shown; exec sleep 1000").await.id;
    let (gateway, plain) = Gateway::with_metrics(&server, &[]);
    let (other, by_session) = Gateway::with_metrics(&server, &["--session-metrics"]);
    let (mut page, _) = WebPage::enter(&gateway, link_to(&server, session).await).await;
    page.read_to("shown").await;

    let text = scrape(plain).await;
    for (name, expected) in [
        ("fugue_up", 1.0),
        ("fugue_web_viewers", 1.0),
        ("fugue_web_viewers_max", 256.0),
        ("fugue_web_admitted_total", 1.0),
        ("fugue_web_refused_total", 0.0),
        ("fugue_sessions", 1.0),
    ] {
        assert_eq!(value(&text, name), Some(expected), "{name}:\n{text}");
    }
    assert!(value(&text, "fugue_clients") >= Some(3.0), "{text}");
    assert!(text.ends_with("# EOF\n") && !text.contains('{'), "{text}");

    // Under the names that other exporters have for these.
    assert!(value(&text, "process_open_fds") > Some(5.0), "{text}");
    assert!(value(&text, "process_open_fds") < value(&text, "process_max_fds"), "{text}");
    assert!(value(&text, "process_resident_memory_bytes") > Some(1e6), "{text}");

    // All that `stats --prometheus` has, under the same names.
    let text = scrape(by_session).await;
    let printed = stats(&server, "--prometheus").await;
    let names: Vec<_> =
        printed.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 20, "{printed}");
    for name in names {
        assert!(has_series(&text, name), "{name}:\n{text}");
    }
    // And each number of `stats --json`, but for what says how the server is built.
    let printed: Value = serde_json::from_str(&stats(&server, "--json").await).unwrap();
    let not_told = ["pid", "shards", "clients_in_fullest_shard"];
    let other_names =
        [("connections_closed_by_server", "connections_closed"), ("bytes_written", "written_bytes")];
    for (prefix, of) in [("fugue_", &printed), ("fugue_session_", &printed["by_session"][0])] {
        let numbers =
            of.as_object().unwrap().iter().filter(|(_, value)| value.is_number() || value.is_boolean());
        let numbers: Vec<_> =
            numbers.map(|(name, _)| &**name).filter(|name| !not_told.contains(name)).collect();
        assert!(numbers.len() >= 5, "{of}");
        for name in numbers {
            let name = other_names.iter().find(|(other, _)| *other == name).map_or(name, |(_, told)| told);
            let is_there = ["", "_total"].map(|end| has_series(&text, &format!("{prefix}{name}{end}")));
            assert!(is_there.contains(&true), "{prefix}{name}:\n{text}");
        }
    }
    assert!(!text.contains("client-") && !text.contains("client="), "{text}");

    // Without a server, it says so.
    soon(server.stop()).await.unwrap();
    let text = scrape(plain).await;
    assert_eq!((value(&text, "fugue_up"), value(&text, "fugue_sessions")), (Some(0.0), None), "{text}");
    drop(other);
}

#[tokio::test]
async fn metrics_are_on_a_listener_of_their_own() {
    let server = TestServer::start();
    let (gateway, address) = Gateway::with_metrics(&server, &[]);
    let (head, _) = gateway.ask(&["GET /metrics HTTP/1.1", &format!("Host: {}", gateway.address)]).await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    for (line, host) in [
        ("GET /s/ HTTP/1.1", address.to_string()),
        ("GET /ws HTTP/1.1", address.to_string()),
        ("GET /metrics HTTP/1.1", "evil.example".to_owned()),
    ] {
        let (head, _) = ask(address, &[line, &format!("Host: {host}")]).await;
        assert!(!head.starts_with("http/1.1 200"), "{line} {host}: {head}");
    }
}
