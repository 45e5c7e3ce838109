//! One page: its websocket in front, one connection to the server behind.
//!
//! The connection redeems the page's link before anything else. So the server sees to what the page may do, whatever is
//! asked here. One task has both ends: it reads of the server only what the page has room for, and of the page only
//! what it has room to answer.

mod ahead;
mod index;
mod typing;
mod watching;

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::Arc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::time::{interval, timeout};
use tracing::{debug, info};

use self::{
    ahead::ReadAhead,
    index::{IndexView, Unnamed},
    typing::{PageTyping, TypingFull},
    watching::{Attaching, WatchedByPage},
};
use super::{
    Gateway, ViewerPlace,
    flow::{PageOutbox, SendWindow},
    limits::WebAddress,
    overview::Seen,
    protocol::{FromPage, NoMessage, PageError, PageHello, PageSession, PageView, ToPage, TypedByPage},
};
use crate::{
    Client, SessionId,
    client::{ClientError, Incoming, IncomingFrames, Requests},
    message::{Access, ClientMessage, CloseReason, Event, InputStreamId, Redeemed, Reply, RequestError},
};

/// How long a page has to say hello.
const HELLO_TIME: Duration = Duration::from_secs(5);

/// How long the server has to take a request. It takes one at once, unless it is stopped.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How often a page is looked after; how long it may say nothing, not even that it is there, and how long it may take
/// nothing of what waits for it.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const SILENT_TIME: Duration = Duration::from_secs(60);
const STALL_TIME: Duration = Duration::from_secs(60);

/// How long what a page is told in the end may take.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// Output that is read of the server at once, in bytes. A page that takes nothing has so much waiting here, and as much
/// again in the buffer for the next.
const MAX_READ: usize = 64 * 1024;

/// The longest text that a page is sent: a list, or a drawing. What is longer is left out.
pub(super) const MAX_TEXT: usize = 1024 * 1024;

/// The most that is asked of the server for one page at once.
const MAX_ASKED: usize = 128;

/// The most lines above the screen.
const MAX_LINES: u32 = 10_000;

/// How a websocket ends: with a last message, and a code that tells the page what to do.
#[derive(Debug)]
struct Farewell {
    code: u16,
    last: Option<String>,
}

/// The link is not valid: it is of no use to connect again.
const NOT_VALID: u16 = 4001;
/// An error says what to do.
const TOLD: u16 = 4002;
const REVOKED: u16 = 4003;
const ENDED: u16 = 4004;
/// Connect again: the server or the gateway restarts.
const RESTART: u16 = 1012;
/// Connect again.
const FAILED: u16 = 1011;
/// The page is gone: nothing is sent.
const GONE: u16 = 1006;
/// A message was too long.
const TOO_LONG: u16 = 1009;

impl Farewell {
    fn with(code: u16) -> Self {
        Self { code, last: None }
    }

    fn error(code: u16, error: PageError, text: &str) -> Self {
        Self { code, last: Some(ToPage::Error { code: error, text }.text()) }
    }

    fn told(error: PageError, text: &str) -> Self {
        Self::error(TOLD, error, text)
    }
}

impl From<NoMessage> for Farewell {
    fn from(error: NoMessage) -> Self {
        Self::told(PageError::Malformed, &error.to_string())
    }
}

impl From<ClientError> for Farewell {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Closed(CloseReason::Revoked | CloseReason::Expired) => {
                return Self::error(REVOKED, PageError::Link, &said(&error));
            }
            ClientError::Closed(CloseReason::ShuttingDown) | ClientError::Lost => RESTART,
            ClientError::Closed(CloseReason::Detached | CloseReason::Disconnected) => TOLD,
            _ => FAILED,
        };
        Self::error(code, PageError::Server, &said(&error))
    }
}

/// An error in words for the person at the page.
fn said(error: &ClientError) -> String {
    match error {
        ClientError::Closed(reason) => reason.to_string(),
        error => error.to_string(),
    }
}

/// What an answer of the server's is to.
#[derive(Debug)]
enum Asked {
    Attach(Attaching),
    Typed {
        stream: InputStreamId,
        end: u64,
        bytes: usize,
    },
    New(Unnamed),
    Kill,
    Thumbnail(SessionId),
    /// What needs no word to the page.
    Other,
}

