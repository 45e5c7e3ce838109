//! Where the gateway listens, and over what.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// `127.0.0.1:7681`, `localhost:7681`, `[::1]:7681`, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this machine gets there.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The address, if it is one of a network.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRITE: &str = "write an address and a port, such as 127.0.0.1:7681, or unix:PATH";
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(WRITE) } else { Ok(Self::Unix(path.into())) };
        }
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        match local.map(|port| (Ipv4Addr::LOCALHOST, port).into()) {
            Some(address) => Ok(Self::Tcp(address)),
            None => text.parse().map(Self::Tcp).map_err(|_| WRITE),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The gateway can't start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("listening on {address} failed: {source}; choose another address with {option}")]
    Listen { address: ListenAddress, option: &'static str, source: io::Error },
    #[error("{} is not a socket; remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    #[error("another process listens on {}; end it, or choose another path", .0.display())]
    InUse(PathBuf),
    #[error("the certificate {} can't be used: {why}", path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("the key {} can't be used: {why}", path.display())]
    Key { path: PathBuf, why: String },
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum WebSocketListener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "the file goes when this is dropped")] UnixPath),
}

/// A socket's file, which is removed with it.
#[derive(Debug)]
pub(super) struct UnixPath(PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        // Whoever finds it removes it as well.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl WebSocketListener {
    pub(super) async fn bind(address: &ListenAddress, option: &'static str) -> Result<Self, GatewayError> {
        let failed = |source| GatewayError::Listen { address: address.clone(), option, source };
        match address {
            ListenAddress::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await.map_err(failed)?)),
            ListenAddress::Unix(path) => {
                remove_left(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                // Its directory says who gets there, as the proxy may be another user's. What is asked of it needs a
                // link, as over a network.
                let everyone = std::fs::Permissions::from_mode(0o666);
                std::fs::set_permissions(path, everyone).map_err(failed)?;
                Ok(Self::Unix(listener, UnixPath(path.clone())))
            }
        }
    }

    /// Where it listens: with the port that the system chose, if it was to.
    pub(super) fn address(&self, wanted: &ListenAddress) -> ListenAddress {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| wanted.clone(), ListenAddress::Tcp),
            Self::Unix(..) => wanted.clone(),
        }
    }
}

/// Removes a socket that nobody listens on any more.
async fn remove_left(path: &Path) -> Result<(), GatewayError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(GatewayError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // If that fails, so does what follows, and says why.
            let _ = std::fs::remove_file(path);
            Ok(())
        }
        _ => Err(GatewayError::InUse(path.to_owned())),
    }
}

/// What HTTPS takes.
#[derive(Clone)]
pub(super) struct Tls(pub(super) TlsAcceptor);

impl fmt::Debug for Tls {
    // It has a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// A certificate with its chain, and its key, from files.
pub(super) fn tls(certificate: &Path, key: &Path) -> Result<Tls, GatewayError> {
    let wrong = |why: String| GatewayError::Certificate { path: certificate.to_owned(), why };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("it has no certificate in PEM".to_owned()));
    }
    let wrong_key = |why: String| GatewayError::Key { path: key.to_owned(), why };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong_key(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| wrong_key(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls(TlsAcceptor::from(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for (text, is_local) in [
            ("127.0.0.1:7681", true),
            ("[::1]:80", true),
            ("unix:/tmp/a b.sock", true),
            ("0.0.0.0:7681", false),
            ("192.0.2.1:1", false),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (text, is_local));
        }
        assert_eq!("localhost:80".parse::<ListenAddress>().unwrap().to_string(), "127.0.0.1:80");
        for wrong in ["", "7681", ":7681", "example.com:80", "unix:", "127.0.0.1", "localhost:x"] {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong:?}");
        }
    }
}
