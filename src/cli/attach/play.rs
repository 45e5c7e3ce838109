//! `play`: shows an asciicast in this terminal, as it was recorded.

use std::{
    fs::File,
    io::{self, BufReader},
    path::PathBuf,
    str::FromStr,
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    super::{Exit, block_on, print_note, signals::DeadlySignals, terminal, time::TimeSpan},
    cast_reader::{CastError, CastEvent, CastReader},
    display::{CursorLeft, Display, Medium},
    io_threads::Keys,
};

/// Plays an asciicast (version 2 or 3) in this terminal
#[derive(Debug, clap::Args)]
#[command(after_help = "\
At a terminal, q or ctrl-c ends it, and space makes a pause and ends that. Elsewhere, the output is written alone.
--idle-limit 0 writes all of it at once.")]
pub(in crate::cli) struct Args {
    /// The file; - for standard input
    file: PathBuf,
    /// How many times as fast
    #[arg(short, long, value_name = "FACTOR", default_value = "1")]
    speed: Speed,
    /// The longest pause, such as 2s [default: what the file says, if anything]
    #[arg(short, long, value_name = "TIME")]
    idle_limit: Option<TimeSpan>,
}

#[derive(Clone, Copy, Debug)]
struct Speed(f64);

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(speed) if (0.001..=1000.0).contains(&speed) => Ok(Self(speed)),
            _ => Err("give a number from 0.001 to 1000, such as 2 or 0.5"),
        }
    }
}

/// How playing ended.
enum Played {
    Whole,
    /// The person has seen enough.
    Left,
    NobodyReads,
    Signal(i32),
    /// The rest can't be read.
    Broken(anyhow::Error),
}

pub(in crate::cli) fn run(args: Args) -> anyhow::Result<Exit> {
    let name = args.file.display().to_string();
    let lines: Box<dyn io::Read + Send> = if name == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&args.file).with_context(|| name.clone())?)
    };
    let cast = CastReader::new(BufReader::new(lines)).with_context(|| name.clone())?;
    let interactive = terminal::is_interactive();
    if let (true, Some(here), Some(size)) = (interactive, terminal::size(), cast.header().size)
        && (here.cols() < size.cols() || here.rows() < size.rows())
    {
        print_note(format_args!("[recorded at {size}; this terminal is {here}]"));
    }
    let limit = args.idle_limit.map(|TimeSpan(limit)| limit).or(cast.header().idle_limit);
    block_on(async {
        let mut events = read(cast);
        let mut deadly = DeadlySignals::new()?;
        let medium =
            if interactive { Medium::Terminal { scroll_away: false } } else { Medium::File(Box::default()) };
        let mut display = Display::start(medium)?;
        let mut keys = interactive.then(Keys::start);
        let mut played = tokio::select! {
            played = play(&mut events, (limit, args.speed), &display, keys.as_mut()) => played,
            signal = deadly.next() => Played::Signal(signal),
        };
        if matches!(played, Played::Whole | Played::Broken(_)) {
            tokio::select! {
                written = display.finish() => match written {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => played = Played::NobodyReads,
                    written => written.context("writing the output failed")?,
                },
                signal = deadly.next() => played = Played::Signal(signal),
            }
        }
        display.leave(CursorLeft::NextLine).await;
        Ok(match played {
            Played::Whole | Played::Left => Exit::SUCCESS,
            Played::NobodyReads => Exit(141),
            Played::Signal(signal) => Exit(128_u8.saturating_add(signal.to_le_bytes()[0])),
            Played::Broken(error) => return Err(error.context(name)),
        })
    })
}

/// What is read of the file, on a thread: it may be a pipe.
fn read(
    mut cast: CastReader<impl io::BufRead + Send + 'static>,
) -> mpsc::Receiver<Result<CastEvent, CastError>> {
    let (sender, events) = mpsc::channel(4);
    thread::spawn(move || {
        while let Some(event) = cast.next().transpose() {
            let is_last = event.is_err();
            if sender.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    });
    events
}

/// Shows each event when its time has come.
async fn play(
    events: &mut mpsc::Receiver<Result<CastEvent, CastError>>,
    (limit, speed): (Option<Duration>, Speed),
    display: &Display,
    mut keys: Option<&mut Keys>,
) -> Played {
    let mut due = Instant::now();
    while let Some(event) = events.recv().await {
        let CastEvent { after, code, data } = match event {
            Ok(event) => event,
            Err(error) => return Played::Broken(error.into()),
        };
        due += paused(after, limit, speed);
        if !wait_until(&mut due, keys.as_deref_mut()).await {
            return Played::Left;
        }
        if code == "o" {
            let Some(room) = display.room().await else { return Played::NobodyReads };
            display.show(room, data.into());
        }
    }
    Played::Whole
}

/// How long a pause is.
fn paused(after: Duration, limit: Option<Duration>, Speed(speed): Speed) -> Duration {
    /// Timers have bounds of their own.
    const MOST: f64 = 365.0 * 24.0 * 3600.0;
    let after = limit.map_or(after, |limit| after.min(limit));
    Duration::from_secs_f64((after.as_secs_f64() / speed).min(MOST))
}

/// Waits until it is time, which a pause moves on. Returns whether the person wants to see more.
async fn wait_until(due: &mut Instant, mut keys: Option<&mut Keys>) -> bool {
    let mut paused_at: Option<Instant> = None;
    loop {
        let typed = tokio::select! {
            biased;
            typed = typed(keys.as_deref_mut()) => typed,
            () = sleep_until(*due), if paused_at.is_none() => return true,
        };
        // Without a terminal there is no person left either.
        let Some(typed) = typed else { return false };
        // A terminal answers what the recorded program asked.
        let is_key = !typed.starts_with(b"\x1b");
        for key in typed.into_iter().filter(|_| is_key) {
            match key {
                b'q' | 0x03 => return false,
                b' ' => match paused_at.take() {
                    Some(paused_at) => *due += paused_at.elapsed(),
                    None => paused_at = Some(Instant::now()),
                },
                _ => {}
            }
        }
    }
}

async fn typed(keys: Option<&mut Keys>) -> Option<bytes::Bytes> {
    match keys {
        Some(keys) => keys.typed.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_cut_and_then_divided() {
        let second = Duration::from_secs(1);
        assert_eq!(paused(second * 9, None, Speed(3.0)), second * 3);
        assert_eq!(paused(second * 9, Some(second * 3), Speed(3.0)), second);
        assert_eq!(paused(second * 9, Some(Duration::ZERO), Speed(0.5)), Duration::ZERO);
        assert_eq!(paused(Duration::MAX, None, Speed(0.001)), second * 365 * 24 * 3600);
    }
}
