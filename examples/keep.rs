//! A server in a program of one's own, whose sessions outlive it.
//!
//! ```sh
//! cargo run --example keep -- /tmp/kept/server.sock
//! ```
//!
//! Kill it by `kill -9`, and run it again: what `fugue-server --socket /tmp/kept/server.sock new` started goes on.
//! Ctrl-D ends it, and its sessions.

use std::{error::Error, io, path::Path, process::ExitCode};

use fugue_server::{Server, keeper};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // First of all: as this the program is started again, to hold what runs and to become it.
    if let Some(exit) = keeper::run() {
        return Ok(exit);
    }
    let socket = std::env::args_os().nth(1).ok_or("usage: keep SOCKET")?;
    tokio::runtime::Runtime::new()?.block_on(serve(Path::new(&socket)))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn serve(socket: &Path) -> Result<(), Box<dyn Error>> {
    let server = Server::builder(socket).keep_programs().bind()?;
    // Before anybody is served: what an earlier one left.
    server.take_over().await?;
    println!("serving");
    let stdin_ends = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    server.serve(async { drop(stdin_ends.await) }).await;
    Ok(())
}
