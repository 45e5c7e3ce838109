//! `wait`: until a session ends, shows something, or is silent.
//!
//! Of a session's output, its text is looked at as it passes; what the session shows is looked at as well, because a
//! program that draws a screen prints less than is seen. Nothing is missed between the two: it attaches first, and then
//! looks at the output from the byte on that the screen stands at. The program waits for this reader, as for a
//! recorder.

mod pattern;

use std::{fs::File, io::Write, time::Duration};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::pattern::{Found, Pattern, Searcher};
use super::{
    Exit, Globals, block_on, print_error, print_note, target::SessionArg, terminal::hide_stdout,
    time::TimeSpan,
};
use crate::{
    SessionId,
    client::{Backoff, Client, ClientError, Incoming},
    message::{
        Access, AttachOptions, AttachedTo, Event, ExitStatus, OnLag, RequestError, SessionScreen, StartAt,
        Target,
    },
    terminal::ShownScreen,
};

/// How long output pauses before what ends with it is taken for complete, and before the screen is looked at.
const QUIET: Duration = Duration::from_millis(50);

/// How long the screen is not looked at while output never pauses.
const LOOK_TIME: Duration = Duration::from_millis(500);

/// How much of the newest output is read where what the session shows is not known, in bytes.
const TAIL: u64 = 64 * 1024;

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
    /// The session's name, or its beginning
    name: SessionArg,
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
        let waited = until(common, &args);
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

/// Waits for what is to come, on one connection after another.
async fn until(common: &Globals, args: &Args) -> anyhow::Result<Outcome> {
    let (mut client, target) = common.connect_to(&args.name).await?;
    let mut session = resolved(&mut client, target).await?;
    let mut search = args.pattern.as_ref().map(|pattern| Search::new(pattern, args.since));
    let mut backoff = Backoff::default();
    loop {
        let begun = Instant::now();
        let outcome = match (&mut search, args.idle) {
            (Some(search), _) => search.until_found(&mut client, &session).await,
            // What was printed without a connection is not known: so it is waited for from the start.
            (None, Some(TimeSpan(span))) => until_silent(&mut client, &session, Some(span)).await,
            // So that it is watched: what nobody watches of another node ends here.
            (None, None) if args.name.node(common).is_some() => {
                until_silent(&mut client, &session, None).await
            }
            (None, None) => client.wait(session.clone()).await.map(Outcome::Ended).map_err(Into::into),
        };
        match outcome {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::Lost)) => {
                backoff.lost(begun.elapsed(), false);
                if args.name.node(common).is_some() {
                    sleep(backoff.pause()).await;
                    session = common.resolve(&args.name).await?;
                }
                // Where there is no server any more, that is why.
                client =
                    common.reconnect(&mut backoff).await.map_err(|why| error.context(why.to_string()))?;
            }
            outcome => return outcome,
        }
    }
}

/// The session that is meant, whatever others begin or end meanwhile; one that has ended by its name.
async fn resolved(client: &mut Client, session: Target) -> Result<Target, ClientError> {
    match client.find(session.clone()).await {
        Ok(info) => Ok(info.id.into()),
        Err(ClientError::Refused(RequestError::SessionEnded { .. })) => Ok(session),
        Err(error) => Err(error),
    }
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

/// How this watches: nothing it does is seen in the session.
fn options(start: StartAt, on_lag: OnLag) -> AttachOptions {
    AttachOptions::new(start, on_lag).with_access(Access::ReadOnly)
}

/// Waits until nothing was printed for `span`, if there is one, or the session has ended.
async fn until_silent(client: &mut Client, name: &Target, span: Option<Duration>) -> anyhow::Result<Outcome> {
    match client.attach(name.clone(), options(StartAt::Now, OnLag::Resync)).await {
        Err(ClientError::Refused(RequestError::SessionEnded { status, .. })) => {
            return Ok(Outcome::Ended(status));
        }
        attached => attached.map(drop)?,
    }
    let next = || Instant::now() + span.unwrap_or_default();
    let mut silent_at = next();
    loop {
        let incoming = tokio::select! {
            biased;
            incoming = client.next() => incoming?,
            () = sleep_until(silent_at), if span.is_some() => return Ok(Outcome::Silent),
        };
        match incoming {
            Incoming::Output { .. } | Incoming::Screen { .. } => silent_at = next(),
            Incoming::Event(Event::Ended { status, .. }) => return Ok(Outcome::Ended(status)),
            _ => {}
        }
    }
}

/// A search for a pattern that is shown or printed; or, with `since`, printed from there on.
struct Search<'a> {
    pattern: &'a Pattern,
    searcher: Searcher<'a>,
    since: Option<u64>,
    /// The first byte that was not looked at, once there was a look.
    reached: Option<u64>,
}

