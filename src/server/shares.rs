//! Links: who may see what without being this user's client. A connection that redeems one can do what the link says
//! and nothing else, for good: see `restriction`.
//!
//! A link's secret is told once, to who made it. What is kept is its hash, here and, for the next server, in a file
//! beside the socket. A link that is not valid is refused in one way, whatever the reason. When a link ends, so do the
//! connections that redeemed it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{field::display, info, warn};

use super::{ServerState, link::Link};
use crate::{
    ClientId, SessionId,
    message::{
        Access, CloseReason, LinkId, LinkInfo, LinkToken, LinkedSession, Redeemed, RequestError, Share,
        SharedLink, Target, UnshareWhich, Unshared, ViewerId, kept_label,
    },
    session::Session,
    sync::{Mutex, Rank},
};

/// The most links of a server: far more than a person keeps in view.
const MAX_LINKS: usize = 1024;

/// The most viewers that a link admits, if it counts them: each is remembered in 16 bytes.
const MAX_USES: u32 = 100;

/// How long a viewer whose link has ended has to take what was written and the reason.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// A server's links.
#[derive(Debug)]
pub(super) struct Shares {
    /// A leaf lock.
    table: Mutex<LinkTable>,
    /// Held while the table is written for the next server, so that what is written last is the newest.
    saving: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct LinkTable {
    /// The oldest first. There are few enough to look at all.
    links: Vec<KnownLink>,
    /// Connections whose links have ended, and when they are ended in any case.
    ending: Vec<(Instant, Arc<Link>)>,
}

#[derive(Debug)]
struct KnownLink {
    kept: KeptLink,
    life: Arc<LinkLife>,
    /// The connections that redeemed it.
    viewers: HashSet<ClientId>,
}

/// What a later server has to know of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptLink {
    /// The secret's SHA-256.
    hash: [u8; 32],
    id: LinkId,
    session: Option<SessionId>,
    access: Access,
    label: Option<String>,
    /// In seconds since the machine was started.
    expires: Option<u64>,
    uses: Option<u32>,
    /// The viewers that used it, as the beginnings of their hashes, if it counts them.
    admitted: Vec<[u8; 16]>,
}

/// All links, as they are kept. Only ever added to, as another version.
#[derive(Debug, Serialize, Deserialize)]
enum KeptLinks {
    First {
        /// Which start of the machine this is. Links do not outlive it, for their times mean nothing after another.
        boot: String,
        links: Vec<KeptLink>,
    },
}

/// Whether a link is still valid, for those that redeemed it.
#[derive(Debug)]
struct LinkLife {
    /// Relaxed: it stands alone.
    is_over: AtomicBool,
    expires: Option<u64>,
}

/// A connection's part in the link that it redeemed. When this drops it no longer counts.
#[derive(Debug)]
pub(super) struct Viewing {
    shared: Arc<ServerState>,
    client: ClientId,
    link: LinkId,
    life: Arc<LinkLife>,
    /// The session that the link shows; `None` for all.
    pub(super) session: Option<SessionId>,
    pub(super) access: Access,
}

impl Viewing {
    /// Whether the link is still valid. The connection is closed soon where not, and can do nothing until then.
    pub(super) fn is_valid(&self) -> bool {
        self.life.is_valid(now())
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.shared.shares.table.with(|table| {
            if let Some(link) = table.links.iter_mut().find(|link| link.kept.id == self.link) {
                link.viewers.remove(&self.client);
            }
        });
    }
}

impl LinkLife {
    fn is_valid(&self, now: u64) -> bool {
        !self.is_over.load(Ordering::Relaxed) && self.expires.is_none_or(|expires| now < expires)
    }
}

impl KnownLink {
    fn new(kept: KeptLink) -> Self {
        let life = Arc::new(LinkLife { is_over: AtomicBool::new(false), expires: kept.expires });
        Self { kept, life, viewers: HashSet::new() }
    }

