use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::*;
use crate::{
    client::Client,
    message::ClientMessage,
    wire::{self, Hello},
};

/// The request id that makes a task panic as it looks at it: in the reader a ping's, in the writer a detach's. Drawn
/// again for each process, so that no test of any bytes comes upon it.
static PANIC: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("panic"));

pub(super) fn panic_if_asked(id: u64) {
    assert_ne!(id, *PANIC, "asked to by a test");
}

#[tokio::test]
async fn a_panic_in_either_task_ends_its_connection_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::builder(directory.path().join("fugue/server.sock")).bind().unwrap();
    let (socket, clients) = (server.socket().to_owned(), server.clients());
    let serving = tokio::spawn(server.serve(std::future::pending()));
    let mut bystander = Client::connect(&socket).await.unwrap();

    for request in [ClientMessage::Ping, ClientMessage::Detach] {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&Hello::encode()).await.unwrap();
        let mut welcome = [0; wire::HEADER_LEN + 25];
        stream.read_exact(&mut welcome).await.unwrap();
        assert_eq!(clients.count(), 2);

        stream.write_all(&wire::encode_request(*PANIC, &request).unwrap()).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut Vec::new())).await;
        assert_eq!(end.unwrap().unwrap(), 0, "{request:?}");
        // The registration goes as the task's stack unwinds, in which the socket goes first.
        while clients.count() > 1 {
            tokio::task::yield_now().await;
        }
    }
    bystander.request(&ClientMessage::Ping).await.unwrap();
    serving.abort();
}

#[tokio::test]
#[cfg(debug_assertions)]
#[should_panic(expected = "lock order")]
async fn nothing_is_locked_under_the_list_of_clients() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::builder(directory.path().join("fugue/server.sock")).bind().unwrap();
    server.shared.clients.with_all(|| server.shared.registry.session_count());
}
