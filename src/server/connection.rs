//! One connection: the handshake, then a reader and a writer as tasks of their own, until either ends.
//!
//! Whatever ends it (a goodbye, the end of the stream, garbage, a panic), the client's guard takes it out of the
//! registry when it drops, and a token's guard ends the other task.

use std::sync::Arc;

use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, mpsc},
};
use tracing::debug;

use super::{
    ServerState,
    clients::{Connection, ListingGuard},
    router::{Router, WriterGone},
    writer::{Command, Writer},
};
use crate::{
    message::{CloseReason, RequestError},
    session::{ClientStatus, Follower},
    wire::{self, Frame, FrameReader, Hello, HelloReply, Kind, Side, WireError},
};

/// Replies and commands that may wait for the writer. A client that sends requests and reads no replies stops being
/// read when these are used up.
const COMMANDS: usize = 32;

type Frames = FrameReader<OwnedReadHalf>;

/// Serves one connection until it ends. Its place among the server's clients is given back then.
///
/// Most clients are idle most of the time, and what they await then is all that this future has room for: whatever is
/// rare or soon over is boxed, here and in the writer.
pub(super) async fn run(shared: Arc<ServerState>, stream: UnixStream, _place: OwnedSemaphorePermit) {
    // Asked now, because another process may have its number later.
    let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let (read, mut write) = stream.into_split();
    // A frame that is never finished is a client that does not go on, as one that takes nothing is.
    let mut frames = FrameReader::new(read, Side::Client).stall_timeout(shared.timing.close);
    let greeted = Box::pin(greet(&shared, &mut frames)).await;
    if let Err(why) = greeted {
        debug!(why, "handshake refused");
        return Box::pin(refuse(&shared, &mut write, why)).await;
    }

    let client = shared.registry.next_client_id();
    let (sender, queue) = mpsc::channel(shared.queue_depth);
    let Ok(_registered) = shared.registry.register_guarded(client, sender) else {
        debug_assert!(false, "an id was handed out twice");
        return;
    };
    shared.counters.connected();

    let cancel = shared.abort.child_token();
    let (commands, queued) = mpsc::channel(COMMANDS);
    let welcome = Command::Frame(HelloReply::Welcome { client }.encode());
    if commands.try_send(welcome.into()).is_err() {
        return;
    }
    let status = Arc::new(ClientStatus::new(client));
    let connection =
        Connection { status: Arc::clone(&status), writer: commands.clone(), cancel: cancel.clone() };
    let _listed = ListingGuard::new(&shared, client, connection);
    let registry = shared.registry.clone();
    let follower = Follower::new(client, registry, Arc::clone(&status), queue, shared.queue_depth);
    let mut writer = Writer::new(Arc::clone(&shared), follower, write, queued, cancel.clone());
    let ends_with_writer = cancel.clone().drop_guard();
    let writer = tokio::spawn(async move {
        let _guard = ends_with_writer;
        writer.run().await;
    });

    let ends_with_reader = cancel.clone().drop_guard();
    let mut router = Router::new(Arc::clone(&shared), (client, process), status, commands.clone());
    let malformed = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        malformed = read_requests(&mut frames, &mut router) => malformed,
    };
    match malformed {
        // The writer says why and ends; nothing more is read.
        Some(why) => {
            let close = Command::Close(CloseReason::Malformed(why));
            // An error says that the writer has ended.
            let _ = Box::pin(commands.send(close.into())).await;
        }
        None => drop(ends_with_reader),
    }
    // A panic in it was reported by the runtime; the connection is over either way.
    let _ = writer.await;
}

/// Sees a client in, in time; or says why not.
async fn greet(shared: &ServerState, frames: &mut Frames) -> Result<(), String> {
    tokio::select! {
        biased;
        () = shared.closing.cancelled() => Err("the server is shutting down".to_owned()),
        greeted = tokio::time::timeout(shared.handshake_timeout, handshake(frames)) => {
            greeted.unwrap_or_else(|_| Err("no hello arrived in time".to_owned()))
        }
    }
}

/// Says why a client is not let in. Best effort: what did not send a hello may not read the answer either.
async fn refuse(shared: &ServerState, write: &mut OwnedWriteHalf, why: String) {
    let _ = tokio::time::timeout(shared.handshake_timeout, write.write_all(&refusal(why))).await;
}

/// Waits for a hello of our version; says what is wrong with any other.
async fn handshake(frames: &mut Frames) -> Result<(), String> {
    let not_a_client = || "expected a fugue-server client hello".to_owned();
    let hello = match frames.next().await {
        Ok(Some(Frame { kind: Kind::Hello, payload, .. })) => Hello::decode(&payload),
        _ => return Err(not_a_client()),
    };
    match hello {
        Ok(Hello { version: wire::VERSION }) => Ok(()),
        Ok(Hello { version }) => Err(format!(
            "the client speaks protocol version {version} and this server version {}; use the client of the \
             server's version, or end the server and start it again",
            wire::VERSION
        )),
        Err(_) => Err(not_a_client()),
    }
}

/// A hello reply that refuses.
pub(super) fn refusal(why: String) -> bytes::Bytes {
    HelloReply::Refused { version: wire::VERSION, why }.encode()
}

/// Reads requests until the client is gone (`None`), or sends what can't be understood.
async fn read_requests(frames: &mut Frames, router: &mut Router) -> Option<String> {
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return None,
            Err(error @ (WireError::Io(_) | WireError::Cut)) => {
                debug!(%error, "connection lost");
                return None;
            }
            Err(error) => return Some(error.to_string()),
        };
        if frame.kind == Kind::Hello {
            return Some("a second hello".to_owned());
        }
        let routed = Box::pin(async {
            match wire::decode_request(&frame) {
                Ok(request) => router.route(frame.a, request).await,
                // The frame was whole, so the stream is still in step: only this request is refused.
                Err(error) => router.answer(frame.a, Err(RequestError::Malformed(error.to_string()))).await,
            }
        })
        .await;
        if let Err(WriterGone) = routed {
            return None;
        }
    }
}
