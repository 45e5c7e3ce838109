//! The sessions that one connection provides: what it says of them goes in, and what they are asked comes out.

use std::{collections::HashMap, sync::Arc};

use bytes::BytesMut;
use tokio::task::JoinSet;

use super::{ServerState, command::Command, link::Link};
use crate::{
    SessionId,
    message::{
        MAX_DRAWING, MAX_DRAWING_PIECE, MAX_PRINT, Provide, Provided, ProviderNews, ProviderStatement,
        RequestError,
    },
    session::{Broken, ProvidedNews, ProvidedSession},
    wire,
};

/// Sessions that one connection may provide. What is printed to each and not taken is bounded by its credit.
const MAX_PROVIDED: usize = 64;

#[derive(Default)]
pub(super) struct Providing {
    sessions: HashMap<SessionId, ProvidedSession>,
    /// What tells the client of its sessions.
    telling: JoinSet<()>,
    /// The pieces of a drawing so far, and of which session.
    drawing: Option<(SessionId, BytesMut)>,
}

impl Providing {
    /// Provides a session from now on.
    pub(super) fn begin(
        &mut self,
        shared: &ServerState,
        provide: &Provide,
        link: &Arc<Link>,
    ) -> Result<BegunProviding, RequestError> {
        if self.sessions.len() >= MAX_PROVIDED {
            self.sessions.retain(|_, session| !session.is_over());
        }
        if self.sessions.len() >= MAX_PROVIDED && !self.sessions.contains_key(&provide.id) {
            return Err(RequestError::TooManyProvided(MAX_PROVIDED));
        }
        let (session, provided, news) = shared.sessions.provide(provide)?;
        // Its place is taken already, so that dropping the one before is no loss.
        self.sessions.insert(provide.id, session);
        while self.telling.try_join_next().is_some() {}
        Ok(BegunProviding { provided, news, link: Arc::clone(link) })
    }

    /// Tells the client what its session is asked, once it knows that it provides it.
    pub(super) fn tell(&mut self, id: SessionId, news: ProvidedNews, link: Arc<Link>) {
        self.telling.spawn(tell(id, news, link));
    }

    /// Takes in what the client says of a session.
    ///
    /// # Errors
    /// [`Broken`]: it is against the rules. The connection is closed.
    pub(super) fn take(&mut self, id: SessionId, statement: ProviderStatement) -> Result<(), Broken> {
        let Some(session) = self.sessions.get(&id) else {
            return Err(Broken(format!(
                "a statement on session {id}, which this connection does not provide"
            )));
        };
        let mut drawing = BytesMut::new();
        match &statement {
            ProviderStatement::Print { data, .. } if data.len() > MAX_PRINT => {
                return Err(Broken(format!("a print of {} bytes, of at most {MAX_PRINT}", data.len())));
            }
            ProviderStatement::Drawing { data } => return self.draw(id, data),
            ProviderStatement::Skip { .. } => {
                let drawn = self.drawing.take_if(|(drawn, _)| *drawn == id);
                drawing = drawn.map(|(_, drawing)| drawing).unwrap_or_default();
            }
            _ => {}
        }
        session.take(statement, drawing.freeze())
    }

    fn draw(&mut self, id: SessionId, data: &[u8]) -> Result<(), Broken> {
        let (_, drawing) = match &mut self.drawing {
            Some(drawing) if drawing.0 == id => drawing,
            Some(_) => return Err(Broken("drawings of two sessions at once".to_owned())),
            none => none.insert((id, BytesMut::new())),
        };
        if data.len() > MAX_DRAWING_PIECE || drawing.len() + data.len() > MAX_DRAWING {
            return Err(Broken(format!("a drawing of more than {MAX_DRAWING} bytes")));
        }
        drawing.extend_from_slice(data);
        Ok(())
    }
}

/// A session that is provided from now on, of which the client has yet to be told.
pub(super) struct BegunProviding {
    pub(super) provided: Provided,
    pub(super) news: ProvidedNews,
    pub(super) link: Arc<Link>,
}

/// Tells a client of a session that it provides, as fast as it takes that.
async fn tell(id: SessionId, mut news: ProvidedNews, link: Arc<Link>) {
    loop {
        let news = news.next().await;
        let is_last = matches!(news, ProviderNews::Ended { .. });
        let Ok(frame) = wire::encode_news(id, &news) else { continue };
        // An error says that the connection has ended.
        if link.send(Command::Frame(frame)).await.is_err() || is_last {
            return;
        }
    }
}
