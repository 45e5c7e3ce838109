//! The model beside the log: when it is drawn, what is kept of it, and what becomes of one that fails.

use std::sync::Arc;

use super::*;
use crate::{TerminalSize, session::history::History, terminal::emulator};

fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

fn screen(model: impl ScreenModel + 'static) -> Screen {
    Screen::new(Some(Box::new(model)), 0, TerminalSize::DEFAULT, Arc::new(Answers::new(true)))
}

struct Panics;

impl ScreenModel for Panics {
    fn advance(&mut self, _: &[u8]) {
        panic!("the model is broken");
    }
    fn resize(&mut self, _: TerminalSize) {}
    fn redraw(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        Picture::default()
    }
}

#[tokio::test]
async fn a_model_that_panics_is_given_up_and_holds_nothing_back() {
    let history = History::new(64 * 1024, crate::message::Pace::Free);
    history.set_floor(0);
    let screen = screen(Panics);
    history.append(&[Bytes::from(vec![b'x'; 32 * 1024])]);
    assert_eq!(history.room(), 0);
    assert!(screen.redraw(&history, Scrollback::default()).await.is_none());
    assert!(screen.position().await.1 && !screen.has_model());
    assert_eq!(history.room(), u64::MAX);
}

/// Says how often it drew.
#[derive(Default)]
struct CountsDrawings(Arc<std::sync::Mutex<usize>>);

impl ScreenModel for CountsDrawings {
    fn advance(&mut self, _: &[u8]) {}
    fn resize(&mut self, _: TerminalSize) {}
    fn redraw(&mut self) -> Vec<u8> {
        self.picture(TerminalSize::DEFAULT).bytes
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        let mut drawings = self.0.lock().unwrap();
        *drawings += 1;
        Picture { bytes: drawings.to_string().into_bytes(), ..Picture::default() }
    }
}

#[tokio::test]
async fn what_was_drawn_is_not_drawn_again_for_others_while_it_holds() {
    let history = History::new(1 << 20, crate::message::Pace::Free);
    history.set_floor(0);
    let model = CountsDrawings::default();
    let count = Arc::clone(&model.0);
    let screen = screen(model);
    let drawn = |expected: usize| assert_eq!(*count.lock().unwrap(), expected);
    for round in 0..3 {
        history.append(&[Bytes::from("printed")]);
        let head = history.head();
        for _ in 0..200 {
            for cols in [40, 100] {
                assert_eq!(screen.picture(&history, size(cols, 30), 0).await.unwrap().at, head);
            }
            assert_eq!(screen.redraw(&history, Scrollback::default()).await.unwrap().at, head);
        }
        drawn(3 * round + 3);
        // Or the pictures would serve for what comes next, which is printed too soon after.
        screen
            .beside
            .with(|beside| beside.drawings.iter_mut().for_each(|drawing| drawing.drawn_at -= PICTURE_TIME));
    }
    // A client that was shown the last picture is shown another one only once there is more, or a new size.
    drawn(9);
    screen.resized(history.head(), size(90, 20));
    screen.picture(&history, size(40, 30), history.head()).await.unwrap();
    drawn(10);
    screen.picture(&history, size(40, 30), history.head()).await.unwrap();
    drawn(10);
    // A recent picture serves a client that was shown less than it shows, and no other.
    let soon = Instant::now() + Duration::from_secs(3600);
    screen.beside.with(|beside| beside.drawings.iter_mut().for_each(|drawing| drawing.drawn_at = soon));
    let before = history.head();
    history.append(&[Bytes::from("more")]);
    assert_eq!(screen.picture(&history, size(40, 30), 0).await.unwrap().at, before);
    drawn(10);
    assert_eq!(screen.picture(&history, size(40, 30), before).await.unwrap().at, history.head());
    drawn(11);
    // The last picture is of the end, however soon after another it is drawn.
    history.append(&[Bytes::from("the end")]);
    history.end(crate::message::ExitStatus::Code(0));
    assert_eq!(screen.picture(&history, size(40, 30), 0).await.unwrap().at, history.head());
    drawn(12);
}

#[tokio::test]
async fn few_drawings_and_no_large_ones_are_kept() {
    struct Large;
    impl ScreenModel for Large {
        fn advance(&mut self, _: &[u8]) {}
        fn resize(&mut self, _: TerminalSize) {}
        fn redraw(&mut self) -> Vec<u8> {
            vec![b' '; MAX_DRAWING_BYTES + 1]
        }
        fn picture(&mut self, _: TerminalSize) -> Picture {
            Picture { bytes: vec![b' '; MAX_DRAWING_BYTES], ..Picture::default() }
        }
    }
    let history = History::new(1 << 20, crate::message::Pace::Free);
    let screen = screen(Large);
    for cols in 1..100 {
        screen.picture(&history, size(cols, 30), 0).await.unwrap();
        screen.redraw(&history, Scrollback::default()).await.unwrap();
    }
    let kept =
        screen.beside.with(|beside| beside.drawings.iter().map(|drawing| drawing.part).collect::<Vec<_>>());
    assert_eq!(kept, [96, 97, 98, 99].map(|cols| Part::Around(size(cols, 30))));
}

