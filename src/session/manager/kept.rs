//! Sessions whose programs outlive the server: starting them, and taking them over from the server before.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Manager, NewSession, Runs, StartedProgram};
use crate::{
    SessionId, TerminalSize,
    message::{Create, Pace, SessionState, SizePolicy},
    session::{
        Session,
        command_line::{shell_words, shown_title},
        feed::FeedSide,
        kept::{
            ForKeeper, FoundSession, HeldListener, Keeper, Kept, KeptEnded, KeptFile, KeptLog, KeptProvided,
            KeptServer, KeptState,
        },
        program::Process,
        pump::TURN_BYTES,
        size::Window,
        starter::NotStarted,
        surroundings::Surroundings,
    },
};

impl Manager {
    /// Starts a program that outlives this process; `None` where there can't be such programs now.
    pub(super) async fn start_kept(
        &self,
        id: SessionId,
        create: &Create,
        keeper: &Arc<Keeper>,
    ) -> Option<Result<StartedProgram, NotStarted>> {
        let started = now();
        let state = KeptState::First {
            name: create.name.clone(),
            command: shell_words(&create.command),
            title: create.title.as_deref().map(shown_title),
            size_policy: create.size_policy,
            pace: create.pace,
            started,
            log: None,
        };
        let starting = async {
            match keeper.prepare(create, &self.settings.socket, &state).await {
                Ok(prepared) => keeper.start(id, prepared).await.map(Some),
                Err(error) => {
                    warn!(name = %create.name, %error, "no keeper for a program, which ends with this server");
                    Ok(None)
                }
            }
        };
        let (pty, program, marks) = match self.starter.start_elsewhere(starting, &self.stopping).await {
            Ok(started) => started?,
            Err(why) => return Some(Err(why)),
        };
        let kept = Kept { keeper: Arc::clone(keeper), marks, started };
        Some(Ok(StartedProgram { pty, program: Process::Kept(program), kept: Some(kept) }))
    }

    /// Takes over the sessions that an earlier server left, before anybody can ask for them; and, from then on, has a
    /// keeper that goes replaced.
    ///
    /// # Errors
    /// The keeper of the earlier server does not answer, or is of another version.
    pub(crate) async fn take_over(self: &Arc<Self>) -> io::Result<()> {
        let Some(keeper) = &self.settings.keeper else { return Ok(()) };
        let (found, rest) = keeper.find().await?;
        let (ended, provided) = rest.into_parts();
        let ids: Vec<_> = found.iter().map(|found| found.id).collect();
        for one in found {
            self.take_over_one(one, keeper);
        }
        for one in ended {
            self.take_over_ended(one);
        }
        for one in provided {
            self.take_over_provided(one);
        }
        if let Some(links) = &self.settings.links {
            links.remove_leftovers(&ids);
        }
        let (keeper, manager) = (Arc::clone(keeper), Arc::clone(self));
        tokio::spawn(async move {
            tokio::select! {
                () = manager.stopping.cancelled() => {}
                () = keeper.replace(|session| manager.handover(session)) => {}
            }
        });
        Ok(())
    }

