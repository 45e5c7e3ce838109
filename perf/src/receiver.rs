//! The clients of a measured system, in a process of their own: they connect, subscribe, and count what they are sent.
//!
//! They read into one buffer and look at no more than the framing, so that what is measured is the server. The harness
//! is told on standard output, a line each: `ready` once all are subscribed, and `lost N` whenever all that read have
//! another round's bytes, or the stream's end: how many bytes they were not sent.

use std::{
    cell::{Cell, RefCell},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, bail};
use fugue_server::{
    SessionId,
    message::{Attach, AttachOptions, ClientMessage, OnLag, StartAt, Target},
    wire::{self, HEADER_LEN, Hello, Kind},
};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;

/// What each client asks the kernel for at a time, in bytes.
const BUFFER: usize = 256 * 1024;

/// How long anything may take before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(String),
    /// A program for each client, which prints what it is sent.
    Command(Vec<String>),
}

/// How a client subscribes, and how what it is sent is framed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Protocol {
    /// Nothing to say, and every byte counts.
    Raw,
    /// Frames, of which output counts. Those that read are lossless, so that nothing is skipped for them.
    Fugue { session: SessionId },
    /// Messages of always the same size, in RESP.
    Redis { framing: u64 },
    /// `MSG` lines and their payloads, and now and then a `PING`.
    Nats,
    /// Messages of always the same size, in MQTT 3.1.1.
    Mqtt { framing: u64 },
    /// A packet to attach with, then what the program prints.
    Dtach,
    /// tmux's control mode: `%output` lines with escapes in octal.
    Tmux,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) protocol: Protocol,
    pub(crate) readers: usize,
    /// Clients that subscribe and then never read.
    pub(crate) stalled: usize,
    /// What each reader is to be sent in a round, framing apart, in bytes.
    pub(crate) round_bytes: u64,
    /// Bytes of each message's payload.
    pub(crate) message_bytes: u64,
}

/// The harness's end of a process of receivers. Kills it when dropped.
pub(crate) struct Receivers {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Receivers {
    /// Starts the process. Not all systems accept before they are asked to, so this does not wait.
    pub(crate) fn start(plan: &Plan) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["role-receive", &serde_json::to_string(plan)?])
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the receivers failed")?;
        let lines = BufReader::new(process.stdout.take().context("no output")?);
        Ok(Self { process, lines })
    }

    /// Waits until all are subscribed.
    pub(crate) fn ready(&mut self) -> anyhow::Result<()> {
        match self.line()?.trim() {
            "ready" => Ok(()),
            other => bail!("the receivers said {other:?} before they were ready"),
        }
    }

    /// Waits until all that read have a round's bytes, or the stream's end. Returns how many bytes were lost.
    pub(crate) fn round(&mut self) -> anyhow::Result<u64> {
        let line = self.line()?;
        let lost =
            line.trim().strip_prefix("lost ").with_context(|| format!("the receivers said {line:?}"))?;
        Ok(lost.parse()?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        // It may have failed and be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process itself.
pub(crate) fn run(plan: &str) -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_str(plan)?;
    let subscribe = |reads| Socket::subscribe(&plan.address, &plan.protocol, reads);
    let _stalled = (0..plan.stalled).map(|_| subscribe(false)).collect::<anyhow::Result<Vec<_>>>()?;
    let sockets = (0..plan.readers).map(|_| subscribe(true)).collect::<anyhow::Result<Vec<_>>>()?;
    say("ready")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let shared = Rc::new(Rounds {
            buffer: RefCell::new(vec![0; BUFFER]),
            finished: Cell::new(0),
            lost: Cell::new(0),
            readers: plan.readers as u64,
        });
        let mut reading = Vec::new();
        for (socket, early) in sockets {
            let counter = Counter::new(&plan.protocol, plan.message_bytes);
            let reader = read(socket, early, counter, plan.round_bytes, Rc::clone(&shared));
            reading.push(tokio::task::spawn_local(reader));
        }
        for task in reading {
            task.await??;
        }
        Ok(())
    }))
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// What the readers share.
struct Rounds {
    buffer: RefCell<Vec<u8>>,
    /// Rounds finished, summed over all readers.
    finished: Cell<u64>,
    /// Bytes of this round that did not come before the stream's end.
    lost: Cell<u64>,
    readers: u64,
}

impl Rounds {
    fn finish_one(&self, lost: u64) -> anyhow::Result<()> {
        self.finished.set(self.finished.get() + 1);
        self.lost.set(self.lost.get() + lost);
        // A round ends before the next begins, so the last of it makes the sum even.
        if self.finished.get().is_multiple_of(self.readers) {
            say(&format!("lost {}", self.lost.take()))?;
        }
        Ok(())
    }
}

