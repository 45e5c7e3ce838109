//! `attach`: watches a session, from a terminal or into a file.
//!
//! At a terminal, keys go to the session and its output to the screen, until the detach key. Where stdout is no
//! terminal this is a recorder: it writes the session's bytes and not one of its own, and ends with the program's exit
//! status, or with an error at a gap.
//!
//! Sending and receiving are two loops that do not wait for each other, and stdin and stdout have threads of their own,
//! so that a stopped terminal delays neither a key nor a signal.

mod cast_reader;
mod cast_writer;
mod current;
mod display;
pub(super) mod export;
pub(super) mod io_threads;
mod notices;
mod outbox;
pub(super) mod play;
pub(super) mod record;
pub(super) mod recorder;
mod recording_file;
mod spool;
mod window;

use std::{
    collections::VecDeque,
    env::vars_os,
    fmt,
    io::{self, IsTerminal, stderr},
    os::unix::ffi::OsStrExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::oneshot;

use self::{
    current::Current,
    display::{CursorLeft, Display, FileMedium, Medium},
    io_threads::{Keys, UNDO_TIME},
    notices::Notices,
    outbox::Outbox,
    window::TerminalWindow,
};
use super::{
    Command, Exit, Globals, block_on,
    bytes::{ByteCount, about},
    print_note,
    signals::{DeadlySignals, Job, JobSignals},
    target::{SessionArg, choose, is_inside},
    terminal::{self, DetachKey},
};
use crate::{
    SessionName,
    client::{Client, ClientError, Incoming, IncomingFrames, Requests},
    message::{
        Access, Attach, AttachOptions, AttachedTo, ClientEnvironment, ClientMessage, CloseReason, Event,
        ExitStatus, OnLag, Reply, RequestError, SessionChange, StartAt, Target,
    },
    terminal::DEFAULT_SCROLLBACK,
};

/// As many as a server keeps, unless told otherwise.
const SCROLLBACK: u32 = DEFAULT_SCROLLBACK as u32;

/// The most that waits in a temporary file for a slow reader of what is no terminal, in bytes.
const SPOOL: usize = 1024 * 1024 * 1024;

/// How long a detach waits for the server's word.
const DETACH_TIME: Duration = Duration::from_secs(1);

/// Watches a session: at a terminal to use it, into a file or pipe to record it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where stdout is no terminal, every byte is written and none added; a gap is an error.
Exit status: 0 detached; the program's own at its end; 254 closed by the server; 255 not attached.")]
pub(super) struct Args {
    /// The session's name, or its beginning [default: the only one, or the one used last]
    name: Option<SessionArg>,
    /// Create it, with a shell, if there is none of this very name
    #[arg(short = 'A', long = "create", requires = "name")]
    create: bool,
    /// What to start with: the screen, nothing (now), all that is held (start), or the lines in the newest BYTES
    /// [default: screen, into a file or pipe: start]
    #[arg(long, value_name = "WHERE", hide_possible_values = true)]
    from: Option<StartArg>,
    /// Lines above the screen to scroll back to, at most
    #[arg(long, value_name = "LINES", default_value_t = SCROLLBACK)]
    scrollback: u32,
    /// Only watch: nothing typed here reaches the session, and this terminal's size does not count
    #[arg(short, long)]
    read_only: bool,
    /// Into a file or pipe: how much a temporary file may hold for a slow reader
    #[arg(long, value_name = "BYTES", default_value_t = ByteCount(SPOOL))]
    spool: ByteCount,
    #[command(flatten)]
    watch: WatchArgs,
}

/// How to watch; `new` and `attach` share these.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// When this client can't keep up: resync, disconnect, or lossless, for which the program waits [default: resync,
    /// into a file or pipe: lossless]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    on_lag: Option<Lag>,
    /// Detaches; FUGUE_DETACH_KEY sets it; none for none
    #[arg(long, value_name = "KEY", default_value = r"ctrl-\")]
    detach_key: DetachKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartArg {
    Screen,
    Now,
    Start,
    Last(usize),
}

impl std::str::FromStr for StartArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "screen" => Ok(Self::Screen),
            "now" => Ok(Self::Now),
            "start" => Ok(Self::Start),
            bytes => bytes
                .parse()
                .map(|ByteCount(bytes)| Self::Last(bytes))
                .map_err(|_| "write screen, now, start, or a number of bytes such as 64KiB".to_owned()),
        }
    }
}

impl fmt::Display for StartArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Screen => f.write_str("screen"),
            Self::Now => f.write_str("now"),
            Self::Start => f.write_str("start"),
            Self::Last(bytes) => ByteCount(*bytes).fmt(f),
        }
    }
}

