//! A session that this client provides.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Client, ClientError, Incoming};
use crate::{
    SessionId, TerminalSize,
    message::{
        ClientMessage, ExitStatus, MAX_DRAWING, MAX_DRAWING_PIECE, MAX_NOTICE, MAX_PRINT, Provide, Provided,
        ProviderNews, ProviderStatement, RequestError, STATEMENT_COST,
    },
};

/// One session that this client provides, over one connection: what it prints is what those see who attach to the
/// session. The session ends with [`end`](Self::end), or some time after the connection is lost.
///
/// Prints wait while those who watch have no room for more, as the session's pace says. A provider whose connection is
/// lost makes another and begins again with the same [`Provide::id`]: [`head`](Self::head) says where it goes on.
///
/// # Examples
/// ```no_run
/// use fugue_server::{
///     Client, TerminalSize,
///     client::{ProvideError, Provider},
///     default_socket_path,
///     message::{ExitStatus, Provide},
/// };
///
/// # async fn provide() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(&default_socket_path()).await?;
/// let provide = Provide::new("countdown".parse()?, TerminalSize::DEFAULT);
/// let mut provider = Provider::begin(client, provide).await?;
/// for number in (0..10).rev() {
///     provider.print(format!("{number}\r\n").into()).await?;
/// }
/// provider.end(ExitStatus::Code(0)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Provider {
    client: Client,
    provided: Provided,
    /// The offset of the byte that comes next.
    head: u64,
    /// What was spent, and what was granted.
    spent: u64,
    granted: u64,
    /// What came while credit was awaited.
    news: VecDeque<ProviderNews>,
    ended: Option<ExitStatus>,
}

/// Why nothing more can be said of a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvideError {
    /// It was ended.
    #[error("the session has ended: {0}")]
    Ended(ExitStatus),
    /// A skip to what was printed already.
    #[error("offset {to} lies before byte {head}, which is next")]
    Backwards {
        /// Where to.
        to: u64,
        /// The offset of the byte that comes next.
        head: u64,
    },
    /// The drawing of a screen is longer than 4 MiB.
    #[error("a drawing of {0} bytes is too long; skip without one")]
    TooLarge(usize),
    /// The connection has ended, or the server refused.
    #[error(transparent)]
    Closed(#[from] ClientError),
}

impl Provider {
    /// Provides a session on this connection.
    ///
    /// # Errors
    /// [`ClientError`]: the name or the id is taken, or the server does not know provided sessions.
    pub async fn begin(mut client: Client, provide: Provide) -> Result<Self, ClientError> {
        let provided = client.provide(provide).await?;
        let (head, granted) = (provided.head, provided.credit);
        Ok(Self { client, provided, head, spent: 0, granted, news: VecDeque::new(), ended: None })
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.provided.session
    }

    /// How the session began on this connection.
    #[must_use]
    pub fn provided(&self) -> &Provided {
        &self.provided
    }

    /// The offset of the byte that is printed next.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// How many bytes one [`print`](Self::print) takes now without waiting for those who watch; at most 64 KiB.
    #[must_use]
    pub fn room(&self) -> usize {
        let left = (self.granted - self.spent).saturating_sub(STATEMENT_COST);
        usize::try_from(left).unwrap_or(MAX_PRINT).min(MAX_PRINT)
    }

    /// Prints `output`, of any size, once there is room. Returns when it was sent.
    ///
    /// # Cancel safety
    /// Not cancel safe where it is longer than the [`room`](Self::room): a part may be printed, which
    /// [`head`](Self::head) tells. Otherwise it is printed whole, with the next call at the latest, or not at all.
    ///
    /// # Errors
    /// [`ProvideError::Ended`] or [`ProvideError::Closed`].
    pub async fn print(&mut self, mut output: Bytes) -> Result<(), ProvideError> {
        while !output.is_empty() {
            self.wait_for(STATEMENT_COST + 1).await?;
            let data = output.split_to(self.room().min(output.len()));
            self.say(ProviderStatement::Print { offset: self.head, data }).await?;
        }
        Ok(())
    }

    /// Says that the bytes before offset `to` are missing. `screen`, if it is not empty, draws what the screen shows
    /// there, as [`Incoming::Screen`] brings it; where nothing is missing, it gives the screen alone.
    ///
    /// # Cancel safety
    /// Not cancel safe.
    ///
    /// # Errors
    /// As [`print`](Self::print); [`ProvideError::Backwards`] and [`ProvideError::TooLarge`], and nothing was said.
    pub async fn skip(&mut self, to: u64, screen: Bytes) -> Result<(), ProvideError> {
        if to < self.head {
            return Err(ProvideError::Backwards { to, head: self.head });
        }
        if screen.len() > MAX_DRAWING {
            return Err(ProvideError::TooLarge(screen.len()));
        }
        self.wait_for(STATEMENT_COST).await?;
        let mut screen = screen;
        while !screen.is_empty() {
            let data = screen.split_to(screen.len().min(MAX_DRAWING_PIECE));
            self.say(ProviderStatement::Drawing { data }).await?;
        }
        self.say(ProviderStatement::Skip { to }).await
    }

