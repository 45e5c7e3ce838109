//! Who is asked, in which order the answers come, and when one is given up.

use super::*;

const BACKGROUND: &str = "\x1b]11;?\x07";
const IS_BLACK: &str = "\x1b]11;rgb:0/0/0\x07";
const CLIPBOARD: &str = "\x1b]52;c;?\x07";
const HOLDS: &str = "\x1b]52;c;aGk=\x07";
const DA1: &str = "\x1b[c";

#[test]
fn what_the_model_knows_waits_for_what_was_asked_before_it() {
    let mut watched = Watched::with(&[B, A], true);
    watched.print(&format!("{BACKGROUND}{DA1}\x1b[6n"));
    assert_eq!(watched.queries.question().unwrap(), (BACKGROUND.len() as u64, BACKGROUND.into()));
    watched.model_says(&[None, Some("\x1b[?6c"), Some("\x1b[1;1R")]);
    assert_eq!(watched.typed(), "");
    assert_eq!(watched.b_types(&format!("{IS_BLACK}\x1b[?62c\x1b[1;1R")), "", "it is not the one asked");
    assert_eq!(watched.a_types(IS_BLACK), IS_BLACK);
    assert_eq!(watched.typed(), "\x1b[?6c\x1b[1;1R");
    assert_eq!(watched.a_types("\x1b[?62c\x1b[1;2R"), "", "the model answered");
    assert_eq!(watched.a_types("\x1b[1;2R"), "\x1b[1;2R", "a key");
    assert_eq!(watched.queries.held, 0);
}

#[test]
fn a_reply_comes_after_what_was_known_before_it() {
    let mut watched = Watched::with(&[A], true);
    watched.print(&format!("{DA1}{BACKGROUND}"));
    watched.model_says(&[Some("\x1b[?6c"), None]);
    assert_eq!(watched.a_types(&format!("x{IS_BLACK}")), format!("x\x1b[?6c{IS_BLACK}"));
    assert_eq!(watched.typed(), "");
}

#[test]
fn a_terminal_that_is_faster_than_the_model_is_heard_in_its_turn() {
    let mut watched = Watched::with(&[B, A], true);
    watched.print(&format!("{DA1}{BACKGROUND}"));
    assert_eq!(watched.b_types(&format!("\x1b[?1c{IS_BLACK}")), "");
    let other = IS_BLACK.replace('0', "1");
    assert_eq!(watched.a_types(&format!("\x1b[?2c{other}")), "");
    watched.model_says(&[Some("\x1b[?6c"), None]);
    assert_eq!(watched.typed(), format!("\x1b[?6c{other}"));
}

#[test]
fn the_model_may_know_that_there_is_no_answer() {
    let mut watched = Watched::with(&[A], true);
    watched.print(&format!("{BACKGROUND}{DA1}"));
    watched.model_says(&[Some(""), Some("\x1b[?6c")]);
    assert_eq!(watched.typed(), "\x1b[?6c");
    assert_eq!(watched.a_types(IS_BLACK), "");
}

#[test]
fn a_string_that_asks_for_many_things_is_put_to_the_model_once() {
    let mut watched = Watched::with(&[A], true);
    watched.print("\x1b]10;?;?\x07");
    watched.model_says(&[Some("both")]);
    assert_eq!((watched.typed(), watched.queries.question()), ("both".into(), None));
}

#[test]
fn a_later_answer_says_that_there_is_none_to_the_questions_before() {
    for has_model in [false, true] {
        let mut watched = Watched::with(&[B, A], has_model);
        watched.print(&format!("\x1b]21;a=?\x07{BACKGROUND}{DA1}"));
        if has_model {
            watched.model_says(&[None, None, Some("\x1b[?6c")]);
        }
        assert_eq!(watched.b_types("\x1b[?6c"), "", "of another");
        assert_eq!(watched.typed(), "");
        let passed = watched.a_types("\x1b[?6c");
        assert_eq!(passed + &watched.typed(), "\x1b[?6c");
        assert_eq!(watched.a_types(IS_BLACK), "");
    }
}

#[test]
fn without_a_terminal_what_the_model_does_not_know_is_given_up_at_once() {
    let mut watched = Watched::with(&[], true);
    watched.print(&format!("{BACKGROUND}{CLIPBOARD}{DA1}"));
    watched.model_says(&[None, Some("\x1b[?6c")]);
    assert_eq!(watched.typed(), "\x1b[?6c");
    // Nor does one that comes later answer.
    watched.queries.joined(A, 1, Shows::Output { from: watched.at }, true);
    assert_eq!(watched.a_types(&format!("{IS_BLACK}{HOLDS}")), "");
}

#[test]
fn without_a_model_all_is_asked_of_terminals() {
    let mut watched = Watched::with(&[A], true);
    watched.print(&format!("{DA1}\x1b[?2048h"));
    watched.queries.model_is_gone(watched.now);
    assert_eq!(watched.queries.question(), None);
    assert_eq!(watched.a_types("\x1b[?6c"), "\x1b[?6c");
    watched.print(DA1);
    assert_eq!(watched.a_types("\x1b[?6c"), "\x1b[?6c");
    assert_eq!(watched.a_types("\x1b[48;24;80;0;0t"), "", "a size is the session's own");
}

