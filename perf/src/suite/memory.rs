//! What a client costs the server in memory: one that is idle, and one that does not read while its session floods.

use std::{fs, path::Path};

use anyhow::Context;

use crate::{
    receiver::{Address, Protocol, Socket},
    row::Row,
    served::Served,
    suite::Scale,
    system::{Load, Rig, System},
};

/// Much more than the history and a connection hold, in bytes.
const FLOOD: usize = 64 * 1024 * 1024;

/// A server's resident memory at several moments, in bytes.
struct Measured {
    empty: f64,
    idle: f64,
    /// After a flood that nobody reads.
    stalled: f64,
}

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let counts: &[usize] = if scale.quick { &[1, 1000] } else { &[1, 1000, 9000] };
    for &clients in counts {
        let mut idle = Vec::new();
        let mut stalled = Vec::new();
        for _ in 0..scale.rounds.min(3) {
            let alone = fugue(0)?;
            let with = fugue(clients)?;
            let per_client = |bytes: f64| bytes / clients as f64;
            idle.push(per_client(with.idle - with.empty));
            // The flood leaves its history with or without clients.
            stalled.push(per_client((with.stalled - with.idle) - (alone.stalled - alone.empty)));
        }
        rows.push(row("idle", "fugue", clients).with_samples(idle));
        rows.push(row("stalled, beyond idle", "fugue", clients).with_samples(stalled));
        for (name, system) in
            [("redis", System::Redis), ("nats", System::Nats), ("mosquitto", System::Mosquitto)]
        {
            let samples =
                (0..scale.rounds.min(3)).map(|_| peer(system, clients)).collect::<anyhow::Result<_>>();
            rows.push(match samples {
                Ok(samples) => row("idle", name, clients).with_samples(samples),
                Err(error) => Row { reason: Some(format!("{error:#}")), ..row("idle", name, clients) },
            });
        }
    }
    Ok(rows)
}

fn row(case: &str, system: &'static str, clients: usize) -> Row {
    Row {
        suite: "memory",
        case: case.to_owned(),
        system,
        n: clients as u64,
        metric: "bytes_per_client",
        unit: "bytes",
        ..Row::default()
    }
}

fn fugue(clients: usize) -> anyhow::Result<Measured> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let mut server = Served::start(&socket)?;
    let empty = resident(server.pid())?;
    let protocol = Protocol::Fugue { session: server.session };
    let sockets = subscribe(clients, &Address::Unix(socket), &protocol)?;
    let idle = resident(server.pid())?;
    server.print(FLOOD)?;
    let stalled = resident(server.pid())?;
    drop(sockets);
    Ok(Measured { empty, idle, stalled })
}

fn peer(system: System, clients: usize) -> anyhow::Result<f64> {
    let rig = Rig::start(system, Load { readers: 1, stalled: 0, message_bytes: 64, messages: 1 })?;
    let (pid, address, protocol) = rig.broker().context("it has no process of its own")?;
    let empty = resident(pid)?;
    let sockets = subscribe(clients, address, protocol)?;
    let idle = resident(pid)?;
    drop(sockets);
    Ok((idle - empty) / clients as f64)
}

fn subscribe(clients: usize, address: &Address, protocol: &Protocol) -> anyhow::Result<Vec<Socket>> {
    (0..clients).map(|_| Ok(Socket::subscribe(address, protocol, false)?.0)).collect()
}

/// A process's resident memory, in bytes.
fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024.0)
}
