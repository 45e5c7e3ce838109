use std::{
    os::unix::{fs::symlink, net::UnixStream as StdStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

use rustix::net::listen;
use tempfile::TempDir;
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::*;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("own/server.sock");
    (directory, socket)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A socket file that nobody listens on.
fn leave_stale(socket: &Path) {
    make_directory(socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    assert!(socket.exists());
}

#[tokio::test]
async fn directory_and_socket_are_made_closed_to_others() {
    let (_directory, path) = place();
    let socket = BoundSocket::bind(&path).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_path_that_fits_no_address_is_refused_with_its_length() {
    let (directory, _) = place();
    let own = directory.path().join("own");
    let path = |bytes: usize| own.join("x".repeat(bytes - own.as_os_str().len() - 1));
    BoundSocket::bind(&path(107)).unwrap();
    let path = path(108);
    let error = BoundSocket::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::PathTooLong(_)));
    assert!(error.to_string().contains("107 are allowed"), "{error}");
}

#[tokio::test]
async fn a_directory_open_to_others_is_refused_with_the_remedy() {
    let (_directory, path) = place();
    let own = path.parent().unwrap();
    fs::create_dir(own).unwrap();
    for open in [0o750, 0o701, 0o777] {
        fs::set_permissions(own, fs::Permissions::from_mode(open)).unwrap();
        let error = BoundSocket::bind(&path).unwrap_err();
        assert!(matches!(error, BindError::DirectoryOpen { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
}

#[tokio::test]
async fn a_linked_directory_is_refused() {
    let (directory, path) = place();
    let real = directory.path().join("real");
    fs::DirBuilder::new().mode(0o700).create(&real).unwrap();
    symlink(&real, path.parent().unwrap()).unwrap();
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::NotADirectory(_))));
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused() {
    let (_directory, path) = place();
    let own = path.parent().unwrap();
    fs::DirBuilder::new().mode(0o700).create(own).unwrap();
    if std::os::unix::fs::chown(own, Some(65534), None).is_err() {
        println!("not shown: only root can give a directory away");
        return;
    }
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::DirectoryNotOurs { owner: 65534, .. })));
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let (_directory, path) = place();
    leave_stale(&path);
    let socket = BoundSocket::bind(&path).unwrap();
    assert!(StdStream::connect(&path).is_ok());
    drop(socket);
}

#[tokio::test]
async fn a_live_server_is_left_alone() {
    let (_directory, path) = place();
    let _live = BoundSocket::bind(&path).unwrap();
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::AlreadyRunning(_))));
    assert!(StdStream::connect(&path).is_ok());
}

#[tokio::test]
async fn a_live_server_that_lost_its_lock_file_is_left_alone() {
    let (_directory, path) = place();
    let _live = BoundSocket::bind(&path).unwrap();
    fs::remove_file(path.with_extension("sock.lock")).unwrap();
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::AlreadyRunning(_))));
    assert!(StdStream::connect(&path).is_ok());
}

#[tokio::test]
async fn a_live_server_too_busy_to_accept_is_left_alone() {
    let (_directory, path) = place();
    make_directory(path.parent().unwrap()).unwrap();
    let live = std::os::unix::net::UnixListener::bind(&path).unwrap();
    listen(&live, 0).unwrap();
    let address = SocketAddrUnix::new(&path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(errno) => break assert_eq!(errno, Errno::AGAIN),
        }
    }

    // On a thread of its own: an attempt that waits for the busy server would never end.
    let (done, result) = sync_channel(1);
    let (runtime, tried) = (tokio::runtime::Handle::current(), path.clone());
    thread::spawn(move || {
        let _runtime = runtime.enter();
        done.send(BoundSocket::bind(&tried)).ok();
    });
    let result = result.recv_timeout(Duration::from_secs(10)).expect("no answer");
    assert!(matches!(result, Err(BindError::AlreadyRunning(_))), "{result:?}");
    assert!(path.exists());
}

