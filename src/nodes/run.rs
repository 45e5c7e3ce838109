//! The process of a node: the core, its carrier, the local server, and who asks it for something on this machine.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    future::poll_fn,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};

use super::{
    allow::AllowList,
    carrier::{Carrier, CarrierEvent},
    control::{ControlAnswer, ControlError, ControlListener, ControlRequest, NodeLine, SessionLine},
    core::{LocalEvent, MirrorId, NodeCore, Report},
    journal::Journal,
    local::{LocalNews, LocalSide, left_mirrors},
    message::{Begin, HostChange, Incarnation, Refusal, RemoteSession},
    nats::{NatsCarrier, NatsConfig, NatsError},
    subject::{Lane, NodeName, Tenant},
};
use crate::{
    SessionId,
    message::{SessionChange, Target, WhenLost},
};

/// How long the last beat may take.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// How many things are done before others have their turn.
const TURN: usize = 64;

/// What a node is told.
#[derive(Clone, Debug)]
pub(crate) struct NodeConfig {
    pub(crate) name: NodeName,
    pub(crate) tenant: Tenant,
    pub(crate) nats: NatsConfig,
    pub(crate) allow: AllowList,
    /// What becomes of typing while a session's host is silent.
    pub(crate) typing: WhenLost,
    /// The local server's.
    pub(crate) socket: PathBuf,
}

/// Why a node does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error(transparent)]
    Nats(#[from] NatsError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("another node is called {0}, and was there before; give this one another --name")]
    NameTaken(NodeName),
}

/// A node that is connected.
pub(crate) struct RunningNode {
    started: Instant,
    name: NodeName,
    core: NodeCore,
    carrier: NatsCarrier,
    local: LocalSide,
    control: ControlListener,
    asked: mpsc::Receiver<(ControlRequest, oneshot::Sender<ControlAnswer>)>,
    /// Lists that are awaited, by their numbers.
    lists: HashMap<u64, Awaited>,
    /// Who waits for a change at another node, by its number.
    changes: HashMap<u64, oneshot::Sender<ControlAnswer>>,
    /// Answers to `list --nodes` that are not whole, each with what is still awaited.
    overviews: HashMap<u64, Overview>,
    /// Who waits for a mirror; and the mirrors that the local server has.
    watchers: HashMap<MirrorId, Vec<Watcher>>,
    provided: HashSet<MirrorId>,
    journal: Journal,
}

/// Who waits for a session of another node.
struct Watcher {
    host: NodeName,
    session: SessionId,
    begin: Begin,
    answer: oneshot::Sender<ControlAnswer>,
}

enum Awaited {
    /// For a session of this name.
    Session { host: NodeName, session: Target, wanted: Wanted, answer: oneshot::Sender<ControlAnswer> },
    /// For a line of this overview.
    Line { overview: u64, node: NodeName },
}

/// What is to be done with a session of another node.
enum Wanted {
    Watch(Begin),
    Change(SessionChange),
}

struct Overview {
    lines: Vec<NodeLine>,
    missing: usize,
    answer: oneshot::Sender<ControlAnswer>,
}

