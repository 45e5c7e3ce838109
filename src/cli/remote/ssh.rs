//! A running ssh, whose stdin and stdout are a connection.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    pin::Pin,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    task::JoinHandle,
    time::timeout,
};

use crate::{cli::escape_controls, wire};

/// How much of what comes before the server's hello is looked through.
const MAX_NOISE: usize = 64 * 1024;

/// How much of the noise, and of what ssh says, is kept for the person: its end.
const MAX_SHOWN: usize = 4 * 1024;

/// How long ssh has to end once the connection has: to say its last words and give its status.
const END_TIME: Duration = Duration::from_secs(2);

/// What ssh says on stderr.
#[derive(Clone, Debug, Default)]
pub(super) struct SshWords(Arc<Mutex<KeptWords>>);

#[derive(Debug, Default)]
struct KeptWords {
    /// The person sees it at once.
    is_live: bool,
    kept: Vec<u8>,
}

impl SshWords {
    fn with<R>(&self, change: impl FnOnce(&mut KeptWords) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Before a connection: the person sees what is said, or it is kept.
    pub(super) fn begin(&self, is_live: bool) {
        self.with(|words| *words = KeptWords { is_live, kept: Vec::new() });
    }

    /// From now on a session has the terminal.
    pub(super) fn keep_for_later(&self) {
        self.begin(false);
    }

    /// What was kept, without what could steer a terminal.
    pub(super) fn take(&self) -> String {
        shown(&self.with(|words| std::mem::take(&mut words.kept)))
    }

    fn hear(&self, bytes: &[u8]) {
        let is_live = self.with(|words| {
            if !words.is_live {
                words.kept.extend_from_slice(bytes);
                let too_much = words.kept.len().saturating_sub(MAX_SHOWN);
                words.kept.drain(..too_much);
            }
            words.is_live
        });
        if is_live {
            // Nobody may be there to read it, which changes nothing.
            let _ = io::stderr().write_all(shown(bytes).as_bytes());
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    escape_controls(&String::from_utf8_lossy(bytes).replace('\r', ""))
}

/// A connection by ssh.
pub(super) struct SshLine {
    input: ChildStdin,
    output: ChildStdout,
    /// What was read already, from the hello on; before it was found, all that came.
    ahead: Vec<u8>,
    /// Bytes of `ahead` that were given out.
    given: usize,
    child: Option<Child>,
    hearing: Option<JoinHandle<()>>,
}

/// The connection ended, or went on, without a hello.
pub(super) struct NotFound {
    /// ssh's status, if it has ended.
    pub(super) status: Option<i32>,
    pub(super) noise: String,
}

impl SshLine {
    pub(super) fn start(
        ssh: &OsStr,
        arguments: impl Iterator<Item = OsString>,
        words: &SshWords,
    ) -> io::Result<Self> {
        let mut child = Command::new(ssh)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("its pipes are missing"));
        };
        let hearing = Some(tokio::spawn(hear(stderr, words.clone())));
        Ok(Self { input, output, ahead: Vec::new(), given: 0, child: Some(child), hearing })
    }

    /// Sends a hello, and looks for the answer in what comes.
    pub(super) async fn find_hello(&mut self) -> Result<(), NotFound> {
        // An error says that ssh has ended, which it says itself.
        let _ = self.input.write_all(&wire::Hello::encode()).await;
        while self.ahead.len() < MAX_NOISE {
            if !matches!(self.output.read_buf(&mut self.ahead).await, Ok(1..)) {
                return Err(self.ended().await);
            }
            if let Some(at) = wire::find_hello_reply(&self.ahead) {
                self.given = at;
                return Ok(());
            }
        }
        Err(NotFound { status: None, noise: self.noise() })
    }

    /// What came that is no hello.
    pub(super) fn noise(&self) -> String {
        shown(&self.ahead[self.ahead.len().saturating_sub(MAX_SHOWN)..])
    }

    async fn ended(&mut self) -> NotFound {
        let status = match &mut self.child {
            Some(child) => timeout(END_TIME, child.wait()).await.ok().and_then(Result::ok),
            None => None,
        };
        if let Some(hearing) = &mut self.hearing {
            let _ = timeout(END_TIME, hearing).await;
        }
        NotFound { status: status.and_then(|status| status.code()), noise: self.noise() }
    }
}

async fn hear(mut stderr: ChildStderr, words: SshWords) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        words.hear(&buffer[..read]);
    }
}

impl Drop for SshLine {
    /// Its stdin is closed now, at which it ends. Where the network is dead it does not, and is ended. Not at once: it
    /// may be what the person's other connections go through (ControlMaster).
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if timeout(END_TIME, child.wait()).await.is_err() {
                    // An error says that it has ended.
                    let _ = child.start_kill();
                    let _ = child.wait().await;
                }
            });
        }
    }
}

impl AsyncRead for SshLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given < self.ahead.len() {
            let length = buffer.remaining().min(self.ahead.len() - self.given);
            buffer.put_slice(&self.ahead[self.given..self.given + length]);
            self.given += length;
            if self.given == self.ahead.len() {
                (self.ahead, self.given) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for SshLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
