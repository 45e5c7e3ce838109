//! The baseline: a bare loop that reads the PTY and writes to every reader's socket in turn. No registry, no history,
//! no framing; one slow reader would stop it. What a server adds is measured against this.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream as Socket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use indicatif::ProgressBar;
use tokio::{io::AsyncReadExt, net::UnixStream, sync::oneshot, task::JoinSet};

use super::{
    program::child_command,
    stream::{Expected, READY, StreamDigest},
    viewers::show,
};

/// Bytes per read, and of each reader's buffer.
const BUFFER: usize = 64 * 1024;

/// Runs the loop and returns how long it took until every reader had everything.
pub(super) async fn run(
    expected: Expected,
    readers: usize,
    limit: Duration,
    bar: &ProgressBar,
) -> anyhow::Result<Duration> {
    let mut sockets = Vec::new();
    let mut tasks = JoinSet::new();
    let progress = Arc::new(AtomicU64::new(0));
    for reader in 0..readers {
        let (ours, theirs) = Socket::pair()?;
        sockets.push(ours);
        theirs.set_nonblocking(true)?;
        // The bar follows one of them.
        let progress = (reader == 0).then(|| Arc::clone(&progress));
        tasks.spawn(read_all(UnixStream::from_std(theirs)?, expected, progress));
    }
    let (begun, begin) = oneshot::channel();
    let expected_bytes = expected.stream;
    thread::spawn(move || copy_loop(expected_bytes, sockets, begun));

    let all = async {
        let started = begin.await.map_err(|_| anyhow!("the program did not start"))??;
        while let Some(done) = tasks.join_next().await {
            if !done?? {
                bail!("a reader of the baseline did not get every byte");
            }
        }
        anyhow::Ok(started.elapsed())
    };
    tokio::select! {
        took = tokio::time::timeout(limit, all) => took.context("it took too long")?,
        () = show(bar, || progress.load(Ordering::Relaxed)) => bail!("the progress bar ended"),
    }
}

/// Reads the PTY and writes to all; says when the program was told to begin.
fn copy_loop(bytes: u64, mut sockets: Vec<Socket>, begun: oneshot::Sender<anyhow::Result<Instant>>) {
    let (mut pty, mut child) = match start(bytes) {
        Ok(started) => started,
        Err(error) => {
            let _ = begun.send(Err(error));
            return;
        }
    };
    let mut begun = Some(begun);
    let mut buffer = vec![0; BUFFER];
    loop {
        match pty.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                for socket in &mut sockets {
                    if socket.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
            }
        }
        // The first thing it says is that it is ready.
        if let Some(begun) = begun.take() {
            let _ = begun.send(pty.write_all(b"\n").map(|()| Instant::now()).map_err(Into::into));
        }
    }
    // The status says nothing that the readers' bytes do not.
    let _ = child.wait();
}

fn start(bytes: u64) -> anyhow::Result<(pty_process::blocking::Pty, std::process::Child)> {
    let (program, arguments) = child_command(&bytes.to_string())?;
    let (pty, slave) = pty_process::blocking::open()?;
    let child = pty_process::blocking::Command::new(program).args(arguments).spawn(slave)?;
    Ok((pty, child))
}

async fn read_all(
    mut socket: UnixStream,
    expected: Expected,
    progress: Option<Arc<AtomicU64>>,
) -> anyhow::Result<bool> {
    let mut copy = StreamDigest::default();
    let mut buffer = vec![0; BUFFER];
    debug_assert!(READY.len() < BUFFER);
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) => return Ok(copy.is(expected)),
            Ok(read) => copy.take(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(progress) = &progress {
            progress.store(copy.bytes, Ordering::Relaxed);
        }
    }
}
