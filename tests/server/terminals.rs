//! Several people at one session: who may type, whose size counts, and who answers for the terminal.

use fugue_server::{
    TerminalSize,
    message::{
        Access, AttachOptions, ClientMessage, ExitStatus, OnLag, Reply, RequestError, SizePolicy, StartAt,
        Target,
    },
};

use crate::support::*;

fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

const READ_ONLY: AttachOptions = TERMINAL.with_access(Access::ReadOnly);

#[tokio::test]
async fn a_read_only_client_changes_nothing_while_it_watches() {
    let server = TestServer::start();
    let mut owner =
        Viewer::attach(&server, &shell("a", "stty -echo; printf ready; cat", Some(TERMINAL))).await;
    owner.run_until_shown("ready").await;
    for view in [READ_ONLY, READ_ONLY.with_size(None)] {
        let mut viewer = Viewer::attach(&server, &attach("a", view)).await;
        let session = viewer.session;
        for request in [
            input(session, "typed"),
            ClientMessage::Kill { session: Target::Id(session) },
            kill("a"),
            shell("b", "true", None),
        ] {
            assert_eq!(refused(&mut viewer.client, &request).await, RequestError::ReadOnly, "{request:?}");
        }
        let resize = ClientMessage::Resize { session, size: size(50, 10), pixels: None };
        if view.size.is_some() {
            // Its own terminal may have any size: that is its own affair.
            assert_eq!(soon(viewer.client.request(&resize)).await.unwrap(), Reply::Resized);
        } else {
            assert_eq!(refused(&mut viewer.client, &resize).await, RequestError::ReadOnly);
        }
        let listed = sessions(&mut viewer.client).await;
        assert_eq!((listed.len(), listed[0].size, listed[0].clients), (1, TerminalSize::DEFAULT, 2));
        owner.type_in("from the owner\n").await;
        owner.run_until_shown("from the owner").await;
        viewer.run_until_shown("from the owner").await;
        assert!(!viewer.text().contains("typed"));

        // Once it no longer watches, it is a client like any other.
        soon(viewer.client.detach()).await.unwrap();
        soon(viewer.client.input(session, "")).await.unwrap();
    }
}

#[tokio::test]
async fn read_only_lasts_as_long_as_the_session_is_watched() {
    let server = TestServer::start();
    let mut viewer = Viewer::attach(&server, &shell("a", "read end", Some(READ_ONLY))).await;
    assert_eq!(refused(&mut viewer.client, &kill("a")).await, RequestError::ReadOnly);
    let mut other = server.client().await;
    soon(other.request(&kill("a"))).await.unwrap();
    viewer.run_to_end().await;
    create(&mut viewer.client, "b", "true").await;
}

/// A session that says its size when it is told to, and the sizes it was given.
async fn sized_session(server: &TestServer, policy: SizePolicy) {
    let mut client = server.client().await;
    let script = "stty -echo; while read go; do stty size; done";
    let request = shell_with("a", script, |create| create.size_policy = policy);
    soon(client.request(&request)).await.unwrap();
}

#[tokio::test]
async fn the_session_has_the_size_of_the_terminal_that_was_used_last() {
    let server = TestServer::start();
    sized_session(&server, SizePolicy::Latest).await;
    let mut a = Viewer::sized(&server, "a", (100, 30), Access::ReadWrite).await;
    a.type_in("\n").await;
    a.run_until_shown("30 100").await;
    let mut watcher = Viewer::sized(&server, "a", (33, 7), Access::ReadOnly).await;
    let mut b = Viewer::sized(&server, "a", (90, 40), Access::ReadWrite).await;
    a.run_until(|a| a.sizes.ends_with(&[size(90, 40)])).await;
    a.type_in("\n").await;
    b.run_until(|b| b.sizes.ends_with(&[size(100, 30)])).await;
    b.run_until(|b| b.text().matches("30 100").count() == 2).await;
    let resized = ClientMessage::Resize { session: b.session, size: size(60, 20), pixels: None };
    soon(b.client.send(&resized)).await.unwrap();
    b.screen = vt100::Parser::new(20, 60, 0);
    b.run_until(|b| b.sizes.ends_with(&[size(60, 20)])).await;
    b.type_in("\n").await;
    b.run_until_shown("20 60").await;
    drop(b);
    a.run_until(|a| a.sizes.ends_with(&[size(100, 30)])).await;
    // Everyone is told, and who only watches counts for nothing.
    watcher.run_until(|watcher| watcher.sizes.ends_with(&[size(100, 30)])).await;
    drop(watcher);
    let mut other = server.client().await;
    while sessions(&mut other).await[0].clients > 1 {}
    assert_eq!(sessions(&mut other).await[0].size, size(100, 30));
}

