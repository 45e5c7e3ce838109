//! A program that embeds a server, and whose sessions outlive it: `examples/keep.rs`, which this file runs as itself.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]

#[allow(dead_code, reason = "its main")]
#[path = "../examples/keep.rs"]
mod keep;

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use fugue_server::{Client, keeper, message::Create};

/// With this before a socket, it is the example.
const SERVE: &str = "serve";

fn main() -> ExitCode {
    if let Some(exit) = keeper::run() {
        return exit;
    }
    let arguments: Vec<_> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match &arguments[..] {
        [serve, socket] if serve == SERVE => runtime.block_on(keep::serve(Path::new(socket))).unwrap(),
        // The name of some other test, or a question for names.
        words if words.iter().any(|word| !word.starts_with('-') || word == "--list") => {}
        _ => {
            runtime.block_on(programs_of_an_embedder_outlive_it_if_it_says_so());
            println!("test programs_of_an_embedder_outlive_it_if_it_says_so ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// An embedding program's process, killed when dropped.
struct Embedder(Child);

impl Embedder {
    /// Runs the example until it serves.
    fn run(socket: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(SERVE).arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "serving\n");
        Self(process)
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn programs_of_an_embedder_outlive_it_if_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("kept/server.sock");
    let first = Embedder::run(&socket);
    let mut client = Client::connect(&socket).await.unwrap();
    let command = ["sh", "-c", "read word; exit 7"].map(|word| word.as_bytes().to_vec());
    let create = Create::new("work".parse().unwrap(), command.to_vec());
    let session = client.create(create).await.unwrap().id;
    drop(first);

    let mut second = Embedder::run(&socket);
    let mut client = Client::connect(&socket).await.unwrap();
    assert_eq!(client.list().await.unwrap()[0].id, session);
    client.input(session, "word\n").await.unwrap();
    assert_eq!(client.wait(session).await.unwrap().as_exit_code(), 7);
    drop(client);
    // It ends as its `main` does.
    drop(second.0.stdin.take());
    assert!(second.0.wait().unwrap().success());
}