struct Viewer {
    gateway: Arc<Gateway>,
    link: Redeemed,
    scrollback: u32,
    requests: Requests,
    asked: HashMap<u64, Asked>,
    ahead: ReadAhead,
    outbox: PageOutbox,
    window: SendWindow,
    watched: Option<WatchedByPage>,
    index: Option<IndexView>,
    typing: PageTyping,
    seen: Seen,
    /// When the page last said anything, and when it last took anything.
    heard: Instant,
    took: Instant,
}

/// Serves a page until it goes, or has to.
pub(super) async fn serve(socket: WebSocket, gateway: Arc<Gateway>, address: WebAddress, place: ViewerPlace) {
    let tasks = gateway.tasks.clone();
    let served = async move {
        let stop = gateway.stop.clone();
        let (sink, mut stream) = socket.split();
        let mut page = Page { sink, outbox: PageOutbox::default() };
        let begun = tokio::select! {
            begun = begin(&mut stream, &gateway, address) => begun,
            () = stop.cancelled() => Err(Farewell::with(RESTART)),
        };
        let farewell = match begun {
            Ok((viewer, incoming)) => {
                let mut viewer = viewer;
                let farewell = viewer.run(&mut page.sink, &mut stream, incoming).await;
                info!(link = %viewer.link.link, code = farewell.code, "a page left");
                page.outbox = viewer.outbox;
                farewell
            }
            Err(farewell) => farewell,
        };
        debug!(?farewell, "a viewer leaves");
        page.say(farewell, &mut stream).await;
        drop(place);
    };
    tasks.track_future(served).await;
}

/// What a page is written to.
struct Page {
    sink: SplitSink<WebSocket, Message>,
    outbox: PageOutbox,
}

