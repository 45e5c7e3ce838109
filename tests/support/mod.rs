//! What the tests share: a server that stops when it is dropped, clients of it, and waiting for what is to come.

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fugue_server::{
    Client, ClientId, Clients, Feeds, Server, ServerBuilder, SessionId, Sessions, TerminalSize,
    client::{ClientError, Incoming},
    message::{
        Access, Attach, AttachOptions, AttachedTo, ClientMessage, ClientState, ClientStats, Create, Event,
        ExitStatus, OnLag, Reply, RequestError, ServerStats, SessionInfo, StartAt, Target,
    },
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

mod signals;

/// How long anything may take before a test gives up on it: far longer than it ever should.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long many things may take one after the other.
const MUCH_PATIENCE: Duration = Duration::from_secs(240);

/// Waits for `future`, and fails the test if it never comes.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("what was waited for never came")
}

/// Waits until `condition` holds. For what no event tells.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A server in a directory of its own. It ends with the test; [`stop`](Self::stop) ends it gracefully.
pub(crate) struct TestServer {
    pub(crate) socket: PathBuf,
    pub(crate) clients: Clients,
    pub(crate) feeds: Feeds,
    pub(crate) sessions: Sessions,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        signals::stop_ignoring();
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fugue/server.sock");
        // A client that a test leaves unread is not closed for it, however slow the machine is.
        let server = Server::builder(&socket).stall_timeout(Duration::from_secs(3600));
        let server = configure(server).bind().unwrap();
        let (clients, feeds, sessions) = (server.clients(), server.feeds(), server.sessions());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { socket, clients, feeds, sessions, stop: Some(stop), serving, _directory: directory }
    }

    pub(crate) async fn client(&self) -> Client {
        let mut client = soon(Client::connect(&self.socket)).await.unwrap();
        // A drawing of many lines may take a loaded machine longer than a person would wait.
        client.set_request_timeout(PATIENCE);
        client
    }

    /// Asks for a shutdown; returns what completes with it.
    pub(crate) fn stop(&mut self) -> &mut JoinHandle<()> {
        drop(self.stop.take());
        &mut self.serving
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Dropping the server's future hangs up every program.
        self.serving.abort();
    }
}

/// A session of `sh -c script`.
pub(crate) fn shell(name: &str, script: &str, attach: Option<AttachOptions>) -> ClientMessage {
    shell_with(name, script, |create| create.attach = attach)
}

/// A session of `sh -c script` that is in some way not the usual one.
pub(crate) fn shell_with(name: &str, script: &str, change: impl FnOnce(&mut Create)) -> ClientMessage {
    let command = ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec();
    let mut create = Create::new(name.parse().unwrap(), command);
    create.env = vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())];
    change(&mut create);
    ClientMessage::Create(create)
}

pub(crate) const LOSSLESS: AttachOptions = AttachOptions::new(StartAt::Now, OnLag::Lossless);
pub(crate) const FROM_OLDEST: AttachOptions = AttachOptions::new(StartAt::Oldest, OnLag::Lossless);
pub(crate) const DISCONNECT: AttachOptions = AttachOptions::new(StartAt::Oldest, OnLag::Disconnect);

/// The session of this name.
pub(crate) fn named(name: &str) -> Target {
    Target::Name(name.parse().unwrap())
}

pub(crate) fn attach(name: &str, view: AttachOptions) -> ClientMessage {
    ClientMessage::Attach(Attach::new(named(name), view))
}

pub(crate) fn attach_id(session: SessionId, view: AttachOptions) -> ClientMessage {
    ClientMessage::Attach(Attach::new(Target::Id(session), view))
}

pub(crate) fn kill(name: &str) -> ClientMessage {
    ClientMessage::Kill { session: named(name) }
}

pub(crate) fn input(session: SessionId, data: impl Into<Bytes>) -> ClientMessage {
    ClientMessage::Input { session, position: None, data: data.into() }
}

pub(crate) async fn create(client: &mut Client, name: &str, script: &str) -> SessionInfo {
    let ClientMessage::Create(create) = shell(name, script, None) else { unreachable!() };
    soon(client.create(create)).await.unwrap()
}

