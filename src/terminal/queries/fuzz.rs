//! What programs print and terminals type, in any bytes, through the two parsers that watch for questions and answers.

use std::time::Instant;

use super::{ESC, MAX_KEPT, MAX_QUESTIONS, Queries, ReplyFilter, Shows, asides::MAX_ASIDE};
use crate::{
    ClientId,
    fuzz::input::{choice, pieces},
};

/// Prints the part before the first zero byte, types the part after it: wherever either is cut, the same questions are
/// noted and, while an answer is awaited, the same bytes pass; only what was typed passes, in its order; what is kept
/// back is bounded, and comes out in the end.
pub(crate) fn queries(input: &[u8]) {
    let (cut, rest) = choice(input);
    let awaits = cut.is_multiple_of(2);
    // Often the last byte goes on, for longer than anything is kept.
    let more = if cut < 128 { 0 } else { MAX_KEPT + 100 };
    let mut parts = rest.splitn(2, |byte| *byte == 0).map(|part| {
        let more = part.last().into_iter().cycle().take(more);
        part.iter().chain(more).copied().collect::<Vec<_>>()
    });
    let (printed, typed) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let now = Instant::now();
    let run = |cut| {
        let mut queries = Queries::new(false);
        for client in [1, 2] {
            queries.joined(ClientId(client), client, Shows::Output { from: 0 }, true);
        }
        let mut at = 0;
        for piece in pieces(&printed, cut) {
            queries.printed(piece, at, now);
            at += piece.len() as u64;
            assert!(queries.log.len() <= MAX_QUESTIONS);
            assert!(queries.scanner.kept_len() <= MAX_ASIDE + 1);
        }
        let noted: Vec<_> = queries.log.iter().map(|question| (question.kind, question.at)).collect();
        queries.look(now);
        if awaits {
            // Of another terminal, and so often that no escape at a cut passes for a key.
            queries.printed(&b"\x18\x1b[&u".repeat(400), at, now);
        }
        let mut terminal = ReplyFilter::default();
        let mut passed = Vec::new();
        for piece in pieces(&typed, cut) {
            passed.extend(terminal.filter(&mut queries, ClientId(1), piece, now).bytes);
            assert!(terminal.held_len() <= MAX_KEPT);
        }
        passed.extend(terminal.flush());
        assert!(!terminal.is_holding());
        (noted, passed)
    };
    let (noted, passed) = run(0);
    let (noted_in_pieces, passed_in_pieces) = run(cut);
    assert_eq!(noted_in_pieces, noted);
    assert!(passed_in_pieces == passed || !awaits);
    for passed in [&passed, &passed_in_pieces] {
        let mut left = typed.iter();
        assert!(
            passed.iter().all(|byte| left.any(|typed| typed == byte)),
            "something was typed that was not"
        );
    }
    if !typed.contains(&ESC) {
        assert_eq!(passed, typed);
    }
}
