//! Links: who may redeem one, what a connection can do that did, and when it can do nothing any more.

use std::time::Duration;

use fugue_server::{
    Client, SessionId, SessionName, TerminalSize,
    client::{ClientError, Incoming},
    message::{
        Access, Attach, AttachOptions, ClientMessage, CloseReason, Create, Event, LinkToken, OnLag, Relay,
        RequestError, SessionChange, SessionState, Share, StartAt, Target, UnshareWhich, ViewerId,
    },
    wire,
};
use tokio::{io::AsyncWriteExt, net::UnixStream};

use crate::support::*;

const VIEW: AttachOptions = AttachOptions::new(StartAt::Screen, OnLag::Resync).with_access(Access::ReadOnly);
const TYPIST: AttachOptions = VIEW.with_access(Access::ReadWrite);

/// A link to session `a`, for its secret.
async fn link(owner: &mut Client, change: impl FnOnce(Share) -> Share) -> LinkToken {
    soon(owner.share(change(Share::of(named("a"))))).await.unwrap().token
}

/// A connection that redeemed a link.
async fn viewer(server: &TestServer, token: LinkToken) -> Client {
    let mut client = server.client().await;
    soon(client.redeem(token, ViewerId::random())).await.unwrap();
    client
}

/// Why a link is not redeemed.
async fn not_redeemed(server: &TestServer, token: LinkToken, viewer: ViewerId) -> RequestError {
    refused(&mut server.client().await, &ClientMessage::Redeem { token, viewer }).await
}

/// Why a connection is ended.
async fn closed(client: &mut Client) -> CloseReason {
    loop {
        match soon(client.next()).await {
            Err(ClientError::Closed(reason)) => return reason,
            Err(error) => panic!("{error}"),
            Ok(_) => {}
        }
    }
}

fn is_beyond(refusal: &RequestError, access: Access) -> bool {
    *refusal == RequestError::BeyondLink { access }
}

/// What nobody may do by a link to session `a`; and `b`, which is another.
fn beyond(a: SessionId, b: SessionId) -> Vec<ClientMessage> {
    let size = TerminalSize::new(20, 5).unwrap();
    let rename = SessionChange::Rename("c".parse().unwrap());
    let mut all = vec![
        ClientMessage::List,
        ClientMessage::Listen,
        ClientMessage::Create(Create::new("c".parse().unwrap(), vec![b"true".to_vec()])),
        input(b, "x"),
        ClientMessage::Resize { session: b, size, pixels: None },
        ClientMessage::Attach(Attach::new(Target::Id(a), LOSSLESS.with_access(Access::ReadOnly))),
        ClientMessage::Attach(Attach::new(Target::Id(a), LOSSLESS)),
        ClientMessage::Attach(Attach::new(Target::Here, VIEW)),
        ClientMessage::Change { session: Target::Id(a), change: SessionChange::Switch(Target::Id(b)) },
    ];
    for session in [named("b"), Target::Id(b), Target::Prefix("b".parse().unwrap()), named("none")] {
        all.extend([
            ClientMessage::Attach(Attach::new(session.clone(), VIEW)),
            ClientMessage::Attach(Attach::new(session.clone(), TYPIST)),
            ClientMessage::ReadScreen { session: session.clone(), lines: 0 },
            ClientMessage::Find { session: session.clone() },
            ClientMessage::Wait { session },
        ]);
    }
    for session in [Target::Id(a), named("a"), Target::Id(b)] {
        all.push(ClientMessage::Kill { session: session.clone() });
        all.push(ClientMessage::Change { session, change: rename.clone() });
    }
    all.extend(never());
    all
}

/// What nobody may do by any link.
fn never() -> Vec<ClientMessage> {
    let environment = |session| ClientMessage::Environment { session };
    vec![
        ClientMessage::Stats,
        environment(named("a")),
        environment(Target::Here),
        ClientMessage::Share(Share::of(named("a"))),
        ClientMessage::Share(Share::of_all()),
        ClientMessage::Shares,
        ClientMessage::Unshare(UnshareWhich::All),
        ClientMessage::Redeem { token: LinkToken::random(), viewer: ViewerId::random() },
        ClientMessage::Change { session: named("a"), change: SessionChange::Signal(9) },
    ]
}

