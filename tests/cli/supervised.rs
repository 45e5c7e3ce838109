//! A server that a service manager starts: what it tells, and the socket that it is handed.

use std::{
    fs::{self, File},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
};

use super::*;

/// A service manager, as far as a server hears and sees of it.
struct ServiceManager {
    home: Home,
    heard: UnixDatagram,
    address: String,
}

impl ServiceManager {
    fn new() -> Self {
        let home = Home::new();
        let address = home.directory.path().join("notify").display().to_string();
        Self::at(home, UnixDatagram::bind(&address).unwrap(), address)
    }

    fn at(home: Home, heard: UnixDatagram, address: String) -> Self {
        heard.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { home, heard, address }
    }

    /// A server that is to tell it how it fares. A hangup has it reload, wherever the tests run.
    fn start(&self, variables: &[(&str, &str)]) -> Served {
        let script = "trap '' HUP; exec \"$0\" serve --log debug";
        let mut server = Command::new("/bin/sh");
        server.args(["-c", script, env!("CARGO_BIN_EXE_fugue-server")]).envs(self.home.environment());
        server.env("NOTIFY_SOCKET", &self.address).envs(variables.iter().copied());
        Served::start(server.stderr(File::create(self.log()).unwrap()))
    }

    fn log(&self) -> PathBuf {
        self.home.directory.path().join("log")
    }