    fn take_over_one(self: &Arc<Self>, found: FoundSession, keeper: &Arc<Keeper>) {
        let FoundSession { id, state, marks, pty, program } = found;
        let KeptState::First { name, command, title, size_policy, pace, started, log } = state;
        let (picture, pictured) = marks.picture();
        let is_exact = marks.is_exact();
        // What the earlier server was just reading is lost. It may be nothing, and is at most a turn.
        let start = marks.head() + if is_exact { 0 } else { TURN_BYTES };
        marks.set_head(start);
        // One that an earlier server handed over is outdated once the next one has read anything.
        let log = log.filter(|log| is_exact && log.start + log.bytes.len() as u64 == start);
        let is_pictured = is_exact && pictured == start || log.is_some();
        let age = Duration::from_secs(now().saturating_sub(started));
        let window = marks.window().unwrap_or(Window { size: TerminalSize::DEFAULT, pixels: None });
        let log = log.unwrap_or_else(|| KeptLog { picture, ..KeptLog::begin_at(start, window.size) });
        // An earlier server may have given it another one for a moment.
        if let Err(error) = pty.resize(window) {
            warn!(session = %id, %error, "resizing the terminal failed");
        }
        let (has_untyped, awaited) = (!log.untyped.is_empty(), log.awaited);
        pty.type_first(log.untyped.clone());
        let new = NewSession {
            id,
            name,
            surroundings: Surroundings::found(id, self.settings.links.as_ref()),
            window,
            size_policy,
            pace,
            log,
            started: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
        };
        let kept = Kept { keeper: Arc::clone(keeper), marks, started };
        let started = StartedProgram { pty, program: Process::Kept(program), kept: Some(kept) };
        info!(session = %id, name = %new.name, "taken over from an earlier server");
        self.with(|book| book.names.insert(new.name.clone(), None));
        let (begin, start) = oneshot::channel();
        let session = self.run_new(new, (command, title), started, start);
        session.hold_for_readers(awaited);
        // From here on its output is read.
        drop(begin);
        // First of all: what was handed over is this server's now, and is not to be typed again by the next.
        session.keep_state();
        if let Some(pty) = session.pty.clone().filter(|_| has_untyped) {
            // An error says that the session ended.
            self.tasks.spawn(async move { drop(pty.write_all(&[]).await) });
        }
        if !is_pictured {
            self.tasks.spawn(async move { session.redraw_program().await });
        }
    }

    /// Goes on with a session that a client provides, which is to come back.
    fn take_over_provided(self: &Arc<Self>, KeptProvided { provide, started, log }: KeptProvided) {
        let (age, awaited) = (Duration::from_secs(now().saturating_sub(started)), log.awaited);
        let side = Arc::new(FeedSide::new(&provide, self.history_bytes.load(Ordering::Relaxed), false));
        let new = NewSession {
            log,
            started: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            ..NewSession::provided(&provide)
        };
        self.with(|book| book.names.insert(provide.name.clone(), None));
        let said = (&provide.command[..], provide.title.as_deref());
        let Some(session) = self.run_feed(new, Arc::clone(&side), said) else { return };
        session.hold_for_readers(awaited);
        info!(session = %session.id, name = %provide.name, "taken over from an earlier server");
        side.begins_lost(&session, self.settings.lost_time);
    }

    /// Remembers a session that ended, with what it printed.
    fn take_over_ended(self: &Arc<Self>, KeptEnded { info, at, log }: KeptEnded) {
        let SessionState::Ended(status) = info.state else { return };
        let ago =
            |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap_or_else(Instant::now);
        let since = now().saturating_sub(at);
        let session = log.map(|log| {
            let new = NewSession {
                id: info.id,
                name: info.name.clone(),
                surroundings: Surroundings::none(),
                window: Window { size: info.size, pixels: None },
                size_policy: SizePolicy::Fixed,
                pace: Pace::Free,
                started: ago(since + info.age_seconds),
                log,
            };
            let session = self.open(new, Runs::Nothing);
            session.history.end(status);
            session.gone.cancel();
            session
        });
        let output = session.clone().map(|session| (Arc::clone(&session), session.span().held_bytes));
        let freed = self.with(|book| book.ended.push(info, ago(since), output));
        drop(freed);
        if let Some(session) = session {
            tokio::spawn(Arc::clone(self).settle(session));
        }
    }

    /// Has a keeper, which another server can wait at.
    ///
    /// # Errors
    /// There can't be one, or not all sessions can be handed over.
    #[cfg(feature = "cli")]
    pub(crate) async fn prepare_handover(&self) -> io::Result<()> {
        let Some(keeper) = &self.settings.keeper else { return Err(io::ErrorKind::Unsupported.into()) };
        let live: Vec<_> = self.with(|book| book.live.values().cloned().collect());
        let is_kept = |session: &Session| session.kept().is_some() || session.is_provided();
        if let Some(session) = live.iter().find(|session| !is_kept(session)) {
            return Err(io::Error::other(format!("session {} would end with this server", session.name())));
        }
        for session in &live {
            keeper.has_room(session.span().held_bytes)?;
        }
        keeper.has_room(self.with(|book| book.ended.held_bytes()))?;
        keeper.begin().await
    }

