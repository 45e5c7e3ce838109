//! What one client does to a session's others: detaching them, and having one switch to another session. And what
//! happens to sessions, on its way to a client that asked.

use std::sync::Arc;

use tracing::info;

use super::{ServerState, command::Command, link::Link, peer::Terminals};
use crate::{
    ClientId, SessionId,
    message::{CloseReason, DetachWhich, Event, RequestError, Target},
    session::{EventQueue, RecvError, Session},
    wire,
};

impl ServerState {
    /// Detaches clients of a session. Returns how many.
    pub(super) fn detach(&self, session: &Session, which: DetachWhich) -> Result<usize, RequestError> {
        let watching = || self.registry.session_clients(session.id());
        let latest = session.latest();
        let chosen: Vec<_> = match which {
            DetachWhich::Latest => {
                vec![latest.ok_or_else(|| RequestError::NobodyAttached(session.name()))?]
            }
            DetachWhich::One(client) if watching().contains(&client) => vec![client],
            DetachWhich::One(client) => {
                return Err(RequestError::NotAttached { client, session: session.name() });
            }
            DetachWhich::Terminals => watching().into_iter().filter(|id| self.is_terminal(*id)).collect(),
            DetachWhich::Others => {
                let others = watching().into_iter().filter(|id| Some(*id) != latest);
                others.filter(|id| self.is_terminal(*id)).collect()
            }
        };
        let detached = chosen.into_iter().filter(|id| self.clients.close(*id, CloseReason::Detached)).count();
        info!(session = %session.id(), name = %session.name(), detached, "clients were told to detach");
        Ok(detached)
    }

    /// That a client can't watch `session`, because of this way to it.
    pub(super) fn circle(&self, session: &Session, way: &[SessionId]) -> RequestError {
        // One that ended just now has no name any more.
        let way = way.iter().filter_map(|id| Some(self.sessions.find(&Target::Id(*id)).ok()?.name()));
        RequestError::Circle { session: session.name(), way: way.collect() }
    }

    fn is_terminal(&self, client: ClientId) -> bool {
        self.clients.get(client).is_some_and(|link| link.status.is_terminal())
    }

    /// Asks the client that `session` was used from last to watch another session. Refused where that would show a
    /// session in itself, and where the client takes nothing.
    pub(super) fn switch(&self, session: &Session, to: &Session) -> Result<usize, RequestError> {
        if session.id() == to.id() {
            return Err(self.circle(to, &[to.id()]));
        }
        let nobody = || RequestError::NobodyAttached(session.name());
        let client = session.latest().ok_or_else(nobody)?;
        let link = self.clients.get(client).ok_or_else(nobody)?;
        let failed = |why: String| RequestError::Failed { what: format!("asking {client}"), why };
        if self.is_bound_by_link(client) {
            return Err(failed("it watches by a link to this session only".to_owned()));
        }
        if let Some(process) = link.status.process() {
            let terminals = Terminals::of(process);
            let within = self.sessions.with_terminals(|terminal| terminals.contain(terminal));
            if let Some(way) = self.nesting.way(&within, to.id()) {
                return Err(self.circle(to, &way));
            }
        }
        let event =
            wire::encode_event(&Event::Switch { to: to.id() }).map_err(|error| failed(error.to_string()))?;
        let told = link.try_send(Command::Frame(event));
        told.map_err(|_| failed("it takes nothing just now; try again".to_owned()))?;
        Ok(1)
    }
}

/// Tells a client what happens to sessions, as fast as it takes that, until it is gone.
pub(super) async fn tell_events(mut events: EventQueue, link: Arc<Link>) {
    loop {
        let event = tokio::select! {
            () = link.closed() => return,
            event = events.recv() => match event {
                Ok(event) => Event::Session(Box::new(event)),
                Err(RecvError::Lagged(lost)) => Event::Lost(lost),
                Err(RecvError::Closed) => return,
            },
        };
        let Ok(frame) = wire::encode_event(&event) else { continue };
        if link.send(Command::Frame(frame)).await.is_err() {
            return;
        }
    }
}
