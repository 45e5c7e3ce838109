//! Sessions that a client provides: everything a session has, with the program elsewhere.

use std::time::Duration;

use bytes::Bytes;
use fugue_server::{
    Client, SessionId, TerminalSize,
    client::{ClientError, Incoming, InputStream, ProvideError, Provider},
    message::{
        Access, AttachOptions, ClientMessage, CloseReason, Event, ExitStatus, OnLag, Pace, Provide,
        ProviderNews, ProviderState, ProviderStatement, Reply, RequestError, STATEMENT_COST, SessionState,
        SizePolicy, StartAt, Takes, WhenLost,
    },
};

use crate::support::*;

fn provide() -> Provide {
    Provide::new("mirror".parse().unwrap(), TerminalSize::DEFAULT)
}

/// One that is typed into.
fn interactive() -> Provide {
    let mut provide = provide();
    (provide.takes, provide.size_policy) = (Takes::Requests, SizePolicy::Latest);
    provide
}

async fn begin(server: &TestServer, provide: &Provide) -> Provider {
    soon(Provider::begin(server.client().await, provide.clone())).await.unwrap()
}

/// Numbered lines, so that a byte out of place is seen.
fn lines(range: std::ops::Range<u32>) -> Bytes {
    range.map(|number| format!("{number:07}\n")).collect::<String>().into()
}

/// That those who watch want this size.
fn wants(size: TerminalSize) -> ProviderNews {
    ProviderNews::Resize { size: Some(size), pixels: None }
}

