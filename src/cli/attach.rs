//! `attach`: watches a session, from a terminal or into a file.
//!
//! At a terminal, keys go to the session and its output to the screen, until the detach key. Where stdout is no
//! terminal this is a recorder: it writes the session's bytes and not one of its own, and ends with the program's exit
//! status, or with an error at a gap.
//!
//! Sending and receiving are two loops that do not wait for each other, and stdin and stdout have threads of their own,
//! so that a stopped terminal delays neither a key nor a signal.

mod io_threads;
mod notices;

use std::{collections::VecDeque, env, ffi::OsStr, io::Write, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, SemaphorePermit},
};

use self::{
    io_threads::{Keys, Room, Screen},
    notices::Notices,
};
use super::{
    Common, Exit, block_on, complain,
    serve::parse_bytes,
    start, tell,
    terminal::{self, DetachKey, RawMode},
};
use crate::{
    SessionId, SessionName,
    client::{Client, ClientError, Incoming, IncomingFrames, Requests},
    message::{
        Access, Attach, AttachedTo, ClientMessage, Event, ExitStatus, OnLag, Reply, StartAt, Target, View,
    },
    terminal::Modes,
};

/// Pieces of input that may be outstanding: with pieces of 4 KiB, half of what the server allows.
const OUTSTANDING: usize = 32;

/// How long a detach waits for the server's word.
const DETACH_TIME: Duration = Duration::from_secs(1);

/// Watches a session: at a terminal to use it, into a file or pipe to record it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where stdout is no terminal, every byte is written and none added; a gap is an error.
Exit status: 0 detached; the program's own at its end; 254 closed by the server; 255 not attached.")]
pub(super) struct Args {
    /// The session's name
    name: SessionName,
    /// What to start with: the screen, nothing (now), all that is held (start), or the lines in the newest BYTES
    /// [default: screen, into a file or pipe: now]
    #[arg(long, value_name = "WHERE", hide_possible_values = true)]
    from: Option<From>,
    /// Only watch: nothing typed here reaches the session, and this terminal's size does not count
    #[arg(short, long)]
    read_only: bool,
    #[command(flatten)]
    watch: WatchArgs,
}

