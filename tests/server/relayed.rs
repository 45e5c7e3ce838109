//! Clients that come by a relay: what the server holds to that the relay said of them, whatever they send.

use bytes::Bytes;
use fugue_server::{
    Client, SessionId, SessionName, TerminalSize,
    client::{ClientError, ConnectError},
    message::{
        Access, Attach, AttachOptions, ClientMessage, Create, OnLag, Relay, RequestError, SessionChange,
        StartAt, Target,
    },
    wire::{self, HEADER_LEN, Header, Hello, Kind},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::support::*;

const WATCH: AttachOptions = AttachOptions::new(StartAt::Screen, OnLag::Resync).with_access(Access::ReadOnly);

async fn raw(server: &TestServer, relay: &Relay) -> UnixStream {
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    stream.write_all(&wire::encode_relay(relay).unwrap()).await.unwrap();
    stream
}

async fn by_relay(server: &TestServer, relay: &Relay) -> Client {
    soon(Client::from_stream(raw(server, relay).await)).await.unwrap()
}

fn name(name: &str) -> SessionName {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_watcher_of_one_session_is_refused_all_else() {
    let server = TestServer::start();
    let mut owner = server.client().await;
    let a = create(&mut owner, "a", "echo shown; exec cat").await.id;
    let b = create(&mut owner, "ab", "echo secret; exec cat").await.id;
    let mut watcher = by_relay(&server, &Relay::of_watcher(name("a"))).await;
    let size = TerminalSize::new(20, 5).unwrap();
    let target = |session: &str| named(session);
    let refused_ones = |first: bool| {
        let mut requests = vec![
            ClientMessage::List,
            ClientMessage::Stats,
            ClientMessage::Listen,
            ClientMessage::Create(Create::new(name("c"), vec![b"true".to_vec()])),
            ClientMessage::Attach(Attach::new(target("ab"), WATCH)),
            ClientMessage::Attach(Attach::new(Target::Id(b), WATCH)),
            ClientMessage::Attach(Attach::new(Target::Prefix(name("ab")), WATCH)),
            ClientMessage::Attach(Attach::new(Target::Here, WATCH)),
            ClientMessage::Attach(Attach::new(target("none"), WATCH)),
            ClientMessage::Attach(Attach::new(target("a"), TERMINAL)),
            ClientMessage::Attach(Attach::new(
                target("a"),
                WATCH.with_size(None).with_access(Access::ReadWrite),
            )),
            ClientMessage::Attach(Attach::new(target("a"), LOSSLESS.with_access(Access::ReadOnly))),
            input(a, "x"),
            input(b, "x"),
            ClientMessage::Kill { session: target("a") },
            ClientMessage::Kill { session: target("ab") },
            ClientMessage::Environment { session: target("a") },
            ClientMessage::ReadScreen { session: target("ab"), lines: 0 },
            ClientMessage::ReadScreen { session: Target::Id(b), lines: 0 },
            ClientMessage::Find { session: Target::Id(b) },
            ClientMessage::Find { session: Target::Id(SessionId::from(7_u64)) },
            ClientMessage::Wait { session: target("ab") },
            ClientMessage::Resize { session: b, size, pixels: None },
            ClientMessage::Change { session: target("a"), change: SessionChange::Rename(name("c")) },
            ClientMessage::Change { session: target("a"), change: SessionChange::Switch(target("ab")) },
        ];
        if first {
            requests.push(ClientMessage::Resize { session: a, size, pixels: None });
        }
        requests
    };
    for is_attached in [false, true] {
        for request in refused_ones(!is_attached) {
            let refusal = refused(&mut watcher, &request).await;
            let is_it = matches!(&refusal, RequestError::Restricted { session } if session.as_str() == "a");
            assert!(is_it || refusal == RequestError::ReadOnly, "{request:?}: {refusal:?}");
        }
        assert_eq!(soon(watcher.find(Target::Prefix(name("a")))).await.unwrap().id, a);
        assert_eq!(soon(watcher.find(a)).await.unwrap().id, a);
        soon(watcher.read_screen(named("a"), 10)).await.unwrap();
        soon(watcher.ping()).await.unwrap();
        let options = WATCH.with_size(Some(TerminalSize::DEFAULT));
        let to = soon(watcher.attach(named("a"), options)).await.unwrap();
        assert_eq!(to.session, a);
        soon(watcher.resize(a, size, None)).await.unwrap();
        soon(watcher.resync()).await.unwrap();
    }
    let size_now = soon(owner.find(a)).await.unwrap().size;
    assert_eq!(size_now, TerminalSize::DEFAULT, "nothing was resized");
    assert_eq!(sessions(&mut owner).await.len(), 2);

    // What has the name later is that session too, and what lost it, only to who watches it already.
    soon(owner.change(a, SessionChange::Rename(name("old")))).await.unwrap();
    soon(watcher.attach(a, WATCH)).await.unwrap();
    let mut late = by_relay(&server, &Relay::of_watcher(name("a"))).await;
    assert!(matches!(
        soon(late.attach(a, WATCH)).await,
        Err(ClientError::Refused(RequestError::Restricted { .. }))
    ));
    let next = create(&mut owner, "a", "exec cat").await.id;
    assert_eq!(soon(late.attach(named("a"), WATCH)).await.unwrap().session, next);
    soon(owner.kill(named("a"))).await.unwrap();
    soon(late.wait(next)).await.unwrap();
}

#[tokio::test]
async fn nothing_that_a_client_sends_takes_a_relays_word_back() {
    let server = TestServer::start();
    let free = wire::encode_relay(&Relay::new()).unwrap();
    let only = Relay::of_watcher(name("a"));
    let header = |kind, length: usize| Header::new(kind, 0, length).encode().to_vec();
    for before in [
        // A second word, garbage in its place, and one without end.
        free.to_vec(),
        header(Kind::Relay, 0),
        [header(Kind::Relay, 3), vec![0xff; 3]].concat(),
        header(Kind::Ping, 0),
    ] {
        let mut stream = raw(&server, &only).await;
        stream.write_all(&before).await.unwrap();
        stream.write_all(&Hello::encode()).await.unwrap();
        let refused = soon(Client::from_stream(stream)).await;
        assert!(matches!(&refused, Err(ConnectError::Refused(why)) if why.contains("hello")), "{refused:?}");
    }
    // After the hello it ends the connection.
    let mut stream = raw(&server, &only).await;
    stream.write_all(&[&Hello::encode()[..], &free].concat()).await.unwrap();
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.unwrap();
    assert!(contains(&all, b"a relay after the hello"), "{:?}", String::from_utf8_lossy(&all));
    // Too long a word, and too many variables, are refused.
    let long = Relay::new().with_place(vec![(b"A".to_vec(), vec![b'x'; 64 * 1024])], None);
    assert!(wire::encode_relay(&long).is_err());
    let many = Relay::new().with_place(vec![(Vec::new(), Vec::new()); 1025], None);
    let frame = wire::encode_relay(&many).unwrap();
    assert!(wire::decode_relay(&frame[HEADER_LEN..]).is_err());
    eventually("none is left", || server.clients.count() == 0).await;
}

#[tokio::test]
async fn a_program_that_is_started_by_a_relay_has_the_relays_place() {
    let server = TestServer::start();
    let env =
        [("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh"), ("A", "far"), ("B", "far"), ("DISPLAY", ":far")];
    let env = env.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).to_vec();
    let mut client = by_relay(&server, &Relay::new().with_place(env, Some(b"/usr".to_vec()))).await;
    let ClientMessage::Create(mut create) = shell("a", "echo $A $B $PWD; pwd", None) else { panic!() };
    create.env = vec![(b"B".to_vec(), b"near".to_vec())];
    let to = soon(client.create_attached(create, LOSSLESS)).await.unwrap();
    let (printed, _) = transcript(&mut client, to.start).await;
    assert_eq!(Bytes::from(printed), Bytes::from_static(b"far near /usr\r\n/usr\r\n"));
    let ClientMessage::Create(mut create) = shell("b", "", None) else { panic!() };
    create.command = Vec::new();
    let shell = soon(client.create(create)).await.unwrap();
    assert!(shell.command.contains("/bin/sh"), "{shell:?}");
    soon(client.attach(shell.id, TERMINAL)).await.unwrap();
    let environment = soon(client.environment(shell.id)).await.unwrap();
    assert!(environment.iter().any(|(name, value)| (name, value) == ("DISPLAY", Some(":far"))));
}
