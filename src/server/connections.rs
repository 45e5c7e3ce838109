//! The connections: how many there may be, and when the last one has ended.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{connection::refusal, descriptors::Places};

/// The tasks of the connections, and the places that are left for more.
#[derive(Debug)]
pub(super) struct Connections {
    limit: Places,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Cancelled once they are to end at once. For streams alone: a socket's connection is told by its link.
    aborted: CancellationToken,
}

impl Connections {
    pub(super) fn new(max_clients: usize) -> Self {
        let limit = Places::of(max_clients);
        let places = Arc::new(Semaphore::new(limit.most));
        Self { limit, places, tasks: TaskTracker::new(), aborted: CancellationToken::new() }
    }

    /// The most there may be at once.
    pub(super) fn most(&self) -> usize {
        self.limit.most
    }

    /// A place for one more; without one, what its client is told.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Bytes> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            warn!(max_clients = self.limit.most, "full; a connection was refused");
            refusal(self.limit.refusal())
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
