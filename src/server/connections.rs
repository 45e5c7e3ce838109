//! The connections: how many there may be, and when the last one has ended.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    connection::refusal,
    descriptors::{ConnectionPlace, Places},
};

/// The tasks of the connections, and the places that are left for more.
#[derive(Debug)]
pub(super) struct Connections {
    /// How many were asked for. Relaxed: it stands alone.
    max_clients: AtomicUsize,
    /// How many there are.
    taken: Arc<AtomicUsize>,
    tasks: TaskTracker,
    /// Cancelled once they are to end at once. For streams alone: a socket's connection is told by its link.
    aborted: CancellationToken,
}

impl Connections {
    pub(super) fn new(max_clients: usize) -> Self {
        Self {
            max_clients: AtomicUsize::new(max_clients),
            taken: Arc::default(),
            tasks: TaskTracker::new(),
            aborted: CancellationToken::new(),
        }
    }

    fn limit(&self) -> Places {
        Places::of(self.max_clients.load(Ordering::Relaxed))
    }

    /// Changes how many there may be. Those that are too many then stay until they end.
    #[cfg(feature = "cli")]
    pub(super) fn set_max_clients(&self, max_clients: usize) {
        self.max_clients.store(max_clients, Ordering::Relaxed);
    }

    /// The most there may be at once.
    pub(super) fn most(&self) -> usize {
        self.limit().most
    }

    /// A place for one more; without one, what its client is told.
    pub(super) fn place(&self) -> Result<ConnectionPlace, Bytes> {
        let limit = self.limit();
        ConnectionPlace::take(&self.taken, limit.most).ok_or_else(|| {
            warn!(max_clients = limit.most, "full; a connection was refused");
            refusal(limit.refusal())
        })
    }

    /// Runs a connection until it ends.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn(connection)
    }

    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Has streams end at once.
    pub(super) fn abort(&self) {
        self.aborted.cancel();
    }

    /// Waits until streams are to end at once.
    pub(super) async fn aborted(&self) {
        self.aborted.cancelled().await;
    }
}
