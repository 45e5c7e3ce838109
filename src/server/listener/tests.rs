use std::{
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt, chown, symlink},
        net::UnixStream as StdStream,
    },
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

use rustix::{fs::OFlags, net::listen};
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

fn make_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Gives something to the user nobody, where that is possible; says so where not.
fn give_away(path: &Path) -> bool {
    let given = std::os::unix::fs::lchown(path, Some(65534), None).is_ok();
    if !given {
        println!("not shown: only root can give a file away");
    }
    given
}

/// A socket file that nobody listens on.
fn leave_stale(socket: &Path) {
    drop(Directory::open(socket.parent().unwrap()).unwrap());
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
    make_directory(&real).unwrap();
    symlink(&real, path.parent().unwrap()).unwrap();
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::NotADirectory(_))));
}

#[tokio::test]
async fn a_directory_of_another_user_is_refused() {
    let (_directory, path) = place();
    let own = path.parent().unwrap();
    make_directory(own).unwrap();
    if !give_away(own) {
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
    assert!(matches!(BoundSocket::bind(Path::new(&slashed)), Err(BindError::NoFileName(_))));
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
    let _copy_of_a_child_before_exec = socket.lock.copy();
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
        let refused = |result: &&_| {
            matches!(result, Err(BindError::AlreadyRunning(_) | BindError::NotListening { .. }))
        };
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "round {round}: {results:?}");
        assert_eq!(results.iter().filter(refused).count(), 3, "round {round}: {results:?}");
        assert!(StdStream::connect(&path).is_ok(), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_errors_are_waited_out_up_to_a_second_with_one_warning() {
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
fn the_default_path_is_in_a_runtime_directory_of_this_users_own() {
    let (directory, _) = place();
    let own = directory.path();
    assert_eq!(socket_in(Some(own.into())), (own.join("fugue/server.sock"), None));
    let elsewhere = PathBuf::from(format!("/tmp/fugue-{}/server.sock", geteuid().as_raw()));
    for unset in [None, Some("".into()), Some("run/user/7".into())] {
        assert_eq!(socket_in(unset), (elsewhere.clone(), None));
    }
    let passed_over = |unusable: PathBuf| {
        let (path, warning) = socket_in(Some(unusable.clone().into()));
        assert_eq!(path, elsewhere);
        let warning = warning.unwrap();
        assert!(warning.contains(unusable.to_str().unwrap()) && warning.contains("instead"), "{warning}");
    };
    passed_over(own.join("missing"));
    if give_away(own) {
        passed_over(own.to_owned());
    }
}

#[tokio::test]
async fn a_directory_above_that_others_may_write_to_is_refused_with_the_remedy() {
    let (directory, _) = place();
    let above = directory.path().join("above");
    make_directory(&above).unwrap();
    for (open, refused) in [(0o770, true), (0o707, true), (0o777, true), (0o755, false), (0o1777, false)] {
        fs::set_permissions(&above, fs::Permissions::from_mode(open)).unwrap();
        // Also above what is still to be made.
        for path in ["own/server.sock", "further/below/server.sock"].map(|path| above.join(path)) {
            match BoundSocket::bind(&path) {
                Ok(_) => assert!(!refused, "{open:o}"),
                Err(error) => {
                    let open_above = matches!(&error, BindError::AboveOpen { directory, mode }
                        if *directory == above && *mode == open & 0o777);
                    assert!(refused && open_above, "{open:o}: {error}");
                    assert!(error.to_string().contains("chmod go-w"), "{error}");
                    assert!(!path.parent().unwrap().exists(), "it was made all the same");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_directory_above_that_belongs_to_another_user_is_refused() {
    let (directory, _) = place();
    let above = directory.path().join("above");
    make_directory(&above).unwrap();
    make_directory(&above.join("own")).unwrap();
    if !give_away(&above) {
        return;
    }
    for path in ["own/server.sock", "own/further/server.sock", "new/server.sock"] {
        let refused = BoundSocket::bind(&above.join(path)).unwrap_err();
        assert!(matches!(refused, BindError::AboveNotOurs { owner: 65534, .. }), "{refused}");
        assert!(refused.to_string().contains("belongs to user 65534"), "{refused}");
    }
    assert_eq!(fs::read_dir(above.join("own")).unwrap().count(), 0);
    chown(&above, Some(geteuid().as_raw()), None).unwrap();
    BoundSocket::bind(&above.join("own/server.sock")).unwrap();
}

#[tokio::test]
async fn links_on_the_way_are_followed_if_they_are_ours_and_lead_to_what_is() {
    let (directory, _) = place();
    let inside = |path: &str| directory.path().join(path);
    make_directory(&inside("real")).unwrap();
    make_directory(&inside("closed")).unwrap();
    symlink(inside("real"), inside("absolute")).unwrap();
    symlink("closed/../real", inside("relative")).unwrap();
    symlink("itself", inside("itself")).unwrap();
    for link in ["absolute", "relative"] {
        let path = inside(link).join("own/server.sock");
        let _socket = BoundSocket::bind(&path).unwrap();
        assert!(inside("real/own/server.sock").exists());
        assert!(StdStream::connect(&path).is_ok());
    }
    let endless = BoundSocket::bind(&inside("itself/own/server.sock")).unwrap_err();
    assert!(matches!(endless, BindError::NotADirectory(_)), "{endless}");
    if give_away(&inside("absolute")) {
        let theirs = BoundSocket::bind(&inside("absolute/own/server.sock")).unwrap_err();
        assert!(
            matches!(&theirs, BindError::AboveNotOurs { path, .. } if *path == inside("absolute")),
            "{theirs}"
        );
    }
}

#[tokio::test]
async fn nothing_is_done_in_a_directory_that_takes_the_checked_ones_place() {
    let (directory, path) = place();
    let inside = |path: &str| directory.path().join(path);
    let own = path.parent().unwrap();
    let checked = Directory::open(own).unwrap();
    make_directory(&inside("theirs")).unwrap();
    symlink(inside("elsewhere"), inside("theirs/log")).unwrap();
    fs::rename(own, inside("moved")).unwrap();
    fs::rename(inside("theirs"), own).unwrap();
    checked.open_file("log".as_ref(), OFlags::APPEND).unwrap();
    checked.rename("log".as_ref(), "named".as_ref()).unwrap();
    checked.find("named".as_ref()).unwrap();
    let _bound = std::os::unix::net::UnixListener::bind(checked.path_of("socket".as_ref())).unwrap();
    assert!(!inside("elsewhere").exists());
    assert_eq!(fs::read_dir(own).unwrap().count(), 1, "nothing but the link");
    assert!(inside("moved/named").exists() && inside("moved/socket").exists());
    checked.remove("named".as_ref()).unwrap();
    assert!(!inside("moved/named").exists());
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn a_log_that_is_a_link_a_pipe_or_anothers_is_not_opened() {
    let (directory, path) = place();
    let socket = BoundSocket::bind(&path).unwrap();
    let (log, target) = (path.with_extension("sock.log"), directory.path().join("target"));
    symlink(&target, &log).unwrap();
    socket.open_beside(".log").unwrap_err();
    assert!(!target.exists());
    fs::remove_file(&log).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &log, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let pipe = socket.open_beside(".log").unwrap_err();
    assert!(pipe.to_string().contains("move it away"), "{pipe}");
    fs::remove_file(&log).unwrap();
    fs::write(&log, "before\n").unwrap();
    io::Write::write_all(&mut socket.open_beside(".log").unwrap(), b"after\n").unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "before\nafter\n");
    if give_away(&log) {
        socket.open_beside(".log").unwrap_err();
    }
}

#[tokio::test]
async fn a_name_too_long_for_a_path_through_a_descriptor_is_bound() {
    let directory = tempfile::Builder::new().prefix("f").rand_bytes(6).tempdir_in("/tmp").unwrap();
    let own = directory.path().join("o");
    let path = own.join("x".repeat(MAX_PATH - own.as_os_str().len() - 1));
    assert!(Path::new("/proc/self/fd/10").join(path.file_name().unwrap()).as_os_str().len() > MAX_PATH);
    leave_stale(&path);
    let socket = BoundSocket::bind(&path).unwrap();
    assert!(StdStream::connect(&path).is_ok());
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::AlreadyRunning(_))));
    drop(socket);
    assert_eq!(fs::read_dir(own).unwrap().count(), 1, "nothing but the lock");
}

#[tokio::test]
async fn a_server_that_has_the_lock_and_does_not_listen_is_named() {
    let (_directory, path) = place();
    let directory = Directory::open(path.parent().unwrap()).unwrap();
    let _lock = Lock::take(&directory, "server.sock.lock".as_ref()).unwrap().unwrap();
    let error = BoundSocket::bind(&path).unwrap_err();
    let this = std::process::id();
    assert!(matches!(error, BindError::NotListening { process: Some(process), .. } if process == this));
    assert!(error.to_string().contains(&format!("kill -9 {this}")), "{error}");
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

#[tokio::test]
async fn a_lost_socket_is_bound_again_unless_another_server_took_its_place() {
    let (_directory, path) = place();
    let mut socket = BoundSocket::bind(&path).unwrap();
    let answers = |path: &Path| StdStream::connect(path).is_ok();
    // Nothing is lost: nothing changes.
    let number = fs::metadata(&path).unwrap().ino();
    socket.bind_again_if_lost();
    assert_eq!(fs::metadata(&path).unwrap().ino(), number);

    fs::remove_file(&path).unwrap();
    socket.bind_again_if_lost();
    assert!(answers(&path) && mode(&path) == 0o600);
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::AlreadyRunning(_))));

    // With its lock and its directory; where that can't be made again, later.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path.parent().unwrap(), "in the way").unwrap();
    socket.bind_again_if_lost();
    assert!(!answers(&path));
    fs::remove_file(path.parent().unwrap()).unwrap();
    socket.bind_again_if_lost();
    assert!(answers(&path) && mode(path.parent().unwrap()) == 0o700);
    assert!(matches!(BoundSocket::bind(&path), Err(BindError::AlreadyRunning(_))));

    // Another server has come meanwhile. It is left alone, and its place is taken once it has gone.
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let other = BoundSocket::bind(&path).unwrap();
    let number = fs::metadata(&path).unwrap().ino();
    socket.bind_again_if_lost();
    assert_eq!(fs::metadata(&path).unwrap().ino(), number);
    drop(other);
    assert!(!answers(&path));
    socket.bind_again_if_lost();
    assert!(answers(&path));
    drop(socket);
    assert!(!path.exists());
}

/// A listener that a service manager made.
fn handed_over(path: &Path, mode: u32) -> StdListener {
    make_directory(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(path);
    let listener = StdListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    listener
}

#[tokio::test]
async fn a_socket_that_was_handed_over_is_served_and_left_where_it_is() {
    let (_directory, path) = place();
    let listener = handed_over(&path, 0o600);
    let managers = listener.try_clone().unwrap();
    for _ in 0..2 {
        let _early = StdStream::connect(&path).unwrap();
        let mut socket = BoundSocket::adopt(&path, managers.try_clone().unwrap()).unwrap();
        socket.accept().await;
        assert!(matches!(BoundSocket::bind(&path), Err(BindError::AlreadyRunning(_))));
        drop(socket);
        assert!(path.exists(), "the socket's file was removed");
    }
}

#[tokio::test]
async fn a_listener_that_is_open_to_others_or_another_one_is_refused() {
    let (directory, path) = place();
    for mode in [0o606, 0o660, 0o755, 0o777] {
        let open = BoundSocket::adopt(&path, handed_over(&path, mode)).unwrap_err();
        assert!(open.to_string().contains(&format!("(mode {mode:o}); have it made with mode 600")), "{open}");
    }
    let elsewhere = path.with_file_name("other.sock");
    let other = BoundSocket::adopt(&elsewhere, handed_over(&path, 0o600)).unwrap_err();
    assert!(other.to_string().contains("give both the same path"), "{other}");

    fs::remove_file(&path).unwrap();
    let silent = UnixSocket::new_stream().unwrap();
    silent.bind(&path).unwrap();
    let silent = StdListener::from(std::os::fd::AsFd::as_fd(&silent).try_clone_to_owned().unwrap());
    let silent = BoundSocket::adopt(&path, silent).unwrap_err();
    assert!(silent.to_string().contains("does not listen at a path"), "{silent}");

    let listener = handed_over(&path, 0o600);
    fs::remove_file(&path).unwrap();
    let gone = BoundSocket::adopt(&path, listener).unwrap_err();
    assert!(matches!(gone, BindError::Io { what: "finding", .. }), "{gone}");

    let listener = handed_over(&path, 0o600);
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let open = BoundSocket::adopt(&path, listener).unwrap_err();
    assert!(matches!(open, BindError::DirectoryOpen { mode: 0o755, .. }), "{open}");
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();

    let listener = handed_over(&path, 0o600);
    if give_away(&path) {
        let theirs = BoundSocket::adopt(&path, listener).unwrap_err();
        assert!(matches!(theirs, BindError::SocketNotOurs { owner: 65534, .. }), "{theirs}");
    }
    drop(directory);
}

#[tokio::test]
async fn a_server_whose_socket_a_service_manager_took_is_named() {
    let (_directory, path) = place();
    let _live = BoundSocket::bind(&path).unwrap();
    let replaced = BoundSocket::adopt(&path, handed_over(&path, 0o600)).unwrap_err();
    assert!(replaced.to_string().contains(&format!("with `kill {}`", std::process::id())), "{replaced}");
}