#[tokio::test]
async fn a_size_may_be_the_smallest_the_largest_or_fixed() {
    for (policy, both, one) in [
        (SizePolicy::Smallest, size(90, 30), size(100, 30)),
        (SizePolicy::Largest, size(100, 40), size(100, 30)),
        (SizePolicy::Fixed, TerminalSize::DEFAULT, TerminalSize::DEFAULT),
    ] {
        let server = TestServer::start();
        sized_session(&server, policy).await;
        let a = Viewer::sized(&server, "a", (100, 30), Access::ReadWrite).await;
        let b = Viewer::sized(&server, "a", (90, 40), Access::ReadWrite).await;
        let mut other = server.client().await;
        assert_eq!(sessions(&mut other).await[0].size, both, "{policy:?}");
        let ask = ClientMessage::Resize { session: a.session, size: size(10, 10), pixels: None };
        soon(other.request(&ask)).await.unwrap();
        assert_eq!(sessions(&mut other).await[0].size, both, "{policy:?}: one who does not watch");
        drop(b);
        while sessions(&mut other).await[0].clients > 1 {}
        assert_eq!(sessions(&mut other).await[0].size, one, "{policy:?}");
        drop(a);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_of_another_size_shows_its_part_of_the_true_screen() {
    let server = TestServer::start();
    // Lines as wide as the session, a flood of them, and text at the far end.
    let script = r"stty -echo; printf ready; read go; i=0; while [ $i -lt 3000 ]; do i=$((i+1));
        printf '%080d' $i; done; printf '\033[H\033[2Jtop left\033[24;60Hbottom right'; read more;
        printf '\033[H\033[?1049hin front'; read end";
    let mut truth = Viewer::attach(&server, &shell("a", script, Some(TERMINAL))).await;
    truth.run_until_shown("ready").await;
    let mut viewers = Vec::new();
    for (cols, rows) in [(40, 24), (80, 10), (20, 5), (100, 30), (200, 24)] {
        viewers.push(Viewer::sized(&server, "a", (cols, rows), Access::ReadOnly).await);
    }
    truth.type_in("\n").await;
    truth.run_until_shown("bottom right").await;
    for viewer in &mut viewers {
        viewer.run_until_shown("om right").await;
        let (rows, cols) = viewer.screen.screen().size();
        assert_eq!(
            viewer.text().contains("top left"),
            rows >= 24 && cols >= 80,
            "{cols}x{rows}:\n{}",
            viewer.text()
        );
        assert!(viewer.output.is_empty(), "{cols}x{rows} was sent output");
        for line in viewer.text().lines() {
            assert!(truth.text().contains(line.trim()), "{cols}x{rows}: {line:?} is not on the screen");
        }
    }
    truth.type_in("\n").await;
    truth.run_until_shown("in front").await;
    for viewer in &mut viewers {
        viewer.run_until_shown("in front").await;
        assert!(!viewer.text().contains("bottom"));
    }
    // A terminal that comes to have the session's size is sent output again.
    let mut last = viewers.pop().unwrap();
    let resize = ClientMessage::Resize { session: last.session, size: TerminalSize::DEFAULT, pixels: None };
    let before = last.screens;
    soon(last.client.send(&resize)).await.unwrap();
    last.screen = vt100::Parser::new(24, 80, 0);
    last.run_until(|last| last.screens > before && last.text() == truth.text()).await;
    assert_eq!(last.state(), truth.state());
    soon(server.client().await.request(&kill("a"))).await.unwrap();
    for viewer in viewers.iter_mut().chain([&mut last]) {
        assert!(matches!(viewer.run_to_end().await, ExitStatus::Signal(_) | ExitStatus::Code(_)));
    }
}

#[tokio::test]
async fn a_session_that_comes_to_have_a_terminals_size_is_drawn_there_whole() {
    let server = TestServer::start();
    let script = r"stty -echo; printf '\033[?2004h\033[31mready'; read end";
    let mut truth = Viewer::attach(&server, &shell("a", script, Some(TERMINAL))).await;
    truth.run_until_shown("ready").await;
    let mut viewer = Viewer::sized(&server, "a", (60, 20), Access::ReadOnly).await;
    viewer.run_until_shown("ready").await;
    assert_ne!(viewer.state(), truth.state(), "a picture has no modes");
    // The program prints nothing that would bring them.
    let resize = ClientMessage::Resize { session: truth.session, size: size(60, 20), pixels: None };
    soon(truth.client.send(&resize)).await.unwrap();
    truth.screen = vt100::Parser::new(20, 60, 0);
    truth.run_until_shown("ready").await;
    viewer.run_until(|viewer| viewer.state() == truth.state()).await;
}

#[tokio::test]
async fn a_lossless_client_is_sent_every_byte_whatever_its_size() {
    let server = TestServer::start();
    let view = AttachOptions::new(StartAt::Oldest, OnLag::Lossless)
        .with_size(Some(size(33, 7)))
        .with_access(Access::ReadOnly);
    let mut owner = server.client().await;
    create(&mut owner, "a", "stty -opost; seq 1 1000; read end").await;
    let mut viewer = Viewer::attach(&server, &attach("a", view)).await;
    viewer.run_until(|viewer| viewer.output.ends_with(b"1000\n")).await;
    assert_eq!(viewer.screens, 0);
}

/// A program that asks its terminal something on every line it reads of the first kind, and shows what it is sent.
const ASKS: &str = r"stty raw -echo; printf ready; exec cat -v";

#[tokio::test]
async fn one_client_answers_and_no_reply_of_another_reaches_the_program() {
    let server = TestServer::start();
    let script =
        r"stty raw -echo; printf ready; head -c 1 >/dev/null; printf '\033]11;?\033\\\033[6n'; exec cat -v";
    let mut a = Viewer::attach(&server, &shell("a", script, Some(TERMINAL))).await;
    a.run_until_shown("ready").await;
    let mut b = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    b.run_until_shown("ready").await;
    a.type_in("g").await;
    let asked = |viewer: &Viewer| contains(&viewer.output, b"\x1b[6n");
    a.run_until(asked).await;
    b.run_until(asked).await;
    // Both terminals answer, as terminals do; the second in pieces.
    a.type_in("\x1b]11;rgb:1/1/1\x1b\\\x1b[5;7R").await;
    // What the session's own model knows, no terminal is asked.
    a.run_until_shown("^[]11;rgb:1/1/1^[\\^[[1;6R").await;
    for piece in ["\x1b]11;rg", "b:2/2/2\x07", "\x1b[24;", "80Rtyped"] {
        b.type_in(piece).await;
    }
    b.run_until_shown("typed").await;
    // One who comes late and is shown it all answers as well.
    let mut late = Viewer::attach(&server, &attach("a", TERMINAL.with_start(StartAt::Oldest))).await;
    late.run_until(asked).await;
    late.type_in("\x1b]11;rgb:3/3/3\x07").await;
    late.type_in("\x1b[1;2Rlate").await;
    late.run_until_shown("late").await;
    a.run_until_shown("late").await;
    // The last is also what shift and F3 send, and nothing is asked any more.
    assert_eq!(a.text(), "ready^[]11;rgb:1/1/1^[\\^[[1;6Rtyped^[[1;2Rlate");
}

#[tokio::test]
async fn what_is_no_terminal_may_send_anything() {
    let server = TestServer::start();
    let mut viewer = Viewer::attach(&server, &shell("a", ASKS, Some(FROM_OLDEST))).await;
    viewer.run_until_shown("ready").await;
    viewer.type_in("\x1b[?62;1c.").await;
    viewer.run_until_shown("^[[?62;1c.").await;
}

#[tokio::test]
async fn half_a_sequence_that_nothing_follows_is_typed_after_all() {
    let server = TestServer::start();
    let mut viewer = Viewer::attach(&server, &shell("a", ASKS, Some(TERMINAL))).await;
    viewer.run_until_shown("ready").await;
    viewer.type_in("\x1b[?6").await;
    viewer.run_until_shown("^[[?6").await;
    // And what is kept for one session is not typed into another.
    let mut other = server.client().await;
    let second = create(&mut other, "b", ASKS).await.id;
    viewer.type_in("\x1b[?7").await;
    soon(viewer.client.send(&input(second, "other"))).await.unwrap();
    viewer.run_until_shown("^[[?6^[[?7").await;
}
