//! A request that is refused changes nothing: random requests of two clients, in whatever state the ones before them
//! left the server.

use std::cell::Cell;

use fugue_server::{
    Client, ClientId, SessionId, SessionName, TerminalSize,
    client::ClientError,
    message::{Access, Attach, AttachOptions, ClientMessage, Create, OnLag, SessionState, StartAt, Target},
};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::*;

/// Two that live from the start, one that has ended, one that there never was, and one that may be made.
const NAMES: [&str; 5] = ["a", "b", "ended", "never", "new"];

/// What a request names, and what it asks for.
#[derive(Clone, Debug)]
struct Asked {
    client: usize,
    kind: u8,
    name: usize,
    size: Option<(u16, u16)>,
    access: Access,
    start: StartAt,
    program: &'static str,
    input: usize,
}

fn asked() -> impl Strategy<Value = Asked> {
    let size = prop::option::of((1..=200_u16, 1..=100_u16));
    let access = prop_oneof![Just(Access::ReadOnly), Just(Access::ReadWrite)];
    let start = prop_oneof![
        Just(StartAt::Screen),
        Just(StartAt::Now),
        Just(StartAt::Oldest),
        Just(StartAt::Offset(0)),
        Just(StartAt::Offset(1 << 40)),
    ];
    let program = prop_oneof![Just("/bin/cat"), Just("/nowhere/to/be/found"), Just("")];
    let input = prop_oneof![Just(1), Just(60_000)];
    (0..2_usize, 0..9_u8, 0..NAMES.len(), size, access, start, program, input).prop_map(
        |(client, kind, name, size, access, start, program, input)| Asked {
            client,
            kind,
            name,
            size,
            access,
            start,
            program,
            input,
        },
    )
}

/// The ids that the names had last.
type Ids = [SessionId; NAMES.len()];

fn request(asked: &Asked, ids: &Ids) -> ClientMessage {
    let name: SessionName = NAMES[asked.name].parse().unwrap();
    let size = asked.size.map(|(cols, rows)| TerminalSize::new(cols, rows).unwrap());
    let view = AttachOptions::new(asked.start, OnLag::Resync).with_size(size).with_access(asked.access);
    let session = ids[asked.name];
    match asked.kind {
        0 | 1 => ClientMessage::Attach(Attach::new(Target::Name(name), view)),
        2 => ClientMessage::Attach(Attach::new(Target::Id(session), view)),
        3 | 4 => {
            let command = if asked.program.is_empty() { Vec::new() } else { vec![asked.program.into()] };
            let mut create = Create::new(name, command);
            create.size = size.unwrap_or(create.size);
            create.attach = (asked.kind == 3).then_some(view);
            ClientMessage::Create(create)
        }
        5 | 6 => ClientMessage::Input { session, position: None, data: vec![b'x'; asked.input].into() },
        7 => ClientMessage::Resize { session, size: size.unwrap_or(TerminalSize::DEFAULT), pixels: None },
        _ => ClientMessage::Kill { session: Target::Id(session) },
    }
}

/// What the sessions are and which clients watch them.
type Seen = (Vec<(SessionName, SessionState, TerminalSize, usize)>, Vec<(ClientId, Option<SessionId>)>);

async fn seen(bystander: &mut Client) -> Seen {
    let sessions = sessions(bystander).await;
    let of_session = |session: &fugue_server::message::SessionInfo| {
        (session.name.clone(), session.state, session.size, session.clients)
    };
    let watched =
        stats(bystander).await.clients.iter().map(|client| (client.client, client.session)).collect();
    (sessions.iter().map(of_session).collect(), watched)
}

async fn run(all: &[Asked], refusals: &Cell<usize>) {
    let server = TestServer::start();
    let mut bystander = server.client().await;
    let mut clients = [server.client().await, server.client().await];
    let mut ids = [SessionId::random(); NAMES.len()];
    for (at, script) in ["stty raw -echo; exec cat", "exec sleep 1000", "exit 3"].into_iter().enumerate() {
        ids[at] = create(&mut bystander, NAMES[at], script).await.id;
    }
    let is_over = |state| matches!(state, SessionState::Ended(_));
    soon(async { while !sessions(&mut bystander).await.iter().any(|session| is_over(session.state)) {} })
        .await;
    for asked in all {
        let before = seen(&mut bystander).await;
        let client = &mut clients[asked.client];
        match soon(client.request(&request(asked, &ids))).await {
            Ok(_) => {}
            Err(ClientError::Refused(why)) => {
                refusals.set(refusals.get() + 1);
                assert_eq!(seen(&mut bystander).await, before, "{asked:?} was refused: {why}");
            }
            Err(other) => panic!("{other:?}"),
        }
        for (at, name) in NAMES.iter().enumerate() {
            let live = sessions(&mut bystander).await.into_iter().find(|info| info.name.as_str() == *name);
            ids[at] = live.map_or(ids[at], |info| info.id);
        }
    }
}

#[test]
fn a_refused_request_changes_nothing_in_whatever_state() {
    let config = ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() };
    let refusals = Cell::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    TestRunner::new(config)
        .run(&prop::collection::vec(asked(), 1..20), |all| {
            runtime.block_on(run(&all, &refusals));
            Ok(())
        })
        .unwrap();
    assert!(refusals.get() > 48, "{} refusals show little", refusals.get());
}
