//! `redraw + rest` against the whole stream.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Case, Step,
    corpus::recordings,
    known::{self, Witness},
    programs::Program,
    rows::{CANVAS, ROWS},
    sessions::{self, Kind},
    vt100_witness,
};

/// At how many places a recording is cut, unless `FUGUE_CUTS` says how many.
const FEW: usize = 2;

/// Characters of a redraw that are shown with a difference.
const SHOWN: usize = 600;

fn cuts() -> Option<usize> {
    let count = std::env::var("FUGUE_CUTS").ok()?;
    Some(count.parse().expect("FUGUE_CUTS is a number"))
}

/// What a session that did not change it leaves as it is: it may be as the person wants it.
const USERS_OWN: [&str; 13] = [
    "OSC 1",
    "OSC 4",
    "OSC 22",
    "OSC 7",
    "OSC 9;4",
    "title",
    "DECBKM",
    "DECSACE",
    "cursor blinks",
    "grapheme clusters",
    "modifyCursorKeys",
    "reverse wrap-around",
    "alternate scroll",
];

/// What was found, by witness, recording and kind.
#[derive(Default)]
struct Found {
    cases: usize,
    tried: BTreeSet<String>,
    differing: BTreeMap<String, usize>,
}

impl Found {
    fn note(&mut self, witness: Witness, case: &Case, differences: &[String]) {
        self.cases += 1;
        let what = format!("{witness:?} | {}", case.name);
        self.tried.insert(what.clone());
        if differences.is_empty() || known::is_disputed(witness, &case.name) {
            return;
        }
        let differing = self.differing.entry(what).or_default();
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
        // Few cuts find few differences.
        if cuts().is_some() {
            let differing: BTreeSet<_> = self.differing.keys().map(|what| known::recording(what)).collect();
            let tried: BTreeSet<_> = self.tried.iter().map(|what| known::recording(what)).collect();
            for recording in tried.difference(&differing).filter(|recording| known::differs(recording)) {
                println!("in differing.txt, and does not differ: {recording}");
            }
        }
        let unexpected: Vec<_> = self.differing.keys().filter(|what| !known::differs(what)).collect();
        assert!(unexpected.is_empty(), "these differ: {unexpected:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_and_lagging_clients_see_what_the_others_see() {
    let server = sessions::server();
    let mut xterm_js = Program::xterm_js();
    let mut found = Found::default();
    let mut libvterm = Program::libvterm();
    for recording in recordings(cuts().is_some()) {
        for (index, cut) in recording.cuts(cuts().unwrap_or(FEW)).into_iter().rev().enumerate() {
            for kind in Kind::ALL.into_iter().filter(|kind| kind.is_tried(index, &recording)) {
                let case = sessions::case(&server, &recording, kind, cut).await;
                // The others keep lines of their own.
                let scrollback = if kind == Kind::Late { sessions::scrollback(&case.drawn) } else { 0 };
                if recording.has_margins() {
                    if let Some(libvterm) = &mut libvterm {
                        found.note(Witness::Libvterm, &case, &libvterm.judge(&case, 0));
                    }
                    continue;
                }
                if let Some(differences) = vt100_witness::judge(&case) {
                    found.note(Witness::Vt100, &case, &differences);
                }
                if let Some(xterm_js) = &mut xterm_js {
                    found.note(Witness::XtermJs, &case, &xterm_js.judge(&case, scrollback));
                }
            }
        }
        // What a witness does not know it can show in the end, told in other words.
        if let (Some(means), Some(xterm_js)) = (&recording.means, &mut xterm_js) {
            let mut case = sessions::case(&server, &recording, Kind::Late, recording.bytes.len()).await;
            case.name += ", in other words";
            case.expected = vec![Step::Bytes(means.clone())];
            found.note(Witness::XtermJs, &case, &xterm_js.judge(&case, 0));
        }
    }
    found.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redraw_puts_back_whatever_another_program_left() {
    let Some(mut xterm_js) = Program::xterm_js() else { return };
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