#[tokio::test]
async fn a_link_lets_one_watch_its_session_and_nothing_else() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "echo shown; exec cat").await.id;
    let b = create(&mut owner, "b", "echo secret; exec cat").await.id;
    let shared = soon(owner.share(Share::of(named("a")).with_label(Some("Ann\x07".into())))).await.unwrap();
    let mut client = server.client().await;
    let redeemed = soon(client.redeem(shared.token, ViewerId::random())).await.unwrap();
    let linked = redeemed.session.unwrap();
    assert_eq!((linked.id, linked.name.as_str(), redeemed.access), (a, "a", Access::ReadOnly));
    assert_eq!((redeemed.link, redeemed.label.as_deref()), (shared.link.id, Some("Ann")));

    let size = TerminalSize::new(20, 5).unwrap();
    for is_attached in [false, true] {
        let mut requests = beyond(a, b);
        requests.push(input(a, "x"));
        requests.push(ClientMessage::Attach(Attach::new(Target::Id(a), TYPIST)));
        if !is_attached {
            requests.push(ClientMessage::Resize { session: a, size, pixels: None });
        }
        for request in requests {
            let refusal = refused(&mut client, &request).await;
            assert!(is_beyond(&refusal, Access::ReadOnly), "{request:?}: {refusal:?}");
        }
        assert_eq!(soon(client.find(a)).await.unwrap().id, a);
        assert_eq!(soon(client.find(named("a"))).await.unwrap().id, a);
        assert!(!soon(client.read_screen(a, 10)).await.unwrap().drawing.is_empty());
        soon(client.ping()).await.unwrap();
        assert_eq!(soon(client.attach(a, VIEW)).await.unwrap().session, a);
        soon(client.resync()).await.unwrap();
        // Its own terminal's size is its own business.
        soon(client.attach(a, VIEW.with_size(Some(TerminalSize::DEFAULT)))).await.unwrap();
        soon(client.resize(a, size, None)).await.unwrap();
    }
    assert_eq!(soon(owner.find(a)).await.unwrap().size, TerminalSize::DEFAULT, "nothing was resized");
    assert_eq!(sessions(&mut owner).await.len(), 2);

    // The link is the session's under any name, and no other's.
    soon(owner.change(a, SessionChange::Rename("old".parse().unwrap()))).await.unwrap();
    create(&mut owner, "a", "exec cat").await;
    assert_eq!(soon(client.attach(named("old"), VIEW)).await.unwrap().session, a);
    let refusal = refused(&mut client, &attach("a", VIEW)).await;
    assert!(is_beyond(&refusal, Access::ReadOnly), "{refusal:?}");
    assert_eq!(soon(owner.shares()).await.unwrap()[0].session.as_ref().unwrap().name.as_str(), "old");
    soon(owner.kill(a)).await.unwrap();
    soon(client.wait(a)).await.unwrap();
}

#[tokio::test]
async fn a_link_to_write_lets_one_type_and_size_and_no_more() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "exec cat").await.id;
    let b = create(&mut owner, "b", "exec cat").await.id;
    let token = link(&mut owner, |share| share.with_access(Access::ReadWrite)).await;
    let mut client = viewer(&server, token).await;
    for request in beyond(a, b) {
        let refusal = refused(&mut client, &request).await;
        assert!(is_beyond(&refusal, Access::ReadWrite), "{request:?}: {refusal:?}");
    }
    let size = TerminalSize::new(100, 30).unwrap();
    soon(client.input(a, "typed\n")).await.unwrap();
    soon(client.resize(a, size, None)).await.unwrap();
    assert_eq!(soon(owner.find(a)).await.unwrap().size, size);
    let to = soon(client.attach(a, TYPIST.with_start(StartAt::Oldest))).await.unwrap();
    Transcript::from(to.start).read_to(&mut client, "typed").await;
    // One that only watches by it can't type, as ever.
    soon(client.attach(a, VIEW)).await.unwrap();
    assert!(matches!(soon(client.resize(b, size, None)).await, Err(ClientError::Refused(_))));
    assert_eq!(soon(owner.find(b)).await.unwrap().size, TerminalSize::DEFAULT);
}

