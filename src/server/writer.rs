//! A connection's writer: what writes to its socket, and what moves its client between sessions.
//!
//! What the client is sent next, its [`Follower`] decides; the writer carries out commands, writes, and notices when
//! the client takes too little. Replies and commands come by a small queue of their own, which is served first. The
//! whole of an attach happens here, so that all output before its reply is the old session's and all after it the new
//! one's, and nothing is held, drawn or resized for a client that has not got there.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::{net::UnixStream, time::Instant};
use tracing::{debug, info};

use super::{
    ServerState,
    command::{AttachCommand, Command},
    link::Link,
    stall::{StallDetector, StallVerdict},
    write_buffer::WriteBuffer,
};
use crate::{
    ClientId,
    message::{ClientState, CloseReason, Event, Reply, RequestError},
    session::{Draw, Followed, Follower, Next, NotFollowed, NotHeld, ScreenDump},
    wire::{self, HelloReply, MAX_OUTPUT},
};

/// How long a connection that is being closed has to take what is written already and the reason.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The socket's buffer then, in bytes, as far as the system allows: room for what is written already and the reason.
const CLOSE_ROOM: usize = 1024 * 1024;

/// With this much to write, in bytes, no further command is carried out before it is written. So a client that does not
/// read has this, and one reply or one screen, waiting for it.
const ENOUGH: usize = MAX_OUTPUT;

pub(super) struct Writer<'a> {
    shared: &'a ServerState,
    follower: Follower,
    socket: &'a UnixStream,
    link: &'a Link,
    /// Handles on the output being gathered.
    pieces: Vec<Bytes>,
    write_buffer: WriteBuffer,
    /// While the client has not taken all there is, and had to be waited for.
    stall: Option<Box<StallDetector>>,
}

/// What a writer does next.
enum Step {
    /// Look again what is next.
    Again,
    Draw(Draw),
    Flush,
    FlushOutput,
    /// Nothing until this time, a command or a message.
    Sleep(Option<Instant>),
}

