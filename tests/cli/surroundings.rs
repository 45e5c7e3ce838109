//! What a server meets on the machine it runs on: a full disk, closed descriptors, directories that can't be written or
//! are gone, signals; and what of all that reaches its programs.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::ChildStderr,
};

use fugue_server::{
    Client,
    wire::{Hello, HelloReply},
};
use tokio::task::JoinSet;

use super::*;
use crate::support::{LOSSLESS, attached, shell, soon, transcript};

/// The lines that a program prints as a session.
fn prints(home: &Home, name: &str, command: &[&str]) -> Vec<String> {
    let printed = home.succeed(&[&["new", name, "--"], command].concat());
    printed.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Whether sessions can be started, used, ended and listed.
fn serves(home: &Home, name: &str) {
    assert_eq!(prints(home, name, &["sh", "-c", "echo works"]), ["works"]);
    assert_eq!(home.session(name)["exit_code"], 0);
}

/// Where nothing can be written, as on a full disk.
fn full() -> Stdio {
    fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_log_that_cannot_be_written_changes_nothing() {
    let home = Home::new();
    for log in [full(), Stdio::piped()] {
        let mut server = Served::start(home.command(&["serve", "--log", "trace"]).stderr(log));
        let nobody_reads: Option<ChildStderr> = server.0.stderr.take();
        drop(nobody_reads);
        serves(&home, "a");
        server.stop();
        assert!(!home.socket().exists());
    }
}

#[test]
fn a_server_in_the_background_does_without_a_log_on_a_full_disk() {
    let home = Home::new();
    // No file may grow, and who tries is told so rather than killed.
    let start = "trap '' XFSZ; ulimit -f 0; exec fugue-server --log trace new first -d -- sleep 1000";
    let started = script(&home, start);
    assert!(started.status.success(), "{started:?}");
    let log = fs::metadata(home.socket().with_extension("sock.log")).unwrap();
    assert_eq!(log.len(), 0);
    serves(&home, "a");
    assert_eq!(home.session("first")["running"], true);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_the_reason() {
    let other = Other::new();
    let Some(other) = other else { return };
    let directory = other.home.socket().parent().unwrap().to_owned();
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o500)).unwrap();
    std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let output = other.command(&["new", "a", "-d"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(why.contains(".lock") && why.contains("Permission denied"), "{why}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn a_server_without_its_directory_makes_it_again_and_is_found() {
    let home = Home::new();
    let mut first = serve(&home, &[]);
    let mut terminal = home.terminal(&["new", "old"]);
    terminal.wait_for("ready>");
    fs::remove_dir_all(home.socket().parent().unwrap()).unwrap();
    terminal.type_in("echo still $((40 + 2))\n");
    terminal.wait_for("still 42");
    // Whoever needs a server waits for it.
    assert_eq!(home.session("old")["running"], true);
    home.succeed(&["new", "young", "-d", "--", "sleep", "1000"]);
    assert_eq!(home.server_pid(), first.pid());
    terminal.type_in("exit\n");
    terminal.ends_with(0);
    first.stop();
}

#[test]
fn closed_standard_descriptors_are_nobodys_trouble() {
    let home = Home::new();
    let mut server = Command::new("/bin/sh");
    server.args(["-c", "exec \"$0\" serve <&- >&- 2>&-", env!("CARGO_BIN_EXE_fugue-server")]);
    let mut server = Served(server.env("FUGUE_SOCKET", home.socket()).spawn().unwrap());
    eventually("it serves", || home.run(&["stats"]).status.success());
    let terminal = |line: &String| line.starts_with("/dev/pts/");
    let streams = prints(&home, "a", &["sh", "-c", "readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2"]);
    assert!(streams.len() == 3 && streams.iter().all(terminal), "{streams:?}");
    let client =
        script(&home, "fugue-server new b -d -- sleep 1000 <&- >&- 2>&-; fugue-server list >&- 2>&-");
    assert!(client.status.success(), "{client:?}");
    assert_eq!(home.session("b")["running"], true);
    server.stop();

    // And one that is started in the background by who has none.
    let started = script(&home, "fugue-server new c -d -- sleep 1000 <&- >&- 2>&-");
    assert!(started.status.success(), "{started:?}");
    assert_eq!(home.session("c")["running"], true);
}

#[test]
fn nothing_is_started_from_a_directory_that_is_gone() {
    let home = Home::new();
    for arguments in ["-d -- touch here", "-- touch here"] {
        let started =
            script(&home, &format!("mkdir -p gone; cd gone; rmdir ../gone; fugue-server new a {arguments}"));
        assert_eq!(started.status.code(), Some(255), "{started:?}");
        let why = String::from_utf8_lossy(&started.stderr);
        assert!(why.contains("the current directory") && why.contains("change to one"), "{why}");
    }
    // Nor a server.
    assert!(!home.socket().exists());
}

#[test]
fn a_hangup_of_its_terminal_ends_a_server_and_a_broken_pipe_does_not() {
    let home = Home::new();
    // These tests may have been started to ignore it, as by `nohup`; what a server was started to ignore stays so.
    let mut server = home.shell_terminal("exec env --default-signal=HUP fugue-server serve");
    server.wait_for("ready");
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let program = home.session("a")["pid"].as_u64().unwrap();
    signal(server.pid(), Signal::PIPE);
    serves(&home, "b");
    signal(server.pid(), Signal::HUP);
    server.ends_with(0);
    assert!(!home.socket().exists() && !lives(program));
}

/// A server that was started with descriptors open, signals blocked and a secret in its environment.
fn burdened(home: &Home) -> Served {
    let script = "exec 7</etc/passwd 8>>\"$1\"; exec env --block-signal=TERM,USR1 \"$0\" serve";
    let held = home.socket().with_file_name("held");
    fs::create_dir(held.parent().unwrap()).unwrap();
    fs::set_permissions(held.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut server = Command::new("/bin/sh");
    server.args(["-c", script, env!("CARGO_BIN_EXE_fugue-server")]).arg(held);
    server.env("FUGUE_SOCKET", home.socket()).env("OF_THE_SERVER", "secret").stderr(Stdio::null());
    Served::start(&mut server)
}

#[test]
fn programs_get_no_descriptor_that_their_server_was_started_with() {
    let home = Home::new();
    let mut server = burdened(&home);
    // 3 is the directory that is being listed.
    assert_eq!(prints(&home, "a", &["ls", "-1", "/proc/self/fd"]), ["0", "1", "2", "3"]);
    // Nor does the server keep it: whoever waits for the end of a pipe or a lock would wait as long as it lives.
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let open: Vec<_> = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default()).collect();
    let inherited = |path: &&PathBuf| path.ends_with("passwd") || path.ends_with("held");
    assert_eq!(open.iter().find(inherited), None, "{open:?}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_started_at_once_get_no_terminal_of_each_other() {
    let home = Home::new();
    let mut server = serve(&home, &[]);
    let mut starters = JoinSet::new();
    for starter in 0..8 {
        let mut client = soon(Client::connect(&home.socket())).await.unwrap();
        starters.spawn(async move {
            for number in 0..50 {
                let lists = shell(&format!("{starter}-{number}"), "exec ls -1 /proc/self/fd", Some(LOSSLESS));
                attached(&mut client, &lists).await;
                let (open, _) = transcript(&mut client, 0).await;
                // 3 is the directory that is being listed.
                assert_eq!(String::from_utf8_lossy(&open), "0\r\n1\r\n2\r\n3\r\n");
            }
        });
    }
    while let Some(listed) = starters.join_next().await {
        listed.unwrap();
    }
    server.stop();
}

#[test]
fn neither_programs_nor_the_server_block_inherited_signals() {
    let home = Home::new();
    let mut server = burdened(&home);
    let masks = prints(&home, "a", &["grep", "SigBlk", "/proc/self/status"]);
    assert_eq!(masks, ["SigBlk:\t0000000000000000"]);
    // SIGTERM was among them.
    server.stop();
}

#[test]
fn a_programs_environment_is_its_creators_and_not_the_servers() {
    let home = Home::new();
    let _server = burdened(&home);
    let mut new = home.command(&["new", "a", "--", "/usr/bin/env"]);
    let output = new.env_clear().env("FUGUE_SOCKET", home.socket()).env("MINE", "1").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut variables: Vec<_> = printed.lines().map(str::trim_end).collect();
    variables.sort_unstable();
    let id = format!("FUGUE_SESSION_ID={}", home.session("a")["id"].as_str().unwrap());
    let socket = format!("FUGUE_SOCKET={}", home.socket().display());
    assert_eq!(variables, ["FUGUE_SESSION=a", &id, &socket, "MINE=1", "TERM=xterm-256color"]);
}

/// Processor time that a process has used.
fn worked(pid: u64) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the program's name: user and system time are the fields 14 and 15, in hundredths of a second.
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    Duration::from_millis(10 * fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
}

/// A server that may have so many files open.
fn with_files(home: &Home, files: usize) -> Served {
    let mut server = Command::new("/bin/sh");
    let script = format!("ulimit -n {files}; exec \"$0\" serve");
    server.args(["-c", &script, env!("CARGO_BIN_EXE_fugue-server")]);
    Served::start(server.env("FUGUE_SOCKET", home.socket()).stderr(Stdio::null()))
}

/// Says hello, and waits for what the server says to that.
fn answered(home: &Home) -> (UnixStream, HelloReply) {
    let mut socket = UnixStream::connect(home.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may have said no already, and closed.
    let _ = socket.write_all(&Hello::encode());
    let mut header = [0; 16];
    socket.read_exact(&mut header).expect("an answer");
    let mut payload = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize];
    socket.read_exact(&mut payload).unwrap();
    (socket, HelloReply::decode(&payload).unwrap())
}

#[test]
fn more_connections_than_descriptors_are_each_answered_or_refused() {
    let home = Home::new();
    let mut server = with_files(&home, 64);
    home.succeed(&["new", "before", "-d", "--", "sleep", "1000"]);
    let crowd: Vec<_> = (0..80).map(|_| answered(&home)).collect();
    let welcome = crowd.iter().filter(|(_, reply)| matches!(reply, HelloReply::Welcome { .. })).count();
    assert_eq!(welcome, 40);
    let refused = home.run(&["list"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("the most for its limit of 64 open files") && why.contains("ulimit -n"), "{why}");
    drop(crowd);
    eventually("there is room again", || home.run(&["list"]).status.success());
    serves(&home, "a");
    server.stop();
}

#[test]
fn a_server_out_of_descriptors_says_so_spins_on_nothing_and_recovers() {
    let home = Home::new();
    let mut server = with_files(&home, 40);
    home.succeed(&["new", "first", "-d", "--", "sleep", "1000"]);
    let first = home.session("first")["pid"].as_u64().unwrap();
    // Sessions take all that there are.
    let new = |name: usize| home.run(&["new", &name.to_string(), "-d", "--", "sleep", "1000"]);
    assert!((0..40).any(|name| !new(name).status.success()), "there is room for all of them");
    let crowd: Vec<_> = (0..10).map(|_| answered(&home)).collect();
    let told = |(_, reply): &(_, HelloReply)| matches!(reply, HelloReply::Refused { why, .. } if why.contains("no file descriptor left"));
    assert!(told(&crowd[9]), "{:?}", crowd[9]);
    let refused = home.run(&["list"]);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("no file descriptor left"), "{refused:?}");
    // Idleness is seen over time alone.
    let (start, before) = (Instant::now(), worked(server.pid()));
    while start.elapsed() < Duration::from_millis(300) {
        thread::park_timeout(Duration::from_millis(300));
    }
    let worked = worked(server.pid()) - before;
    assert!(worked < start.elapsed() / 3, "{worked:?} of {:?}", start.elapsed());
    drop(crowd);
    signal(first, Signal::TERM);
    eventually("there is room again", || home.run(&["list"]).status.success());
    eventually("it has ended", || home.session("first")["running"] == false);
    server.stop();
}