impl<'a> Search<'a> {
    fn new(pattern: &'a Pattern, since: Option<u64>) -> Self {
        Self { pattern, searcher: Searcher::new(pattern), since, reached: None }
    }

    /// Attaches where the last connection left off, or anew where that is not held any more.
    async fn attach(&mut self, client: &mut Client, name: &Target) -> Result<AttachedTo, ClientError> {
        let start = self.reached.or(self.since).map_or(StartAt::Last(TAIL), StartAt::Offset);
        match client.attach(name.clone(), options(start, OnLag::Lossless)).await {
            Err(ClientError::Refused(RequestError::OffsetNotHeld { offset, oldest, .. }))
                if self.since.is_none() =>
            {
                let unseen = oldest.saturating_sub(offset);
                print_note(format_args!(
                    "[{unseen} bytes of the output passed unseen, as its server was lost]"
                ));
                *self = Self::new(self.pattern, None);
                client.attach(name.clone(), options(StartAt::Last(TAIL), OnLag::Lossless)).await
            }
            attached => attached,
        }
    }

    /// Waits until it is there, or the session has ended.
    async fn until_found(&mut self, client: &mut Client, name: &Target) -> anyhow::Result<Outcome> {
        let session = match self.attach(client, name).await {
            Err(ClientError::Refused(RequestError::SessionEnded { status, .. })) => {
                return Ok(Outcome::Ended(status));
            }
            attached => attached?.session,
        };
        // What the screen shows is not looked at again in the output that brought it there.
        if self.since.is_none()
            && self.reached.is_none()
            && let Some(screen) = read_screen(client, session).await?
        {
            self.reached = Some(screen.offset);
            let (before, after) = texts(&screen);
            if let Some(found) = self.searcher.begin(before, &after) {
                return Ok(Outcome::Found(found));
            }
        }
        self.look(client, session).await
    }

    /// Looks at all that is printed.
    async fn look(&mut self, client: &mut Client, session: SessionId) -> anyhow::Result<Outcome> {
        let (pattern, since) = (self.pattern, self.since);
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
                    let found = if is_quiet { self.searcher.at_rest() } else { None };
                    let found = match (found, since) {
                        (None, None) => shown(client, session, pattern).await?,
                        (found, _) => found,
                    };
                    if let Some(found) = found {
                        return Ok(Outcome::Found(found));
                    }
                    continue;
                }
            };
            match incoming {
                Incoming::Output { offset, data } => {
                    let seen = self.reached.unwrap_or_default().saturating_sub(offset);
                    let seen = usize::try_from(seen).unwrap_or(usize::MAX);
                    self.reached = self.reached.max(Some(offset + data.len() as u64));
                    let data = data.get(seen..).unwrap_or_default();
                    if let Some(found) = self.searcher.search(data) {
                        return Ok(Outcome::Found(found));
                    }
                    printed_at = Some(Instant::now());
                }
                Incoming::Event(Event::Ended { status, .. }) => {
                    return Ok(self.searcher.at_rest().map_or(Outcome::Ended(status), Outcome::Found));
                }
                Incoming::Event(Event::Gap { from, to }) => {
                    bail!("this was too slow: {} bytes of the output passed unseen", to - from);
                }
                _ => {}
            }
        }
    }
}

/// Looks for it in what the session shows now.
async fn shown(client: &mut Client, session: SessionId, pattern: &Pattern) -> anyhow::Result<Option<Found>> {
    Ok(read_screen(client, session).await?.and_then(|screen| {
        let (before, after) = texts(&screen);
        pattern.find(&(before + &after))
    }))
}

/// What the session shows. `None` where that is not known: the session ended just now, and its last output is still to
/// come, or its server keeps no screens. Then the output is all there is to look at.
async fn read_screen(client: &mut Client, session: SessionId) -> anyhow::Result<Option<SessionScreen>> {
    match client.read_screen(session, 0).await {
        Ok(screen) => Ok(Some(screen)),
        Err(ClientError::Refused(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn texts(screen: &SessionScreen) -> (String, String) {
    ShownScreen::new(screen.size, &screen.drawing, 0).text()
}
