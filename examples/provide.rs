//! Puts any program's output into a server as a session: here a file that grows, such as a log.
//!
//! ```sh
//! cargo run --example provide -- build.log &
//! fugue-server attach build.log
//! ```
//!
//! It goes on where it was after a restart, its own or the server's: the server says what it has.

use std::{error::Error, path::Path, time::Duration};

use fugue_server::{
    Client, SessionId, TerminalSize,
    client::Provider,
    default_socket_path,
    message::{ExitStatus, Provide},
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, SeekFrom},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: provide FILE")?;
    provide(&default_socket_path(), Path::new(&file), Some(Duration::from_millis(200))).await
}

/// Prints a file into a session of its name. At the file's end it looks for more after each `pause`, or without one
/// ends the session.
pub(crate) async fn provide(
    socket: &Path,
    path: &Path,
    pause: Option<Duration>,
) -> Result<(), Box<dyn Error>> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("a file's name is a session's name")?;
    let mut file = File::open(path).await?;
    let mut provide = Provide::new(name.parse()?, TerminalSize::DEFAULT);
    // The same one each time, so that it is the same session.
    provide.id = SessionId::named(&path.canonicalize()?.to_string_lossy());
    let mut provider = Provider::begin(Client::connect(socket).await?, provide).await?;
    file.seek(SeekFrom::Start(provider.head())).await?;
    loop {
        let mut lines = Vec::new();
        let read = (&mut file).take(64 * 1024).read_to_end(&mut lines).await?;
        match (read, pause) {
            (1.., _) => provider.print(lines.into()).await?,
            (0, Some(pause)) => tokio::time::sleep(pause).await,
            (0, None) => return Ok(provider.end(ExitStatus::Code(0)).await?),
        }
    }
}
