//! How the gateway gets a connection to the server.

use std::{fmt, pin::Pin, sync::Arc};

use crate::Client;

type Connecting = Pin<Box<dyn Future<Output = Result<Client, String>> + Send>>;

/// Makes connections to the server, each with nothing redeemed yet.
#[derive(Clone)]
pub(crate) struct Connector(Arc<dyn Fn() -> Connecting + Send + Sync>);

impl Connector {
    pub(crate) fn new<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Client, String>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(connect())))
    }

    /// A new connection; or, for the person who wants it, why there is none.
    pub(super) async fn connect(&self) -> Result<Client, String> {
        (self.0)().await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
