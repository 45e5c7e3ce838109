//! What is asked over HTTP: by whom, under which name, how slowly, and how often.

use std::{io::Write, os::unix::fs::PermissionsExt, process::Command, sync::Arc, time::Duration};

use flate2::read::GzDecoder;
use fugue_server::message::{LinkToken, Share, ViewerId};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::{gateway::*, support::*};

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let server = TestServer::start();
    let gateway = Gateway::start(&server);
    let host = format!("Host: {}", gateway.address);
    for (line, expected) in [
        ("GET /s/ HTTP/1.1", 200),
        ("HEAD /s/ HTTP/1.1", 200),
        ("GET /assets/app.js HTTP/1.1", 200),
        ("GET / HTTP/1.1", 307),
        ("GET /s HTTP/1.1", 307),
        ("GET /healthz HTTP/1.1", 200),
        ("GET /nothing HTTP/1.1", 404),
        ("GET /assets/ HTTP/1.1", 404),
        ("GET /assets/../../../../etc/passwd HTTP/1.1", 404),
        ("GET /metrics HTTP/1.1", 404),
        ("POST /s/ HTTP/1.1", 405),
        ("GET /ws HTTP/1.1", 400),
    ] {
        let (head, _) = gateway.ask(&[line, &host]).await;
        assert_eq!(status(&head), expected, "{line}: {head}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n",
            "x-content-type-options: nosniff\r\n",
            "x-frame-options: deny\r\n",
            "referrer-policy: no-referrer\r\n",
            "cross-origin-opener-policy: same-origin\r\n",
            "cross-origin-resource-policy: same-origin\r\n",
            "cache-control: no-",
        ] {
            assert!(head.contains(header), "{line} lacks {header}: {head}");
        }
        assert!(!head.contains("set-cookie"), "{head}");
    }
}

#[tokio::test]
async fn files_of_the_page_are_compressed_and_sent_when_they_changed() {
    let server = TestServer::start();
    let gateway = Gateway::start(&server);
    let host = format!("Host: {}", gateway.address);
    let (head, plain) = gateway.ask(&["GET /s/ HTTP/1.1", &host]).await;
    assert!(head.contains("content-type: text/html; charset=utf-8\r\n"), "{head}");
    assert!(contains(&plain, b"<!doctype html>") || contains(&plain, b"<!DOCTYPE html>"));
    let (head, packed) = gateway.ask(&["GET /s/ HTTP/1.1", &host, "Accept-Encoding: br, gzip;q=0.5"]).await;
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (head, body) = gateway.ask(&["GET /s/ HTTP/1.1", &host, &format!("If-None-Match: {tag}")]).await;
    assert_eq!((status(&head), body.len()), (304, 0));
}

#[tokio::test]
async fn hosts_and_origins_that_are_not_listed_are_refused() {
    let server = TestServer::start();
    let gateway = Gateway::with(&server, &["--host", "term.example.com"]);
    let port = gateway.address.port();
    let own = format!("127.0.0.1:{port}");
    let (local, elsewhere) = (format!("localhost:{port}"), format!("evil.example:{port}"));
    for (host, expected) in [
        (&*own, 200),
        (&local, 200),
        ("term.example.com", 200),
        (&elsewhere, 421),
        ("127.0.0.1.evil.example", 421),
    ] {
        let (head, _) = gateway.ask(&["GET /s/ HTTP/1.1", &format!("Host: {host}")]).await;
        assert_eq!(status(&head), expected, "{host}");
    }
    let (head, _) = gateway.ask(&["GET /s/ HTTP/1.1", &format!("Host: {own}"), "Host: evil.example"]).await;
    assert_ne!(status(&head), 200, "two hosts");
    let (head, _) = gateway.ask(&["GET /s/ HTTP/1.0"]).await;
    assert_ne!(status(&head), 200, "no host");

    let origins = [
        format!("http://{own}"),
        format!("http://{local}"),
        "https://term.example.com".to_owned(),
        format!("http://{elsewhere}"),
        "http://localhost:1".to_owned(),
        "null".to_owned(),
    ];
    // Rows are hosts, columns the origins above.
    for (host, allowed) in [
        (&*own, [true, false, true, false, false, false]),
        (&local, [false, true, true, false, false, false]),
        ("term.example.com", [false, false, true, false, false, false]),
        (&elsewhere, [false; 6]),
    ] {
        for (origin, allowed) in origins.iter().zip(allowed) {
            let headers = [("host", host), ("origin", origin)];
            let opened = WebPage::open_with(gateway.address, "/ws", &headers).await;
            assert_eq!(opened.is_ok(), allowed, "{origin} at {host}");
        }
        let opened = WebPage::open_with(gateway.address, "/ws", &[("host", host)]).await;
        assert!(opened.is_err(), "no origin at {host}");
    }
}