/// What a provider is asked next, but for credit.
async fn asked(provider: &mut Provider) -> ProviderNews {
    loop {
        match soon(provider.next()).await.unwrap() {
            ProviderNews::Credit { .. } => {}
            news => return news,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_watch_get_every_byte_of_a_provider_and_its_status() {
    let server = TestServer::start();
    let mut provide = provide();
    provide.start = 1 << 40;
    let mut provider = begin(&server, &provide).await;
    assert_eq!((provider.session(), provider.head()), (provide.id, 1 << 40));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        let to = attached(&mut client, &attach("mirror", FROM_OLDEST)).await;
        assert_eq!((to.session, to.start), (provide.id, 1 << 40));
        clients.push(tokio::spawn(async move { transcript(&mut client, 1 << 40).await }));
    }
    let whole = lines(0..500_000);
    let mut rest = whole.clone();
    for size in [1, 3, 100, 65_535, 65_536, 65_537, 1_000_000] {
        soon(provider.print(rest.split_to(size))).await.unwrap();
    }
    soon(provider.print(rest)).await.unwrap();
    soon(provider.end(ExitStatus::Code(7))).await.unwrap();
    for client in clients {
        let (bytes, status) = client.await.unwrap();
        assert!(bytes == whole, "{} bytes of {}", bytes.len(), whole.len());
        assert_eq!(status, ExitStatus::Code(7));
    }
    let listed = &sessions(&mut server.client().await).await[0];
    assert_eq!(listed.state, SessionState::Ended(ExitStatus::Code(7)));
}

#[tokio::test]
async fn a_provider_waits_for_the_readers_that_hold_it_back() {
    let server = TestServer::with(|server| server.history_bytes(64 << 10));
    let mut stalled = server.client().await;
    let mut provider = begin(&server, &provide()).await;
    attached(&mut stalled, &attach("mirror", FROM_OLDEST)).await;
    let whole = lines(0..1_000_000);
    // What history and credit have room for, and what waits in the socket of the reader.
    let mut rest = whole.clone();
    let printing = async move {
        while !rest.is_empty() {
            provider.print(rest.split_to(4000.min(rest.len()))).await.unwrap();
        }
        provider.end(ExitStatus::Code(0)).await.unwrap();
    };
    let mut printing = tokio::spawn(printing);
    let mut other = server.client().await;
    let (mut before, mut standing) = (0, 0);
    while standing < 100 {
        let now = sessions(&mut other).await[0].printed;
        standing = if now == before && now > 0 { standing + 1 } else { 0 };
        before = now;
    }
    assert!(before < whole.len() as u64 / 2 && !printing.is_finished());
    let (bytes, _) = transcript(&mut stalled, 0).await;
    assert!(bytes == whole);
    soon(&mut printing).await.unwrap();
}

#[tokio::test]
async fn a_skip_is_a_gap_of_exactly_the_bytes_that_are_missing() {
    let server = TestServer::start();
    let mut provider = begin(&server, &provide()).await;
    let mut lossless = server.client().await;
    attached(&mut lossless, &attach("mirror", FROM_OLDEST)).await;
    let mut strict = server.client().await;
    attached(&mut strict, &attach("mirror", DISCONNECT)).await;
    let mut viewer = Viewer::attach(&server, &attach("mirror", TERMINAL)).await;
    provider.print("before\r\n".into()).await.unwrap();
    viewer.run_until_shown("before").await;
    provider.skip(1000, Bytes::from_static(b"\x1bc\x1b[2Jdrawn ")).await.unwrap();
    provider.print("after".into()).await.unwrap();

    viewer.run_until_shown("drawn after").await;
    let [(from, to)] = viewer.gaps[..] else { panic!("{:?}", viewer.gaps) };
    assert!(from == 8 && (1000..=1005).contains(&to), "{from}..{to}");
    assert!(!viewer.text().contains("before"));

    // One that wants every byte is told of those that are not there, and of no other.
    let mut told = Vec::new();
    let mut output = Vec::new();
    while output.len() < 13 {
        match soon(lossless.next()).await.unwrap() {
            Incoming::Output { offset, data } => {
                assert_eq!(offset, output.len() as u64 + if output.len() >= 8 { 992 } else { 0 });
                output.extend_from_slice(&data);
            }
            other => told.push(other),
        }
    }
    assert_eq!(output, b"before\r\nafter");
    let drawing = Bytes::from_static(b"\x1bc\x1b[2Jdrawn ");
    assert_eq!(
        told,
        [Incoming::Event(Event::Gap { from: 8, to: 1000 }), Incoming::Screen { offset: 1000, data: drawing }]
    );
    loop {
        match soon(strict.next()).await {
            Ok(_) => {}
            Err(ClientError::Closed(reason)) => {
                break assert_eq!(reason, CloseReason::FellBehind { from: 8, to: 1000 });
            }
            Err(error) => panic!("{error}"),
        }
    }
    // Who comes late, and who resumes beyond the gap.
    let late = Viewer::attach(&server, &attach("mirror", TERMINAL)).await;
    let mut late = late;
    late.run_until_shown("drawn after").await;
    let mut resumed = server.client().await;
    let from = AttachOptions::new(StartAt::Offset(1002), OnLag::Lossless);
    attached(&mut resumed, &attach_id(provider.session(), from)).await;
    Transcript::from(1002).read_to(&mut resumed, "ter").await;
}

#[tokio::test]
async fn a_session_that_begins_in_the_middle_shows_what_its_provider_drew() {
    let server = TestServer::start();
    let mut provide = provide();
    provide.start = 5000;
    let mut provider = begin(&server, &provide).await;
    let mut early = Viewer::attach(&server, &attach("mirror", TERMINAL)).await;
    provider.skip(5000, Bytes::from_static(b"\x1bcten thousand lines later ")).await.unwrap();
    early.run_until_shown("ten thousand lines later").await;
    provider.print("and on".into()).await.unwrap();
    early.run_until_shown("later and on").await;
    let mut late = Viewer::attach(&server, &attach("mirror", TERMINAL)).await;
    late.run_until_shown("ten thousand lines later and on").await;
    assert_eq!((early.gaps.len(), late.gaps.len()), (0, 0));
    let shown = soon(server.client().await.read_screen(provider.session(), 0)).await.unwrap();
    assert_eq!(shown.offset, 5006);
}

#[tokio::test]
async fn a_size_holds_from_its_byte_on() {
    let server = TestServer::start();
    let mut provider = begin(&server, &provide()).await;
    let mut client = server.client().await;
    attached(&mut client, &attach("mirror", FROM_OLDEST)).await;
    let size = TerminalSize::new(100, 30).unwrap();
    provider.print("0123456789".into()).await.unwrap();
    provider.resized(size).await.unwrap();
    provider.print("after".into()).await.unwrap();
    let (mut at, mut sizes) = (0, Vec::new());
    while at < 15 {
        match soon(client.next()).await.unwrap() {
            Incoming::Output { offset, data } => at = offset + data.len() as u64,
            Incoming::Event(Event::Resized { size, .. }) => sizes.push((at, size)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sizes, [(10, size)]);
    assert_eq!(soon(client.find(provider.session())).await.unwrap().size, size);
}

#[tokio::test]
async fn what_is_typed_has_its_place_and_is_answered_by_the_provider() {
    let server = TestServer::start();
    let mut provider = begin(&server, &interactive()).await;
    let session = provider.session();
    let mut client = server.client().await;
    let mut stream = InputStream::new(session);
    let mut ids = Vec::new();
    for piece in ["one", "two", "three"] {
        ids.push(soon(client.send(&stream.push(piece))).await.unwrap());
    }
    // All are told before any is answered.
    let mut numbers = Vec::new();
    for (offset, piece) in [(0, "one"), (3, "two"), (6, "three")] {
        let ProviderNews::Typed { number, offset: at, data, from_terminal, .. } = asked(&mut provider).await
        else {
            panic!()
        };
        assert_eq!((at, &data[..], from_terminal), (offset, piece.as_bytes(), false));
        numbers.push(number);
    }
    // The answers come in the order of what was typed.
    let refusal = RequestError::Failed { what: "typing".to_owned(), why: "no".to_owned() };
    provider.answer(numbers[1], Err(refusal.clone())).await.unwrap();
    provider.answer(numbers[2], Ok(())).await.unwrap();
    provider.answer(numbers[0], Ok(())).await.unwrap();
    for (id, expected) in ids.into_iter().zip([Ok(Reply::Written), Err(refusal), Ok(Reply::Written)]) {
        let Incoming::Reply { request, answer } = soon(client.next()).await.unwrap() else { panic!() };
        assert_eq!((request, answer), (id, expected));
    }
    // Without a place it has one of its own.
    let typing = tokio::spawn(async move { client.input(session, "x").await });
    let ProviderNews::Typed { number, offset: 0, data, .. } = asked(&mut provider).await else { panic!() };
    assert_eq!(&data[..], b"x");
    provider.answer(number, Ok(())).await.unwrap();
    soon(typing).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_not_answered_is_told_again_to_the_next_connection() {
    let server = TestServer::start();
    let provide = interactive();
    let mut provider = begin(&server, &provide).await;
    let mut client = server.client().await;
    let mut stream = InputStream::new(provide.id);
    let id = soon(client.send(&stream.push("make\n"))).await.unwrap();
    let first = asked(&mut provider).await;
    drop(provider);
    let mut watching = server.client().await;
    let lost = |info: &fugue_server::message::SessionInfo| {
        matches!(info.state, SessionState::Provided { provider: ProviderState::Lost { .. } })
    };
    while !lost(&soon(watching.find(provide.id)).await.unwrap()) {}
    let refused = soon(watching.input(provide.id, "x")).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::ProviderLost { .. }))), "{refused:?}");

    let mut provider = begin(&server, &provide).await;
    let again = asked(&mut provider).await;
    let place = |news: &ProviderNews| match news {
        ProviderNews::Typed { stream, offset, data, .. } => (*stream, *offset, data.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(place(&first), place(&again));
    let ProviderNews::Typed { number, .. } = again else { unreachable!() };
    provider.answer(number, Ok(())).await.unwrap();
    assert_eq!(soon(client.answer(id)).await.unwrap(), Reply::Written);
}

#[tokio::test]
async fn typing_waits_for_a_lost_provider_that_says_so() {
    let server = TestServer::start();
    let mut provide = interactive();
    provide.when_lost = WhenLost::Waits;
    drop(begin(&server, &provide).await);
    let mut client = server.client().await;
    let lost = SessionState::Provided { provider: ProviderState::Connected };
    while soon(client.find(provide.id)).await.unwrap().state == lost {}
    let session = provide.id;
    let typing = tokio::spawn(async move { client.input(session, "x").await });
    let mut provider = begin(&server, &provide).await;
    let ProviderNews::Typed { number, .. } = asked(&mut provider).await else { panic!() };
    provider.answer(number, Ok(())).await.unwrap();
    soon(typing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_provider_that_comes_back_goes_on_at_the_head_or_leaves_a_gap() {
    let server = TestServer::start();
    let mut provide = provide();
    let mut provider = begin(&server, &provide).await;
    let mut viewer = Viewer::attach(&server, &attach("mirror", TERMINAL)).await;
    provider.print("one ".into()).await.unwrap();
    viewer.run_until_shown("one").await;
    drop(provider);
    let mut other = server.client().await;
    let there = SessionState::Provided { provider: ProviderState::Connected };
    while soon(other.find(provide.id)).await.unwrap().state == there {}
    // Another process has the id by now.
    provide.provider = fugue_server::message::ProviderId::random();
    let mut provider = begin(&server, &provide).await;
    assert_eq!(provider.head(), 4);
    provider.print("two ".into()).await.unwrap();
    viewer.run_until_shown("one two").await;
    assert_eq!(viewer.gaps, []);
    // The same one needs no loss to be seen.
    provide.start = 100;
    let mut again = begin(&server, &provide).await;
    assert_eq!(again.head(), 100);
    again.print("three".into()).await.unwrap();
    viewer.run_until_shown("three").await;
    assert!(matches!(viewer.gaps[..], [(8, 100..=105)]), "{:?}", viewer.gaps);
    // The connection before says nothing more.
    provider.print("lies".into()).await.unwrap();
    again.print(" four".into()).await.unwrap();
    viewer.run_until_shown("three four").await;
    provide.provider = fugue_server::message::ProviderId::random();
    let refused = soon(Provider::begin(server.client().await, provide)).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::NotProvided { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_session_whose_provider_stays_away_ends_and_says_why() {
    let server = TestServer::with(|server| server.lost_provider_time(Duration::from_millis(20)));
    let mut provider = begin(&server, &interactive()).await;
    let mut viewer = server.client().await;
    attached(&mut viewer, &attach("mirror", FROM_OLDEST)).await;
    provider.print("last words".into()).await.unwrap();
    Transcript::from(0).read_to(&mut viewer, "last words").await;
    drop(provider);
    let mut notice = None;
    loop {
        match soon(viewer.next()).await.unwrap() {
            Incoming::Event(Event::Notice(text)) => notice = Some(text),
            Incoming::Event(Event::Ended { status, .. }) => break assert_eq!(status, ExitStatus::Unknown),
            other => panic!("{other:?}"),
        }
    }
    assert!(notice.unwrap().contains("lost"));
}

#[tokio::test]
async fn viewers_ask_the_provider_for_a_size_and_have_it_when_it_says_so() {
    let server = TestServer::start();
    let mut provider = begin(&server, &interactive()).await;
    let mut viewer = Viewer::sized(&server, "mirror", (100, 30), Access::ReadWrite).await;
    let size = TerminalSize::new(100, 30).unwrap();
    assert_eq!(asked(&mut provider).await, wants(size));
    let mut other = server.client().await;
    assert_eq!(soon(other.find(provider.session())).await.unwrap().size, TerminalSize::DEFAULT);
    provider.resized(size).await.unwrap();
    while viewer.sizes.last() != Some(&size) {
        assert_eq!(viewer.step().await, None);
    }
    // Another size came from elsewhere; who types wants his own again.
    provider.resized(TerminalSize::new(70, 20).unwrap()).await.unwrap();
    while viewer.sizes.last() == Some(&size) {
        assert_eq!(viewer.step().await, None);
    }
    viewer.type_in("x").await;
    let mut news = vec![asked(&mut provider).await, asked(&mut provider).await];
    news.retain(|news| !matches!(news, ProviderNews::Typed { from_terminal: true, .. }));
    assert_eq!(news, [wants(size)]);
    // One that only watches asks for nothing.
    let _reader = Viewer::sized(&server, "mirror", (50, 10), Access::ReadOnly).await;
    let typing = tokio::spawn(async move { other.input(viewer.session, "y").await });
    assert!(matches!(asked(&mut provider).await, ProviderNews::Typed { .. }));
    typing.abort();
}

#[tokio::test]
async fn a_provider_is_told_whether_anybody_wants_a_size_and_every_byte() {
    let server = TestServer::start();
    let provide = interactive();
    let mut provider = begin(&server, &provide).await;
    // A terminal of the very size that it has counts, until it is gone.
    let viewer = Viewer::sized(&server, "mirror", (80, 24), Access::ReadWrite).await;
    assert_eq!(asked(&mut provider).await, wants(TerminalSize::DEFAULT));
    let mut reader = server.client().await;
    attached(&mut reader, &attach("mirror", FROM_OLDEST)).await;
    assert_eq!(asked(&mut provider).await, ProviderNews::Lossless { is_wanted: true });
    // A second one is no news, nor is its end.
    let mut second = server.client().await;
    attached(&mut second, &attach("mirror", FROM_OLDEST)).await;
    soon(second.detach()).await.unwrap();
    drop(viewer);
    assert_eq!(asked(&mut provider).await, ProviderNews::Resize { size: None, pixels: None });
    // The next connection is told again.
    let mut provider = begin(&server, &provide).await;
    assert_eq!(asked(&mut provider).await, ProviderNews::Lossless { is_wanted: true });
    drop(reader);
    assert_eq!(asked(&mut provider).await, ProviderNews::Lossless { is_wanted: false });
}

#[tokio::test]
async fn a_terminal_elsewhere_counts_for_the_size_until_its_connection_ends() {
    let server = TestServer::start();
    let mut here = server.client().await;
    let ClientMessage::Create(mut create) = shell("sized", "cat", None) else { panic!() };
    (create.size_policy, create.pace) = (SizePolicy::Smallest, Pace::Slowest);
    let id = soon(here.create(create)).await.unwrap().id;
    let size = |cols, rows| TerminalSize::new(cols, rows).unwrap();
    let mut viewer = Viewer::sized(&server, "sized", (100, 30), Access::ReadWrite).await;
    let mut elsewhere = server.client().await;
    soon(elsewhere.remote_resize(id, Some((size(90, 40), None)))).await.unwrap();
    let sized = async |viewer: &mut Viewer, size| {
        while viewer.sizes.last() != Some(&size) {
            assert_eq!(viewer.step().await, None);
        }
    };
    sized(&mut viewer, size(90, 30)).await;
    soon(elsewhere.remote_resize(id, Some((size(95, 20), None)))).await.unwrap();
    sized(&mut viewer, size(95, 20)).await;
    soon(elsewhere.remote_resize(id, None)).await.unwrap();
    sized(&mut viewer, size(100, 30)).await;
    soon(elsewhere.remote_resize(id, Some((size(70, 20), None)))).await.unwrap();
    sized(&mut viewer, size(70, 20)).await;
    drop(elsewhere);
    sized(&mut viewer, size(100, 30)).await;
    let rules = soon(here.rules(id)).await.unwrap();
    assert_eq!((rules.pace, rules.size_policy), (Pace::Slowest, SizePolicy::Smallest));
}

#[tokio::test]
async fn those_who_watch_are_told_what_a_provider_has_to_say() {
    let server = TestServer::start();
    let mut provider = begin(&server, &interactive()).await;
    let session = provider.session();
    let mut client = server.client().await;
    attached(&mut client, &attach("mirror", FROM_OLDEST)).await;
    soon(provider.notify("h1 is silent\x1b]0;x\x07")).await.unwrap();
    let incoming = soon(client.next()).await.unwrap();
    assert_eq!(incoming, Incoming::Event(Event::Notice("h1 is silent]0;x".to_owned())));
    soon(provider.silent(Some(70))).await.unwrap();
    let state = async |provider: &mut Provider, client: &mut Client| {
        // So that it was taken in.
        soon(provider.print("x".into())).await.unwrap();
        assert!(matches!(soon(client.next()).await, Ok(Incoming::Output { .. })));
        soon(client.find(session)).await.unwrap().state
    };
    let silent = state(&mut provider, &mut client).await;
    let SessionState::Provided { provider: ProviderState::Silent { seconds: 70..90 } } = silent else {
        panic!("{silent:?}")
    };
    soon(provider.silent(None)).await.unwrap();
    let there = SessionState::Provided { provider: ProviderState::Connected };
    assert_eq!(state(&mut provider, &mut client).await, there);
    let why = broken(&server, vec![ProviderStatement::Notice { text: "x".repeat(1025) }]).await;
    assert!(why.contains("1025 bytes"), "{why}");
}

#[tokio::test]
async fn a_kill_is_the_providers_to_carry_out_or_to_refuse() {
    let server = TestServer::start();
    let mut provider = begin(&server, &interactive()).await;
    let session = provider.session();
    let mut killer = server.client().await;
    let asking = soon(killer.send(&kill("mirror"))).await.unwrap();
    let ProviderNews::Kill { number } = asked(&mut provider).await else { panic!() };
    provider.answer(number, Err(RequestError::ReadOnly)).await.unwrap();
    let refused = soon(killer.answer(asking)).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::ReadOnly))), "{refused:?}");
    assert!(soon(killer.find(session)).await.unwrap().state.is_live());
    let asking = soon(killer.send(&kill("mirror"))).await.unwrap();
    let ProviderNews::Kill { number } = asked(&mut provider).await else { panic!() };
    provider.answer(number, Ok(())).await.unwrap();
    provider.print("killed".into()).await.unwrap();
    provider.end(ExitStatus::Signal(9)).await.unwrap();
    assert_eq!(soon(killer.answer(asking)).await.unwrap(), Reply::Killed(ExitStatus::Signal(9)));
    assert_eq!(soon(killer.wait(session)).await.unwrap(), ExitStatus::Signal(9));
}

#[tokio::test]
async fn one_that_takes_nothing_is_ended_by_its_server_and_refuses_typing() {
    let server = TestServer::start();
    let mut provider = begin(&server, &provide()).await;
    let session = provider.session();
    let mut client = server.client().await;
    let refused = soon(client.input(session, "x")).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::Failed { .. }))), "{refused:?}");
    assert_eq!(soon(client.kill(session)).await.unwrap(), ExitStatus::Unknown);
    // What it says before it knows does no harm.
    provider.print("still".into()).await.unwrap();
    let news = asked(&mut provider).await;
    assert_eq!(news, ProviderNews::Ended { status: ExitStatus::Unknown });
    let refused = provider.print("more".into()).await;
    assert!(matches!(refused, Err(ProvideError::Ended(ExitStatus::Unknown))), "{refused:?}");
}

