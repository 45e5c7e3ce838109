//! `attach`: watches a session, from a terminal or into a file.
//!
//! At a terminal, keys go to the session and its output to the screen, until the detach key. Where stdout is no
//! terminal this is a recorder: it writes the session's bytes and not one of its own, and ends with the program's exit
//! status, or with an error at a gap.
//!
//! Sending and receiving are two loops that do not wait for each other. They last as long as a connection; another is
//! made then, on which both go on. Stdin and stdout have threads of their own, so that a stopped terminal delays
//! neither a key nor a signal.

mod cast_reader;
mod cast_writer;
mod current;
mod display;
pub(super) mod export;
pub(super) mod io_threads;
mod line;
mod notices;
mod outbox;
mod outcome;
pub(super) mod play;
mod receiver;
pub(super) mod record;
pub(super) mod recorder;
mod recording_file;
mod sender;
mod spool;
mod start_arg;
mod title;
mod typing;
mod window;

use std::{
    io::{self, IsTerminal, stderr},
    path::Path,
    thread,
    time::Instant,
};

use anyhow::bail;
use tokio::sync::oneshot;

use self::{
    current::Current,
    display::{CursorLeft, Display, FileMedium, Medium},
    io_threads::{Keys, UNDO_TIME},
    line::SessionLine,
    notices::Notices,
    outbox::Outbox,
    outcome::{Outcome, report},
    receiver::Receiver,
    sender::{Sender, from_here},
    start_arg::StartArg,
    typing::Typing,
    window::TerminalWindow,
};
use super::{
    Command, Exit, Globals, block_on,
    bytes::ByteCount,
    link::{HeldLink, LinkArg},
    print_note,
    signals::{DeadlySignals, JobSignals},
    target::{SessionArg, choose, is_inside},
    terminal::{self, ClientKey},
};
use crate::{
    SessionId, SessionName,
    client::{Backoff, Client, ClientError, Keepalive},
    message::{
        Access, Attach, AttachOptions, AttachedTo, ExitStatus, OnLag, RequestError, SessionChange, StartAt,
        Target,
    },
    terminal::DEFAULT_SCROLLBACK,
};

/// As many as a server keeps, unless told otherwise.
const SCROLLBACK: u32 = DEFAULT_SCROLLBACK as u32;

/// The most that waits in a temporary file for a slow reader of what is no terminal, in bytes.
const SPOOL: usize = 1024 * 1024 * 1024;

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
    /// With the screen, nothing (now), all that is held (start), or the lines in the newest BYTES [default: screen,
    /// into a file or pipe: start]
    #[arg(long, value_name = "WHERE", hide_possible_values = true)]
    from: Option<StartArg>,
    /// Lines above the screen to scroll back to, at most
    #[arg(long, value_name = "LINES", default_value_t = SCROLLBACK)]
    scrollback: u32,
    /// Only watch: nothing is typed, and this terminal's size does not count
    #[arg(short, long)]
    read_only: bool,
    /// Watch by a link of `share`; - asks for it, as others may see this command line
    #[arg(long, value_name = "URL", conflicts_with = "create")]
    link: Option<LinkArg>,
    /// What the link was redeemed as, for the connections to come.
    #[arg(skip)]
    held: Option<HeldLink>,
    /// The node that the session is on, for the connections to come.
    #[arg(skip)]
    host: Option<String>,
    /// What a temporary file may hold for a slow pipe
    #[arg(long, value_name = "BYTES", default_value_t = ByteCount(SPOOL))]
    spool: ByteCount,
    #[command(flatten)]
    watch: WatchArgs,
}

