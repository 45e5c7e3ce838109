//! A flood whose bytes are known by their offset alone, so that every byte any client is sent can be checked, wherever
//! it joined.

use std::time::{Duration, Instant};

use fugue_server::{
    Client, SessionId,
    client::Incoming,
    message::{AttachOptions, ClientStats, Event, ExitStatus, OnLag, SessionInfo, StartAt},
};

use crate::support::*;

pub(super) const RESYNC: AttachOptions = AttachOptions::new(StartAt::Now, OnLag::Resync);

/// What the floods print again and again, from offset 0 on.
pub(super) const LINE: &[u8; 16] = b"0123456789abcde\n";

/// Prints `bytes` of the flood and waits for a line: for the first once it has printed [`LINE`], for another at the
/// end.
pub(super) fn flood(bytes: u64) -> String {
    let rest = bytes - LINE.len() as u64;
    format!(
        "stty -opost -echo; echo 0123456789abcde; read go; yes 0123456789abcde | head -c {rest}; read end"
    )
}

/// Starts a flood, which waits for a line now.
pub(super) async fn create_flood(client: &mut Client, bytes: u64) -> SessionId {
    let id = create(client, "flood", &flood(bytes)).await.id;
    while session(client, "flood").await.printed < LINE.len() as u64 {}
    id
}

/// Whether these are the flood's bytes at this offset.
pub(super) fn is_flood(offset: u64, data: &[u8]) -> bool {
    let phase = (offset % 16) as usize;
    let head = data.len().min((16 - phase) % 16);
    let (head, rest) = data.split_at(head);
    let lines = rest.chunks_exact(16);
    let tail = lines.remainder();
    LINE[phase..].starts_with(head)
        && LINE.starts_with(tail)
        && rest.chunks_exact(16).all(|line| line == LINE)
}

/// What a client was sent of the flood, which must be whole but for the gaps it is told of.
#[derive(Debug)]
pub(super) struct Stay {
    /// The offset of the next byte.
    pub(super) next: u64,
    pub(super) received: u64,
    pub(super) gaps: u64,
    pub(super) screens: u64,
}

impl Stay {
    pub(super) fn from(next: u64) -> Self {
        Self { next, received: 0, gaps: 0, screens: 0 }
    }

    /// Checks one thing from the server. Returns the status at the session's end.
    pub(super) fn check(&mut self, incoming: Incoming) -> Option<ExitStatus> {
        match incoming {
            Incoming::Output { offset, data } => {
                assert_eq!(offset, self.next, "a gap that nobody was told of, or a repeat");
                assert!(is_flood(offset, &data), "wrong bytes at {offset}");
                self.next += data.len() as u64;
                self.received += data.len() as u64;
            }
            Incoming::Event(Event::Gap { from, to }) => {
                assert_eq!(from, self.next);
                assert!(to > from);
                self.next = to;
                self.gaps += 1;
            }
            Incoming::Screen { offset, data } => {
                assert_eq!(offset, self.next, "a screen that is not where the output goes on");
                assert!(!data.is_empty());
                self.screens += 1;
            }
            Incoming::Event(Event::Ended { status, .. }) => return Some(status),
            Incoming::Reply { .. } | Incoming::Event(_) => {}
            other => panic!("{other:?}"),
        }
        None
    }

    pub(super) async fn read(&mut self, client: &mut Client) -> Option<ExitStatus> {
        self.check(soon(client.next()).await.unwrap())
    }

    pub(super) async fn read_to(&mut self, client: &mut Client, offset: u64) {
        while self.next < offset {
            assert_eq!(self.read(client).await, None, "it ended at {}", self.next);
        }
    }
}

pub(super) async fn session(client: &mut Client, name: &str) -> SessionInfo {
    sessions(client).await.into_iter().find(|session| session.name.as_str() == name).unwrap()
}

/// Waits until what a client is told of the server satisfies `condition`.
pub(super) async fn until_stats(client: &mut Client, what: &str, condition: impl Fn(&[ClientStats]) -> bool) {
    let start = Instant::now();
    while !condition(&stats(client).await.clients) {
        assert!(start.elapsed() < Duration::from_secs(60), "never happened: {what}");
        tokio::task::yield_now().await;
    }
}