/// Why a connection ends from this side.
#[derive(Debug)]
enum Disconnect {
    /// The socket failed, or the client hung up; there is nobody to tell.
    Gone,
    /// The client is to be told why.
    Close(CloseReason),
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        shared: &'a ServerState,
        follower: Follower,
        socket: &'a UnixStream,
        link: &'a Link,
    ) -> Self {
        let (pieces, write_buffer) = (Vec::new(), WriteBuffer::default());
        Self { shared, follower, socket, link, pieces, write_buffer, stall: None }
    }

    /// Has the client told that it is let in, before all else.
    pub(super) fn welcome(&mut self, version: u16, client: ClientId) {
        self.write_buffer.push(HelloReply::welcome(version, client).encode());
    }

    /// Writes until the connection ends.
    pub(super) async fn run(&mut self) {
        let Err(end) = self.write_all_there_is().await;
        self.follower.leave();
        self.follower.status().enter(ClientState::Closed);
        if let Disconnect::Close(reason) = end {
            info!(client = %self.follower.client(), %reason, "closing");
            self.shared.counters.closed();
            self.push_event(&Event::Closing(reason));
            // For the reason, where the client takes nothing: it finds that when it takes something again.
            let _ = set_socket_send_buffer_size(self.socket, CLOSE_ROOM);
            // A client that takes nothing more is not waited for; it sees the connection end.
            let _ = Box::pin(tokio::time::timeout(CLOSE_TIME, self.flush())).await;
        }
    }

    async fn write_all_there_is(&mut self) -> Result<Never, Disconnect> {
        loop {
            while self.write_buffer.len() < ENOUGH
                && let Some(carried_out) = self.carry_out_next()
            {
                carried_out.await?;
            }
            if self.write_buffer.len() >= ENOUGH {
                self.flush().await?;
            }
            match self.step()? {
                Step::Again => {}
                Step::Draw(draw) => Box::pin(self.draw(draw)).await,
                Step::Flush => self.flush().await?,
                Step::FlushOutput => {
                    self.flush().await?;
                    // Others on this thread have had to wait for a quarter of a MiB to be copied.
                    tokio::task::yield_now().await;
                }
                Step::Sleep(not_before) => self.sleep(not_before).await?,
            }
        }
    }

    /// Does what comes next, as far as that needs no waiting.
    fn step(&mut self) -> Result<Step, Disconnect> {
        if self.shared.is_stopping() && self.follower.has_all() {
            return Err(Disconnect::Close(CloseReason::ShuttingDown));
        }
        Ok(match self.follower.next(std::time::Instant::now(), &mut self.pieces) {
            Next::Output { offset, length } => {
                self.write_buffer.push_output(offset, length, self.pieces.drain(..));
                Step::FlushOutput
            }
            Next::Screen(draw) => Step::Draw(draw),
            Next::Event(event) => {
                self.push_event(&event);
                Step::Again
            }
            Next::FellBehind { from, to } => {
                return Err(Disconnect::Close(CloseReason::FellBehind { from, to }));
            }
            Next::NotBefore(_) | Next::CaughtUp if !self.write_buffer.is_empty() => Step::Flush,
            Next::NotBefore(time) => Step::Sleep(Some(Instant::from_std(time))),
            Next::CaughtUp => {
                if self.stall.take().is_some_and(|stall| stall.has_lost_hold()) {
                    self.follower.set_holding(true);
                }
                self.write_buffer.shrink();
                self.pieces = Vec::new();
                Step::Sleep(None)
            }
        })
    }

    async fn draw(&mut self, draw: Draw) {
        if let Some((gap, drawn)) = self.follower.draw(draw).await {
            gap.iter().for_each(|gap| self.push_event(gap));
            self.write_buffer.push_screen(drawn.at, drawn.before);
            self.write_buffer.push_screen(drawn.at, drawn.bytes);
        }
    }

    /// Sleeps until there is a command or a message, or until this time.
    fn sleep(&mut self, not_before: Option<Instant>) -> impl Future<Output = Result<(), Disconnect>> {
        let mut timer = not_before.map(|time| Box::pin(tokio::time::sleep_until(time)));
        poll_fn(move |context| {
            if self.link.poll_ready(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(there_will_be_more) = self.follower.poll_message(context) {
                let unregistered = Disconnect::Close(CloseReason::Unregistered);
                return Poll::Ready(if there_will_be_more { Ok(()) } else { Err(unregistered) });
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(context).map(Ok),
                None => Poll::Pending,
            }
        })
    }

    /// Carries out the next command, if there is one. Boxed, like all that is seldom under way: an idle client is not
    /// to have room for it.
    fn carry_out_next(&mut self) -> Option<Pin<Box<impl Future<Output = Result<(), Disconnect>>>>> {
        self.link.try_next().map(|command| Box::pin(self.carry_out(command)))
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Disconnect> {
        #[cfg(test)]
        if let Command::Detach { request } = command {
            super::tests::panic_if_asked(request);
        }
        match command {
            Command::Frame(frame) => self.write_buffer.push(frame),
            Command::List { request } => {
                let sessions = self.shared.sessions.list().into_iter().map(|info| self.link.known(info));
                self.reply(request, &Ok(Reply::Sessions(sessions.collect())));
            }
            Command::Shares { request } => self.reply(request, &Ok(Reply::Shares(self.shared.shares()))),
            Command::Stats { request } => {
                let stats = self.shared.stats().await;
                self.reply(request, &Ok(Reply::Stats(Box::new(stats))));
            }
            Command::ReadScreen { request, session, lines } => {
                let lines = usize::try_from(lines).unwrap_or(usize::MAX);
                let screen = session.read_screen(lines).await;
                self.reply(request, &screen.map(|screen| Reply::Screen(Box::new(screen))));
            }
            Command::Attach(attach) => self.attach(*attach).await?,
            Command::Detach { request } => {
                self.follower.leave();
                self.reply(request, &Ok(Reply::Detached));
            }
            Command::Resize { request, size } => {
                self.follower.set_size(size);
                self.reply(request, &Ok(Reply::Resized));
            }
            Command::Resync { request } => {
                self.follower.resync();
                self.reply(request, &Ok(Reply::Resynced));
            }
            Command::Purge(session) => self.follower.purge(session),
            Command::Close(reason) => return Err(Disconnect::Close(reason)),
            // It is looked at before each sleep.
            Command::Stop => {}
        }
        Ok(())
    }

    async fn attach(&mut self, attach: AttachCommand) -> Result<(), Disconnect> {
        let AttachCommand { request, session, options, environment, begin: _begin, attached } = attach;
        match self.follower.attach(session, &options).await {
            Ok(Followed { to, drawn, claim }) => {
                if let Some(environment) = environment {
                    self.follower.join_environment(*environment);
                }
                self.reply(request, &Ok(Reply::Attached(to)));
                if let Some(ScreenDump { bytes, at, .. }) = drawn {
                    self.write_buffer.push_screen(at, bytes);
                }
                // An error says that the reader has ended, and this connection with it.
                let _ = attached.send(claim);
            }
            Err(NotFollowed::NotHeld(NotHeld { offset, oldest, head })) => {
                self.reply(request, &Err(RequestError::OffsetNotHeld { offset, oldest, head }));
            }
            Err(NotFollowed::Unregistered) => return Err(Disconnect::Close(CloseReason::Unregistered)),
        }
        Ok(())
    }

    fn reply(&mut self, request: u64, answer: &Result<Reply, RequestError>) {
        self.write_buffer.push(wire::encode_reply(request, answer));
    }

    fn push_event(&mut self, event: &Event) {
        match wire::encode_event(event) {
            Ok(frame) => self.write_buffer.push(frame),
            Err(error) => debug!(client = %self.follower.client(), %error, "event not sent"),
        }
    }

    /// Writes all that waits. Ends early when the client is gone or too slow.
    async fn flush(&mut self) -> Result<(), Disconnect> {
        while !self.write_buffer.is_empty() {
            if !self.write()? {
                Box::pin(self.wait_for_room()).await?;
            }
        }
        Ok(())
    }

    /// Writes what the socket takes now; returns whether it took anything.
    fn write(&mut self) -> Result<bool, Disconnect> {
        match self.write_buffer.write_to(self.socket) {
            Ok(0) => Err(Disconnect::Gone),
            Ok(written) => {
                self.follower.wrote(written, self.write_buffer.unwritten_output());
                if self.stall.as_mut().is_some_and(|stall| stall.took(written)) {
                    self.follower.set_holding(true);
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => {
                debug!(client = %self.follower.client(), %error, "write failed");
                Err(Disconnect::Gone)
            }
        }
    }

    async fn wait_for_room(&mut self) -> Result<(), Disconnect> {
        let close = self.shared.timing.close(self.follower.resyncs());
        let stall = self.stall.get_or_insert_with(|| Box::new(StallDetector::new(&self.shared.timing)));
        tokio::select! {
            biased;
            ready = self.socket.writable() => ready.map_err(|_| Disconnect::Gone),
            () = tokio::time::sleep_until(stall.next_verdict(close)) => {
                let verdict = stall.judge();
                self.obey(verdict)
            }
        }
    }

    fn obey(&mut self, verdict: StallVerdict) -> Result<(), Disconnect> {
        match verdict {
            StallVerdict::Fine => Ok(()),
            StallVerdict::TooSlowToHold => {
                debug!(client = %self.follower.client(), "no longer holds the program back");
                self.follower.set_holding(false);
                Ok(())
            }
            StallVerdict::TooSlow(limit) => Err(Disconnect::Close(CloseReason::TooSlow(limit))),
        }
    }
}

/// What a loop that ends by an error only returns otherwise.
enum Never {}