#[tokio::test]
async fn a_link_to_all_sessions_shows_those_to_come_and_says_what_more() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "echo shown; exec cat").await.id;
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let shared = soon(owner.share(Share::of_all().with_access(access))).await.unwrap();
        let mut client = server.client().await;
        let redeemed = soon(client.redeem(shared.token, ViewerId::random())).await.unwrap();
        assert_eq!((redeemed.session, redeemed.access), (None, access));
        let name: SessionName = format!("late-{access:?}").parse().unwrap();
        let late = create(&mut owner, name.as_str(), "exec cat").await.id;
        assert!(soon(client.list()).await.unwrap().iter().any(|info| info.id == late));
        soon(client.listen()).await.unwrap();
        soon(client.read_screen(late, 0)).await.unwrap();
        soon(client.attach(late, VIEW)).await.unwrap();
        soon(client.detach()).await.unwrap();
        let start = ClientMessage::Create(Create::new("c".parse().unwrap(), vec![b"cat".to_vec()]));
        let mut writes = vec![
            input(a, "x"),
            ClientMessage::Resize { session: a, size: TerminalSize::new(90, 20).unwrap(), pixels: None },
            ClientMessage::Attach(Attach::new(named("a"), TYPIST)),
            start,
            ClientMessage::Kill { session: Target::Id(late) },
        ];
        if access == Access::ReadWrite {
            for request in writes.drain(..) {
                soon(client.request(&request)).await.unwrap();
            }
            let info = soon(owner.find(named("c"))).await.unwrap();
            assert!(matches!(info.state, SessionState::Running { .. }));
        }
        writes.extend(never());
        writes.push(ClientMessage::Attach(Attach::new(Target::Id(a), LOSSLESS)));
        writes.push(shell("d", "exec cat", Some(LOSSLESS)));
        for request in writes {
            let refusal = refused(&mut client, &request).await;
            assert!(is_beyond(&refusal, access), "{request:?}: {refusal:?}");
        }
    }
}

#[tokio::test]
async fn a_link_that_is_not_valid_is_refused_in_one_way() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    create(&mut owner, "a", "exec cat").await;
    let expired = link(&mut owner, |share| share.with_lifetime_seconds(Some(1))).await;
    let used = link(&mut owner, |share| share.with_uses(Some(1))).await;
    viewer(&server, used).await;
    let revoked = soon(owner.share(Share::of(named("a")))).await.unwrap();
    soon(owner.unshare(UnshareWhich::One(revoked.link.id))).await.unwrap();
    soon(async { while owner.shares().await.unwrap().len() > 1 {} }).await;
    for token in [LinkToken::random(), LinkToken::from_bytes([0; 16]), expired, used, revoked.token] {
        let refusal = not_redeemed(&server, token, ViewerId::random()).await;
        assert_eq!(refusal, RequestError::NoSuchLink);
    }
    let again = ClientMessage::Unshare(UnshareWhich::One(revoked.link.id));
    assert_eq!(refused(&mut owner, &again).await, RequestError::UnknownLink(revoked.link.id));
}

#[tokio::test]
async fn a_connection_that_tried_a_link_can_do_nothing_without_one() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "exec cat").await.id;
    let mut client = server.client().await;
    soon(client.ping()).await.unwrap();
    let wrong = ClientMessage::Redeem { token: LinkToken::random(), viewer: ViewerId::random() };
    assert_eq!(refused(&mut client, &wrong).await, RequestError::NoSuchLink);
    for request in [ClientMessage::List, ClientMessage::Shares, input(a, "x"), attach("a", VIEW)] {
        assert_eq!(refused(&mut client, &request).await, RequestError::NoSuchLink, "{request:?}");
    }
    soon(client.ping()).await.unwrap();
    let token = link(&mut owner, |share| share).await;
    soon(client.redeem(token, ViewerId::random())).await.unwrap();
    soon(client.attach(a, VIEW)).await.unwrap();

    // One that did anything before keeps what it may do, and gets no link's.
    let redeem = ClientMessage::Redeem { token, viewer: ViewerId::random() };
    assert!(matches!(refused(&mut owner, &redeem).await, RequestError::Malformed(_)));
    soon(owner.list()).await.unwrap();
    // Nor does one that a relay restricts.
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    let only = wire::encode_relay(&Relay::of_watcher("b".parse().unwrap())).unwrap();
    stream.write_all(&only).await.unwrap();
    let mut relayed = soon(Client::from_stream(stream)).await.unwrap();
    assert!(matches!(refused(&mut relayed, &redeem).await, RequestError::Restricted { .. }));
}

