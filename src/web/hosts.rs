//! Under which names the gateway may be asked, and by pages of which origins.
//!
//! A browser says both truly, whatever page it runs. A page of somebody else's has another origin. Somebody else's name
//! that was made to lead here (DNS rebinding) is in `Host`, and is not listed.

use std::{fmt, net::IpAddr, str::FromStr};

use axum::http::uri::Authority;

/// The names of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostList {
    /// The names that were given, without a port if none was.
    given: Vec<(String, Option<u16>)>,
    /// The addresses that are listened on.
    addresses: Vec<IpAddr>,
    /// Any address of this machine is listened on; an address as a name can't have been made to lead here.
    any_address: bool,
}

impl HostList {
    /// The names of what listens on an address, and those that were given; without an address, of a Unix socket.
    pub(crate) fn new(address: Option<IpAddr>, given: &[HostName]) -> Self {
        let given = given.iter().map(|name| (name.name.clone(), name.port)).collect();
        Self {
            given,
            addresses: address.into_iter().collect(),
            any_address: address.is_some_and(|address| address.is_unspecified()),
        }
    }

    /// Whether a request may be for this host: the value of its header.
    pub(crate) fn allows_host(&self, host: &str) -> bool {
        HostName::parse(host).is_some_and(|host| self.is_ours(&host) || self.is_given(&host, false))
    }

    /// Whether a page of this origin may open a websocket here, with this host. It must be a page of ours.
    pub(crate) fn allows_origin(&self, origin: &str, host: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let (Some(origin), Some(host)) = (HostName::parse(authority), HostName::parse(host)) else {
            return false;
        };
        // A proxy in front may leave out the port that is the default, or have another one than is listened on.
        let same_port = origin.port.unwrap_or(default_port) == host.port.unwrap_or(default_port);
        let same =
            origin.name == host.name && same_port && (self.is_ours(&host) || self.is_given(&host, false));
        same || self.is_given(&HostName { port: Some(origin.port.unwrap_or(default_port)), ..origin }, true)
    }

    fn is_ours(&self, host: &HostName) -> bool {
        let is_loopback = self.addresses.is_empty() || self.addresses.iter().any(IpAddr::is_loopback);
        match host.name.parse::<IpAddr>() {
            Ok(address) => {
                self.any_address || self.addresses.contains(&address) || is_loopback && address.is_loopback()
            }
            Err(_) => host.name == "localhost",
        }
    }

    /// Whether it was given; with `exactly`, with this port, or with none for one that a scheme has by default.
    fn is_given(&self, host: &HostName, exactly: bool) -> bool {
        self.given.iter().any(|(name, port)| {
            let fits = match (port, host.port) {
                (Some(given), Some(port)) => *given == port,
                (None, Some(port)) => !exactly || matches!(port, 80 | 443),
                (_, None) => !exactly,
            };
            *name == host.name && fits
        })
    }
}

/// A name or an address, and perhaps a port: `term.example.com`, `[::1]:7681`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName {
    name: String,
    port: Option<u16>,
}

impl HostName {
    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let port = authority.port_u16();
        let rest = &authority.as_str()[authority.host().len().min(authority.as_str().len())..];
        let is_plain = !text.contains('@') && (rest.is_empty() || port.is_some_and(|port| port > 0));
        (is_plain && !name.is_empty()).then_some(Self { name, port })
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = if self.name.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}{}{}", brackets.0, self.name, brackets.1)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or("write a name, as in the address that people open: term.example.com")
    }
}

/// Hosts and origins as a browser may send them: what is allowed is one that is listed.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    use std::net::Ipv6Addr;

    let text = String::from_utf8_lossy(input);
    let (host, origin) = text.split_once('\n').unwrap_or((&text, ""));
    let given = [HostName { name: "term.example.com".to_owned(), port: None }];
    let hosts = HostList::new(Some(IpAddr::from([127, 0, 0, 1])), &given);
    let listed = |text: &str| {
        let text = text.to_ascii_lowercase();
        let address =
            text.strip_prefix('[').and_then(|rest| rest.split(']').next()?.parse::<Ipv6Addr>().ok());
        address.is_some_and(|address| address.is_loopback())
            || ["127.", "localhost", "term.example.com"].iter().any(|name| text.starts_with(name))
    };
    assert!(!hosts.allows_host(host) || listed(host), "{host:?}");
    if hosts.allows_origin(origin, host) {
        let (_, authority) = origin.split_once("://").expect("an origin");
        assert!(listed(authority), "{origin:?} with {host:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str]) -> Vec<HostName> {
        given.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn only_listed_hosts_are_answered() {
        let loopback = HostList::new(Some("127.0.0.1".parse().unwrap()), &names(&["Term.example.com"]));
        for host in [
            "127.0.0.1:7681",
            "localhost:7681",
            "localhost",
            "LOCALHOST:1",
            "[::1]:7681",
            "term.example.com",
            "term.example.com.:443",
            "127.0.0.2:7681",
        ] {
            assert!(loopback.allows_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example:7681",
            "localhost.evil.example",
            "evil.example:7681",
            "10.0.0.1",
            "user@localhost",
            "localhost@evil.example",
            "localhost:",
            "localhost:0",
            "localhost:99999",
            "local host",
            "[::1",
            "example.com",
            "xterm.example.com",
            "localhost/x",
        ] {
            assert!(!loopback.allows_host(host), "{host}");
        }
        let any = HostList::new(Some("0.0.0.0".parse().unwrap()), &[]);
        assert!(any.allows_host("192.168.1.5:7681") && !any.allows_host("evil.example:7681"));
        let one = HostList::new(Some("192.168.1.5".parse().unwrap()), &[]);
        assert!(one.allows_host("192.168.1.5:7681") && !one.allows_host("192.168.1.6:7681"));
        assert!(!one.allows_host("127.0.0.1:7681"));
    }

    #[test]
    fn an_origin_is_allowed_only_with_its_own_host() {
        let hosts = HostList::new(
            Some("127.0.0.1".parse().unwrap()),
            &names(&["term.example.com", "other.example:8443"]),
        );
        for (origin, host) in [
            ("http://127.0.0.1:7681", "127.0.0.1:7681"),
            ("http://localhost:7681", "localhost:7681"),
            ("http://[::1]:7681", "[::1]:7681"),
            ("https://term.example.com", "term.example.com"),
            ("https://term.example.com", "term.example.com:443"),
            ("https://term.example.com:8000", "term.example.com:8000"),
            // A proxy that asks by an address.
            ("https://term.example.com", "127.0.0.1:7681"),
            ("https://other.example:8443", "localhost"),
        ] {
            assert!(hosts.allows_origin(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("", "localhost:7681"),
            ("null", "localhost:7681"),
            ("http://evil.example", "localhost:7681"),
            ("http://evil.example", "evil.example"),
            ("http://localhost:3000", "localhost:7681"),
            ("http://localhost", "localhost:7681"),
            ("http://127.0.0.1:7681", "localhost:7681"),
            ("https://term.example.com:8000", "localhost:7681"),
            ("https://other.example", "localhost:7681"),
            ("file://localhost:7681", "localhost:7681"),
            ("http://localhost:7681@evil.example", "localhost:7681"),
            ("chrome-extension://localhost:7681", "localhost:7681"),
        ] {
            assert!(!hosts.allows_origin(origin, host), "{origin} {host}");
        }
    }
}