    /// Whether it admits this viewer, and whether that is one more.
    fn admits(&self, viewer: &[u8; 16], now: u64) -> Option<bool> {
        if !self.life.is_valid(now) {
            return None;
        }
        match self.kept.uses {
            None => Some(false),
            Some(_) if self.kept.admitted.contains(viewer) => Some(false),
            Some(uses) => (self.kept.admitted.len() < uses as usize).then_some(true),
        }
    }

    fn info(&self, session: Option<LinkedSession>, now: u64) -> LinkInfo {
        let KeptLink { id, access, label, expires, uses, admitted, .. } = &self.kept;
        LinkInfo {
            id: *id,
            session,
            access: *access,
            label: label.clone(),
            uses: *uses,
            used: u32::try_from(admitted.len()).unwrap_or(u32::MAX),
            viewers: self.viewers.len(),
            expires_seconds: expires.map(|expires| expires.saturating_sub(now)),
        }
    }
}

impl LinkTable {
    /// The sessions that there are links to.
    fn sessions(&self) -> HashSet<SessionId> {
        self.links.iter().filter_map(|link| link.kept.session).collect()
    }

    fn find(&mut self, hash: &[u8; 32]) -> Option<&mut KnownLink> {
        self.links.iter_mut().find(|link| link.kept.hash == *hash)
    }

    /// Takes out the links that are meant. Who redeemed them can do nothing any more.
    fn end(&mut self, is_meant: impl Fn(&KnownLink) -> bool) -> Vec<KnownLink> {
        let ended: Vec<_> = self.links.extract_if(.., |link| is_meant(link)).collect();
        for link in &ended {
            link.life.is_over.store(true, Ordering::Relaxed);
        }
        ended
    }
}

impl Shares {
    pub(super) fn new() -> Self {
        Self { table: Mutex::new(Rank::Leaf, LinkTable::default()), saving: tokio::sync::Mutex::default() }
    }
}

impl ServerState {
    /// Makes a link to a session; with `None`, to all.
    pub(super) async fn share(
        &self,
        share: Share,
        session: Option<&Session>,
    ) -> Result<SharedLink, RequestError> {
        self.share_by(LinkToken::random(), share, session).await
    }

    /// Makes a link with this secret.
    pub(super) async fn share_by(
        &self,
        token: LinkToken,
        share: Share,
        session: Option<&Session>,
    ) -> Result<SharedLink, RequestError> {
        let Share { access, uses, lifetime_seconds, label, .. } = share;
        if uses.is_some_and(|uses| !(1..=MAX_USES).contains(&uses)) {
            return Err(RequestError::Malformed(format!("a link admits from 1 to {MAX_USES} viewers")));
        }
        if lifetime_seconds == Some(0) {
            return Err(RequestError::Malformed("a link is valid for a second at least".to_owned()));
        }
        self.forget_links_of_forgotten_sessions();
        let now = now();
        let mut kept = KeptLink {
            hash: Sha256::digest(token.to_bytes()).into(),
            id: LinkId::random(),
            session: session.map(Session::id),
            access,
            label: label.as_deref().and_then(kept_label),
            expires: lifetime_seconds.map(|seconds| now.saturating_add(seconds)),
            uses,
            admitted: Vec::new(),
        };
        let linked = session.map(|session| LinkedSession::new(session.id(), session.name()));
        let info = self.shares.table.with(|table| {
            if table.links.len() >= MAX_LINKS {
                return Err(RequestError::TooManyLinks(MAX_LINKS));
            }
            while table.links.iter().any(|link| link.kept.id == kept.id) {
                kept.id = LinkId::random();
            }
            let link = KnownLink::new(kept);
            let info = link.info(linked, now);
            table.links.push(link);
            Ok(info)
        })?;
        if let Err(refused) = self.save_links().await {
            // It would be gone with this server, which nobody would be told.
            drop(self.shares.table.with(|table| table.end(|link| link.kept.id == info.id)));
            return Err(refused);
        }
        let to = info.session.as_ref().map(|session| display(session.id));
        info!(link = %info.id, session = to, ?access, lifetime_seconds, uses, "a link was made");
        Ok(SharedLink::new(info, token))
    }

