//! What goes to the server: keys, sizes, and the wish for another session.

use std::{
    env::vars_os,
    os::unix::ffi::OsStrExt,
    time::{Duration, Instant},
};

use rustix::process::{Signal, getpid, kill_process};

use super::{
    super::{
        signals::{Job, JobSignals},
        terminal,
    },
    current::Current,
    display::Display,
    io_threads::Keys,
    outbox::{ClientAction, Outbox},
    outcome::Outcome,
    typing::Typing,
    window::TerminalWindow,
};
use crate::{
    client::{ClientError, Liveness, Requests},
    message::{Attach, AttachOptions, ClientEnvironment, ClientMessage, StartAt},
};

/// How long a detach waits for the server's word.
const DETACH_TIME: Duration = Duration::from_secs(1);

/// Sends keys and sizes.
pub(super) struct Sender<'a> {
    pub(super) requests: Requests,
    pub(super) current: &'a Current,
    pub(super) typing: &'a Typing,
    /// How to watch another session, as this terminal is now.
    pub(super) options: &'a dyn Fn() -> AttachOptions,
    pub(super) window: &'a TerminalWindow,
    pub(super) liveness: &'a Liveness,
    pub(super) outbox: &'a mut Outbox,
    pub(super) display: &'a Display,
}

impl Sender<'_> {
    /// Runs until the person leaves or the connection is lost.
    pub(super) async fn run(mut self, keys: &mut Option<(Keys, JobSignals)>) -> Outcome {
        let Some((Keys { typed }, signals)) = keys else {
            return self.only_ping().await;
        };
        if let Err(error) = self.send_again().await {
            return Outcome::Lost(error);
        }
        loop {
            let (ready, gives_up_in) = (self.outbox.ready(), self.outbox.gives_up_in(Instant::now()));
            let sent = tokio::select! {
                keys = typed.recv(), if self.outbox.has_room() && !self.current.is_switching() => {
                    // Without a terminal there is no person left either.
                    let Some(keys) = keys else { return Outcome::Detached };
                    let action = self.outbox.take(&keys, Instant::now());
                    self.act(action).await
                }
                () = tokio::time::sleep(gives_up_in.unwrap_or_default()), if gives_up_in.is_some() => {
                    let action = self.outbox.give_up(Instant::now());
                    self.act(action).await
                }
                () = self.window.room(ready.unwrap_or_default()), if ready.is_some() => {
                    self.send_piece().await.map(|()| None)
                }
                () = self.current.changed() => self.follow().await,
                job = signals.next() => self.act_on(job, signals).await.map(|()| None),
                () = self.liveness.ping_due() => self.ask(&ClientMessage::Ping).await.map(|_| None),
            };
            match sent {
                Ok(None) => {}
                Ok(Some(outcome)) => return outcome,
                Err(error) => return Outcome::Lost(error),
            }
        }
    }

    /// Sees to the line, where nobody types.
    async fn only_ping(&mut self) -> Outcome {
        loop {
            self.liveness.ping_due().await;
            if let Err(error) = self.ask(&ClientMessage::Ping).await {
                return Outcome::Lost(error);
            }
        }
    }

    /// Sends a request that is answered soon, and returns its id.
    async fn ask(&mut self, request: &ClientMessage) -> Result<u64, ClientError> {
        self.liveness.asks();
        self.requests.send(request).await
    }

    /// Does what a key does, if one counts. Returns how watching ends, if it does.
    async fn act(&mut self, action: Option<ClientAction>) -> Result<Option<Outcome>, ClientError> {
        match action {
            None => {}
            Some(ClientAction::Detach) => return Ok(Some(self.detach().await)),
            Some(ClientAction::Next) => {
                // What was typed before is for the session that is shown, as far as that has room for it.
                self.send_what_fits().await?;
                self.outbox.clear();
                if self.current.choose() {
                    self.ask(&ClientMessage::List).await?;
                }
            }
        }
        Ok(None)
    }

    async fn send_what_fits(&mut self) -> Result<(), ClientError> {
        while self.outbox.ready().is_some_and(|bytes| self.window.has_room(bytes)) {
            self.send_piece().await?;
        }
        Ok(())
    }

    /// Attaches to the session that was asked for, or has it drawn where nothing else does; then goes on with what was
    /// typed for it. Returns how watching ends, if that ends it.
    async fn follow(&mut self) -> Result<Option<Outcome>, ClientError> {
        if self.current.take_blank() {
            self.ask(&ClientMessage::Resync).await?;
        }
        let Some(to) = self.current.wanted() else {
            let typed = if self.current.is_switching() { None } else { self.outbox.resume(Instant::now()) };
            return self.act(typed).await;
        };
        let options = (self.options)().with_start(StartAt::Screen);
        let attach = from_here(Attach::new(to.into(), options), self.requests.is_local());
        let request = self.ask(&ClientMessage::Attach(attach)).await?;
        self.current.asked(request);
        Ok(None)
    }

    async fn act_on(&mut self, job: Job, signals: &mut JobSignals) -> Result<(), ClientError> {
        match job {
            Job::Resized => self.send_size().await,
            Job::Stopped if stop(self.display, signals).await => self.go_on().await,
            Job::Stopped => Ok(()),
            Job::Continued => self.go_on().await,
        }
    }

    async fn go_on(&mut self) -> Result<(), ClientError> {
        self.display.go_on();
        self.send_size().await?;
        // A shell has written over the screen meanwhile.
        self.ask(&ClientMessage::Resync).await.map(drop)
    }

    /// Sends the next piece, for which there was room.
    async fn send_piece(&mut self) -> Result<(), ClientError> {
        let Some(piece) = self.outbox.pop() else { return Ok(()) };
        self.window.sent(piece.len());
        self.liveness.waits(true);
        let input = self.typing.push(self.current.session(), piece);
        let request = self.requests.send(&input).await?;
        self.typing.sent(request);
        Ok(())
    }

    /// Sends what an earlier connection was lost with, unanswered.
    async fn send_again(&mut self) -> Result<(), ClientError> {
        for input in self.typing.unanswered() {
            if let ClientMessage::Input { data, .. } = &input {
                self.window.sent(data.len());
                self.liveness.waits(true);
            }
            let request = self.requests.send(&input).await?;
            self.typing.sent(request);
        }
        Ok(())
    }

    /// Sends what was typed before the detach key, as far as the server has room for it, and detaches.
    async fn detach(&mut self) -> Outcome {
        let detached = async {
            self.send_what_fits().await?;
            self.ask(&ClientMessage::Detach).await?;
            // The receiver ends this when the server answers; a server that does not is left all the same.
            std::future::pending::<Result<(), ClientError>>().await
        };
        match tokio::time::timeout(DETACH_TIME, detached).await {
            Ok(Err(error)) => Outcome::Lost(error),
            _ => Outcome::Detached,
        }
    }

    async fn send_size(&mut self) -> Result<(), ClientError> {
        let Some((size, pixels)) = terminal::window() else { return Ok(()) };
        let resize = ClientMessage::Resize { session: self.current.session(), size, pixels };
        self.ask(&resize).await.map(drop)
    }
}

/// An attach with what is carried of the environment that this runs in. On another machine it would mean nothing: there
/// the relay's takes its place.
pub(super) fn from_here(attach: Attach, is_local: bool) -> Attach {
    if !is_local {
        return attach;
    }
    let variables: Vec<_> = vars_os().collect();
    let variables = variables.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    attach.with_environment(ClientEnvironment::of(variables))
}

/// Puts the terminal back, for this process to be stopped. Returns whether it is continued already; otherwise it is
/// told when it is.
pub(super) async fn stop(display: &Display, signals: &mut JobSignals) -> bool {
    display.put_back().await;
    if signals.is_continued().await {
        return true;
    }
    // SIGTSTP has a handler here; nothing handles this one. It can always be sent to oneself.
    let _ = kill_process(getpid(), Signal::STOP);
    false
}