#[tokio::test]
async fn a_link_admits_so_many_viewers_and_each_again_and_again() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    create(&mut owner, "a", "exec cat").await;
    let token = link(&mut owner, |share| share.with_uses(Some(2))).await;
    let viewers = [ViewerId::random(), ViewerId::random()];
    for _ in 0..3 {
        for viewer in viewers {
            soon(server.client().await.redeem(token, viewer)).await.unwrap();
        }
    }
    assert_eq!(not_redeemed(&server, token, ViewerId::random()).await, RequestError::NoSuchLink);
    let mut stays = server.client().await;
    soon(stays.redeem(token, viewers[0])).await.unwrap();
    let links = soon(owner.shares()).await.unwrap();
    assert_eq!((links[0].uses, links[0].used), (Some(2), 2));
    assert!(links[0].viewers >= 1);
    drop(stays);
    soon(async { while soon(owner.shares()).await.unwrap()[0].viewers > 0 {} }).await;
    for share in [
        Share::of(named("a")).with_uses(Some(0)),
        Share::of(named("a")).with_uses(Some(101)),
        Share::of(named("a")).with_lifetime_seconds(Some(0)),
    ] {
        let refusal = refused(&mut owner, &ClientMessage::Share(share)).await;
        assert!(matches!(refusal, RequestError::Malformed(_)), "{refusal:?}");
    }
}

#[tokio::test]
async fn revoking_a_link_ends_its_viewers_at_once_and_no_others() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "exec cat").await.id;
    let first = soon(owner.share(Share::of(named("a")))).await.unwrap();
    let second = link(&mut owner, |share| share.with_access(Access::ReadWrite)).await;
    let mut watching = viewer(&server, first.token).await;
    soon(watching.attach(a, VIEW)).await.unwrap();
    let mut idle = viewer(&server, first.token).await;
    let mut other = viewer(&server, second).await;
    let unshared = soon(owner.unshare(UnshareWhich::One(first.link.id))).await.unwrap();
    assert_eq!((unshared.links, unshared.viewers), (1, 2));
    assert_eq!(closed(&mut watching).await, CloseReason::Revoked);
    assert_eq!(closed(&mut idle).await, CloseReason::Revoked);
    soon(other.input(a, "x")).await.unwrap();
    let unshared = soon(owner.unshare(UnshareWhich::All)).await.unwrap();
    assert_eq!((unshared.links, unshared.viewers), (1, 1));
    assert_eq!(closed(&mut other).await, CloseReason::Revoked);
    assert!(soon(owner.shares()).await.unwrap().is_empty());
    soon(owner.list()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_viewer_that_reads_nothing_types_nothing_and_is_ended() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let flood = create(&mut owner, "a", "stty -echo; yes & exec cat >/dev/null").await.id;
    let typed = create(&mut owner, "b", "exec cat").await.id;
    let shared = soon(owner.share(Share::of_all().with_access(Access::ReadWrite))).await.unwrap();
    let mut client = viewer(&server, shared.token).await;
    soon(client.attach(flood, TYPIST)).await.unwrap();
    let id = client.id();
    let is_behind = |server: &TestServer| server.clients.watching(flood).contains(&id);
    assert!(is_behind(&server));
    // Until its socket takes no more.
    soon(async { while client_stats(&mut owner, id).await.lag_bytes < 1024 * 1024 {} }).await;
    soon(owner.unshare(UnshareWhich::All)).await.unwrap();
    soon(client.send(&input(typed, "late\n"))).await.ok();
    eventually("it is ended, though it reads nothing", || !server.clients.watching(flood).contains(&id))
        .await;
    eventually("its connection is gone", || server.clients.count() == 1).await;
    let screen = soon(owner.read_screen(typed, 0)).await.unwrap();
    assert!(!contains(&screen.drawing, b"late"));
}

