//! `relay`: bytes between a pair of pipes and the server, and what ends it.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    process::{ChildStdin, ChildStdout},
};

use fugue_server::wire::{HEADER_LEN, Hello, HelloReply, Kind};

use super::*;

/// A relay, and its other end.
struct Relayed {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Relayed {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.command(&["relay"]);
        // It finds no `busctl`, so what logind would say here is not asked.
        command.args(arguments).env("PATH", "/nowhere");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Says hello, and reads the whole of the answer: the first bytes are the frame's.
    fn greet(&mut self) -> HelloReply {
        self.input.as_mut().unwrap().write_all(&Hello::encode()).unwrap();
        let mut header = [0; HEADER_LEN];
        self.output.read_exact(&mut header).unwrap();
        assert_eq!(header[4], Kind::HelloReply as u8);
        let mut payload = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize];
        self.output.read_exact(&mut payload).unwrap();
        HelloReply::decode(&payload).unwrap()
    }

    /// What else came until the end, and what was said.
    fn ends(mut self) -> (Option<i32>, Vec<u8>, String) {
        let (mut rest, mut said) = (Vec::new(), String::new());
        self.output.read_to_end(&mut rest).unwrap();
        let status = wait(&mut self.child);
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), rest, said)
    }
}

#[test]
fn a_relay_starts_a_server_and_ends_with_its_client_saying_nothing_else() {
    let home = Home::new();
    let mut relay = Relayed::start(&home, &[]);
    assert!(matches!(relay.greet(), HelloReply::Welcome { .. }));
    home.has_connections(1);
    drop(relay.input.take());
    assert_eq!(relay.ends(), (Some(0), Vec::new(), String::new()));
    assert!(home.server_pid() > 0);
}

#[test]
fn a_relay_without_a_server_says_so_and_starts_none() {
    let home = Home::new();
    for arguments in [&["--no-start"][..], &["--read-only", "--session", "a"]] {
        let (status, printed, said) = Relayed::start(&home, arguments).ends();
        assert_eq!((status, printed), (Some(3), Vec::new()));
        assert!(said.contains("no server listens"), "{said}");
    }
    assert!(!home.socket().exists());
}

#[test]
fn a_relay_ends_with_its_server_and_when_nobody_reads() {
    let home = Home::new();
    let mut served = serve(&home, &[]);
    let mut relay = Relayed::start(&home, &[]);
    relay.greet();
    served.stop();
    let (status, rest, _) = relay.ends();
    assert_eq!(status, Some(0));
    assert_eq!(rest.get(4), Some(&(Kind::Event as u8)), "it was told why");

    let _served = serve(&home, &[]);
    let mut relay = Relayed::start(&home, &[]);
    relay.greet();
    let Relayed { mut child, input, output } = relay;
    drop(output);
    // It notices at the next thing that it can't pass on.
    let mut input = input.unwrap();
    let ping = [&[0, 0, 0, 0, Kind::Ping as u8, 0, 0, 0][..], &1_u64.to_le_bytes()].concat();
    eventually("it ends", || match input.write_all(&ping) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => true,
        written => {
            written.unwrap();
            false
        }
    });
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn a_relay_whose_server_is_stopped_ends_all_the_same() {
    let home = Home::new();
    let served = serve(&home, &[]);
    let mut relay = Relayed::start(&home, &[]);
    relay.greet();
    signal(served.pid(), Signal::STOP);
    drop(relay.input.take());
    let (status, rest, _) = relay.ends();
    signal(served.pid(), Signal::CONT);
    assert_eq!((status, rest), (Some(0), Vec::new()));
}

#[test]
fn who_starts_a_server_that_a_logout_ends_is_told_how_to_keep_it() {
    for (answers, told) in [
        ("*KillUserProcesses) echo 'b true';; *) echo 'b false';;", Some("`loginctl enable-linger`")),
        ("*) echo 'b true';;", Some("`systemd-run --user fugue-server serve`")),
        ("*) echo 'b false';;", None),
        ("*) exit 1;;", None),
        ("*) exec sleep 1000;;", None),
    ] {
        let relays = || {
            let home = Home::new();
            let busctl = home.directory.path().join("busctl");
            fs::write(&busctl, format!("#!/bin/sh\ncase \"$*\" in {answers} esac\n")).unwrap();
            fs::set_permissions(&busctl, Permissions::from_mode(0o755)).unwrap();
            let path = format!("{}:/usr/bin:/bin", home.directory.path().display());
            [true, false].map(|_| home.command(&["relay"]).env("PATH", &path).output().unwrap().stderr)
        };
        // On a machine that does much else, an answer may take too long.
        eventually(answers, || {
            let [starts, finds] = relays().map(|said| String::from_utf8(said).unwrap());
            assert_eq!(finds, "", "{answers}");
            assert!(starts.lines().count() <= 1, "{answers}: {starts}");
            told.map_or(starts.is_empty(), |told| starts.contains(told))
        });
    }
}
