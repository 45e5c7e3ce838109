//! The way to a connection for others: its commands, and its end.
//!
//! A connection is one task. What it waits for beside its socket and its queue, it finds here, under one small lock and
//! with one waker: thousands of connections are idle, and each pays for what it could wait for.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;

use super::command::Command;
use crate::{
    message::{SessionInfo, SessionState},
    session::ClientStatus,
    sync::{Mutex, Rank},
    wire,
};

/// Commands that may wait for a connection. A client that sends requests and reads no replies stops being read when
/// these are used up.
const COMMANDS: usize = 32;

/// What others have of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) status: Arc<ClientStatus>,
    /// What the client knows beyond the version, a bit each.
    features: u64,
    /// A leaf lock, under which nothing is woken.
    state: Mutex<LinkState>,
    /// There is room for a command again, or never any more.
    changed: Notify,
}

#[derive(Debug, Default)]
struct LinkState {
    commands: VecDeque<Command>,
    /// Of the connection's task, while it waits for any of this.
    waker: Option<Waker>,
    is_cancelled: bool,
    is_closed: bool,
}

/// The connection has ended, or is about to.
#[derive(Debug)]
pub(super) struct Closed;

/// Why a command was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    Full(Command),
    Closed,
}

impl Link {
    pub(super) fn new(status: ClientStatus, features: u64) -> Self {
        let state = Mutex::new(Rank::Leaf, LinkState::default());
        Self { status: Arc::new(status), features, state, changed: Notify::new() }
    }

    /// A session as the client can be told of it: one that does not know of provided sessions takes them for others.
    pub(super) fn known(&self, info: SessionInfo) -> SessionInfo {
        match info.state {
            SessionState::Provided { .. } if self.features & wire::PROVIDES == 0 => {
                SessionInfo { state: SessionState::Running { pid: None }, ..info }
            }
            _ => info,
        }
    }

    pub(super) fn status(&self) -> Arc<ClientStatus> {
        Arc::clone(&self.status)
    }

    /// Gives the connection a command, if there is room.
    pub(super) fn try_send(&self, command: Command) -> Result<(), NotTaken> {
        let waker = self.state.with(|state| {
            if state.is_closed {
                return Err(NotTaken::Closed);
            }
            if state.commands.len() == COMMANDS {
                return Err(NotTaken::Full(command));
            }
            state.commands.push_back(command);
            Ok(state.waker.take())
        })?;
        wake(waker);
        Ok(())
    }

    /// Gives the connection a command, once there is room.
    ///
    /// # Cancel safety
    /// Cancel safe: the command was given, or is dropped.
    pub(super) async fn send(&self, mut command: Command) -> Result<(), Closed> {
        loop {
            // From before the look on, so that no change after it is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.try_send(command) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Closed) => return Err(Closed),
                Err(NotTaken::Full(refused)) => command = refused,
            }
            changed.await;
        }
    }

    /// Waits until the connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn closed(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.state.with(|state| state.is_closed) {
                return;
            }
            changed.await;
        }
    }

    /// Ends the connection at once, without telling the client.
    pub(super) fn cancel(&self) {
        wake(self.state.with(|state| {
            state.is_cancelled = true;
            state.waker.take()
        }));
    }

    /// The connection has ended: no command is taken any more, and those that wait are dropped.
    pub(super) fn close(&self) {
        let dropped = self.state.with(|state| {
            state.is_closed = true;
            (std::mem::take(&mut state.commands), state.waker.take())
        });
        drop(dropped);
        self.changed.notify_waiters();
    }

    /// The next command, if there is one. For the connection's own task.
    pub(super) fn try_next(&self) -> Option<Command> {
        let (command, was_full) = self.state.with(LinkState::pop);
        if was_full {
            self.changed.notify_waiters();
        }
        command
    }

    /// Waits until there is a command. For the connection's own task.
    pub(super) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        self.state.with(|state| state.wait_unless(context, |state| !state.commands.is_empty()))
    }

    /// Waits until the connection is to end at once. For the connection's own task: there is one waker for this and for
    /// commands.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) fn cancelled(&self) -> impl Future<Output = ()> {
        poll_fn(|context| self.state.with(|state| state.wait_unless(context, |state| state.is_cancelled)))
    }
}