#[tokio::test]
async fn a_link_that_expires_while_it_is_watched_ends_its_viewers() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "exec cat").await.id;
    let token = link(&mut owner, |share| share.with_lifetime_seconds(Some(1))).await;
    let mut client = server.client().await;
    // On a loaded machine it may have expired before.
    if soon(client.redeem(token, ViewerId::random())).await.is_ok() {
        let attached = soon(client.attach(a, VIEW)).await;
        assert!(matches!(
            attached,
            Ok(_)
                | Err(ClientError::Refused(RequestError::NoSuchLink)
                    | ClientError::Closed(_)
                    | ClientError::Lost)
        ));
        if !matches!(attached, Err(ClientError::Closed(_) | ClientError::Lost)) {
            assert_eq!(closed(&mut client).await, CloseReason::Expired);
        }
    }
    let long = link(&mut owner, |share| share.with_lifetime_seconds(Some(u64::MAX))).await;
    viewer(&server, long).await;
    let left = soon(owner.shares()).await.unwrap();
    assert!(left[0].expires_seconds > Some(Duration::from_secs(1 << 40).as_secs()));
}

#[tokio::test]
async fn a_link_ends_with_its_session_and_says_how_that_ended() {
    let server = TestServer::with(|builder| builder.ended_bytes(0));
    let mut owner = server.client().await;
    create(&mut owner, "a", "read line; exit 3").await;
    let token = link(&mut owner, |share| share).await;
    let mut client = viewer(&server, token).await;
    let to = soon(client.attach(named("a"), VIEW)).await.unwrap();
    soon(owner.input(to.session, "\n")).await.unwrap();
    let status = soon(client.wait(to.session)).await.unwrap();
    soon(async {
        loop {
            if let Incoming::Event(Event::Ended { status: told, .. }) = client.next().await.unwrap() {
                break assert_eq!(told, status);
            }
        }
    })
    .await;
    let refusal = not_redeemed(&server, token, ViewerId::random()).await;
    assert_eq!(refusal, RequestError::SessionEnded { name: "a".into(), status });
    // Another session of that name is another.
    create(&mut owner, "a", "exec cat").await;
    let refusal = not_redeemed(&server, token, ViewerId::random()).await;
    assert_eq!(refusal, RequestError::SessionEnded { name: "a".into(), status });
}

#[tokio::test]
async fn a_late_viewer_reads_what_an_ended_session_printed() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "echo last words; read line").await.id;
    let token = link(&mut owner, |share| share).await;
    soon(async { while owner.find(a).await.unwrap().printed == 0 {} }).await;
    soon(owner.kill(a)).await.unwrap();
    soon(async { while !matches!(owner.find(a).await, Err(ClientError::Refused(_))) {} }).await;
    let mut client = viewer(&server, token).await;
    let to = soon(client.attach(a, VIEW.with_start(StartAt::Oldest))).await.unwrap();
    let (printed, _) = transcript(&mut client, to.start).await;
    assert!(contains(&printed, b"last words"));
}

#[tokio::test]
async fn there_are_so_many_links_and_no_more() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    create(&mut owner, "a", "exec cat").await;
    for _ in 0..1024 {
        link(&mut owner, |share| share).await;
    }
    let refusal = refused(&mut owner, &ClientMessage::Share(Share::of_all())).await;
    assert_eq!(refusal, RequestError::TooManyLinks(1024));
    let mut ids: Vec<_> = soon(owner.shares()).await.unwrap().into_iter().map(|link| link.id).collect();
    let one = ids[7];
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1024);
    soon(owner.unshare(UnshareWhich::One(one))).await.unwrap();
    link(&mut owner, |share| share).await;
}

#[tokio::test]
async fn a_link_to_no_session_is_not_made() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let refusal = refused(&mut owner, &ClientMessage::Share(Share::of(named("a")))).await;
    assert_eq!(refusal, RequestError::UnknownSession("a".into()));
    assert!(soon(owner.shares()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_links_viewer_is_not_asked_to_switch_to_what_it_may_not_watch() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "sleep 1000").await.id;
    create(&mut owner, "b", "sleep 1000").await;
    let token = link(&mut owner, |share| share.with_access(Access::ReadWrite)).await;
    let mut typist = viewer(&server, token).await;
    soon(typist.attach(a, TYPIST.with_size(TerminalSize::new(80, 24)))).await.unwrap();
    let switch = ClientMessage::Change { session: named("a"), change: SessionChange::Switch(named("b")) };
    let refusal = refused(&mut owner, &switch).await.to_string();
    assert!(refusal.contains("by a link to this session only"), "{refusal}");
}
