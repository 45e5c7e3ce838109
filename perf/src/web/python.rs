//! Peers from PyPI. Each runs a program once and shows it to all. `FUGUE_PEERS` names a Python that has them, if that
//! is not `python3`.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail};

use super::{PATIENCE, Place, Process, Shown, ShownProgram, page::Protocol, start_process};

pub(super) fn terminado(programs: &[Vec<String>]) -> anyhow::Result<Shown> {
    let words = serde_json::to_string(programs)?;
    let (process, address) = run(include_str!("../../peers/terminado.py"), &[words], "terminado")?;
    let gateway = Some(process.0.id());
    let place = |number| Place { address, path: format!("/{number}"), protocol: Protocol::Terminado };
    let shown = (0..programs.len()).map(|number| both(place(number))).collect();
    Ok(Shown { programs: shown, gateway, server: None, _parts: vec![Box::new(process)] })
}

/// It shows one program, so each has a process.
pub(super) fn pyxtermjs(programs: &[Vec<String>]) -> anyhow::Result<Shown> {
    let mut shown = Shown { programs: Vec::new(), gateway: None, server: None, _parts: Vec::new() };
    for program in programs {
        let packages = "pyxtermjs and simple-websocket";
        let (process, address) = run(include_str!("../../peers/pyxtermjs.py"), program, packages)?;
        shown.gateway.get_or_insert(process.0.id());
        let path = "/socket.io/?EIO=4&transport=websocket".to_owned();
        shown.programs.push(both(Place { address, path, protocol: Protocol::Pyxtermjs }));
        shown._parts.push(Box::new(process));
    }
    Ok(shown)
}

fn both(place: Place) -> ShownProgram {
    ShownProgram { watch: place.clone(), typing: place }
}

fn run(script: &str, arguments: &[String], packages: &str) -> anyhow::Result<(Process, SocketAddr)> {
    let python = std::env::var("FUGUE_PEERS").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    let absent =
        || format!("not installed; PyPI's {packages} bring it, and FUGUE_PEERS names a Python with them");
    let (process, line) = start_process(command.args(["-c", script]).args(arguments)).with_context(absent)?;
    let address = line.parse().with_context(absent)?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > PATIENCE {
            bail!("it does not listen");
        }
        std::thread::yield_now();
    }
    Ok((process, address))
}