pub(crate) async fn attached(client: &mut Client, request: &ClientMessage) -> AttachedTo {
    match soon(client.request(request)).await.unwrap() {
        Reply::Attached(attached) => attached,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn refused(client: &mut Client, request: &ClientMessage) -> RequestError {
    match soon(client.request(request)).await {
        Err(ClientError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn sessions(client: &mut Client) -> Vec<SessionInfo> {
    soon(client.list()).await.unwrap()
}

/// A client's copy of a stream, whose pieces must follow one another without a gap or an overlap.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Transcript {
    pub(crate) fn from(start: u64) -> Self {
        Self { start, bytes: Vec::new() }
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn add(&mut self, offset: u64, data: &[u8]) {
        assert_eq!(offset, self.end(), "the stream has a gap or repeats itself");
        self.bytes.extend_from_slice(data);
    }

    /// Reads until `enough` of the transcript holds.
    pub(crate) async fn read_until(&mut self, client: &mut Client, enough: impl Fn(&[u8]) -> bool) {
        let start = Instant::now();
        while !enough(&self.bytes) {
            assert!(start.elapsed() < MUCH_PATIENCE, "never came in {} bytes", self.bytes.len());
            match soon(client.next()).await.unwrap() {
                Incoming::Output { offset, data } => self.add(offset, &data),
                Incoming::Reply { .. } => {}
                Incoming::Event(Event::Resized { .. }) => {}
                Incoming::Screen { .. } => panic!("a screen after {} bytes", self.bytes.len()),
                Incoming::Event(event) => {
                    panic!("{event:?} after {:?}", String::from_utf8_lossy(&self.bytes))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn read_to(&mut self, client: &mut Client, text: &str) {
        self.read_until(client, |bytes| contains(bytes, text.as_bytes())).await;
    }

    /// Takes the next thing in. `Some` once the session has ended.
    pub(crate) async fn step(&mut self, client: &mut Client) -> Option<ExitStatus> {
        match soon(client.next()).await.unwrap() {
            Incoming::Output { offset, data } => self.add(offset, &data),
            Incoming::Event(Event::Ended { status, .. }) => return Some(status),
            _ => {}
        }
        None
    }

    /// Reads until the session ends.
    pub(crate) async fn read_to_end(&mut self, client: &mut Client) -> ExitStatus {
        loop {
            if let Some(status) = self.step(client).await {
                return status;
            }
        }
    }
}

/// Everything a session that ends has to say to a client that watches it now.
pub(crate) async fn transcript(client: &mut Client, start: u64) -> (Vec<u8>, ExitStatus) {
    let mut transcript = Transcript::from(start);
    let status = transcript.read_to_end(client).await;
    (transcript.bytes, status)
}

pub(crate) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// How a person's terminal of the usual size watches.
pub(crate) const TERMINAL: AttachOptions =
    AttachOptions::new(StartAt::Screen, OnLag::Resync).with_size(Some(TerminalSize::DEFAULT));

/// What a client shows: a terminal model other than the server's own, fed what the client is sent.
pub(crate) struct Viewer {
    pub(crate) client: Client,
    pub(crate) screen: vt100::Parser,
    /// The offset of what comes next.
    pub(crate) at: u64,
    pub(crate) output: Vec<u8>,
    /// Gaps it was told of, and pieces of screens that came.
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) screens: usize,
    pub(crate) sizes: Vec<TerminalSize>,
    /// The session, once attached.
    pub(crate) session: SessionId,
    gap: Option<u64>,
}

impl Viewer {
    pub(crate) async fn attach(server: &TestServer, request: &ClientMessage) -> Self {
        let mut client = server.client().await;
        let to = attached(&mut client, request).await;
        Self::of(client, &to)
    }

    /// A viewer of a client that attached.
    pub(crate) fn of(client: Client, to: &AttachedTo) -> Self {
        Self {
            client,
            screen: vt100::Parser::new(to.size.rows(), to.size.cols(), 0),
            at: to.start,
            output: Vec::new(),
            gaps: Vec::new(),
            screens: 0,
            sizes: Vec::new(),
            session: to.session,
            gap: None,
        }
    }

    /// A viewer whose terminal has a size of its own.
    pub(crate) async fn sized(server: &TestServer, name: &str, size: (u16, u16), access: Access) -> Self {
        let size = TerminalSize::new(size.0, size.1).unwrap();
        let view = TERMINAL.with_size(Some(size)).with_access(access);
        let mut viewer = Self::attach(server, &attach(name, view)).await;
        viewer.screen = vt100::Parser::new(size.rows(), size.cols(), 0);
        viewer
    }

    /// Takes the next thing in. `Some` once the session has ended.
    pub(crate) async fn step(&mut self) -> Option<ExitStatus> {
        match soon(self.client.next()).await.unwrap() {
            Incoming::Output { offset, data } => {
                assert_eq!(offset, self.at, "the stream has a gap or repeats itself");
                assert_eq!(self.gap, None, "a gap, and no screen to make up for it");
                self.at += data.len() as u64;
                self.screen.process(&data);
                self.output.extend_from_slice(&data);
            }
            Incoming::Screen { offset, data } => {
                assert!(offset >= self.at, "a screen of the past: {offset} after {}", self.at);
                if let Some(to) = self.gap.take() {
                    assert_eq!(offset, to);
                }
                self.at = offset;
                self.screens += 1;
                self.screen.process(&data);
            }
            Incoming::Event(Event::Gap { from, to }) => {
                assert_eq!(from, self.at, "the gap does not begin where the output ended");
                assert!(to > from);
                self.gaps.push((from, to));
                self.gap = Some(to);
            }
            Incoming::Event(Event::Resized { size, .. }) => self.sizes.push(size),
            Incoming::Event(Event::Ended { status, .. }) => return Some(status),
            Incoming::Event(event) => panic!("{event:?}"),
            Incoming::Reply { answer, .. } => {
                answer.unwrap();
            }
            other => panic!("{other:?}"),
        }
        None
    }

    pub(crate) async fn run_to_end(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.step().await {
                return status;
            }
        }
    }

    pub(crate) async fn run_until(&mut self, mut enough: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !enough(self) {
            assert!(start.elapsed() < MUCH_PATIENCE, "never came, and more and more did\n{}", self.text());
            if let Some(status) = self.step().await {
                panic!("ended with {status} on\n{}", self.text());
            }
        }
    }

    pub(crate) async fn run_until_shown(&mut self, text: &str) {
        self.run_until(|viewer| viewer.text().contains(text)).await;
    }

    pub(crate) async fn type_in(&mut self, keys: impl Into<Bytes>) {
        soon(self.client.send(&input(self.session, keys))).await.unwrap();
    }

    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Everything that is shown, line by line, with colours, cursor and modes. A cell that was never written shows as a
    /// space does.
    pub(crate) fn state(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let (rows, cols) = screen.size();
        let cell = |row, col| {
            let cell = screen.cell(row, col).unwrap();
            let text = if cell.contents().is_empty() { " " } else { cell.contents() };
            let looks = (cell.bold(), cell.italic(), cell.underline(), cell.inverse());
            format!("{text}{:?}{:?}{looks:?}", cell.fgcolor(), cell.bgcolor())
        };
        let mut state: Vec<_> =
            (0..rows).map(|row| (0..cols).map(|col| cell(row, col)).collect::<String>()).collect();
        let modes = (screen.application_cursor(), screen.application_keypad(), screen.bracketed_paste());
        let mouse = (screen.mouse_protocol_mode(), screen.mouse_protocol_encoding());
        let cursor = (screen.cursor_position(), screen.hide_cursor(), screen.alternate_screen());
        let pen = (screen.fgcolor(), screen.bgcolor(), screen.bold(), screen.underline(), screen.inverse());
        state.push(format!("{modes:?} {mouse:?} {cursor:?} {pen:?}"));
        state
    }
}

pub(crate) async fn stats(client: &mut Client) -> ServerStats {
    soon(client.stats()).await.unwrap()
}

/// How one client fares.
pub(crate) async fn client_stats(asking: &mut Client, client: ClientId) -> ClientStats {
    let stats = stats(asking).await;
    stats.clients.into_iter().find(|stats| stats.client == client).unwrap()
}

/// A client's statistics once it is live: it has what was printed before its writer has looked whether there is more.
pub(crate) async fn live_client_stats(asking: &mut Client, client: ClientId) -> ClientStats {
    soon(async {
        loop {
            let stats = client_stats(asking, client).await;
            if stats.state == ClientState::Live {
                break stats;
            }
        }
    })
    .await
}
