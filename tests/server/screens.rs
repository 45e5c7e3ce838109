//! What a session shows, to clients that do not watch it.

use fugue_server::{
    TerminalSize,
    client::Client,
    message::{ClientMessage, ExitStatus, Pace, Reply, RequestError, SessionScreen},
};

use crate::support::*;

async fn read(client: &mut Client, name: &str, lines: u32) -> SessionScreen {
    soon(client.read_screen(named(name), lines)).await.unwrap()
}

fn shown(screen: &SessionScreen) -> vt100::Parser {
    let mut shown = vt100::Parser::new(screen.size.rows(), screen.size.cols(), 1000);
    shown.process(&screen.drawing);
    shown
}

async fn read_until(client: &mut Client, name: &str, text: &str) -> SessionScreen {
    soon(async {
        loop {
            let screen = read(client, name, 0).await;
            if shown(&screen).screen().contents().contains(text) {
                break screen;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_screen_is_of_the_size_and_offset_that_it_says() {
    let server = TestServer::start();
    let mut client = server.client().await;
    let session = create(&mut client, "a", "stty -echo; printf ready; read end").await.id;
    let before = read_until(&mut client, "a", "ready").await;
    assert_eq!((before.session, before.size, before.offset), (session, TerminalSize::DEFAULT, 5));
    let size = TerminalSize::new(100, 30).unwrap();
    soon(client.resize(session, size, None)).await.unwrap();
    // Nothing was printed since.
    let after = read(&mut client, "a", 0).await;
    assert_eq!((after.size, after.offset), (size, 5));
}

#[tokio::test]
async fn a_reader_of_screens_watches_nothing_and_nobody_waits_for_it() {
    let server = TestServer::with(|server| server.history_bytes(256 * 1024));
    let mut client = server.client().await;
    let flood = shell_with("a", "exec yes", |create| create.pace = Pace::Slowest);
    soon(client.request(&flood)).await.unwrap();
    let mut last = read_until(&mut client, "a", "y").await.offset;
    for _ in 0..3 {
        // More than a history and its windows: a reader that was waited for would be seen in this.
        last = soon(async {
            loop {
                let screen = read(&mut client, "a", 0).await;
                if screen.offset > last + 1024 * 1024 {
                    break screen.offset;
                }
            }
        })
        .await;
    }
    let all = sessions(&mut client).await;
    assert_eq!((all[0].clients, all[0].size), (0, TerminalSize::DEFAULT));
    assert_eq!(client_stats(&mut server.client().await, client.id()).await.session, None);
}

#[tokio::test]
async fn of_lines_above_as_many_come_as_a_reply_has_room_for() {
    let server = TestServer::with(|server| server.scrollback_lines(100_000));
    let mut client = server.client().await;
    let script = "stty -echo; awk 'BEGIN { for (i = 0; i < 50000; i++) \
                  printf \"\\033[3%dm%d %070d\\n\", i % 8, i, i; printf \"\\033[mthe end\" }'; read end";
    create(&mut client, "a", script).await;
    read_until(&mut client, "a", "the end").await;
    let few = read(&mut client, "a", 10).await;
    let many = read(&mut client, "a", u32::MAX).await;
    assert!(few.drawing.len() < 8 * 1024, "{}", few.drawing.len());
    assert!((1024 * 1024..4 * 1024 * 1024).contains(&many.drawing.len()), "{}", many.drawing.len());
    assert!(shown(&many).screen().contents().contains("the end"));
}

#[tokio::test]
async fn a_session_without_a_model_says_that_its_screen_is_not_known() {
    let server = TestServer::with(|server| server.no_screen_model());
    let mut client = server.client().await;
    let session = create(&mut client, "a", "stty -echo; printf ready; read end").await.id;
    let request = ClientMessage::ReadScreen { session: session.into(), lines: 0 };
    let error = refused(&mut client, &request).await;
    assert_eq!(error, RequestError::NoScreen("a".parse().unwrap()));
}

#[tokio::test]
async fn a_wait_is_answered_at_the_end_and_after_it() {
    let server = TestServer::start();
    let (mut client, mut waiting) = (server.client().await, server.client().await);
    create(&mut client, "a", "read end; exit 9").await;
    let request = soon(waiting.send(&ClientMessage::Wait { session: named("a") })).await.unwrap();
    // It holds up nothing else of its connection.
    soon(waiting.ping()).await.unwrap();
    let session = sessions(&mut client).await[0].id;
    soon(client.input(session, "\n")).await.unwrap();
    let ended = Reply::Ended(ExitStatus::Code(9));
    assert_eq!(soon(waiting.answer(request)).await.unwrap(), ended);
    assert_eq!(soon(waiting.wait(named("a"))).await.unwrap(), ExitStatus::Code(9));
    let error = refused(&mut client, &ClientMessage::Wait { session: named("b") }).await;
    assert!(matches!(error, RequestError::UnknownSession(_)), "{error:?}");
}