impl LinkState {
    /// The next command, and whether there was no room for another until now.
    fn pop(&mut self) -> (Option<Command>, bool) {
        let was_full = self.commands.len() == COMMANDS;
        let command = self.commands.pop_front();
        if self.commands.is_empty() {
            // An idle client is not to keep room for them.
            self.commands = VecDeque::new();
        }
        (command, was_full)
    }

    fn wait_unless(&mut self, context: &Context<'_>, is_ready: impl FnOnce(&Self) -> bool) -> Poll<()> {
        if is_ready(self) {
            return Poll::Ready(());
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientId;

    fn link() -> Arc<Link> {
        Arc::new(Link::new(ClientStatus::new(ClientId::from(1), None), wire::PROVIDES))
    }

    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// As many commands as are taken without waiting.
    fn fill(link: &Link) -> usize {
        (0..).take_while(|request| link.try_send(Command::Detach { request: *request }).is_ok()).count()
    }

    #[tokio::test]
    async fn a_command_beyond_the_room_is_given_once_one_is_taken() {
        let link = link();
        assert_eq!(fill(&link), COMMANDS);
        let mut waits = [7, 8].map(|request| Box::pin(link.send(Command::Resync { request })));
        for send in &mut waits {
            assert!(!is_ready(send.as_mut()));
        }
        assert!(link.try_next().is_some());
        // There is room for one of them.
        let given = waits.iter_mut().map(|send| is_ready(send.as_mut())).filter(|given| *given).count();
        assert_eq!(given, 1);
        assert_eq!(std::iter::from_fn(|| link.try_next()).count(), COMMANDS);
    }

    #[tokio::test]
    async fn the_end_of_a_connection_is_told_to_all_that_wait_for_it() {
        let link = link();
        fill(&link);
        let waits = [true, false].map(|is_sending| {
            let link = Arc::clone(&link);
            tokio::spawn(async move {
                if is_sending {
                    assert!(link.send(Command::Stop).await.is_err());
                } else {
                    link.closed().await;
                }
            })
        });
        tokio::task::yield_now().await;
        link.close();
        for wait in waits {
            wait.await.unwrap();
        }
        assert!(link.try_next().is_none());
        assert!(matches!(link.try_send(Command::Stop), Err(NotTaken::Closed)));
        assert!(is_ready(link.closed()));
    }

    #[tokio::test]
    async fn a_cancelled_connection_is_woken_whatever_it_waits_for() {
        let link = link();
        let waits = Arc::clone(&link);
        let connection = tokio::spawn(async move {
            tokio::select! {
                () = waits.cancelled() => {}
                () = poll_fn(|context| waits.poll_ready(context)) => unreachable!("there is no command"),
            }
        });
        tokio::task::yield_now().await;
        link.cancel();
        connection.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn senders_at_once_lose_nothing_and_keep_their_order() {
        const EACH: u64 = 2_000;
        let link = link();
        let senders = (0..4).map(|sender| {
            let link = Arc::clone(&link);
            tokio::spawn(async move {
                for count in 0..EACH {
                    link.send(Command::Detach { request: sender * EACH + count }).await.unwrap();
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        let mut next = [0; 4];
        while next != [EACH; 4] {
            poll_fn(|context| link.poll_ready(context)).await;
            while let Some(command) = link.try_next() {
                let Command::Detach { request } = command else { unreachable!() };
                let sender = usize::try_from(request / EACH).unwrap();
                assert_eq!(request % EACH, next[sender]);
                next[sender] += 1;
            }
        }
        for sender in senders {
            sender.await.unwrap();
        }
    }
}
