//! The gateway that runs for a socket: it says where its links begin in a file beside the socket, which it locks.
//!
//! Who reads that file hands links to whatever it names. So it must be this user's own, and not a link.

use std::{
    env,
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::{fs::OFlags, process::geteuid};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    time::timeout,
};

use super::super::Globals;

/// What follows the socket's name in the file's, and in the log's of a gateway in the background.
const FILE: &str = ".web";
pub(super) const LOG: &str = ".web.log";

/// How long one may take to start.
const START_TIME: Duration = Duration::from_secs(10);

/// The longest URL that is read.
const MAX_URL: u64 = 1024;

fn beside(socket: &Path, suffix: &str) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Opens a file beside the socket, if it is this user's own.
pub(super) fn open_own(socket: &Path, suffix: &str, options: &mut OpenOptions) -> Option<File> {
    let no_link = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(no_link.bits()).ok()?;
    let file = options.custom_flags(flags).mode(0o600).open(beside(socket, suffix)).ok()?;
    let metadata = file.metadata().ok()?;
    let is_own = metadata.is_file() && metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    is_own.then_some(file)
}

/// Says where this gateway's links begin, until the file is dropped. Does nothing if another one has said so.
pub(super) fn announce(socket: &Path, url: &str) -> Option<File> {
    let mut options = OpenOptions::new();
    let mut file = open_own(socket, FILE, options.read(true).write(true).create(true))?;
    file.try_lock().ok()?;
    let written = file.set_len(0).and_then(|()| file.write_all(url.as_bytes()));
    written.is_ok().then_some(file)
}

/// Where links begin, by the gateway that runs for this socket.
pub(in super::super) fn find(socket: &Path) -> Option<String> {
    let mut file = open_own(socket, FILE, OpenOptions::new().read(true))?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        _ => return None,
    }
    file.rewind().ok()?;
    let mut url = String::new();
    file.take(MAX_URL).read_to_string(&mut url).ok()?;
    let is_url = url.starts_with("http://") || url.starts_with("https://");
    (is_url && url.ends_with('/') && !url.contains(char::is_whitespace)).then_some(url)
}

/// The same, after starting one in the background if none runs. It listens where the configuration says, else on this
/// machine's loopback.
pub(in super::super) async fn find_or_start(common: &Globals) -> anyhow::Result<String> {
    if let Some(url) = find(&common.socket) {
        return Ok(url);
    }
    let complaint = timeout(START_TIME, start(common)).await;
    let complaint = complaint
        .with_context(|| format!("the gateway was not ready within {} s", START_TIME.as_secs()))??;
    match find(&common.socket) {
        Some(url) => Ok(url),
        None if complaint.is_empty() => bail!("the gateway does not know where people open it: give --url"),
        None => bail!("starting a gateway failed: {complaint}"),
    }
}

/// Starts one, and waits until it is ready or has failed; returns what it complained of.
async fn start(common: &Globals) -> anyhow::Result<String> {
    let program = env::current_exe().context("finding this program's own file failed")?;
    let mut gateway = Command::new(program);
    gateway.args(["web", "--background", "--socket"]).arg(&common.socket);
    gateway.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut gateway = gateway.spawn().context("starting a gateway failed")?;
    let (Some(stdout), Some(mut stderr)) = (gateway.stdout.take(), gateway.stderr.take()) else {
        bail!("starting a gateway failed: could not capture its output");
    };
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready).await.context("waiting for the gateway failed")?;
    let mut complaint = String::new();
    if ready.is_empty() {
        stderr.read_to_string(&mut complaint).await.context("waiting for the gateway failed")?;
        gateway.wait().await.context("waiting for the gateway failed")?;
    }
    Ok(complaint.trim().trim_start_matches("fugue-server: ").to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_gateway_is_found_only_while_it_runs_and_only_if_it_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("server.sock");
        assert_eq!(find(&socket), None);
        let running = announce(&socket, "http://127.0.0.1:7681/").unwrap();
        assert_eq!(find(&socket).as_deref(), Some("http://127.0.0.1:7681/"));
        assert!(announce(&socket, "http://127.0.0.1:1/").is_none(), "one says so");
        drop(running);
        assert_eq!(find(&socket), None);
        let _running = announce(&socket, "https://a.example/x/").unwrap();
        assert_eq!(find(&socket).as_deref(), Some("https://a.example/x/"));
        // One that others may write to.
        let path = beside(&socket, FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(find(&socket), None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let other = directory.path().join("other.sock");
        symlink(&path, beside(&other, FILE)).unwrap();
        assert_eq!(find(&other), None);
        assert!(announce(&other, "http://127.0.0.1:1/").is_none());
    }
}