impl Page {
    /// Says why it ends, and waits until the page has heard that.
    async fn say(mut self, farewell: Farewell, stream: &mut SplitStream<WebSocket>) {
        if farewell.code == GONE {
            return;
        }
        if let Some(text) = farewell.last {
            self.outbox.push(Message::Text(text.into()));
        }
        let frame = CloseFrame { code: farewell.code, reason: Utf8Bytes::from_static("") };
        self.outbox.push(Message::Close(Some(frame)));
        let said = async {
            if write(&mut self.sink, &mut self.outbox).await.is_ok() {
                // What is closed with something unread may take with it what was said.
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        let _ = timeout(FAREWELL_TIME, said).await;
    }
}

/// Writes what waits.
///
/// # Cancel safety
/// Cancel safe: what is not written stays, here or in the socket's buffer.
async fn write(sink: &mut SplitSink<WebSocket, Message>, outbox: &mut PageOutbox) -> Result<(), axum::Error> {
    poll_fn(|context| {
        while !outbox.is_empty() {
            ready!(sink.poll_ready_unpin(context))?;
            if let Some(message) = outbox.pop() {
                sink.start_send_unpin(message)?;
            }
        }
        ready!(sink.poll_flush_unpin(context))?;
        outbox.flushed();
        Poll::Ready(Ok(()))
    })
    .await
}

/// Hears a page's hello, and redeems its link.
async fn begin(
    stream: &mut SplitStream<WebSocket>,
    gateway: &Arc<Gateway>,
    address: WebAddress,
) -> Result<(Viewer, IncomingFrames), Farewell> {
    let hello = hear_hello(stream).await.inspect_err(|farewell| {
        if farewell.code != GONE {
            gateway.conduct.fail(address, Instant::now());
        }
    })?;
    let connected = gateway.connector.connect().await;
    let mut client = connected.map_err(|text| Farewell::error(RESTART, PageError::Server, &text))?;
    let link = match redeem(&mut client, &hello).await {
        Ok(link) => link,
        Err(ClientError::Refused(RequestError::SessionEnded { status, .. })) => {
            return Err(Farewell { code: ENDED, last: Some(ToPage::ended(status).text()) });
        }
        Err(ClientError::Refused(refused)) => {
            gateway.conduct.fail(address, Instant::now());
            gateway.count(false);
            info!(%address, "a link was refused");
            return Err(Farewell::error(NOT_VALID, PageError::Link, &refused.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let title = match &link.session {
        Some(session) => client.find(session.id).await.ok().and_then(|info| info.title),
        None => None,
    };
    gateway.count(true);
    info!(link = %link.link, %address, "a page was let in");
    // Nothing was asked for yet that comes by itself.
    let (requests, mut incoming, _) = client.into_split();
    incoming.set_at_once(MAX_READ);
    let mut viewer = Viewer {
        gateway: Arc::clone(gateway),
        link,
        scrollback: hello.scrollback.min(MAX_LINES),
        requests,
        asked: HashMap::new(),
        ahead: ReadAhead::default(),
        outbox: PageOutbox::default(),
        window: SendWindow::new(),
        watched: None,
        index: None,
        typing: PageTyping::default(),
        seen: None,
        heard: Instant::now(),
        took: Instant::now(),
    };
    viewer.welcome(&hello, title.as_deref()).await?;
    Ok((viewer, incoming))
}

async fn hear_hello(stream: &mut SplitStream<WebSocket>) -> Result<PageHello, Farewell> {
    let no_hello = || Farewell::told(PageError::Malformed, "the page did not say hello in time; reload it");
    match timeout(HELLO_TIME, stream.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => match FromPage::decode(&text)? {
            FromPage::Hello(hello) => Ok(hello),
            _ => Err(no_hello()),
        },
        Ok(Some(Err(error))) => Err(Farewell::with(broken(&error))),
        Ok(None | Some(Ok(Message::Close(_)))) => Err(Farewell::with(GONE)),
        Ok(Some(Ok(_))) | Err(_) => Err(no_hello()),
    }
}

async fn redeem(client: &mut Client, hello: &PageHello) -> Result<Redeemed, ClientError> {
    let no_link = |_| ClientError::Refused(RequestError::NoSuchLink);
    client.redeem(hello.token.parse().map_err(no_link)?, hello.viewer.parse().map_err(no_link)?).await
}

impl Viewer {
    /// Welcomes the page, and shows it what it came for.
    async fn welcome(&mut self, hello: &PageHello, title: Option<&str>) -> Result<(), Farewell> {
        let session = self.link.session.clone();
        let shown = session.as_ref().map(|session| PageSession {
            id: session.id,
            name: session.name.as_str(),
            title,
        });
        let welcome = ToPage::Welcome {
            version: env!("CARGO_PKG_VERSION"),
            scope: if session.is_some() { "session" } else { "all" },
            access: if self.may_type() { "read-write" } else { "read-only" },
            session: shown,
        };
        self.outbox.push(welcome.message());
        let wanted = match &session {
            Some(session) => Some(session.id),
            None => hello.resume.filter(|_| hello.view == PageView::Session).map(|resume| resume.session),
        };
        match wanted {
            Some(id) => {
                let resume = hello.resume.filter(|resume| resume.session == id);
                self.watch(id, resume.and_then(|resume| resume.reached())).await
            }
            None => {
                self.index = Some(IndexView::default());
                Ok(())
            }
        }
    }

    fn may_type(&self) -> bool {
        self.link.access == Access::ReadWrite
    }

    async fn run(
        &mut self,
        sink: &mut SplitSink<WebSocket, Message>,
        stream: &mut SplitStream<WebSocket>,
        mut incoming: IncomingFrames,
    ) -> Farewell {
        let gateway = Arc::clone(&self.gateway);
        let mut overview = gateway.overview.subscribe();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.send_held();
            if self.takes_more()
                && let Some(incoming) = self.ahead.pop()
            {
                match self.server_says(incoming).await {
                    Ok(()) => continue,
                    Err(farewell) => return farewell,
                }
            }
            let may_read = self.may_read();
            let went = tokio::select! {
                () = gateway.stop.cancelled() => Err(Farewell::with(RESTART)),
                message = stream.next(), if self.has_room() => match message {
                    Some(Ok(message)) => self.page_says(message).await,
                    Some(Err(error)) => Err(Farewell::with(broken(&error))),
                    None => Err(Farewell::with(GONE)),
                },
                written = write(sink, &mut self.outbox), if self.outbox.is_pending() => {
                    self.took = Instant::now();
                    // Other pages on this thread have had to wait for it.
                    tokio::task::yield_now().await;
                    written.map_err(|_| Farewell::with(GONE))
                }
                came = incoming.next(), if may_read => match came {
                    Ok(came) => self.came(came).await,
                    Err(error) => Err(error.into()),
                },
                changed = overview.changed() => {
                    if changed.is_ok() {
                        self.seen.clone_from(&overview.borrow_and_update());
                    }
                    if self.requests.is_hung_up() && !may_read {
                        Err(why_hung_up(&mut incoming).await)
                    } else {
                        self.look_around().await
                    }
                }
                _ = looks.tick() => self.look_after(),
            };
            if let Err(farewell) = went {
                return farewell;
            }
        }
    }

    /// Whether the page takes more of what the server sends.
    fn takes_more(&self) -> bool {
        let is_held = self.watched.as_ref().is_some_and(|watched| watched.held.is_some());
        !is_held && self.outbox.is_empty() && self.window.room() > 0
    }

    fn may_read(&self) -> bool {
        if self.ahead.is_empty() && self.takes_more() { true } else { self.ahead.wants_more() }
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room() && self.asked.len() < MAX_ASKED
    }

    /// Ends it with a page that is not there any more, and asks one that says nothing.
    fn look_after(&mut self) -> Result<(), Farewell> {
        let now = Instant::now();
        let is_stalled = self.outbox.is_pending() && now.duration_since(self.took) > STALL_TIME;
        if is_stalled || now.duration_since(self.heard) > SILENT_TIME {
            return Err(Farewell::with(GONE));
        }
        if !self.outbox.is_pending() {
            self.took = now;
            self.outbox.push(Message::Ping(Bytes::new()));
        }
        Ok(())
    }

    /// Sends a request to the server.
    async fn ask(&mut self, request: &ClientMessage, what: Asked) -> Result<(), Farewell> {
        self.send(request, what).await.map(drop)
    }

    /// Sends a request to the server, and returns its id.
    async fn send(&mut self, request: &ClientMessage, what: Asked) -> Result<u64, Farewell> {
        match timeout(REQUEST_TIME, self.requests.send(request)).await {
            Ok(Ok(id)) => {
                self.asked.insert(id, what);
                Ok(id)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Farewell::with(FAILED)),
        }
    }

    async fn page_says(&mut self, message: Message) -> Result<(), Farewell> {
        self.heard = Instant::now();
        let message = match message {
            Message::Text(text) => FromPage::decode(&text)?,
            Message::Binary(bytes) => return self.page_types(TypedByPage::decode(&bytes)?).await,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(Farewell::with(GONE)),
        };
        match message {
            FromPage::Hello(_) => {
                Err(Farewell::told(PageError::Malformed, "the page said hello twice; reload it"))
            }
            FromPage::Ack { received } => self.window.acknowledge(received, self.heard).map_err(|_| {
                Farewell::told(PageError::Malformed, "the page acknowledged what it was not sent; reload it")
            }),
            FromPage::Ping => {
                self.outbox.push(ToPage::Pong.message());
                Ok(())
            }
            FromPage::Claim { columns, rows } => self.claim(columns, rows).await,
            FromPage::Follow => self.follow().await,
            FromPage::Resync if self.watched.is_some() => {
                self.ask(&ClientMessage::Resync, Asked::Other).await
            }
            FromPage::Resync => Ok(()),
            FromPage::Open { session } if self.link.session.is_none() => {
                self.index = None;
                self.watch(session, None).await
            }
            FromPage::Close if self.link.session.is_none() => self.back_to_index().await,
            FromPage::List
            | FromPage::Watch { .. }
            | FromPage::New { .. }
            | FromPage::Kill { .. }
            | FromPage::Open { .. }
            | FromPage::Close => self.page_manages(message).await,
        }
    }

    async fn page_types(&mut self, typed: TypedByPage) -> Result<(), Farewell> {
        let Some(session) = self.watched.as_ref().map(|watched| watched.session) else { return Ok(()) };
        if !self.may_type() {
            self.tell(PageError::ReadOnly, "this link is for watching only; ask who shared it for another");
            return Ok(());
        }
        self.typing.push(session, typed).map_err(|TypingFull| {
            Farewell::told(PageError::Full, "too much was typed at once; the program does not take it")
        })?;
        self.feed().await
    }

    /// Sends on what was typed, as far as the server takes it.
    async fn feed(&mut self) -> Result<(), Farewell> {
        while let Some((request, asked)) = self.typing.next() {
            let id = self.send(&request, asked).await?;
            if let ClientMessage::Input { data, .. } = &request
                && ahead::interrupts(data)
            {
                self.ahead.begin(id);
            }
        }
        Ok(())
    }

    fn tell(&mut self, code: PageError, text: &str) {
        self.outbox.push(ToPage::Error { code, text }.message());
    }

    /// Takes what came of the server: at once, or behind what was read ahead.
    async fn came(&mut self, incoming: Incoming) -> Result<(), Farewell> {
        if self.ahead.is_empty() && !self.ahead.wants_more() {
            return self.server_says(incoming).await;
        }
        if self.ahead.push(incoming)
            && let Some(watched) = &mut self.watched
        {
            watched.drop_held_output();
        }
        Ok(())
    }

    async fn server_says(&mut self, incoming: Incoming) -> Result<(), Farewell> {
        match incoming {
            Incoming::Reply { request, answer } => match self.asked.remove(&request) {
                Some(asked) => self.answered(asked, answer).await,
                None => Ok(()),
            },
            Incoming::Event(Event::Notice(text)) => {
                self.outbox.push(ToPage::Notice { text: &text }.message());
                Ok(())
            }
            other => self.session_says(other).await,
        }
    }

    async fn answered(&mut self, asked: Asked, answer: Result<Reply, RequestError>) -> Result<(), Farewell> {
        match (asked, answer) {
            (Asked::Attach(attaching), answer) => return self.attached(attaching, answer).await,
            (Asked::Typed { stream, end, bytes }, answer) => {
                self.typing.answered(bytes);
                match answer {
                    Ok(_) => self.outbox.push(ToPage::typed(stream, end).message()),
                    Err(refused) => self.refused(&refused),
                }
                return self.feed().await;
            }
            (Asked::Thumbnail(session), answer) => return self.thumbnail(session, answer.ok()).await,
            (Asked::New(_), Ok(Reply::Created(info))) => {
                self.outbox.push(ToPage::Created { session: info.id }.message());
            }
            (Asked::New(Some(unnamed)), Err(RequestError::NameTaken(_))) => {
                return self.start(*unnamed).await;
            }
            (_, Ok(_)) => {}
            (_, Err(refused)) => self.refused(&refused),
        }
        Ok(())
    }

    /// Tells the page of a refusal, after which it goes on.
    fn refused(&mut self, refused: &RequestError) {
        let code = match refused {
            RequestError::ReadOnly => PageError::ReadOnly,
            RequestError::BeyondLink { access: Access::ReadOnly } => PageError::ReadOnly,
            RequestError::BeyondLink { .. } | RequestError::Restricted { .. } => PageError::Restricted,
            RequestError::InputMissing { .. } => PageError::Input,
            // The session's end is told by itself.
            RequestError::SessionEnded { .. } => return,
            _ => PageError::Server,
        };
        self.tell(code, &refused.to_string());
    }
}

/// The code for a websocket that broke.
fn broken(error: &axum::Error) -> u16 {
    let text = error.to_string();
    if text.contains("too long") || text.contains("too big") { TOO_LONG } else { GONE }
}

/// Why the server has hung up on a page that takes nothing: what is left of the connection says so, behind output that
/// nobody is to see.
async fn why_hung_up(incoming: &mut IncomingFrames) -> Farewell {
    let why = async {
        loop {
            if let Err(error) = incoming.next().await {
                return error;
            }
        }
    };
    timeout(REQUEST_TIME, why).await.unwrap_or(ClientError::Lost).into()
}
