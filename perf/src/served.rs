//! A server in a process of its own, so that its memory can be told apart from its clients'.
//!
//! It says the id of a session that is printed to from memory, and then prints as many bytes as each line it reads says,
//! answering with a line once they are out of its hands.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;
use bytes::Bytes;
use fugue_server::{Server, SessionId, TerminalSize, message::Pace};

use crate::role::lines;

const MESSAGE_BYTES: usize = 64 * 1024;
/// More than any suite connects.
const MAX_CLIENTS: usize = 12_000;

/// The harness's end. Kills it when dropped.
pub(crate) struct Served {
    process: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
    pub(crate) session: SessionId,
}

impl Served {
    pub(crate) fn start(socket: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("role-serve")
            .arg(socket)
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
        writeln!(self.input, "{bytes}")?;
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
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
pub(crate) fn run(socket: &Path) -> anyhow::Result<()> {
    let runtime = crate::system::runtime()?;
    let inside = runtime.enter();
    let server = Server::builder(socket).max_clients(MAX_CLIENTS).bind()?;
    let feed = server.feeds().start("feed".parse()?, TerminalSize::DEFAULT, Pace::Free)?;
    runtime.spawn(server.serve(std::future::pending()));
    drop(inside);
    println!("{}", feed.session());
    for line in std::io::stdin().lines() {
        let mut left: usize = line?.trim().parse()?;
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