impl RunningNode {
    /// Connects, and listens for who asks on this machine.
    ///
    /// # Errors
    /// [`NodeError`].
    pub(crate) async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let NodeConfig { name, tenant, nats, allow, typing, socket } = config;
        let (sender, asked) = mpsc::channel(16);
        let control = ControlListener::bind(&socket, sender)?;
        let carrier = NatsCarrier::connect(&nats, &tenant, &name).await?;
        let mut bits = [0; 8];
        // Without random bits no two runs are told apart: rather none.
        getrandom::fill(&mut bits).map_err(|error| ControlError::Random(error.to_string()))?;
        let incarnation = Incarnation(u64::from_le_bytes(bits));
        let mut core = NodeCore::new(Duration::ZERO, name.clone(), incarnation, allow);
        for left in left_mirrors(&socket).await {
            if let Err(why) = core.resume(Duration::ZERO, left) {
                tracing::warn!(%why, "a mirror of an earlier run is left alone");
            }
        }
        Ok(Self {
            started: Instant::now(),
            core,
            name,
            carrier,
            local: LocalSide::new(socket, typing),
            control,
            asked,
            lists: HashMap::new(),
            changes: HashMap::new(),
            overviews: HashMap::new(),
            watchers: HashMap::new(),
            provided: HashSet::new(),
            journal: Journal::default(),
        })
    }

    /// Where it listens for who asks on this machine.
    pub(crate) fn control_path(&self) -> &Path {
        self.control.path()
    }

    /// Serves until `stop`. Then the others are told that it leaves.
    ///
    /// # Errors
    /// [`NodeError::NameTaken`].
    pub(crate) async fn serve(mut self, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        tokio::pin!(stop);
        loop {
            if let Some(taken) = self.settle() {
                return Err(taken);
            }
            let due = self.started + self.core.due().min(Duration::from_secs(3600));
            let [is_bulk_full, is_quick_full] = Lane::ALL.map(|lane| !self.carrier.has_room(lane));
            let (bulk, quick) = (self.carrier.room(Lane::Bulk), self.carrier.room(Lane::Quick));
            tokio::select! {
                () = &mut stop => break,
                Some((request, answer)) = self.asked.recv() => self.ask(request, answer),
                event = poll_fn(|context| self.carrier.poll_event(context)) => self.hear(event),
                news = poll_fn(|context| self.local.poll_news(context, |follow| self.core.wants(follow))) => {
                    self.hear_local(news);
                }
                () = bulk, if is_bulk_full => {}
                () = quick, if is_quick_full => {}
                () = sleep_until(due.into()) => {}
            }
        }
        let last = self.core.beat(self.now(), true);
        if timeout(LEAVE_TIME, self.carrier.room(Lane::Quick)).await.is_ok() {
            self.carrier.publish(last);
            let _ = timeout(LEAVE_TIME, self.carrier.flush()).await;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does all that can be done at once. Returns why it can't go on.
    fn settle(&mut self) -> Option<NodeError> {
        let now = self.now();
        self.core.tick(now);
        for lane in Lane::ALL {
            for _ in 0..TURN {
                if !self.carrier.has_room(lane) {
                    break;
                }
                match self.core.poll_publish(now, lane) {
                    Some(message) => self.carrier.publish(message),
                    None => break,
                }
            }
        }
        while let Some(command) = self.core.next_local() {
            self.local.carry_out(command);
        }
        while let Some(report) = self.core.next_report() {
            match report {
                Report::Came(node, after) => Journal::came(&node, after),
                Report::Lost(node) => Journal::lost(&node),
                Report::Stream(report) => self.journal.stream(now, report),
                Report::NameTaken => return Some(NodeError::NameTaken(self.name.clone())),
                Report::NameWanted => {
                    tracing::warn!(name = %self.name, "another node tries to have this name")
                }
                Report::Listed { list, result } => self.listed(list, result),
                Report::Changed { change, result } => self.changed(change, result),
            }
        }
        None
    }

    fn hear(&mut self, event: CarrierEvent) {
        self.core.handle_carrier(self.now(), event);
        // What has come already, in the same turn.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..TURN {
            let std::task::Poll::Ready(event) = self.carrier.poll_event(&mut context) else { break };
            self.core.handle_carrier(self.now(), event);
        }
    }

    fn hear_local(&mut self, news: LocalNews) {
        match news {
            LocalNews::Event(LocalEvent::MirrorGone { mirror }) => {
                self.core.handle_local(self.now(), LocalEvent::MirrorGone { mirror });
                self.provided.remove(&mirror);
                // Who came meanwhile gets another one, or is told by the host why not.
                let watchers = self.watchers.remove(&mirror).unwrap_or_default();
                watchers.into_iter().for_each(|watcher| self.watch(watcher));
            }
            LocalNews::Event(event) => self.core.handle_local(self.now(), event),
            LocalNews::Provided(mirror) => {
                self.provided.insert(mirror);
                for Watcher { session, answer, .. } in self.watchers.remove(&mirror).unwrap_or_default() {
                    let _ = answer.send(ControlAnswer::Watching { session });
                }
            }
            LocalNews::Unprovided(mirror) => drop(self.provided.remove(&mirror)),
            LocalNews::NotProvided(mirror, why) => {
                for Watcher { answer, .. } in self.watchers.remove(&mirror).unwrap_or_default() {
                    let _ = answer.send(ControlAnswer::Refused(why.clone()));
                }
            }
        }
    }

    /// Has a session mirrored, and answers once it is.
    fn watch(&mut self, watcher: Watcher) {
        match self.core.watch(self.now(), &watcher.host, watcher.session, watcher.begin) {
            Ok(mirror) if self.provided.contains(&mirror) => {
                let Watcher { session, answer, .. } = watcher;
                let _ = answer.send(ControlAnswer::Watching { session });
            }
            Ok(mirror) => self.watchers.entry(mirror).or_default().push(watcher),
            Err(why) => {
                let _ = watcher.answer.send(ControlAnswer::Refused(why.to_string()));
            }
        }
    }

    /// Does what somebody on this machine asks for.
    fn ask(&mut self, request: ControlRequest, answer: oneshot::Sender<ControlAnswer>) {
        let now = self.now();
        match request {
            ControlRequest::Watch { host, session, from_start } => {
                let begin = if from_start { Begin::At(0) } else { Begin::Screen };
                self.look_up(&host, session, Wanted::Watch(begin), answer);
            }
            ControlRequest::Figures => {
                let figures = [self.core.figures(), self.carrier.figures()].concat();
                let _ = answer.send(ControlAnswer::Figures(figures));
            }
            ControlRequest::Change { host, session, change } => {
                self.look_up(&host, session, Wanted::Change(change), answer);
            }
            ControlRequest::Create { host, create } => {
                if let Some((host, answer)) = node_name(&host, answer) {
                    self.change(&host, HostChange::Create(create), answer);
                }
            }
            ControlRequest::Nodes { with_sessions } => {
                let nodes: Vec<_> =
                    self.core.nodes().map(|(name, known)| (name.clone(), known.clone())).collect();
                let overview = self.core.draw_number();
                let (mut lines, mut missing) = (Vec::new(), 0);
                for (node, known) in nodes {
                    if with_sessions && !known.is_lost {
                        missing += 1;
                        let list = self.core.list(now, &node);
                        self.lists.insert(list, Awaited::Line { overview, node: node.clone() });
                    }
                    lines.push(NodeLine {
                        name: node.to_string(),
                        is_lost: known.is_lost,
                        heard_seconds: now.saturating_sub(known.heard).as_secs(),
                        streams: known.beat.streams,
                        sessions: Vec::new(),
                    });
                }
                self.overviews.insert(overview, Overview { lines, missing, answer });
                self.finish(overview);
            }
        }
    }

    /// Finds out which session is meant.
    fn look_up(
        &mut self,
        host: &str,
        session: Target,
        wanted: Wanted,
        answer: oneshot::Sender<ControlAnswer>,
    ) {
        if let Some((host, answer)) = node_name(host, answer) {
            let list = self.core.list(self.now(), &host);
            self.lists.insert(list, Awaited::Session { host, session, wanted, answer });
        }
    }

    fn change(&mut self, host: &NodeName, change: HostChange, answer: oneshot::Sender<ControlAnswer>) {
        match self.core.change(self.now(), host, change) {
            Ok(change) => drop(self.changes.insert(change, answer)),
            Err(why) => drop(answer.send(ControlAnswer::Refused(why.to_string()))),
        }
    }

    fn changed(&mut self, change: u64, result: Result<Option<SessionId>, Refusal>) {
        if let Some(answer) = self.changes.remove(&change) {
            let _ = answer.send(match result {
                Ok(Some(session)) => ControlAnswer::Created { session },
                Ok(None) => ControlAnswer::Changed,
                Err(why @ Refusal::NameTaken) => ControlAnswer::NameTaken(why.to_string()),
                Err(why) => ControlAnswer::Refused(why.to_string()),
            });
        }
    }

    /// Answers, if nothing is awaited any more.
    fn finish(&mut self, overview: u64) {
        if self.overviews.get(&overview).is_some_and(|overview| overview.missing == 0)
            && let Some(Overview { lines, answer, .. }) = self.overviews.remove(&overview)
        {
            let _ = answer.send(ControlAnswer::Nodes(lines));
        }
    }

    fn listed(&mut self, list: u64, result: Result<Vec<RemoteSession>, Refusal>) {
        match self.lists.remove(&list) {
            Some(Awaited::Line { overview, node }) => {
                if let Some(Overview { lines, missing, .. }) = self.overviews.get_mut(&overview) {
                    *missing -= 1;
                    if let Some(line) = lines.iter_mut().find(|line| line.name == node.as_str()) {
                        line.sessions = result.unwrap_or_default().iter().map(SessionLine::from).collect();
                    }
                    self.finish(overview);
                }
            }
            Some(Awaited::Session { host, session, wanted, answer }) => {
                let found = result.map_err(|why| ControlAnswer::Refused(why.to_string()));
                match (found.and_then(|sessions| find(&host, &sessions, &session)), wanted) {
                    (Ok(session), Wanted::Watch(begin)) => {
                        self.watch(Watcher { host, session, begin, answer })
                    }
                    (Ok(session), Wanted::Change(change)) => {
                        self.change(&host, HostChange::Session(session, change), answer);
                    }
                    (Err(why), _) => drop(answer.send(why)),
                }
            }
            None => {}
        }
    }
}