    /// Says that the terminal has this size from here on.
    ///
    /// # Cancel safety
    /// Cancel safe: it is said, with the next call at the latest, or not.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn resized(&mut self, size: TerminalSize) -> Result<(), ProvideError> {
        self.wait_for(STATEMENT_COST).await?;
        self.say(ProviderStatement::Resized { size }).await
    }

    /// Tells those who watch a line, of at most [`MAX_NOTICE`] bytes; what is longer is cut. Control characters are
    /// left out. It is told beside the output: who is behind may not hear of it.
    ///
    /// # Cancel safety
    /// Cancel safe: it is said, with the next call at the latest.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn notify(&mut self, text: &str) -> Result<(), ProvideError> {
        let mut end = text.len().min(MAX_NOTICE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text[..end].to_owned();
        self.say(ProviderStatement::Notice { text }).await
    }

    /// Says since how many seconds the program is out of reach, though this connection stands, or that it is not. Lists
    /// show it.
    ///
    /// # Cancel safety
    /// Cancel safe: it is said, with the next call at the latest.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn silent(&mut self, seconds: Option<u64>) -> Result<(), ProvideError> {
        self.say(ProviderStatement::Silent { seconds }).await
    }

    /// Answers what [`next`](Self::next) brought under this number: it was done, or why not.
    ///
    /// # Cancel safety
    /// Cancel safe: it is said, with the next call at the latest.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn answer(
        &mut self,
        number: u64,
        answer: Result<(), RequestError>,
    ) -> Result<(), ProvideError> {
        self.say(ProviderStatement::Answer { number, answer }).await
    }

    /// The next thing that the session is asked: what was typed, a size, a kill. Credit is told of too, as there is
    /// more [`room`](Self::room) then. Nothing follows [`ProviderNews::Ended`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub async fn next(&mut self) -> Result<ProviderNews, ProvideError> {
        match self.news.pop_front() {
            Some(news) => Ok(news),
            None => self.receive().await,
        }
    }

    /// Ends the session, and waits until all that was printed is in the server's hands.
    ///
    /// # Errors
    /// [`ProvideError::Closed`].
    pub async fn end(mut self, status: ExitStatus) -> Result<(), ProvideError> {
        if self.ended.is_none() {
            self.say(ProviderStatement::EndWith { status }).await?;
        }
        while self.ended.is_none() {
            self.receive().await?;
        }
        Ok(())
    }

    async fn say(&mut self, statement: ProviderStatement) -> Result<(), ProvideError> {
        if let Some(status) = self.ended {
            return Err(ProvideError::Ended(status));
        }
        // What an earlier call left. From there on it is said, whatever becomes of this one.
        self.client.requests.finish().await?;
        let (cost, head) = match &statement {
            ProviderStatement::Print { offset, data } => (statement.cost(), offset + data.len() as u64),
            ProviderStatement::Skip { to } => (statement.cost(), *to),
            _ => (statement.cost(), self.head),
        };
        let session = self.provided.session;
        self.client.requests.begin(&ClientMessage::Statement { session, statement })?;
        (self.spent, self.head) = (self.spent + cost, head);
        Ok(self.client.requests.finish().await?)
    }

    /// Waits until so much may be spent. What else comes is kept for [`next`](Self::next), as much as the server lets
    /// anybody type.
    async fn wait_for(&mut self, cost: u64) -> Result<(), ProvideError> {
        while self.granted - self.spent < cost {
            let news = self.receive().await?;
            if !matches!(news, ProviderNews::Credit { .. }) {
                self.news.push_back(news);
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<ProviderNews, ProvideError> {
        if let Some(status) = self.ended {
            return Err(ProvideError::Ended(status));
        }
        loop {
            // What else may come is not of this session.
            let Incoming::Provider { session, news } = self.client.next().await? else { continue };
            if session != self.provided.session {
                continue;
            }
            match news {
                ProviderNews::Credit { granted } => self.granted = self.granted.max(granted),
                ProviderNews::Ended { status } => self.ended = Some(status),
                _ => {}
            }
            return Ok(news);
        }
    }
}
