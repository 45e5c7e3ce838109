//! `web`: serves sessions to browsers.

mod running;

use std::{fs::OpenOptions, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use tokio::sync::Mutex;

pub(super) use self::running::find_or_start;
use super::{
    Exit, Globals,
    log::{self, LogFormat, LogSink},
    print, print_note,
    serve::leave_terminal,
    settings::LIST_DELIMITER,
    signals::DeadlySignals,
};
use crate::{
    Client,
    client::{Backoff, ConnectError},
    web::{
        BasePath, BoundGateway, Connector, DEFAULT_VIEWERS, GatewayConfig, GatewayError, HostName,
        ListenAddress,
    },
};

/// Where it listens on loopback if nobody says.
const USUAL_PORT: u16 = 7681;

/// Serves sessions to browsers that have a link, which `share` makes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A link lets who has it do what it says and nothing else; without one, nobody sees anything.
Behind a reverse proxy: --listen unix:PATH, with --host as in the address that people open.
It can be killed and started again at any time: pages reconnect, and nothing is lost.")]
pub(super) struct Args {
    /// Where: an address and a port, or unix:PATH [default: 127.0.0.1:7681]
    #[arg(long, value_name = "ADDR")]
    listen: Option<ListenAddress>,
    /// A name that people open it by, besides its address and localhost; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = LIST_DELIMITER)]
    host: Vec<HostName>,
    /// What its paths begin with, such as /term/
    #[arg(long, value_name = "PATH", default_value = "/")]
    base: BasePath,
    /// A certificate, for HTTPS
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,
    /// Without HTTPS on an address that others reach: they can read along, and take links
    #[arg(long, conflicts_with = "cert")]
    plain: bool,
    /// Where /metrics is served for Prometheus: an address and a port, or unix:PATH
    #[arg(long, value_name = "ADDR")]
    metrics: Option<ListenAddress>,
    /// With series for each session, by its name
    #[arg(long, requires = "metrics")]
    session_metrics: bool,
    /// Pages served at once
    #[arg(long, value_name = "N", default_value_t = DEFAULT_VIEWERS)]
    max_viewers: usize,
    /// Leave the terminal that started it, and log to a file beside the socket
    #[arg(long, hide = true)]
    background: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    // One of them may be of a file, the other not.
    if args.cert.is_some() != args.key.is_some() {
        bail!("HTTPS takes both a certificate and its key: give --cert and --key, or neither");
    }
    if let Some(listen) = &args.listen
        && !listen.is_local()
        && args.cert.is_none()
        && !args.plain
    {
        bail!(
            "others reach {listen}, and could read along: give --cert and --key, listen on 127.0.0.1 or unix:PATH behind \
             a proxy that has HTTPS, or say --plain"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(common, args))
}

/// Listens where it is told to. In the background, if nobody said where and something else is there, on a free port.
async fn bind(common: &Globals, args: &Args) -> Result<BoundGateway, GatewayError> {
    let config = |listen| GatewayConfig {
        listen,
        hosts: args.host.clone(),
        base: args.base.clone(),
        tls: args.cert.clone().zip(args.key.clone()),
        metrics: args.metrics.clone(),
        session_metrics: args.session_metrics,
        #[cfg(feature = "nodes")]
        socket: common.socket.clone(),
        viewers: args.max_viewers,
    };
    let here = |port| ListenAddress::Tcp((Ipv4Addr::LOCALHOST, port).into());
    let wanted = args.listen.clone().unwrap_or_else(|| here(USUAL_PORT));
    match BoundGateway::bind(config(wanted), connector(common)).await {
        // Not of this server's own gateway, which was just started by something else.
        Err(_) if args.background && args.listen.is_none() && running::find(&common.socket).is_none() => {
            BoundGateway::bind(config(here(0)), connector(common)).await
        }
        bound => bound,
    }
}

async fn serve(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let mut signals = DeadlySignals::new()?;
    let gateway = bind(common, &args).await?;
    let sink = match args.background {
        false => LogSink::Stderr,
        true => {
            leave_terminal()?;
            let file =
                running::open_own(&common.socket, running::LOG, OpenOptions::new().append(true).create(true));
            LogSink::File(file.context("opening the gateway's log beside the socket failed")?)
        }
    };
    log::start(common.log, LogFormat::Text, sink);
    let url = url(gateway.address(), args.cert.is_some(), args.host.first(), &args.base);
    if !args.background {
        match &url {
            Some(url) => print_note(format_args!("serving links on {url}s/")),
            None => print_note(format_args!("serving links on {}", gateway.address())),
        }
        if let Some(address) = gateway.metrics_address() {
            print_note(format_args!("serving metrics on {address}"));
        }
    }
    let _announced = url.and_then(|url| running::announce(&common.socket, &url));
    // For what waits for this, such as `share`.
    print(&format!("{}\n", gateway.address()))?;
    let stop = async {
        tokio::select! {
            _ = signals.next() => {}
            // `share` started it, for this server's links.
            () = without_server(common), if args.background => {}
        }
    };
    gateway.serve(stop).await;
    Ok(Exit::SUCCESS)
}

/// Completes once there is no server any more, and none is to be expected.
async fn without_server(common: &Globals) {
    let mut backoff = Backoff::default();
    while let Ok(mut client) = common.reconnect(&mut backoff).await {
        let begun = Instant::now();
        while client.next().await.is_ok() {}
        backoff.lost(begun.elapsed(), false);
    }
}

/// Where links begin, as people open them; not known of a Unix socket without a name.
fn url(address: &ListenAddress, is_https: bool, host: Option<&HostName>, base: &BasePath) -> Option<String> {
    let port = match address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    };
    let (scheme, place) = match (address, host) {
        // What is reached from this machine only is behind a proxy, if it has a name.
        (address, Some(host)) if address.is_local() && !is_https => ("https", host.to_string()),
        (_, Some(host)) if host.has_port() => (if is_https { "https" } else { "http" }, host.to_string()),
        (_, Some(host)) => {
            let (scheme, usual) = if is_https { ("https", 443) } else { ("http", 80) };
            let port = port.filter(|port| *port != usual).map(|port| format!(":{port}"));
            (scheme, format!("{host}{}", port.unwrap_or_default()))
        }
        (ListenAddress::Unix(_), None) => return None,
        (ListenAddress::Tcp(address), None) => {
            let scheme = if is_https { "https" } else { "http" };
            let is_any = address.ip().is_unspecified();
            (scheme, if is_any { format!("localhost:{}", address.port()) } else { address.to_string() })
        }
    };
    Some(format!("{scheme}://{place}{}", base.as_str()))
}

/// Connects to the server as every command does. Where one was killed and its sessions are left, one page has another
/// started, and the others wait for that.
fn connector(common: &Globals) -> Connector {
    let common = common.for_gateway();
    let searching = Arc::new(Mutex::new(()));
    Connector::new(move || {
        let (common, searching) = (Arc::clone(&common), Arc::clone(&searching));
        async move {
            match Client::connect(&common.socket).await {
                Err(ConnectError::NoServer(_)) => {
                    let _one = searching.lock().await;
                    common.connect().await.map_err(|error| error.to_string())
                }
                connected => connected.map_err(|error| error.to_string()),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_begin_as_people_open_them() {
        for (listen, https, host, base, url_shown) in [
            ("127.0.0.1:7681", false, None, "/", Some("http://127.0.0.1:7681/")),
            ("[::1]:7681", true, None, "/x/", Some("https://[::1]:7681/x/")),
            ("0.0.0.0:80", false, None, "/", Some("http://localhost:80/")),
            ("127.0.0.1:7681", false, Some("a.example"), "/x/", Some("https://a.example/x/")),
            ("unix:/run/web.sock", false, Some("a.example:8443"), "/", Some("https://a.example:8443/")),
            ("unix:/run/web.sock", false, None, "/", None),
            ("0.0.0.0:8443", true, Some("a.example"), "/", Some("https://a.example:8443/")),
            ("0.0.0.0:443", true, Some("a.example"), "/", Some("https://a.example/")),
            ("0.0.0.0:8080", false, Some("a.example:80"), "/", Some("http://a.example:80/")),
        ] {
            let host = host.map(|host| host.parse().unwrap());
            let shown = url(&listen.parse().unwrap(), https, host.as_ref(), &base.parse().unwrap());
            assert_eq!(shown.as_deref(), url_shown);
        }
    }
}
