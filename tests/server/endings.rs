//! How sessions end: the last byte first, then the status, then the name is free.

use fugue_server::{
    client::{ClientError, Incoming},
    message::{Event, ExitStatus, Reply, RequestError},
};

use crate::support::*;

#[tokio::test]
async fn the_status_comes_after_the_last_byte_to_everyone() {
    let server = TestServer::start();
    let mut first = server.client().await;
    let session = create(&mut first, "a", "read go; seq 1 50000; printf last; exit 42").await.id;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        attached(&mut client, &attach("a", FROM_OLDEST)).await;
        clients.push(client);
    }
    soon(first.input(session, "\n")).await.unwrap();
    for client in &mut clients {
        let (bytes, status) = transcript(client, 0).await;
        assert!(bytes.ends_with(b"50000\r\nlast"));
        assert_eq!(status, ExitStatus::Code(42));
    }
}

#[tokio::test]
async fn last_words_are_not_lost_however_quick_the_exit() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for round in 0..100 {
        let name = format!("quick-{round}");
        let start = attached(&mut client, &shell(&name, "printf 'last words'", Some(LOSSLESS))).await.start;
        let (bytes, status) = transcript(&mut client, start).await;
        assert_eq!((&bytes[..], status), (&b"last words"[..], ExitStatus::Code(0)), "round {round}");
    }
}

#[tokio::test]
async fn a_client_that_hears_of_the_end_finds_the_name_free() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for _ in 0..50 {
        attached(&mut client, &shell("again", "exit 0", Some(LOSSLESS))).await;
        transcript(&mut client, 0).await;
    }
}

#[tokio::test]
async fn attaching_to_an_ended_or_unknown_session_says_which_it_is() {
    let server = TestServer::with(|server| server.ended_bytes(0));
    let mut client = server.client().await;
    attached(&mut client, &shell("over", "exit 3", Some(LOSSLESS))).await;
    transcript(&mut client, 0).await;
    let error = refused(&mut client, &attach("over", LOSSLESS)).await;
    assert_eq!(error, RequestError::SessionEnded { name: "over".into(), status: ExitStatus::Code(3) });
    assert_eq!(error.to_string(), "session over has ended: exit status 3");
    let error = refused(&mut client, &attach("never", LOSSLESS)).await;
    assert!(error.to_string().contains("no session never"), "{error}");
}

#[tokio::test]
async fn the_last_64_ended_sessions_are_remembered() {
    let server = TestServer::with(|server| server.ended_bytes(0));
    let mut client = server.client().await;
    for number in 0..66 {
        attached(&mut client, &shell(&format!("s{number}"), "exit 1", Some(LOSSLESS))).await;
        transcript(&mut client, 0).await;
    }
    assert_eq!(sessions(&mut client).await.len(), 64);
    assert!(matches!(refused(&mut client, &attach("s1", LOSSLESS)).await, RequestError::UnknownSession(_)));
    assert!(matches!(refused(&mut client, &attach("s2", LOSSLESS)).await, RequestError::SessionEnded { .. }));
}

#[tokio::test]
async fn a_program_that_a_signal_ended_is_reported_so() {
    let server = TestServer::start();
    let mut client = server.client().await;
    attached(&mut client, &shell("a", "kill -USR1 $$", Some(LOSSLESS))).await;
    assert_eq!(transcript(&mut client, 0).await.1, ExitStatus::Signal(10));
}

#[tokio::test]
async fn kill_hangs_up_and_is_answered_once_the_program_is_gone() {
    let server = TestServer::start();
    let mut client = server.client().await;
    create(&mut client, "a", "exec sleep 1000").await;
    let killed = soon(client.request(&kill("a"))).await.unwrap();
    assert_eq!(killed, Reply::Killed(ExitStatus::Signal(1)));
    create(&mut client, "a", "true").await;
}

