//! What an embedder sees: settings that arrive, a registry to speak through, errors that name the setting.

use std::sync::Arc;

use fugue_server::{
    ClientId, Server, ServerError, ServerMessage,
    client::{ClientError, Incoming},
    message::{CloseReason, Event},
};
use tokio::sync::mpsc;

use crate::support::*;

#[tokio::test]
async fn the_shard_count_reaches_the_registry() {
    for shards in [1, 2, 64] {
        let server = TestServer::with(|server| server.shards(shards));
        assert_eq!(server.registry.shard_count(), shards);
        assert_eq!(server.registry.stats().clients_per_shard.len(), shards);
    }
}

#[tokio::test]
async fn settings_out_of_bounds_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let builder = || Server::builder(directory.path().join("s"));
    assert!(matches!(builder().shards(3).bind(), Err(ServerError::Shards(_))));
    for (builder, name) in [
        (builder().queue_depth(0), "queue depth is 0"),
        (builder().history_bytes(1), "history size in bytes is 1"),
        (builder().max_clients(0), "most clients is 0"),
    ] {
        let error = builder.bind().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    assert!(!directory.path().join("s").exists());
}

#[tokio::test]
async fn an_embedder_speaks_to_connections_through_the_registry() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.client().await, server.client().await);
    let session = create(&mut a, "room", "exec sleep 1000").await.id;
    attached(&mut b, &attach("room", LOSSLESS)).await;
    let notice = |text: &str| Arc::new(ServerMessage::Notice { text: text.to_owned() });
    async fn next(client: &mut fugue_server::Client) -> Incoming {
        soon(client.next()).await.unwrap()
    }

    assert_eq!(server.registry.broadcast_to_all(notice("to all")).sent, 2);
    assert_eq!(next(&mut a).await, Incoming::Event(Event::Notice("to all".into())));
    assert_eq!(next(&mut b).await, Incoming::Event(Event::Notice("to all".into())));
    assert_eq!(server.registry.broadcast_to_session(session, notice("to the room")).sent, 1);
    assert_eq!(next(&mut b).await, Incoming::Event(Event::Notice("to the room".into())));
    server.registry.send_to_client(a.id(), notice("to a")).unwrap();
    assert_eq!(next(&mut a).await, Incoming::Event(Event::Notice("to a".into())));
}

#[tokio::test]
async fn a_client_that_the_embedder_unregisters_is_told_so() {
    let server = TestServer::start();
    let (mut idle, mut watching) = (server.client().await, server.client().await);
    let session =
        attached(&mut watching, &shell("a", "read go; echo gone; read end", Some(LOSSLESS))).await.session;
    for client in [&idle, &watching] {
        server.registry.unregister_client(client.id()).unwrap();
    }
    assert_unregistered(&mut idle).await;
    // The session's publisher lets go of the queue when it next broadcasts.
    let mut other = server.client().await;
    soon(other.request(&input(session, "\n"))).await.unwrap();
    assert_unregistered(&mut watching).await;
}

async fn assert_unregistered(client: &mut fugue_server::Client) {
    loop {
        match soon(client.next()).await {
            Ok(_) => {}
            Err(ClientError::Closed(CloseReason::Unregistered)) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_embedders_own_client_receives_what_a_session_prints() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let session = create(&mut client, "a", "read go; printf printed").await.id;
    let (sender, mut queue) = mpsc::channel(64);
    server.registry.register_client(ClientId(u64::MAX), sender).unwrap();
    server.registry.attach_to_session(ClientId(u64::MAX), session).unwrap();
    soon(client.request(&input(session, "\n"))).await.unwrap();
    let mut seen = Transcript::default();
    loop {
        let message: Arc<ServerMessage> = soon(queue.recv()).await.unwrap();
        match &*message {
            ServerMessage::Output { session: of, offset, data } => {
                assert_eq!((*of, *offset), (session, seen.end()));
                seen.bytes.extend_from_slice(data);
            }
            ServerMessage::Ended { session: of } => break assert_eq!(*of, session),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.bytes.ends_with(b"printed"));
}