#[tokio::test]
async fn a_mirror_answers_no_question_and_passes_no_reply_as_its_own() {
    let server = TestServer::start();
    let mut provider = begin(&server, &interactive()).await;
    let mut viewer = Viewer::attach(&server, &attach("mirror", TERMINAL)).await;
    provider.print("\x1b[c\x1b[6nasked".into()).await.unwrap();
    viewer.run_until_shown("asked").await;
    assert_eq!(asked(&mut provider).await, wants(TerminalSize::DEFAULT));
    viewer.type_in("\x1b[?62;22c").await;
    let ProviderNews::Typed { from_terminal: true, data, .. } = asked(&mut provider).await else { panic!() };
    // As it came, for the rules of the session that has the program.
    assert_eq!(&data[..], b"\x1b[?62;22c");
}

#[tokio::test]
async fn what_a_terminal_elsewhere_answers_by_itself_is_not_typed() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let script = "stty raw -echo; printf ready; dd bs=1 count=2 2>/dev/null | od -An -c; exec cat";
    let session = create(&mut client, "host", script).await.id;
    let mut watching = server.client().await;
    attached(&mut watching, &attach("host", FROM_OLDEST)).await;
    let mut output = Transcript::from(0);
    output.read_to(&mut watching, "ready").await;
    let mut stream = InputStream::new(session);
    for keys in ["\x1b[?62;22c", "a", "\x1b[1;1R\x1b[?1;2c", "b"] {
        let ClientMessage::Input { session, position: Some(position), data } = stream.push(keys) else {
            unreachable!()
        };
        let request = ClientMessage::RemoteInput { session, position, data };
        assert_eq!(soon(client.request(&request)).await.unwrap(), Reply::Written);
        // What is sent again is typed once.
        assert_eq!(soon(client.request(&request)).await.unwrap(), Reply::Written);
    }
    output.read_until(&mut watching, |bytes| bytes.len() >= "ready   a   b".len()).await;
    assert!(contains(&output.bytes, b"a   b"), "{:?}", String::from_utf8_lossy(&output.bytes));
}

