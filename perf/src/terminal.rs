//! The measured systems that broadcast a PTY: each runs a program on one, and many watch.

use std::{
    io::{Read, Write},
    os::unix::{
        ffi::OsStrExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fugue_server::{
    Client, Server, SessionId,
    message::{Create, Pace, SessionInfo, SizePolicy},
};
use tokio::runtime::Runtime;

use crate::receiver::{Address, Plan, Protocol, Receivers};

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// With a model of the screen, or none; with programs that outlive the server, or end with it.
    Fugue {
        model: bool,
        kept: bool,
    },
    Floor,
    Dtach,
    Tmux,
}

/// Who watches a program that prints how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) readers: usize,
    pub(crate) stalled: usize,
    pub(crate) bytes: u64,
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From telling the program to begin until the last reader had everything, or the end.
    pub(crate) took: Duration,
    /// Summed over the readers.
    pub(crate) lost: u64,
}

/// Runs the program once, for one audience.
pub(crate) fn run(system: System, load: Load) -> anyhow::Result<Run> {
    let directory = tempfile::tempdir()?;
    let at = directory.path();
    let ready = at.join("ready");
    let program = role_program(&["role-print", &load.bytes.to_string(), &ready.display().to_string()])?;
    match system {
        System::Fugue { model, kept } => fugue(at, &program, load, (model, kept)),
        System::Floor => floor(at, &program, load),
        System::Dtach => dtach(at, &program, load),
        System::Tmux => tmux(at, &program, load),
    }
}

/// This binary in one of its roles.
pub(crate) fn role_program(arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let own = std::env::current_exe()?.display().to_string();
    Ok([own.as_str()].iter().chain(arguments).map(ToString::to_string).collect())
}

fn receivers(load: Load, address: Address, protocol: Protocol) -> anyhow::Result<Receivers> {
    Receivers::start(&Plan {
        address,
        protocol,
        readers: load.readers,
        stalled: load.stalled,
        round_bytes: load.bytes,
        message_bytes: load.bytes,
    })
}

/// Tells the program to begin, and waits until the readers have it all.
fn measure(
    at: &Path,
    receivers: &mut Receivers,
    begin: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Run> {
    receivers.ready()?;
    // Started long ago, as a rule.
    while !at.join("ready").exists() {
        std::thread::yield_now();
    }
    let start = Instant::now();
    begin()?;
    let lost = receivers.round()?;
    Ok(Run { took: start.elapsed(), lost })
}

fn fugue(at: &Path, program: &[String], load: Load, (model, kept): (bool, bool)) -> anyhow::Result<Run> {
    let socket = at.join("fugue/server.sock");
    let runtime: Runtime = crate::system::runtime()?;
    let inside = runtime.enter();
    let mut server = Server::builder(&socket).max_clients(load.readers + load.stalled + 1);
    if !model {
        server = server.no_screen_model();
    }
    if kept {
        server = server.keep_programs();
    }
    runtime.spawn(server.bind()?.serve(std::future::pending()));
    drop(inside);
    let (mut control, session) = runtime.block_on(create(&socket, program))?;
    let mut receivers = receivers(load, Address::Unix(socket), Protocol::Fugue { session })?;
    measure(at, &mut receivers, || runtime.block_on(control.input(session, "\n")).map_err(Into::into))
}

/// Starts a program in a session of its own; returns the connection that it was started through.
pub(crate) async fn create(socket: &Path, program: &[String]) -> anyhow::Result<(Client, SessionId)> {
    let (control, session) = create_paced(socket, program, Pace::default()).await?;
    Ok((control, session.id))
}

/// The same, of a session of this pace.
pub(crate) async fn create_paced(
    socket: &Path,
    program: &[String],
    pace: Pace,
) -> anyhow::Result<(Client, SessionInfo)> {
    let mut control = Client::connect(socket).await?;
    let variables = std::env::vars_os().map(|(key, value)| (bytes(&key), bytes(&value)));
    let words = program.iter().map(|word| word.clone().into_bytes());
    let mut create = Create::new(format!("session-{}", control.id().0).parse()?, words.collect());
    create.env = variables.collect();
    (create.size_policy, create.pace) = (SizePolicy::Fixed, pace);
    let session = control.create(create).await?;
    Ok((control, session))
}

fn bytes(word: &std::ffi::OsStr) -> Vec<u8> {
    word.as_bytes().to_vec()
}

/// A bare loop that reads the PTY and writes to every socket in turn.
fn floor(at: &Path, program: &[String], load: Load) -> anyhow::Result<Run> {
    let socket = at.join("floor.sock");
    let listener = UnixListener::bind(&socket)?;
    let mut receivers = receivers(load, Address::Unix(socket), Protocol::Raw)?;
    let accept = |_| Ok(listener.accept()?.0);
    let sockets = (0..load.readers + load.stalled).map(accept).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut pty, slave) = pty_process::blocking::open()?;
    let mut child = pty_process::blocking::Command::new(&program[0]).args(&program[1..]).spawn(slave)?;
    let mut copying = None;
    let run = measure(at, &mut receivers, || {
        pty.write_all(b"\n")?;
        copying = Some(copy(pty, sockets));
        Ok(())
    });
    child.wait()?;
    if let Some(copying) = copying {
        copying.join().ok().context("the loop failed")?;
    }
    run
}

