//! What programs are started with, and how they are ended.

use std::{fs, time::Duration};

use fugue_server::{
    Client, Server,
    client::ConnectError,
    message::{ExitStatus, Reply, SessionState},
};

use crate::support::*;

#[tokio::test]
async fn a_program_gets_its_terminal_and_no_other_descriptor() {
    let server = TestServer::start();
    let mut client = server.client().await;
    // Others are open while this one is started.
    for number in 0..4 {
        create(&mut client, &format!("other-{number}"), "exec sleep 1000").await;
    }
    let script = "ls -1 /proc/$$/fd; grep SigBlk /proc/self/status; echo $FUGUE_SESSION $TERM; tty";
    attached(&mut client, &shell("clean", script, Some(LOSSLESS))).await;
    let (bytes, _) = transcript(&mut client, 0).await;
    let text = String::from_utf8(bytes).unwrap();
    // What this process was itself started with, and must pass on; and what a shell keeps at 10 for itself.
    let inherited = |fd: &u32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & 0o2_000_000 == 0)
    };
    let descriptors = text.lines().map_while(|line| line.trim().parse().ok());
    let others: Vec<u32> = descriptors.filter(|fd| ![0, 1, 2, 10].contains(fd) && !inherited(fd)).collect();
    assert!(others.is_empty(), "{others:?}: {text}");
    assert!(text.contains("SigBlk:\t0000000000000000"), "{text}");
    assert!(text.contains("clean xterm-256color"), "{text}");
    assert!(text.contains("/dev/pts/"), "{text}");
}

async fn pid(client: &mut Client) -> u32 {
    let SessionState::Running { pid: Some(pid) } = sessions(client).await[0].state else { panic!() };
    pid
}

/// The letter that the system gives a process's state; `None` of one that is gone.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn a_stopped_program_acts_on_a_hangup() {
    let server = TestServer::start();
    let mut client = server.client().await;
    create(&mut client, "stopped", "trap 'exit 7' HUP; kill -STOP $$; exit 8").await;
    let pid = pid(&mut client).await;
    eventually("it has stopped", || state(pid) == Some('T')).await;
    let killed = soon(client.request(&kill("stopped"))).await.unwrap();
    assert_eq!(killed, Reply::Killed(ExitStatus::Code(7)));
}

#[tokio::test]
async fn a_kill_reaches_all_of_the_programs_process_group() {
    let server = TestServer::with(|server| server.hang_up_grace(Duration::from_millis(100)));
    let mut client = server.client().await;
    // The kernel's own hangup, as the leader goes, is ignored by both.
    let script = "trap '' HUP; sleep 1000 & echo child $! child; wait";
    attached(&mut client, &shell("a", script, Some(LOSSLESS))).await;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut client, " child\r\n").await;
    let text = String::from_utf8(seen.bytes).unwrap();
    let child: u32 = text.split(' ').nth(1).unwrap().parse().unwrap();
    let mut other = server.client().await;
    let killed = soon(other.request(&kill("a"))).await.unwrap();
    assert_eq!(killed, Reply::Killed(ExitStatus::Signal(9)));
    // A zombie has ended; the system's own init looks when it likes.
    eventually("its child is gone", || matches!(state(child), None | Some('Z'))).await;
}

#[tokio::test]
async fn a_server_that_sees_programs_out_is_found_no_more() {
    let mut server = TestServer::with(|server| server.hang_up_grace(Duration::from_secs(3600)));
    let mut client = server.client().await;
    let script = "trap '' HUP; echo ready; while :; do read line; done";
    attached(&mut client, &shell("stubborn", script, Some(LOSSLESS))).await;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut client, "ready").await;
    let program = pid(&mut client).await;
    server.stop();
    let socket = server.socket.clone();
    eventually("the socket is removed", || !socket.exists()).await;
    assert!(matches!(soon(Client::connect(&socket)).await, Err(ConnectError::NoServer(_))));
    Server::builder(&socket).bind().unwrap();
    assert!(!server.stop().is_finished() && state(program).is_some());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(program.try_into().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    soon(server.stop()).await.unwrap();
}