/// Says this on a connection of its own that provides a session, and returns why that is closed.
async fn broken(server: &TestServer, statements: Vec<ProviderStatement>) -> String {
    let mut client = server.client().await;
    let mut provide = provide();
    provide.name = format!("broken-{}", provide.id).parse().unwrap();
    let provided = soon(client.provide(provide)).await.unwrap();
    for statement in statements {
        let session = provided.session;
        // An error says that it is closed already.
        let _ = soon(client.send(&ClientMessage::Statement { session, statement })).await;
    }
    loop {
        match soon(client.next()).await {
            Ok(_) => {}
            Err(ClientError::Closed(CloseReason::Malformed(why))) => return why,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn one_that_breaks_a_rule_is_closed_and_told_which() {
    let server = TestServer::start();
    let print = |offset, bytes| ProviderStatement::Print { offset, data: vec![b'x'; bytes].into() };
    for (statements, why) in [
        (vec![print(1, 1)], "a print at offset 1, where 0 is next"),
        (vec![print(0, 0)], "an empty print"),
        (vec![print(0, 5), ProviderStatement::Skip { to: 4 }], "a skip to offset 4, where 5 is next"),
        (vec![ProviderStatement::Skip { to: u64::MAX }], "which is none"),
        (
            vec![ProviderStatement::EndWith { status: ExitStatus::Code(0) }, print(0, 1)],
            "after the end that it had said",
        ),
    ] {
        let told = broken(&server, statements).await;
        assert!(told.contains(why), "{told}");
    }
    // More than it was granted, as nobody takes it.
    let mut reader = server.client().await;
    let mut spender = server.client().await;
    let mut provide = provide();
    provide.pace = Pace::Slowest;
    let provided = soon(spender.provide(provide.clone())).await.unwrap();
    attached(&mut reader, &attach("mirror", FROM_OLDEST)).await;
    let (mut spent, mut offset) = (0, 0);
    let why = loop {
        let statement = print(offset, 60_000);
        (spent, offset) = (spent + statement.cost(), offset + 60_000);
        let sent =
            soon(spender.send(&ClientMessage::Statement { session: provided.session, statement })).await;
        if sent.is_err() || spent > 1 << 30 {
            break loop {
                match soon(spender.next()).await {
                    Ok(_) => {}
                    Err(ClientError::Closed(CloseReason::Malformed(why))) => break why,
                    Err(error) => panic!("{error}"),
                }
            };
        }
    };
    assert!(why.contains("credit"), "{why}");
    assert!(spent > provided.credit && provided.credit > STATEMENT_COST);
    // Another's session.
    let mut other = server.client().await;
    let statement = ProviderStatement::EndWith { status: ExitStatus::Code(0) };
    soon(other.send(&ClientMessage::Statement { session: provided.session, statement })).await.unwrap();
    let closed = soon(other.next()).await;
    assert!(matches!(closed, Err(ClientError::Closed(CloseReason::Malformed(_)))), "{closed:?}");
}

#[tokio::test]
async fn an_id_or_a_name_that_is_taken_is_refused() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let program = create(&mut client, "program", "exec sleep 1000").await.id;
    let mut with_program = provide();
    with_program.id = program;
    let refused = soon(client.provide(with_program)).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::NotProvided { .. }))), "{refused:?}");
    let mut named = provide();
    named.name = "program".parse().unwrap();
    let refused = soon(client.provide(named)).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::NameTaken(_)))), "{refused:?}");
    for number in 0..64 {
        let mut one = provide();
        one.name = format!("many-{number}").parse().unwrap();
        soon(client.provide(one)).await.unwrap();
    }
    let refused = soon(client.provide(provide())).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::TooManyProvided(64)))), "{refused:?}");
    let _: SessionId = program;
    let _: Client = client;
}

