//! Every request is answered exactly once, under its id, with what was asked for or with what to do instead.

use std::collections::HashSet;

use fugue_server::{
    SessionId, TerminalSize,
    client::Incoming,
    message::{ClientMessage, ExitStatus, RequestError, SessionState, Target},
};

use crate::support::*;

#[tokio::test]
async fn requests_sent_all_at_once_are_each_answered_once() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let session = create(&mut client, "a", "cat").await.id;
    let size = TerminalSize::new(100, 30).unwrap();
    let requests = [
        ClientMessage::Ping,
        ClientMessage::List,
        attach("a", LOSSLESS),
        input(session, "x\n"),
        ClientMessage::Resize { session, size, pixels: None },
        ClientMessage::Stats,
        shell("b", "cat", None),
        shell("a", "cat", None),
        attach("none", LOSSLESS),
        ClientMessage::ReadScreen { session: session.into(), lines: 10 },
        ClientMessage::Wait { session: session.into() },
        kill("none"),
        ClientMessage::Detach,
        kill("a"),
        kill("b"),
    ];
    let mut unanswered = HashSet::new();
    for _ in 0..3 {
        for request in &requests {
            assert!(unanswered.insert(soon(client.send(request)).await.unwrap()));
        }
    }
    while !unanswered.is_empty() {
        if let Incoming::Reply { request, answer } = soon(client.next()).await.unwrap() {
            assert!(unanswered.remove(&request), "{request} answered twice, or never asked: {answer:?}");
        }
    }
    // Whatever came after the last answer would show up here.
    let ping = soon(client.send(&ClientMessage::Ping)).await.unwrap();
    loop {
        match soon(client.next()).await.unwrap() {
            Incoming::Reply { request, .. } => break assert_eq!(request, ping),
            _ => continue,
        }
    }
}

#[tokio::test]
async fn a_list_tells_names_programs_sizes_states_and_watchers() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let size = TerminalSize::new(132, 50).unwrap();
    let running = create(&mut client, "running", "exec sleep 1000").await;
    soon(client.request(&ClientMessage::Resize { session: running.id, size, pixels: None })).await.unwrap();
    let mut watchers = Vec::new();
    for _ in 0..3 {
        let mut watcher = server.client().await;
        attached(&mut watcher, &attach("running", LOSSLESS)).await;
        watchers.push(watcher);
    }
    let start = attached(&mut client, &shell("over", "printf 12345; exit 9", Some(LOSSLESS))).await.start;
    transcript(&mut client, start).await;

    let all = sessions(&mut client).await;
    let [first, second] = &all[..] else { panic!("{all:?}") };
    assert_eq!((first.name.as_str(), first.clients, first.size), ("running", 3, size));
    assert_eq!(first.command, "/bin/sh -c 'exec sleep 1000'");
    assert!(matches!(first.state, SessionState::Running { pid: Some(pid) } if pid > 0));
    assert_eq!((second.name.as_str(), second.printed), ("over", 5));
    assert_eq!(second.state, SessionState::Ended(ExitStatus::Code(9)));
}

#[tokio::test]
async fn refusals_say_what_is_wrong_and_change_nothing() {
    let server = TestServer::start();
    let mut client = server.client().await;
    create(&mut client, "a", "cat").await;
    assert!(matches!(refused(&mut client, &shell("a", "cat", None)).await, RequestError::NameTaken(_)));

    let missing = shell_with("b", "", |create| create.command = vec![b"/no/such/program".to_vec()]);
    let error = refused(&mut client, &missing).await;
    assert!(error.to_string().contains("/no/such/program: No such file"), "{error}");
    let nothing = shell_with("b", "", |create| create.command.clear());
    let error = refused(&mut client, &nothing).await;
    assert!(matches!(error, RequestError::NotStarted { .. }), "{error:?}");
    let nowhere = shell_with("b", "", |create| create.cwd = Some(b"/no/such/place".to_vec()));
    let error = refused(&mut client, &nowhere).await;
    assert!(matches!(error, RequestError::NotStarted { .. }), "{error:?}");

    let unknown = SessionId::random();
    let size = TerminalSize::DEFAULT;
    for request in [
        attach("b", LOSSLESS),
        attach_id(unknown, LOSSLESS),
        kill("b"),
        input(unknown, "x"),
        ClientMessage::Resize { session: unknown, size, pixels: None },
        ClientMessage::Kill { session: Target::Id(unknown) },
    ] {
        let error = refused(&mut client, &request).await;
        assert!(matches!(error, RequestError::UnknownSession(_)), "{request:?}: {error:?}");
    }
    assert_eq!(sessions(&mut client).await.len(), 1);
    soon(client.detach()).await.unwrap();
}

#[tokio::test]
async fn a_resize_reaches_the_program() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "stty -echo; trap 'stty size' WINCH; stty size; while :; do read line; done";
    let created = attached(&mut client, &shell("a", script, Some(LOSSLESS))).await;
    let mut transcript = Transcript::from(created.start);
    transcript.read_to(&mut client, "24 80\r\n").await;
    let size = TerminalSize::new(121, 43).unwrap();
    soon(client.send(&ClientMessage::Resize { session: created.session, size, pixels: None })).await.unwrap();
    // The shell looks at its traps once its `read` was interrupted or done.
    soon(client.send(&input(created.session, "\n"))).await.unwrap();
    transcript.read_to(&mut client, "43 121\r\n").await;
    assert_eq!(attached(&mut client, &attach("a", LOSSLESS)).await.size, size);
}

#[tokio::test]
async fn counts_show_shards_clients_and_what_was_written() {
    let server = TestServer::with(|server| server.shards(2));
    let mut client = server.client().await;
    let start = attached(&mut client, &shell("a", "seq 1 1000", Some(LOSSLESS))).await.start;
    let (bytes, _) = transcript(&mut client, start).await;
    let stats = soon(client.stats()).await.unwrap();
    assert_eq!(stats.clients_per_shard.len(), 2);
    assert_eq!(stats.clients_per_shard.iter().sum::<usize>(), 1);
    assert_eq!(stats.pid, std::process::id());
    assert_eq!(stats.connections, 1);
    assert!(stats.bytes_written > bytes.len() as u64);
    assert!(stats.writes > 0 && stats.messages_sent > 0);
}
