//! Clients that fell too far behind, and clients that come late: what each shows in the end is what is true.

use fugue_server::{
    Picture, ScreenModel, TerminalSize,
    client::Incoming,
    message::{
        Access, AttachOptions, ClientMessage, Event, ExitStatus, OnLag, Pace, Reply, SessionState, StartAt,
    },
};

use crate::support::*;

const HISTORY: usize = 512 * 1024;

/// Prints some MiB that no plain text is: colours, a scroll region, wide characters, text placed at will.
const FLOOD: &str = r#"stty -opost -echo; printf ready; read go
awk 'BEGIN {
    for (i = 0; i < 60000; i++) {
        printf "\033[%dmline %d of the flood, 漢字, e\314\201\033[m\r\n", 31 + i % 7, i
        if (i % 50 == 0) printf "\033[%d;%dHplaced %d\033[3;20r\033[20;1H", 1 + i % 24, 1 + i % 60, i
        if (i % 3000 == 0) printf "\033[?1049h\033[2J\033[7min front %d\033[m", i
        if (i % 3000 == 1500) printf "\033[?1049l\033[r"
    }
    printf "\033[?1049l\033[r\033[?2004h\033[?1h\033[5;7Hthe end\033[32m"
}'; read end"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_behind_the_history_is_told_and_shows_the_true_screen() {
    let server = TestServer::with(|server| server.history_bytes(HISTORY));
    let mut first = server.client().await;
    create(&mut first, "flood", FLOOD).await;
    let mut truth = Viewer::attach(&server, &attach("flood", FROM_OLDEST)).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        stalled.push(Viewer::attach(&server, &attach("flood", TERMINAL)).await);
    }
    truth.type_in("\n").await;
    truth.run_until_shown("the end").await;
    assert_eq!(truth.screens, 0, "who reads everything is sent nothing else");

    for viewer in &mut stalled {
        let before = client_stats(&mut first, viewer.client.id()).await;
        assert!(before.lag_bytes > HISTORY as u64 && before.lag_max_bytes >= before.lag_bytes, "{before:?}");
        viewer.run_until(|viewer| viewer.at == truth.at).await;
        assert!(!viewer.gaps.is_empty());
        assert_eq!(viewer.state(), truth.state());
        let after = live_client_stats(&mut first, viewer.client.id()).await;
        assert_eq!(after.lag_bytes, 0);
        assert_eq!(after.gaps, viewer.gaps.len() as u64);
        assert_eq!(after.skipped_bytes, viewer.gaps.iter().map(|(from, to)| to - from).sum::<u64>());
    }
    // They are live again: what is typed now reaches everyone as it is.
    truth.type_in("x").await;
    soon(first.request(&kill("flood"))).await.unwrap();
    for viewer in &mut stalled {
        viewer.run_to_end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_joiner_sees_what_the_others_see() {
    let server = TestServer::start();
    let script = r"stty -echo; printf '\033[31mred\033[m plain\r\n\033[3;10r\033[?2004h\033[?1h\033[?1000h\033]2;title\007';
        printf '\033[5;5H\033[1;4mhere'; read go; printf ' and there'; read end";
    let mut first = Viewer::attach(&server, &shell("a", script, Some(FROM_OLDEST))).await;
    first.run_until_shown("here").await;
    let mut late = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    late.run_until_shown("here").await;
    assert_eq!((late.screens, late.output.len()), (1, 0));
    assert_eq!(late.at, first.at);
    assert_eq!(late.state(), first.state());
    first.type_in("\n").await;
    for viewer in [&mut first, &mut late] {
        viewer.run_until_shown("here and there").await;
    }
    assert_eq!(late.state(), first.state());
    assert_eq!(late.output, b" and there");
}

#[tokio::test]
async fn the_screen_beneath_an_editor_is_there_when_the_editor_leaves() {
    let server = TestServer::start();
    let script = r"stty -echo; printf 'the shell'; printf '\033[?1049h\033[2Jthe editor'; read go; printf '\033[?1049l!'; read end";
    let mut first = Viewer::attach(&server, &shell("a", script, Some(FROM_OLDEST))).await;
    first.run_until_shown("the editor").await;
    let mut late = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    late.run_until_shown("the editor").await;
    assert!(late.screen.screen().alternate_screen());
    late.type_in("\n").await;
    late.run_until_shown("the shell!").await;
    first.run_until_shown("the shell!").await;
    assert_eq!(late.state(), first.state());
}

#[tokio::test]
async fn a_session_that_printed_nothing_draws_nothing() {
    let server = TestServer::start();
    let mut first = server.client().await;
    create(&mut first, "a", "stty -echo; read go; printf hello; read end").await;
    let mut viewer = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    viewer.type_in("\n").await;
    viewer.run_until_shown("hello").await;
    assert_eq!(viewer.screens, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go_in_a_flood_get_the_bytes_at_their_offsets() {
    let server = TestServer::start();
    let script = "stty -opost -echo; printf ready; read go; seq 1 1000000";
    let mut source = server.client().await;
    let to = attached(&mut source, &shell("a", script, Some(FROM_OLDEST))).await;
    let mut bytes = Transcript::from(0);
    bytes.read_to(&mut source, "ready").await;
    soon(source.send(&input(to.session, "\n"))).await.unwrap();
    let (progress, mut at) = tokio::sync::watch::channel(0);
    let reading = tokio::spawn(async move {
        while bytes.step(&mut source).await.is_none() {
            progress.send_replace(bytes.end());
        }
        bytes.bytes
    });
    let mut joined = Vec::new();
    let starts = [StartAt::Screen, StartAt::Now, StartAt::Oldest, StartAt::Last(10_000)];
    for round in 0..60 {
        // The flood goes on between one and the next.
        let next = *at.borrow() + 50_000;
        if soon(at.wait_for(|at| *at >= next)).await.is_err() {
            break;
        }
        let view = TERMINAL.with_start(starts[round % 4]).with_on_lag(OnLag::Lossless);
        let mut client = server.client().await;
        let Ok(to) = soon(client.attach(named("a"), view)).await else { break };
        let mut viewer = Transcript::from(to.start);
        // Some stay for a moment, some until the end.
        let stays = if round % 8 < 6 { 20_000 } else { usize::MAX };
        joined.push(tokio::spawn(async move {
            while viewer.bytes.len() < stays && viewer.step(&mut client).await.is_none() {}
            viewer
        }));
    }
    let source = soon(reading).await.unwrap();
    let numbers: String = (1..=1_000_000).map(|number| format!("{number}\n")).collect();
    assert!(source == [b"ready", numbers.as_bytes()].concat());
    assert!(joined.len() > 8, "{} joined", joined.len());
    for viewer in joined {
        let viewer = soon(viewer).await.unwrap();
        let (start, end) = (viewer.start as usize, viewer.end() as usize);
        assert!(viewer.bytes == source[start..end], "from {start} to {end}");
    }
}

#[tokio::test]
async fn the_newest_lines_are_whole_lines() {
    let server = TestServer::start();
    let mut first = server.client().await;
    create(&mut first, "a", "stty -opost -echo; seq 1 1000; printf partial; read end").await;
    while sessions(&mut first).await[0].printed < 3893 + 7 {}
    for (bytes, expected) in [
        (0, ""),
        (7, "partial"),
        (8, "partial"),
        (9, "partial"),
        (12, "1000\npartial"),
        (15, "1000\npartial"),
        (16, "999\n1000\npartial"),
    ] {
        let view = AttachOptions::new(StartAt::Last(bytes), OnLag::Lossless);
        let mut client = server.client().await;
        let to = attached(&mut client, &attach("a", view)).await;
        let mut transcript = Transcript::from(to.start);
        transcript.read_until(&mut client, |bytes| bytes.len() >= expected.len()).await;
        assert_eq!(String::from_utf8_lossy(&transcript.bytes), expected, "the last {bytes}");
        assert_eq!(transcript.end(), 3900);
    }
    let all = AttachOptions::new(StartAt::Last(u64::MAX), OnLag::Lossless);
    assert_eq!(attached(&mut server.client().await, &attach("a", all)).await.start, 0);
}

#[tokio::test]
async fn a_client_may_ask_for_its_screen() {
    let server = TestServer::start();
    let script = r"stty -echo; printf 'what is \033[7mshown'; read end";
    let mut viewer = Viewer::attach(&server, &shell("a", script, Some(FROM_OLDEST))).await;
    viewer.run_until_shown("shown").await;
    let before = viewer.state();
    viewer.screen.process(b"\x1b[2J\x1b[Hwritten over\x1b[?1049h\x1b[");
    soon(viewer.client.resync()).await.unwrap();
    viewer.run_until(|viewer| viewer.screens > 0).await;
    assert_eq!(viewer.state(), before);
    let mut other = server.client().await;
    assert_eq!(
        soon(other.request(&ClientMessage::Resync)).await.unwrap(),
        Reply::Resynced,
        "it watches nothing"
    );
}

/// A model that can't be trusted.
struct Broken;

impl ScreenModel for Broken {
    fn advance(&mut self, output: &[u8]) {
        assert!(!output.contains(&b'!'), "the model is broken");
    }
    fn resize(&mut self, _: TerminalSize) {}
    fn redraw(&mut self) -> Vec<u8> {
        b"drawn".to_vec()
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        Picture { bytes: b"pictured".to_vec(), ..Picture::default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_without_a_model_that_panics() {
    let server = TestServer::with(|server| server.history_bytes(HISTORY).screen_model(|_| Box::new(Broken)));
    let script = "trap 'printf resized' WINCH; stty -echo; printf 'one!\nready'; until read go; do :; done; seq 1 400000; \
                  printf 'last words'; while :; do read end && exit 3; done";
    let mut first = Viewer::attach(&server, &shell("a", script, Some(FROM_OLDEST))).await;
    first.run_until_shown("ready").await;
    let mut stalled = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    // It draws itself anew when its terminal's size changes, which it did, and back.
    first.run_until_shown("resized").await;
    first.type_in("\n").await;
    first.run_until_shown("last words").await;
    let stats = stats(&mut server.client().await).await;
    assert!(stats.sessions[0].screen_failed);

    let mut late = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    late.run_until_shown("last words").await;
    assert!(late.output.starts_with(b"3"), "{:?}", String::from_utf8_lossy(&late.output[..20]));
    stalled.run_until_shown("last words").await;
    assert!(!stalled.gaps.is_empty());
    first.type_in("\n").await;
    assert_eq!(late.run_to_end().await, ExitStatus::Code(3));
    assert_eq!(stalled.run_to_end().await, ExitStatus::Code(3));
    assert_eq!(stalled.text(), late.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedder_may_bring_its_own_model_or_none() {
    let server = TestServer::with(|server| server.screen_model(|_| Box::new(Broken)));
    let mut first = Viewer::attach(&server, &shell("a", "printf ready; read end", Some(FROM_OLDEST))).await;
    first.run_until_shown("ready").await;
    Viewer::attach(&server, &attach("a", TERMINAL)).await.run_until_shown("drawn").await;
    Viewer::sized(&server, "a", (70, 20), Access::ReadOnly).await.run_until_shown("pictured").await;

    let server = TestServer::with(|server| server.no_screen_model());
    let script = "printf ready; seq 1 1000000; read end";
    let mut first = Viewer::attach(&server, &shell("a", script, Some(FROM_OLDEST))).await;
    first.run_until_shown("1000000").await;
    let mut late = Viewer::sized(&server, "a", (70, 20), Access::ReadOnly).await;
    late.run_until_shown("1000000").await;
    assert!(!stats(&mut server.client().await).await.sessions[0].screen_failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_joins_an_ending_session_gets_all_or_is_told() {
    let server = TestServer::start();
    for round in 0..50 {
        let mut client = server.client().await;
        create(&mut client, "a", "printf 'last words'; exit 7").await;
        match soon(client.attach(named("a"), TERMINAL)).await {
            Ok(to) => {
                let mut viewer = Viewer::of(client, &to);
                assert_eq!(viewer.run_to_end().await, ExitStatus::Code(7), "round {round}");
                assert_eq!(viewer.text(), "last words", "round {round}");
            }
            Err(error) => assert!(error.to_string().contains("has ended: exit status 7"), "{error}"),
        }
        let mut other = server.client().await;
        while sessions(&mut other).await.iter().any(|it| matches!(it.state, SessionState::Running { .. })) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_gap_the_newest_lines_are_above_the_screen() {
    const LINES: usize = 400_000;
    let server = TestServer::with(|server| server.history_bytes(64 * 1024));
    let feed = server.feeds.start("a".parse().unwrap(), TerminalSize::DEFAULT, Pace::Free).unwrap();
    let mut client = server.client().await;
    let view = TERMINAL.with_start(StartAt::Now).with_scrollback(1000);
    attached(&mut client, &attach_id(feed.session(), view)).await;
    // The client takes nothing meanwhile.
    let lines: Vec<String> = (0..LINES).map(|number| format!("{number}\r\n")).collect();
    for lines in lines.chunks(5000) {
        soon(feed.print(lines.concat().into())).await.unwrap();
    }
    soon(feed.flush()).await;
    feed.end(ExitStatus::Code(0));
    let (mut terminal, mut gap) = (vt100::Parser::new(24, 80, LINES), None);
    loop {
        match soon(client.next()).await.unwrap() {
            Incoming::Output { data, .. } | Incoming::Screen { data, .. } => terminal.process(&data),
            Incoming::Event(Event::Gap { from, to }) => gap = Some(to - from),
            Incoming::Event(Event::Ended { .. }) => break,
            _ => {}
        }
    }
    // A line takes 8 bytes; those that scrolled off in the first steps of the model are not known to be new.
    let missed = gap.expect("it fell behind") / 8;
    let given = usize::try_from(missed / 2).unwrap().saturating_sub(25_000).min(1000);
    let screen = terminal.screen_mut();
    screen.set_scrollback(LINES);
    let mut shown = Vec::new();
    for above in (0..=screen.scrollback()).rev() {
        screen.set_scrollback(above);
        shown.extend(screen.rows(0, 80).next().and_then(|line| line.trim().parse::<usize>().ok()));
    }
    assert!(shown.is_sorted_by(|one, next| one < next), "no line comes twice");
    let newest = shown.iter().rev().zip((0..LINES - 22).rev()).take_while(|(one, other)| *one == other);
    assert!(
        newest.count() > given,
        "{missed} lines missed: {:?}",
        &shown[shown.len().saturating_sub(1100)..]
    );
}