    /// All links, the oldest first.
    pub(super) fn shares(&self) -> Vec<LinkInfo> {
        self.forget_links_of_forgotten_sessions();
        let ids = self.shares.table.with(|table| table.sessions());
        let named: Vec<_> =
            ids.into_iter().filter_map(|id| Some((id, self.linked_session(id).ok()?))).collect();
        let now = now();
        self.shares.table.with(|table| {
            let valid = table.links.iter().filter(|link| link.life.is_valid(now));
            let info = valid.filter_map(|link| match link.kept.session {
                None => Some(link.info(None, now)),
                Some(id) => {
                    let (_, session) = named.iter().find(|(other, _)| *other == id)?;
                    Some(link.info(Some(session.clone()), now))
                }
            });
            info.collect()
        })
    }

    /// Revokes links, and closes the connections that redeemed them.
    pub(super) async fn unshare(&self, which: UnshareWhich) -> Result<Unshared, RequestError> {
        let ended = self.shares.table.with(|table| {
            table.end(|link| match which {
                UnshareWhich::One(id) => link.kept.id == id,
                UnshareWhich::All => true,
            })
        });
        if let (UnshareWhich::One(id), true) = (which, ended.is_empty()) {
            return Err(RequestError::UnknownLink(id));
        }
        let viewers = self.close_viewers(&ended, &CloseReason::Revoked);
        info!(links = ended.len(), viewers, "links were revoked");
        self.save_links().await?;
        Ok(Unshared::new(ended.len(), viewers))
    }

    /// Redeems a link: what the connection can do from now on.
    pub(super) async fn redeem(
        self: &Arc<Self>,
        client: ClientId,
        token: LinkToken,
        viewer: ViewerId,
    ) -> Result<(Redeemed, Viewing), RequestError> {
        let hash: [u8; 32] = Sha256::digest(token.to_bytes()).into();
        let viewer = Sha256::digest(viewer.to_bytes());
        let viewer: [u8; 16] = std::array::from_fn(|at| viewer[at]);
        let table = &self.shares.table;
        // First whether it is valid: how a session ended is told to nobody else.
        let session = table.with(|table| {
            let link = table.find(&hash)?;
            link.admits(&viewer, now()).map(|_| link.kept.session)
        });
        let session = session.ok_or(RequestError::NoSuchLink)?;
        let linked = session.map(|id| self.linked_session(id)).transpose()?;
        let admitted = table.with(|table| {
            let link = table.find(&hash)?;
            let is_new = link.admits(&viewer, now())?;
            if is_new {
                link.kept.admitted.push(viewer);
            }
            link.viewers.insert(client);
            Some((link.kept.id, link.kept.access, link.kept.label.clone(), Arc::clone(&link.life), is_new))
        });
        let (link, access, label, life, is_new) = admitted.ok_or(RequestError::NoSuchLink)?;
        let viewing = Viewing { shared: Arc::clone(self), client, link, life, session, access };
        if is_new {
            // Or the next server would admit another in its place.
            self.save_links().await?;
        }
        info!(%link, %client, is_new, "a link was redeemed");
        Ok((Redeemed { link, session: linked, access, label }, viewing))
    }

    /// Whether a client has redeemed a link to one session.
    pub(super) fn is_bound_by_link(&self, client: ClientId) -> bool {
        let is_it = |link: &KnownLink| link.kept.session.is_some() && link.viewers.contains(&client);
        self.shares.table.with(|table| table.links.iter().any(is_it))
    }

    /// Ends the links whose time is over, and the connections that do not end by themselves. To be called every second
    /// or so.
    pub(super) fn end_links_in_time(&self) {
        let now = now();
        let (expired, overdue) = self.shares.table.with(|table| {
            if table.links.is_empty() && table.ending.is_empty() {
                return (Vec::new(), Vec::new());
            }
            let expired = table.end(|link| !link.life.is_valid(now));
            let time = Instant::now();
            (expired, table.ending.extract_if(.., |(end, _)| *end <= time).collect::<Vec<_>>())
        });
        for (_, link) in overdue {
            // One that has ended takes no notice.
            link.cancel();
        }
        if !expired.is_empty() {
            let viewers = self.close_viewers(&expired, &CloseReason::Expired);
            info!(links = expired.len(), viewers, "links have expired");
        }
    }

