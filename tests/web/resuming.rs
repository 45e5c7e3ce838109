//! Gateways that are killed, and pages that go on over the next one.

use std::{collections::VecDeque, net::SocketAddr, process::Command};

use fugue_server::message::{Access, Share, ViewerId};
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{gateway::*, support::*};

/// A page's copy of a stream, without a gap.
struct Copy {
    bytes: Vec<u8>,
    at: Option<u64>,
}

#[tokio::test]
async fn gateways_that_are_killed_in_a_flood_lose_no_byte() {
    let server = TestServer::with(|builder| builder.history_bytes(64 << 20));
    let mut owner = server.client().await;
    let lines = 400_000;
    let script = format!("stty -opost; read go; seq 1 {lines}; echo done; exec sleep 1000");
    let session = create(&mut owner, "a", &script).await.id;
    let mut gateway = Gateway::start(&server);
    let token = link_to(&server, session).await;
    let viewer = ViewerId::random();
    let mut copy = Copy { bytes: Vec::new(), at: None };
    let mut killed = 0;
    let (mut page, _) = WebPage::enter_as(&gateway, token, viewer, json!({})).await;
    let start = page.text("attached").await["offset"].as_u64().unwrap();
    soon(owner.input(session, "go\n")).await.unwrap();
    let mut next_kill = 300_000;
    while !copy.bytes.ends_with(b"done\n") {
        match page.next().await {
            // The first thing it is sent is the screen, which is empty.
            Told::Binary(1, offset, _) if copy.at.is_none() => assert!(offset >= start),
            Told::Binary(0, offset, bytes) => {
                assert_eq!(offset, *copy.at.get_or_insert(offset), "a gap, or a repetition");
                copy.at = Some(offset + bytes.len() as u64);
                copy.bytes.extend(bytes);
            }
            Told::Binary(kind, ..) => panic!("kind {kind} after {} bytes", copy.bytes.len()),
            Told::Text(value) => {
                assert!(!["gap", "error"].iter().any(|kind| value["type"] == *kind), "{value}");
            }
            Told::Closed(code) => {
                assert_eq!(code, None, "killed, not closed");
                gateway = gateway.again(&server);
                let resume = json!({"resume": {"session": session.to_string(), "offset": copy.at}});
                page = WebPage::enter_as(&gateway, token, viewer, resume).await.0;
                let attached = page.text("attached").await;
                assert_eq!((&attached["resumed"], attached["offset"].as_u64()), (&json!(true), copy.at));
            }
        }
        if copy.bytes.len() > next_kill {
            killed += 1;
            next_kill += 300_000;
            let process = rustix::process::Pid::from_raw(gateway.process().try_into().unwrap()).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        }
    }
    assert!(killed > 5, "only {killed} were killed");
    // What came before the first byte is the echo of what started it.
    let text = String::from_utf8(copy.bytes).unwrap();
    let text = &text[text.find("1\n2\n3\n").unwrap()..];
    let expected = (1..=lines).map(|line| format!("{line}\n")).collect::<String>() + "done\n";
    assert!(text == expected, "{} bytes, not {}", text.len(), expected.len());
}