/// How to watch; `new` and `attach` share these.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// When this client can't keep up: resync it to the screen as it is, disconnect it, or let the program wait for it
    /// (lossless) [default: resync, into a file or pipe: lossless]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    on_lag: Option<Lag>,
    /// The key that detaches
    #[arg(long, value_name = "KEY", default_value = r"ctrl-\")]
    detach_key: DetachKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Screen,
    Now,
    Start,
    Last(usize),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "screen" => Ok(Self::Screen),
            "now" => Ok(Self::Now),
            "start" => Ok(Self::Start),
            bytes => parse_bytes(bytes)
                .map(Self::Last)
                .map_err(|_| "write screen, now, start, or a number of bytes such as 64KiB".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Lag {
    Resync,
    Disconnect,
    Lossless,
}

impl WatchArgs {
    /// How to watch a session from now on.
    pub(super) fn view(&self) -> View {
        let interactive = terminal::is_interactive();
        let on_lag = match self.on_lag {
            Some(Lag::Resync) => OnLag::Resync,
            Some(Lag::Disconnect) => OnLag::Disconnect,
            Some(Lag::Lossless) => OnLag::Lossless,
            None if interactive => OnLag::Resync,
            None => OnLag::Lossless,
        };
        let size = if interactive { terminal::size() } else { None };
        View::new(StartAt::Now, on_lag).with_size(size)
    }
}

pub(super) fn run(common: &Common, args: Args) -> anyhow::Result<Exit> {
    let inside = |variable, value: &OsStr| env::var_os(variable).is_some_and(|found| found == value);
    if terminal::is_interactive()
        && inside("FUGUE_SESSION", args.name.as_str().as_ref())
        && inside("FUGUE_SOCKET", common.socket.as_ref())
    {
        bail!("this terminal is session {} itself; detach first, or attach from another terminal", args.name);
    }
    let from = args.from.unwrap_or(if terminal::is_interactive() { From::Screen } else { From::Now });
    if from == From::Screen && !terminal::is_interactive() {
        bail!(
            "`--from screen` is for terminals: a recording has the program's own bytes; use now, start or a number"
        );
    }
    let start = match from {
        From::Screen => StartAt::Screen,
        From::Now => StartAt::Now,
        From::Start => StartAt::Oldest,
        From::Last(bytes) => StartAt::Last(bytes as u64),
    };
    let access = if args.read_only { Access::ReadOnly } else { Access::ReadWrite };
    let view = args.watch.view().with_start(start).with_access(access);
    block_on(async {
        let mut client = start::connect_or_start(common).await?;
        let attach = Attach::new(Target::Name(args.name), view);
        let attached = client.attach(&ClientMessage::Attach(attach)).await?;
        if from == From::Start && attached.start > 0 && !terminal::is_interactive() {
            bail!(
                "the first {} bytes of session {} are no longer held; `--from now` records from here on",
                attached.start,
                attached.name
            );
        }
        watch(client, attached, &args.watch, from == From::Screen).await
    })
}

/// How watching ended.
#[derive(Debug)]
enum Outcome {
    Detached,
    Ended(ExitStatus),
    /// A recording would have a gap of this many bytes.
    Gap(u64),
    /// Nobody reads what this writes.
    NobodyReads,
    Signal(i32),
    Lost(ClientError),
}

/// Shows a session until it ends, its person detaches, or the connection does. With `scroll_away`, what the terminal
/// shows before is kept in its scrollback.
pub(super) async fn watch(
    client: Client,
    attached: AttachedTo,
    args: &WatchArgs,
    scroll_away: bool,
) -> anyhow::Result<Exit> {
    let interactive = terminal::is_interactive();
    let signals = Signals::new()?;
    // Dropped last, after the screen's modes were undone.
    let raw_mode = interactive.then(RawMode::enter).transpose().context("setting the terminal failed")?;
    let keys = if interactive { Some(Keys::start()) } else { None };
    let mut screen = Screen::start();
    let mut modes = Modes::default();
    let mut notices = Notices::default();

    let (requests, frames, early) = client.into_split();
    let window = Semaphore::new(OUTSTANDING);
    let sender = Sender {
        requests,
        session: attached.session,
        window: &window,
        detach_key: args.detach_key,
        interactive,
        raw_mode: raw_mode.as_ref(),
    };
    let receiver = Receiver {
        frames,
        early,
        window: &window,
        modes: interactive.then_some(&mut modes),
        scroll_away: interactive && scroll_away,
        notices: &mut notices,
    };
    let outcome = tokio::select! {
        outcome = sender.run(keys, signals) => outcome,
        outcome = receiver.run(&mut screen) => outcome,
    };

    // What is on its way to the screen gets there, unless the person wants to leave: then the terminal may be stopped.
    let shown = match outcome {
        Outcome::Ended(_) | Outcome::Gap(_) | Outcome::Lost(_) => screen.finish().await,
        _ => Ok(()),
    };
    if interactive {
        terminal::undo(&modes);
    }
    drop(raw_mode);
    if interactive {
        // Wherever the session left the cursor, what follows begins on a line of its own.
        let _ = writeln!(std::io::stderr(), "\r");
    }
    for line in notices.lines() {
        tell(format_args!("{line}"));
    }
    shown.context("writing the output failed")?;
    Ok(report(outcome, &attached.name))
}

fn report(outcome: Outcome, name: &SessionName) -> Exit {
    match outcome {
        Outcome::Detached => {
            tell(format_args!("[detached from {name}]"));
            Exit::SUCCESS
        }
        Outcome::Ended(status) => {
            tell(format_args!("[session {name} ended: {status}]"));
            Exit(status.as_exit_code())
        }
        Outcome::Gap(bytes) => {
            complain(format_args!(
                "the recording ends here: it was too slow, and the next {bytes} bytes are no longer held"
            ));
            Exit::CLOSED
        }
        Outcome::NobodyReads => Exit(141),
        Outcome::Signal(signal) => Exit(128_u8.saturating_add(signal.to_le_bytes()[0])),
        Outcome::Lost(error) => {
            complain(format_args!("{error}"));
            Exit::CLOSED
        }
    }
}

/// Sends keys and sizes.
struct Sender<'a> {
    requests: Requests,
    session: SessionId,
    window: &'a Semaphore,
    detach_key: DetachKey,
    interactive: bool,
    raw_mode: Option<&'a RawMode>,
}

