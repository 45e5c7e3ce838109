//! `wait`: until a session ends, shows something, or is silent.
//!
//! Of a session's output, its text is looked at as it passes; what the session shows is looked at as well, because a
//! program that draws a screen prints less than is seen. Nothing is missed between the two: the output is read from
//! the byte on that the screen stands at. The program waits for this reader, as for a recorder.

mod pattern;

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::{io::fcntl_dupfd_cloexec, stdio};
use tokio::time::{Instant, sleep_until, timeout};

use self::pattern::{Found, Pattern, Searcher};
use super::{Exit, Globals, block_on, print_error, print_note, time::TimeSpan};
use crate::{
    SessionName,
    client::{Client, ClientError, Incoming},
    message::{Access, AttachOptions, Event, ExitStatus, OnLag, RequestError, SessionScreen, StartAt},
    terminal::ShownScreen,
};

/// How long output pauses before what ends with it is taken for complete, and before the screen is looked at.
const QUIET: Duration = Duration::from_millis(50);

/// How long the screen is not looked at while output never pauses.
const LOOK_TIME: Duration = Duration::from_millis(500);

/// How often a screen may be gone from the log before its output is read: only a flood gets there once.
const TRIES: usize = 10;

/// The exit status of a wait that took too long, as timeout(1) has it.
const TIMED_OUT: Exit = Exit(124);

/// Waits until a session ends, shows something, or is silent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --for or --idle, it waits for the session's end and exits with its program's status.
--for looks at the screen, and at what comes after it. With --since it looks at the output alone, from \
what `send --offset` said on: so it misses no answer, and takes no earlier one for it.
Exit status: 0 it came; 1 the session ended first; 124 timed out; 254 server lost; 255 no such session.")]
pub(super) struct Args {
    /// The session's name
    name: SessionName,
    /// Until this text is shown or printed, or what matches a /regular expression/ in slashes
    #[arg(long = "for", value_name = "TEXT", allow_hyphen_values = true)]
    pattern: Option<Pattern>,
    /// With --for: only in what is printed from this byte of the session's output on
    #[arg(long, value_name = "OFFSET", requires = "pattern")]
    since: Option<u64>,
    /// With --for: print what matched; of an expression with a (group), that group
    #[arg(long, requires = "pattern")]
    print: bool,
    /// Until nothing was printed for this long, such as 500ms or 2s
    #[arg(long, value_name = "TIME", conflicts_with = "pattern")]
    idle: Option<TimeSpan>,
    /// Give up after this long
    #[arg(long, value_name = "TIME")]
    timeout: Option<TimeSpan>,
}

/// What became of it.
enum Outcome {
    Found(Found),
    Silent,
    Ended(ExitStatus),
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    let mut stdout = None;
    if args.pattern.is_some() || args.idle.is_some() {
        stdout = hide_stdout().context("putting standard output aside failed")?;
    }
    block_on(async {
        let waited = async {
            let mut client = common.connect().await?;
            match (&args.pattern, args.idle) {
                (Some(pattern), _) => until_found(&mut client, &args.name, pattern, args.since).await,
                (None, Some(TimeSpan(span))) => until_silent(&mut client, &args.name, span).await,
                (None, None) => Ok(Outcome::Ended(client.wait(args.name.clone()).await?)),
            }
        };
        let outcome = match args.timeout {
            None => waited.await,
            Some(TimeSpan(limit)) => match timeout(limit, waited).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let what = what_is_missing(&args);
                    print_error(format_args!("{} has not {what} within {limit:?}", args.name));
                    return Ok(TIMED_OUT);
                }
            },
        };
        report(&args, outcome, stdout)
    })
}

fn what_is_missing(args: &Args) -> &'static str {
    match (&args.pattern, args.idle) {
        (Some(_), _) => "shown or printed that",
        (None, Some(_)) => "been silent",
        (None, None) => "ended",
    }
}

fn report(args: &Args, outcome: anyhow::Result<Outcome>, stdout: Option<File>) -> anyhow::Result<Exit> {
    match outcome {
        Ok(Outcome::Found(found)) => {
            if args.print {
                let mut stdout = stdout.context("standard output is closed")?;
                writeln!(stdout, "{}", found.0).context("writing what matched failed")?;
            }
            Ok(Exit::SUCCESS)
        }
        Ok(Outcome::Silent) => Ok(Exit::SUCCESS),
        Ok(Outcome::Ended(status)) => {
            print_note(format_args!("[session {} ended: {status}]", args.name));
            Ok(match (&args.pattern, args.idle) {
                (Some(_), _) => Exit::FAILURE,
                // It prints nothing any more.
                (None, Some(_)) => Exit::SUCCESS,
                (None, None) => Exit(status.as_exit_code()),
            })
        }
        Err(error) => match error.downcast_ref::<ClientError>() {
            Some(ClientError::Closed(_) | ClientError::Lost | ClientError::NoAnswer { .. }) => {
                print_error(format_args!("{error:#}"));
                Ok(Exit::CLOSED)
            }
            _ => Err(error),
        },
    }
}