async fn read(
    socket: Socket,
    early: Vec<u8>,
    mut counter: Counter,
    round_bytes: u64,
    rounds: Rc<Rounds>,
) -> anyhow::Result<()> {
    let socket = socket.into_tokio()?;
    let mut target = round_bytes;
    counter.count(&early)?;
    loop {
        while counter.payload >= target {
            if counter.payload > target {
                bail!("{} bytes came where a round ends at {target}", counter.payload);
            }
            target += round_bytes;
            rounds.finish_one(0)?;
        }
        socket.readable().await?;
        let mut buffer = rounds.buffer.borrow_mut();
        match socket.try_read(&mut buffer) {
            Ok(0) if counter.payload + round_bytes > target => {
                return rounds.finish_one(target - counter.payload);
            }
            Ok(0) => return Ok(()),
            Ok(read) => counter.count(&buffer[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Counts payload by its framing.
struct Counter {
    framing: Framing,
    payload: u64,
}

enum Framing {
    None,
    /// Bytes of a message and of its payload, and how far into a message the stream is.
    Fixed {
        message: u64,
        payload: u64,
        at: u64,
    },
    Frames {
        header: Vec<u8>,
        left: u64,
        counts: bool,
    },
    /// A line so far, and what is left of a payload and its line end.
    Nats {
        line: Vec<u8>,
        left: u64,
    },
    Tmux {
        line: Vec<u8>,
    },
}

impl Counter {
    fn new(protocol: &Protocol, message_bytes: u64) -> Self {
        let framing = match protocol {
            Protocol::Raw | Protocol::Dtach => Framing::None,
            Protocol::Tmux => Framing::Tmux { line: Vec::new() },
            Protocol::Fugue { .. } => Framing::Frames { header: Vec::new(), left: 0, counts: false },
            Protocol::Redis { framing } | Protocol::Mqtt { framing } => {
                Framing::Fixed { message: framing + message_bytes, payload: message_bytes, at: 0 }
            }
            Protocol::Nats => Framing::Nats { line: Vec::new(), left: 0 },
        };
        Self { framing, payload: 0 }
    }

    fn count(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.framing {
            Framing::None => self.payload += bytes.len() as u64,
            Framing::Fixed { message, payload, at } => {
                *at += bytes.len() as u64;
                self.payload += *at / *message * *payload;
                *at %= *message;
            }
            Framing::Frames { header, left, counts } => {
                while !bytes.is_empty() {
                    if *left > 0 {
                        let here = bytes.len().min(usize::try_from(*left)?);
                        if *counts {
                            self.payload += here as u64;
                        }
                        *left -= here as u64;
                        bytes = &bytes[here..];
                        continue;
                    }
                    let missing = (HEADER_LEN - header.len()).min(bytes.len());
                    header.extend_from_slice(&bytes[..missing]);
                    bytes = &bytes[missing..];
                    if let Some(whole) = header.first_chunk::<HEADER_LEN>() {
                        let [l0, l1, l2, l3, kind, _, _, _, offset @ ..] = *whole;
                        *left = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
                        *counts = kind == Kind::Output as u8;
                        if *counts && u64::from_le_bytes(offset) != self.payload {
                            bail!("output at {} came after {}", u64::from_le_bytes(offset), self.payload);
                        }
                        header.clear();
                    }
                }
            }
            Framing::Tmux { line } => {
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    line.extend_from_slice(piece);
                    if piece.ends_with(b"\n") {
                        self.payload += tmux_output(line);
                        line.clear();
                    }
                }
            }
            Framing::Nats { line, left } => {
                while !bytes.is_empty() {
                    if *left > 0 {
                        let here = bytes.len().min(usize::try_from(*left)?);
                        // The two of the line end are not payload.
                        self.payload += (here as u64).min(left.saturating_sub(2));
                        *left -= here as u64;
                        bytes = &bytes[here..];
                        continue;
                    }
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let here = end.map_or(bytes.len(), |end| end + 1);
                    line.extend_from_slice(&bytes[..here]);
                    bytes = &bytes[here..];
                    if end.is_some() {
                        let text = String::from_utf8_lossy(line).into_owned();
                        match text.split_whitespace().collect::<Vec<_>>()[..] {
                            ["MSG", .., size] => *left = size.parse::<u64>()? + 2,
                            ["PING"] => {}
                            _ => bail!("nats said {text:?}"),
                        }
                        line.clear();
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many bytes of output a line of control mode stands for.
fn tmux_output(line: &[u8]) -> u64 {
    let Some(rest) = line.strip_prefix(b"%output %") else { return 0 };
    let Some(space) = rest.iter().position(|byte| *byte == b' ') else { return 0 };
    let data = rest[space + 1..].strip_suffix(b"\n").unwrap_or(&rest[space + 1..]);
    let escapes = data.iter().filter(|byte| **byte == b'\\').count();
    (data.len() - 3 * escapes) as u64
}

pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Program(Program),
}

/// A client program. It ends when this drops, with its input.
pub(crate) struct Program {
    process: Child,
    output: ChildStdout,
}

impl Socket {
    pub(crate) fn connect(address: &Address) -> anyhow::Result<Self> {
        let connected = match address {
            // A full backlog refuses at once; it is accepted from all the time.
            Address::Unix(path) => loop {
                match UnixStream::connect(path) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                    connected => break Self::Unix(connected?),
                }
            },
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
            Address::Command(words) => {
                let (program, arguments) = words.split_first().context("no program")?;
                let mut command = Command::new(program);
                command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut process = command.spawn().with_context(|| format!("starting {program} failed"))?;
                let output = process.stdout.take().context("no output")?;
                return Ok(Self::Program(Program { process, output }));
            }
        };
        match &connected {
            Self::Unix(stream) => stream.set_read_timeout(Some(PATIENCE))?,
            Self::Tcp(stream) => stream.set_read_timeout(Some(PATIENCE))?,
            Self::Program(_) => {}
        }
        Ok(connected)
    }

    /// Connects and subscribes; returns what of the stream came with the answer.
    pub(crate) fn subscribe(
        address: &Address,
        protocol: &Protocol,
        reads: bool,
    ) -> anyhow::Result<(Self, Vec<u8>)> {
        let mut socket = Self::connect(address)?;
        let early = match protocol {
            Protocol::Raw => Vec::new(),
            Protocol::Dtach => {
                // Type 1 is an attach; the rest of the packet has no meaning then.
                socket.write_all(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
                Vec::new()
            }
            Protocol::Tmux => socket.read_past(b"%session-changed")?,
            Protocol::Fugue { session } => {
                socket.write_all(&Hello::encode())?;
                let on_lag = if reads { OnLag::Lossless } else { OnLag::Resync };
                let view = AttachOptions::new(StartAt::Oldest, on_lag);
                let attach = ClientMessage::Attach(Attach::new(Target::Id(*session), view));
                socket.write_all(&wire::encode_request(1, &attach)?)?;
                // The welcome and the reply.
                socket.read_frame()?;
                socket.read_frame()?;
                Vec::new()
            }
            Protocol::Redis { .. } => {
                socket.write_all(b"SUBSCRIBE c\r\n")?;
                socket.read_past(b":1\r\n")?
            }
            Protocol::Nats => {
                socket.write_all(b"CONNECT {\"verbose\":false}\r\nSUB c 1\r\nPING\r\n")?;
                socket.read_past(b"PONG\r\n")?
            }
            Protocol::Mqtt { .. } => {
                // A session of its own, without keep-alive; then the topic, at most once.
                socket.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0")?;
                socket.read_past(b"\x20\x02\0\0")?;
                socket.write_all(b"\x82\x06\0\x01\0\x01c\0")?;
                socket.read_past(b"\x90\x03\0\x01\0")?
            }
        };
        Ok((socket, early))
    }

    fn read_frame(&mut self) -> anyhow::Result<()> {
        let mut header = [0; HEADER_LEN];
        self.read_exact(&mut header)?;
        let [l0, l1, l2, l3, ..] = header;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3]))?;
        Ok(self.read_exact(&mut vec![0; length])?)
    }

    /// Reads until `mark` was read; returns what came after it.
    pub(crate) fn read_past(&mut self, mark: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let more = self.read(&mut buffer)?;
            if more == 0 {
                bail!("closed after {:?}", String::from_utf8_lossy(&read));
            }
            read.extend_from_slice(&buffer[..more]);
            if let Some(at) = read.windows(mark.len()).position(|window| window == mark) {
                return Ok(read.split_off(at + mark.len()));
            }
        }
    }

    fn into_tokio(self) -> anyhow::Result<Readable> {
        Ok(match self {
            Self::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Readable::Unix(tokio::net::UnixStream::from_std(stream)?)
            }
            Self::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                Readable::Tcp(tokio::net::TcpStream::from_std(stream)?)
            }
            Self::Program(Program { process, output }) => {
                let output = pipe::Receiver::from_owned_fd(output.into())?;
                Readable::Program { output, _input: process }
            }
        })
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Program(program) => program.output.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
            Self::Program(program) => {
                program.process.stdin.as_mut().map_or(Ok(0), |input| input.write(bytes))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum Readable {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
    Program { output: pipe::Receiver, _input: Child },
}

impl Readable {
    async fn readable(&self) -> std::io::Result<()> {
        match self {
            Self::Unix(stream) => stream.readable().await,
            Self::Tcp(stream) => stream.readable().await,
            Self::Program { output, .. } => output.readable().await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_read(buffer),
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Program { output, .. } => output.try_read(buffer),
        }
    }
}
