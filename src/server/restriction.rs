//! What a client may ask for that may not ask for everything.
//!
//! A relay says before the client's hello that it may only watch one session; a client that redeems a link may do what
//! that says. The server sees to it: whatever the client sends, it comes to a request first, and each request that is
//! not allowed is refused. So neither a relay nor a gateway need understand what it copies. Nothing takes a restriction
//! back.

use super::shares::Viewing;
use crate::{
    SessionId, SessionName,
    message::{Access, Attach, AttachOptions, ClientMessage, Create, OnLag, RequestError, Target},
    session::Manager,
};

/// What a client may do, where that is not everything.
#[derive(Debug)]
pub(super) enum Restriction {
    /// Its relay lets it watch the live session of this name.
    Watcher(SessionName),
    /// Nothing: it has tried to redeem a link that is not valid.
    Unredeemed,
    /// What the link says that it redeemed.
    Link(Viewing),
}

impl Restriction {
    /// Whether it came by a link, or tried.
    pub(super) fn is_link(&self) -> bool {
        !matches!(self, Self::Watcher(_))
    }

    pub(super) fn access(&self) -> Access {
        match self {
            Self::Watcher(_) | Self::Unredeemed => Access::ReadOnly,
            Self::Link(viewing) => viewing.access,
        }
    }

    /// What is said of what is not allowed.
    pub(super) fn refusal(&self) -> RequestError {
        match self {
            Self::Watcher(only) => RequestError::Restricted { session: only.clone() },
            Self::Unredeemed => RequestError::NoSuchLink,
            Self::Link(viewing) if viewing.is_valid() => RequestError::BeyondLink { access: viewing.access },
            Self::Link(_) => RequestError::NoSuchLink,
        }
    }

    /// The request, if it is allowed, with its session by its name or id: so another one which gets the name meanwhile
    /// is not meant. `watched` is the one that the client watches already.
    pub(super) fn allowed(
        &self,
        request: ClientMessage,
        watched: Option<SessionId>,
        sessions: &Manager,
    ) -> Result<ClientMessage, RequestError> {
        let allowed = match self {
            // The server's own word, which tells nothing.
            _ if request == ClientMessage::Ping => Some(request),
            Self::Watcher(only) => {
                watches(request, watched, &|target| watchers_session(target, only, watched, sessions))
            }
            Self::Unredeemed => None,
            Self::Link(viewing) if !viewing.is_valid() => None,
            Self::Link(viewing) => by_link(request, viewing, watched, sessions),
        };
        allowed.ok_or_else(|| self.refusal())
    }
}

/// What only watches, each for a session that is allowed.
fn watches(
    request: ClientMessage,
    watched: Option<SessionId>,
    target: &dyn Fn(Target) -> Option<Target>,
) -> Option<ClientMessage> {
    Some(match request {
        ClientMessage::Detach | ClientMessage::Resync => request,
        ClientMessage::Resize { session, .. } if Some(session) == watched => request,
        ClientMessage::Attach(Attach { session, options, .. })
            if options.access == Access::ReadOnly && holds_nobody(&options) =>
        {
            ClientMessage::Attach(Attach::new(target(session)?, options))
        }
        ClientMessage::Find { session } => ClientMessage::Find { session: target(session)? },
        ClientMessage::Wait { session } => ClientMessage::Wait { session: target(session)? },
        ClientMessage::ReadScreen { session, lines } => {
            ClientMessage::ReadScreen { session: target(session)?, lines }
        }
        _ => return None,
    })
}

/// One that is lossless holds the program back.
fn holds_nobody(options: &AttachOptions) -> bool {
    options.on_lag != OnLag::Lossless
}

/// The session that is meant, if it is the one that a relay's client may watch. Of others not even is said whether
/// there are any.
fn watchers_session(
    target: Target,
    only: &SessionName,
    watched: Option<SessionId>,
    sessions: &Manager,
) -> Option<Target> {
    match target {
        Target::Name(name) | Target::Prefix(name) if name == *only => Some(Target::Name(name)),
        Target::Id(id) if Some(id) == watched => Some(Target::Id(id)),
        Target::Here => None,
        target => match (sessions.find(&target), target) {
            (Ok(session), _) if session.name() == *only => Some(Target::Id(session.id())),
            // It has ended, which is said by its name as well.
            (Err(RequestError::SessionEnded { name, .. }), Target::Id(id)) if name == only.as_str() => {
                Some(Target::Id(id))
            }
            _ => None,
        },
    }
}

/// What a link allows: to watch, and if it says so to type and to size; of all sessions, to list them, and to start and
/// end them as well.
fn by_link(
    request: ClientMessage,
    viewing: &Viewing,
    watched: Option<SessionId>,
    sessions: &Manager,
) -> Option<ClientMessage> {
    let (only, writes) = (viewing.session, viewing.access == Access::ReadWrite);
    let is_linked = |id: SessionId| only.is_none_or(|only| only == id);
    let target = |target: Target| linked_session(target, only, sessions);
    match request {
        ClientMessage::Attach(Attach { session, options, .. }) if writes && holds_nobody(&options) => {
            Some(ClientMessage::Attach(Attach::new(target(session)?, options)))
        }
        ClientMessage::Input { session, .. } | ClientMessage::Resize { session, .. }
            if writes && is_linked(session) =>
        {
            Some(request)
        }
        ClientMessage::List | ClientMessage::Listen if only.is_none() => Some(request),
        ClientMessage::Create(Create { attach, .. })
            if only.is_none() && writes && attach.as_ref().is_none_or(holds_nobody) =>
        {
            Some(request)
        }
        ClientMessage::Kill { session } if only.is_none() && writes => {
            Some(ClientMessage::Kill { session: target(session)? })
        }
        request => watches(request, watched, &target),
    }
}

/// The session that is meant, if a link shows it.
fn linked_session(target: Target, only: Option<SessionId>, sessions: &Manager) -> Option<Target> {
    match (only, target) {
        // No viewer is in the terminal of a session.
        (_, Target::Here) => None,
        (None, target) => Some(target),
        (Some(only), Target::Id(id)) => (id == only).then_some(Target::Id(id)),
        (Some(only), named) => {
            let found = sessions.find_to_read(&named).ok().filter(|session| session.id() == only);
            found.map(|session| Target::Id(session.id()))
        }
    }
}
