//! What is typed into a session, kept until it is answered, so that it can be sent again on another connection.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    SessionId,
    message::{ClientMessage, InputPosition, InputStreamId},
};

/// A stream of input to one session. The server types each byte of it once, on however many connections it is sent.
///
/// Each piece becomes a request; the replies to them come in their order. After a lost connection, those that were not
/// answered are sent again on the next one, and what the server has of them is not typed again. It keeps a stream for
/// ten minutes after its last use: who is away for longer can't know what was typed.
///
/// # Examples
/// ```no_run
/// use fugue_server::{Client, client::InputStream, default_socket_path};
///
/// # async fn type_in(session: fugue_server::SessionId) -> Result<(), Box<dyn std::error::Error>> {
/// let mut input = InputStream::new(session);
/// let piece = input.push("make\n");
/// let mut client = Client::connect(&default_socket_path()).await?;
/// if client.request(&piece).await.is_err() {
///     let mut client = Client::connect(&default_socket_path()).await?;
///     for piece in input.unanswered() {
///         client.request(&piece).await?;
///     }
/// }
/// input.answered();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InputStream {
    session: SessionId,
    id: InputStreamId,
    /// Bytes that were pushed.
    offset: u64,
    unanswered: VecDeque<(u64, Bytes)>,
}

impl InputStream {
    /// A stream of which nothing was typed.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self { session, id: InputStreamId::random(), offset: 0, unanswered: VecDeque::new() }
    }

    /// The session that is typed into.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Goes on with these bytes: at most 64 KiB, as in any request.
    pub fn push(&mut self, data: impl Into<Bytes>) -> ClientMessage {
        let (at, data) = (self.offset, data.into());
        self.offset += data.len() as u64;
        self.unanswered.push_back((at, data.clone()));
        self.request(at, data)
    }

    /// The oldest request that was not answered is answered, and not to be sent again.
    pub fn answered(&mut self) {
        self.unanswered.pop_front();
    }

    /// The requests that were not answered, the oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = ClientMessage> {
        self.unanswered.iter().map(|(at, data)| self.request(*at, data.clone()))
    }

    /// How many bytes these are to type, in all.
    #[must_use]
    pub fn unanswered_bytes(&self) -> usize {
        self.unanswered.iter().map(|(_, data)| data.len()).sum()
    }

    fn request(&self, offset: u64, data: Bytes) -> ClientMessage {
        let position = InputPosition { stream: self.id, offset };
        ClientMessage::Input { session: self.session, position: Some(position), data }
    }
}