/// Puts standard output aside, and nothing in its place. A server refuses a client that would print a session into that
/// session's own terminal, and can't know that this one prints none of what it reads.
fn hide_stdout() -> io::Result<Option<File>> {
    // Where it is closed there is nothing to hide.
    let Ok(stdout) = fcntl_dupfd_cloexec(io::stdout(), 3) else { return Ok(None) };
    let nothing: OwnedFd = File::options().write(true).open("/dev/null")?.into();
    stdio::dup2_stdout(nothing)?;
    Ok(Some(stdout.into()))
}

/// How this watches: nothing it does is seen in the session.
fn options(start: StartAt, on_lag: OnLag) -> AttachOptions {
    AttachOptions::new(start, on_lag).with_access(Access::ReadOnly)
}

/// Waits until nothing was printed for `span`.
async fn until_silent(client: &mut Client, name: &SessionName, span: Duration) -> anyhow::Result<Outcome> {
    match client.attach(name.clone(), options(StartAt::Now, OnLag::Resync)).await {
        Err(ClientError::Refused(RequestError::SessionEnded { status, .. })) => {
            return Ok(Outcome::Ended(status));
        }
        attached => attached.map(drop)?,
    }
    let mut silent_at = Instant::now() + span;
    loop {
        let incoming = tokio::select! {
            biased;
            incoming = client.next() => incoming?,
            () = sleep_until(silent_at) => return Ok(Outcome::Silent),
        };
        match incoming {
            Incoming::Output { .. } | Incoming::Screen { .. } => silent_at = Instant::now() + span,
            Incoming::Event(Event::Ended { status, .. }) => return Ok(Outcome::Ended(status)),
            _ => {}
        }
    }
}

/// Waits until `pattern` is shown or printed; with `since`, printed from there on.
async fn until_found(
    client: &mut Client,
    name: &SessionName,
    pattern: &Pattern,
    since: Option<u64>,
) -> anyhow::Result<Outcome> {
    let mut searcher = Searcher::new(pattern);
    let begun = match since {
        Some(offset) => {
            client.attach(name.clone(), options(StartAt::Offset(offset), OnLag::Lossless)).await.map(|_| None)
        }
        None => begin_with_screen(client, name, &mut searcher).await,
    };
    match begun {
        Ok(None) => {}
        Ok(Some(found)) => return Ok(Outcome::Found(found)),
        Err(ClientError::Refused(RequestError::SessionEnded { status, .. })) => {
            return Ok(Outcome::Ended(status));
        }
        Err(error) => return Err(error.into()),
    }
    let mut looked_at = Instant::now();
    // When output came that nothing was concluded from yet, if any did.
    let mut printed_at = since.map(|_| Instant::now());
    loop {
        let due = printed_at.map(|at| (at + QUIET).min(looked_at.max(at) + LOOK_TIME));
        let incoming = tokio::select! {
            biased;
            incoming = client.next() => incoming?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let is_quiet = printed_at.take().is_some_and(|at| at.elapsed() >= QUIET);
                looked_at = Instant::now();
                let found = if is_quiet { searcher.at_rest() } else { None };
                let found = match (found, since) {
                    (None, None) => shown(client, name, pattern).await?,
                    (found, _) => found,
                };
                if let Some(found) = found {
                    return Ok(Outcome::Found(found));
                }
                continue;
            }
        };
        match incoming {
            Incoming::Output { data, .. } => {
                if let Some(found) = searcher.search(&data) {
                    return Ok(Outcome::Found(found));
                }
                printed_at = Some(Instant::now());
            }
            Incoming::Event(Event::Ended { status, .. }) => {
                return Ok(searcher.at_rest().map_or(Outcome::Ended(status), Outcome::Found));
            }
            Incoming::Event(Event::Gap { from, to }) => {
                bail!("this was too slow: {} bytes of the output passed unseen", to - from);
            }
            _ => {}
        }
    }
}

/// Looks at what the session shows, and then reads its output from there on.
async fn begin_with_screen(
    client: &mut Client,
    name: &SessionName,
    searcher: &mut Searcher<'_>,
) -> Result<Option<Found>, ClientError> {
    for _ in 0..TRIES {
        let screen = match client.read_screen(name.clone(), 0).await {
            Err(ClientError::Refused(RequestError::NoScreen(_))) => break,
            screen => screen?,
        };
        let (before, after) = texts(&screen);
        if let Some(found) = searcher.begin(before, &after) {
            return Ok(Some(found));
        }
        let options = options(StartAt::Offset(screen.offset), OnLag::Lossless);
        match client.attach(screen.session, options).await {
            Err(ClientError::Refused(RequestError::OffsetNotHeld { .. })) => {}
            attached => return attached.map(|_| None),
        }
    }
    // Without a model of the screen, what is held of the output is all that is known.
    client.attach(name.clone(), options(StartAt::Oldest, OnLag::Lossless)).await.map(|_| None)
}

/// Looks for it in what the session shows now.
async fn shown(client: &mut Client, name: &SessionName, pattern: &Pattern) -> anyhow::Result<Option<Found>> {
    match client.read_screen(name.clone(), 0).await {
        Ok(screen) => {
            let (before, after) = texts(&screen);
            Ok(pattern.find(&(before + &after)))
        }
        // The end comes with the output.
        Err(ClientError::Refused(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn texts(screen: &SessionScreen) -> (String, String) {
    ShownScreen::new(screen.size, &screen.drawing, 0).text()
}
