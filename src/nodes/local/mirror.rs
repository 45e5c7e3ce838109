//! A session of another node, provided to the local server.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{LOST_PAUSE, LocalNews, MAX_TOLD};
use crate::{
    Client, SessionId, SessionName, TerminalSize,
    client::{ClientError, ProvideError, Provider},
    message::{
        ExitStatus, InputPosition, InputStreamId, Provide, ProviderId, ProviderNews, ProviderState,
        RequestError, SessionInfo, SessionState, SizePolicy, Takes,
    },
    nodes::{
        core::{LeftMirror, LocalEvent, MirrorId},
        message::{Refusal, StreamItem, TypedPiece},
        subject::NodeName,
    },
};

/// How often it is asked whether anybody watches; and for how long nobody may before it ends.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const UNWATCHED: u32 = 6;

/// How long the first screen is waited for, so that who attaches sees it.
const SCREEN_TIME: Duration = Duration::from_secs(1);

/// How long a lost server is looked for.
const LOST_TIME: Duration = Duration::from_secs(60);

/// Where a mirror begins.
#[derive(Clone, Debug)]
pub(super) struct Begins {
    pub(super) mirror: MirrorId,
    pub(super) host: NodeName,
    pub(super) session: SessionId,
    pub(super) name: SessionName,
    pub(super) size: TerminalSize,
    pub(super) start: u64,
}

/// What a mirror is told by its node.
#[derive(Debug)]
pub(super) enum MirrorSaid {
    Item(StreamItem),
    Silent(bool),
    Typed { stream: InputStreamId, taken: u64 },
    NotTyped { stream: InputStreamId, why: String },
    Killed(Result<(), Refusal>),
    Over(Refusal),
}

/// The task that has a mirror.
#[derive(Debug)]
pub(super) struct MirrorTask {
    said: Sender<MirrorSaid>,
    _task: AbortOnDropHandle<()>,
}

impl MirrorTask {
    pub(super) fn new(socket: Arc<PathBuf>, begins: Begins, news: Sender<LocalNews>) -> Self {
        let (said, queue) = mpsc::channel(MAX_TOLD);
        let task = tokio::spawn(run(socket, begins, queue, news));
        Self { said, _task: AbortOnDropHandle::new(task) }
    }

    /// Whether there was room to tell it.
    pub(super) fn tell(&self, said: MirrorSaid) -> bool {
        self.said.try_send(said).is_ok()
    }
}

/// A mirror, with what it was asked and has not answered.
struct MirrorState {
    begins: Begins,
    news: Sender<LocalNews>,
    socket: Arc<PathBuf>,
    provider: Provider,
    identity: ProviderId,
    size: TerminalSize,
    /// The pieces of a screen that is not whole.
    screen: BytesMut,
    /// A gap whose screen has not come.
    gap: Option<u64>,
    typed: VecDeque<(u64, InputPosition, u64)>,
    kill: Option<u64>,
    is_silent: bool,
    unwatched: u32,
    /// When it is looked next whether anybody watches.
    look_at: Instant,
    /// When people are let in though no screen has come; `None` once they are. A session that printed nothing has none.
    begun_at: Option<Instant>,
}

/// Why a mirror is over.
enum Over {
    /// Its end was said, or nobody is left who would hear of it.
    Said,
    /// Its end is to be said.
    End(ExitStatus),
    /// The local server is lost.
    Lost,
}

impl From<ProvideError> for Over {
    fn from(error: ProvideError) -> Self {
        match error {
            ProvideError::Closed(ClientError::Lost | ClientError::Closed(_)) => Self::Lost,
            _ => Self::Said,
        }
    }
}

async fn run(socket: Arc<PathBuf>, begins: Begins, mut said: Receiver<MirrorSaid>, news: Sender<LocalNews>) {
    let mirror = begins.mirror;
    let identity = ProviderId::random();
    let provider = match provide(&socket, &begins, identity, begins.size, begins.start).await {
        Ok(provider) => provider,
        Err(error) => {
            let _ = news.send(LocalNews::NotProvided(mirror, error.to_string())).await;
            let _ = news.send(LocalNews::Event(LocalEvent::MirrorGone { mirror })).await;
            return;
        }
    };
    let mut state = MirrorState {
        size: begins.size,
        begun_at: Some(Instant::now() + if begins.start == 0 { Duration::ZERO } else { SCREEN_TIME }),
        begins,
        news: news.clone(),
        socket,
        provider,
        identity,
        screen: BytesMut::new(),
        gap: None,
        typed: VecDeque::new(),
        kill: None,
        is_silent: false,
        unwatched: 0,
        look_at: Instant::now() + LOOK_EVERY,
    };
    loop {
        match state.serve(&mut said).await {
            Over::Lost => {
                let _ = news.send(LocalNews::Unprovided(mirror)).await;
                if !state.provide_again().await {
                    break;
                }
            }
            Over::End(status) => {
                let _ = timeout(LOST_TIME, state.provider.end(status)).await;
                break;
            }
            Over::Said => break,
        }
    }
    let _ = news.send(LocalNews::Event(LocalEvent::MirrorGone { mirror })).await;
}

