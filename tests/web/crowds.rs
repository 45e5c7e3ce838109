//! Many pages at once, and all that any of them is sent and types.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fugue_server::{
    SessionId,
    message::{Access, LinkToken, Share, ViewerId},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{gateway::*, support::*};

/// How long the next thing may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is in flight to a page that acknowledges nothing.
const WINDOW: u64 = 64 * 1024;

fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_crowd_that_acknowledges_nothing_costs_the_others_no_byte() {
    const LINES: u32 = 150_000;
    let server = TestServer::with(|builder| builder.history_bytes(16 << 20));
    let mut owner = server.client().await;
    let script =
        format!("stty -echo -opost; printf ready; read go; seq 1 {LINES}; echo done; exec sleep 1000");
    let session = create(&mut owner, "a", &script).await.id;
    let gateway = Gateway::start(&server);
    let token = link_to(&server, session).await;
    let mut stalled = Vec::new();
    let mut reading = Vec::new();
    for number in 0..32 {
        let (mut page, _) = WebPage::enter(&gateway, token).await;
        page.read_to("ready").await;
        page.acknowledges = number % 2 == 0;
        if page.acknowledges { reading.push(page) } else { stalled.push((page.received, page)) }
    }
    let expected = Arc::new(numbers(LINES) + "done\n");
    let mut readers = JoinSet::new();
    for mut page in reading {
        let expected = Arc::clone(&expected);
        readers.spawn(async move {
            let printed = page.read_to("done\n").await;
            assert!(printed == expected.as_bytes(), "{} bytes, not {}", printed.len(), expected.len());
        });
    }
    soon(owner.input(session, "go\n")).await.unwrap();
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    for (before, page) in &mut stalled {
        // Whatever it is sent next comes after all output that was on its way.
        while page.received < *before + WINDOW {
            page.next().await;
        }
        for _ in 0..3 {
            page.say(json!({"type": "ping"})).await;
            page.text("pong").await;
        }
        assert_eq!(page.received, *before + WINDOW, "more waits in the gateway than the window");
    }
}

const PAGES: usize = 10;
/// Lines that each page types.
const TYPED: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_pages_of_killed_gateways_get_every_byte_and_type_once() {
    const LINES: u32 = 150_000;
    let server = TestServer::with(|builder| builder.history_bytes(16 << 20));
    let mut owner = server.client().await;
    let script = format!(
        "stty -echo -opost; printf ready; read go; seq 1 {LINES}; n=0; \
         while [ $n -lt {} ]; do read line; echo \"[$line]\"; n=$((n+1)); done; echo done; exec sleep 1000",
        PAGES * TYPED
    );
    let session = create(&mut owner, "a", &script).await.id;
    let mut gateway = Gateway::start(&server);
    let token = link(&server, Share::of(session.into()).with_access(Access::ReadWrite)).await;
    let came = Arc::new(AtomicU64::new(0));
    let mut pages = JoinSet::new();
    for number in 0..PAGES {
        let page = CrowdPage::enter(gateway.address, token, session, number, Arc::clone(&came)).await;
        pages.spawn(page.run());
    }
    soon(owner.input(session, "go\n")).await.unwrap();
    // Each time that the pages together have another eighth of all.
    let all = (PAGES * numbers(LINES).len()) as u64;
    for eighth in 1..=6 {
        let begun = Instant::now();
        while came.load(Relaxed) < all / 8 * eighth {
            assert!(begun.elapsed() < PATIENCE, "only {} of {all} bytes came", came.load(Relaxed));
            tokio::task::yield_now().await;
        }
        let process = Pid::from_raw(gateway.process().try_into().unwrap()).unwrap();
        kill_process(process, Signal::KILL).unwrap();
        gateway = gateway.again(&server);
    }
    let mut texts = Vec::new();
    while let Some(text) = pages.join_next().await {
        texts.push(text.unwrap());
    }
    let typed = texts[0].strip_prefix(&numbers(LINES)).expect("all numbers");
    let mut lines: Vec<&str> = typed.lines().collect();
    assert_eq!(lines.pop(), Some("done"));
    lines.sort_unstable();
    let mut expected: Vec<String> =
        (0..PAGES * TYPED).map(|at| format!("[page {} line {}]", at / TYPED, at % TYPED)).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(texts.iter().all(|text| *text == texts[0]), "two pages differ");
}

