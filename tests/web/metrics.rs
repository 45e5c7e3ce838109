//! What monitoring systems are told.

use std::net::SocketAddr;

use crate::{gateway::*, support::*};

/// A free address of this machine: of a listener that is closed again.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn scrape(address: SocketAddr) -> String {
    let (head, body) = ask(address, &["GET /metrics HTTP/1.1", &format!("Host: {address}")]).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("openmetrics-text"), "{head}");
    String::from_utf8(body).unwrap()
}

fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn metrics_have_every_figure_of_the_statistics_and_no_clients() {
    let mut server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "build", "echo shown; exec sleep 1000").await.id;
    let (plain, by_session) = (free_address(), free_address());
    let gateway = Gateway::with(&server, &["--metrics", &plain.to_string()]);
    let other = Gateway::with(&server, &["--metrics", &by_session.to_string(), "--session-metrics"]);
    let (mut page, _) = WebPage::enter(&gateway, link_to(&server, session).await).await;
    page.read_to("shown").await;

    let text = scrape(plain).await;
    for (name, expected) in [
        ("fugue_up", 1.0),
        ("fugue_web_viewers", 1.0),
        ("fugue_web_admitted_total", 1.0),
        ("fugue_web_refused_total", 0.0),
        ("fugue_sessions", 1.0),
    ] {
        assert_eq!(value(&text, name), Some(expected), "{name}:\n{text}");
    }
    assert!(value(&text, "fugue_clients") >= Some(3.0), "{text}");
    assert!(text.ends_with("# EOF\n") && !text.contains('{'), "{text}");

    // All that `stats --prometheus` has, under the same names.
    let text = scrape(by_session).await;
    let printed = tokio::task::spawn_blocking({
        let socket = server.socket.clone();
        move || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fugue-server"));
            command.arg("--socket").arg(socket).args(["stats", "--prometheus"]).output().unwrap().stdout
        }
    });
    let printed = String::from_utf8(soon(printed).await.unwrap()).unwrap();
    let names: Vec<_> =
        printed.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 20, "{printed}");
    for name in names {
        let has_it = text.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' ') || rest.starts_with("{session=\"build\"} "))
        });
        assert!(has_it, "{name}:\n{text}");
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
    let address = free_address();
    let gateway = Gateway::with(&server, &["--metrics", &address.to_string()]);
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