impl From<StartArg> for StartAt {
    fn from(start: StartArg) -> Self {
        match start {
            StartArg::Screen => Self::Screen,
            StartArg::Now => Self::Now,
            StartArg::Start => Self::Oldest,
            StartArg::Last(bytes) => Self::Last(bytes as u64),
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
    pub(super) fn options(&self) -> AttachOptions {
        let interactive = terminal::is_interactive();
        let on_lag = match self.on_lag {
            Some(Lag::Resync) => OnLag::Resync,
            Some(Lag::Disconnect) => OnLag::Disconnect,
            Some(Lag::Lossless) => OnLag::Lossless,
            None if interactive => OnLag::Resync,
            None => OnLag::Lossless,
        };
        let window = if interactive { terminal::window() } else { None };
        let options = AttachOptions::new(StartAt::Now, on_lag).with_size(window.map(|(size, _)| size));
        options.with_pixels(window.and_then(|(_, pixels)| pixels))
    }
}

impl Args {
    /// Those of a client that watches in this way, and otherwise as it does if no more is said.
    pub(super) fn with(common: &Globals, watch: WatchArgs) -> anyhow::Result<Self> {
        match common.unsaid("attach")? {
            Command::Attach(args) => Ok(Self { watch, ..args }),
            _ => bail!("`attach` is another command"),
        }
    }

    /// Whether the session is created if there is none.
    pub(super) fn creates(&self) -> bool {
        self.create
    }

    pub(super) fn watch_args(&self) -> &WatchArgs {
        &self.watch
    }

    /// The name of what is created if there is none.
    pub(super) fn exact_name(&self) -> anyhow::Result<SessionName> {
        match &self.name {
            Some(SessionArg(Target::Name(name) | Target::Prefix(name))) => Ok(name.clone()),
            _ => bail!("say what the session is called"),
        }
    }

    /// Refuses what can't be.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.from() == StartArg::Screen && !terminal::is_interactive() {
            bail!(
                "`--from screen` is for terminals: a recording has the program's own bytes; use now, start or a number"
            );
        }
        Ok(())
    }

    fn from(&self) -> StartArg {
        self.from.unwrap_or(if terminal::is_interactive() { StartArg::Screen } else { StartArg::Start })
    }

    /// How to watch a session from now on.
    fn options(&self) -> AttachOptions {
        let access = if self.read_only { Access::ReadOnly } else { Access::ReadWrite };
        self.watch
            .options()
            .with_start(self.from().into())
            .with_access(access)
            .with_scrollback(self.scrollback)
    }
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    args.check()?;
    block_on(async {
        let mut client = common.connect().await?;
        let target = match &args.name {
            Some(SessionArg(target)) => target.clone(),
            None => choose(&mut client).await?,
        };
        let attached = match enter(&mut client, target, &args).await? {
            Entered::Switched => return Ok(Exit::SUCCESS),
            Entered::Attached(attached) => attached,
        };
        watch_from(client, attached, &args).await
    })
}

/// Watches a session that was there before.
pub(super) async fn watch_from(client: Client, attached: AttachedTo, args: &Args) -> anyhow::Result<Exit> {
    let from = args.from();
    if from == StartArg::Start && attached.start > 0 && !terminal::is_interactive() {
        let gone =
            format!("the first {} bytes of session {} are no longer held", attached.start, attached.name);
        if args.from.is_some() {
            bail!("{gone}; without `--from`, a recording begins after them");
        }
        // Nobody asked for them.
        print_note(format_args!("[{gone}; this begins after them]"));
    }
    watch(client, attached, args, from == StartArg::Screen).await
}

/// What came of an attach.
pub(super) enum Entered {
    Attached(AttachedTo),
    /// The terminal that this was typed in shows the session now.
    Switched,
}

/// Attaches to a session; or, inside another one, has the terminal that this is typed in show it.
pub(super) async fn enter(client: &mut Client, target: Target, args: &Args) -> Result<Entered, ClientError> {
    let has_own_ways = args.read_only || args.from.is_some();
    if !has_own_ways && switches(&args.watch) && switch(client, target.clone()).await? {
        return Ok(Entered::Switched);
    }
    let attach = Attach::new(target, args.options()).with_environment(environment());
    client.attach_with(attach).await.map(Entered::Attached)
}

/// Whether this is typed in a session, whose terminal is to show another one instead of this one's.
pub(super) fn switches(watch: &WatchArgs) -> bool {
    is_inside() && terminal::is_interactive() && watch.on_lag.is_none()
}

