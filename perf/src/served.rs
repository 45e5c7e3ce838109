//! A server in a process of its own, so that its memory can be told apart from its clients'.
//!
//! It says the id of a session that is printed to from memory, and then prints as many bytes as each line it reads
//! says, answering with a line once they are out of its hands. `frames N` prints as many pictures to another session,
//! at 30 a second.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use fugue_server::{Server, SessionId, TerminalSize, message::Pace};

use crate::payload::lines;

const MESSAGE_BYTES: usize = 64 * 1024;
/// The library's own default.
const DEFAULT_HISTORY: usize = 4 * 1024 * 1024;
/// More than any suite connects.
const MAX_CLIENTS: usize = 12_000;

/// Columns and lines of a frame, and how long it stays.
pub(crate) const FRAME: (u16, u16) = (160, 50);
const FRAME_TIME: Duration = Duration::from_millis(33);

/// A screen full of text that changes everywhere, a colour to a line.
fn frame(at: usize) -> String {
    let mut frame = "\x1b[H".to_owned();
    for row in 0..usize::from(FRAME.1) {
        let text: String =
            (0..FRAME.0).map(|col| char::from(b'a' + ((at + row + usize::from(col)) % 26) as u8)).collect();
        // Writing to a string can't fail.
        let _ = write!(frame, "\x1b[{};1H\x1b[{}m{text}", row + 1, 31 + row % 7);
    }
    frame
}

/// The harness's end. Kills it when dropped.
pub(crate) struct Served {
    process: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
    pub(crate) session: SessionId,
}

impl Served {
    pub(crate) fn start(socket: &Path) -> anyhow::Result<Self> {
        Self::start_with(socket, DEFAULT_HISTORY)
    }

    /// A server whose sessions hold so many bytes of output.
    pub(crate) fn start_with(socket: &Path, history: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("role-serve")
            .arg(socket)
            .arg(history.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a server failed")?;
        let input = process.stdin.take().context("no input")?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let session = line.trim().parse().context("the server did not say its session")?;
        Ok(Self { process, input, lines, session })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn print(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.ask(&bytes.to_string())
    }

    /// Prints so many frames to the session `frames`, which there is from the first call on.
    pub(crate) fn frames(&mut self, frames: usize) -> anyhow::Result<()> {
        self.ask(&format!("frames {frames}"))
    }

    fn ask(&mut self, what: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{what}")?;
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the server ended");
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process itself.
pub(crate) fn run(socket: &Path, history: &str) -> anyhow::Result<()> {
    let history = history.parse()?;
    let runtime = crate::system::runtime()?;
    let inside = runtime.enter();
    let server = Server::builder(socket).max_clients(MAX_CLIENTS).history_bytes(history).bind()?;
    let feeds = server.feeds();
    let feed = feeds.start("feed".parse()?, TerminalSize::DEFAULT, Pace::Free)?;
    let mut frames = None;
    runtime.spawn(server.serve(std::future::pending()));
    drop(inside);
    println!("{}", feed.session());
    for line in std::io::stdin().lines() {
        let line = line?;
        if let Some(count) = line.strip_prefix("frames ") {
            let count: usize = count.parse()?;
            runtime.block_on(async {
                if frames.is_none() {
                    let size = TerminalSize::new(FRAME.0, FRAME.1).context("a size")?;
                    frames = Some(feeds.start("frames".parse()?, size, Pace::Free)?);
                }
                let Some(frames) = &frames else { return Ok(()) };
                for at in 0..count {
                    frames.print(frame(at).into()).await?;
                    tokio::time::sleep(FRAME_TIME).await;
                }
                anyhow::Ok(())
            })?;
            println!("printed");
            continue;
        }
        let mut left: usize = line.trim().parse()?;
        while left > 0 {
            // Memory of its own each time, as a program's output has.
            let message = Bytes::from(lines(MESSAGE_BYTES.min(left)));
            left -= message.len();
            runtime.block_on(feed.print(message))?;
        }
        println!("printed");
    }
    Ok(())
}
