//! Sessions whose programs outlive the server: starting them, and taking them over from the server before.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Manager, NewSession, StartedProgram};
use crate::{
    SessionId, TerminalSize,
    message::Create,
    session::{
        command_line::{shell_words, shown_title},
        kept::{FoundSession, Handover, Keeper, Kept, KeptState},
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
        let found = keeper.find().await?;
        let ids: Vec<_> = found.iter().map(|found| found.id).collect();
        for one in found {
            self.take_over_one(one, keeper);
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
        let KeptState::First { name, command, title, size_policy, pace, started } = state;
        let (picture, pictured) = marks.picture();
        let is_exact = marks.is_exact();
        // What the earlier server was just reading is lost. It may be nothing, and is at most a turn.
        let start = marks.head() + if is_exact { 0 } else { TURN_BYTES };
        marks.set_head(start);
        let is_pictured = is_exact && pictured == start;
        let age = Duration::from_secs(now().saturating_sub(started));
        let window = marks.window().unwrap_or(Window { size: TerminalSize::DEFAULT, pixels: None });
        // An earlier server may have given it another one for a moment.
        if let Err(error) = pty.resize(window) {
            warn!(session = %id, %error, "resizing the terminal failed");
        }
        let new = NewSession {
            id,
            name,
            surroundings: Surroundings::found(id, self.settings.links.as_ref()),
            window,
            size_policy,
            pace,
            start,
            started: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            picture,
        };
        let kept = Kept { keeper: Arc::clone(keeper), marks, started };
        let started = StartedProgram { pty, program: Process::Kept(program), kept: Some(kept) };
        info!(session = %id, name = %new.name, "taken over from an earlier server");
        self.with(|book| book.names.insert(new.name.clone(), None));
        let session = self.run_new(new, (command, title), started, oneshot::channel().1);
        if !is_pictured {
            self.tasks.spawn(async move { session.redraw_program().await });
        }
    }

    /// What another keeper is given of a session.
    fn handover(&self, session: SessionId) -> Option<Handover> {
        let session = self.with(|book| book.live.get(&session).cloned())?;
        let marks = session.kept()?.marks.file().try_clone().ok()?;
        Some(Handover {
            master: session.pty.as_ref()?.master_again()?,
            state: session.state()?.file().ok()?,
            marks,
        })
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