#[tokio::test]
async fn what_is_typed_over_gateways_that_are_killed_is_typed_once() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let lines = 300;
    let script = format!(
        "stty -echo; echo ready; n=0; while [ $n -lt {lines} ]; do read line; echo \"[$line]\"; n=$((n+1)); done; \
         read more; echo \"more: $more\""
    );
    let session = create(&mut owner, "a", &script).await.id;
    let mut witness = server.client().await;
    let to = attached(&mut witness, &attach_id(session, FROM_OLDEST)).await;
    let gateway = Gateway::start(&server);
    let token = link(&server, Share::of(session.into()).with_access(Access::ReadWrite)).await;
    let viewer = ViewerId::random();
    let stream = [9; 16];
    let (mut page, _) = WebPage::enter_as(&gateway, token, viewer, json!({})).await;
    page.read_to("ready").await;
    let mut gateway = Some(gateway);
    let (mut offset, mut unanswered) = (0_u64, VecDeque::<(u64, Vec<u8>)>::new());
    for line in 0..lines {
        let piece = format!("line {line}\n").into_bytes();
        let message = [&stream[..], &offset.to_le_bytes(), &piece].concat();
        offset += piece.len() as u64;
        unanswered.push_back((offset, piece));
        if line % 60 == 59 {
            // Some of it is sent, and its answers are never heard.
            let _ = page.socket.feed(Message::binary(message)).await;
            let _ = page.socket.flush().await;
            gateway = gateway.map(|gateway| gateway.again(&server));
            let resume = json!({"resume": {"session": session.to_string(), "offset": null}});
            page = WebPage::enter_as(gateway.as_ref().unwrap(), token, viewer, resume).await.0;
            page.text("attached").await;
            for (end, piece) in unanswered.clone() {
                page.type_at(stream, end - piece.len() as u64, &piece).await;
            }
        } else {
            soon(page.socket.send(Message::binary(message))).await.unwrap();
        }
        if line % 7 == 0 {
            let answered = page.text("input").await;
            assert_eq!(answered["stream"], "09".repeat(16));
            while unanswered.front().is_some_and(|(end, _)| *end <= answered["offset"].as_u64().unwrap()) {
                unanswered.pop_front();
            }
        }
    }
    page.type_at(stream, offset, b"end\n").await;
    let mut transcript = Transcript::from(to.start);
    transcript.read_to(&mut witness, "more: end").await;
    let text = String::from_utf8_lossy(&transcript.bytes).replace("\r\n", "\n");
    let expected: String = (0..lines).map(|line| format!("[line {line}]\n")).collect();
    assert_eq!(text.trim_end(), format!("ready\n{expected}more: end"));
}

#[tokio::test]
async fn a_page_whose_place_is_no_longer_held_is_told_what_it_missed() {
    let server = TestServer::with(|builder| builder.history_bytes(64 << 10));
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "read go; seq 1 100000; echo the end; exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let token = link_to(&server, session).await;
    let viewer = ViewerId::random();
    let (mut page, _) = WebPage::enter_as(&gateway, token, viewer, json!({})).await;
    let at = page.text("attached").await["offset"].as_u64().unwrap();
    drop(page);
    soon(owner.input(session, "go\n")).await.unwrap();
    let mut witness = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    witness.run_until_shown("the end").await;
    let resume = json!({"resume": {"session": session.to_string(), "offset": at, "after": "output"}});
    let (mut page, _) = WebPage::enter_as(&gateway, token, viewer, resume).await;
    assert_eq!(page.text("attached").await["resumed"], true);
    let gap = page.text("gap").await;
    assert_eq!(gap["from"].as_u64(), Some(at));
    assert!(gap["to"].as_u64() >= Some(at + 500_000), "{gap}");
    page.read_to("the end").await;
}

#[tokio::test]
async fn a_gateway_without_a_server_says_so_and_pages_come_back() {
    let mut server = TestServer::start();
    let session = create(&mut server.client().await, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let token = link_to(&server, session).await;
    let (mut page, _) = WebPage::enter(&gateway, token).await;
    page.text("attached").await;
    soon(server.stop()).await.unwrap();
    assert_eq!(page.closed().await.0, Some(1012));
    let mut page = WebPage::open(&gateway).await;
    page.hello(token, ViewerId::random(), json!({})).await;
    assert_eq!(page.closed().await, (Some(1012), json!("server")));
}

#[tokio::test]
async fn a_gateway_that_share_started_ends_with_its_server() {
    let mut server = TestServer::start();
    create(&mut server.client().await, "a", "exec sleep 1000").await;
    let mut share = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    share.arg("--socket").arg(&server.socket).args(["share", "a"]).env("FUGUE_CONFIG", "");
    let shared = tokio::task::spawn_blocking(move || share.output().unwrap()).await.unwrap();
    let link = String::from_utf8(shared.stdout).unwrap();
    let place = link.strip_prefix("http://").unwrap_or_else(|| panic!("{link}{:?}", shared.stderr));
    let address: SocketAddr = place.split('/').next().unwrap().parse().unwrap();
    let host = format!("Host: {address}");
    let (head, _) = ask(address, &["GET /healthz HTTP/1.1", &host]).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    soon(server.stop()).await.unwrap();
    eventually("nobody listens there", || std::net::TcpStream::connect(address).is_err()).await;
}
