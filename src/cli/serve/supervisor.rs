//! The service manager that started this server and wants to hear how it fares: systemd, or another with its protocol,
//! sd_notify(3).
//!
//! A message is a datagram, and is given a second at most: a manager that takes none holds up nothing. The crates for
//! this protocol wait without a bound.

use std::{
    convert::Infallible,
    env,
    ffi::OsStr,
    future::pending,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram as Datagram},
        },
    },
    process,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    net::UnixDatagram,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{debug, warn};

/// How long a message may take: it does at once, unless the manager has stopped reading.
const NOTIFY_TIME: Duration = Duration::from_secs(1);

/// A service manager.
#[derive(Debug)]
pub(in crate::cli) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// It ends this server if it has not heard of it for so long.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Nobody wants to hear anything.
    pub(super) const fn none() -> Self {
        Self { socket: None, watchdog: None }
    }

    /// The one that this process's environment names. What is wrong with that is logged: the server runs all the same.
    pub(in crate::cli) fn from_environment() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else { return Self::none() };
        let socket = match connect(&address) {
            Ok(socket) => socket,
            Err(error) => {
                warn!(?address, %error, "NOTIFY_SOCKET can't be used; the service manager is told nothing");
                return Self::none();
            }
        };
        let [usec, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| env::var(name).ok());
        let watchdog = watchdog(usec.as_deref(), pid.as_deref(), process::id()).unwrap_or_else(|value| {
            warn!(value, "WATCHDOG_USEC is not a number of microseconds; no watchdog is fed");
            None
        });
        Self { socket: Some(socket), watchdog }
    }

    pub(in crate::cli) async fn ready(&self) {
        self.tell("READY=1").await;
    }

    /// To be followed by [`ready`](Self::ready).
    pub(super) async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}")).await;
    }

    /// Another process goes on with what this one does.
    pub(super) async fn is_replaced_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}")).await;
    }

    pub(super) async fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=ending its sessions").await;
    }

    /// Says again and again that the server is alive, and what `status` says of it: from the task that accepts
    /// connections, and only while the runtime's workers run tasks.
    pub(super) async fn feed_watchdog(&self, status: impl Fn() -> String) -> Infallible {
        let Some(limit) = self.watchdog else { return pending().await };
        // Twice in that time, as sd_watchdog_enabled(3) recommends.
        let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            workers_run().await;
            self.tell(&format!("WATCHDOG=1\nSTATUS={}", status())).await;
        }
    }

    async fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        match timeout(NOTIFY_TIME, socket.send(message.as_bytes())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(%error, message, "the service manager was not told"),
            Err(_) => debug!(message, "the service manager takes no messages"),
        }
    }
}

/// Completes when one of the runtime's workers has run a task.
async fn workers_run() {
    // It can't fail but by the runtime's end.
    let _ = tokio::spawn(async {}).await;
}

/// A socket that sends to the address of a service manager: a path, or an abstract name after an `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(io::Error::other("it is neither an absolute path nor an abstract name")),
    };
    let socket = Datagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

/// How long a service manager waits to hear of the process `own`, if it does. Or the value, if it is not a time.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Result<Option<Duration>, String> {
    let Some(usec) = usec else { return Ok(None) };
    // Another process's, which was inherited.
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return Ok(None);
    }
    match usec.parse() {
        Ok(usec @ 1..) => Ok(Some(Duration::from_micros(usec))),
        _ => Err(usec.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc::sync_channel, task::Poll};

    use super::*;

    #[test]
    fn a_watchdog_is_fed_if_it_is_this_process_s_and_has_a_time() {
        let second = Ok(Some(Duration::from_secs(1)));
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("8"), 7), Ok(None));
        assert_eq!(watchdog(None, Some("7"), 7), Ok(None));
        for wrong in ["", "0", "-1", "soon", "1s", "99999999999999999999999"] {
            assert_eq!(watchdog(Some(wrong), Some("7"), 7), Err(wrong.to_owned()));
        }
    }

    #[tokio::test]
    async fn an_address_of_another_kind_is_refused() {
        for address in ["", "run/notify", "vsock:2:1234", "/nowhere/notify", &format!("/{}", "x".repeat(200))]
        {
            assert!(connect(address.as_ref()).is_err(), "{address}");
        }
    }

    #[test]
    fn a_watchdog_is_not_fed_while_no_worker_runs_tasks() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (release, held) = sync_channel::<()>(1);
        let (begin, begun) = sync_channel(1);
        runtime.spawn(async move {
            begin.send(()).unwrap();
            let _ = held.recv();
        });
        begun.recv().unwrap();
        runtime.block_on(async {
            let mut run = pin!(workers_run());
            assert_eq!(polled(run.as_mut()), Poll::Pending);
            drop(release);
            run.await;
        });
    }

    fn polled<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
