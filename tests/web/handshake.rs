//! Who is let in, and for how long.

use fugue_server::{
    TerminalSize,
    message::{Access, LinkToken, Share, UnshareWhich, ViewerId},
};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{gateway::*, support::*};

/// A program that prints each line it reads, in brackets.
const ECHO: &str = "stty -echo; echo ready; while read line; do echo \"[$line]\"; done";

#[tokio::test]
async fn a_link_shows_its_session_and_what_it_prints() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "build", ECHO).await.id;
    let gateway = Gateway::start(&server);
    let (mut page, welcome) = WebPage::enter(&gateway, link_to(&server, session).await).await;
    assert_eq!(welcome["scope"], "session");
    assert_eq!(welcome["access"], "read-only");
    assert_eq!(welcome["session"]["id"], session.to_string());
    assert_eq!(welcome["session"]["name"], "build");
    let attached = page.text("attached").await;
    assert_eq!(attached["session"], session.to_string());
    let size = TerminalSize::DEFAULT;
    assert_eq!((&attached["columns"], &attached["rows"]), (&json!(size.cols()), &json!(size.rows())));
    assert_eq!(attached["resumed"], false);
    soon(owner.input(session, "one\n")).await.unwrap();
    page.read_to("[one]").await;
    // It is told of the end, and not to come back.
    soon(owner.kill(session)).await.unwrap();
    assert_eq!(page.text("ended").await["text"], "killed by SIGHUP");
    assert_eq!(page.closed().await, (Some(4004), Value::Null));
}

#[tokio::test]
async fn links_that_are_not_valid_let_nobody_in() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let used = link(&server, Share::of(session.into()).with_uses(Some(1))).await;
    let revoked = link_to(&server, session).await;
    soon(owner.unshare(UnshareWhich::All)).await.unwrap();
    let once = link(&server, Share::of(session.into()).with_uses(Some(1))).await;
    let first = ViewerId::random();
    WebPage::enter_as(&gateway, once, first, json!({})).await;
    for token in [LinkToken::random(), used, revoked, once] {
        let mut page = WebPage::open(&gateway).await;
        page.hello(token, ViewerId::random(), json!({})).await;
        assert_eq!(page.closed().await, (Some(4001), json!("link")));
    }
    // Who was let in before is let in again.
    WebPage::enter_as(&gateway, once, first, json!({})).await;
}

#[tokio::test]
async fn pages_that_say_no_hello_are_closed() {
    let server = TestServer::start();
    let gateway = Gateway::start(&server);
    for message in [
        Message::text("{}"),
        Message::text(r#"{"type":"ping"}"#),
        Message::text(r#"{"type":"hello","token":"short","viewer":"0"}"#),
        Message::binary(vec![1; 40]),
    ] {
        let mut page = WebPage::open(&gateway).await;
        soon(page.socket.send(message)).await.unwrap();
        assert_eq!(page.closed().await, (Some(4002), json!("malformed")));
    }
    // One that says nothing at all.
    let mut page = WebPage::open(&gateway).await;
    assert_eq!(page.closed().await, (Some(4002), json!("malformed")));
}

#[tokio::test]
async fn a_revoked_link_closes_its_pages_even_those_that_take_nothing() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec yes").await.id;
    let gateway = Gateway::start(&server);
    let token = link_to(&server, session).await;
    let mut pages = Vec::new();
    for acknowledges in [true, false] {
        let (mut page, _) = WebPage::enter(&gateway, token).await;
        page.acknowledges = acknowledges;
        while page.received < 64 * 1024 {
            page.next().await;
        }
        pages.push(page);
    }
    let unshared = soon(owner.unshare(UnshareWhich::All)).await.unwrap();
    assert_eq!((unshared.links, unshared.viewers), (1, 2));
    for page in &mut pages {
        assert_eq!(page.closed().await, (Some(4003), json!("link")));
    }
    let mut page = WebPage::open(&gateway).await;
    page.hello(token, ViewerId::random(), json!({})).await;
    assert_eq!(page.closed().await, (Some(4001), json!("link")));
}

#[tokio::test]
async fn a_link_that_expires_closes_its_pages() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let token = link(&server, Share::of(session.into()).with_lifetime_seconds(Some(2))).await;
    let (mut page, _) = WebPage::enter(&gateway, token).await;
    assert_eq!(page.closed().await, (Some(4003), json!("link")));
}

#[tokio::test]
async fn a_page_that_may_only_watch_types_and_sizes_nothing() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", ECHO).await.id;
    let gateway = Gateway::start(&server);
    let (mut page, _) = WebPage::enter(&gateway, link_to(&server, session).await).await;
    page.read_to("ready").await;
    page.type_at([7; 16], 0, b"typed\n").await;
    assert_eq!(page.text("error").await["code"], "read-only");
    page.say(json!({"type": "claim", "columns": 40, "rows": 10})).await;
    assert_eq!(page.text("error").await["code"], "read-only");
    for message in [
        json!({"type": "kill", "session": session.to_string()}),
        json!({"type": "open", "session": session.to_string()}),
        json!({"type": "new", "name": "b", "command": ["sh"]}),
        json!({"type": "list"}),
    ] {
        page.say(message).await;
        assert_eq!(page.text("error").await["code"], "restricted");
    }
    soon(owner.input(session, "after\n")).await.unwrap();
    assert!(!contains(&page.read_to("[after]").await, b"typed"));
    let info = soon(owner.find(session)).await.unwrap();
    assert_eq!(info.size, TerminalSize::DEFAULT);
}

#[tokio::test]
async fn a_page_that_may_type_types_and_fits_the_session_to_itself() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", ECHO).await.id;
    let gateway = Gateway::start(&server);
    let share = Share::of(session.into()).with_access(Access::ReadWrite);
    let (mut page, welcome) = WebPage::enter(&gateway, link(&server, share).await).await;
    assert_eq!(welcome["access"], "read-write");
    page.read_to("ready").await;
    page.type_at([7; 16], 0, b"ty").await;
    page.type_at([7; 16], 2, b"ped\n").await;
    page.read_to("[typed]").await;
    page.say(json!({"type": "claim", "columns": 40, "rows": 10})).await;
    let attached = page.text("attached").await;
    assert_eq!((&attached["columns"], &attached["rows"]), (&json!(40), &json!(10)));
    assert_eq!(attached["resumed"], true);
    let size = TerminalSize::new(40, 10).unwrap();
    assert_eq!(soon(owner.find(session)).await.unwrap().size, size);
    // Somebody else sizes it: the page follows that.
    let mut other = Viewer::sized(&server, "a", (90, 30), Access::ReadWrite).await;
    let attached = page.text("attached").await;
    assert_eq!((&attached["columns"], &attached["rows"]), (&json!(90), &json!(30)));
    soon(owner.input(session, "last\n")).await.unwrap();
    page.read_to("[last]").await;
    other.run_until_shown("[last]").await;
}
