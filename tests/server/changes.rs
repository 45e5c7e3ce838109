//! What one client does to a session and to its other clients: another name, another size, signals, detaching,
//! switching; and the events that tell of it.

use fugue_server::{
    Client, SessionId, TerminalSize,
    client::{ClientError, Incoming},
    message::{
        Access, AttachOptions, CloseReason, DetachWhich, Event, ExitStatus, Happened, OnLag, RequestError,
        SessionChange, SessionEvent, SessionInfo, SizePolicy, StartAt, Target,
    },
};

use crate::support::*;

fn prefix(name: &str) -> Target {
    Target::Prefix(name.parse().unwrap())
}

async fn change(client: &mut Client, session: Target, change: SessionChange) -> Result<usize, RequestError> {
    match soon(client.change(session, change)).await {
        Ok(changed) => Ok(changed.clients),
        Err(ClientError::Refused(refused)) => Err(refused),
        Err(other) => panic!("{other}"),
    }
}

async fn found(client: &mut Client, session: Target) -> Result<String, RequestError> {
    match soon(client.find(session)).await {
        Ok(info) => Ok(info.name.to_string()),
        Err(ClientError::Refused(refused)) => Err(refused),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_beginning_of_a_name_is_enough_where_no_other_has_it() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for name in ["work", "worker", "build"] {
        create(&mut client, name, "sleep 1000").await;
    }
    assert_eq!(found(&mut client, prefix("b")).await.unwrap(), "build");
    assert_eq!(found(&mut client, prefix("worke")).await.unwrap(), "worker");
    assert_eq!(found(&mut client, prefix("work")).await.unwrap(), "work", "an exact name wins");
    let refused = found(&mut client, prefix("wo")).await.unwrap_err();
    assert_eq!(refused.to_string(), "wo is the beginning of several names: work, worker; write more of it");
    assert_eq!(found(&mut client, named("b")).await, Err(RequestError::UnknownSession("b".to_owned())));
    // What ended is not taken for another whose name begins like that.
    soon(client.kill(named("work"))).await.unwrap();
    assert!(matches!(found(&mut client, prefix("work")).await, Err(RequestError::SessionEnded { .. })));
    assert_eq!(found(&mut client, prefix("wo")).await.unwrap(), "worker");
    assert_eq!(found(&mut client, Target::Here).await, Err(RequestError::NotInside));
}

#[tokio::test]
async fn a_renamed_session_is_found_by_its_new_name_only_and_frees_the_old_one() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let id = create(&mut client, "a", "sleep 1000").await.id;
    create(&mut client, "b", "sleep 1000").await;
    let rename = |name: &str| SessionChange::Rename(name.parse().unwrap());
    let taken = change(&mut client, named("a"), rename("b")).await.unwrap_err();
    assert_eq!(taken, RequestError::NameTaken("b".parse().unwrap()));
    change(&mut client, named("a"), rename("c")).await.unwrap();
    change(&mut client, named("c"), rename("c")).await.unwrap();
    assert_eq!(found(&mut client, named("a")).await, Err(RequestError::UnknownSession("a".to_owned())));
    assert_eq!(found(&mut client, id.into()).await.unwrap(), "c");
    create(&mut client, "a", "sleep 1000").await;
    // It ends under its new name, which is free then.
    soon(client.kill(id)).await.unwrap();
    assert!(matches!(found(&mut client, named("c")).await, Err(RequestError::SessionEnded { .. })));
    create(&mut client, "c", "sleep 1000").await;
}

#[tokio::test]
async fn a_size_that_is_given_stays_until_another_policy() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let id = create(&mut client, "a", "sleep 1000").await.id;
    let size = |cols, rows| TerminalSize::new(cols, rows).unwrap();
    let terminal = AttachOptions::new(StartAt::Now, OnLag::Resync).with_size(Some(size(100, 30)));
    let mut viewer = server.client().await;
    soon(viewer.attach(id, terminal)).await.unwrap();
    let given = SessionChange::Size { policy: SizePolicy::Fixed, size: Some(size(120, 40)) };
    change(&mut client, named("a"), given).await.unwrap();
    soon(viewer.resize(id, size(90, 20), None)).await.unwrap();
    assert_eq!(soon(client.find(id)).await.unwrap().size, size(120, 40));
    let latest = SessionChange::Size { policy: SizePolicy::Latest, size: None };
    change(&mut client, named("a"), latest).await.unwrap();
    assert_eq!(soon(client.find(id)).await.unwrap().size, size(90, 20));
}

