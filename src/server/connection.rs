//! One connection: the handshake, then a reader and a writer, in one task, until either ends.
//!
//! Whatever ends it (a goodbye, the end of the stream, garbage, a panic), guards take the client out of the registry
//! and the table when the task's future drops.

use std::{future::pending, sync::Arc};

use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{ReadHalf, WriteHalf},
    },
    sync::mpsc,
    time::timeout,
};
use tracing::debug;

use super::{
    ServerState,
    clients::ListingGuard,
    command::Command,
    descriptors::ConnectionPlace,
    link::{Closed, Link},
    router::Router,
    writer::Writer,
};
use crate::{
    message::{CloseReason, Relay, RequestError},
    session::{ClientStatus, Follower},
    wire::{self, Frame, FrameReader, Hello, HelloReply, Kind, Side, WireError},
};

type Frames<'a> = FrameReader<ReadHalf<'a>>;

/// Serves one connection until it ends. Its place among the server's clients is given back then. `process` is its
/// client's, where that is known.
///
/// Most clients are idle most of the time, and what they await then is all that this future has room for: whatever is
/// rare or soon over is boxed, here and in the writer.
#[expect(clippy::manual_async_fn, reason = "an async function has room for each of its arguments twice")]
pub(super) fn run(
    shared: Arc<ServerState>,
    mut stream: UnixStream,
    process: Option<i32>,
    place: ConnectionPlace,
) -> impl Future<Output = ()> {
    async move {
        let _ = &place;
        let (read, mut write) = stream.split();
        // A frame that is never finished is a client that does not go on, as one that takes nothing is.
        let mut frames = FrameReader::new(read, Side::Client).stall_timeout(shared.timing.close);
        let Some(Greeted { version, features, relay }) =
            Box::pin(see_in(&shared, &mut frames, &mut write)).await
        else {
            return;
        };

        let client = shared.registry.next_client_id();
        let queue_depth = shared.live.queue_depth();
        let (sender, queue) = mpsc::channel(queue_depth);
        let Ok(_registered) = shared.registry.register_guarded(client, sender) else {
            debug_assert!(false, "an id was handed out twice");
            return;
        };
        shared.counters.connected();

        let link = Arc::new(Link::new(ClientStatus::new(client, process), features));
        let follower = Follower::new(client, shared.registry.clone(), link.status(), queue, queue_depth);
        let _listed = ListingGuard::new(&shared, client, &link);
        let mut router = Router::new(Arc::clone(&shared), (client, process, relay), Arc::clone(&link));
        let mut writer = Writer::new(&shared, follower, write.as_ref(), &link);
        writer.welcome(version, client);
        tokio::select! {
            biased;
            () = link.cancelled() => {}
            // First, because a client that sends one request after another must not keep it from its turn.
            () = writer.run() => {}
            () = read_requests(&mut frames, &mut router, &link) => {}
        }
    }
}

/// A client that said hello.
struct Greeted {
    /// The version to speak with it.
    version: u16,
    /// What it can do beyond, a bit each.
    features: u64,
    /// What its relay said of it, if it came by one.
    relay: Option<Box<Relay>>,
}

/// Sees a client in, in time; or says why not. Best effort: what did not send a hello may not read the answer either.
async fn see_in(shared: &ServerState, frames: &mut Frames<'_>, write: &mut WriteHalf<'_>) -> Option<Greeted> {
    let greeted = tokio::select! {
        biased;
        () = shared.closing.cancelled() => Err("the server is shutting down".to_owned()),
        greeted = timeout(shared.handshake_timeout, handshake(frames)) => {
            greeted.unwrap_or_else(|_| Err("no hello arrived in time".to_owned()))
        }
    };
    let why = match greeted {
        Ok(seen_in) => return Some(seen_in),
        Err(why) => why,
    };
    debug!(why, "handshake refused");
    let _ = timeout(shared.handshake_timeout, write.write_all(&refusal(why))).await;
    None
}

/// Waits for a hello of a version that we speak, too; says what is wrong with any other. A relay may speak once before
/// that.
async fn handshake(frames: &mut Frames<'_>) -> Result<Greeted, String> {
    let not_a_client = || "expected a fugue-server client hello".to_owned();
    let (mut first, mut relay) = (frames.next().await, None);
    if let Ok(Some(Frame { kind: Kind::Relay, payload, .. })) = &first {
        relay = Some(Box::new(wire::decode_relay(payload).map_err(|error| error.to_string())?));
        first = frames.next().await;
    }
    let hello = match first {
        Ok(Some(Frame { kind: Kind::Hello, payload, .. })) => Hello::decode(&payload),
        _ => return Err(not_a_client()),
    };
    let hello = hello.map_err(|_| not_a_client())?;
    let agreed = hello.agreed().map(|version| Greeted { version, features: hello.features, relay });
    agreed.ok_or_else(|| {
        format!(
            "the client speaks protocol version {} and this server version {}; use the client of the server's version, or \
             end the server and start it again",
            hello.version,
            wire::VERSION
        )
    })
}

/// A hello reply that refuses.
pub(super) fn refusal(why: String) -> bytes::Bytes {
    HelloReply::Refused { version: wire::VERSION, why }.encode()
}

/// Reads requests until the client is gone. At what can't be understood the writer says why, and ends.
async fn read_requests(frames: &mut Frames<'_>, router: &mut Router, link: &Link) {
    loop {
        let read = frames.next().await;
        let routed = match request(read) {
            Ok(frame) => Box::pin(route(frame, router)),
            Err(None) => return,
            Err(Some(why)) => {
                let closing = Box::pin(close_malformed(link, why));
                return closing.await;
            }
        };
        if let Err(Closed) = routed.await {
            return;
        }
    }
}

/// A request's frame, of what was read. Otherwise the client is gone (`None`), or this is why there can be no further.
fn request(read: Result<Option<Frame>, WireError>) -> Result<Frame, Option<String>> {
    match read {
        Ok(Some(frame)) if frame.kind == Kind::Hello => Err(Some("a second hello".to_owned())),
        Ok(Some(frame)) if frame.kind == Kind::Relay => Err(Some("a relay after the hello".to_owned())),
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(None),
        Err(error @ (WireError::Io(_) | WireError::Cut)) => {
            debug!(%error, "connection lost");
            Err(None)
        }
        Err(error) => Err(Some(error.to_string())),
    }
}

async fn close_malformed(link: &Link, why: String) {
    // An error says that the writer has ended.
    let _ = link.send(Command::Close(CloseReason::Malformed(why))).await;
    pending().await
}

async fn route(frame: Frame, router: &mut Router) -> Result<(), Closed> {
    match wire::decode_request(&frame) {
        Ok(request) => router.route(frame.a, request).await,
        // The frame was whole, so the stream is still in step: only this request is refused.
        Err(error) => router.answer(frame.a, Err(RequestError::Malformed(error.to_string()))).await,
    }
}
