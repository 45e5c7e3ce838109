//! Resizes during a flood leave every terminal with the true screen.

use std::time::{Duration, Instant};

use fugue_server::{
    Client, TerminalSize,
    client::{ClientError, Incoming},
    message::{Access, AttachOptions, ClientMessage, Event, OnLag, Reply, StartAt},
};

use super::flood::session;
use crate::{random::Random, support::*};

pub(super) async fn resizes_during_a_flood_leave_every_terminal_with_the_true_screen() {
    const RESIZES: u64 = 2000;
    let server = TestServer::start();
    let mut control = server.client().await;
    // Colours, wide characters, lines that wrap, and tabs.
    let line = r"$(printf '\033[3%sm\tline %s \033[m\344\275\240\345\245\275 and so on until it is longer than most' 1 x)";
    let script = format!(
        "stty -echo; yes \"{line}\" & read stop; kill $!; wait $!
         while read size; do printf '\\033[m\\033[2J\\033[H'; seq 1 500 | sed 's/$/ of the last lines/'; \
         printf '%s done' \"$size\"; done"
    );
    let id = create(&mut control, "flood", &script).await.id;
    let mut random = Random::seeded("sizes");
    let mut size = TerminalSize::DEFAULT;
    let mut resized = Terminal::attach(&server, size, Access::ReadWrite).await;
    let mut fixed = Terminal::attach(&server, TerminalSize::DEFAULT, Access::ReadOnly).await;
    for _ in 0..RESIZES {
        size = TerminalSize::new(10 + random.below(150) as u16, 5 + random.below(60) as u16).unwrap();
        resized.screen.screen_mut().set_size(size.rows(), size.cols());
        soon(resized.client.send(&ClientMessage::Resize { session: id, size, pixels: None })).await.unwrap();
        for _ in 0..random.below(8) {
            resized.read().await;
            if random.below(8) == 0 {
                fixed.read().await;
            }
        }
    }
    assert!(resized.sizes > 0);
    soon(control.input(id, "\n")).await.unwrap();
    soon(control.input(id, "first\n")).await.unwrap();
    // What any terminal of the final size must show.
    let last = |word: &str| {
        let mut lines: Vec<_> = (1..=500).map(|number| format!("{number} of the last lines")).collect();
        lines.push(format!("{word} done"));
        // Narrow terminals wrap them.
        let cols = usize::from(size.cols());
        let wrapped = lines.iter().flat_map(|line| {
            let parts = line.as_bytes().chunks(cols);
            parts.map(|part| String::from_utf8(part.to_vec()).unwrap().trim_end().to_owned())
        });
        let all: Vec<_> = wrapped.collect();
        all[all.len() - usize::from(size.rows())..].to_vec()
    };
    resized.read_until("the last lines", |lines| lines == last("first")).await;
    assert_eq!(session(&mut control, "flood").await.size, size);
    let mut late = Terminal::attach(&server, size, Access::ReadOnly).await;
    late.read_until("the last lines", |lines| lines == last("first")).await;
    // The one of another size has a part of each line.
    let cols = usize::from(TerminalSize::DEFAULT.cols());
    fixed
        .read_until("a part of the last lines", |lines| {
            let shown = lines.iter().filter(|line| !line.is_empty());
            let whole = last("first");
            lines.iter().any(|line| line.ends_with("first done"))
                && shown
                    .clone()
                    .all(|line| whole.iter().any(|whole| whole.get(..whole.len().min(cols)) == Some(line)))
        })
        .await;
    // And all of them follow what comes next.
    soon(control.input(id, "second\n")).await.unwrap();
    for terminal in [&mut resized, &mut late] {
        terminal.read_until("the last lines", |lines| lines == last("second")).await;
    }
    let cursor = |terminal: &Terminal| terminal.screen.screen().cursor_position();
    assert_eq!(cursor(&resized), cursor(&late));
    match soon(control.request(&kill("flood"))).await {
        Ok(Reply::Killed(_)) => {}
        other => panic!("{other:?}"),
    }
    loop {
        match soon(resized.client.next()).await {
            Ok(Incoming::Event(Event::Ended { .. })) => break,
            Ok(_) => {}
            Err(error @ (ClientError::Lost | ClientError::Closed(_))) => panic!("{error}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A terminal of a size of its own, by another model than the server's.
struct Terminal {
    client: Client,
    screen: vt100::Parser,
    sizes: u64,
}

impl Terminal {
    async fn attach(server: &TestServer, size: TerminalSize, access: Access) -> Self {
        let mut client = server.client().await;
        let view =
            AttachOptions::new(StartAt::Screen, OnLag::Resync).with_size(Some(size)).with_access(access);
        attached(&mut client, &attach("flood", view)).await;
        Self { client, screen: vt100::Parser::new(size.rows(), size.cols(), 0), sizes: 0 }
    }

    async fn read(&mut self) {
        match soon(self.client.next()).await.unwrap() {
            Incoming::Output { data, .. } | Incoming::Screen { data, .. } => self.screen.process(&data),
            Incoming::Event(Event::Resized { .. }) => self.sizes += 1,
            _ => {}
        }
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.screen.screen();
        screen.rows(0, screen.size().1).map(|row| row.trim_end().to_owned()).collect()
    }

    async fn read_until(&mut self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        while !condition(&self.lines()) {
            assert!(start.elapsed() < Duration::from_secs(60), "never {what}:\n{}", self.lines().join("\n"));
            self.read().await;
        }
    }
}