#[tokio::test]
async fn a_signal_reaches_what_is_in_the_foreground_and_no_unknown_one_is_sent() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "trap 'echo got-it; exit 3' USR1; echo ready; while :; do sleep 0.01; done";
    let mut viewer = server.client().await;
    let attached = attached(&mut viewer, &shell("a", script, Some(LOSSLESS))).await;
    let mut output = Transcript::from(attached.start);
    output.read_to(&mut viewer, "ready").await;
    change(&mut client, named("a"), SessionChange::Signal(10)).await.unwrap();
    output.read_to(&mut viewer, "got-it").await;
    assert_eq!(soon(server.sessions.ended(&attached.session.into())).await, Ok(ExitStatus::Code(3)));
    create(&mut client, "b", "sleep 1000").await;
    for number in [-1, 0, 32, 64, i32::MAX] {
        let refused = change(&mut client, named("b"), SessionChange::Signal(number)).await.unwrap_err();
        assert!(refused.to_string().contains("there is no signal"), "{refused}");
    }
}

/// Waits until a client is told that its connection ends, and returns why.
async fn closed(client: &mut Client) -> CloseReason {
    loop {
        match soon(client.next()).await {
            Ok(_) => {}
            Err(ClientError::Closed(reason)) => return reason,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn terminals_are_detached_and_recorders_only_when_they_are_named() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let id = create(&mut client, "a", "sleep 1000").await.id;
    let terminal = TERMINAL.with_start(StartAt::Now);
    let mut viewers = Vec::new();
    for options in [terminal, terminal, terminal.with_access(Access::ReadOnly), LOSSLESS] {
        let mut viewer = server.client().await;
        soon(viewer.attach(id, options)).await.unwrap();
        viewers.push(viewer);
    }
    let [first, second, reader, recorder] = &mut viewers[..] else { unreachable!() };
    let stats = stats(&mut client).await;
    let of_reader = stats.clients.iter().find(|stats| stats.client == reader.id()).unwrap();
    assert_eq!((of_reader.access, of_reader.size), (Access::ReadOnly, Some(TerminalSize::DEFAULT)));
    assert_eq!(of_reader.pid, Some(std::process::id()));
    assert_eq!(soon(client.find(id)).await.unwrap().latest, Some(second.id()));

    let detach = |which| SessionChange::Detach(which);
    assert_eq!(change(&mut client, id.into(), detach(DetachWhich::Others)).await, Ok(2));
    assert_eq!(closed(first).await, CloseReason::Detached);
    assert_eq!(closed(reader).await, CloseReason::Detached);
    assert_eq!(change(&mut client, id.into(), detach(DetachWhich::Latest)).await, Ok(1));
    assert_eq!(closed(second).await, CloseReason::Detached);
    eventually("it is gone", || server.clients.watching(id) == [recorder.id()]).await;
    assert_eq!(change(&mut client, id.into(), detach(DetachWhich::Terminals)).await, Ok(0));
    let nobody = change(&mut client, id.into(), detach(DetachWhich::Latest)).await.unwrap_err();
    assert_eq!(nobody, RequestError::NobodyAttached("a".parse().unwrap()));
    let stranger = change(&mut client, id.into(), detach(DetachWhich::One(second.id()))).await.unwrap_err();
    assert!(matches!(stranger, RequestError::NotAttached { .. }), "{stranger}");
    assert_eq!(change(&mut client, id.into(), detach(DetachWhich::One(recorder.id()))).await, Ok(1));
    assert_eq!(closed(recorder).await, CloseReason::Detached);
}

#[tokio::test]
async fn the_terminal_used_last_is_asked_to_switch_and_no_other() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let [a, b] = [create(&mut client, "a", "sleep 1000").await.id, create(&mut client, "b", "cat").await.id];
    let switch = |to: &str| SessionChange::Switch(named(to));
    let nobody = change(&mut client, a.into(), switch("b")).await.unwrap_err();
    assert_eq!(nobody, RequestError::NobodyAttached("a".parse().unwrap()));
    let terminal = TERMINAL.with_start(StartAt::Now);
    let (mut first, mut second) = (server.client().await, server.client().await);
    soon(first.attach(a, terminal)).await.unwrap();
    soon(second.attach(a, terminal)).await.unwrap();
    // A key makes the first one the latest.
    soon(first.input(a, "x")).await.unwrap();
    assert_eq!(change(&mut client, a.into(), switch("b")).await, Ok(1));
    let told = loop {
        if let Incoming::Event(Event::Switch { to }) = soon(first.next()).await.unwrap() {
            break to;
        }
    };
    assert_eq!(told, b);
    let itself = change(&mut client, a.into(), switch("a")).await.unwrap_err();
    assert!(itself.to_string().contains("is session a itself"), "{itself}");
    let unknown = change(&mut client, a.into(), switch("c")).await.unwrap_err();
    assert_eq!(unknown, RequestError::UnknownSession("c".to_owned()));
}

#[tokio::test]
async fn a_read_only_client_changes_nothing() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let id = create(&mut client, "a", "sleep 1000").await.id;
    let options = AttachOptions::new(StartAt::Now, OnLag::Resync).with_access(Access::ReadOnly);
    soon(client.attach(id, options)).await.unwrap();
    for refused in [
        SessionChange::Rename("b".parse().unwrap()),
        SessionChange::Signal(15),
        SessionChange::Detach(DetachWhich::Terminals),
        SessionChange::Size { policy: SizePolicy::Latest, size: None },
        SessionChange::Switch(named("a")),
    ] {
        assert_eq!(change(&mut client, id.into(), refused).await, Err(RequestError::ReadOnly));
    }
}

