//! What a program asks its terminal, what its terminals report, and whose use of them counts.

use fugue_server::{
    Picture, ScreenModel, TerminalSize,
    client::Incoming,
    message::{Access, OnLag, SizePolicy, StartAt},
};

use crate::support::*;

/// A model that knows DA1 and its size, and every mode by what was printed last of it.
struct Knows {
    size: TerminalSize,
    shown: Vec<u8>,
}

impl Knows {
    fn make(size: TerminalSize) -> Box<dyn ScreenModel> {
        Box::new(Self { size, shown: Vec::new() })
    }

    fn last(&self, sequence: &str) -> Option<usize> {
        self.shown.windows(sequence.len()).rposition(|window| window == sequence.as_bytes())
    }
}

impl ScreenModel for Knows {
    fn advance(&mut self, output: &[u8]) {
        self.shown.extend_from_slice(output);
    }
    fn resize(&mut self, size: TerminalSize) {
        self.size = size;
    }
    fn redraw(&mut self) -> Vec<u8> {
        [b"\x1b[H\x1b[2J", &self.shown[..]].concat()
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        Picture { bytes: self.redraw(), ..Picture::default() }
    }
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        assert!(self.shown.ends_with(question), "it stands right after it");
        match question {
            b"\x1b[c" => Some(b"\x1b[?99c".to_vec()),
            b"\x1b[18t" => Some(format!("\x1b[8;{};{}t", self.size.rows(), self.size.cols()).into()),
            b"\x1b[6n" => Some(Vec::new()),
            _ => None,
        }
    }
    fn mode(&self, private: bool, number: u16) -> bool {
        private && self.last(&format!("\x1b[?{number}h")) > self.last(&format!("\x1b[?{number}l"))
    }
}

fn server() -> TestServer {
    TestServer::with(|server| server.screen_model(Knows::make))
}

/// Shows what it is sent, once it has printed this.
fn shows_input(printed: &str) -> String {
    format!("stty raw -echo; printf ready; printf '{printed}'; exec cat -v")
}

/// As `shows_input`, but prints it once a key was pressed.
fn asks(printed: &str) -> String {
    format!("stty raw -echo; printf ready; head -c 1 >/dev/null; printf '{printed}'; exec cat -v")
}

/// A session that stays as large as it was made, which is 80x24.
async fn fixed(server: &TestServer, script: &str) {
    let request = shell_with("a", script, |create| create.size_policy = SizePolicy::Fixed);
    soon(server.client().await.request(&request)).await.unwrap();
}

#[tokio::test]
async fn what_the_model_knows_is_answered_though_nobody_watches() {
    let server = server();
    let mut client = server.client().await;
    create(&mut client, "a", &shows_input(r"\033[c\033[6n\033[18t\033]11;?\007\033[c")).await;
    attached(&mut client, &attach("a", FROM_OLDEST)).await;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut client, "^[[?99c^[[8;24;80t^[[?99c").await;
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_questions() {
    let server = server();
    let script = asks(r"\033]11;?\007\033[c");
    let mut viewer = Viewer::attach(&server, &shell("a", &script, Some(TERMINAL))).await;
    viewer.run_until_shown("ready").await;
    viewer.type_in("g").await;
    viewer.run_until(|viewer| viewer.output.ends_with(b"\x1b[c")).await;
    // As a terminal answers both; its own attributes are not the session's.
    viewer.type_in("\x1b]11;rgb:0/0/0\x07\x1b[?62c.").await;
    viewer.run_until_shown("^[]11;rgb:0/0/0^G^[[?99c.").await;
}

