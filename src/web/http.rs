//! Connections, and what is asked of them: the page's files, `healthz`, and the websocket.
//!
//! Every answer forbids what the page does not need. A connection that is no viewer has a time for each request's head
//! and a time in all.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    extract::{Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Gateway,
    address::WebSocketListener,
    assets::{ASSETS, Asset},
    flow::MAX_PIECE,
    limits::WebAddress,
    metrics,
    protocol::MAX_FROM_PAGE,
    viewer,
};

/// How long a request's head may take, from its first byte or from the answer before it.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
const TLS_TIME: Duration = Duration::from_secs(10);

/// How long a connection may last that does not become a viewer's: for all that a page loads, over a slow line.
const CONNECTION_TIME: Duration = Duration::from_secs(120);

/// The longest head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The pause where no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The buffers of a viewer's websocket. The last is a bound: what is written is flushed before more is.
const READ_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER: usize = MAX_PIECE / 2;
const MAX_WRITE_BUFFER: usize = super::viewer::MAX_TEXT + 2 * MAX_PIECE;

/// Scripts and styles are files of ours; nothing is fetched from elsewhere; no page shows this one in a frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                       img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What pages are served.
pub(super) fn router(gateway: Arc<Gateway>) -> Router {
    let base = gateway.base.as_str();
    let websocket = Router::new().route(&format!("{base}ws"), get(websocket)).fallback(file);
    let health = Router::new().route(&format!("{base}healthz"), get(async || "ok\n"));
    guarded(websocket, &gateway)
        .merge(health)
        .layer(middleware::map_response(with_headers))
        .with_state(gateway)
}

/// What monitoring systems are served.
pub(super) fn metrics_router(gateway: Arc<Gateway>) -> Router {
    guarded(metrics::routes(), &gateway).layer(middleware::map_response(with_headers)).with_state(gateway)
}

/// These routes, under listed names only.
fn guarded(routes: Router<Arc<Gateway>>, gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    routes.layer(middleware::from_fn_with_state(Arc::clone(gateway), listed_host))
}

/// Accepts connections and serves each, for as long as it is polled.
pub(super) async fn serve(gateway: &Arc<Gateway>, listener: &WebSocketListener, router: &Router) {
    let mut is_failing = false;
    loop {
        let failed = match accept(gateway, listener, router).await {
            Ok(()) => {
                is_failing = false;
                continue;
            }
            Err(error) => error,
        };
        // A connection that was gone before it was looked at fails as well.
        if failed.kind() != io::ErrorKind::ConnectionAborted {
            if !is_failing {
                warn!(error = %failed, "accepting connections fails; trying again");
            }
            is_failing = true;
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn accept(gateway: &Arc<Gateway>, listener: &WebSocketListener, router: &Router) -> io::Result<()> {
    match listener {
        WebSocketListener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // What is typed is sent at once.
            let _ = stream.set_nodelay(true);
            serve_connection(gateway, stream, Some(peer.ip()), router);
        }
        WebSocketListener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            serve_connection(gateway, stream, None, router);
        }
    }
    Ok(())
}

/// Serves a connection in a task of its own.
fn serve_connection(
    gateway: &Arc<Gateway>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<IpAddr>,
    router: &Router,
) {
    let address = WebAddress::new(peer);
    // One too many is closed, which costs the least.
    let Some(pending) = gateway.conduct.connect(address) else {
        debug!("full; a connection was closed");
        return;
    };
    let router = router.clone().layer(Extension(PeerAddress(peer)));
    let (tls, stop) = (gateway.tls.clone(), gateway.stop.clone());
    gateway.tasks.spawn(async move {
        let serving = async {
            match tls {
                None => serve_http(stream, router).await,
                Some(tls) => match timeout(TLS_TIME, tls.0.accept(stream)).await {
                    Ok(Ok(stream)) => serve_http(stream, router).await,
                    _ => debug!("a TLS handshake failed"),
                },
            }
        };
        tokio::select! {
            _ = timeout(CONNECTION_TIME, serving) => {}
            () = stop.cancelled() => {}
        }
        drop(pending);
    });
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection ended");
    }
}

/// The address at the other end of a connection; none of a Unix socket's.
#[derive(Clone, Copy, Debug)]
struct PeerAddress(Option<IpAddr>);

impl PeerAddress {
    /// Who asks. Only a proxy, on a Unix socket, is believed about somebody else: it adds who asked it at the end.
    fn of_request(self, headers: &HeaderMap) -> WebAddress {
        if self.0.is_some() {
            return WebAddress::new(self.0);
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
        let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        WebAddress::new(last)
    }
}

/// Refuses what is asked under a name that is not listed.
async fn listed_host(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    match host(request.headers()) {
        Some(host) if gateway.hosts.allows_host(host) => next.run(request).await,
        _ => {
            let text = "the gateway is not known by this name; `fugue-server web --host NAME` lists it\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
    }
}

/// The one host that a request is for.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A file of the page, or where it is.
async fn file(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let path = request.uri().path();
    let base = gateway.base.as_str();
    let Some(path) = path.strip_prefix(base) else {
        // The base path itself, without its last slash.
        return match path.strip_suffix('/').unwrap_or(path) == base.trim_end_matches('/') {
            true => moved(&format!("{base}s/")),
            false => not_found(),
        };
    };
    match path {
        "" | "s" => moved(&format!("{base}s/")),
        path => match ASSETS.iter().find(|asset| asset.path == path) {
            Some(asset) => answer(asset, request.headers()),
            None => not_found(),
        },
    }
}

fn moved(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

/// A file, compressed where that is understood; or that it is the one that is known.
fn answer(asset: &Asset, headers: &HeaderMap) -> Response {
    let common =
        [(header::ETAG, asset.tag), (header::CACHE_CONTROL, "no-cache"), (header::VARY, "accept-encoding")];
    let says = |name: HeaderName, what: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| {
            value.split(',').any(|one| one.split(';').next().map(str::trim) == Some(what))
        })
    };
    if says(header::IF_NONE_MATCH, asset.tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, asset.kind)];
    if says(header::ACCEPT_ENCODING, "gzip") {
        return (common, kind, [(header::CONTENT_ENCODING, "gzip")], asset.compressed).into_response();
    }
    (common, kind, asset.bytes).into_response()
}

/// A viewer's websocket, for a page of this gateway's own.
async fn websocket(
    State(gateway): State<Arc<Gateway>>,
    Extension(peer): Extension<PeerAddress>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let host = host(&headers).unwrap_or_default();
    if !origin.is_some_and(|origin| gateway.hosts.allows_origin(origin, host)) {
        let text = "the page is of another origin; `fugue-server web --host NAME` lists one\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let address = peer.of_request(&headers);
    if gateway.conduct.is_blocked(address, Instant::now()) {
        let text = "too many failures from this address; try again in a minute\n";
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "60")], text).into_response();
    }
    let Some(place) = gateway.place() else {
        let text = "the gateway has no room for another viewer; try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], text).into_response();
    };
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_FROM_PAGE)
        .max_frame_size(MAX_FROM_PAGE)
        .on_upgrade(move |socket| viewer::serve(socket, gateway, address, place))
}
