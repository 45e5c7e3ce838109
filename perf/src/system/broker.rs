//! Brokers that people use to hand messages to many: started on a socket of their own or on loopback, with limits that
//! disconnect nobody, and stopped when dropped.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;

use super::{FanOut, Starting};
use crate::receiver::{Address, Protocol, Socket};

/// How long a broker may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Broker {
    process: Child,
    publisher: Socket,
    /// What comes before a payload, and after it.
    before: Vec<u8>,
    after: &'static [u8],
    /// What asks for a sign that all before it was taken, and that sign.
    flush: (&'static [u8], &'static [u8]),
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It is a process of ours that keeps nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn redis(starting: &mut Starting<'_>) -> anyhow::Result<Broker> {
    let socket = starting.directory.join("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--maxclients", "12000"]);
    command.args(["--client-output-buffer-limit", "pubsub 0 0 0", "--unixsocket"]).arg(&socket);
    let (process, publisher) =
        launch(command, "redis-server", &Address::Unix(socket.clone()), starting.directory)?;
    let bytes = starting.load.message_bytes;
    let framing = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${bytes}\r\n\r\n").len() as u64;
    starting.subscribe(Address::Unix(socket), Protocol::Redis { framing })?;
    let before = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n${bytes}\r\n").into_bytes();
    Ok(Broker { process, publisher, before, after: b"\r\n", flush: (b"PING\r\n", b"+PONG\r\n") })
}

pub(super) fn nats(starting: &mut Starting<'_>) -> anyhow::Result<Broker> {
    let limits =
        "max_pending: 4GB\nwrite_deadline: \"120s\"\nping_interval: \"1h\"\nmax_connections: 12000\n";
    let (process, address, mut publisher) = start_nats(starting.directory, limits)?;
    publisher.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
    publisher.read_past(b"PONG\r\n")?;
    starting.subscribe(Address::Tcp(address), Protocol::Nats)?;
    let before = format!("PUB c {}\r\n", starting.load.message_bytes).into_bytes();
    Ok(Broker { process, publisher, before, after: b"\r\n", flush: (b"PING\r\n", b"PONG\r\n") })
}

/// A nats-server with these lines in its configuration, its address, and a first connection to it.
pub(crate) fn start_nats(directory: &Path, configuration: &str) -> anyhow::Result<(Child, String, Socket)> {
    let address = free_address()?;
    let config = directory.join("nats.conf");
    fs::write(&config, format!("listen: \"{address}\"\n{configuration}"))?;
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(&config);
    let (process, connection) = launch(command, "nats-server", &Address::Tcp(address.clone()), directory)?;
    Ok((process, address, connection))
}

pub(super) fn mosquitto(starting: &mut Starting<'_>) -> anyhow::Result<Broker> {
    let socket = starting.directory.join("mosquitto.sock");
    let config = starting.directory.join("mosquitto.conf");
    let limits =
        "user root\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\nlog_type error\n";
    fs::write(&config, format!("listener 0 {}\n{limits}", socket.display()))?;
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(&config);
    let (process, mut publisher) =
        launch(command, "mosquitto", &Address::Unix(socket.clone()), starting.directory)?;
    publisher.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0")?;
    publisher.read_past(b"\x20\x02\0\0")?;
    // Published at most once, to the topic `c`.
    let mut before = vec![0x30];
    let mut length = starting.load.message_bytes + 3;
    while length > 0x7f {
        before.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    before.extend([length as u8, 0, 1, b'c']);
    starting.subscribe(Address::Unix(socket), Protocol::Mqtt { framing: before.len() as u64 })?;
    Ok(Broker { process, publisher, before, after: b"", flush: (b"\xc0\0", b"\xd0\0") })
}

/// Starts a broker, and connects to it once it accepts.
fn launch(
    mut command: Command,
    package: &str,
    address: &Address,
    directory: &Path,
) -> anyhow::Result<(Child, Socket)> {
    let log = fs::File::create(directory.join("log"))?;
    command.current_dir(directory).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut process = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("not installed; Debian's package {package} brings it")
        }
        spawned => spawned?,
    };
    let start = Instant::now();
    loop {
        match Socket::connect(address) {
            Ok(publisher) => return Ok((process, publisher)),
            Err(_) if start.elapsed() < PATIENCE && process.try_wait()?.is_none() => std::thread::yield_now(),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                return Err(error).with_context(|| format!("{package} did not accept: {log}"));
            }
        }
    }
}

/// An address on loopback that was free a moment ago.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

impl FanOut for Broker {
    fn publish(&mut self, message: &Bytes, times: u64) -> anyhow::Result<()> {
        let frame = [&self.before[..], message, self.after].concat();
        for _ in 0..times {
            self.publisher.write_all(&frame)?;
        }
        // Its answers to what was published are read along the way to this one, so that it is never kept waiting.
        self.publisher.write_all(self.flush.0)?;
        self.publisher.read_past(self.flush.1)?;
        Ok(())
    }

    fn process(&self) -> Option<u32> {
        Some(self.process.id())
    }
}
