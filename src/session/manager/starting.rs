//! That a start which blocks, as on a file server that doesn't answer, costs nobody else anything, and leaves nothing;
//! nor does a session that ended.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::task::JoinHandle;

use super::*;
use crate::session::starter::MOST_AT_ONCE;

/// How long anything may take before a test gives up on it: far longer than it ever should.
const PATIENCE: Duration = Duration::from_secs(30);

#[path = "../../../tests/support/signals.rs"]
mod signals;

fn manager() -> Arc<Manager> {
    signals::stop_ignoring();
    let settings = SessionSettings {
        socket: PathBuf::new(),
        history_bytes: 4096,
        hang_up_grace: Duration::from_secs(2),
        make_model: None,
        links: None,
        keeper: None,
        ended_bytes: 0,
        ended_time: Duration::ZERO,
        lost_time: Duration::ZERO,
    };
    let mut manager = Manager::new(ClientRegistry::new(), settings, None);
    // A paused clock jumps while it waits for another test's turn.
    manager.starter = Starter::in_turn(Box::leak(Box::default()));
    Arc::new(manager)
}

fn asleep(name: &str) -> Create {
    let command = ["/bin/sleep", "1000"].map(|word| word.as_bytes().to_vec());
    Create::new(name.parse().unwrap(), command.to_vec())
}

/// What the tests have of a start that blocks.
struct Blocked {
    created: JoinHandle<Result<Arc<Session>, RequestError>>,
    /// Lets it go on.
    release: SyncSender<()>,
    begun: oneshot::Receiver<()>,
    /// The process, once it has started.
    pid: Receiver<u32>,
}

fn block(manager: &Arc<Manager>, name: &str) -> Blocked {
    let (manager, create) = (Arc::clone(manager), asleep(name));
    let (release, released) = sync_channel(1);
    let (begin, begun) = oneshot::channel();
    let (tell, pid) = sync_channel(1);
    let created = tokio::spawn(async move {
        let spawn = move |create: &Create, socket: &Path| {
            begin.send(()).unwrap();
            if released.recv_timeout(PATIENCE).is_err() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let (pty, child) = pty::spawn(create, socket)?;
            tell.send(child.id().unwrap()).unwrap();
            Ok((pty, child))
        };
        manager.create_by(create, oneshot::channel().1, spawn).await
    });
    Blocked { created, release, begun, pid }
}

async fn create(manager: &Arc<Manager>, name: &str) -> Result<Arc<Session>, RequestError> {
    manager.create(asleep(name), oneshot::channel().1).await
}

fn too_late(created: Result<Arc<Session>, RequestError>) -> bool {
    matches!(created, Err(RequestError::NotStarted { why, .. }) if why.contains("within 10 s"))
}

async fn gone(pid: u32) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let start = Instant::now();
    while process.exists() {
        assert!(start.elapsed() < PATIENCE, "a program lives that was nobody's");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_start_that_blocks_keeps_no_other_request_waiting() {
    let manager = manager();
    let blocked = block(&manager, "blocked");
    blocked.begun.await.unwrap();

    // All of this is on the thread that would have been blocked.
    assert_eq!(manager.list(), []);
    assert!(matches!(create(&manager, "blocked").await, Err(RequestError::NameTaken(_))));
    let other = create(&manager, "other").await.unwrap();
    assert_eq!(manager.list().len(), 1);

    blocked.release.send(()).unwrap();
    let session = blocked.created.await.unwrap().unwrap();
    assert_eq!(manager.list().len(), 2);
    for session in [session, other] {
        session.hang_up();
        assert_eq!(session.killed().await, Ok(ExitStatus::Signal(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_is_refused_and_ended_when_it_comes() {
    let manager = manager();
    let blocked = block(&manager, "late");
    assert!(too_late(blocked.created.await.unwrap()));

    // Programs take real time.
    tokio::time::resume();
    let again = create(&manager, "late").await.unwrap();
    blocked.release.send(()).unwrap();
    gone(blocked.pid.recv_timeout(PATIENCE).unwrap()).await;
    assert_eq!(manager.list().len(), 1);
    again.hang_up();
    again.gone().await;
}

#[tokio::test(start_paused = true)]
async fn starts_that_block_are_no_more_than_eight_and_the_next_never_begins() {
    let manager = manager();
    let mut blocked: Vec<_> =
        (0..MOST_AT_ONCE).map(|number| block(&manager, &format!("blocked-{number}"))).collect();
    for Blocked { begun, .. } in &mut blocked {
        begun.await.unwrap();
    }
    let next = block(&manager, "next");
    assert!(too_late(next.created.await.unwrap()));

    drop(blocked);
    assert!(next.begun.await.is_err(), "it was begun after its client had been told that it was not");
    tokio::time::resume();
    let session = create(&manager, "next").await.unwrap();
    session.hang_up();
    session.gone().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_no_start_that_blocks() {
    let manager = manager();
    let blocked = block(&manager, "blocked");
    blocked.begun.await.unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    manager.shut_down().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(matches!(blocked.created.await.unwrap(), Err(RequestError::ShuttingDown)));
    blocked.release.send(()).unwrap();
    tokio::time::resume();
    gone(blocked.pid.recv_timeout(PATIENCE).unwrap()).await;
}

#[tokio::test]
async fn an_ended_sessions_terminal_is_closed_though_somebody_reads_it() {
    let manager = manager();
    // Another process keeps the terminal open.
    let script = "(trap '' HUP; exec sleep 10) & exit 3";
    let command = ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec();
    let create = Create { command, ..asleep("a") };
    let session = manager.create(create, oneshot::channel().1).await.unwrap();
    assert_eq!(session.gone().await, ExitStatus::Code(3));
    let refused = async {
        loop {
            match session.type_in(b"x", None).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused).await.expect("its terminal is never closed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
