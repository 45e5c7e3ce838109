//! A method for each request.
//!
//! Each waits for its answer as [`Client::request`] does, with the same errors and the same cancel safety.

use bytes::Bytes;

use super::{Client, ClientError};
use crate::{
    SessionId, TerminalSize,
    message::{
        Attach, AttachOptions, AttachedTo, ChangedSession, ClientEnvironment, ClientMessage, Create,
        ExitStatus, LinkInfo, LinkToken, PixelSize, Provide, Provided, Redeemed, Reply, ServerStats,
        SessionChange, SessionInfo, SessionRules, SessionScreen, Share, SharedLink, Target, UnshareWhich,
        Unshared, ViewerId, kept_label,
    },
    wire::{self, WireError},
};

impl Client {
    /// Lists the live sessions, the oldest first, then those that ended last.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn list(&mut self) -> Result<Vec<SessionInfo>, ClientError> {
        match self.request(&ClientMessage::List).await? {
            Reply::Sessions(sessions) => Ok(sessions),
            _ => unexpected("reply to a list"),
        }
    }

    /// Starts a session that this client does not attach to, whatever [`Create::attach`] says.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn create(&mut self, create: Create) -> Result<SessionInfo, ClientError> {
        let create = Create { attach: None, ..create };
        match self.request(&ClientMessage::Create(create)).await? {
            Reply::Created(info) => Ok(info),
            _ => unexpected("reply to a create"),
        }
    }

    /// Starts a session and attaches to it, from its first byte.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn create_attached(
        &mut self,
        create: Create,
        mut options: AttachOptions,
    ) -> Result<AttachedTo, ClientError> {
        options.follows &= self.can_follow();
        let create = Create { attach: Some(options), ..create };
        match self.request(&ClientMessage::Create(create)).await? {
            Reply::Attached(attached) => Ok(attached),
            _ => unexpected("reply to a create"),
        }
    }

    /// Attaches to a session, and leaves the one that this client watched before.
    ///
    /// Output follows, which [`next`](Self::next) brings.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn attach(
        &mut self,
        session: impl Into<Target>,
        options: AttachOptions,
    ) -> Result<AttachedTo, ClientError> {
        self.attach_with(Attach::new(session.into(), options)).await
    }

    /// As [`attach`](Self::attach), for a client that also sends its environment.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn attach_with(&mut self, mut attach: Attach) -> Result<AttachedTo, ClientError> {
        attach.options.follows &= self.can_follow();
        match self.request(&ClientMessage::Attach(attach)).await? {
            Reply::Attached(attached) => Ok(attached),
            _ => unexpected("reply to an attach"),
        }
    }

    /// Stops watching. Does nothing if nothing is watched.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn detach(&mut self) -> Result<(), ClientError> {
        match self.request(&ClientMessage::Detach).await? {
            Reply::Detached => Ok(()),
            _ => unexpected("reply to a detach"),
        }
    }

    /// Types at most 64 KiB into a session's terminal, and waits until the terminal has them.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn input(&mut self, session: SessionId, data: impl Into<Bytes>) -> Result<(), ClientError> {
        let data = data.into();
        match self.request(&ClientMessage::Input { session, position: None, data }).await? {
            Reply::Written => Ok(()),
            _ => unexpected("reply to input"),
        }
    }

    /// Says how large this client's terminal is now, in cells and, if that is known, in pixels.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn resize(
        &mut self,
        session: SessionId,
        size: TerminalSize,
        pixels: Option<PixelSize>,
    ) -> Result<(), ClientError> {
        match self.request(&ClientMessage::Resize { session, size, pixels }).await? {
            Reply::Resized => Ok(()),
            _ => unexpected("reply to a resize"),
        }
    }

    /// Says how large a terminal is that shows a session elsewhere, in cells and, if that is known, in pixels; `None`
    /// once there is none. It counts for the session's size until then, or until this connection ends.
    ///
    /// # Errors
    /// As [`request`](Self::request); and [`ClientError::NoProviders`].
    pub async fn remote_resize(
        &mut self,
        session: SessionId,
        window: Option<(TerminalSize, Option<PixelSize>)>,
    ) -> Result<(), ClientError> {
        match self.request_of_providers(ClientMessage::RemoteResize { session, window }).await? {
            Reply::Resized => Ok(()),
            _ => unexpected("reply to a resize"),
        }
    }

    /// Whom a session's program waits for, and what its terminal is sized by.
    ///
    /// # Errors
    /// As [`request`](Self::request); and [`ClientError::NoProviders`].
    pub async fn rules(&mut self, session: impl Into<Target>) -> Result<SessionRules, ClientError> {
        let session = session.into();
        match self.request_of_providers(ClientMessage::Rules { session }).await? {
            Reply::Rules(rules) => Ok(rules),
            _ => unexpected("reply to a request for rules"),
        }
    }

    /// Asks for the watched session's screen, which follows. What was not sent yet is left out.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn resync(&mut self) -> Result<(), ClientError> {
        match self.request(&ClientMessage::Resync).await? {
            Reply::Resynced => Ok(()),
            _ => unexpected("reply to a resync"),
        }
    }

    /// Ends a session: hangs up its program, and kills it if it does not go. Waits until it is gone.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn kill(&mut self, session: impl Into<Target>) -> Result<ExitStatus, ClientError> {
        let session = session.into();
        match self.request(&ClientMessage::Kill { session }).await? {
            Reply::Killed(status) => Ok(status),
            _ => unexpected("reply to a kill"),
        }
    }

    /// The environment of the client that a session is used from.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn environment(
        &mut self,
        session: impl Into<Target>,
    ) -> Result<ClientEnvironment, ClientError> {
        let session = session.into();
        match self.request(&ClientMessage::Environment { session }).await? {
            Reply::Environment(environment) => Ok(*environment),
            _ => unexpected("reply to a request for an environment"),
        }
    }

    /// What a session shows, with up to `lines` of what scrolled off its top. This client does not watch it for that.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn read_screen(
        &mut self,
        session: impl Into<Target>,
        lines: u32,
    ) -> Result<SessionScreen, ClientError> {
        let session = session.into();
        match self.request(&ClientMessage::ReadScreen { session, lines }).await? {
            Reply::Screen(screen) => Ok(*screen),
            _ => unexpected("reply to a request for a screen"),
        }
    }

    /// Waits until a session has ended, for as long as the server answers pings.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn wait(&mut self, session: impl Into<Target>) -> Result<ExitStatus, ClientError> {
        let session = session.into();
        match self.request(&ClientMessage::Wait { session }).await? {
            Reply::Ended(status) => Ok(status),
            _ => unexpected("reply to a wait"),
        }
    }

    /// Provides a session, or goes on with one whose provider was lost. What it is told then, [`next`](Self::next)
    /// brings; [`Provider`](super::Provider) keeps the rules of what may be said.
    ///
    /// # Errors
    /// As [`request`](Self::request); and [`ClientError::NoProviders`].
    pub async fn provide(&mut self, provide: Provide) -> Result<Provided, ClientError> {
        match self.request_of_providers(ClientMessage::Provide(Box::new(provide))).await? {
            Reply::Provided(provided) => Ok(*provided),
            _ => unexpected("reply to a request to provide a session"),
        }
    }

    /// As [`request`](Self::request). A server that knows no such requests would end the connection.
    async fn request_of_providers(&mut self, request: ClientMessage) -> Result<Reply, ClientError> {
        if !self.can_provide() {
            return Err(ClientError::NoProviders);
        }
        self.request(&request).await
    }

    /// Which session this is, and how it stands: for what acts on its id, or shows it.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn find(&mut self, session: impl Into<Target>) -> Result<SessionInfo, ClientError> {
        let session = session.into();
        match self.request(&ClientMessage::Find { session }).await? {
            Reply::Found(info) => Ok(*info),
            _ => unexpected("reply to a request for a session"),
        }
    }

    /// Changes something about a session or its clients. Returns what it concerned.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn change(
        &mut self,
        session: impl Into<Target>,
        change: SessionChange,
    ) -> Result<ChangedSession, ClientError> {
        let session = session.into();
        match self.request(&ClientMessage::Change { session, change }).await? {
            Reply::Changed(changed) => Ok(changed),
            _ => unexpected("reply to a change"),
        }
    }

    /// Asks to be told of what happens to all sessions: [`next`](Self::next) brings each as an
    /// [`Event::Session`](crate::message::Event::Session).
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn listen(&mut self) -> Result<(), ClientError> {
        match self.request(&ClientMessage::Listen).await? {
            Reply::Listening => Ok(()),
            _ => unexpected("reply to a request for events"),
        }
    }

    /// Makes a link. Nobody but this client learns its secret.
    ///
    /// # Errors
    /// As [`request`](Self::request); and [`ClientError::NoLinks`].
    pub async fn share(&mut self, share: Share) -> Result<SharedLink, ClientError> {
        // Or a long one would not fit its frame.
        let share = Share { label: share.label.as_deref().and_then(kept_label), ..share };
        match self.request_of_links(ClientMessage::Share(share)).await? {
            Reply::Shared(link) => Ok(*link),
            _ => unexpected("reply to a request for a link"),
        }
    }

    /// Lists the links, the oldest first.
    ///
    /// # Errors
    /// As [`share`](Self::share).
    pub async fn shares(&mut self) -> Result<Vec<LinkInfo>, ClientError> {
        match self.request_of_links(ClientMessage::Shares).await? {
            Reply::Shares(links) => Ok(links),
            _ => unexpected("reply to a request for links"),
        }
    }

    /// Revokes links. The connections that redeemed them are closed.
    ///
    /// # Errors
    /// As [`share`](Self::share).
    pub async fn unshare(&mut self, which: UnshareWhich) -> Result<Unshared, ClientError> {
        match self.request_of_links(ClientMessage::Unshare(which)).await? {
            Reply::Unshared(unshared) => Ok(unshared),
            _ => unexpected("reply to a request to revoke links"),
        }
    }

    /// Redeems a link, before anything else is asked. From then on this connection can do what the link says and
    /// nothing else. A viewer that connects again says the same `viewer`, and uses up nothing more.
    ///
    /// # Errors
    /// As [`share`](Self::share); of a link that is not valid, for whatever reason,
    /// [`RequestError::NoSuchLink`](crate::message::RequestError::NoSuchLink).
    pub async fn redeem(&mut self, token: LinkToken, viewer: ViewerId) -> Result<Redeemed, ClientError> {
        match self.request_of_links(ClientMessage::Redeem { token, viewer }).await? {
            Reply::Redeemed(redeemed) => Ok(*redeemed),
            _ => unexpected("reply to a link"),
        }
    }

    /// As [`request`](Self::request). A server that knows no links would take it for no request at all, and end the
    /// connection.
    async fn request_of_links(&mut self, request: ClientMessage) -> Result<Reply, ClientError> {
        if self.features & wire::LINKS == 0 {
            return Err(ClientError::NoLinks);
        }
        self.request(&request).await
    }

    /// What the server counts.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn stats(&mut self) -> Result<ServerStats, ClientError> {
        match self.request(&ClientMessage::Stats).await? {
            Reply::Stats(stats) => Ok(*stats),
            _ => unexpected("reply to a request for statistics"),
        }
    }

    /// Waits until the server has answered.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn ping(&mut self) -> Result<(), ClientError> {
        match self.request(&ClientMessage::Ping).await? {
            Reply::Pong => Ok(()),
            _ => unexpected("reply to a ping"),
        }
    }
}

fn unexpected<T>(what: &'static str) -> Result<T, ClientError> {
    Err(ClientError::Wire(WireError::Payload { what }))
}