#[tokio::test]
async fn a_base_path_is_before_everything() {
    let server = TestServer::start();
    let gateway = Gateway::with(&server, &["--base", "/term/"]);
    let host = format!("Host: {}", gateway.address);
    for (path, expected) in [
        ("/term/s/", 200),
        ("/term/healthz", 200),
        ("/term/ws", 400),
        ("/term", 307),
        ("/term/", 307),
        ("/s/", 404),
        ("/healthz", 404),
        ("/terms/s/", 404),
        ("/", 404),
    ] {
        let (head, _) = gateway.ask(&[&format!("GET {path} HTTP/1.1"), &host]).await;
        assert_eq!(status(&head), expected, "{path}: {head}");
        assert!(status(&head) != 307 || head.contains("location: /term/s/\r\n"), "{head}");
    }
}

#[tokio::test]
async fn an_address_that_guesses_is_refused_for_a_while() {
    let server = TestServer::start();
    let gateway = Gateway::start(&server);
    for _ in 0..10 {
        let mut page = WebPage::open(&gateway).await;
        page.hello(LinkToken::random(), ViewerId::random(), json!({})).await;
        assert_eq!(page.closed().await.0, Some(4001));
    }
    let origin = format!("http://{}", gateway.address);
    let refused = WebPage::open_with(gateway.address, "/ws", &[("origin", &origin)]).await.err().unwrap();
    assert_eq!(refused, 429);
}

