//! A connection's writer: the one task that writes to its socket, and the one that moves its client between sessions.
//!
//! What the client is sent next, its [`Follower`] decides; the writer carries out commands, writes, and notices when
//! the client takes too little. Replies and commands come by a small queue of their own, which is served first. The
//! whole of an attach happens here, so that all output before its reply is the old session's and all after it the new
//! one's, and nothing is held, drawn or resized for a client that has not got there.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::{
    net::unix::OwnedWriteHalf,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    ServerState,
    stall::{StallDetector, StallVerdict},
    write_buffer::WriteBuffer,
};
use crate::{
    SessionId, TerminalSize,
    message::{AttachOptions, ClientEnvironment, ClientState, CloseReason, Event, Reply, RequestError},
    session::{Claim, Followed, Follower, Next, NotFollowed, NotHeld, ScreenDump, Session},
    wire::{self, MAX_OUTPUT},
};

/// How long a connection that is being closed has to take what is written already and the reason.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// The socket's buffer then, in bytes, as far as the system allows: room for what is written already and the reason.
const CLOSE_ROOM: usize = 1024 * 1024;

/// With this much to write, in bytes, no further command is carried out before it is written. So a client that does not
/// read has this, and one reply or one screen, waiting for it.
const ENOUGH: usize = MAX_OUTPUT;

/// Pieces of output that there is room for while there are none.
const FEW: usize = 4;

/// What the reader asks of the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Write this frame.
    Frame(Bytes),
    /// Write the list of sessions. Made here, like the next, because it may be large.
    List { request: u64 },
    /// Write the server's statistics.
    Stats { request: u64 },
    /// Write what a session shows, with so many lines above it.
    ReadScreen { request: u64, session: Arc<Session>, lines: u32 },
    /// Watch a session from now on, and reply.
    Attach(AttachCommand),
    /// Watch nothing from now on, and reply to this request.
    Detach { request: u64 },
    /// The client's terminal has this size now.
    Resize { request: u64, size: TerminalSize },
    /// Draw the screen again, and reply to this request.
    Resync { request: u64 },
    /// The client interrupted the program: it is not to see what was printed before, if it watches this session.
    Purge(SessionId),
    /// Write the reason, and end.
    Close(CloseReason),
    /// The server is stopping.
    Stop,
}

#[derive(Debug)]
pub(super) struct AttachCommand {
    pub(super) request: u64,
    pub(super) session: Arc<Session>,
    pub(super) options: AttachOptions,
    /// That of the client, if it is one of a person's.
    pub(super) environment: Option<Box<ClientEnvironment>>,
    /// Dropping it lets a new session begin to print, now that it is watched.
    pub(super) begin: Option<oneshot::Sender<()>>,
    /// Told what the client got: its claim on the session's size, if it has one. Dropped where it got nothing.
    pub(super) attached: oneshot::Sender<Option<Claim>>,
}

/// The way to a writer. Boxed: a queue has room for 32 commands from its first on, and most clients are idle.
pub(super) type Commands = mpsc::Sender<Box<Command>>;

pub(super) struct Writer {
    shared: Arc<ServerState>,
    follower: Follower,
    socket: OwnedWriteHalf,
    commands: mpsc::Receiver<Box<Command>>,
    /// Handles on the output being gathered.
    pieces: Vec<Bytes>,
    write_buffer: WriteBuffer,
    stall: StallDetector,
    /// Ends this connection at once.
    cancel: CancellationToken,
}

/// Why a connection ends from this side.
#[derive(Debug)]
enum Disconnect {
    /// The socket failed, the client hung up, or it was cancelled; there is nobody to tell.
    Gone,
    /// The client is to be told why.
    Close(CloseReason),
}

