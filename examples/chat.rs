//! A line chat over TCP: the registry as any server with rooms would use it.
//!
//! ```sh
//! cargo run --no-default-features --example chat
//! nc 127.0.0.1 7007        # in two other terminals; `/join garden` goes to another room
//! ```
//!
//! One task for each connection reads what its person says and writes what the others say. It never waits for another
//! connection: a broadcast skips a person whose queue is full, and that person is told how many lines are missing.

use std::{io, sync::Arc};

use fugue_server::{ClientId, ClientRegistry, SessionId};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// One allocation a line, however many it is sent to.
type Registry = ClientRegistry<Arc<str>>;

/// Lines that wait for a person whose connection is slow, before more are skipped.
const QUEUE: usize = 64;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7007").await?;
    println!("nc {}", listener.local_addr()?.to_string().replace(':', " "));
    serve(listener).await
}

/// Lets people in, forever.
pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    // Told once of each client that is gone, whatever found that out.
    let registry = Registry::builder().on_departure(|registry, gone| {
        if let Some(left) = gone.detached {
            let _ = registry.broadcast_to_session(left.session, said(gone.client, "has left"));
        }
    });
    let registry = registry.build().map_err(io::Error::other)?;
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(talk(registry.clone(), connection));
    }
}

/// One person, from the first line to the last.
async fn talk(registry: Registry, connection: TcpStream) -> io::Result<()> {
    let (read, mut write) = connection.into_split();
    let (sender, mut queue) = mpsc::channel(QUEUE);
    let me = registry.next_client_id();
    // Unregisters when it is dropped, so on every way out of here.
    let _registered = registry.register_guarded(me, sender).map_err(io::Error::other)?;
    let mut room = SessionId::named("lobby");
    registry.attach_to_session(me, room).map_err(io::Error::other)?;

    // (A server for strangers would bound the length of a line.)
    let mut lines = BufReader::new(read).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                None => return Ok(()),
                Some(line) => match line.strip_prefix("/join ") {
                    // Leaves the one room and enters the other as one step.
                    Some(name) => {
                        room = SessionId::named(name);
                        registry.attach_to_session(me, room).map_err(io::Error::other)?;
                    }
                    // What it returns says how many got it and how many were skipped.
                    None => {
                        let _ = registry.to(room).except(me).send(said(me, &line));
                    }
                },
            },
            Some(heard) = queue.recv() => {
                write.write_all(heard.as_bytes()).await?;
                let missed = registry.take_skipped(me).unwrap_or(0);
                if missed > 0 {
                    write.write_all(format!("* {missed} lines came too fast for you\n").as_bytes()).await?;
                }
            }
        }
    }
}

fn said(client: ClientId, what: &str) -> Arc<str> {
    format!("{client}: {what}\n").into()
}