#[test]
fn what_the_one_that_left_was_asked_another_answers() {
    let mut watched = Watched::new();
    watched.print(BACKGROUND);
    assert_eq!(watched.b_types(IS_BLACK), "");
    watched.queries.left(A, 9, watched.now);
    assert_eq!(watched.typed(), "", "another stay of its");
    watched.queries.left(A, A.0, watched.now);
    assert_eq!(watched.typed(), IS_BLACK);
    watched.print(BACKGROUND);
    assert_eq!(watched.b_types(IS_BLACK), IS_BLACK);
}

#[test]
fn one_that_does_not_answer_is_waited_for_and_then_another_is_asked() {
    let mut watched = Watched::new();
    watched.print(BACKGROUND);
    watched.later(ORDER_TIME - Duration::from_nanos(1));
    assert_eq!(watched.b_types(IS_BLACK), "");
    assert_eq!(watched.typed(), "");
    watched.later(Duration::from_nanos(1));
    assert_eq!(watched.typed(), IS_BLACK);
    assert_eq!(watched.a_types(IS_BLACK), "");
    watched.print(BACKGROUND);
    for _ in 0..2 {
        assert_eq!(watched.outstanding(), 1);
        watched.later(ORDER_TIME);
        watched.typed();
    }
    assert_eq!(watched.outstanding(), 0, "all were asked");
}

#[test]
fn time_counts_from_when_the_terminal_was_sent_the_question() {
    let mut watched = Watched::new();
    watched.print_unsent(BACKGROUND);
    watched.typed();
    watched.later(SENT_TIME - Duration::from_nanos(1));
    watched.typed();
    watched.queries.reached(A, watched.at - 1, watched.now);
    watched.queries.reached(A, watched.at, watched.now);
    watched.later(ORDER_TIME - Duration::from_nanos(1));
    assert_eq!(watched.a_types(IS_BLACK), IS_BLACK);
    assert_eq!(watched.b_types(IS_BLACK), "");
    // One that takes nothing is soon not the one that is asked.
    watched.print_unsent(BACKGROUND);
    watched.typed();
    watched.later(SENT_TIME);
    watched.typed();
    assert_eq!(watched.b_types(IS_BLACK), IS_BLACK);
}

#[test]
fn the_only_terminal_may_answer_late_though_nothing_waits_for_it() {
    let mut watched = Watched::with(&[A], true);
    watched.print(&format!("{BACKGROUND}{DA1}"));
    watched.model_says(&[None, Some("\x1b[?6c")]);
    assert_eq!(watched.typed(), "");
    assert_eq!(watched.queries.look(watched.now), Some(watched.now + ORDER_TIME));
    watched.later(ORDER_TIME);
    assert_eq!(watched.typed(), "\x1b[?6c");
    watched.later(100 * PERSON_TIME);
    assert_eq!(watched.a_types(IS_BLACK), IS_BLACK);
    assert_eq!(watched.a_types(IS_BLACK), "");
}

#[test]
fn a_person_may_take_a_minute_to_permit_an_answer() {
    for waited in [PERSON_TIME - Duration::from_nanos(1), PERSON_TIME] {
        let mut watched = Watched::new();
        watched.print(&format!("{CLIPBOARD}{DA1}"));
        // The terminal answers the next one meanwhile.
        assert_eq!(watched.a_types("\x1b[?6c"), "\x1b[?6c");
        watched.later(waited);
        assert_eq!(watched.b_types(HOLDS), "");
        assert_eq!(watched.a_types(HOLDS), if waited < PERSON_TIME { HOLDS } else { "" });
        assert_eq!(watched.a_types(HOLDS), "");
    }
}

#[test]
fn a_reply_in_packets_passes_to_its_last() {
    let packets = ["status=OK", "status=DATA:mime=Lg==;aGk=", "status=DATA;aGk=", "status=DONE"];
    let mut watched = Watched::new();
    watched.print("\x1b]5522;type=read;Lg==\x1b\\");
    for packet in packets {
        watched.later(ORDER_TIME - Duration::from_nanos(1));
        let packet = format!("\x1b]5522;type=read:{packet}\x1b\\");
        assert_eq!(watched.a_types(&packet), packet);
        assert_eq!(watched.b_types(&packet), "");
    }
    assert_eq!(watched.outstanding(), 0);
}

#[test]
fn a_reply_may_answer_all_that_its_string_asks_for() {
    let mut watched = Watched::new();
    watched.print("\x1bP+q544e;436f\x1b\\\x1b[5n");
    let reply = "\x1bP1+r544e=78;436f=38\x1b\\";
    assert_eq!(watched.a_types(reply), reply);
    assert_eq!(watched.outstanding(), 1);
}

