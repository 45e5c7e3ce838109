//! This project: the binary's server and its gateway, each a process.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use fugue_server::{
    Client,
    message::{Access, Share},
};
use tokio::runtime::Runtime;

use super::{PATIENCE, Place, Process, Shown, ShownProgram, page::Protocol, start_process};
use crate::{process::binary, terminal::create};

/// More than is printed, so that no viewer that reads ever finds a gap.
const HISTORY: &str = "256MiB";

pub(super) fn start(directory: &Path, programs: &[Vec<String>], runtime: &Runtime) -> anyhow::Result<Shown> {
    let binary = binary()?;
    let socket = directory.join("web/server.sock");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.arg("--socket").arg(&socket).args(arguments).env("FUGUE_CONFIG", "").stderr(Stdio::null());
        command
    };
    let mut serve = command(&["serve", "--history", HISTORY]);
    let mut server = Process(serve.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    let begun = Instant::now();
    while UnixStream::connect(&socket).is_err() {
        if server.0.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
            bail!("the server did not start");
        }
        std::thread::yield_now();
    }
    let server_id = server.0.id();
    let (gateway, address) =
        start_process(&mut command(&["web", "--listen", "127.0.0.1:0", "--max-viewers", "300"]))?;
    let gateway_id = gateway.0.id();
    let address = address
        .parse()
        .context("the gateway did not start; build it: cargo build --release --features web")?;
    let shown = |token| Place { address, path: "/ws".to_owned(), protocol: Protocol::Fugue { token } };
    let show = async |program: &Vec<String>| {
        let (mut control, session): (Client, _) = create(&socket, program).await?;
        let watch = control.share(Share::of(session.into())).await?.token;
        let share = Share::of(session.into()).with_access(Access::ReadWrite);
        let typing = control.share(share).await?.token;
        anyhow::Ok(ShownProgram { watch: shown(watch.to_string()), typing: shown(typing.to_string()) })
    };
    let mut places = Vec::new();
    for program in programs {
        places.push(runtime.block_on(show(program))?);
    }
    // Programs are not the server's, but of a process beside it, which a server that is told to stop ends.
    let stop = Stop(command(&["stop"]));
    Ok(Shown {
        programs: places,
        gateway: Some(gateway_id),
        server: Some((server_id, socket)),
        _parts: vec![Box::new(gateway), Box::new(stop), Box::new(server)],
    })
}

/// What stops a server when dropped.
struct Stop(Command);

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = self.0.stdout(Stdio::null()).status();
    }
}