#[tokio::test]
async fn a_terminal_of_another_size_is_asked_if_it_was_used_last() {
    let server = server();
    fixed(&server, &asks(r"\033]11;?\007\033[c")).await;
    let mut watcher = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    watcher.run_until_shown("ready").await;
    let mut viewer = Viewer::sized(&server, "a", (100, 30), Access::ReadWrite).await;
    viewer.type_in("g").await;
    let mut screens = Vec::new();
    while !contains(&screens, b"\x1b]11;?\x07\x1b[5n") {
        if let Incoming::Screen { data, .. } = soon(viewer.client.next()).await.unwrap() {
            screens.extend_from_slice(&data);
        }
    }
    watcher.type_in("\x1b]11;rgb:1/1/1\x07\x1b[?62c").await;
    viewer.type_in("\x1b]11;rgb:0/0/0\x07\x1b[0n.").await;
    watcher.run_until_shown("^[]11;rgb:0/0/0^G^[[?99c.").await;
}

#[tokio::test]
async fn a_session_without_a_model_asks_a_terminal_of_another_size_too() {
    let server = TestServer::with(|server| server.no_screen_model());
    fixed(&server, &asks(r"\033[c")).await;
    let mut viewer = Viewer::sized(&server, "a", (100, 30), Access::ReadWrite).await;
    viewer.type_in("g").await;
    viewer.run_until(|viewer| contains(&viewer.output, b"\x1b[c")).await;
    viewer.type_in("\x1b[?62c.").await;
    viewer.run_until_shown("^[[?62c.").await;
}

#[tokio::test]
async fn a_program_that_wants_to_know_is_told_the_sessions_size_and_the_theme() {
    let server = server();
    let script = shows_input(r"\033[?2048h\033[?2031h");
    let mut viewer = Viewer::attach(&server, &shell("a", &script, Some(TERMINAL))).await;
    viewer.run_until(|viewer| contains(&viewer.output, b"2031h")).await;
    // One that is given the modes by the model is told by its terminal; both are taken in order.
    let mut other = Viewer::sized(&server, "a", (100, 30), Access::ReadWrite).await;
    let mut log = server.client().await;
    attached(&mut log, &attach("a", FROM_OLDEST)).await;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut log, "^[[48;30;100;0;0t").await;
    viewer.type_in("\x1b[48;24;80;480;640t\x1b[?997;2n").await;
    other.type_in("\x1b[48;30;100;600;1000t\x1b[?997;1nx").await;
    transcript.read_to(&mut log, "x").await;
    transcript.read_to(&mut log, "^[[?997;1nx").await;
    assert!(!contains(&transcript.bytes, b"997;2"), "it is not the one used last");
    assert!(!contains(&transcript.bytes, b"600"), "a terminal's own size");
}

#[tokio::test]
async fn a_program_is_told_that_nobody_looks_any_more() {
    let server = server();
    let script = shows_input(r"\033[?1004h");
    let mut viewer = Viewer::attach(&server, &shell("a", &script, Some(TERMINAL))).await;
    viewer.run_until(|viewer| contains(&viewer.output, b"1004h")).await;
    let mut log = server.client().await;
    attached(&mut log, &attach("a", FROM_OLDEST)).await;
    let mut transcript = Transcript::from(0);
    viewer.type_in("x").await;
    transcript.read_to(&mut log, "hx").await;
    drop(viewer);
    transcript.read_to(&mut log, "x^[[O").await;
    let mut viewer = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    viewer.type_in("y").await;
    transcript.read_to(&mut log, "x^[[O^[[Iy").await;
}

#[tokio::test]
async fn only_what_a_person_does_makes_a_terminal_the_one_that_counts() {
    let server = TestServer::start();
    let mut a = Viewer::attach(&server, &shell("a", &shows_input(""), Some(TERMINAL))).await;
    let mut b = Viewer::sized(&server, "a", (60, 15), Access::ReadWrite).await;
    a.run_until(|a| a.sizes.len() == 1).await;
    a.type_in("k").await;
    a.run_until(|a| a.sizes.len() == 2).await;
    for report in ["\x1b[O", "\x1b[<35;5;5M", "\x1b[?997;2n", "\x1b[?62c", "\x1b[<0;1;1m"] {
        b.type_in(report).await;
    }
    // Its last report is typed by now, and nothing came of it.
    b.type_in("\x1b[I").await;
    a.run_until_shown("^[[I").await;
    assert_eq!(a.sizes.len(), 2);
    for press in ["\x1b[<0;1;1M", "\x1b[<65;1;1M"] {
        b.type_in(press).await;
        a.run_until(|a| a.sizes.len() % 2 == 1).await;
        a.type_in("k").await;
        a.run_until(|a| a.sizes.len() % 2 == 0).await;
    }
}

