//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[allow(dead_code, reason = "its main")]
#[path = "../examples/chat.rs"]
mod chat;
#[cfg(feature = "server")]
#[allow(dead_code, reason = "its main")]
#[path = "../examples/embed.rs"]
mod embed;
#[cfg(feature = "server")]
#[allow(dead_code, reason = "its main")]
#[path = "../examples/provide.rs"]
mod provide;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// A person in the chat.
struct Person(BufReader<TcpStream>);

impl Person {
    async fn come(chat: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(chat).await.unwrap()))
    }

    async fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn hears(&mut self) -> String {
        let mut line = String::new();
        timeout(Duration::from_secs(30), self.0.read_line(&mut line)).await.unwrap().unwrap();
        line
    }
}

#[tokio::test]
async fn people_in_a_room_hear_each_other_and_of_departures() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chat = listener.local_addr().unwrap();
    tokio::spawn(chat::serve(listener));
    // Somebody hears what is said once they are in the room, so the first to come is asked until there is an answer.
    let (mut ann, mut bob) = (Person::come(chat).await, Person::come(chat).await);
    ann.say("/join garden").await;
    bob.say("/join garden").await;
    let heard = tokio::select! {
        heard = bob.hears() => heard,
        // Not so often that Bob's queue is full when she leaves.
        () = async { loop { ann.say("hello").await; sleep(Duration::from_millis(20)).await } } => String::new(),
    };
    assert!(heard.ends_with(": hello\n"), "{heard}");
    drop(ann);
    let mut last = heard;
    while last.ends_with(": hello\n") || last.starts_with('*') {
        last = bob.hears().await;
    }
    assert!(last.ends_with(": has left\n"), "{last}");
}

#[cfg(feature = "server")]
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_shows_its_client_the_whole_countdown() {
    assert_eq!(embed::run().await.unwrap(), "3\r\n2\r\n1\r\n");
}

#[cfg(feature = "server")]
#[tokio::test(flavor = "multi_thread")]
async fn a_provided_file_is_a_session_that_shows_all_of_it() {
    use fugue_server::{
        Client, Server,
        client::Incoming,
        message::{AttachOptions, Event, OnLag, StartAt},
    };

    let directory = tempfile::tempdir().unwrap();
    let (socket, path) = (directory.path().join("fugue/server.sock"), directory.path().join("build.log"));
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let server = Server::builder(&socket).bind().unwrap();
    tokio::spawn(server.serve(std::future::pending()));
    // Nothing here is sent to another thread.
    provide::provide(&socket, &path, None).await.unwrap();
    let mut client = Client::connect(&socket).await.unwrap();
    let options = AttachOptions::new(StartAt::Oldest, OnLag::Lossless);
    let name: fugue_server::SessionName = "build.log".parse().unwrap();
    client.attach(name, options).await.unwrap();
    let mut shown = Vec::new();
    loop {
        match timeout(Duration::from_secs(30), client.next()).await.unwrap().unwrap() {
            Incoming::Output { data, .. } => shown.extend_from_slice(&data),
            Incoming::Event(Event::Ended { .. }) => break,
            _ => {}
        }
    }
    assert_eq!(shown, b"one\ntwo\n");
}
