//! What an embedder sees: settings that arrive, clients to notify and disconnect, errors that name the setting.

use std::time::Duration;

use fugue_server::{
    ClientId, Server, ServerError,
    client::{ClientError, Incoming},
    message::{ClientMessage, CloseReason, Event, ExitStatus, RequestError, Target},
};

use crate::support::*;

#[tokio::test]
async fn the_shard_count_reaches_the_registry() {
    for shards in [1, 2, 64] {
        let server = TestServer::with(|server| server.shards(shards));
        assert_eq!(server.clients.stats().clients_per_shard.len(), shards);
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
async fn an_embedder_notifies_all_clients_those_of_a_session_or_one() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.client().await, server.client().await);
    let session = create(&mut a, "room", "exec sleep 1000").await.id;
    attached(&mut b, &attach("room", LOSSLESS)).await;
    async fn next(client: &mut fugue_server::Client) -> Incoming {
        soon(client.next()).await.unwrap()
    }

    assert_eq!(server.clients.notify_all("to all").sent, 2);
    assert_eq!(next(&mut a).await, Incoming::Event(Event::Notice("to all".into())));
    assert_eq!(next(&mut b).await, Incoming::Event(Event::Notice("to all".into())));
    assert_eq!(server.clients.notify_session(session, "to the room").sent, 1);
    assert_eq!(next(&mut b).await, Incoming::Event(Event::Notice("to the room".into())));
    assert!(server.clients.notify(a.id(), "to a"));
    assert_eq!(next(&mut a).await, Incoming::Event(Event::Notice("to a".into())));
    assert!(!server.clients.notify(ClientId(u64::MAX), "to nobody"));
}

#[tokio::test]
async fn a_client_that_the_embedder_disconnects_is_told_so_at_once() {
    let server = TestServer::start();
    let (mut idle, mut watching) = (server.client().await, server.client().await);
    // It prints nothing, so nothing but the disconnecting itself can wake the writer.
    attached(&mut watching, &shell("a", "exec sleep 1000", Some(LOSSLESS))).await;
    for client in [&mut idle, &mut watching] {
        assert!(server.clients.disconnect(client.id()));
        loop {
            match soon(client.next()).await {
                Ok(_) => {}
                Err(ClientError::Closed(reason)) => break assert_eq!(reason, CloseReason::Disconnected),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    eventually("both are gone", || server.clients.count() == 0).await;
    assert!(!server.clients.disconnect(idle.id()));
}

#[tokio::test]
async fn a_client_that_reads_no_replies_is_disconnected_all_the_same() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let id = client.id();
    // Until the server reads no more of its requests, because nobody takes the replies.
    while tokio::time::timeout(Duration::from_millis(200), client.send(&ClientMessage::Stats)).await.is_ok() {
    }
    assert!(server.clients.disconnect(id));
    eventually("it is gone", || server.clients.count() == 0).await;
}

#[tokio::test]
async fn an_embedder_starts_lists_awaits_and_ends_sessions_without_a_connection() {
    let server = TestServer::start();
    let sessions = &server.sessions;
    let create = |name: &str, script: &str| match shell(name, script, None) {
        ClientMessage::Create(create) => create,
        other => panic!("{other:?}"),
    };
    let started = soon(sessions.create(create("a", "read go; exit 7"))).await.unwrap();
    assert_eq!((started.name.as_str(), started.clients), ("a", 0));
    assert_eq!(sessions.list()[0].id, started.id);
    let taken = soon(sessions.create(create("a", "true"))).await.unwrap_err();
    assert!(matches!(taken, RequestError::NameTaken(_)), "{taken:?}");
    let mut attached = create("b", "true");
    attached.attach = Some(LOSSLESS);
    let refused = soon(sessions.create(attached)).await.unwrap_err();
    assert!(matches!(refused, RequestError::Malformed(_)), "{refused:?}");

    let target = Target::Id(started.id);
    let (ended, typed) = tokio::join!(soon(sessions.ended(&target)), async {
        let mut client = server.client().await;
        soon(client.input(started.id, "\n")).await.unwrap();
    });
    assert_eq!((ended, typed), (Ok(ExitStatus::Code(7)), ()));
    assert_eq!(soon(sessions.ended(&target)).await, Ok(ExitStatus::Code(7)), "it is remembered");
    let name = |name: &str| Target::Name(name.parse().unwrap());
    soon(sessions.create(create("c", "exec sleep 1000"))).await.unwrap();
    assert_eq!(soon(sessions.kill(&name("c"))).await, Ok(ExitStatus::Signal(1)));
    let unknown = soon(sessions.ended(&name("never"))).await.unwrap_err();
    assert!(matches!(unknown, RequestError::UnknownSession(_)), "{unknown:?}");
}