impl Writer {
    pub(super) fn new(
        shared: Arc<ServerState>,
        follower: Follower,
        socket: OwnedWriteHalf,
        commands: mpsc::Receiver<Box<Command>>,
        cancel: CancellationToken,
    ) -> Self {
        let stall = StallDetector::new(&shared.timing);
        let (pieces, write_buffer) = (Vec::new(), WriteBuffer::default());
        Self { shared, follower, socket, commands, pieces, write_buffer, stall, cancel }
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
            let _ = set_socket_send_buffer_size(self.socket.as_ref(), CLOSE_ROOM);
            // A client that takes nothing more is not waited for; it sees the connection end.
            let _ = Box::pin(tokio::time::timeout(CLOSE_TIME, self.flush())).await;
        }
        self.cancel.cancel();
    }

    async fn write_all_there_is(&mut self) -> Result<Never, Disconnect> {
        loop {
            while self.write_buffer.len() < ENOUGH
                && let Ok(command) = self.commands.try_recv()
            {
                // Boxed, like the others that are seldom under way: an idle client is not to hold room for them.
                Box::pin(self.carry_out(*command)).await?;
            }
            if self.write_buffer.len() >= ENOUGH {
                self.flush().await?;
            }
            if self.shared.is_stopping() && self.follower.has_all() {
                return Err(Disconnect::Close(CloseReason::ShuttingDown));
            }
            let not_before = match self.follower.next(std::time::Instant::now(), &mut self.pieces) {
                Next::Output { offset, length } => {
                    self.write_buffer.push_output(offset, length, self.pieces.drain(..));
                    self.flush().await?;
                    // Others on this thread have had to wait for a quarter of a MiB to be copied.
                    tokio::task::yield_now().await;
                    continue;
                }
                Next::Screen(draw) => {
                    if let Some((gap, drawn)) = Box::pin(self.follower.draw(draw)).await {
                        gap.iter().for_each(|gap| self.push_event(gap));
                        self.write_buffer.push_screen(drawn.at, drawn.before);
                        self.write_buffer.push_screen(drawn.at, drawn.bytes);
                    }
                    continue;
                }
                Next::Event(event) => {
                    self.push_event(&event);
                    continue;
                }
                Next::FellBehind { from, to } => {
                    return Err(Disconnect::Close(CloseReason::FellBehind { from, to }));
                }
                Next::NotBefore(_) | Next::CaughtUp if !self.write_buffer.is_empty() => {
                    self.flush().await?;
                    continue;
                }
                Next::NotBefore(time) => Some(Instant::from_std(time)),
                Next::CaughtUp => {
                    if self.stall.caught_up() {
                        self.follower.set_holding(true);
                    }
                    self.write_buffer.shrink();
                    self.pieces.shrink_to(FEW);
                    None
                }
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Disconnect::Gone),
                command = self.commands.recv() => match command {
                    Some(command) => Box::pin(self.carry_out(*command)).await?,
                    None => return Err(Disconnect::Gone),
                },
                there_will_be_more = self.follower.message() => {
                    if !there_will_be_more {
                        return Err(Disconnect::Close(CloseReason::Unregistered));
                    }
                }
                () = sleep_until(not_before) => {}
            }
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Disconnect> {
        #[cfg(test)]
        if let Command::Detach { request } = command {
            super::tests::panic_if_asked(request);
        }
        match command {
            Command::Frame(frame) => self.write_buffer.push(frame),
            Command::List { request } => {
                self.reply(request, &Ok(Reply::Sessions(self.shared.sessions.list())));
            }
            Command::Stats { request } => {
                let stats = self.shared.stats().await;
                self.reply(request, &Ok(Reply::Stats(Box::new(stats))));
            }
            Command::ReadScreen { request, session, lines } => {
                let lines = usize::try_from(lines).unwrap_or(usize::MAX);
                let screen = session.read_screen(lines).await;
                self.reply(request, &screen.map(|screen| Reply::Screen(Box::new(screen))));
            }
            Command::Attach(attach) => self.attach(attach).await?,
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

    /// Writes all that waits. Ends early when the client is gone, cancelled, or too slow.
    async fn flush(&mut self) -> Result<(), Disconnect> {
        while !self.write_buffer.is_empty() {
            match self.write_buffer.write_to(&self.socket) {
                Ok(0) => return Err(Disconnect::Gone),
                Ok(written) => self.wrote(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Box::pin(self.wait_for_room()).await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    debug!(client = %self.follower.client(), %error, "write failed");
                    return Err(Disconnect::Gone);
                }
            }
        }
        Ok(())
    }

    async fn wait_for_room(&mut self) -> Result<(), Disconnect> {
        let close = self.shared.timing.close(self.follower.resyncs());
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Disconnect::Gone),
            ready = self.socket.writable() => ready.map_err(|_| Disconnect::Gone),
            () = tokio::time::sleep_until(self.stall.next_verdict(close)) => self.judge(),
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.follower.wrote(bytes, self.write_buffer.unwritten_output());
        if self.stall.took(bytes) {
            self.follower.set_holding(true);
        }
    }

    fn judge(&mut self) -> Result<(), Disconnect> {
        match self.stall.judge() {
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

/// Sleeps until then; forever without a time.
///
/// # Cancel safety
/// Cancel safe.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => Box::pin(tokio::time::sleep_until(time)).await,
        None => std::future::pending().await,
    }
}
