//! Other users of the machine, and text that would steer a terminal. What needs a second user runs as root and says so
//! where it can't.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use fugue_server::wire::Hello;

use super::*;

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o1777)).unwrap();
}

#[test]
fn another_user_can_neither_reach_nor_read_nor_replace_the_socket() {
    let Some(other) = Other::new() else { return };
    let home = Home::new();
    // So that the socket's own directory alone keeps others out.
    open_to_all(home.directory.path());
    home.succeed(&["new", "work", "-d", "--", "sleep", "1000"]);
    let tries = [
        "\"$0\" list",
        "\"$0\" new theirs -d",
        "ls \"$1\"",
        "cat \"$1/server.sock.log\"",
        "echo x > \"$1/server.sock.lock\"",
        "rm -f \"$1/server.sock\"",
        "ln -s /etc/passwd \"$1/server.sock.log2\"",
        "mv \"$1\" \"$1.moved\"",
        "rmdir \"$1\"",
    ];
    for attempt in tries {
        let mut shell = other.shell(attempt);
        shell.arg(home.socket().parent().unwrap()).env("FUGUE_SOCKET", home.socket());
        let output = shell.output().unwrap();
        assert!(!output.status.success(), "{attempt}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("work"), "{attempt}: {output:?}");
    }
    let sessions = home.json(&["list", "--json"]);
    assert_eq!(sessions.as_array().unwrap().len(), 1);
    assert_eq!(sessions[0]["name"], "work");
}

#[test]
fn a_process_of_another_user_that_gets_to_the_socket_is_told_nothing() {
    let Some(other) = Other::new() else { return };
    let _server = other.serve();
    // The superuser gets anywhere, and is another user here.
    let mut socket = UnixStream::connect(other.home.socket()).unwrap();
    let sent = socket.write_all(&Hello::encode());
    // The end, or an error; one that was let in would be welcomed.
    let read = socket.read(&mut [0; 64]);
    assert!(!matches!(read, Ok(1..)), "{sent:?} {read:?}");
}

#[test]
fn a_client_speaks_to_no_server_of_another_users() {
    let Some(other) = Other::new() else { return };
    let _server = other.serve();
    for command in [&["new", "a", "-d"][..], &["attach", "a"], &["list"], &["send", "a"]] {
        let output = other.home.run(command);
        assert!(!output.status.success(), "{output:?}");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(why.contains(&format!("belongs to user {NOBODY}")), "{why}");
    }
}

#[test]
fn a_squatted_directory_is_refused_whatever_is_in_it() {
    let Some(other) = Other::new() else { return };
    let directory = other.home.socket().parent().unwrap().to_owned();
    // As /tmp is: anybody may make things there, and nobody replaces another's.
    chown(other.home.directory.path(), Some(0), None).unwrap();
    open_to_all(other.home.directory.path());
    let squat = |script: &str| {
        let squatted = other.shell(script).arg(&directory).output().unwrap();
        assert!(squatted.status.success(), "{squatted:?}");
        let output = other.home.run(&["new", "a", "-d"]);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        fs::remove_dir_all(&directory).or_else(|_| fs::remove_file(&directory)).unwrap();
        why
    };
    let why = squat("mkdir -m 700 \"$1\"");
    assert!(why.contains(&format!("belongs to user {NOBODY}")), "{why}");
    // A link to where the victim may write, and where a lock, a log and a socket would then appear.
    let target = tempfile::tempdir().unwrap();
    let why = squat(&format!("ln -s {} \"$1\"", target.path().display()));
    assert!(why.contains("is not a directory"), "{why}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[test]
fn the_owner_of_a_directory_above_cannot_make_anyone_create_a_file() {
    let Some(other) = Other::new() else { return };
    let target = tempfile::tempdir().unwrap();
    let created = target.path().join("created");
    // Root's own directory, which the other user could exchange for one with such links at any moment.
    let own = other.home.socket().parent().unwrap().to_owned();
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["server.sock.log", "server.sock.lock"] {
        std::os::unix::fs::symlink(&created, own.join(name)).unwrap();
    }
    let refused = |command: &mut Command, why: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
        assert!(!created.exists());
    };
    refused(&mut other.home.command(&["new", "a", "-d"]), &format!("belongs to user {NOBODY}"));
    // Where the directories above are root's, a link is refused for itself.
    chown(other.home.directory.path(), Some(0), None).unwrap();
    refused(&mut other.home.command(&["new", "a", "-d"]), "server.sock.lock failed");
    fs::remove_file(own.join("server.sock.lock")).unwrap();
    refused(&mut other.home.command(&["new", "a", "-d"]), "server.sock.log failed");
    fs::remove_file(own.join("server.sock.log")).unwrap();
    other.home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
}

#[test]
fn a_runtime_directory_of_another_users_is_passed_over_with_a_warning() {
    let Some(other) = Other::new() else { return };
    let theirs = other.home.directory.path();
    let output =
        other.home.command(&["list"]).env_remove("FUGUE_SOCKET").env("XDG_RUNTIME_DIR", theirs).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(theirs.to_str().unwrap()) && said.contains("/tmp/fugue-0/server.sock"), "{said}");
    // Its owner has it as ever.
    let output = other.command(&["list"]).env_remove("FUGUE_SOCKET").env("XDG_RUNTIME_DIR", theirs).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("is not a directory of this user's"), "{said}");
    assert!(said.contains(theirs.join("fugue/server.sock").to_str().unwrap()), "{said}");
}