#[test]
fn a_terminal_that_is_sent_pictures_is_passed_the_question() {
    for (at_last, given_up) in [(IS_BLACK, false), ("\x1b[0n", true)] {
        let mut watched = Watched::with(&[B], true);
        watched.queries.joined(A, A.0, Shows::Pictures(None), true);
        watched.print(&format!("{BACKGROUND}{DA1}"));
        watched.model_says(&[None, Some("\x1b[?6c")]);
        assert_eq!(watched.typed(), "");
        assert_eq!(watched.queries.is_passed_to(), Some(A));
        assert_eq!(watched.queries.take_passed(B, watched.now), None);
        let passed = watched.queries.take_passed(A, watched.now).unwrap();
        assert_eq!(passed, format!("{BACKGROUND}\x1b[5n").as_bytes());
        assert_eq!(watched.queries.is_passed_to(), None);
        assert_eq!(watched.b_types("\x1b[?62c"), "", "of another");
        let passed = watched.a_types(at_last) + &watched.typed();
        assert_eq!(passed, if given_up { "\x1b[?6c".into() } else { format!("{IS_BLACK}\x1b[?6c") });
        assert_eq!(watched.a_types("\x1b[0n"), "", "nobody asked that");
    }
}

#[test]
fn a_question_that_was_skipped_is_passed_and_one_too_long_to_keep_is_not() {
    let mut watched = Watched::with(&[A], true);
    watched.print(BACKGROUND);
    watched.queries.shows(A, Shows::Output { from: watched.at });
    watched.model_says(&[None]);
    assert_eq!(watched.queries.is_passed_to(), Some(A));
    watched.queries.take_passed(A, watched.now);
    assert_eq!(watched.a_types(IS_BLACK), IS_BLACK);

    watched.queries.shows(A, Shows::Pictures(None));
    watched.print(&format!("\x1b_Ga=q,i=1;{}\x1b\\", "AAAA".repeat(MAX_KEPT)));
    watched.model_says(&[None]);
    assert_eq!((watched.queries.is_passed_to(), watched.outstanding()), (None, 0));
}

#[test]
fn all_that_a_string_asks_for_is_passed_once() {
    let mut watched = Watched::with(&[], false);
    watched.queries.joined(A, A.0, Shows::Pictures(None), true);
    watched.print("\x1b]10;?;?\x07");
    assert!(watched.queries.take_passed(A, watched.now).is_some());
    for reply in ["\x1b]10;rgb:f/f/f\x07", IS_BLACK] {
        assert_eq!(watched.a_types(reply), reply);
        assert_eq!(watched.queries.is_passed_to(), None);
    }
}

#[test]
fn what_is_held_of_questions_and_replies_is_bounded() {
    let mut watched = Watched::with(&[B, A], true);
    for _ in 0..MAX_QUESTIONS {
        watched.print(&format!("\x1bP$q{}\x1b\\", "m".repeat(MAX_KEPT - 10)));
        watched.a_types(&format!("\x1bP1$r{}m\x1b\\", "1;".repeat(MAX_KEPT / 2 - 10)));
        assert!(watched.queries.held <= MAX_BYTES);
    }
    watched.print(&DA1.repeat(MAX_QUESTIONS));
    let long = "x".repeat(4096);
    watched.model_says(&[Some(&long[..]); MAX_QUESTIONS]);
    assert!(watched.queries.held <= MAX_BYTES);
    assert!(watched.queries.outbox.len() < MAX_OUTBOX + 4096);
    watched.queries.left(A, A.0, watched.now);
    watched.queries.left(B, B.0, watched.now);
    while !watched.typed().is_empty() {}
    assert_eq!((watched.outstanding(), watched.queries.held), (0, 0));
}

#[test]
fn replies_to_what_is_settled_are_recognised_for_a_while() {
    let mut watched = Watched::with(&[A], true);
    watched.print("\x1b[6n");
    watched.model_says(&[Some("\x1b[1;1R")]);
    assert_eq!(watched.typed(), "\x1b[1;1R");
    watched.later(REPLY_TIME - Duration::from_nanos(1));
    assert_eq!(watched.queries.log.len(), 1);
    assert_eq!(watched.a_types("\x1b[1;2R"), "");
    watched.print("\x1b[6n");
    watched.model_says(&[Some("\x1b[1;1R")]);
    watched.typed();
    watched.later(REPLY_TIME);
    assert_eq!(watched.a_types("\x1b[1;2R"), "\x1b[1;2R", "a key");
    assert!(watched.queries.log.is_empty());
}

#[test]
fn answers_are_not_typed_into_a_paste() {
    let mut watched = Watched::with(&[B, A], true);
    assert_eq!(watched.a_types("\x1b[200~half of "), "\x1b[200~half of ");
    watched.print(DA1);
    watched.model_says(&[Some("\x1b[?6c")]);
    assert!(!watched.queries.has_outbox(watched.now));
    watched.b_types("x");
    assert_eq!(watched.queries.look(watched.now), Some(watched.now + PASTE_TIME));
    assert!(watched.queries.has_outbox(watched.now + PASTE_TIME), "it is not waited for longer");
    assert_eq!(watched.a_types("it\x1b[201~"), "it\x1b[201~");
    assert!(watched.queries.has_outbox(watched.now));
    watched.a_types("\x1b[200~");
    watched.queries.left(A, A.0, watched.now);
    assert!(watched.queries.has_outbox(watched.now));
}
