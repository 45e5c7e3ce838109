//! The gateway: sessions in a browser.
//!
//! A process of its own, and a client of the server like any other: an HTTP server in front, and one connection to the
//! server's socket for each page behind. A page's link is redeemed on its connection, so that the server sees to what
//! the page may do. Gaps, resuming, read-only links, input that is typed once: all are the server's promises, and are
//! not built a second time. A gateway that is killed loses nothing; its pages go on over the next one.

mod address;
mod assets;
mod connector;
mod flow;
mod hosts;
mod http;
mod limits;
mod metrics;
mod overview;
mod process;
mod protocol;
mod viewer;

use std::{
    path::PathBuf,
    str::FromStr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    address::{GatewayError, ListenAddress},
    connector::Connector,
    hosts::HostName,
};
use self::{
    address::{Tls, WebSocketListener},
    hosts::HostList,
    limits::Conduct,
    metrics::{Counts, Scrapes},
    overview::Overview,
};

/// Pages that are served at once.
pub(crate) const DEFAULT_VIEWERS: usize = 256;

/// How long pages are told that the gateway ends.
const END_TIME: Duration = Duration::from_secs(3);

/// What a gateway is told.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    pub(crate) listen: ListenAddress,
    pub(crate) hosts: Vec<HostName>,
    pub(crate) base: BasePath,
    /// A certificate and its key, in PEM.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) metrics: Option<ListenAddress>,
    /// With series for each session.
    pub(crate) session_metrics: bool,
    /// The server's socket, by which the node of this machine is found.
    #[cfg(feature = "nodes")]
    pub(crate) socket: PathBuf,
    pub(crate) viewers: usize,
}

/// What every path begins with, behind a proxy that has other things as well: `/`, or `/term/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BasePath(String);

impl BasePath {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BasePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain =
            |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'/' | b'-' | b'_' | b'.');
        let is_path = text.starts_with('/') && text.ends_with('/') && text.bytes().all(is_plain);
        match is_path && !text.contains("//") && !text.split('/').any(|part| part == "." || part == "..") {
            true => Ok(Self(text.to_owned())),
            false => Err(
                "write a path of letters, digits, and - _ . that begins and ends with a slash, such as /term/",
            ),
        }
    }
}

/// A gateway that listens.
#[derive(Debug)]
pub(crate) struct BoundGateway {
    gateway: Arc<Gateway>,
    listener: WebSocketListener,
    address: ListenAddress,
    metrics: Option<(WebSocketListener, ListenAddress)>,
}

/// What all pages share.
#[derive(Debug)]
struct Gateway {
    base: BasePath,
    hosts: HostList,
    tls: Option<Tls>,
    connector: Connector,
    conduct: Arc<Conduct>,
    overview: Overview,
    /// Room for pages, and how many there is room for.
    room: Arc<Semaphore>,
    most: usize,
    counts: Counts,
    scrapes: Scrapes,
    session_metrics: bool,
    #[cfg(feature = "nodes")]
    socket: PathBuf,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A page's place among those that are served; until it is dropped.
#[derive(Debug)]
struct ViewerPlace(
    #[expect(dead_code, reason = "it is given back when this is dropped")] OwnedSemaphorePermit,
);

impl Gateway {
    fn place(&self) -> Option<ViewerPlace> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(ViewerPlace)
    }

    /// How many pages are served.
    fn viewers(&self) -> usize {
        self.most - self.room.available_permits()
    }

    /// Counts a page that was let in, or one whose link was refused.
    fn count(&self, is_let_in: bool) {
        let count = if is_let_in { &self.counts.viewers } else { &self.counts.refused };
        // Relaxed: it stands for itself.
        count.fetch_add(1, Relaxed);
    }
}

impl BoundGateway {
    /// Listens. Nobody is served before [`serve`](Self::serve).
    pub(crate) async fn bind(config: GatewayConfig, connector: Connector) -> Result<Self, GatewayError> {
        let tls = config.tls.map(|(certificate, key)| address::tls(&certificate, &key)).transpose()?;
        let listener = WebSocketListener::bind(&config.listen, "--listen").await?;
        let address = listener.address(&config.listen);
        let metrics = match &config.metrics {
            None => None,
            Some(wanted) => {
                let listener = WebSocketListener::bind(wanted, "--metrics").await?;
                let address = listener.address(wanted);
                Some((listener, address))
            }
        };
        let gateway = Gateway {
            hosts: HostList::new(config.listen.ip(), &config.hosts),
            base: config.base,
            tls,
            connector,
            conduct: Arc::default(),
            overview: Overview::new(),
            room: Arc::new(Semaphore::new(config.viewers)),
            most: config.viewers,
            counts: Counts::default(),
            scrapes: Scrapes::default(),
            session_metrics: config.session_metrics,
            #[cfg(feature = "nodes")]
            socket: config.socket,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Self { gateway: Arc::new(gateway), listener, address, metrics })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Where its metrics are.
    pub(crate) fn metrics_address(&self) -> Option<&ListenAddress> {
        self.metrics.as_ref().map(|(_, address)| address)
    }

    /// Serves until `stop`; then its pages are told to connect again, to whatever gateway is next.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { gateway, listener, metrics, .. } = self;
        let pages = http::router(Arc::clone(&gateway));
        let metrics = metrics.map(|(listener, _)| (listener, http::metrics_router(Arc::clone(&gateway))));
        tokio::select! {
            () = stop => {}
            () = http::serve(&gateway, &listener, &pages) => {}
            () = async {
                match &metrics {
                    Some((listener, router)) => http::serve(&gateway, listener, router).await,
                    None => std::future::pending().await,
                }
            } => {}
            () = gateway.overview.run(&gateway.connector) => {}
        }
        gateway.stop.cancel();
        gateway.tasks.close();
        let _ = timeout(END_TIME, gateway.tasks.wait()).await;
    }
}

/// What takes bytes from pages, and from whoever says to be one.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    pub(crate) use super::{hosts::fuzz as hosts, protocol::fuzz as page};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_begins_and_ends_with_a_slash() {
        for path in ["/", "/x/", "/a-b/c_d.e/"] {
            assert_eq!(path.parse::<BasePath>().unwrap().as_str(), path);
        }
        for wrong in ["", "x", "/x", "x/", "//", "/../", "/a/./", "/{x}/", "/a b/", "/ü/", "/a//b/"] {
            assert!(wrong.parse::<BasePath>().is_err(), "{wrong:?}");
        }
    }
}
