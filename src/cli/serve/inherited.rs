//! What a server was started with: a socket that a service manager listens on for it, and descriptors that are none of
//! its business.

use std::{
    env, fs,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixListener,
    },
    process,
};

use anyhow::{Context, bail};
use listenfd::ListenFd;

/// Takes the socket that is handed over, if one is, and closes all else that was inherited.
///
/// To be called while this is the only thread, and has nothing open of its own.
pub(super) fn take_listener() -> anyhow::Result<Option<UnixListener>> {
    let listener = listener()?;
    close_all_but(listener.as_ref().map(AsRawFd::as_raw_fd));
    Ok(listener)
}

/// Closes every descriptor but the standard ones. What this was started with is neither for its programs to use, nor
/// for it to keep open as long as it lives: others may wait for the end of a pipe, or for a lock.
pub(in crate::cli) fn close_what_was_inherited() {
    close_all_but(None);
}

fn close_all_but(kept: Option<RawFd>) {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2 && Some(*descriptor) != kept) {
        // An error says that it is closed, as the listing's own is by now.
        let _ = nix::unistd::close(descriptor);
    }
}

/// The socket that a service manager hands over, as sd_listen_fds(3) has it.
fn listener() -> anyhow::Result<Option<UnixListener>> {
    // Variables that are another process's were inherited with all else.
    let is_for_us = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(process::id()));
    let Some(count) = env::var_os("LISTEN_FDS").filter(|_| is_for_us) else { return Ok(None) };
    match count.to_str().and_then(|count| count.parse::<u32>().ok()) {
        Some(0) => Ok(None),
        Some(1) => ListenFd::from_env().take_unix_listener(0).context(
            "what the service manager hands over (LISTEN_FDS) is no Unix stream socket; correct its unit",
        ),
        Some(count) => bail!(
            "the service manager hands over {count} sockets (LISTEN_FDS), and a server has one; leave one ListenStream \
             in the unit"
        ),
        None => {
            bail!("LISTEN_FDS is {count:?}, and not a number of sockets; correct what started the server")
        }
    }
}