#[tokio::test]
async fn a_click_on_a_part_of_the_screen_is_typed_where_that_part_is() {
    let server = TestServer::start();
    let script = shows_input(r"\033[?1000h\033[?1006h\033[24;70H");
    fixed(&server, &script).await;
    let mut log = server.client().await;
    attached(&mut log, &attach("a", FROM_OLDEST)).await;
    let mut transcript = Transcript::from(0);
    transcript.read_to(&mut log, "\x1b[24;70H").await;
    let mut viewer = Viewer::sized(&server, "a", (40, 10), Access::ReadWrite).await;
    while !matches!(soon(viewer.client.next()).await.unwrap(), Incoming::Screen { .. }) {}
    viewer.type_in("\x1b[<0;5;3M\x1b[<0;5;3m").await;
    transcript.read_to(&mut log, "^[[<0;45;17M^[[<0;45;17m").await;
    // One that is larger has a margin, in which nothing is.
    let mut larger = Viewer::sized(&server, "a", (100, 30), Access::ReadWrite).await;
    while !matches!(soon(larger.client.next()).await.unwrap(), Incoming::Screen { .. }) {}
    larger.type_in("\x1b[<0;90;3M\x1b[<0;90;3m\x1b[<0;80;24M.").await;
    transcript.read_to(&mut log, "17m^[[<0;80;24M.").await;
}

#[tokio::test]
async fn bells_clipboards_and_notifications_reach_terminals_of_another_size() {
    let server = TestServer::start();
    fixed(&server, &asks(r"\007\033]52;c;aGk=\007\033]9;4;1;50\007\033]9;done\007text")).await;
    let mut viewer = Viewer::sized(&server, "a", (100, 30), Access::ReadOnly).await;
    let mut typist = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    typist.type_in("g").await;
    let mut screens = Vec::new();
    while !contains(&screens, b"text") {
        if let Incoming::Screen { data, .. } = soon(viewer.client.next()).await.unwrap() {
            screens.extend_from_slice(&data);
        }
    }
    for told in [&b"\x07\x1b]52;c;aGk=\x07"[..], b"\x1b]9;done\x07"] {
        assert!(contains(&screens, told), "{:?}", String::from_utf8_lossy(&screens));
    }
    // One that comes later is not told of them again.
    let mut late = Viewer::sized(&server, "a", (100, 30), Access::ReadOnly).await;
    while !contains(&screens, b"text") || late.screens == 0 {
        if let Incoming::Screen { data, .. } = soon(late.client.next()).await.unwrap() {
            assert!(!contains(&data, b"]52;"));
            late.screens += 1;
        }
    }
}

#[tokio::test]
async fn a_terminal_that_was_drawn_past_a_question_is_asked_before_its_screen() {
    let server = TestServer::start();
    let script = asks(r"\033]11;?\007");
    let view = TERMINAL.with_start(StartAt::Oldest).with_on_lag(OnLag::Resync);
    let mut a = Viewer::attach(&server, &shell("a", &script, Some(view))).await;
    a.run_until_shown("ready").await;
    a.type_in("g").await;
    a.run_until(|a| contains(&a.output, b"]11;?")).await;
    // It comes after the question, and the one that was asked leaves.
    let mut b = Viewer::attach(&server, &attach("a", TERMINAL)).await;
    drop(a);
    let mut screens = Vec::new();
    while !contains(&screens, b"\x18\x1b]11;?\x07\x1b[5n") {
        if let Incoming::Screen { data, .. } = soon(b.client.next()).await.unwrap() {
            screens.extend_from_slice(&data);
        }
    }
    b.type_in("\x1b]11;rgb:0/0/0\x07\x1b[0n").await;
    b.run_until(|b| contains(&b.output, b"^[]11;rgb:0/0/0^G")).await;
}
