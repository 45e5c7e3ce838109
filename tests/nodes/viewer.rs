//! A client of a server that checks each byte of a session that it sees, over whatever becomes of the server.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fugue_server::{
    Client, SessionId,
    client::{ClientError, Incoming},
    message::{AttachOptions, Event, ExitStatus, OnLag, RequestError, StartAt},
};
use tokio::time::{sleep, timeout};

/// The pause before something is tried again, and how long anything may take before a connection is made anew.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of each line that a session of these tests prints.
const LINE: u64 = 64;

/// What [`PROGRAM`] prints, as a viewer reads it. A gap may be counted longer than it is, as after a killed server: so
/// where the program had come to is read from the next line, which is none that was seen before, and no further on than
/// the gap says.
#[derive(Default)]
struct Lines {
    /// What the program printed until here, in bytes, and how much may be missing from there on.
    printed: u64,
    may_miss: u64,
    /// What has come since a gap, until it holds a line.
    pending: Option<Vec<u8>>,
}

impl Lines {
    fn miss(&mut self, bytes: u64) {
        self.printed += self.pending.get_or_insert_default().len() as u64;
        self.pending = Some(Vec::new());
        self.may_miss += bytes;
    }

    fn read(&mut self, data: &[u8]) {
        let Some(pending) = &mut self.pending else { return self.check(data) };
        pending.extend_from_slice(data);
        let line = usize::try_from(LINE).unwrap();
        let Some(end) = pending.windows(3).position(|window| window == b"x\r\n").map(|at| at + 3) else {
            return;
        };
        let Some(next) = pending.get(end..end + line - 3) else { return };
        let number: u64 = std::str::from_utf8(next).unwrap().parse().unwrap();
        let printed = (number * LINE).checked_sub(end as u64).unwrap();
        let (from, to) = (self.printed, self.printed + self.may_miss);
        assert!((from..=to).contains(&printed), "{printed} after a gap from {from} to {to}");
        (self.printed, self.may_miss) = (printed, 0);
        let pending = self.pending.take().unwrap();
        self.check(&pending);
    }

    fn check(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let line = format!("{:061}x\r\n", self.printed / LINE);
            let from = usize::try_from(self.printed % LINE).unwrap();
            let (seen, after) = rest.split_at((line.len() - from).min(rest.len()));
            let printed = &line.as_bytes()[from..from + seen.len()];
            assert!(seen == printed, "{:?} at {}", String::from_utf8_lossy(seen), self.printed);
            (rest, self.printed) = (after, self.printed + seen.len() as u64);
        }
    }
}

/// Prints numbered lines of 64 bytes, many or few at a time, and appends what it reads to the file that is its
/// argument. The line `end` ends it.
pub(crate) const PROGRAM: &str = r#"
open(my $typed, '>>', $ARGV[0]) or die; my ($n, $tail) = (0, '');
while (1) {
    my $ready = ''; vec($ready, 0, 1) = 1;
    if (select($ready, undef, undef, 0.02 + rand(0.08)) > 0) {
        my $read = sysread(STDIN, my $data, 65536); exit 3 unless $read;
        syswrite($typed, $data); $tail = substr($tail . $data, -8);
        exit 7 if $tail =~ /end\n$/;
    }
    my $lines = rand() < 0.03 ? int(rand(20000)) : int(rand(40)); my $out = '';
    for (1..$lines) { $out .= sprintf("%061dx\r\n", $n++); }
    while (length $out) { my $wrote = syswrite(STDOUT, $out); exit 4 unless $wrote; substr($out, 0, $wrote) = ''; }
}
"#;

/// What viewers counted, of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) seen: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) attached: AtomicU64,
}

/// Who watches, and what.
pub(crate) struct Viewer {
    socket: PathBuf,
    session: SessionId,
    /// Has the session mirrored here, where it is another machine's.
    pub(crate) watch: Option<Box<dyn Fn() -> Command + Send + Sync>>,
    on_lag: OnLag,
    counts: Arc<Counts>,
    /// The next byte.
    head: Option<u64>,
    lines: Lines,
}

impl Viewer {
    pub(crate) fn new(socket: PathBuf, session: SessionId, on_lag: OnLag, counts: Arc<Counts>) -> Self {
        Self { socket, session, watch: None, on_lag, counts, head: None, lines: Lines::default() }
    }

    /// Watches until the session ends. Where it ended.
    pub(crate) async fn watch(mut self) -> (u64, ExitStatus) {
        loop {
            match self.look().await {
                Ok(Some(ended)) => return ended,
                Ok(None) => {}
                Err(ClientError::Refused(RequestError::UnknownSession(_))) => self.mirror().await,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Has it mirrored here.
    async fn mirror(&self) {
        if let Some(watch) = &self.watch {
            let mut command = watch();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut command = tokio::process::Command::from(command);
            let _ = timeout(PATIENCE, command.kill_on_drop(true).status()).await;
        }
        sleep(PAUSE).await;
    }

    fn missed(&mut self, to: u64) {
        let head = self.head.replace(to);
        let missed = to.saturating_sub(head.unwrap_or(0));
        if missed > 0 {
            self.lines.miss(missed);
        }
        if let Some(head) = head {
            assert!(to >= head, "nothing is missing from {head} to {to}");
            self.counts.missed.fetch_add(to - head, Ordering::Relaxed);
            self.counts.gaps.fetch_add(u64::from(to > head), Ordering::Relaxed);
        }
    }

    /// Watches over one connection.
    async fn look(&mut self) -> Result<Option<(u64, ExitStatus)>, ClientError> {
        let Ok(mut client) = Client::connect(&self.socket).await else {
            sleep(PAUSE).await;
            return Ok(None);
        };
        let options = |start| AttachOptions::new(start, self.on_lag);
        let attached = match self.head {
            Some(head) => match client.attach(self.session, options(StartAt::Offset(head))).await {
                Err(ClientError::Refused(RequestError::OffsetNotHeld { offset, head, .. })) => {
                    if offset > head {
                        // It begins anew here, further on.
                        sleep(PAUSE).await;
                        return Ok(None);
                    }
                    client.attach(self.session, options(StartAt::Oldest)).await?
                }
                attached => attached?,
            },
            None => client.attach(self.session, options(StartAt::Now)).await?,
        };
        self.counts.attached.fetch_add(1, Ordering::Relaxed);
        self.missed(attached.start);
        loop {
            let Ok(incoming) = timeout(PATIENCE, client.next()).await else { return Ok(None) };
            match incoming? {
                Incoming::Output { offset, data } => {
                    assert_eq!(Some(offset), self.head, "output follows output");
                    self.lines.read(&data);
                    self.head = Some(offset + data.len() as u64);
                    self.counts.seen.fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                Incoming::Event(Event::Gap { from, to }) => {
                    assert_eq!(Some(from), self.head, "a gap is exact");
                    self.missed(to);
                }
                Incoming::Event(Event::Ended { status, .. }) => {
                    return Ok(self.head.map(|head| (head, status)));
                }
                _ => {}
            }
        }
    }
}