/// The mirrors that an earlier run of a node has left at the server: those whose provider is lost, and whose program is
/// said to be `SESSION@NODE`.
pub(in crate::nodes) async fn left_mirrors(socket: &std::path::Path) -> Vec<LeftMirror> {
    let listed = async { Client::connect(socket).await.ok()?.list().await.ok() };
    listed.await.unwrap_or_default().into_iter().filter_map(left_mirror).collect()
}

fn left_mirror(info: SessionInfo) -> Option<LeftMirror> {
    let SessionState::Provided { provider: ProviderState::Lost { .. } } = info.state else { return None };
    let (name, host) = info.command.rsplit_once('@')?;
    // Another id may be of another session by now.
    let is_used_once = info.id.as_uuid().get_version_num() == 4;
    let (name, host) = (name.parse().ok()?, host.parse().ok().filter(|_| is_used_once)?);
    Some(LeftMirror { host, session: info.id, name, size: info.size, head: info.printed })
}

async fn provide(
    socket: &std::path::Path,
    begins: &Begins,
    identity: ProviderId,
    size: TerminalSize,
    start: u64,
) -> Result<Provider, String> {
    let client = Client::connect(socket).await.map_err(|error| error.to_string())?;
    let mut provide = Provide::new(begins.name.clone(), size);
    (provide.id, provide.provider, provide.start) = (begins.session, identity, start);
    (provide.size_policy, provide.takes) = (SizePolicy::Latest, Takes::Requests);
    provide.command = format!("{}@{}", begins.name, begins.host);
    let mut aside = provide.clone();
    match Provider::begin(client, provide).await {
        // A local session has the name: this one is called by both.
        Err(ClientError::Refused(RequestError::NameTaken(_))) => {
            let name = format!("{}.{}", begins.name, begins.host);
            aside.name = name.parse().map_err(|_| format!("a session here is called {} too", begins.name))?;
            let client = Client::connect(socket).await.map_err(|error| error.to_string())?;
            Provider::begin(client, aside).await.map_err(|error| error.to_string())
        }
        provided => provided.map_err(|error| error.to_string()),
    }
}

impl MirrorState {
    async fn serve(&mut self, said: &mut Receiver<MirrorSaid>) -> Over {
        loop {
            match self.step(said).await {
                Ok(()) => {}
                Err(over) => return over,
            }
        }
    }

    async fn step(&mut self, said: &mut Receiver<MirrorSaid>) -> Result<(), Over> {
        tokio::select! {
            biased;
            () = sleep_until(self.look_at) => self.look().await,
            said = said.recv() => {
                let Some(said) = said else { return Err(Over::Said) };
                let is_begun = match &said {
                    MirrorSaid::Item(StreamItem::Screen { is_last, .. }) => *is_last,
                    MirrorSaid::Item(_) => true,
                    _ => false,
                };
                if let MirrorSaid::Item(StreamItem::Ended { .. }) = &said {
                    self.tell_begun().await;
                }
                self.hear(said).await?;
                if is_begun {
                    self.tell_begun().await;
                }
                Ok(())
            }
            () = sleep_until(self.begun_at.unwrap_or(self.look_at)), if self.begun_at.is_some() => {
                self.tell_begun().await;
                Ok(())
            }
            news = self.provider.next() => self.asked(news?).await,
        }
    }

    /// People may attach to it.
    async fn tell_begun(&mut self) {
        if self.begun_at.take().is_some() {
            let _ = self.news.send(LocalNews::Provided(self.begins.mirror)).await;
        }
    }

    /// Ends it if nobody watches for a while.
    async fn look(&mut self) -> Result<(), Over> {
        self.look_at = Instant::now() + LOOK_EVERY;
        let Ok(mut client) = Client::connect(&self.socket).await else { return Ok(()) };
        let Ok(info) = client.find(self.begins.session).await else { return Ok(()) };
        self.unwatched = if info.clients == 0 { self.unwatched + 1 } else { 0 };
        if self.unwatched < UNWATCHED {
            return Ok(());
        }
        Err(Over::End(ExitStatus::Unknown))
    }

    /// Does what its node says.
    async fn hear(&mut self, said: MirrorSaid) -> Result<(), Over> {
        match said {
            MirrorSaid::Item(item) => return self.take(item).await,
            MirrorSaid::Silent(is_silent) => self.is_silent = is_silent,
            MirrorSaid::Typed { stream, taken } => {
                // Others may have typed in between, and wait for theirs.
                let is_it = |(_, position, end): &(u64, InputPosition, u64)| {
                    position.stream == stream && *end <= taken
                };
                let typed: Vec<_> = self.typed.iter().filter(|typed| is_it(typed)).copied().collect();
                self.typed.retain(|typed| !is_it(typed));
                for (number, ..) in typed {
                    self.provider.answer(number, Ok(())).await?;
                }
            }
            MirrorSaid::NotTyped { stream, why } => self.refuse(Some(stream), &why).await?,
            MirrorSaid::Killed(result) => {
                if let Some(number) = self.kill.take() {
                    let answer = result.map_err(|why| failed("ending the session", &why.to_string()));
                    self.provider.answer(number, answer).await?;
                }
            }
            MirrorSaid::Over(why) => {
                tracing::info!(session = %self.begins.name, host = %self.begins.host, %why, "a mirror is over");
                return Err(Over::End(ExitStatus::Unknown));
            }
        }
        Ok(())
    }

