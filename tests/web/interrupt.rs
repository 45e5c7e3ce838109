//! A page on a slow line that interrupts a flood: what it is sent before the answer, in bytes.

use fugue_server::{
    Client, SessionId,
    message::{Access, Share},
};
use serde_json::json;

use crate::{gateway::*, support::*};

/// What is in flight to a page that acknowledges nothing.
const WINDOW: u64 = 64 * 1024;

/// More than a screen of 80 by 24 takes.
const SCREEN: u64 = 16 * 1024;

const STREAM: [u8; 16] = [5; 16];

struct Flooded {
    page: WebPage,
    session: SessionId,
    /// What the page was sent of the flood.
    came: Vec<u8>,
    _gateway: Gateway,
}

/// A page that has told the program to flood and takes nothing more, so that all on the way to it is full.
async fn flooded(server: &TestServer, owner: &mut Client, script: &str) -> Flooded {
    let session = create(owner, "a", script).await.id;
    let gateway = Gateway::start(server);
    let token = link(server, Share::of(session.into()).with_access(Access::ReadWrite)).await;
    let (mut page, _) = WebPage::enter(&gateway, token).await;
    page.read_to("ready").await;
    page.acknowledges = false;
    // What it has acknowledged is not in flight.
    page.type_at(STREAM, 0, b"\n").await;
    let mut came = Vec::new();
    while (came.len() as u64) < WINDOW {
        if let Told::Binary(0, _, bytes) = page.next().await {
            came.extend(bytes);
        }
    }
    // Nobody reads, so the program stands still with a window of output unsent.
    while sessions(owner).await[0].printed < 1 << 20 {}
    Flooded { page, session, came, _gateway: gateway }
}

/// Waits until the gateway has read what is there for it: its task for a page takes turns with both ends.
async fn answered_often(page: &mut WebPage) {
    for _ in 0..200 {
        page.say(json!({"type": "ping"})).await;
        page.text("pong").await;
    }
}

/// Acknowledges all that came, and all that comes.
async fn read_on(page: &mut WebPage) {
    page.acknowledges = true;
    page.say(json!({"type": "ack", "received": page.received})).await;
}

#[tokio::test]
async fn an_interrupt_is_answered_behind_no_more_than_what_is_in_flight() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let flood = "trap 'printf the-prompt; exec cat' INT; stty -echo; printf ready; read go; \
                 while :; do echo 'one of very many lines that nobody reads any more'; done";
    let Flooded { mut page, session, _gateway, .. } = flooded(&server, &mut owner, flood).await;
    page.type_at(STREAM, 1, b"\x03").await;
    // The server leaves out what it has not sent, which it gets to only if the gateway reads what it has.
    soon(async {
        loop {
            let stats = stats(&mut owner).await;
            let watching = stats.clients.iter().find(|client| client.session == Some(session)).unwrap();
            if watching.purges == 1 && watching.lag_bytes == 0 {
                return;
            }
        }
    })
    .await;
    let in_flight = page.received;
    answered_often(&mut page).await;
    assert_eq!(page.received, in_flight, "more than the window");
    read_on(&mut page).await;
    page.read_to("the-prompt").await;
    let behind = page.received - in_flight;
    assert!(behind < SCREEN, "the answer came behind {behind} bytes, besides the {WINDOW} in flight");
}

#[tokio::test]
async fn what_interrupts_nothing_leaves_nothing_out_of_a_page() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let script =
        "trap '' INT; stty -isig -echo -opost; printf ready; read go; seq 1 300000; printf end; read end";
    let Flooded { mut page, mut came, _gateway, .. } = flooded(&server, &mut owner, script).await;
    page.type_at(STREAM, 1, b"\x03").await;
    answered_often(&mut page).await;
    read_on(&mut page).await;
    came.extend(page.read_to("300000\nend").await);
    let numbers: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert!(came == format!("{numbers}end").into_bytes(), "{} bytes, not {}", came.len(), numbers.len() + 3);
}
