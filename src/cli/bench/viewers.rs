//! The measured run: an embedded server, the program on its PTY, and viewers on real connections.

use std::{
    env,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{
    Args,
    stream::{Copy, Expected, READY},
};
use crate::{
    SessionId, TerminalSize,
    client::{Client, ClientError, Incoming},
    message::{
        Attach, ClientMessage, Create, Event, OnLag, Pace, Reply, ServerStats, SizePolicy, StartAt, Target,
        View,
    },
    server::Server,
    session::TurnLog,
};

/// What the run showed.
pub(super) struct Run {
    /// From telling the program to begin until the last reader had everything.
    pub(super) took: Duration,
    pub(super) readers: Vec<Reader>,
    /// From the pump's read to a reader's receive, in microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) stats: ServerStats,
}

/// What one reader received.
pub(super) struct Reader {
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
    let turns = Arc::new(TurnLog::default());
    let mut server = Server::builder(&socket).max_clients(args.viewers + 1).record_turns(Arc::clone(&turns));
    if let Some(shards) = args.shards {
        server = server.shards(shards);
    }
    let server = server.bind()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));

    let mut control = Client::connect(&socket).await?;
    let session = start(&mut control, expected.stream).await?;
    let mut stalled = Vec::new();
    for _ in 0..args.stalled {
        let mut client = Client::connect(&socket).await?;
        client.attach(&attach(session, OnLag::Disconnect)).await?;
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
    control.request(&ClientMessage::Input { session, data: Bytes::from_static(b"\n") }).await?;

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
    tokio::select! {
        done = all => done?,
        () = show(bar, slowest) => bail!("the progress bar ended"),
        () = give_up => bail!("the time limit ended"),
    }
    let finished = readers.iter().map(|reader| reader.finished).max().unwrap_or(started);

    let Reply::Stats(stats) = control.request(&ClientMessage::Stats).await? else {
        bail!("the server did not give its counts");
    };
    drop(stalled);
    stop.send(()).ok();
    serving.await.context("the server failed")?;
    let latency = latency(&turns.take(), &readers)?;
    Ok(Run { took: finished - started, readers, latency, stats: *stats })
}

/// The program, and what it is given.
pub(super) fn child_command(bytes: u64) -> anyhow::Result<(OsString, [OsString; 2])> {
    let program = env::current_exe().context("finding this program's own file failed")?;
    Ok((program.into(), ["bench-child".into(), bytes.to_string().into()]))
}

async fn start(control: &mut Client, bytes: u64) -> anyhow::Result<SessionId> {
    let (program, arguments) = child_command(bytes)?;
    let create = Create {
        name: "bench".parse()?,
        command: [program].into_iter().chain(arguments).map(|word| word.as_bytes().to_vec()).collect(),
        env: env::vars_os().map(|(key, value)| (key.into_vec(), value.into_vec())).collect(),
        cwd: None,
        size: TerminalSize::DEFAULT,
        size_policy: SizePolicy::Fixed,
        pace: Pace::Fastest,
        attach: None,
    };
    match control.request(&ClientMessage::Create(create)).await? {
        Reply::Created(info) => Ok(info.id),
        other => bail!("the server answered {other:?} to a create"),
    }
}

fn attach(session: SessionId, on_lag: OnLag) -> ClientMessage {
    let view = View::new(StartAt::Oldest, on_lag);
    ClientMessage::Attach(Attach { session: Target::Id(session), view })
}

async fn connect_reader(socket: &Path, session: SessionId) -> anyhow::Result<Client> {
    let mut client = Client::connect(socket).await?;
    client.attach(&attach(session, OnLag::Lossless)).await?;
    Ok(client)
}

/// Reads until the session ends or the time is up.
async fn read_all(
    mut client: Client,
    expected: Expected,
    progress: Arc<[AtomicU64]>,
    index: usize,
    mut time_is_up: watch::Receiver<bool>,
) -> Reader {
    let mut copy = Copy::default();
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
    Reader {
        lost: expected.bytes.saturating_sub(copy.bytes),
        verified,
        problem,
        finished: Instant::now(),
        receives,
    }
}

/// Pairs each turn of the pump with each reader's first receive that holds its last byte.
fn latency(turns: &[(u64, Instant)], readers: &[Reader]) -> anyhow::Result<Histogram<u64>> {
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