    /// The next message.
    fn hears(&self) -> String {
        let mut message = [0; 4096];
        let length = self.heard.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Hears messages until one has this line.
    fn hears_of(&self, line: &str) -> String {
        loop {
            let message = self.hears();
            if message.lines().any(|said| said == line) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_of_start_life_reload_and_end() {
    let manager = ServiceManager::new();
    let mut server = manager.start(&[("WATCHDOG_USEC", "100000")]);
    assert_eq!(manager.hears(), "READY=1");
    assert_eq!(manager.hears(), "WATCHDOG=1\nSTATUS=0 sessions, 0 clients");
    manager.home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    assert_eq!(manager.hears_of("STATUS=1 session, 0 clients"), "WATCHDOG=1\nSTATUS=1 session, 0 clients");

    signal(server.pid(), Signal::HUP);
    let reloading = manager.hears_of("RELOADING=1");
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(time.parse::<u64>().unwrap() > 0, "{reloading}");
    manager.hears_of("READY=1");
    manager.hears_of("WATCHDOG=1");

    server.stop();
    manager.hears_of("STOPPING=1");
}

#[test]
fn a_service_manager_hears_who_goes_on_after_a_restart() {
    let manager = ServiceManager::new();
    let mut server = manager.start(&[("WATCHDOG_USEC", "100000")]);
    manager.home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    manager.home.succeed(&["restart"]);
    let next = manager.home.server_pid();
    manager.hears_of(&format!("MAINPID={next}"));
    manager.hears_of("READY=1");
    manager.hears_of("STATUS=1 session, 0 clients");
    assert_eq!(wait(&mut server.0).code(), Some(0));
    assert_eq!(manager.home.session("a")["running"], true);
}

#[test]
fn an_abstract_address_is_told_and_no_watchdog_is_fed_unless_asked() {
    let name = format!("fugue-test-{}", std::process::id());
    let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let manager = ServiceManager::at(Home::new(), heard, format!("@{name}"));
    for variables in
        [&[][..], &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")], &[("WATCHDOG_USEC", "soon")]]
    {
        manager.start(variables).stop();
        assert_eq!(manager.hears(), "READY=1", "{variables:?}");
        assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=ending its sessions", "{variables:?}");
    }
    assert!(fs::read_to_string(manager.log()).unwrap().contains("WATCHDOG_USEC is not a number"));
}

#[test]
fn a_server_runs_without_a_service_manager_that_is_not_there() {
    let mut manager = ServiceManager::new();
    for address in ["/nowhere/notify", "run/notify", "vsock:2:9"] {
        manager.address = address.to_owned();
        let mut server = manager.start(&[("WATCHDOG_USEC", "1000")]);
        manager.home.succeed(&["list"]);
        server.stop();
        let log = fs::read_to_string(manager.log()).unwrap();
        assert!(log.contains("NOTIFY_SOCKET can't be used"), "{log}");
    }
}

#[test]
fn a_service_manager_that_reads_nothing_holds_up_nobody() {
    let manager = ServiceManager::new();
    // More messages than the kernel keeps for it.
    let mut server = manager.start(&[("WATCHDOG_USEC", "2000")]);
    let full = || fs::read_to_string(manager.log()).unwrap().contains("takes no messages");
    eventually("the kernel takes no more messages", full);
    manager.home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    assert_eq!(manager.home.session("a")["running"], true);
    server.stop();
}

#[test]
fn a_server_in_the_background_tells_the_manager_of_its_starter_nothing() {
    let manager = ServiceManager::new();
    let mut new = manager.home.command(&["new", "a", "-d", "--", "sleep", "1000"]);
    assert!(
        new.env("NOTIFY_SOCKET", &manager.address).env("WATCHDOG_USEC", "1000").status().unwrap().success()
    );
    manager.home.succeed(&["stop"]);
    manager.heard.set_nonblocking(true).unwrap();
    assert!(manager.heard.recv(&mut [0; 64]).is_err(), "it told something");
}

/// A socket where the server's is to be, made as the unit has it made.
fn socket(home: &Home) -> UnixListener {
    let directory = home.socket().parent().unwrap().to_owned();
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(home.socket()).unwrap();
    fs::set_permissions(home.socket(), Permissions::from_mode(0o600)).unwrap();
    listener
}

/// A server that is handed what its stdin is, as descriptor 3.
fn handed(home: &Home, descriptor: OwnedFd, variables: &str) -> Command {
    let script = format!("exec 3<&0 0</dev/null; {variables} exec \"$0\" serve");
    let mut server = Command::new("/bin/sh");
    server.args(["-c", &script, env!("CARGO_BIN_EXE_fugue-server")]);
    server.envs(home.environment()).stdin(descriptor);
    server
}

const ONE: &str = "LISTEN_FDS=1 LISTEN_PID=$$";

#[test]
fn a_socket_that_was_handed_over_is_served_and_never_removed() {
    let home = Home::new();
    let listener = socket(&home);
    for _ in 0..2 {
        // It waits for the server that it has the manager start.
        let mut waiting =
            home.command(&["new", "a", "-d", "--", "ls", "-1", "/proc/self/fd"]).spawn().unwrap();
        let socket = listener.try_clone().unwrap().into();
        let mut server = Served::start(handed(&home, socket, ONE).stderr(Stdio::null()));
        assert!(wait(&mut waiting).success());
        let output = home.succeed(&["new", "fds", "--", "ls", "-1", "/proc/self/fd"]);
        assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "3 is the directory");
        home.succeed(&["stop"]);
        assert_eq!(wait(&mut server.0).code(), Some(0));
        assert!(home.socket().exists());
    }
}

#[test]
fn where_nobody_says_which_socket_it_is_the_one_that_was_handed_over() {
    let home = Home::new();
    let listener = socket(&home);
    let mut server = handed(&home, listener.into(), ONE);
    server.env_remove("FUGUE_SOCKET").env("XDG_RUNTIME_DIR", "/nowhere").stderr(Stdio::null());
    let _server = Served::start(&mut server);
    home.succeed(&["list"]);
}

#[test]
fn variables_for_another_process_are_no_socket_of_this_one() {
    let home = Home::new();
    let null = File::open("/dev/null").unwrap().into();
    let mut server = handed(&home, null, "LISTEN_FDS=1 LISTEN_PID=1");
    let mut server = Served::start(server.stderr(Stdio::null()));
    home.succeed(&["list"]);
    server.stop();
    assert!(!home.socket().exists());
}

#[test]
fn a_socket_that_cannot_be_served_is_refused_with_the_remedy() {
    let home = Home::new();
    let listener = socket(&home);
    let refused = |descriptor: OwnedFd, variables: &str, remedy: &str| {
        let output = handed(&home, descriptor, variables).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{variables}: {told}");
        assert!(told.contains(remedy), "{variables}: {told}");
        assert!(output.stdout.is_empty() && home.socket().exists());
    };
    let socket = || OwnedFd::from(listener.try_clone().unwrap());
    refused(socket(), "LISTEN_FDS=2 LISTEN_PID=$$", "leave one ListenStream");
    refused(socket(), "LISTEN_FDS=4294967296 LISTEN_PID=$$", "not a number of sockets");
    refused(socket(), "LISTEN_FDS=all LISTEN_PID=$$", "not a number of sockets");
    refused(File::open("/dev/null").unwrap().into(), ONE, "no Unix stream socket");
    refused(UnixDatagram::unbound().unwrap().into(), ONE, "no Unix stream socket");
    refused(socket(), &format!("{ONE} FUGUE_SOCKET=/tmp/elsewhere/s"), "give both the same path");
    fs::set_permissions(home.socket(), Permissions::from_mode(0o666)).unwrap();
    refused(socket(), ONE, "SocketMode=0600");
}

/// The units, with the binary of the tests and in a directory of their own.
fn units(home: &Home) -> [PathBuf; 3] {
    ["fugue-server.service", "fugue-server.socket", "fugue-server-node.service"].map(|name| {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name);
        let text = fs::read_to_string(unit).unwrap();
        let here = home.directory.path().join(name);
        fs::write(&here, text.replace("/usr/bin/fugue-server", env!("CARGO_BIN_EXE_fugue-server"))).unwrap();
        here
    })
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let home = Home::new();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["--user", "--man=no", "verify"]).args(units(&home));
    match verify.env("XDG_RUNTIME_DIR", home.directory.path()).output() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            // Of this machine's other units it may say anything.
            let is_of_ours = told.lines().any(|line| line.contains("fugue-server"));
            assert!(output.status.success() && !is_of_ours, "{output:?}");
        }
        Err(error) => println!("not shown: systemd-analyze: {error}"),
    }
}

