//! A session of another node, provided to the local server.

use std::{collections::VecDeque, future::ready, path::PathBuf, sync::Arc, time::Duration};

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
        RequestError, SessionInfo, SessionRules, SessionState, Takes, WhenLost,
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

/// What waits for room at the server before the node is not listened to. The bytes are bounded by the stream's credit.
const MAX_WAITING: usize = 4096;

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
    pub(super) rules: SessionRules,
    pub(super) start: u64,
    /// What becomes of typing while the host is silent.
    pub(super) typing: WhenLost,
}

/// What a mirror is told by its node.
#[derive(Debug)]
pub(super) enum MirrorSaid {
    Item(StreamItem),
    Silent(Option<Duration>),
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
    /// Since when the host is silent.
    silent: Option<Instant>,
    /// What the server is to be told and has no room for: items, and the end.
    waiting: VecDeque<MirrorSaid>,
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
    /// Its end is to be said, and a line for those who watch.
    End(ExitStatus, Option<String>),
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
        silent: None,
        waiting: VecDeque::new(),
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
            Over::End(status, why) => {
                if let Some(why) = why {
                    let _ = timeout(LOST_TIME, state.provider.notify(&why)).await;
                }
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
    let SessionRules { pace, size_policy, .. } = begins.rules;
    (provide.pace, provide.size_policy) = (pace, size_policy);
    (provide.takes, provide.when_lost) = (Takes::Requests, begins.typing);
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
            said = said.recv(), if self.waiting.len() < MAX_WAITING => match said {
                Some(said @ (MirrorSaid::Item(_) | MirrorSaid::Over(_))) => {
                    self.waiting.push_back(said);
                    Ok(())
                }
                Some(said) => self.hear(said).await,
                None => Err(Over::Said),
            },
            () = sleep_until(self.begun_at.unwrap_or(self.look_at)), if self.begun_at.is_some() => {
                self.tell_begun().await;
                Ok(())
            }
            news = self.provider.next() => self.asked(news?).await,
            // Nothing else waits for those who watch: what they type is passed on meanwhile.
            () = ready(()), if self.has_room() => self.pass_on().await,
        }
    }

    /// Whether there is anything to say next that the server has room for. An end needs none.
    fn has_room(&self) -> bool {
        match self.waiting.front() {
            Some(MirrorSaid::Item(_)) => self.provider.room() > 0,
            Some(_) => true,
            None => false,
        }
    }

    /// Says what is next, of output as much as there is room for.
    async fn pass_on(&mut self) -> Result<(), Over> {
        match self.waiting.pop_front() {
            Some(MirrorSaid::Item(item)) => {
                let is_begun = !matches!(item, StreamItem::Screen { is_last: false, .. });
                if let StreamItem::Ended { .. } = item {
                    self.tell_begun().await;
                }
                self.take(item).await?;
                if is_begun {
                    self.tell_begun().await;
                }
                Ok(())
            }
            Some(MirrorSaid::Over(why)) => {
                Err(Over::End(ExitStatus::Unknown, Some(format!("{why}: it ends here"))))
            }
            _ => Ok(()),
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
        Err(Over::End(ExitStatus::Unknown, None))
    }

    /// Does what its node says.
    async fn hear(&mut self, said: MirrorSaid) -> Result<(), Over> {
        match said {
            MirrorSaid::Item(_) | MirrorSaid::Over(_) => {}
            MirrorSaid::Silent(silent_for) => self.host_is_silent(silent_for).await?,
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
        }
        Ok(())
    }

    /// The host is silent for so long, or is back: lists say so, and those who watch are told.
    async fn host_is_silent(&mut self, silent_for: Option<Duration>) -> Result<(), Over> {
        let (host, now) = (&self.begins.host, Instant::now());
        let since = silent_for.map(|silent_for| now.checked_sub(silent_for).unwrap_or(now));
        let before = std::mem::replace(&mut self.silent, since);
        let text = match (before, silent_for) {
            (_, Some(silent_for)) => {
                format!(
                    "{host} is silent for {} s: what it prints meanwhile comes later",
                    silent_for.as_secs()
                )
            }
            (Some(before), None) => format!("{host} is back, after {} s", before.elapsed().as_secs()),
            (None, None) => return Ok(()),
        };
        self.provider.notify(&text).await?;
        Ok(self.provider.silent(silent_for.map(|silent_for| silent_for.as_secs())).await?)
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
            StreamItem::Output { offset, mut data } => {
                if offset > self.provider.head() {
                    self.skip(offset).await?;
                }
                // What the server has of it already, after it was lost.
                let known = usize::try_from(self.provider.head().saturating_sub(offset))
                    .map_or(data.len(), |known| known.min(data.len()));
                let printed = data.split_to(data.len().min(known + self.provider.room()));
                let bytes = printed.len();
                self.provider.print(printed.slice(known..)).await?;
                self.took(bytes).await;
                if !data.is_empty() {
                    let rest = StreamItem::Output { offset: offset + bytes as u64, data };
                    self.waiting.push_front(MirrorSaid::Item(rest));
                }
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
                return Err(Over::End(status, None));
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
                if self.silent.is_some() && self.begins.typing == WhenLost::Refused {
                    let why = format!("{} is silent; type it again when it is back", self.begins.host);
                    self.provider.answer(number, Err(failed("typing", &why))).await?;
                    return Ok(());
                }
                self.typed.push_back((number, position, offset + data.len() as u64));
                LocalEvent::MirrorTyping { mirror, piece: TypedPiece { position, from_terminal, data } }
            }
            ProviderNews::Resize { size, pixels } => {
                LocalEvent::MirrorResize { mirror, window: size.map(|size| (size, pixels)) }
            }
            ProviderNews::Lossless { is_wanted } => {
                LocalEvent::MirrorLossless { mirror, is_lossless: is_wanted }
            }
            ProviderNews::Kill { number } if self.silent.is_some() => {
                let why = format!("{} is silent; end it when it is back", self.begins.host);
                self.provider.answer(number, Err(failed("ending the session", &why))).await?;
                return Ok(());
            }
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
                    if let Some(since) = self.silent {
                        // Whether it was said, the next thing that is said tells.
                        let _ = self.provider.silent(Some(since.elapsed().as_secs())).await;
                    }
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