#[tokio::test]
async fn a_path_that_ends_in_a_slash_leaves_nothing_in_the_directory_it_names() {
    let (_directory, path) = place();
    let inner = path.with_file_name("inner");
    make_directory(&inner).unwrap();
    let mut slashed = inner.clone().into_os_string();
    slashed.push("/");
    assert!(matches!(BoundSocket::bind(Path::new(&slashed)), Err(BindError::NotASocket(_))));
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 0, "the lock file was put inside");
}

#[tokio::test]
async fn a_file_in_the_way_is_refused_and_kept() {
    let (_directory, path) = place();
    make_directory(path.parent().unwrap()).unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_link_in_place_of_the_lock_file_is_not_followed() {
    let (directory, path) = place();
    make_directory(path.parent().unwrap()).unwrap();
    let target = directory.path().join("target");
    symlink(&target, path.with_extension("sock.lock")).unwrap();
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::Io { .. })));
    assert!(!target.exists());
}

#[tokio::test]
async fn a_socket_that_took_our_place_is_not_removed() {
    let (_directory, path) = place();
    let socket = BoundSocket::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(StdStream::connect(&path).is_ok());
}

#[test]
fn a_bind_that_fails_late_leaves_no_socket() {
    let (_directory, path) = place();
    // Without a runtime it gets as far as listening.
    assert!(std::panic::catch_unwind(|| BoundSocket::bind(&path)).is_err());
    assert!(path.with_extension("sock.lock").exists());
    assert!(!path.exists());
}

#[tokio::test]
async fn the_lock_goes_with_its_server_though_a_child_still_has_a_copy() {
    let (_directory, path) = place();
    let socket = BoundSocket::bind(&path).unwrap();
    let _copy_of_a_child_before_exec = socket._lock.0.try_clone().unwrap();
    drop(socket);
    BoundSocket::bind(&path).unwrap();
}

#[test]
fn of_servers_started_at_once_exactly_one_wins() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for round in 0..50 {
        let (_directory, path) = place();
        if round % 2 == 0 {
            leave_stale(&path);
        }
        let barrier = Arc::new(Barrier::new(4));
        let tries: Vec<_> = (0..4)
            .map(|_| {
                let (path, barrier, runtime) = (path.clone(), Arc::clone(&barrier), runtime.handle().clone());
                thread::spawn(move || {
                    let _runtime = runtime.enter();
                    barrier.wait();
                    BoundSocket::bind(&path)
                })
            })
            .collect();
        let results: Vec<_> = tries.into_iter().map(|thread| thread.join().unwrap()).collect();
        let refused = |result: &&_| matches!(result, Err(BindError::AlreadyRunning(_)));
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "round {round}: {results:?}");
        assert_eq!(results.iter().filter(refused).count(), 3, "round {round}: {results:?}");
        assert!(StdStream::connect(&path).is_ok(), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_errors_are_waited_out_ever_longer_up_to_a_second_with_one_warning() {
    let warnings = Warnings::default();
    let _counting = tracing::subscriber::set_default(warnings.clone());
    let mut backoff = Backoff::default();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let before = tokio::time::Instant::now();
        backoff.wait(&io::ErrorKind::Other.into()).await;
        pauses.push(before.elapsed().as_millis());
    }
    assert_eq!(pauses[..4], [5, 10, 20, 40]);
    assert_eq!(pauses[8..], [1000; 4]);
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_accepted_connection_ends_the_waiting() {
    let (_directory, path) = place();
    let mut socket = BoundSocket::bind(&path).unwrap();
    socket.backoff.failures = 8;
    let _client = StdStream::connect(&path).unwrap();
    socket.accept().await;
    assert_eq!(socket.backoff.failures, 0);
}

#[test]
fn the_default_path_is_absolute_and_in_a_directory_of_its_own() {
    let uid = geteuid().as_raw();
    let elsewhere = PathBuf::from(format!("/tmp/fugue-{uid}/server.sock"));
    assert_eq!(socket_path_in(Some("/run/user/7".into())), Path::new("/run/user/7/fugue/server.sock"));
    for unusable in [None, Some("".into()), Some("run/user/7".into())] {
        assert_eq!(socket_path_in(unusable), elsewhere);
    }
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