/// How to watch; `new` and `attach` share these.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArgs {
    /// When it falls behind: resync, disconnect, or lossless (program waits)
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    on_lag: Option<Lag>,
    /// Detaches; typed twice it goes through; or none
    #[arg(long, value_name = "KEY", default_value = r"ctrl-\")]
    detach_key: ClientKey,
    /// Shows the next session of `list`; as the other
    #[arg(long, value_name = "KEY", default_value = "none")]
    next_key: ClientKey,
    /// Begin the terminal's title with the session's name
    #[arg(long)]
    name_in_title: bool,
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
            Some(SessionArg { target: Target::Name(name) | Target::Prefix(name), .. }) => Ok(name.clone()),
            _ => bail!("say what the session is called"),
        }
    }

    /// The node that the session is on, if that is another.
    #[cfg(feature = "nodes")]
    pub(super) fn node(&self, common: &Globals) -> Option<&str> {
        self.name.as_ref()?.node(common)
    }

    /// Those of a client that watches a session of this node.
    pub(super) fn on(self, host: Option<&str>) -> Self {
        Self { host: host.map(str::to_owned), ..self }
    }

    /// Refuses what can't be.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.from() == StartArg::Screen && !terminal::is_interactive() {
            bail!(
                "`--from screen` is for terminals: a recording has the program's own bytes; use now, start or a number"
            );
        }
        if self.link.is_some() && matches!(self.watch.on_lag, Some(Lag::Lossless)) {
            bail!("who watches by a link holds nobody up: use `--on-lag resync` or `disconnect`");
        }
        Ok(())
    }

    /// Redeems the link, if there is one, and watches as it allows. Returns the session that it shows, if that is one.
    async fn redeem(&mut self, client: &mut Client) -> Result<Option<SessionId>, ClientError> {
        let Some(held) = self.held else { return Ok(None) };
        let redeemed = held.redeem(client).await?;
        self.read_only |= redeemed.access == Access::ReadOnly;
        // A recording ends at a gap in any case.
        self.watch.on_lag = self.watch.on_lag.or((!terminal::is_interactive()).then_some(Lag::Disconnect));
        Ok(redeemed.session.map(|session| session.id))
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

pub(super) fn run(common: &Globals, mut args: Args) -> anyhow::Result<Exit> {
    args.check()?;
    args.held = args.link.take().map(LinkArg::into_link).transpose()?;
    block_on(async {
        let mut named = None;
        if let Some(session) = &args.name {
            named = Some(common.resolve(session).await?);
            args.host = session.node(common).map(str::to_owned);
        }
        let mut client = common.connect().await?;
        let linked = args.redeem(&mut client).await?;
        let target = match (named, linked) {
            (Some(named), _) => named,
            (None, Some(linked)) => linked.into(),
            (None, None) => choose(&mut client).await?,
        };
        let attached = match enter(&mut client, target, &args).await? {
            Entered::Switched => return Ok(Exit::SUCCESS),
            Entered::Attached(attached) => attached,
        };
        watch_from(common, client, attached, &args).await
    })
}

/// Watches a session that was there before.
pub(super) async fn watch_from(
    common: &Globals,
    client: Client,
    attached: AttachedTo,
    args: &Args,
) -> anyhow::Result<Exit> {
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
    watch(common, client, attached, args, from == StartArg::Screen).await
}

/// What came of an attach.
pub(super) enum Entered {
    Attached(AttachedTo),
    /// The terminal that this was typed in shows the session now.
    Switched,
}

/// Attaches to a session; or, inside another one, has the terminal that this is typed in show it.
pub(super) async fn enter(client: &mut Client, target: Target, args: &Args) -> Result<Entered, ClientError> {
    let has_own_ways = args.read_only || args.from.is_some() || args.held.is_some();
    if !has_own_ways && switches(client, &args.watch) && switch(client, target.clone()).await? {
        return Ok(Entered::Switched);
    }
    let attach = from_here(Attach::new(target, args.options()), client.is_local());
    client.attach_with(attach).await.map(Entered::Attached)
}

/// Whether this is typed in a session, whose terminal is to show another one instead of this one's.
pub(super) fn switches(client: &Client, watch: &WatchArgs) -> bool {
    is_inside(client.is_local()) && terminal::is_interactive() && watch.on_lag.is_none()
}

/// Has the terminal that shows this session show another one. Returns whether this is in a session's terminal.
pub(super) async fn switch(client: &mut Client, to: Target) -> Result<bool, ClientError> {
    match client.change(Target::Here, SessionChange::Switch(to)).await {
        Ok(_) => Ok(true),
        Err(ClientError::Refused(RequestError::NotInside)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Shows a session until it ends, its person detaches, or the connection does. With `scroll_away`, what the terminal
/// shows before is kept in its scrollback.
pub(super) async fn watch(
    common: &Globals,
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
    show(common, client, attached, args, medium).await
}

async fn show(
    common: &Globals,
    client: Client,
    attached: AttachedTo,
    args: &Args,
    medium: Medium,
) -> anyhow::Result<Exit> {
    let mut deadly = DeadlySignals::new()?;
    let mut display = Display::start(medium)?;
    display.begin().await;
    let mut keys = if display.is_terminal() { Some((Keys::start(), JobSignals::new()?)) } else { None };
    let mut notices = Notices::default();

    let (current, typing) = (Current::new(&attached), Typing::new(attached.session));
    // A file has no size, wherever this runs.
    let is_terminal = display.is_terminal();
    let options = || if is_terminal { args.options() } else { args.options().with_size(None) };
    let names_titles = args.watch.name_in_title;
    if names_titles {
        display.name_titles(current.name().as_str());
    }
    let (_, is_enough) = display.wanted(attached.start, 0);
    let line = SessionLine {
        common,
        options: &options,
        current: &current,
        typing: &typing,
        display: &display,
        names_titles,
        link: args.held,
        #[cfg(feature = "nodes")]
        host: args.host.as_deref().map(|host| (attached.session, host)),
    };
    let outbox = Outbox::new(args.watch.detach_key.0, args.watch.next_key.0);
    let outcome = tokio::select! {
        () = std::future::ready(()), if is_enough => Outcome::Enough,
        signal = deadly.next() => Outcome::Signal(signal),
        outcome = watch_on(&line, client, (&mut keys, outbox), &mut notices) => outcome,
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

/// Watches on one connection after another, until that ends.
async fn watch_on(
    line: &SessionLine<'_>,
    mut client: Client,
    (keys, mut outbox): (&mut Option<(Keys, JobSignals)>, Outbox),
    notices: &mut Notices,
) -> Outcome {
    let SessionLine { options, current, typing, display, names_titles, .. } = *line;
    let mut backoff = Backoff::default();
    loop {
        // A server of this machine that is stopped goes on where it was; another line to it would not.
        let keepalive = (!client.is_local()).then(Keepalive::default);
        let (requests, frames, early) = client.into_split();
        let (window, liveness) = (&TerminalWindow::new(), &frames.liveness(keepalive));
        let (begun, before) = (Instant::now(), current.how_far());
        let sender =
            Sender { requests, current, typing, options, window, liveness, outbox: &mut outbox, display };
        let shown = (window, display, current);
        let receiver =
            Receiver { frames, early, shown, typing, liveness, ended: None, notices, names_titles };
        let outcome = tokio::select! {
            biased;
            outcome = sender.run(keys) => outcome,
            outcome = receiver.run() => outcome,
            // After what was received meanwhile, if this process was stopped.
            () = liveness.lost() => Outcome::Lost(ClientError::Lost),
        };
        let Outcome::Lost(ClientError::Lost) = outcome else { return outcome };
        backoff.lost(begun.elapsed(), current.how_far() != before);
        match line.resume(keys, &mut outbox, notices, &mut backoff).await {
            Ok(next) => client = next,
            Err(outcome) => return outcome,
        }
    }
}

/// Waits until what is on its way to the screen or the file gets there. Not where the person wants to leave: then the
/// terminal may be stopped. Returns how watching ended after all.
async fn finish(outcome: Outcome, display: &mut Display) -> Outcome {
    let is_awaited = match outcome {
        Outcome::Ended(_) | Outcome::Enough | Outcome::Gap(_) | Outcome::Lost(_) | Outcome::NotResumed(_) => {
            true
        }
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