/// The name of a node. Where it can't be one, who asked is told.
fn node_name(
    text: &str,
    answer: oneshot::Sender<ControlAnswer>,
) -> Option<(NodeName, oneshot::Sender<ControlAnswer>)> {
    match text.parse() {
        Ok(name) => Some((name, answer)),
        Err(why) => {
            let why: &str = why;
            let _ = answer.send(ControlAnswer::Refused(why.to_owned()));
            None
        }
    }
}

/// The session of a node's that is meant: by its id, its name, or a beginning of the name that no other has. One that
/// ended is meant only by its whole name, where a beginning would do, and if no other is.
fn find(host: &NodeName, sessions: &[RemoteSession], target: &Target) -> Result<SessionId, ControlAnswer> {
    let none = |what: &dyn Display| {
        let why = format!("there is no session {what} on {host}; `list --nodes` shows which there are");
        Err(ControlAnswer::NoSession(why))
    };
    let name = match target {
        Target::Id(id) if sessions.iter().any(|session| session.id == *id) => return Ok(*id),
        Target::Id(id) => return none(id),
        Target::Name(name) | Target::Prefix(name) => name,
        _ => return none(&"here"),
    };
    let is_it = |session: &&RemoteSession| session.name == *name;
    let (running, ended): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| session.is_running);
    if let Some(found) = running.iter().copied().find(is_it) {
        return Ok(found.id);
    }
    if matches!(target, Target::Name(_)) {
        return none(name);
    }
    let begins = |session: &&RemoteSession| session.name.as_str().starts_with(name.as_str());
    let mut begun = running.into_iter().filter(begins);
    match (begun.next(), begun.next(), ended.into_iter().find(is_it)) {
        (Some(found), None, _) | (None, _, Some(found)) => Ok(found.id),
        (None, _, None) => none(name),
        (Some(_), Some(_), _) => {
            let why = format!("{name} is the beginning of several names on {host}; write more of it");
            Err(ControlAnswer::Refused(why))
        }
    }
}
