//! What one address may do: connections that are no viewers yet, and failures in a minute.
//!
//! Behind a reverse proxy (a Unix socket) the address is the last one that the proxy names.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Links that were not valid, and pages that said nothing or nonsense: so many in a minute, and the address is refused
/// for the rest of it.
pub(super) const MAX_FAILURES: u32 = 10;
const FAILURE_TIME: Duration = Duration::from_secs(60);

/// Connections that are no viewers (yet): of one address, and in all. With two descriptors for each of the viewers,
/// they fit into the usual limit of 1024.
pub(super) const MAX_PENDING: usize = 256;
const MAX_PENDING_OF_ONE: usize = 64;

/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// What counts as one address: of IPv6 what one customer is given. `None` of a Unix socket that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WebAddress(Option<IpAddr>);

impl WebAddress {
    pub(super) fn new(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 => v4,
        }))
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// What all addresses did.
#[derive(Debug, Default)]
pub(super) struct Conduct(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    addresses: HashMap<WebAddress, Entry>,
    pending: usize,
}

#[derive(Debug)]
struct Entry {
    pending: usize,
    failures: u32,
    /// When the first of these failures was.
    since: Instant,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        self.failures == 0 || now.saturating_duration_since(self.since) >= FAILURE_TIME
    }
}

/// A connection that is no viewer yet; until it is dropped.
#[derive(Debug)]
pub(super) struct PendingConnection {
    conduct: Arc<Conduct>,
    address: WebAddress,
}

impl Conduct {
    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a connection in, if there is room for one more of its address.
    pub(super) fn connect(self: &Arc<Self>, address: WebAddress) -> Option<PendingConnection> {
        let is_let_in = self.with(|book| {
            let is_named = address.0.is_some();
            let pending = book.addresses.get(&address).map_or(0, |entry| entry.pending);
            if book.pending >= MAX_PENDING || is_named && pending >= MAX_PENDING_OF_ONE {
                return false;
            }
            book.pending += 1;
            book.entry(address, Instant::now()).pending += 1;
            true
        });
        is_let_in.then(|| PendingConnection { conduct: Arc::clone(self), address })
    }

    /// Something failed that fails for those who guess.
    pub(super) fn fail(&self, address: WebAddress, now: Instant) {
        self.with(|book| {
            let entry = book.entry(address, now);
            if entry.is_over(now) {
                (entry.failures, entry.since) = (0, now);
            }
            entry.failures = entry.failures.saturating_add(1);
        });
    }

    /// Whether an address has failed too often in the last minute.
    pub(super) fn is_blocked(&self, address: WebAddress, now: Instant) -> bool {
        self.with(|book| {
            let entry = book.addresses.get(&address);
            entry.is_some_and(|entry| entry.failures >= MAX_FAILURES && !entry.is_over(now))
        })
    }
}

impl Book {
    /// What is known of an address. For a new one, old ones are forgotten where there are too many.
    fn entry(&mut self, address: WebAddress, now: Instant) -> &mut Entry {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, entry| entry.pending > 0 || !entry.is_over(now));
            let oldest = self.addresses.iter().filter(|(_, entry)| entry.pending == 0);
            let oldest = oldest.min_by_key(|(_, entry)| entry.since).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.addresses.len() >= MAX_ADDRESSES) {
                self.addresses.remove(&oldest);
            }
        }
        self.addresses.entry(address).or_insert(Entry { pending: 0, failures: 0, since: now })
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.conduct.with(|book| {
            book.pending -= 1;
            if let Some(entry) = book.addresses.get_mut(&self.address) {
                entry.pending -= 1;
                if entry.pending == 0 && entry.is_over(Instant::now()) {
                    book.addresses.remove(&self.address);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> WebAddress {
        WebAddress::new(Some(text.parse().unwrap()))
    }

    #[test]
    fn an_address_that_fails_too_often_is_refused_for_a_minute() {
        let conduct = Conduct::default();
        let (guesser, other, begun) = (address("192.0.2.1"), address("192.0.2.2"), Instant::now());
        for failed in 0..MAX_FAILURES {
            assert!(!conduct.is_blocked(guesser, begun), "after {failed}");
            conduct.fail(guesser, begun);
        }
        assert!(conduct.is_blocked(guesser, begun));
        assert!(!conduct.is_blocked(other, begun));
        let later = begun + FAILURE_TIME;
        assert!(!conduct.is_blocked(guesser, later));
        conduct.fail(guesser, later);
        assert!(!conduct.is_blocked(guesser, later));
    }

    #[test]
    fn one_address_of_ipv6_is_what_a_customer_has() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.2"), address("192.0.2.1"));
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let conduct = Arc::new(Conduct::default());
        let mut held: Vec<_> = std::iter::from_fn(|| conduct.connect(address("192.0.2.1"))).collect();
        assert_eq!(held.len(), MAX_PENDING_OF_ONE);
        held.push(conduct.connect(address("192.0.2.2")).unwrap());
        drop(held);
        assert!(conduct.connect(address("192.0.2.1")).is_some());
        assert_eq!(conduct.with(|book| (book.pending, book.addresses.len())), (0, 0));
        let many: Vec<_> = (0..)
            .map_while(|at: u32| {
                conduct.connect(WebAddress::new(Some(std::net::Ipv4Addr::from(at / 8).into())))
            })
            .collect();
        assert_eq!(many.len(), MAX_PENDING);
    }

    #[test]
    fn addresses_that_fail_take_bounded_memory() {
        let conduct = Conduct::default();
        let now = Instant::now();
        for at in 0..MAX_ADDRESSES as u32 + 100 {
            let address = WebAddress::new(Some(std::net::Ipv4Addr::from(at).into()));
            conduct.fail(address, now + Duration::from_millis(at.into()));
        }
        assert_eq!(conduct.with(|book| book.addresses.len()), MAX_ADDRESSES);
        // The oldest ones were forgotten.
        let first = WebAddress::new(Some(std::net::Ipv4Addr::from(0).into()));
        assert!(!conduct.with(|book| book.addresses.contains_key(&first)));
    }
}
