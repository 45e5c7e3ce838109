//! Which session is shown, and which one is to be shown in its place: what sender and receiver share of it.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

use crate::{
    SessionId, SessionName,
    client::Reached,
    message::{AttachedTo, SessionInfo},
};

pub(super) struct Current {
    session: Cell<SessionId>,
    name: RefCell<SessionName>,
    state: Cell<Switch>,
    /// Nothing is drawn of a session that has printed nothing, and the one before is still to be seen.
    is_blank: Cell<bool>,
    /// There is something for the sender to do, or to go on with.
    changed: Notify,
    /// What of the session has come.
    reached: Cell<Reached>,
}

/// Where a change to another session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    None,
    /// The person wants to see the next one, and the server was asked which there are.
    Choosing,
    /// The person wants to see this one.
    Wanted(SessionId),
    /// The server was asked, by this request.
    Asked(u64),
}

impl Current {
    pub(super) fn new(attached: &AttachedTo) -> Self {
        Self {
            session: Cell::new(attached.session),
            name: RefCell::new(attached.name.clone()),
            state: Cell::new(Switch::None),
            is_blank: Cell::new(false),
            changed: Notify::new(),
            reached: Cell::new(Reached::Output(attached.start)),
        }
    }

    pub(super) fn session(&self) -> SessionId {
        self.session.get()
    }

    pub(super) fn name(&self) -> SessionName {
        self.name.borrow().clone()
    }

    /// Whether another session may be shown soon: what is typed meanwhile is for that one.
    pub(super) fn is_switching(&self) -> bool {
        self.state.get() != Switch::None
    }

    /// Another session is to be shown. Only one at a time: what comes meanwhile comes too early.
    pub(super) fn want(&self, session: SessionId) {
        if !self.is_switching() {
            self.state.set(Switch::Wanted(session));
            self.changed.notify_one();
        }
    }

    /// The next session is to be shown, once it is known which that is. Returns whether the server is to be asked.
    pub(super) fn choose(&self) -> bool {
        let asks = !self.is_switching();
        if asks {
            self.state.set(Switch::Choosing);
        }
        asks
    }

    /// These are the sessions: the next one that runs is to be shown. Returns whether there is another.
    pub(super) fn choose_next(&self, sessions: &[SessionInfo]) -> bool {
        if self.state.get() != Switch::Choosing {
            return true;
        }
        match next_of(sessions, self.session()) {
            Some(next) => {
                self.state.set(Switch::Wanted(next));
                self.changed.notify_one();
                true
            }
            None => {
                self.stays();
                false
            }
        }
    }

    /// The session that the server is to be asked for.
    pub(super) fn wanted(&self) -> Option<SessionId> {
        if let Switch::Wanted(session) = self.state.get() { Some(session) } else { None }
    }

    /// The server was asked, by this request.
    pub(super) fn asked(&self, request: u64) {
        self.state.set(Switch::Asked(request));
    }

    pub(super) fn is_asked(&self, request: u64) -> bool {
        self.state.get() == Switch::Asked(request)
    }

    /// Another session is shown from now on.
    pub(super) fn switched_to(&self, attached: AttachedTo) {
        self.session.set(attached.session);
        self.name.replace(attached.name);
        self.is_blank.set(attached.start == 0);
        self.reached.set(Reached::Output(attached.start));
        self.stays();
    }

    /// The session that is shown now stays.
    pub(super) fn stays(&self) {
        self.state.set(Switch::None);
        self.changed.notify_one();
    }

    pub(super) fn reached(&self, reached: Reached) {
        self.reached.set(reached);
    }

    pub(super) fn how_far(&self) -> Reached {
        self.reached.get()
    }

    pub(super) fn take_blank(&self) -> bool {
        self.is_blank.take()
    }

    /// Waits until there is something to do.
    ///
    /// # Cancel safety
    /// Cancel safe: what nobody waited for is kept.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The session that runs and follows this one, and after the last the first.
fn next_of(sessions: &[SessionInfo], session: SessionId) -> Option<SessionId> {
    let live: Vec<_> = sessions.iter().filter(|info| info.state.is_live()).map(|info| info.id).collect();
    let next = match live.iter().position(|id| *id == session) {
        Some(at) => (at + 1) % live.len(),
        None => 0,
    };
    live.get(next).copied().filter(|id| *id != session)
}