struct CountsResizes(Arc<std::sync::Mutex<Vec<TerminalSize>>>);

impl ScreenModel for CountsResizes {
    fn advance(&mut self, _: &[u8]) {}
    fn resize(&mut self, size: TerminalSize) {
        self.0.lock().unwrap().push(size);
    }
    fn redraw(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn picture(&mut self, _: TerminalSize) -> Picture {
        Picture::default()
    }
}

#[tokio::test]
async fn only_the_last_of_sizes_without_output_between_is_applied() {
    let history = History::new(1 << 20, crate::message::Pace::Free);
    history.set_floor(0);
    let resizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let screen = screen(CountsResizes(Arc::clone(&resizes)));
    for _ in 0..2 {
        for cols in 1..=1000 {
            screen.resized(history.head(), size(cols, 1000));
        }
        history.append(&[Bytes::from("printed")]);
    }
    assert_eq!(screen.beside.with(|beside| beside.resizes.len()), 2);
    screen.catch_up(&history).await;
    assert_eq!(*resizes.lock().unwrap(), [size(1000, 1000); 2]);
    // What is due late counts as what is due now.
    for (at, cols) in [(3, 50), (5, 60), (history.head(), 70)] {
        screen.resized(at, size(cols, 24));
    }
    screen.catch_up(&history).await;
    assert_eq!(resizes.lock().unwrap()[2..], [size(70, 24)]);
}

#[tokio::test]
async fn a_size_holds_from_its_offset_on() {
    let history = History::new(1 << 20, crate::message::Pace::Free);
    history.set_floor(0);
    let screen =
        Screen::new(Some(emulator(1000)(size(80, 24))), 0, size(80, 24), Arc::new(Answers::new(true)));
    history.append(&[Bytes::from("a".repeat(70))]);
    screen.resized(history.head(), size(10, 5));
    history.append(&[Bytes::from("\x1b[H\x1b[2J0123456789ab")]);
    let drawn = screen.redraw(&history, Scrollback::default()).await.unwrap();
    let mut shown = vt100::Parser::new(5, 10, 0);
    shown.process(&drawn.bytes);
    assert_eq!(shown.screen().contents(), "0123456789ab");
    assert_eq!(shown.screen().cursor_position(), (1, 2));
    assert_eq!(drawn.at, history.head());
}

/// All numbers that a terminal shows, its scrollback's first.
fn numbers(terminal: &mut vt100::Parser) -> Vec<u32> {
    let screen = terminal.screen_mut();
    screen.set_scrollback(usize::MAX);
    let mut lines = Vec::new();
    for above in (1..=screen.scrollback()).rev() {
        screen.set_scrollback(above);
        lines.extend(screen.rows(0, 80).next());
    }
    screen.set_scrollback(0);
    lines.extend(screen.rows(0, 80));
    lines.iter().filter_map(|line| line.trim().parse().ok()).collect()
}

#[tokio::test]
async fn after_a_gap_no_line_comes_twice_and_what_can_be_given_is_given() {
    for shown in [0_usize, 1, 7, 100, 101, 640, 1000, 1999] {
        for lines in [0, 100, 5000] {
            let history = History::new(1 << 20, crate::message::Pace::Free);
            history.set_floor(0);
            let screen = Screen::new(
                Some(emulator(1000)(size(80, 24))),
                0,
                size(80, 24),
                Arc::new(Answers::new(true)),
            );
            let mut terminal = vt100::Parser::new(24, 80, 5000);
            let mut since = 0;
            for number in 0..2000 {
                let line = format!("{number}\r\n");
                if number < shown {
                    terminal.process(line.as_bytes());
                    since += line.len() as u64;
                }
                history.append(&[Bytes::from(line)]);
                if number % 50 == 0 {
                    screen.catch_up(&history).await;
                }
            }
            let drawn = screen.redraw(&history, Scrollback { lines, since: Some(since) }).await.unwrap();
            terminal.process(&drawn.bytes);
            let numbers = numbers(&mut terminal);
            let case = format!("{shown} shown, up to {lines} lines: {numbers:?}");
            assert!(numbers.is_sorted_by(|one, next| one < next), "{case}");
            // Of those that scrolled off after it, the newest 1,000 are kept; the first few may be too close to a mark.
            let scrolled: usize = (2000 - 23) - shown.saturating_sub(23);
            let given = scrolled.min(1000).min(lines).saturating_sub(50);
            let newest = numbers.iter().rev().zip((0..2000).rev()).take_while(|(one, other)| *one == other);
            assert!(newest.count() >= given + 23, "{case}");
        }
    }
}