impl Sender<'_> {
    async fn run(mut self, keys: Option<Keys>, mut signals: Signals) -> Outcome {
        let Some(Keys { mut typed }) = keys else {
            return Self::wait_for_signal(&mut signals).await;
        };
        // What was typed and waits for the server to have typed what came before it.
        let mut waiting = VecDeque::new();
        loop {
            let sent = tokio::select! {
                keys = typed.recv(), if waiting.len() < OUTSTANDING => {
                    // Without a terminal there is no person left either.
                    let Some(mut keys) = keys else { return Outcome::Detached };
                    if let Some(detach) = keys.iter().position(|key| *key == self.detach_key.0) {
                        keys.truncate(detach);
                        waiting.push_back(keys);
                        return self.detach(waiting).await;
                    }
                    waiting.push_back(keys);
                    Ok(())
                }
                permit = self.window.acquire(), if !waiting.is_empty() => {
                    // The receiver gives it back when the server has typed the piece.
                    permit.into_iter().for_each(SemaphorePermit::forget);
                    self.send_keys(&mut waiting).await
                }
                caught = signals.next() => match caught {
                    Caught::Resized => {
                        self.send_size().await;
                        Ok(())
                    }
                    Caught::Continued => {
                        if let Some(raw_mode) = self.raw_mode {
                            // The terminal may be gone; the next key will tell.
                            let _ = raw_mode.apply();
                        }
                        self.send_size().await;
                        // A shell has written over the screen meanwhile.
                        self.requests.send(&ClientMessage::Resync).await.map(drop)
                    }
                    Caught::Deadly(signal) => return Outcome::Signal(signal),
                },
            };
            if let Err(error) = sent {
                return Outcome::Lost(error);
            }
        }
    }

    async fn wait_for_signal(signals: &mut Signals) -> Outcome {
        loop {
            if let Caught::Deadly(signal) = signals.next().await {
                return Outcome::Signal(signal);
            }
        }
    }

    async fn send_keys(&mut self, waiting: &mut VecDeque<Bytes>) -> Result<(), ClientError> {
        match waiting.pop_front() {
            Some(data) if !data.is_empty() => {
                let input = ClientMessage::Input { session: self.session, data };
                self.requests.send(&input).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Sends what was typed before the detach key, as far as the server has room for it, and detaches.
    async fn detach(&mut self, mut waiting: VecDeque<Bytes>) -> Outcome {
        let detached = async {
            while !waiting.is_empty() && self.window.try_acquire().map(SemaphorePermit::forget).is_ok() {
                self.send_keys(&mut waiting).await?;
            }
            self.requests.send(&ClientMessage::Detach).await?;
            // The receiver ends this when the server answers; a server that does not is left all the same.
            std::future::pending::<Result<(), ClientError>>().await
        };
        match tokio::time::timeout(DETACH_TIME, detached).await {
            Ok(Err(error)) => Outcome::Lost(error),
            _ => Outcome::Detached,
        }
    }

    async fn send_size(&mut self) {
        if self.interactive
            && let Some(size) = terminal::size()
        {
            // The receiver finds out if the connection is lost.
            let _ = self.requests.send(&ClientMessage::Resize { session: self.session, size }).await;
        }
    }
}

/// Receives output and news.
struct Receiver<'a> {
    frames: IncomingFrames,
    early: VecDeque<Incoming>,
    window: &'a Semaphore,
    /// At a terminal: the modes that its program sets.
    modes: Option<&'a mut Modes>,
    /// The first screen is drawn beneath what the terminal shows.
    scroll_away: bool,
    notices: &'a mut Notices,
}

impl Receiver<'_> {
    async fn run(mut self, screen: &mut Screen) -> Outcome {
        loop {
            // Only what can be shown is received: so a slow terminal is the server's to see, and not held here.
            let Some(room) = screen.room().await else { return Outcome::NobodyReads };
            let incoming = match self.early.pop_front() {
                Some(early) => Ok(early),
                None => tokio::select! {
                    incoming = self.frames.next() => incoming,
                    () = room.closed() => return Outcome::NobodyReads,
                },
            };
            match incoming {
                Ok(Incoming::Screen { data, .. }) => self.show(room, data),
                Ok(Incoming::Output { data, .. }) => self.show(room, data),
                Ok(Incoming::Reply { answer: Ok(Reply::Detached), .. }) => return Outcome::Detached,
                Ok(Incoming::Reply { answer: Ok(Reply::Resized | Reply::Resynced), .. }) => {}
                // Input, typed or refused; the session's end explains a refusal.
                Ok(Incoming::Reply { .. }) => self.window.add_permits(1),
                Ok(Incoming::Event(Event::Ended { status, .. })) => return Outcome::Ended(status),
                Ok(Incoming::Event(Event::Notice(text))) => self.notices.push(text),
                // At a terminal, the screen that follows makes up for it.
                Ok(Incoming::Event(Event::Gap { from, to })) if self.modes.is_none() => {
                    return Outcome::Gap(to - from);
                }
                Ok(Incoming::Event(Event::Gap { .. } | Event::Resized { .. })) => {}
                Ok(Incoming::Event(Event::Closing(reason))) => {
                    return Outcome::Lost(ClientError::Closed(reason));
                }
                Err(error) => return Outcome::Lost(error),
            }
        }
    }
}

impl Receiver<'_> {
    fn show(&mut self, room: Room<'_>, data: Bytes) {
        let mut data = data;
        if let Some(modes) = &mut self.modes {
            modes.follow(&data);
        }
        if std::mem::take(&mut self.scroll_away) {
            let rows = terminal::size().map_or(0, |size| size.rows());
            let mut scrolled = vec![b'\n'; rows.into()];
            scrolled.extend_from_slice(&data);
            data = scrolled.into();
        }
        room.show(data);
    }
}

enum Caught {
    Resized,
    Continued,
    Deadly(i32),
}

struct Signals {
    resized: Signal,
    continued: Signal,
    deadly: [Signal; 4],
}

impl Signals {
    const DEADLY: [SignalKind; 4] =
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];

    fn new() -> anyhow::Result<Self> {
        let [term, int, hup, quit] = Self::DEADLY.map(signal);
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            continued: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
            deadly: [term?, int?, hup?, quit?],
        })
    }

    /// # Cancel safety
    /// Cancel safe.
    async fn next(&mut self) -> Caught {
        let [term, int, hup, quit] = &mut self.deadly;
        let deadly = tokio::select! {
            _ = self.resized.recv() => return Caught::Resized,
            _ = self.continued.recv() => return Caught::Continued,
            _ = term.recv() => 0,
            _ = int.recv() => 1,
            _ = hup.recv() => 2,
            _ = quit.recv() => 3,
        };
        Caught::Deadly(Self::DEADLY[deadly].as_raw_value())
    }
}
