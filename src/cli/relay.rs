//! `relay`: the far end of `--remote`, which joins its stdin and stdout to the server's socket.
//!
//! It understands nothing of what it copies. What it knows of the client, the server is told before the first byte of
//! the client's, and keeps to: see [`Relay`].

use std::{
    env,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        net::UnixStream,
    },
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::Context;

use super::{
    Exit, Globals, block_on,
    connect::NotConnected,
    linger, print_error,
    start::{Started, find_or_start},
};
use crate::{SessionName, client::Client, message::Relay, wire};

/// Bytes that are copied at once, each way.
const COPIED: usize = 64 * 1024;

/// How long the server has to end a connection whose client has ended.
const END_TIME: Duration = Duration::from_secs(10);

/// Joins stdin and stdout to the server's socket: what `--remote` runs on the other machine
#[derive(Debug, clap::Args)]
#[command(after_help = "For a key that can only watch one session, in ~/.ssh/authorized_keys:\n\
restrict,command=\"fugue-server relay --read-only --session NAME\" ssh-ed25519 AAAA...")]
pub(super) struct Args {
    /// Fail where no server runs
    #[arg(long)]
    no_start: bool,
    /// Let the client watch that session, and do nothing else
    #[arg(long, requires = "session")]
    read_only: bool,
    /// The one that may be watched, by its whole name
    #[arg(long, value_name = "NAME", requires = "read_only")]
    session: Option<SessionName>,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    // A key that may only watch starts nothing.
    let starts = !args.no_start && args.session.is_none();
    let found = block_on(async {
        let (client, socket, started) = match common.connect_somewhere().await {
            Ok((client, socket)) => (client, socket, Started::Before),
            Err(NotConnected::NoServer(_)) if starts => {
                let (client, started) = find_or_start(common).await?;
                (client, common.socket.clone(), started)
            }
            Err(NotConnected::NoServer(none)) => {
                print_error(format_args!("{none}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        drop(client);
        if started == Started::Now {
            linger::tell_what_a_logout_does().await;
        }
        open(socket).await.map(Some)
    })?;
    let Some(mut socket) = found else { return Ok(Exit::NO_SERVER) };
    let relay = args.session.map_or_else(|| place(Relay::new()), Relay::of_watcher);
    let said =
        wire::encode_relay(&relay).or_else(|_| wire::encode_relay(&Relay { env: Vec::new(), ..relay }));
    socket.write_all(&said?).context("the connection to the server was lost")?;
    copy(socket)?;
    Ok(Exit::SUCCESS)
}

async fn open(socket: PathBuf) -> anyhow::Result<UnixStream> {
    let socket = Client::open(&socket).await?.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Where this runs, for programs that the client starts.
fn place(relay: Relay) -> Relay {
    let env = env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
    let cwd = env::current_dir().ok().map(|directory| directory.as_os_str().as_bytes().to_vec());
    relay.with_place(env, cwd)
}

/// Copies both ways until the server has ended the connection, or nobody reads. A client that has ended is passed on to
/// the server, which ends the connection then.
fn copy(socket: UnixStream) -> anyhow::Result<()> {
    let from_client = socket.try_clone()?;
    // It ends with the process, if nothing more comes.
    thread::spawn(move || {
        // An error is an end as well: of the server's, the other direction tells.
        let _ = pass_on(&mut io::stdin().lock(), &mut &from_client);
        let _ = from_client.shutdown(Shutdown::Write);
        // A server that is stopped would keep this process for as long.
        thread::sleep(END_TIME);
        let _ = from_client.shutdown(Shutdown::Read);
    });
    pass_on(&mut &socket, &mut io::stdout().lock()).context("copying failed")
}

fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; COPIED];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The server has closed with something unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        match to.write_all(&buffer[..read]).and_then(|()| to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}
