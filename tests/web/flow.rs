//! Pages that take little, nothing, or too much.

use fugue_server::message::{Access, Share};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{gateway::*, support::*};

/// What is in flight to a page that acknowledges nothing.
const WINDOW: u64 = 64 * 1024;

#[tokio::test]
async fn a_page_that_acknowledges_nothing_is_sent_no_more_than_the_window() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session =
        create(&mut owner, "a", "exec yes 'a flood of lines, as a build that went wrong prints'").await.id;
    let gateway = Gateway::start(&server);
    let token = link_to(&server, session).await;
    let (mut stalled, _) = WebPage::enter(&gateway, token).await;
    stalled.acknowledges = false;
    while stalled.received < WINDOW {
        stalled.next().await;
    }
    // Another one is not held up by it.
    let (mut other, _) = WebPage::enter(&gateway, token).await;
    let mut at = other.text("attached").await["offset"].as_u64().unwrap();
    while other.received < 128 * WINDOW {
        match other.next().await {
            Told::Binary(0, offset, bytes) => {
                assert_eq!(offset, at);
                at += bytes.len() as u64;
            }
            Told::Binary(_, offset, _) => at = offset,
            Told::Text(value) => assert_ne!(value["type"], "error", "{value}"),
            Told::Closed(code) => panic!("{code:?}"),
        }
    }
    // Whatever it is sent next comes after all output that was on its way.
    for _ in 0..3 {
        stalled.say(json!({"type": "ping"})).await;
        stalled.text("pong").await;
    }
    assert_eq!(stalled.received, WINDOW);
    // Then it goes on, with a word about what it missed.
    stalled.acknowledges = true;
    stalled.say(json!({"type": "ack", "received": WINDOW})).await;
    let gap = stalled.text("gap").await;
    assert!(gap["to"].as_u64() > gap["from"].as_u64());
    let drawn = stalled.received;
    while stalled.received < drawn + WINDOW {
        stalled.next().await;
    }
}

#[tokio::test]
async fn a_page_that_acknowledges_what_it_was_not_sent_is_closed() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let (mut page, _) = WebPage::enter(&gateway, link_to(&server, session).await).await;
    page.say(json!({"type": "ack", "received": 1_u64 << 40})).await;
    assert_eq!(page.closed().await, (Some(4002), json!("malformed")));
}

#[tokio::test]
async fn frames_that_are_too_long_close_the_page_that_sends_them() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let share = Share::of(session.into()).with_access(Access::ReadWrite);
    let token = link(&server, share).await;
    for message in [Message::text("x".repeat(1 << 20)), Message::binary(vec![7; 1 << 20])] {
        // Before the hello, and after it.
        let mut page = WebPage::open(&gateway).await;
        let _ = soon(page.socket.send(message.clone())).await;
        assert!(matches!(page.closed().await.0, Some(1009 | 4002) | None));
        let (mut page, _) = WebPage::enter(&gateway, token).await;
        let _ = soon(page.socket.send(message)).await;
        assert!(matches!(page.closed().await.0, Some(1009) | None));
    }
    // What is as long as may be typed is taken, and a byte more is not.
    let (mut page, _) = WebPage::enter(&gateway, token).await;
    page.type_at([7; 16], 0, &vec![b'x'; 64 * 1024 + 1]).await;
    assert_eq!(page.closed().await, (Some(4002), json!("malformed")));
}

#[tokio::test]
async fn more_typing_than_is_kept_closes_the_page() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    // It reads nothing.
    let session = create(&mut owner, "a", "stty raw -echo; echo ready; exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let share = Share::of(session.into()).with_access(Access::ReadWrite);
    let (mut page, _) = WebPage::enter(&gateway, link(&server, share).await).await;
    page.read_to("ready").await;
    let piece = vec![b'x'; 64 * 1024];
    for at in 0..40 {
        let message = [&[7; 16][..], &(at * piece.len() as u64).to_le_bytes(), &piece].concat();
        if soon(page.socket.send(Message::binary(message))).await.is_err() {
            break;
        }
    }
    let (code, error) = page.closed().await;
    assert!(matches!(code, Some(4002) | None), "{code:?}");
    assert!(error == json!("full") || error == Value::Null, "{error}");
}