    /// Reads no more of what programs print, and accepts no more of what others do, before clients that hold them back
    /// are gone.
    pub(crate) fn stop_reading(&self) {
        let live: Vec<_> = self.with(|book| book.live.values().cloned().collect());
        for session in &live {
            session.awaits_its_readers();
        }
        self.handing_over.cancel();
        self.stopping.cancel();
    }

    /// Hands all sessions to the next server, which waits for that: nothing is read or started any more, and the keeper
    /// is given all that was printed. No client may be there.
    ///
    /// # Errors
    /// The keeper does not take it. What runs goes on, for whatever server comes.
    pub(crate) async fn hand_over(&self, held: HeldListener) -> io::Result<()> {
        let Some(keeper) = &self.settings.keeper else { return Err(io::ErrorKind::Unsupported.into()) };
        self.drain_feeds().await;
        let live: Vec<_> = self.with(|book| {
            book.closed = true;
            book.live.values().cloned().collect()
        });
        for session in live.iter().filter(|session| !session.is_provided()) {
            tokio::select! {
                () = session.stands.cancelled() => {}
                () = session.gone.cancelled() => continue,
            }
            let Some(state) = session.whole_state().await else { continue };
            if let Err(error) = keeper.set_state(session.id, &state) {
                warn!(session = %session.id, %error, "what a session printed could not be handed over");
            }
        }
        let rest = self.rest(&live).await.file().or_else(|error| {
            warn!(%error, "sessions that had ended could not be handed over");
            KeptServer::First { ended: Vec::new() }.file()
        });
        keeper.hand_over(held, rest?).await
    }

    /// What the next server has to know beside the sessions that run.
    async fn rest(&self, live: &[Arc<Session>]) -> KeptServer {
        let (mut ended, mut provided) = (Vec::new(), Vec::new());
        for (info, at, output) in self.with(|book| book.ended.all()) {
            let log = match output {
                Some(session) => Some(session.whole_log().await),
                None => None,
            };
            ended.push(KeptEnded { info, at: now().saturating_sub(at.elapsed().as_secs()), log });
        }
        for session in live.iter().filter(|session| !session.is_over()) {
            let Some(provide) = session.provided_as() else { continue };
            let started = now().saturating_sub(session.started.elapsed().as_secs());
            provided.push(KeptProvided { provide, started, log: session.whole_log().await });
        }
        KeptServer::Second { ended, provided }
    }

    /// What another keeper is given of a session.
    fn handover(&self, session: SessionId) -> Option<ForKeeper> {
        let session = self.with(|book| book.live.get(&session).cloned())?;
        let marks = session.kept()?.marks.file().try_clone().ok()?;
        Some(ForKeeper {
            master: session.pty.as_ref()?.master_again()?,
            state: session.state()?.file().ok()?,
            marks,
        })
    }

    /// Writes what the next server has to know of links; `None` for nothing.
    ///
    /// # Errors
    /// There is no room for it. Nothing is kept then.
    pub(crate) fn keep_links(&self, links: Option<&[u8]>) -> io::Result<()> {
        self.settings.keeper.as_ref().map_or(Ok(()), |keeper| keeper.keep_links(links))
    }

    /// What the server before has written of links, if anything.
    pub(crate) fn kept_links(&self) -> io::Result<Option<Vec<u8>>> {
        self.settings.keeper.as_ref().map_or(Ok(None), |keeper| keeper.kept_links())
    }

    /// No other server is to take over what runs here: this one ends it.
    pub(crate) fn end_keeping(&self) {
        if let Some(keeper) = &self.settings.keeper {
            keeper.end();
        }
    }

    /// Has programs end that outlive this process otherwise. Those that end by themselves meanwhile have done so.
    pub(crate) fn let_go_of_programs(&self) {
        if let Some(keeper) = &self.settings.keeper {
            keeper.forget_all();
        }
    }
}

/// Seconds since the machine was started, which no session outlives.
fn now() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}
