//! The line between a node and its broker, which can be cut, or lets nothing through for a while.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// How often a line that lets nothing through is looked at again.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct LineState {
    /// Nothing goes through, in either direction; it is not lost either, as where packets are sent again.
    is_blocked: AtomicBool,
    /// Counts the times that it was cut.
    cuts: AtomicU64,
    is_over: AtomicBool,
}

/// A line to one address.
pub(crate) struct Line {
    state: Arc<LineState>,
    address: SocketAddr,
}

impl Line {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(LineState::default());
        let of_all = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming() {
                if of_all.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // Without a broker the node finds its connection closed.
                if let (Ok(near), Ok(far)) = (near, TcpStream::connect(("127.0.0.1", port))) {
                    let _ = join(&of_all, &near, &far);
                }
            }
        });
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Lets nothing through until it is told otherwise.
    pub(crate) fn block(&self, is_blocked: bool) {
        self.state.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Ends all connections. New ones are let through.
    pub(crate) fn cut(&self) {
        self.state.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        self.cut();
        // So that the thread looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes on what comes at either end.
fn join(state: &Arc<LineState>, near: &TcpStream, far: &TcpStream) -> io::Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        let (mut from, mut to, state) = (from.try_clone()?, to.try_clone()?, Arc::clone(state));
        let cuts = state.cuts.load(Ordering::Relaxed);
        from.set_read_timeout(Some(LOOK))?;
        thread::spawn(move || {
            let is_whole = || state.cuts.load(Ordering::Relaxed) == cuts;
            let mut buffer = vec![0; 64 * 1024];
            while is_whole() {
                let read = match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(_) => break,
                };
                while state.is_blocked.load(Ordering::Relaxed) && is_whole() {
                    thread::sleep(LOOK);
                }
                if !is_whole() || to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            for end in [&from, &to] {
                let _ = end.shutdown(Shutdown::Both);
            }
        });
    }
    Ok(())
}