    /// Refuses what was typed and is not answered.
    async fn refuse(&mut self, stream: Option<InputStreamId>, why: &str) -> Result<(), Over> {
        let is_it = |position: &InputPosition| stream.is_none_or(|stream| position.stream == stream);
        let refused: Vec<_> = self.typed.iter().filter(|(_, position, _)| is_it(position)).copied().collect();
        self.typed.retain(|(_, position, _)| !is_it(position));
        for (number, ..) in refused {
            self.provider.answer(number, Err(failed("typing", why))).await?;
        }
        Ok(())
    }

    async fn take(&mut self, item: StreamItem) -> Result<(), Over> {
        match item {
            StreamItem::Output { offset, data } => {
                self.skip(offset).await?;
                let bytes = data.len();
                // What the server has of it already, after it was lost.
                let known =
                    usize::try_from(self.provider.head().saturating_sub(offset)).unwrap_or(bytes).min(bytes);
                self.provider.print(data.slice(known..)).await?;
                self.took(bytes).await;
            }
            StreamItem::Gap { to, .. } => self.gap = Some(to),
            StreamItem::Screen { offset, data, is_last } => {
                let bytes = data.len();
                self.screen.extend_from_slice(&data);
                if is_last {
                    self.gap = None;
                    let screen = self.screen.split().freeze();
                    self.provider.skip(offset.max(self.provider.head()), screen).await?;
                }
                self.took(bytes).await;
            }
            StreamItem::Resized { size } => {
                self.size = size;
                self.provider.resized(size).await?;
            }
            StreamItem::Ended { at, status } => {
                self.skip(at).await?;
                return Err(Over::End(status));
            }
            StreamItem::Opened { .. } | StreamItem::Tail | StreamItem::Refused(_) => {}
        }
        Ok(())
    }

    /// Goes on here, though what comes before is missing.
    async fn skip(&mut self, to: u64) -> Result<(), Over> {
        self.gap = None;
        if to > self.provider.head() {
            self.provider.skip(to, Bytes::new()).await?;
        }
        Ok(())
    }

    async fn took(&self, bytes: usize) {
        let took = LocalEvent::MirrorTook { mirror: self.begins.mirror, bytes };
        let _ = self.news.send(LocalNews::Event(took)).await;
    }

    /// Passes on what those who watch ask for.
    async fn asked(&mut self, asked: ProviderNews) -> Result<(), Over> {
        let mirror = self.begins.mirror;
        let event = match asked {
            ProviderNews::Typed { number, stream, offset, from_terminal, data } => {
                let position = InputPosition { stream, offset };
                if self.is_silent {
                    let why = format!("{} is silent; type it again when it is back", self.begins.host);
                    self.provider.answer(number, Err(failed("typing", &why))).await?;
                    return Ok(());
                }
                self.typed.push_back((number, position, offset + data.len() as u64));
                LocalEvent::MirrorTyping { mirror, piece: TypedPiece { position, from_terminal, data } }
            }
            ProviderNews::Resize { size: Some(size), .. } => LocalEvent::MirrorResize { mirror, size },
            ProviderNews::Kill { number } => {
                self.kill = Some(number);
                LocalEvent::MirrorKill { mirror }
            }
            ProviderNews::Ended { .. } => return Err(Over::Said),
            _ => return Ok(()),
        };
        let _ = self.news.send(LocalNews::Event(event)).await;
        Ok(())
    }

    /// The server is lost: provides the session to the next one, from where it is. Whether that was handed the session.
    /// One that was not has no screen of it, so that the mirror is over, and begins anew for who attaches then.
    async fn provide_again(&mut self) -> bool {
        let begun = Instant::now();
        let (session, start) = (self.begins.session, self.provider.head());
        self.typed.clear();
        self.kill = None;
        while begun.elapsed() < LOST_TIME {
            if let Ok(mut client) = Client::connect(&self.socket).await {
                if let Err(ClientError::Refused(_)) = client.find(session).await {
                    return false;
                }
                if let Ok(provider) =
                    provide(&self.socket, &self.begins, self.identity, self.size, start).await
                {
                    self.provider = provider;
                    self.begun_at = Some(Instant::now());
                    return true;
                }
            }
            sleep(LOST_PAUSE).await;
        }
        false
    }
}

fn failed(what: &str, why: &str) -> RequestError {
    RequestError::Failed { what: what.to_owned(), why: why.to_owned() }
}
