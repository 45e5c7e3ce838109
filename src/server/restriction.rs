//! What a client may ask for that may only watch one session.
//!
//! A relay says so before the client's hello, and the server sees to it: whatever the client sends, it comes to a
//! request first, and each request that is not one of these is refused. So a relay need not understand what it copies.

use crate::{
    SessionId,
    message::{Access, Attach, ClientMessage, OnLag, Relay, RequestError, Target},
    session::Manager,
};

/// Refuses what a client may not ask for that came by this relay. Where that lets it watch one session, requests pass
/// that only watch, each for that session by its name or id: so another one which gets the name meanwhile is not meant.
/// `watched` is the one that the client watches already.
pub(super) fn restricted(
    request: ClientMessage,
    relay: Option<&Relay>,
    watched: Option<SessionId>,
    sessions: &Manager,
) -> Result<ClientMessage, RequestError> {
    let Some(only) = relay.and_then(|relay| relay.only.as_ref()) else { return Ok(request) };
    let refused = || RequestError::Restricted { session: only.clone() };
    // Of others not even is said whether there are any.
    let that_session = |target| match target {
        Target::Name(name) | Target::Prefix(name) if name == *only => Ok(Target::Name(name)),
        Target::Id(id) if Some(id) == watched => Ok(Target::Id(id)),
        Target::Here => Err(refused()),
        target => match (sessions.find(&target), target) {
            (Ok(session), _) if session.name() == *only => Ok(Target::Id(session.id())),
            // It has ended, which is said by its name as well.
            (Err(RequestError::SessionEnded { name, .. }), Target::Id(id)) if name == only.as_str() => {
                Ok(Target::Id(id))
            }
            _ => Err(refused()),
        },
    };
    Ok(match request {
        ClientMessage::Ping | ClientMessage::Detach | ClientMessage::Resync => request,
        ClientMessage::Resize { session, .. } if Some(session) == watched => request,
        // One that is lossless holds the program back.
        ClientMessage::Attach(Attach { session, options, .. })
            if options.access == Access::ReadOnly && options.on_lag != OnLag::Lossless =>
        {
            ClientMessage::Attach(Attach::new(that_session(session)?, options))
        }
        ClientMessage::Find { session } => ClientMessage::Find { session: that_session(session)? },
        ClientMessage::Wait { session } => ClientMessage::Wait { session: that_session(session)? },
        ClientMessage::ReadScreen { session, lines } => {
            ClientMessage::ReadScreen { session: that_session(session)?, lines }
        }
        _ => return Err(refused()),
    })
}
