//! `redraw + rest` against the whole stream.

use std::collections::BTreeMap;

use super::{
    Case, Step,
    corpus::recordings,
    known::{self, Witness},
    rows::{CANVAS, ROWS},
    sessions::{self, Kind},
    vt100_witness,
    xterm_js::XtermJs,
};

/// At how many places a recording is cut, unless `FUGUE_CUTS` says how many.
const FEW: usize = 2;

/// Lines above the screen that a late joiner is given.
const SCROLLBACK: usize = 0;

/// Characters of a redraw that are shown with a difference.
const SHOWN: usize = 600;

fn cuts() -> usize {
    std::env::var("FUGUE_CUTS").map_or(FEW, |count| count.parse().expect("FUGUE_CUTS is a number"))
}

/// What a session that did not change it leaves as it is: the user's palette, title, and keys.
const USERS_OWN: [&str; 4] = ["OSC 1", "OSC 4", "title", "kitty keyboard"];

/// What was found, by witness, recording and kind.
#[derive(Default)]
struct Found {
    cases: usize,
    differing: BTreeMap<String, usize>,
}

impl Found {
    fn note(&mut self, witness: Witness, case: &Case, differences: &[String]) {
        self.cases += 1;
        if differences.is_empty() || known::is_disputed(witness, &case.name) {
            return;
        }
        let differing = self.differing.entry(format!("{witness:?} | {}", case.name)).or_default();
        *differing += 1;
        // One of each is enough to look at.
        if *differing == 1 {
            println!("{witness:?}: {}, cut at {}", case.name, case.cut);
            for difference in differences.iter().take(6) {
                println!("    {difference}");
            }
            let drawn: String = String::from_utf8_lossy(&case.drawn).escape_debug().take(SHOWN).collect();
            println!("    drawn: {drawn}");
        }
    }

    /// Fails unless just those recordings differ that are known to.
    fn judge(self) {
        let total: usize = self.differing.values().sum();
        println!(
            "{} cases, {total} with differences, of {} recordings and kinds:",
            self.cases,
            self.differing.len()
        );
        for (what, cases) in &self.differing {
            println!("{what} | {cases}");
        }
        let unexpected: Vec<_> = self.differing.keys().filter(|what| !known::differs(what)).collect();
        assert!(unexpected.is_empty(), "these differ: {unexpected:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_or_misses_something_sees_what_the_others_see() {
    let server = sessions::server();
    let mut xterm_js = XtermJs::start();
    let mut found = Found::default();
    for recording in recordings() {
        for (index, cut) in recording.cuts(cuts()).into_iter().rev().enumerate() {
            for kind in Kind::ALL.into_iter().filter(|kind| kind.is_tried(index, &recording)) {
                let case = sessions::case(&server, &recording, kind, cut).await;
                if recording.means.is_none()
                    && let Some(differences) = vt100_witness::judge(&case)
                {
                    found.note(Witness::Vt100, &case, &differences);
                }
                if let Some(xterm_js) = &mut xterm_js {
                    found.note(Witness::XtermJs, &case, &xterm_js.judge(&case, SCROLLBACK));
                }
            }
        }
    }
    found.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redraw_puts_back_whatever_another_program_left() {
    let Some(mut xterm_js) = XtermJs::start() else { return };
    let server = sessions::server();
    let mut found = Found::default();
    for row in ROWS {
        let mut case = sessions::over(&server, row.set, CANVAS).await;
        if USERS_OWN.iter().any(|own| row.name.starts_with(own)) {
            // It stays as the user's terminal has it, since the session never changed it.
            case.expected.insert(0, Step::Bytes(row.set.into()));
        }
        case.name = format!("row {} | Over", row.name);
        found.note(Witness::XtermJs, &case, &xterm_js.judge(&case, 0));
    }
    found.judge();
}
