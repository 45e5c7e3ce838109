//! Which clients are connected, what is counted of them, and what an embedder may do with them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{ServerState, command::Command, link::Link};
use crate::{
    ClientId, Delivery, RegistryStats, ServerMessage, SessionId,
    message::{CloseReason, ServerStats, Target},
    session::ClientTotals,
    sync::{Mutex, Rank},
};

/// The connected clients. A leaf lock, taken on connecting, leaving, stopping, and for `stats`.
#[derive(Debug)]
pub(super) struct Connected(Mutex<ConnectionTable>);

#[derive(Debug, Default)]
struct ConnectionTable {
    links: HashMap<ClientId, Arc<Link>>,
    /// Connections end at once, those that are yet to come as well.
    is_aborted: bool,
    /// Of clients that have left.
    departed: ClientTotals,
}

/// Counts for `stats` that seldom change. All `Relaxed`: they order nothing.
#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    closed: AtomicU64,
}

impl Counters {
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The server ended a connection.
    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Connected {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Rank::Leaf, ConnectionTable::default()))
    }

    pub(super) fn get(&self, client: ClientId) -> Option<Arc<Link>> {
        self.0.with(|table| table.links.get(&client).cloned())
    }

    fn all(&self) -> Vec<Arc<Link>> {
        self.0.with(|table| table.links.values().cloned().collect())
    }

    /// Ends a client's connection, after telling it why where it reads. Returns whether there was one.
    pub(super) fn close(&self, client: ClientId, reason: CloseReason) -> bool {
        let Some(link) = self.get(client) else { return false };
        if link.try_send(Command::Close(reason)).is_err() {
            // It sends requests and reads no replies, so it would not read this one.
            link.cancel();
        }
        true
    }

    /// Has every writer look whether the server is stopping.
    pub(super) fn stop(&self) {
        for link in self.all() {
            // An error says that it is going, or that it has commands to carry out, and looks after those.
            let _ = link.try_send(Command::Stop);
        }
    }

    /// Ends every connection at once, without telling anyone.
    pub(super) fn abort(&self) {
        self.0.with(|table| table.is_aborted = true);
        for link in self.all() {
            link.cancel();
        }
    }

    #[cfg(all(any(test, fuzzing), feature = "cli"))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.with(|table| table.links.is_empty())
    }

    #[cfg(all(test, debug_assertions))]
    pub(super) fn with_all<R>(&self, critical: impl FnOnce() -> R) -> R {
        self.0.with(|_| critical())
    }
}

/// A client's place in the table. When this drops it leaves, and its link is closed.
pub(super) struct ListingGuard<'a> {
    shared: &'a ServerState,
    client: ClientId,
}

impl<'a> ListingGuard<'a> {
    pub(super) fn new(shared: &'a ServerState, client: ClientId, link: &Arc<Link>) -> Self {
        let is_aborted = shared.clients.0.with(|table| {
            table.links.insert(client, Arc::clone(link));
            table.is_aborted
        });
        if is_aborted {
            link.cancel();
        }
        Self { shared, client }
    }
}

impl Drop for ListingGuard<'_> {
    fn drop(&mut self) {
        let removed = self.shared.clients.0.with(|table| {
            let removed = table.links.remove(&self.client)?;
            table.departed += removed.status.totals();
            Some(removed)
        });
        if let Some(link) = removed {
            link.close();
        }
    }
}

impl ServerState {
    pub(super) async fn stats(&self) -> ServerStats {
        let registry = self.registry.stats();
        let sessions = self.sessions.stats().await;
        let (links, mut totals) = self.clients.0.with(|table| {
            let links: Vec<_> = table.links.iter().map(|(id, link)| (*id, Arc::clone(link))).collect();
            (links, table.departed)
        });
        let mut clients: Vec<_> = links
            .iter()
            .map(|(id, link)| {
                totals += link.status.totals();
                let watched = self.registry.get_client(*id).and_then(|entry| entry.attached_session);
                let head =
                    watched.and_then(|id| Some((id, self.sessions.find(&Target::Id(id)).ok()?.head())));
                link.status.stats(head)
            })
            .collect();
        clients.sort_by_key(|client| client.client);
        ServerStats {
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            connections: self.counters.connections.load(Ordering::Relaxed),
            connections_closed: self.counters.closed.load(Ordering::Relaxed),
            messages_sent: registry.deliveries.sent,
            messages_skipped: registry.deliveries.full,
            messages_closed: registry.deliveries.closed,
            writes: totals.writes,
            bytes_written: totals.bytes_written,
            history_bytes: sessions.iter().map(|session| session.history_bytes).sum(),
            replays: totals.replays,
            gaps: totals.gaps,
            purges: totals.purges,
            skipped_bytes: totals.skipped_bytes,
            clients_per_shard: registry.clients_per_shard,
            sessions_per_shard: registry.sessions_per_shard,
            clients,
            sessions,
        }
    }
}

/// A server's clients, for the program that embeds it: see [`Server::clients`](super::Server::clients).
///
/// A handle: cloning it is cheap, and it may outlive the server, which has no clients then. What a client watches, and
/// what is printed to it, is not for the embedder to change behind its connection's back; so the registry itself is not
/// handed out.
#[derive(Clone, Debug)]
pub struct Clients {
    shared: Arc<ServerState>,
}

impl Clients {
    pub(super) fn new(shared: Arc<ServerState>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Arc<ServerState> {
        &self.shared
    }

    /// How many are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.registry.client_count()
    }

    /// Those that watch `session`, in no particular order.
    #[must_use]
    pub fn watching(&self, session: SessionId) -> Vec<ClientId> {
        self.shared.registry.session_clients(session)
    }

    /// What the registry counts: clients and sessions by shard, deliveries by outcome.
    #[must_use]
    pub fn stats(&self) -> RegistryStats {
        self.shared.registry.stats()
    }

    /// Tells every client a line of text, beside the output. Best effort: a client whose queue is full is skipped.
    pub fn notify_all(&self, text: impl Into<String>) -> Delivery {
        self.shared.registry.broadcast_to_all(notice(text))
    }

    /// As [`notify_all`](Self::notify_all), those that watch `session`.
    pub fn notify_session(&self, session: SessionId, text: impl Into<String>) -> Delivery {
        self.shared.registry.broadcast_to_session(session, notice(text))
    }

    /// As [`notify_all`](Self::notify_all), one client. Returns whether it was told.
    pub fn notify(&self, client: ClientId, text: impl Into<String>) -> bool {
        self.shared.registry.send_to_client(client, notice(text)).is_ok()
    }

    /// Ends a client's connection, after telling it so where it reads. Returns whether there was one.
    pub fn disconnect(&self, client: ClientId) -> bool {
        self.shared.clients.close(client, CloseReason::Disconnected)
    }
}

fn notice(text: impl Into<String>) -> Arc<ServerMessage> {
    Arc::new(ServerMessage::Notice { text: text.into() })
}