/// Has the terminal that shows this session show another one. Returns whether this is in a session's terminal.
pub(super) async fn switch(client: &mut Client, to: Target) -> Result<bool, ClientError> {
    match client.change(Target::Here, SessionChange::Switch(to)).await {
        Ok(_) => Ok(true),
        Err(ClientError::Refused(RequestError::NotInside)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is carried of the environment that this runs in.
fn environment() -> ClientEnvironment {
    let variables: Vec<_> = vars_os().collect();
    ClientEnvironment::of(variables.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// How watching ended.
#[derive(Debug)]
enum Outcome {
    Detached,
    Ended(ExitStatus),
    /// All that was wanted is shown.
    Enough,
    /// A recording would have a gap of this many bytes.
    Gap(u64),
    /// Nobody reads what this writes; or, until [`finish`] says why, it can't be written.
    NobodyReads,
    NotWritten(io::Error),
    Signal(i32),
    Lost(ClientError),
}

/// Shows a session until it ends, its person detaches, or the connection does. With `scroll_away`, what the terminal
/// shows before is kept in its scrollback.
pub(super) async fn watch(
    client: Client,
    attached: AttachedTo,
    args: &Args,
    scroll_away: bool,
) -> anyhow::Result<Exit> {
    let medium = if terminal::is_interactive() {
        Medium::Terminal { scroll_away }
    } else {
        let medium = FileMedium { spool: args.spool.0 as u64, ..FileMedium::default() };
        Medium::File(Box::new(medium))
    };
    show(client, attached, args, medium).await
}

async fn show(client: Client, attached: AttachedTo, args: &Args, medium: Medium) -> anyhow::Result<Exit> {
    let mut deadly = DeadlySignals::new()?;
    let mut display = Display::start(medium)?;
    display.begin().await;
    let keys = if display.is_terminal() { Some((Keys::start(), JobSignals::new()?)) } else { None };
    let mut notices = Notices::default();

    let (requests, frames, early) = client.into_split();
    let (_, is_enough) = display.wanted(attached.start, 0);
    let window = TerminalWindow::new();
    let current = Current::new(attached);
    let sender = Sender {
        requests,
        current: &current,
        args,
        window: &window,
        outbox: Outbox::new(args.watch.detach_key.0),
        display: &display,
    };
    let shown = (&window, &display, &current);
    let receiver = Receiver { frames, early, shown, ended: None, notices: &mut notices };
    let outcome = tokio::select! {
        () = std::future::ready(()), if is_enough => Outcome::Enough,
        signal = deadly.next() => Outcome::Signal(signal),
        outcome = sender.run(keys) => outcome,
        outcome = receiver.run() => outcome,
    };

    let outcome = tokio::select! {
        outcome = finish(outcome, &mut display) => outcome,
        signal = deadly.next() => Outcome::Signal(signal),
    };
    let cursor = match outcome {
        Outcome::Ended(ExitStatus::Code(_)) => CursorLeft::NextLine,
        _ => CursorLeft::Below,
    };
    let unwritten = display.waiting();
    let path = display.path().map(Path::to_owned);
    let is_put_back = display.leave(cursor).await;
    let (exit, last_word) = report(outcome, &current.name(), path.as_deref(), unwritten);
    // A terminal that takes nothing would hold this up as well.
    if is_put_back || !stderr().is_terminal() {
        tell_in_time(notices.lines().chain(last_word).collect()).await;
    }
    Ok(exit)
}

/// Waits until what is on its way to the screen or the file gets there. Not where the person wants to leave: then the
/// terminal may be stopped. Returns how watching ended after all.
async fn finish(outcome: Outcome, display: &mut Display) -> Outcome {
    let is_awaited = match outcome {
        Outcome::Ended(_) | Outcome::Enough | Outcome::Gap(_) | Outcome::Lost(_) => true,
        // It says why.
        Outcome::NobodyReads => !display.is_terminal(),
        // That is how a person ends a recording; another signal ends this wait.
        Outcome::Signal(_) => display.path().is_some(),
        _ => false,
    };
    if !is_awaited {
        return outcome;
    }
    if let Outcome::Ended(status) = outcome {
        display.ended(status).await;
    }
    match display.finish().await {
        Ok(()) => outcome,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::NobodyReads,
        Err(error) => Outcome::NotWritten(error),
    }
}

/// Tells the person, who may be at a terminal that stops taking anything just now.
async fn tell_in_time(lines: Vec<String>) {
    let (done, is_done) = oneshot::channel();
    thread::spawn(move || {
        for line in lines {
            print_note(format_args!("{line}"));
        }
        // An error says that it is no longer waited for.
        let _ = done.send(());
    });
    let _ = tokio::time::timeout(UNDO_TIME, is_done).await;
}

/// The exit status, and what the person is told.
fn report(
    outcome: Outcome,
    name: &SessionName,
    path: Option<&Path>,
    unwritten: u64,
) -> (Exit, Option<String>) {
    let recording = path
        .map_or_else(|| "the recording".to_owned(), |path| format!("the recording into {}", path.display()));
    match outcome {
        Outcome::Enough => (Exit::SUCCESS, None),
        Outcome::Detached => (Exit::SUCCESS, Some(format!("[detached from {name}]"))),
        Outcome::Ended(status) => {
            (Exit(status.as_exit_code()), Some(format!("[session {name} ended: {status}]")))
        }
        Outcome::Gap(bytes) => {
            let what = format!(
                "fugue-server: {recording} ends here: it was too slow, and the next {bytes} bytes are no longer held"
            );
            (Exit::CLOSED, Some(what))
        }
        Outcome::NobodyReads => (Exit(141), None),
        Outcome::NotWritten(error) => {
            let what = format!("fugue-server: {recording} ends here: writing it failed: {error}");
            (Exit::CLOSED, Some(what))
        }
        Outcome::Signal(signal) => {
            let what =
                format!("fugue-server: the signal came before the last {} were written", about(unwritten));
            (Exit(128_u8.saturating_add(signal.to_le_bytes()[0])), (unwritten > 0).then_some(what))
        }
        Outcome::Lost(error) if path.is_some() => {
            (Exit::CLOSED, Some(format!("fugue-server: {recording} ends here: {error}")))
        }
        Outcome::Lost(error) => (Exit::CLOSED, Some(format!("fugue-server: {error}"))),
    }
}

/// Sends keys and sizes.
struct Sender<'a> {
    requests: Requests,
    current: &'a Current,
    args: &'a Args,
    window: &'a TerminalWindow,
    outbox: Outbox,
    display: &'a Display,
}

impl Sender<'_> {
    /// Runs until the person leaves or the connection is lost; forever without keys.
    async fn run(mut self, keys: Option<(Keys, JobSignals)>) -> Outcome {
        let Some((Keys { mut typed }, mut signals)) = keys else {
            return std::future::pending().await;
        };
        loop {
            let (ready, gives_up_in) = (self.outbox.ready(), self.outbox.gives_up_in(Instant::now()));
            let sent = tokio::select! {
                keys = typed.recv(), if self.outbox.has_room() && !self.current.is_switching() => {
                    // Without a terminal there is no person left either.
                    let Some(keys) = keys else { return Outcome::Detached };
                    if self.outbox.take(&keys, Instant::now()) {
                        return self.detach().await;
                    }
                    Ok(())
                }
                () = tokio::time::sleep(gives_up_in.unwrap_or_default()), if gives_up_in.is_some() => {
                    if self.outbox.give_up(Instant::now()) {
                        return self.detach().await;
                    }
                    Ok(())
                }
                () = self.window.room(ready.unwrap_or_default()), if ready.is_some() => self.send_piece().await,
                () = self.current.changed() => self.follow().await,
                job = signals.next() => self.act_on(job, &mut signals).await,
            };
            if let Err(error) = sent {
                return Outcome::Lost(error);
            }
        }
    }

    /// Attaches to the session that was asked for, or has it drawn where nothing else does.
    async fn follow(&mut self) -> Result<(), ClientError> {
        if self.current.take_blank() {
            self.requests.send(&ClientMessage::Resync).await?;
        }
        let Some(to) = self.current.wanted() else { return Ok(()) };
        let options = self.args.options().with_start(StartAt::Screen);
        let attach = Attach::new(to.into(), options).with_environment(environment());
        let request = self.requests.send(&ClientMessage::Attach(attach)).await?;
        self.current.asked(request);
        Ok(())
    }

    async fn act_on(&mut self, job: Job, signals: &mut JobSignals) -> Result<(), ClientError> {
        match job {
            Job::Resized => self.send_size().await,
            Job::Stopped => {
                self.display.put_back().await;
                if signals.is_continued().await {
                    return self.go_on().await;
                }
                // SIGTSTP has a handler here; nothing handles this one. It can always be sent to oneself.
                let _ = kill_process(getpid(), Signal::STOP);
                Ok(())
            }
            Job::Continued => self.go_on().await,
        }
    }

    async fn go_on(&mut self) -> Result<(), ClientError> {
        self.display.go_on();
        self.send_size().await?;
        // A shell has written over the screen meanwhile.
        self.requests.send(&ClientMessage::Resync).await.map(drop)
    }

    /// Sends the next piece, for which there was room.
    async fn send_piece(&mut self) -> Result<(), ClientError> {
        let Some(piece) = self.outbox.pop() else { return Ok(()) };
        self.window.sent(piece.len());
        let input = ClientMessage::Input { session: self.current.session(), data: piece.into() };
        self.requests.send(&input).await.map(drop)
    }

    /// Sends what was typed before the detach key, as far as the server has room for it, and detaches.
    async fn detach(&mut self) -> Outcome {
        let detached = async {
            while self.outbox.ready().is_some_and(|bytes| self.window.has_room(bytes)) {
                self.send_piece().await?;
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

    async fn send_size(&mut self) -> Result<(), ClientError> {
        let Some((size, pixels)) = terminal::window() else { return Ok(()) };
        let resize = ClientMessage::Resize { session: self.current.session(), size, pixels };
        self.requests.send(&resize).await.map(drop)
    }
}

/// Receives output and news.
struct Receiver<'a> {
    frames: IncomingFrames,
    early: VecDeque<Incoming>,
    shown: (&'a TerminalWindow, &'a Display, &'a Current),
    /// How the session ended that another is to be shown in place of.
    ended: Option<ExitStatus>,
    notices: &'a mut Notices,
}

impl Receiver<'_> {
    async fn run(mut self) -> Outcome {
        let (window, display, current) = self.shown;
        loop {
            // Only what can be shown is received: so a slow terminal is the server's to see, and not held here.
            let Some(room) = display.room().await else { return Outcome::NobodyReads };
            let incoming = match self.early.pop_front() {
                Some(early) => Ok(early),
                None => tokio::select! {
                    incoming = self.frames.next() => incoming,
                    () = room.closed() => return Outcome::NobodyReads,
                },
            };
            match incoming {
                Ok(Incoming::Screen { data, .. }) => display.show_screen(room, &data),
                Ok(Incoming::Output { offset, mut data }) => {
                    let (wanted, is_enough) = display.wanted(offset, data.len());
                    data.truncate(wanted);
                    display.show(room, data);
                    if is_enough {
                        return Outcome::Enough;
                    }
                }
                Ok(Incoming::Reply { request, answer }) if current.is_asked(request) => {
                    if let Some(status) = self.switched(answer) {
                        return Outcome::Ended(status);
                    }
                }
                Ok(Incoming::Reply { answer: Ok(Reply::Detached), .. }) => return Outcome::Detached,
                Ok(Incoming::Reply { answer: Ok(Reply::Resized), .. }) => {}
                Ok(Incoming::Reply { answer: Ok(Reply::Resynced), .. }) => display.screen_comes(),
                // Input, typed or refused; the session's end explains a refusal.
                Ok(Incoming::Reply { .. }) => window.answered(),
                Ok(Incoming::Event(Event::Resized { size, .. })) => display.resized(room, size),
                Ok(Incoming::Event(event)) => {
                    if let Some(outcome) = self.told(event) {
                        return outcome;
                    }
                }
                Err(ClientError::Closed(CloseReason::Detached)) if display.is_terminal() => {
                    return Outcome::Detached;
                }
                Err(error) => return Outcome::Lost(error),
            }
        }
    }

    /// Takes in news. Returns how watching ends, if it does.
    fn told(&mut self, event: Event) -> Option<Outcome> {
        let (_, display, current) = self.shown;
        match event {
            Event::Ended { status, .. } if current.is_switching() => self.ended = Some(status),
            Event::Ended { status, .. } => return Some(Outcome::Ended(status)),
            Event::Notice(text) => self.notices.push(text),
            Event::Switch { to } => current.want(to),
            // At a terminal, the screen that follows makes up for it.
            Event::Gap { from, to } if !display.is_terminal() => return Some(Outcome::Gap(to - from)),
            Event::Closing(reason) => return Some(Outcome::Lost(ClientError::Closed(reason))),
            _ => {}
        }
        None
    }

    /// The server has answered that another session is shown from now on, or why not. Returns how the one before ended,
    /// if it is still the one that is shown.
    fn switched(&mut self, answer: Result<Reply, RequestError>) -> Option<ExitStatus> {
        let (_, _, current) = self.shown;
        let ended = self.ended.take();
        match answer {
            Ok(Reply::Attached(attached)) => {
                current.switched_to(attached);
                return None;
            }
            Ok(_) => {}
            Err(refused) => self.notices.push(refused.to_string()),
        }
        current.stays();
        ended
    }
}
