//! A whole server in one program: a session that the program prints to, and a client that watches it.
//!
//! ```sh
//! cargo run --example embed
//! ```
//!
//! While a server like this runs, `fugue-server --socket PATH attach countdown` watches it from a terminal.

use std::error::Error;

use fugue_server::{
    Client, Server, TerminalSize,
    client::Incoming,
    message::{AttachOptions, Event, ExitStatus, OnLag, Pace, StartAt},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run().await?);
    Ok(())
}

/// Counts down, and returns what a client saw of it.
pub(crate) async fn run() -> Result<String, Box<dyn Error>> {
    // The socket's directory is made closed to other users.
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("fugue/server.sock");
    let server = Server::builder(&socket).bind()?;
    let feeds = server.feeds();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));

    // `Free`: the session never waits for a reader. What one misses, it reads from the session's history.
    let feed = feeds.start("countdown".parse()?, TerminalSize::DEFAULT, Pace::Free)?;

    // `Oldest`: from the first byte that is held, so it would not matter if some had been printed before.
    let mut client = Client::connect(&socket).await?;
    client.attach(feed.session(), AttachOptions::new(StartAt::Oldest, OnLag::Lossless)).await?;

    let printing = tokio::spawn(async move {
        for number in (1..=3).rev() {
            feed.print(format!("{number}\r\n").into()).await?;
        }
        feed.end(ExitStatus::Code(0));
        Ok::<_, fugue_server::FeedClosed>(())
    });

    let mut seen = Vec::new();
    loop {
        match client.next().await? {
            Incoming::Output { data, .. } => seen.extend_from_slice(&data),
            Incoming::Event(Event::Ended { .. }) => break,
            _ => {}
        }
    }
    printing.await??;

    // Clients are told, and given what was printed, before the server is gone.
    stop.send(()).ok();
    serving.await?;
    Ok(String::from_utf8(seen)?)
}
