//! What shows a program to browsers: this project's gateway, a bare loop, and the peers. Each is started with the same
//! programs, as processes of its own, and its viewers are websockets (`page`, and `viewers` for many).

mod bare;
mod fugue;
mod page;
mod python;
mod viewers;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use tokio::runtime::Runtime;

pub(crate) use self::{
    page::{Page, Place},
    viewers::{ViewerPlan, Viewers, hash_of_lines, run, say},
};

/// How long a system may take to start, and to do what it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// The binary's server, and its gateway.
    Fugue,
    Bare,
    Terminado,
    Pyxtermjs,
}

/// A running system. Ends when dropped.
pub(crate) struct Shown {
    /// Where each program is watched and typed to, in the order that they were given in.
    pub(crate) programs: Vec<ShownProgram>,
    /// The process that the websockets lead to, if it is not this one.
    pub(crate) gateway: Option<u32>,
    /// The server behind it, and its socket.
    pub(crate) server: Option<(u32, std::path::PathBuf)>,
    /// What ends with it, in this order.
    _parts: Vec<Box<dyn Send>>,
}

/// Where a program is watched, and where it is typed to.
#[derive(Clone, Debug)]
pub(crate) struct ShownProgram {
    pub(crate) watch: Place,
    pub(crate) typing: Place,
}

impl Shown {
    /// Starts a system that shows these programs. Some start a program only when it is first watched.
    pub(crate) fn start(
        system: System,
        directory: &Path,
        programs: &[Vec<String>],
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        match system {
            System::Fugue => fugue::start(directory, programs, runtime),
            System::Bare => bare::start(programs),
            System::Terminado => python::terminado(programs),
            System::Pyxtermjs => python::pyxtermjs(programs),
        }
    }

    /// Has a program begin that waits for a line, and waits until it prints.
    pub(crate) fn begin(&self, program: usize, runtime: &Runtime) -> anyhow::Result<()> {
        runtime.block_on(async {
            let begun = async {
                let mut page = Page::open(&self.programs[program].typing).await?;
                page.type_in(b"\n").await?;
                page.next().await
            };
            tokio::time::timeout(PATIENCE, begun).await.context("the program did not begin")??;
            Ok(())
        })
    }
}

/// A process that ends with the measurement.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process that says where it listens in its first line.
pub(crate) fn start_process(command: &mut Command) -> anyhow::Result<(Process, String)> {
    use std::io::{BufRead, BufReader};

    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take();
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(output.context("no output")?).read_line(&mut line)?;
    Ok((process, line.trim().to_owned()))
}
