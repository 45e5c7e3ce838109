//! The owner's page: all sessions, and what is done with them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use fugue_server::message::{Access, Share, ViewerId};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{gateway::*, support::*};

async fn owners_page(server: &TestServer, gateway: &Gateway, access: Access) -> WebPage {
    let token = link(server, Share::of_all().with_access(access)).await;
    let index = json!({"view": "index"});
    let (page, welcome) = WebPage::enter_as(gateway, token, ViewerId::random(), index).await;
    assert_eq!((&welcome["scope"], &welcome["session"]), (&json!("all"), &Value::Null));
    page
}

/// The sessions by their names, once this holds of them.
async fn listed(page: &mut WebPage, enough: impl Fn(&[&Value]) -> bool) -> Value {
    loop {
        let list = page.text("sessions").await;
        if enough(&list["sessions"].as_array().unwrap().iter().collect::<Vec<_>>()) {
            return list["sessions"].clone();
        }
    }
}

fn has(sessions: &[&Value], name: &str) -> bool {
    sessions.iter().any(|session| session["name"] == name && session["state"] == "running")
}

#[tokio::test]
async fn the_owners_page_shows_starts_opens_and_ends_sessions() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "build", "echo shown; exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let mut page = owners_page(&server, &gateway, Access::ReadWrite).await;
    let list = listed(&mut page, |sessions| has(sessions, "build")).await;
    assert_eq!(list[0]["id"], session.to_string());
    // A picture is what the session shows.
    page.say(json!({"type": "watch", "sessions": [session.to_string()]})).await;
    let mut screen = vt100::Parser::new(24, 80, 0);
    while !screen.screen().contents().contains("shown") {
        let picture = page.text("thumbnail").await;
        assert_eq!((&picture["columns"], &picture["rows"]), (&json!(80), &json!(24)));
        screen.process(&STANDARD.decode(picture["drawing"].as_str().unwrap()).unwrap());
    }
    // Another one is started, and typed into.
    page.say(json!({"type": "new", "name": "second", "command": ["/bin/sh", "-c", "read line; echo \"[$line]\"; exec sleep 1000"]})).await;
    let second = page.text("created").await["session"].clone();
    listed(&mut page, |sessions| has(sessions, "second")).await;
    // One without a name gets one that is free.
    for name in ["sleep", "sleep-2"] {
        page.say(json!({"type": "new", "name": null, "command": ["sleep", "1000"]})).await;
        page.text("created").await;
        listed(&mut page, |sessions| has(sessions, name)).await;
    }
    page.say(json!({"type": "open", "session": second})).await;
    assert_eq!(page.text("attached").await["session"], second);
    page.type_at([5; 16], 0, b"typed\n").await;
    page.read_to("[typed]").await;
    // Back, and to the other one.
    page.say(json!({"type": "close"})).await;
    page.text("sessions").await;
    page.say(json!({"type": "open", "session": session.to_string()})).await;
    page.text("attached").await;
    page.read_to("shown").await;
    page.say(json!({"type": "close"})).await;
    page.say(json!({"type": "kill", "session": second})).await;
    listed(&mut page, |sessions| !has(sessions, "second") && has(sessions, "build")).await;
    // What can't be is said, and the page goes on.
    page.say(json!({"type": "new", "name": "no name at all", "command": []})).await;
    assert_eq!(page.text("error").await["code"], "server");
    page.say(json!({"type": "new", "name": "build", "command": ["sh"]})).await;
    assert_eq!(page.text("error").await["code"], "server");
    page.say(json!({"type": "ping"})).await;
    page.text("pong").await;
}

#[tokio::test]
async fn an_owners_page_for_watching_starts_and_ends_nothing() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec sleep 1000").await.id;
    let gateway = Gateway::start(&server);
    let mut page = owners_page(&server, &gateway, Access::ReadOnly).await;
    for message in [
        json!({"type": "kill", "session": session.to_string()}),
        json!({"type": "new", "name": "b", "command": ["sh"]}),
    ] {
        page.say(message).await;
        assert_eq!(page.text("error").await["code"], "read-only");
    }
    page.say(json!({"type": "open", "session": session.to_string()})).await;
    page.text("attached").await;
    page.type_at([5; 16], 0, b"typed\n").await;
    assert_eq!(page.text("error").await["code"], "read-only");
    let names: Vec<_> = sessions(&mut owner).await.into_iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn pictures_come_once_a_second_however_much_is_printed() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let session = create(&mut owner, "a", "exec yes").await.id;
    let gateway = Gateway::start(&server);
    let mut page = owners_page(&server, &gateway, Access::ReadOnly).await;
    page.say(json!({"type": "watch", "sessions": [session.to_string()]})).await;
    page.text("thumbnail").await;
    let begun = Instant::now();
    for _ in 0..3 {
        page.text("thumbnail").await;
    }
    // Three seconds, less what the first was late.
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    // One that is no longer visible is not drawn again.
    page.say(json!({"type": "watch", "sessions": []})).await;
    page.say(json!({"type": "ping"})).await;
    page.text("pong").await;
    let mut lists = 0;
    while lists < 2 {
        match page.next().await {
            Told::Text(value) if value["type"] == "sessions" => lists += 1,
            Told::Text(value) => assert_ne!(value["type"], "thumbnail"),
            other => panic!("{other:?}"),
        }
    }
}
