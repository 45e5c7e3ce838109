//! What a client costs the server in memory: one that is idle, one that does not read while its session floods, and one
//! that ran a session of its own to its end and is idle again.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use anyhow::Context;
use fugue_server::{
    message::{AttachOptions, ClientMessage, Create, Event, OnLag, StartAt},
    wire::{self, HEADER_LEN, Hello, Kind},
};

use crate::{
    process::resident,
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
        let ended = (0..scale.rounds.min(3)).map(|_| after_a_session(clients));
        let (connected, after): (Vec<_>, Vec<_>) =
            ended.collect::<anyhow::Result<Vec<_>>>()?.into_iter().unzip();
        rows.push(row("connected", "fugue", clients).with_samples(connected));
        rows.push(row("connected, after a session each", "fugue", clients).with_samples(after));
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

/// What a client takes that is connected, and what it takes once it ran a session to its end.
fn after_a_session(clients: usize) -> anyhow::Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let server = Served::start(&socket)?;
    let connect = || {
        let mut client = UnixStream::connect(&socket)?;
        client.write_all(&Hello::encode())?;
        read_frame(&mut client)?;
        anyhow::Ok(client)
    };
    let run = |client: &mut UnixStream| {
        let mut create = Create::new("a".parse()?, vec![b"/bin/true".to_vec()]);
        create.attach = Some(AttachOptions::new(StartAt::Oldest, OnLag::Resync));
        client.write_all(&wire::encode_request(1, &ClientMessage::Create(create))?)?;
        loop {
            match read_frame(client)? {
                (kind, payload) if kind == Kind::Event as u8 => {
                    if let Event::Ended { .. } = wire::decode_event(&payload)? {
                        return anyhow::Ok(());
                    }
                }
                (kind, payload) if kind == Kind::Reply as u8 => drop(wire::decode_reply(&payload)??),
                _ => {}
            }
        }
    };
    // The sessions that are remembered, and what a first one sets up, are not the clients'.
    for _ in 0..100 {
        run(&mut connect()?)?;
    }
    let before = resident(server.pid())?;
    let mut connected = (0..clients).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let idle = resident(server.pid())?;
    connected.iter_mut().try_for_each(run)?;
    let after = resident(server.pid())?;
    Ok(((idle - before) / clients as f64, (after - before) / clients as f64))
}

/// A frame's kind and payload.
fn read_frame(client: &mut UnixStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER_LEN];
    client.read_exact(&mut header)?;
    let [l0, l1, l2, l3, kind, ..] = header;
    let mut payload = vec![0; u32::from_le_bytes([l0, l1, l2, l3]) as usize];
    client.read_exact(&mut payload)?;
    Ok((kind, payload))
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