/// Whether somebody listens at a path. To connect would have the server started.
fn listens(path: &Path) -> bool {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    // The fourth word has a flag for sockets that accept connections, and the last is the path.
    let accepts = |line: &str| line.split_whitespace().nth(3) == Some("00010000");
    sockets.lines().any(|line| line.ends_with(path.to_str().unwrap()) && accepts(line))
}

#[test]
fn the_first_command_has_systemd_start_the_server() {
    let home = Home::new();
    let directory = home.socket().parent().unwrap().to_owned();
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    let script = "exec systemd-socket-activate -E FUGUE_SOCKET -l \"$FUGUE_SOCKET\" \"$0\" serve";
    let mut activate = Command::new("/bin/sh");
    activate.args(["-c", script, env!("CARGO_BIN_EXE_fugue-server")]).envs(home.environment());
    let mut activate =
        activate.env("PATH", path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut ended = None;
    eventually("it listens, or is not there", || {
        ended = activate.try_wait().unwrap();
        ended.is_some() || listens(&home.socket())
    });
    if let Some(status) = ended {
        assert_eq!(status.code(), Some(127), "systemd-socket-activate failed");
        return println!("not shown: systemd-socket-activate is not installed");
    }
    // As the unit has it made; this tool has no option for that.
    fs::set_permissions(home.socket(), Permissions::from_mode(0o600)).unwrap();
    home.succeed(&["new", "a", "-d", "--no-start", "--", "sleep", "1000"]);
    // It becomes the server.
    assert_eq!(home.server_pid(), u64::from(activate.id()));
    home.succeed(&["stop"]);
    assert_eq!(wait(&mut activate).code(), Some(0));
    assert!(home.socket().exists());
}
