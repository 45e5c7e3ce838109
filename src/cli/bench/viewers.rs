//! The measured run: an embedded server, the program on its PTY, and viewers on real connections.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{
    Args,
    echo::{self, Echo},
    program::{options, start},
    stream::{Expected, READY, StreamDigest},
};
use crate::{
    SessionId, TerminalSize,
    client::{Client, ClientError, Incoming},
    message::{Event, OnLag, ServerStats},
    server::{ReadTimes, Server},
    terminal::{ScreenModel, emulator},
};

/// What the run showed.
pub(super) struct Run {
    /// From telling the program to begin until the last reader had everything.
    pub(super) took: Duration,
    pub(super) readers: Vec<ReaderRun>,
    /// From the pump's read to a reader's receive, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// Keystrokes, before the flood and during it.
    pub(super) echo: Option<(Histogram<u64>, Histogram<u64>)>,
    /// The stalled viewers, if they were woken in the end.
    pub(super) woken: Vec<Woken>,
    pub(super) stats: ServerStats,
}

/// What a stalled viewer showed after it was woken.
pub(super) struct Woken {
    /// Gaps it was told of.
    pub(super) gaps: usize,
    pub(super) problem: Option<String>,
}

/// What one reader received.
pub(super) struct ReaderRun {
    pub(super) lost: u64,
    /// Whether its bytes are the stream's, in order, by offset and hash.
    pub(super) verified: bool,
    pub(super) problem: Option<String>,
    finished: Instant,
    /// The offset reached by each receive, and when.
    receives: Vec<(u64, Instant)>,
}