#[tokio::test]
async fn a_program_that_ignores_the_hangup_is_killed_and_its_last_words_kept() {
    let server = TestServer::with(|server| server.hang_up_grace(std::time::Duration::from_millis(100)));
    let mut client = server.client().await;
    let script = "trap 'echo ignored' HUP; echo ready; while :; do read line; done";
    attached(&mut client, &shell("stubborn", script, Some(LOSSLESS))).await;
    let mut seen = Transcript::from(0);
    seen.read_to(&mut client, "ready").await;
    let mut other = server.client().await;
    let killed = soon(other.request(&kill("stubborn"))).await.unwrap();
    assert_eq!(killed, Reply::Killed(ExitStatus::Signal(9)));
    assert_eq!(seen.read_to_end(&mut client).await, ExitStatus::Signal(9));
}

#[tokio::test]
async fn a_stopped_program_can_be_killed() {
    let server = TestServer::start();
    let mut client = server.client().await;
    create(&mut client, "stopped", "kill -STOP $$").await;
    soon(client.kill(named("stopped"))).await.unwrap();
}

#[tokio::test]
async fn clients_may_kill_their_own_and_others_sessions_while_flooded() {
    let server = TestServer::with(|server| server.queue_depth(1));
    let (mut a, mut b) = (server.client().await, server.client().await);
    let flood = "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done";
    attached(&mut a, &shell("a", flood, Some(LOSSLESS))).await;
    attached(&mut b, &shell("b", flood, Some(LOSSLESS))).await;
    // Neither reads yet, so both queues are full and both programs wait.
    let (kill_b, kill_a) = (soon(a.send(&kill("b"))).await.unwrap(), soon(b.send(&kill("a"))).await.unwrap());
    for (client, own) in [(&mut a, kill_b), (&mut b, kill_a)] {
        let (mut ended, mut answered) = (false, false);
        while !(ended && answered) {
            match soon(client.next()).await.unwrap() {
                Incoming::Reply { request, answer } => {
                    assert_eq!((request, answer), (own, Ok(Reply::Killed(ExitStatus::Signal(1)))));
                    answered = true;
                }
                Incoming::Event(Event::Ended { status, .. }) => {
                    assert_eq!(status, ExitStatus::Signal(1));
                    ended = true;
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_program_that_closes_its_terminal_and_lives_is_waited_for() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "echo before; exec <&- >&- 2>&-; sleep 0.3; echo again > /dev/tty; exit 5";
    attached(&mut client, &shell("closed", script, Some(LOSSLESS))).await;
    let (bytes, status) = transcript(&mut client, 0).await;
    assert_eq!(String::from_utf8_lossy(&bytes), "before\r\nagain\r\n");
    assert_eq!(status, ExitStatus::Code(5));
}

#[tokio::test]
async fn a_descendant_that_keeps_the_terminal_does_not_keep_the_session() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "(trap '' HUP; exec sleep 20) & echo parent done; exit 6";
    attached(&mut client, &shell("orphan", script, Some(LOSSLESS))).await;
    let (bytes, status) = transcript(&mut client, 0).await;
    assert_eq!(String::from_utf8_lossy(&bytes), "parent done\r\n");
    assert_eq!(status, ExitStatus::Code(6));
}

#[tokio::test]
async fn a_client_that_attaches_at_the_end_hears_of_it_or_is_refused() {
    let server = TestServer::start();
    let (mut owner, mut late) = (server.client().await, server.client().await);
    let (mut heard, mut told) = (0, 0);
    for round in 0..60 {
        let name = format!("brief-{round}");
        attached(&mut owner, &shell(&name, "printf x", Some(LOSSLESS))).await;
        match soon(late.attach(named(&name), FROM_OLDEST)).await {
            Ok(attached) => {
                let (bytes, status) = transcript(&mut late, attached.start).await;
                assert_eq!((&bytes[..], status), (&b"x"[..], ExitStatus::Code(0)));
                heard += 1;
            }
            Err(ClientError::Refused(RequestError::SessionEnded { .. })) => told += 1,
            Err(other) => panic!("{other:?}"),
        }
        transcript(&mut owner, 0).await;
    }
    println!("{heard} heard of the end, {told} were told");
    soon(late.ping()).await.unwrap();
    eventually("no session is left in the registry", || server.clients.stats().sessions() == 0).await;
}