/// A page that reads and types, over one gateway after another.
struct CrowdPage {
    address: SocketAddr,
    token: LinkToken,
    viewer: ViewerId,
    session: SessionId,
    number: usize,
    page: WebPage,
    /// What came after the screen, and the offset of what comes next.
    text: Vec<u8>,
    at: u64,
    /// Bytes that came to all pages.
    came: Arc<AtomicU64>,
    /// What it has typed, and how much of that was answered.
    typed: Vec<u8>,
    answered: u64,
}

impl CrowdPage {
    async fn enter(
        address: SocketAddr,
        token: LinkToken,
        session: SessionId,
        number: usize,
        came: Arc<AtomicU64>,
    ) -> Self {
        let viewer = ViewerId::random();
        let mut page = WebPage::try_enter(address, token, viewer, json!({})).await.unwrap();
        // The screen, where the program waits.
        page.read_to("ready").await;
        let at = page.at.unwrap();
        Self {
            address,
            token,
            viewer,
            session,
            number,
            page,
            text: Vec::new(),
            at,
            came,
            typed: Vec::new(),
            answered: 0,
        }
    }

    fn stream(&self) -> [u8; 16] {
        [u8::try_from(self.number).unwrap() + 1; 16]
    }

    /// Until all is printed. Returns that.
    async fn run(mut self) -> String {
        while !self.text.ends_with(b"done\n") {
            match self.page.next().await {
                Told::Binary(0, offset, bytes) => {
                    assert_eq!(offset, self.at, "a gap, or a repetition");
                    self.at += bytes.len() as u64;
                    self.came.fetch_add(bytes.len() as u64, Relaxed);
                    self.text.extend(bytes);
                    self.type_some().await;
                }
                Told::Binary(kind, ..) => panic!("kind {kind} after {} bytes", self.text.len()),
                Told::Text(value) if value["type"] == "input" => {
                    self.answered = value["offset"].as_u64().unwrap();
                }
                // What is typed before a gateway has attached the page goes nowhere.
                Told::Text(value) if value["type"] == "attached" => {
                    let answered = usize::try_from(self.answered).unwrap();
                    self.send_typed(answered).await;
                }
                Told::Text(value) => {
                    assert!(!["gap", "error"].iter().any(|kind| value["type"] == *kind), "{value}");
                }
                Told::Closed(code) => {
                    assert_eq!(code, None, "killed, not closed");
                    self.come_back().await;
                }
            }
        }
        String::from_utf8(self.text).unwrap()
    }

    /// Types a line each time that another 150 KiB have come.
    async fn type_some(&mut self) {
        let line = self.typed.iter().filter(|byte| **byte == b'\n').count();
        if line < TYPED && self.text.len() > (line + 1) * 150 * 1024 {
            let at = self.typed.len();
            self.typed.extend(format!("page {} line {line}\n", self.number).into_bytes());
            self.send_typed(at).await;
        }
    }

    /// Sends what was typed from there on.
    async fn send_typed(&mut self, at: usize) {
        if at == self.typed.len() {
            return;
        }
        let stream = self.stream();
        let typed = self.typed[at..].to_vec();
        // Of a gateway that was killed just now, the page hears when it reads.
        let _ = self.page.try_type_at(stream, at as u64, &typed).await;
    }

    /// Goes on over the next gateway.
    async fn come_back(&mut self) {
        let resume = json!({"resume": {"session": self.session.to_string(), "offset": self.at}});
        let begun = Instant::now();
        self.page = loop {
            assert!(begun.elapsed() < PATIENCE, "no other gateway came");
            if let Some(page) =
                WebPage::try_enter(self.address, self.token, self.viewer, resume.clone()).await
            {
                break page;
            }
            tokio::task::yield_now().await;
        };
    }
}