async fn event(client: &mut Client) -> SessionEvent {
    loop {
        if let Incoming::Event(Event::Session(event)) = soon(client.next()).await.unwrap() {
            return *event;
        }
    }
}

#[tokio::test]
async fn what_happens_to_sessions_is_told_in_order_to_whom_asked() {
    let server = TestServer::start();
    let (mut listener, mut client) = (server.client().await, server.client().await);
    soon(listener.listen()).await.unwrap();
    let attached = attached(&mut client, &shell("a", "read x; printf '\\a'; read x", Some(LOSSLESS))).await;
    let rename = SessionChange::Rename("b".parse().unwrap());
    soon(listener.change(attached.session, rename)).await.unwrap();
    soon(client.input(attached.session, "\n")).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = event(&mut listener).await;
        assert_eq!(event.session, attached.session);
        seen.push((event.name.to_string(), event.what));
    }
    soon(client.detach()).await.unwrap();
    soon(listener.kill(attached.session)).await.unwrap();
    for _ in 0..2 {
        let event = event(&mut listener).await;
        seen.push((event.name.to_string(), event.what));
    }
    let expected = [
        ("a", Happened::Created),
        ("a", Happened::Attached(client.id())),
        ("b", Happened::Renamed("a".parse().unwrap())),
        ("b", Happened::Bell),
        ("b", Happened::Detached(client.id())),
        ("b", Happened::Ended(ExitStatus::Signal(1))),
    ];
    assert_eq!(seen, expected.map(|(name, what)| (name.to_owned(), what)));
}

#[tokio::test]
async fn a_listener_that_is_too_slow_is_told_how_much_it_lost() {
    let server = TestServer::start();
    let (mut listener, mut client) = (server.client().await, server.client().await);
    soon(listener.listen()).await.unwrap();
    let id = create(&mut client, "a", "sleep 1000").await.id;
    let options = AttachOptions::new(StartAt::Now, OnLag::Resync);
    // It reads nothing meanwhile: more than its socket and its queue hold.
    const TIMES: u64 = 4000;
    for _ in 0..TIMES {
        soon(client.attach(id, options)).await.unwrap();
        soon(client.detach()).await.unwrap();
    }
    let (mut told, mut lost) = (0, 0);
    while told + lost < 2 * TIMES + 1 {
        match soon(listener.next()).await.unwrap() {
            Incoming::Event(Event::Session(_)) => told += 1,
            Incoming::Event(Event::Lost(more)) => lost += more,
            _ => {}
        }
    }
    assert_eq!(told + lost, 2 * TIMES + 1);
    assert!(lost > 0, "{told} were told");
}

#[tokio::test]
async fn a_list_says_what_was_not_seen_since_the_last_terminal_left() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = r"printf '\033]2;a title\007one'; read x; printf 'two\a'; read x";
    let id = create(&mut client, "a", script).await.id;
    let info = soon(client.find(id)).await.unwrap();
    assert_eq!((info.used_ms, info.latest), (None, None), "never used");
    let mut viewer = server.client().await;
    let terminal =
        AttachOptions::new(StartAt::Oldest, OnLag::Lossless).with_size(Some(TerminalSize::DEFAULT));
    let attached = soon(viewer.attach(id, terminal)).await.unwrap();
    Transcript::from(attached.start).read_to(&mut viewer, "one").await;
    let info = soon(client.find(id)).await.unwrap();
    assert_eq!((info.unseen, info.bell, info.latest), (0, false, Some(viewer.id())));
    assert!(info.used_ms.is_some());
    eventually_found(&mut client, id, |info| info.title.as_deref() == Some("a title")).await;
    soon(viewer.detach()).await.unwrap();
    soon(client.input(id, "\n")).await.unwrap();
    let info = eventually_found(&mut client, id, |info| info.bell).await;
    assert!(info.unseen >= 4, "{info:?}");
    soon(viewer.attach(id, terminal)).await.unwrap();
    let info = soon(client.find(id)).await.unwrap();
    assert_eq!((info.unseen, info.bell), (0, false));
}

/// Asks for a session until it is as it should be.
async fn eventually_found(
    client: &mut Client,
    session: SessionId,
    is_it: impl Fn(&SessionInfo) -> bool,
) -> SessionInfo {
    soon(async {
        loop {
            let info = client.find(session).await.unwrap();
            if is_it(&info) {
                return info;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}
