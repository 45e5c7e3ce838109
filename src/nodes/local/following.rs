//! Following a session of the local server, for a stream to another node.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::mpsc::Sender;

use super::LocalNews;
use crate::{
    Client, SessionId,
    client::{ClientError, Incoming},
    message::{Access, AttachOptions, AttachedTo, Event, OnLag, RequestError, StartAt},
    nodes::{
        core::{FollowId, LocalEvent},
        message::{Begin, Refusal, StreamItem},
    },
    wire::MAX_OUTPUT,
};

/// Follows a session to its end, or until the connection or the stream is lost.
pub(super) async fn follow(
    socket: Arc<PathBuf>,
    (follow, session, begin): (FollowId, SessionId, Begin),
    items: Sender<StreamItem>,
    news: Sender<LocalNews>,
) {
    let why = match attach(&socket, session, begin).await {
        Ok((client, attached)) => {
            let begun = match begin {
                Begin::At(offset) => offset,
                Begin::Screen => attached.start,
            };
            let AttachedTo { name, size, start, .. } = attached;
            let following = LocalEvent::Following { follow, name, size, start: begun };
            if news.send(LocalNews::Event(following)).await.is_err() {
                return;
            }
            if start > begun && items.send(StreamItem::Gap { from: begun, to: start }).await.is_err() {
                return;
            }
            match pass_on(client, start, &items).await {
                Some(why) => why,
                None => return,
            }
        }
        Err(why) => why,
    };
    let _ = news.send(LocalNews::Event(LocalEvent::NotFollowed { follow, why })).await;
}

/// Attaches as what is no terminal, so that a size comes at its place in the output, and types nothing. Where the byte
/// to begin with is no longer held, with the screen.
async fn attach(
    socket: &std::path::Path,
    session: SessionId,
    begin: Begin,
) -> Result<(Client, AttachedTo), Refusal> {
    let mut client = Client::connect(socket).await.map_err(|error| Refusal::failed(&error.to_string()))?;
    let options = |start| AttachOptions::new(start, OnLag::Resync).with_access(Access::ReadOnly);
    let start = match begin {
        Begin::At(offset) => StartAt::Offset(offset),
        Begin::Screen => StartAt::Screen,
    };
    let attached = match client.attach(session, options(start)).await {
        Err(ClientError::Refused(RequestError::OffsetNotHeld { offset, head, .. })) if offset <= head => {
            client.attach(session, options(StartAt::Screen)).await
        }
        attached => attached,
    };
    match attached {
        Ok(attached) => Ok((client, attached)),
        Err(ClientError::Refused(
            RequestError::UnknownSession(_)
            | RequestError::SessionEnded { .. }
            | RequestError::OffsetNotHeld { .. },
        )) => Err(Refusal::NoSession),
        Err(error) => Err(Refusal::failed(&error.to_string())),
    }
}

/// Passes on what comes, piece by piece as there is room. Why nothing comes any more, unless nobody wants it.
async fn pass_on(mut client: Client, mut head: u64, items: &Sender<StreamItem>) -> Option<Refusal> {
    loop {
        let item = match client.next().await {
            Ok(Incoming::Output { offset, data }) => {
                head = offset + data.len() as u64;
                StreamItem::Output { offset, data }
            }
            Ok(Incoming::Screen { offset, data }) => {
                head = offset;
                let is_last = data.len() < MAX_OUTPUT;
                StreamItem::Screen { offset, data, is_last }
            }
            Ok(Incoming::Event(Event::Gap { from, to })) => {
                head = to;
                StreamItem::Gap { from, to }
            }
            Ok(Incoming::Event(Event::Resized { size, .. })) => StreamItem::Resized { size },
            Ok(Incoming::Event(Event::Ended { status, .. })) => {
                let _ = items.send(StreamItem::Ended { at: head, status }).await;
                // The stream is closed by its watcher.
                items.closed().await;
                return None;
            }
            Ok(_) => continue,
            Err(error) => return Some(Refusal::failed(&error.to_string())),
        };
        if items.send(item).await.is_err() {
            return None;
        }
    }
}
