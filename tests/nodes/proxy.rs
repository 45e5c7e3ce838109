//! The line between a node and its broker, which can be cut, be slow, or let nothing through for a while.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
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
    speed: Option<Speed>,
    /// Until when what was sent in each direction keeps the line busy.
    busy: [Mutex<Option<Instant>>; 2],
}

/// How fast a line is, in each direction.
#[derive(Clone, Copy)]
pub(crate) struct Speed {
    pub(crate) bytes_per_second: u32,
    pub(crate) delay: Duration,
}

/// Pieces that are on their way on a slow line.
const ON_WAY: usize = 16;

impl LineState {
    /// When so many bytes that are sent now come.
    fn arrival(&self, direction: usize, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(Speed { bytes_per_second, delay }) = self.speed else { return now };
        let mut busy = self.busy[direction].lock().unwrap();
        let takes = Duration::from_secs(1) * u32::try_from(bytes).unwrap() / bytes_per_second;
        let sent = busy.map_or(now, |busy| busy.max(now)) + takes;
        *busy = Some(sent);
        sent + delay
    }
}

/// A line to one address.
pub(crate) struct Line {
    state: Arc<LineState>,
    address: SocketAddr,
}

impl Line {
    pub(crate) fn to(port: u16) -> Self {
        Self::with(port, None)
    }

    pub(crate) fn slow(port: u16, speed: Speed) -> Self {
        Self::with(port, Some(speed))
    }

    fn with(port: u16, speed: Option<Speed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(LineState { speed, ..LineState::default() });
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
    let cuts = state.cuts.load(Ordering::Relaxed);
    for (direction, (from, to)) in [(near, far), (far, near)].into_iter().enumerate() {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        from.set_read_timeout(Some(LOOK))?;
        let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_WAY);
        let reading = Arc::clone(state);
        thread::spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            while reading.cuts.load(Ordering::Relaxed) == cuts {
                match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => {
                        let piece = (reading.arrival(direction, read), buffer[..read].to_vec());
                        if sender.send(piece).is_err() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            let _ = from.shutdown(Shutdown::Both);
        });
        let writing = Arc::clone(state);
        thread::spawn(move || {
            let is_whole = || writing.cuts.load(Ordering::Relaxed) == cuts;
            for (arrives, piece) in pieces {
                thread::sleep(arrives.saturating_duration_since(Instant::now()));
                while writing.is_blocked.load(Ordering::Relaxed) && is_whole() {
                    thread::sleep(LOOK);
                }
                if !is_whole() || to.write_all(&piece).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
