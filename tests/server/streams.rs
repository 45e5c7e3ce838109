//! Clients over streams that are no sockets.

use fugue_server::{
    Client, Clients,
    client::{ClientError, ConnectError},
    message::{CloseReason, ExitStatus},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::support::*;

/// A stream of this much room to a server.
fn stream_to(clients: &Clients, room: usize) -> DuplexStream {
    let (near, far) = duplex(room);
    let clients = clients.clone();
    tokio::spawn(async move { clients.serve_connection(far).await });
    near
}

async fn client_of(server: &TestServer, room: usize) -> Client {
    soon(Client::from_stream(stream_to(&server.clients, room))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_a_stream_arrives_exactly() {
    let server = TestServer::start();
    // The smallest room cuts every frame, the largest takes the whole flood.
    for (room, name) in [(1, "a"), (1000, "b"), (16 * 1024 * 1024, "c")] {
        let lines = if room == 1 { 3_000 } else { 200_000 };
        let mut client = client_of(&server, room).await;
        assert_eq!(server.clients.count(), 1);
        let script = format!("seq 1 {lines}; exit 3");
        let to = attached(&mut client, &shell(name, &script, Some(LOSSLESS))).await;
        let (printed, status) = transcript(&mut client, to.start).await;
        let all: String = (1..=lines).map(|number| format!("{number}\r\n")).collect();
        assert!(printed == all.as_bytes(), "{} of {} bytes over {room}", printed.len(), all.len());
        assert_eq!(status, ExitStatus::Code(3));
        drop(client);
        eventually("it is gone", || server.clients.count() == 0).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_in_a_flood_ends_its_client_and_no_other() {
    let server = TestServer::start();
    let mut other = server.client().await;
    let mut client = client_of(&server, 4096).await;
    let view = LOSSLESS.with_size(None);
    let session = attached(&mut client, &shell("a", "yes", Some(view))).await.session;
    let mut seen = Transcript::from(0);
    seen.read_until(&mut client, |bytes| bytes.len() > 100_000).await;
    drop(client);
    eventually("it is gone", || server.clients.count() == 1).await;
    assert!(server.clients.watching(session).is_empty());
    soon(other.kill(named("a"))).await.unwrap();
}

#[tokio::test]
async fn what_serves_a_stream_ends_with_it_and_ends_it_when_dropped() {
    let server = TestServer::start();
    let (near, far) = duplex(4096);
    let serve = |far| {
        let clients = server.clients.clone();
        tokio::spawn(async move { clients.serve_connection(far).await })
    };
    let serving = serve(far);
    let client = soon(Client::from_stream(near)).await.unwrap();
    drop(client);
    soon(serving).await.unwrap();

    let (near, far) = duplex(4096);
    let serving = serve(far);
    let mut client = soon(Client::from_stream(near)).await.unwrap();
    serving.abort();
    assert!(matches!(soon(client.next()).await, Err(ClientError::Lost)));
    eventually("it is gone", || server.clients.count() == 0).await;
}

#[tokio::test]
async fn streams_count_against_the_limit_of_clients() {
    let server = TestServer::with(|server| server.max_clients(2));
    let first = client_of(&server, 4096).await;
    let _second = server.client().await;
    for refused in [
        soon(Client::from_stream(stream_to(&server.clients, 4096))).await,
        soon(Client::connect(&server.socket)).await,
    ] {
        let Err(ConnectError::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("2 clients, which is its limit"), "{why}");
    }
    drop(first);
    eventually("it is gone", || server.clients.count() == 1).await;
    let mut third = client_of(&server, 4096).await;
    soon(third.ping()).await.unwrap();
    assert!(server.clients.disconnect(third.id()));
    assert!(matches!(soon(third.next()).await, Err(ClientError::Closed(CloseReason::Disconnected))));
}

#[tokio::test]
async fn a_shutdown_gives_streams_what_was_printed_and_ends_in_time() {
    let mut server = TestServer::start();
    let mut client = client_of(&server, 1000).await;
    let mut deaf = client_of(&server, 1000).await;
    // It says a hello and no more, and would be waited for as long as it likes.
    let mut silent = stream_to(&server.clients, 1000);
    silent.write_all(&fugue_server::wire::Hello::encode()).await.unwrap();
    let script = "seq 1 20000; exec sleep 1000";
    let to = attached(&mut client, &shell("a", script, Some(LOSSLESS))).await;
    attached(&mut deaf, &attach("a", FROM_OLDEST)).await;
    let mut seen = Transcript::from(to.start);
    seen.read_to(&mut client, "\r\n20000\r\n").await;
    let reading = async {
        let closed = soon(client.next()).await;
        assert!(matches!(closed, Err(ClientError::Closed(CloseReason::ShuttingDown))), "{closed:?}");
    };
    let (stopped, ()) = tokio::join!(soon(server.stop()), reading);
    stopped.unwrap();
    let mut rest = Vec::new();
    soon(silent.read_to_end(&mut rest)).await.unwrap();
    // Nobody is let in any more.
    let late = soon(Client::from_stream(stream_to(&server.clients, 1000))).await;
    assert!(matches!(&late, Err(ConnectError::Refused(why)) if why.contains("shutting down")), "{late:?}");
}