#[tokio::test]
async fn one_viewer_too_many_is_told_to_come_back_later() {
    let server = TestServer::start();
    let session = create(&mut server.client().await, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::with(&server, &["--max-viewers", "2"]);
    let token = link_to(&server, session).await;
    let (first, _) = WebPage::enter(&gateway, token).await;
    let (_second, _) = WebPage::enter(&gateway, token).await;
    let origin = format!("http://{}", gateway.address);
    let refused = WebPage::open_with(gateway.address, "/ws", &[("origin", &origin)]).await.err().unwrap();
    assert_eq!(refused, 503);
    drop(first);
    // The place of one that left is another's.
    soon(async {
        while WebPage::open_with(gateway.address, "/ws", &[("origin", &origin)]).await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn connections_that_dawdle_are_closed_and_hold_up_nobody() {
    let server = TestServer::start();
    let session = create(&mut server.client().await, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let begun = Instant::now();
    let mut dawdling = Vec::new();
    for at in 0..100 {
        let mut stream = soon(TcpStream::connect(gateway.address)).await.unwrap();
        // Some say nothing, some a part of a head.
        if at % 2 == 0 {
            let _ = stream.write_all(b"GET /s/ HTTP/1.1\r\nHost: 127.0").await;
        }
        dawdling.push(stream);
    }
    // More than one address may have are closed at once, so this one waits until there is room again.
    let token = link_to(&server, session).await;
    let mut closed = 0;
    for mut stream in dawdling {
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        closed += 1;
    }
    assert_eq!(closed, 100);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    WebPage::enter(&gateway, token).await;
    // A head without an end.
    let mut stream = soon(TcpStream::connect(gateway.address)).await.unwrap();
    let endless = async {
        while stream.write_all(&[b"X: ".as_slice(), &[b'x'; 1000], b"\r\n"].concat()).await.is_ok() {}
    };
    soon(endless).await;
}

#[tokio::test]
async fn addresses_that_others_reach_need_https_or_a_word() {
    let server = TestServer::start();
    let (mut child, stdout) = command(&server, &["--listen", "0.0.0.0:0"]);
    assert_eq!(rest(stdout), "");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let (mut child, mut stdout) = command(&server, &["--listen", "0.0.0.0:0", "--plain"]);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let host = format!("Host: 127.0.0.1:{port}");
    let (head, _) = ask(([127, 0, 0, 1], port).into(), &["GET /s/ HTTP/1.1", &host]).await;
    assert_eq!(status(&head), 200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_proxy_reaches_it_by_a_socket_and_says_who_asks() {
    let server = TestServer::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let listen = format!("unix:{}", path.display());
    let arguments = ["--listen", &listen, "--host", "term.example.com"];
    let start = || {
        let (child, mut stdout) = command(&server, &arguments);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert_eq!(line.trim(), listen);
        (child, stdout)
    };
    let (mut child, _stdout) = start();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let guess = async |from: &str| {
        let stream = soon(UnixStream::connect(&path)).await.unwrap();
        let request = tokio_tungstenite::tungstenite::http::Request::get("ws://term.example.com/ws")
            .header("host", "term.example.com")
            .header("origin", "https://term.example.com")
            .header("x-forwarded-for", from)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        let opened = soon(tokio_tungstenite::client_async(request.body(()).unwrap(), stream)).await;
        let mut socket = opened.ok()?.0;
        let (token, viewer) = (LinkToken::random().to_string(), ViewerId::random().to_string());
        let hello = json!({"type": "hello", "token": token, "viewer": viewer, "resume": null});
        let hello = tokio_tungstenite::tungstenite::Message::text(hello.to_string());
        soon(futures_util::SinkExt::send(&mut socket, hello)).await.unwrap();
        while soon(futures_util::StreamExt::next(&mut socket)).await.is_some_and(|said| said.is_ok()) {}
        Some(())
    };
    for _ in 0..10 {
        // What a client says of itself is before what the proxy adds.
        assert!(guess("198.51.100.1, 192.0.2.1").await.is_some());
    }
    assert!(guess("192.0.2.1").await.is_none());
    assert!(guess("192.0.2.1, 192.0.2.2").await.is_some());
    // One that was killed leaves its socket, which the next one takes.
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut child, _stdout) = start();
    let (mut second, stdout) = command(&server, &arguments);
    assert_eq!((rest(stdout).as_str(), second.wait().unwrap().code()), ("", Some(1)));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn with_a_certificate_it_speaks_https() {
    let server = TestServer::start();
    let session = create(&mut server.client().await, "a", "echo shown; exec sleep 1000").await.id;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", &key, "-out"])
        .args([&certificate, "-addext", "basicConstraints=critical,CA:FALSE"])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        let _ = writeln!(std::io::stderr(), "not shown: openssl makes no certificate here");
        return;
    }
    let gateway = Gateway::with(&server, &["--cert", &certificate, "--key", &key]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let connect = async || {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        soon(connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await.unwrap()
    };
    let mut stream = connect().await;
    let port = gateway.address.port();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    soon(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    // And websockets.
    let token = link(&server, Share::of(session.into())).await;
    let request = tokio_tungstenite::tungstenite::http::Request::get(format!("wss://localhost:{port}/ws"))
        .header("host", format!("localhost:{port}"))
        .header("origin", format!("https://localhost:{port}"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
    let stream = connect().await;
    let (mut socket, _) =
        soon(tokio_tungstenite::client_async(request.body(()).unwrap(), stream)).await.unwrap();
    let hello = json!({"type": "hello", "token": token.to_string(), "viewer": ViewerId::random().to_string(),
        "resume": null});
    let hello = tokio_tungstenite::tungstenite::Message::text(hello.to_string());
    soon(futures_util::SinkExt::send(&mut socket, hello)).await.unwrap();
    let mut shown = Vec::new();
    while !contains(&shown, b"shown") {
        let message = soon(futures_util::StreamExt::next(&mut socket)).await.unwrap().unwrap();
        shown.extend(message.into_data());
    }
    // Without TLS, nothing is answered.
    let (head, _) = gateway.ask(&["GET /healthz HTTP/1.1", &format!("Host: localhost:{port}")]).await;
    assert_ne!(status(&head), 200);
}