pub(super) async fn run(
    args: &Args,
    expected: Expected,
    limit: Duration,
    bar: &ProgressBar,
) -> anyhow::Result<Run> {
    let directory = tempfile::tempdir().context("making a directory for the socket failed")?;
    let socket = directory.path().join("fugue/server.sock");
    let turns = Arc::new(ReadTimes::default());
    let mut server = Server::builder(&socket).max_clients(args.viewers + 2).record_turns(Arc::clone(&turns));
    if let Some(shards) = args.shards {
        server = server.shards(shards);
    }
    let server = server.bind()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));

    let mut control = Client::connect(&socket).await?;
    let mut echo = if args.echo { Some(Echo::start(&socket).await?) } else { None };
    let idle = match &mut echo {
        Some(echo) => Some(tokio::time::timeout(limit, echo.idle()).await.context("typing took too long")??),
        None => None,
    };
    let session = start(&mut control, "bench", &expected.stream.to_string()).await?;
    let mut stalled = Vec::new();
    for _ in 0..args.stalled {
        let mut client = Client::connect(&socket).await?;
        client.attach(session, options(OnLag::Resync)).await?;
        stalled.push(client);
    }
    let progress: Arc<[AtomicU64]> = (args.stalled..args.viewers).map(|_| AtomicU64::new(0)).collect();
    let (stop_reading, deadline) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for index in 0..progress.len() {
        let client = connect_reader(&socket, session).await?;
        tasks.spawn(read_all(client, expected, Arc::clone(&progress), index, deadline.clone()));
    }

    // Every reader has heard that the program is ready, so all are attached, and it waits.
    let slowest = || progress.iter().map(|bytes| bytes.load(Ordering::Relaxed)).min().unwrap_or(0);
    let ready = async {
        while slowest() < READY.len() as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(limit, ready).await.context("the program did not start in time")?;
    let started = Instant::now();
    control.input(session, "\n").await?;

    let mut readers = Vec::new();
    let all = async {
        while let Some(reader) = tasks.join_next().await {
            readers.push(reader.context("a reader failed")?);
        }
        anyhow::Ok(())
    };
    let give_up = async {
        tokio::time::sleep(limit).await;
        stop_reading.send_replace(true);
        std::future::pending::<()>().await;
    };
    let mut flooded = echo::histogram()?;
    let typing = async {
        match &mut echo {
            Some(echo) => echo.keep_typing(&mut flooded).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = all => done?,
        typed = typing => typed.context("typing failed")?,
        () = show(bar, slowest) => bail!("the progress bar ended"),
        () = give_up => bail!("the time limit ended"),
    }
    let mut woken = Vec::new();
    if args.wake {
        for client in std::mem::take(&mut stalled) {
            woken.push(
                tokio::time::timeout(limit, wake(client, expected)).await.context("waking took too long")?,
            );
        }
    }
    let finished = readers.iter().map(|reader| reader.finished).max().unwrap_or(started);

    let stats = control.stats().await?;
    drop(stalled);
    stop.send(()).ok();
    serving.await.context("the server failed")?;
    let latency = latency(&turns.take(), &readers)?;
    let echo = idle.map(|idle| (idle, flooded));
    Ok(Run { took: finished - started, readers, latency, echo, woken, stats })
}

/// Reads what a stalled viewer is sent once it reads, and compares the screen that makes with the true one.
async fn wake(mut client: Client, expected: Expected) -> Woken {
    let mut shown = emulator(0)(TerminalSize::DEFAULT);
    let mut woken = Woken { gaps: 0, problem: None };
    let mut at = 0;
    loop {
        match client.next().await {
            Ok(Incoming::Output { offset, data }) => {
                if offset != at {
                    woken.problem = Some(format!("a woken viewer was sent offset {offset} after {at}"));
                    return woken;
                }
                at += data.len() as u64;
                shown.advance(&data);
            }
            Ok(Incoming::Screen { offset, data }) => {
                at = offset;
                shown.advance(&data);
            }
            Ok(Incoming::Event(Event::Gap { .. })) => woken.gaps += 1,
            Ok(Incoming::Event(Event::Ended { .. })) => break,
            Ok(_) => {}
            Err(error) => {
                woken.problem = Some(format!("a woken viewer's connection ended: {error}"));
                return woken;
            }
        }
    }
    let mut truth = emulator(0)(TerminalSize::DEFAULT);
    expected.each_piece(|piece| truth.advance(piece));
    if at != expected.bytes || drawn_anew(&mut *shown) != drawn_anew(&mut *truth) {
        woken.problem =
            Some(format!("a woken viewer does not show the true screen, at {at} of {}", expected.bytes));
    }
    woken
}

/// What a terminal shows that was given a model's redraw: the same for models in the same state, however they came
/// there.
fn drawn_anew(model: &mut dyn ScreenModel) -> Vec<u8> {
    let mut terminal = emulator(0)(TerminalSize::DEFAULT);
    terminal.advance(&model.redraw());
    terminal.redraw()
}

async fn connect_reader(socket: &Path, session: SessionId) -> anyhow::Result<Client> {
    let mut client = Client::connect(socket).await?;
    client.attach(session, options(OnLag::Lossless)).await?;
    Ok(client)
}

/// Reads until the session ends or the time is up.
async fn read_all(
    mut client: Client,
    expected: Expected,
    progress: Arc<[AtomicU64]>,
    index: usize,
    mut time_is_up: watch::Receiver<bool>,
) -> ReaderRun {
    let mut copy = StreamDigest::default();
    let mut receives = Vec::new();
    let mut problem = None;
    loop {
        let incoming = tokio::select! {
            incoming = client.next() => incoming,
            _ = time_is_up.wait_for(|up| *up) => {
                problem = Some("the time was up".to_owned());
                break;
            }
        };
        match incoming {
            Ok(Incoming::Output { offset, data }) => {
                if offset != copy.bytes {
                    problem.get_or_insert_with(|| {
                        format!("output came for offset {offset} after {} bytes", copy.bytes)
                    });
                }
                copy.take(&data);
                receives.push((offset + data.len() as u64, Instant::now()));
                progress[index].store(copy.bytes, Ordering::Relaxed);
            }
            Ok(Incoming::Event(Event::Ended { .. })) => break,
            Ok(_) => {}
            Err(error) => {
                problem.get_or_insert_with(|| ClientError::to_string(&error));
                break;
            }
        }
    }
    let verified = problem.is_none() && copy.is(expected);
    if !verified && problem.is_none() {
        problem =
            Some(format!("{} of {} bytes arrived, or not as they were sent", copy.bytes, expected.bytes));
    }
    ReaderRun {
        lost: expected.bytes.saturating_sub(copy.bytes),
        verified,
        problem,
        finished: Instant::now(),
        receives,
    }
}

/// Pairs each turn of the pump with each reader's first receive that holds its last byte.
fn latency(turns: &[(u64, Instant)], readers: &[ReaderRun]) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    for reader in readers {
        let mut receives = reader.receives.iter().peekable();
        for (end, read_at) in turns {
            while receives.next_if(|(received, _)| received < end).is_some() {}
            let Some((_, received_at)) = receives.peek() else { break };
            let micros = received_at.saturating_duration_since(*read_at).as_micros();
            latency.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
        }
    }
    Ok(latency)
}

/// Moves the bar until dropped.
pub(super) async fn show(bar: &ProgressBar, progress: impl Fn() -> u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        bar.set_position(progress());
    }
}
