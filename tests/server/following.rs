//! A client whose terminal takes whatever size the session has, and the sizes in the output of one that is no terminal.

use fugue_server::{
    TerminalSize,
    client::Incoming,
    message::{AttachOptions, Event, OnLag, Pace, SessionChange, SizePolicy, StartAt},
};

use crate::support::*;

const FOLLOWING: AttachOptions = AttachOptions::new(StartAt::Screen, OnLag::Resync).following();

fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

fn fixed(size: TerminalSize) -> SessionChange {
    SessionChange::Size { policy: SizePolicy::Fixed, size: Some(size) }
}

/// Takes the next thing in, and takes whatever size it says.
async fn step(viewer: &mut Viewer) {
    let told = viewer.sizes.len();
    assert_eq!(viewer.step().await, None);
    if let [.., size] = viewer.sizes[told..] {
        viewer.screen.screen_mut().set_size(size.rows(), size.cols());
    }
}

#[tokio::test]
async fn a_client_that_follows_is_told_of_a_size_and_sent_the_screen() {
    let server = TestServer::start();
    let mut other = server.client().await;
    let script = "stty -echo; printf 'one two three four five'; while read line; do printf \"$line\"; done";
    let session = create(&mut other, "a", script).await.id;
    let mut viewer = Viewer::attach(&server, &attach("a", FOLLOWING)).await;
    viewer.run_until_shown("five").await;
    for (at, (cols, rows)) in [(10, 5), (100, 40), (7, 20), (80, 24)].into_iter().enumerate() {
        let word = format!("<{at}>");
        soon(other.change(session, fixed(size(cols, rows)))).await.unwrap();
        while viewer.sizes.last() != Some(&size(cols, rows)) {
            step(&mut viewer).await;
        }
        let drawn = viewer.screens;
        while viewer.screens == drawn {
            step(&mut viewer).await;
        }
        let (before, drawn) = (viewer.output.len(), viewer.screens);
        soon(other.input(session, format!("{word}\n"))).await.unwrap();
        while !viewer.text().replace('\n', "").contains(&word) {
            step(&mut viewer).await;
        }
        // As the program prints it, and not as pictures.
        assert!(viewer.screens > drawn || contains(&viewer.output[before..], word.as_bytes()));
        // What it shows is what the session does.
        let shown = soon(other.read_screen(session, 0)).await.unwrap();
        let mut model = vt100::Parser::new(rows, cols, 0);
        model.process(&shown.drawing);
        assert_eq!((shown.size, viewer.text()), (size(cols, rows), model.screen().contents()));
    }
    assert_eq!(viewer.gaps, []);
}

#[tokio::test]
async fn a_client_that_follows_sizes_nothing() {
    let server = TestServer::start();
    let mut other = server.client().await;
    let session = create(&mut other, "a", "exec sleep 1000").await.id;
    let mut viewer = Viewer::attach(&server, &attach("a", FOLLOWING)).await;
    soon(viewer.client.resize(session, size(10, 5), None)).await.unwrap();
    soon(viewer.client.input(session, "x")).await.unwrap();
    assert_eq!(soon(other.find(session)).await.unwrap().size, TerminalSize::DEFAULT);
}

/// What comes, as output and sizes in their order.
async fn told(server: &TestServer, start: StartAt, end: u64) -> (TerminalSize, Vec<(u64, TerminalSize)>) {
    let mut client = server.client().await;
    let options = AttachOptions::new(start, OnLag::Lossless);
    let to = attached(&mut client, &attach("feed", options)).await;
    let (mut at, mut sizes) = (to.start, Vec::new());
    // The last change is at the end.
    while at < end || sizes.last().is_none_or(|(told, _)| *told < end) {
        match soon(client.next()).await.unwrap() {
            Incoming::Output { offset, data } => {
                assert_eq!(offset, at);
                at += data.len() as u64;
            }
            Incoming::Event(Event::Resized { size, .. }) => sizes.push((at, size)),
            other => panic!("{other:?}"),
        }
    }
    (to.size, sizes)
}

#[tokio::test]
async fn what_is_no_terminal_is_told_of_a_size_where_it_is_in_the_output() {
    let server = TestServer::start();
    let mut other = server.client().await;
    let feed = server.feeds.start("feed".parse().unwrap(), TerminalSize::DEFAULT, Pace::Free).unwrap();
    let mut expected = Vec::new();
    let mut at = 0;
    for (cols, printed) in [(70, 1000), (71, 1), (70, 300_000), (80, 0), (60, 50)] {
        soon(feed.print(vec![b'x'; printed].into())).await.unwrap();
        soon(feed.flush()).await;
        at += printed as u64;
        soon(other.change(named("feed"), fixed(size(cols, 24)))).await.unwrap();
        // Nothing was printed in the one before.
        expected.pop_if(|(before, _)| *before == at);
        expected.push((at, size(cols, 24)));
    }
    assert_eq!(told(&server, StartAt::Oldest, at).await, (size(80, 24), expected.clone()));
    // One that begins with the screen has its size.
    let mut client = server.client().await;
    let screen = AttachOptions::new(StartAt::Screen, OnLag::Lossless);
    assert_eq!(attached(&mut client, &attach("feed", screen)).await.size, size(60, 24));
    // One that resumes hears of those from there on.
    assert_eq!(told(&server, StartAt::Offset(1000), at).await, (size(80, 24), expected.clone()));
    assert_eq!(told(&server, StartAt::Offset(1001), at).await, (size(70, 24), expected[1..].to_vec()));
    assert_eq!(told(&server, StartAt::Offset(1002), at).await, (size(71, 24), expected[2..].to_vec()));
}