    /// Takes over the links of an earlier server. Those to sessions that are not here are gone.
    pub(super) fn take_over_links(&self) {
        let kept = match self.sessions.kept_links() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => return warn!(%error, "the links of an earlier server could not be read"),
        };
        let Ok(KeptLinks::First { boot, links }) = postcard::from_bytes(&kept) else {
            return warn!("the links of an earlier server are not understood, and are gone");
        };
        if boot != this_boot() {
            return info!("the links of an earlier server ended with the machine");
        }
        let is_here = |link: &KeptLink| link.session.is_none_or(|id| self.linked_session(id).is_ok());
        let links: Vec<_> = links.into_iter().filter(is_here).take(MAX_LINKS).map(KnownLink::new).collect();
        info!(links = links.len(), "links were taken over from an earlier server");
        self.shares.table.with(|table| table.links = links);
    }

    /// Has the connections told that redeemed these links, and ended. Returns how many.
    fn close_viewers(&self, ended: &[KnownLink], reason: &CloseReason) -> usize {
        let viewers: Vec<_> = ended.iter().flat_map(|link| &link.viewers).copied().collect();
        let links: Vec<_> = viewers.iter().filter_map(|viewer| self.clients.get(*viewer)).collect();
        let closed = viewers.iter().filter(|viewer| self.clients.close(**viewer, reason.clone())).count();
        // One that reads nothing may have more to take first.
        let end = Instant::now() + CLOSE_TIME;
        self.shares.table.with(|table| table.ending.extend(links.into_iter().map(|link| (end, link))));
        closed
    }

    /// The session that a link shows, as long as it can be watched; then how it ended.
    fn linked_session(&self, id: SessionId) -> Result<LinkedSession, RequestError> {
        match self.sessions.find_to_read(&Target::Id(id)) {
            Ok(session) => Ok(LinkedSession::new(id, session.name())),
            Err(RequestError::UnknownSession(_)) => Err(RequestError::NoSuchLink),
            Err(refused) => Err(refused),
        }
    }

    /// A link ends with its session, once nobody can be told how that ended.
    fn forget_links_of_forgotten_sessions(&self) {
        let ids = self.shares.table.with(|table| table.sessions());
        let gone = |id: &SessionId| matches!(self.linked_session(*id), Err(RequestError::NoSuchLink));
        let gone: Vec<_> = ids.into_iter().filter(gone).collect();
        if !gone.is_empty() {
            let is_gone = |link: &KnownLink| link.kept.session.is_some_and(|id| gone.contains(&id));
            drop(self.shares.table.with(|table| table.end(is_gone)));
        }
    }

    /// Writes the links for the next server.
    async fn save_links(&self) -> Result<(), RequestError> {
        let _saving = self.shares.saving.lock().await;
        let kept = self.shares.table.with(|table| table.links.iter().map(|link| link.kept.clone()).collect());
        let is_empty = Vec::<KeptLink>::is_empty(&kept);
        let bytes = postcard::to_stdvec(&KeptLinks::First { boot: this_boot(), links: kept })
            .map_err(std::io::Error::other);
        let bytes = bytes.map(|bytes| (!is_empty).then_some(bytes));
        bytes.and_then(|bytes| self.sessions.keep_links(bytes.as_deref())).map_err(|error| {
            RequestError::Failed {
                what: "keeping the links for the next server".to_owned(),
                why: format!("{error}; those that are valid now end with this one"),
            }
        })
    }
}

/// Seconds since the machine was started: a link's time goes on while that sleeps or another server comes, and whatever
/// happens to the wall clock.
fn now() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

/// Which start of the machine this is.
fn this_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}