/// Clears the screen, if it reaches a terminal.
const ESCAPE: &str = "\x1b[2J";

/// What a command prints on a terminal, and in a pipe.
fn printed(home: &Home, arguments: &[&str]) -> [Vec<u8>; 2] {
    let mut terminal = home.terminal(arguments);
    wait(&mut terminal.child);
    terminal.wait_until("all of it", |shown| (!shown.bytes.is_empty()).then_some(()));
    let at_a_terminal =
        terminal.wait_until("the end", |shown| shown.bytes.ends_with(b"\n").then(|| shown.bytes.clone()));
    let output = home.run(arguments);
    [at_a_terminal, [output.stdout, output.stderr].concat()]
}

fn harmless(home: &Home, arguments: &[&str]) {
    for bytes in printed(home, arguments) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(ESCAPE) && !text.contains('\u{7}'), "{arguments:?}: {text:?}");
        assert!(text.contains("[2J"), "{arguments:?}: {text:?} does not show what it was");
    }
}

#[test]
fn text_that_would_steer_a_terminal_is_shown_and_not_obeyed() {
    let home = Home::new();
    let hostile = format!("x{ESCAPE}\u{7}\u{9b}31m");
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", "sleep 1000", &hostile]);
    harmless(&home, &["list"]);
    // Names that are none, programs that are none, sockets that nobody listens on, options that are none.
    harmless(&home, &["attach", &hostile]);
    harmless(&home, &["new", "a", "--", &hostile]);
    harmless(&home, &["stats", "--socket", &format!("/nowhere/{hostile}")]);
    harmless(&home, &["list", &format!("--{hostile}")]);
}

#[test]
fn text_that_would_steer_a_terminal_is_harmless_in_what_a_server_logs() {
    let home = Home::new();
    let socket = home.socket().with_file_name(format!("x{ESCAPE}\u{7}"));
    let mut server = home.command(&["serve", "--log", "trace", "--socket"]);
    let mut server = Served::start(server.arg(&socket).stderr(Stdio::piped()));
    let log = server.0.stderr.take().unwrap();
    server.stop();
    let mut text = String::new();
    BufReader::new(log).read_to_string(&mut text).unwrap();
    assert!(text.contains("listening") && text.contains("[2J"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\u{7}'), "{text:?}");
}
