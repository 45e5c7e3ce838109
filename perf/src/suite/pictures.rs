//! What terminals of another size than their session's cost: a full-screen program at 30 frames a second, and viewers
//! that are sent pictures of it, beside as many that are sent its output.

use std::{fs, path::Path};

use anyhow::Context;
use fugue_server::{
    Client, TerminalSize,
    client::Incoming,
    message::{Access, AttachOptions, OnLag, StartAt},
};

use crate::{
    contest::Contest,
    row::Row,
    served::{FRAME, Served},
    suite::Scale,
};

const VIEWERS: [usize; 2] = [16, 200];
const FRAMES: usize = 150;

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let frames = if scale.quick { FRAMES / 5 } else { FRAMES };
    let mut rows = Vec::new();
    for viewers in VIEWERS {
        let metric = ("server_cpu_ms_per_s", "ms/s");
        let mut contest = Contest::new("pictures", "30 frames/s, 160x50", viewers, metric, "same-size");
        for (name, size) in [("same-size", FRAME), ("other-size", (FRAME.0 - 40, FRAME.1 - 10))] {
            contest.enter(name, move || cpu(viewers, size, frames));
        }
        rows.extend(contest.run(scale.rounds));
    }
    Ok(rows)
}

/// Milliseconds of processor time that a server takes for each second of the program, while so many watch it.
fn cpu(viewers: usize, size: (u16, u16), frames: usize) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let mut server = Served::start(&socket)?;
    server.frames(0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (attached, is_attached) = std::sync::mpsc::sync_channel(viewers);
    let watching = std::thread::spawn(move || {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..viewers {
                tasks.spawn(watch(socket.clone(), size, attached.clone()));
            }
            drop(attached);
            tasks.join_all().await.into_iter().sum::<anyhow::Result<u64>>()
        })
    });
    for _ in 0..viewers {
        is_attached.recv().context("a viewer failed")?;
    }
    server.frames(3)?;
    let before = cpu_ms(server.pid())?;
    let start = std::time::Instant::now();
    server.frames(frames)?;
    let took = start.elapsed().as_secs_f64();
    let spent = cpu_ms(server.pid())? - before;
    drop(server);
    let received = watching.join().map_err(|_| anyhow::anyhow!("the viewers panicked"))??;
    anyhow::ensure!(received > (viewers * frames) as u64 * 1000, "the viewers got {received} bytes only");
    Ok(spent / took)
}

/// Watches until the server is gone; returns how many bytes that was.
async fn watch(
    socket: std::path::PathBuf,
    size: (u16, u16),
    attached: std::sync::mpsc::SyncSender<()>,
) -> anyhow::Result<u64> {
    let mut client = Client::connect(&socket).await?;
    let options = AttachOptions::new(StartAt::Screen, OnLag::Resync)
        .with_size(TerminalSize::new(size.0, size.1))
        .with_access(Access::ReadOnly);
    client.attach("frames".parse::<fugue_server::SessionName>()?, options).await?;
    attached.send(())?;
    let mut received = 0;
    loop {
        match client.next().await {
            Ok(Incoming::Output { data, .. } | Incoming::Screen { data, .. }) => {
                received += data.len() as u64
            }
            Ok(_) => {}
            Err(_) => return Ok(received),
        }
    }
}

/// A process's processor time so far, in milliseconds.
fn cpu_ms(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // After the name, which may hold anything: state, and 11 more before the two times, in hundredths of a second.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let ticks: Vec<f64> =
        rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() * 10.0)
}
