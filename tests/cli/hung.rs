//! Servers that are there and do nothing: every command ends, and says what to do.

use std::{fs, os::unix::net::UnixListener};

use super::*;

/// Every command that asks a server something.
const COMMANDS: [&[&str]; 7] = [
    &["list"],
    &["stats"],
    &["kill", "a"],
    &["send", "a"],
    &["new", "b", "-d"],
    &["new", "b"],
    &["attach", "a"],
];

/// Runs all commands at once; each ends in time, with an explanation of which all of `said` is a part.
fn each_explains(home: &Home, said: &[&str]) {
    let mut children: Vec<_> = COMMANDS
        .iter()
        .map(|command| home.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for (child, command) in children.iter_mut().zip(COMMANDS) {
        let status = wait(child);
        let failed = if ["new", "attach"].contains(&command[0]) { 255 } else { 1 };
        assert_eq!(status.code(), Some(failed), "{command:?}");
        let mut why = String::new();
        child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        assert!(said.iter().all(|said| why.contains(said)), "{command:?}: {why}");
    }
}

#[test]
fn every_command_ends_and_explains_beside_a_stopped_server() {
    let home = Home::new();
    let mut server = serve(&home, &[]);
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    signal(server.pid(), Signal::STOP);
    let pid = server.pid();
    each_explains(&home, &["did not answer", &format!("kill -CONT {pid}"), &format!("kill -9 {pid}")]);
    signal(server.pid(), Signal::CONT);
    assert_eq!(home.session("a")["running"], true);
    server.stop();
}

#[test]
fn every_command_ends_and_explains_beside_a_listener_that_never_answers() {
    let home = Home::new();
    fs::create_dir(home.socket().parent().unwrap()).unwrap();
    let listener = UnixListener::bind(home.socket()).unwrap();
    each_explains(&home, &["did not answer", &format!("process {}", std::process::id())]);
    drop(listener);
    fs::remove_file(home.socket()).unwrap();
}

#[test]
fn a_server_that_ends_and_does_not_get_there_is_named_to_the_next() {
    let home = Home::new();
    let server = serve(&home, &[]);
    signal(server.pid(), Signal::STOP);
    fs::remove_file(home.socket()).unwrap();
    let output = home.run(&["new", "a", "-d"]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(
        why.contains("starting or ending") && why.contains(&format!("kill -9 {}", server.pid())),
        "{why}"
    );
    drop(server);
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
}