fn copy(mut pty: pty_process::blocking::Pty, mut sockets: Vec<UnixStream>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        // It ends with an error once the program is gone.
        while let Ok(read) = pty.read(&mut buffer) {
            for socket in &mut sockets {
                if socket.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
        }
    })
}

fn dtach(at: &Path, program: &[String], load: Load) -> anyhow::Result<Run> {
    let socket = at.join("dtach.sock");
    let mut command = Command::new("dtach");
    command.arg("-N").arg(&socket).args(["-E", "-z"]).args(program);
    let mut master = Process(start(command, "dtach")?);
    wait_for(&socket, &mut master)?;
    let mut receivers = receivers(load, Address::Unix(socket.clone()), Protocol::Dtach)?;
    measure(at, &mut receivers, || {
        // A packet of one typed byte.
        let mut typing = UnixStream::connect(&socket)?;
        Ok(typing.write_all(&[0, 1, b'\n', 0, 0, 0, 0, 0, 0, 0])?)
    })
}

fn tmux(at: &Path, program: &[String], load: Load) -> anyhow::Result<Run> {
    let socket = at.join("tmux.sock").display().to_string();
    let tmux = |arguments: &[&str]| {
        let mut command = Command::new("tmux");
        command.args(["-S", &socket, "-f", "/dev/null"]).args(arguments).env_remove("TMUX");
        command
    };
    let mut new = vec!["new-session", "-d", "-s", "bench", "-x", "80", "-y", "24"];
    new.extend(program.iter().map(String::as_str));
    if !start(tmux(&new), "tmux")?.wait()?.success() {
        bail!("tmux did not start a session");
    }
    let stop = Stop(tmux(&["kill-server"]));
    let words = ["tmux", "-S", &socket, "-C", "attach", "-t", "bench"].map(str::to_owned).to_vec();
    let mut receivers = receivers(load, Address::Command(words), Protocol::Tmux)?;
    let run = measure(at, &mut receivers, || {
        let typed = start(tmux(&["send-keys", "-t", "bench", "Enter"]), "tmux")?.wait()?;
        if typed.success() { Ok(()) } else { bail!("tmux did not type") }
    });
    drop(stop);
    run
}

/// Ends with the measurement.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What stops a server when dropped.
struct Stop(Command);

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = self.0.stderr(Stdio::null()).status();
    }
}

fn start(mut command: Command, package: &str) -> anyhow::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("not installed; Debian's package {package} brings it")
        }
        spawned => Ok(spawned?),
    }
}

fn wait_for(socket: &Path, process: &mut Process) -> anyhow::Result<()> {
    while UnixStream::connect(socket).is_err() {
        if process.0.try_wait()?.is_some() {
            bail!("it ended at once");
        }
        std::thread::yield_now();
    }
    Ok(())
}