#[tokio::test]
async fn one_that_ended_may_be_provided_again_under_its_id() {
    let server = TestServer::start();
    let mut provide = provide();
    let mut provider = begin(&server, &provide).await;
    provider.print("first".into()).await.unwrap();
    provider.end(ExitStatus::Code(1)).await.unwrap();
    let mut late = server.client().await;
    attached(&mut late, &attach_id(provide.id, FROM_OLDEST)).await;
    provide.start = 5;
    let mut provider = begin(&server, &provide).await;
    provider.print("second".into()).await.unwrap();
    // Who reads the one that ended gets its end, and not the other's output.
    let (bytes, status) = transcript(&mut late, 0).await;
    assert_eq!((&bytes[..], status), (&b"first"[..], ExitStatus::Code(1)));
    let mut client = server.client().await;
    let to = attached(&mut client, &attach_id(provide.id, FROM_OLDEST)).await;
    assert_eq!(to.start, 5);
    provider.end(ExitStatus::Code(2)).await.unwrap();
    let (bytes, status) = transcript(&mut client, 5).await;
    assert_eq!((&bytes[..], status), (&b"second"[..], ExitStatus::Code(2)));
}

#[tokio::test]
async fn an_embedder_has_what_a_provider_has() {
    let server = TestServer::start();
    let mut provide = interactive();
    provide.start = 100;
    let feed = server.feeds.provide(&provide).unwrap();
    let mut viewer = Viewer::sized(&server, "mirror", (100, 30), Access::ReadWrite).await;
    let size = TerminalSize::new(100, 30).unwrap();
    assert_eq!(soon(feed.next()).await, Some(wants(size)));
    soon(feed.resized(size)).await.unwrap();
    soon(feed.print("here".into())).await.unwrap();
    viewer.run_until_shown("here").await;
    assert_eq!(feed.head(), 104);
    soon(feed.skip(200, Bytes::from_static(b"\x1bcthere "))).await.unwrap();
    soon(feed.skip(50, Bytes::new())).await.unwrap();
    soon(feed.print("at last".into())).await.unwrap();
    viewer.run_until_shown("there at last").await;
    let [(104, to)] = viewer.gaps[..] else { panic!("{:?}", viewer.gaps) };
    assert!((200..=207).contains(&to) && feed.head() == 207);
    let mut client = server.client().await;
    let typing = tokio::spawn(async move { (client.input(provide.id, "keys").await, client) });
    let Some(ProviderNews::Typed { number, data, .. }) = soon(feed.next()).await else { panic!() };
    assert_eq!(&data[..], b"keys");
    feed.answer(number, Ok(()));
    feed.answer(number, Err(RequestError::ReadOnly));
    let (typed, mut client) = soon(typing).await.unwrap();
    typed.unwrap();
    let refused = soon(client.provide(provide)).await;
    assert!(matches!(refused, Err(ClientError::Refused(RequestError::NotProvided { .. }))), "{refused:?}");
    feed.end(ExitStatus::Code(3));
    assert_eq!(viewer.run_to_end().await, ExitStatus::Code(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_in_a_flood_cost_no_byte() {
    let server = TestServer::start();
    let provide = provide();
    let whole = lines(0..300_000);
    let mut provider = begin(&server, &provide).await;
    let mut clients = Vec::new();
    for on_lag in [OnLag::Lossless, OnLag::Lossless] {
        let mut client = server.client().await;
        attached(&mut client, &attach("mirror", AttachOptions::new(StartAt::Oldest, on_lag))).await;
        clients.push(tokio::spawn(async move { transcript(&mut client, 0).await }));
    }
    let mut lost = 0;
    while provider.head() < whole.len() as u64 {
        let at = usize::try_from(provider.head()).unwrap();
        soon(provider.print(whole.slice(at..whole.len().min(at + 50_000)))).await.unwrap();
        if provider.head() > (lost + 1) * 200_000 {
            lost += 1;
            drop(provider);
            provider = begin(&server, &provide).await;
            assert!(provider.head() <= whole.len() as u64);
        }
    }
    soon(provider.end(ExitStatus::Code(0))).await.unwrap();
    for client in clients {
        let (bytes, _) = client.await.unwrap();
        assert!(bytes == whole, "{} bytes of {}", bytes.len(), whole.len());
    }
    assert!(lost > 5);
}
