use super::*;
use crate::message::StartAt::{Now, Offset, Oldest};

const LIMIT: usize = 64 * 1024;
const WINDOW: u64 = LIMIT as u64 / 4;

fn pattern(range: std::ops::Range<u64>) -> Bytes {
    range.map(|offset| (offset % 251) as u8).collect()
}

/// Appends the next `bytes` of the pattern in pieces of `piece`.
fn print(history: &History, bytes: u64, piece: u64) {
    let (mut at, end) = (history.span().head, history.span().head + bytes);
    while at < end {
        let next = (at + piece).min(end);
        assert_eq!(history.append(&[pattern(at..next)]), next);
        at = next;
    }
}

/// Whether the pump was woken since the last look.
fn is_woken(history: &History) -> bool {
    let mut waits = std::pin::pin!(history.waker.wait());
    waits.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

/// Whether this reader's progress wakes the pump.
fn wakes(history: &History, reader: &Reader, cursor: u64) -> bool {
    is_woken(history);
    history.advance(reader, cursor);
    is_woken(history)
}

fn read_all(history: &History, from: u64, max: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut pieces = Vec::new();
    while history.read(from + all.len() as u64, max, &mut pieces) == Read::Data {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        assert!((1..=max).contains(&bytes));
        assert!(pieces.len() <= MAX_PIECES);
        pieces.drain(..).for_each(|piece| all.extend_from_slice(&piece));
    }
    all
}

#[test]
fn what_is_read_is_what_was_printed_however_it_was_cut() {
    for piece in [1, 2, 7, 100, 4095, 4096, 4097, 20_000] {
        for max in [1, 13, 4096, 1 << 20] {
            let history = History::new(1 << 20, Pace::Fastest);
            print(&history, 30_000, piece);
            assert_eq!(read_all(&history, 0, max), pattern(0..30_000), "pieces of {piece}, reads of {max}");
            assert_eq!(read_all(&history, 12_345, max), pattern(12_345..30_000));
        }
    }
}

#[test]
fn small_pieces_cost_no_more_than_the_bound_and_are_held_nearly_whole() {
    let history = History::new(LIMIT, Pace::Fastest);
    print(&history, 10 * LIMIT as u64, 1);
    let held = history.span().head - history.attach(Oldest, OnLag::Resync).unwrap().start();
    assert!(history.span().held_bytes <= LIMIT);
    assert!(held as usize > LIMIT * 9 / 10, "{held} bytes held of {LIMIT}");
}

#[test]
fn single_bytes_are_merged_into_few_pieces() {
    let history = History::new(1 << 20, Pace::Fastest);
    print(&history, 100_000, 1);
    let chunks = history.with(|log| log.chunks.len());
    assert!(chunks < 100_000 / MERGE_UP_TO * 2 + 16, "{chunks} chunks");
    let charged: usize = history.with(|log| log.chunks.iter().map(LogChunk::charge).sum());
    assert_eq!(history.span().held_bytes, charged);
}

#[test]
fn one_read_hands_out_no_more_pieces_than_one_write_takes() {
    let history = History::new(1 << 20, Pace::Fastest);
    print(&history, 2 * MAX_PIECES as u64 * 4096, 4096);
    let mut pieces = Vec::new();
    assert_eq!(history.read(0, 1 << 20, &mut pieces), Read::Data);
    assert_eq!(pieces.concat(), pattern(0..MAX_PIECES as u64 * 4096));
}

#[test]
fn what_was_evicted_is_named_and_never_skipped_over() {
    let history = History::new(LIMIT, Pace::Fastest);
    print(&history, 3 * LIMIT as u64, 4096);
    let oldest = history.attach(Oldest, OnLag::Resync).unwrap().start();
    assert!(oldest > 0);
    let mut pieces = Vec::new();
    assert_eq!(history.read(oldest - 1, 100, &mut pieces), Read::Evicted { oldest });
    assert!(pieces.is_empty());
    assert_eq!(history.read(oldest, 100, &mut pieces), Read::Data);
}

#[test]
fn readers_start_now_at_the_oldest_or_exactly_where_they_ask() {
    let history = History::new(LIMIT, Pace::Fastest);
    print(&history, 3 * LIMIT as u64, 1000);
    let head = history.span().head;
    let oldest = history.attach(Oldest, OnLag::Resync).unwrap().start();
    assert_eq!(history.attach(Now, OnLag::Resync).unwrap().start(), head);
    for offset in [oldest, oldest + 1, head - 1, head] {
        assert_eq!(history.attach(Offset(offset), OnLag::Resync).unwrap().start(), offset);
    }
    for offset in [0, oldest - 1, head + 1, u64::MAX] {
        let refused = history.attach(Offset(offset), OnLag::Resync).unwrap_err();
        assert_eq!(refused, NotHeld { offset, oldest, head });
    }
}

#[test]
fn the_end_comes_after_the_last_byte() {
    let history = History::new(LIMIT, Pace::Fastest);
    print(&history, 10, 10);
    history.end(ExitStatus::Code(3));
    let mut pieces = Vec::new();
    assert_eq!(history.read(9, 100, &mut pieces), Read::Data);
    assert_eq!(history.read(10, 100, &mut pieces), Read::Ended(ExitStatus::Code(3)));
}

#[test]
fn nobody_attached_means_nobody_is_waited_for() {
    let history = History::new(LIMIT, Pace::Fastest);
    assert_eq!(history.room(), u64::MAX);
    let reader = history.attach(Now, OnLag::Lossless).unwrap();
    assert_eq!(history.room(), WINDOW);
    history.detach(&reader);
    assert_eq!(history.room(), u64::MAX);
}

#[test]
fn readers_that_leave_in_any_order_leave_nobody_behind() {
    let history = History::new(LIMIT, Pace::Fastest);
    let mut readers: Vec<_> = (0..50).map(|_| history.attach(Now, OnLag::Lossless).unwrap()).collect();
    print(&history, 100, 100);
    while !readers.is_empty() {
        // Those that stay are at the head; the one that leaves is not, and must be the one that is taken out.
        let leaving = readers.remove(readers.len() * 7 / 11);
        for reader in &readers {
            history.advance(reader, 100);
        }
        history.advance(&leaving, 0);
        assert_eq!(history.room(), WINDOW - 100);
        history.detach(&leaving);
        assert_eq!(history.room(), if readers.is_empty() { u64::MAX } else { WINDOW });
    }
}

#[test]
fn the_fastest_reader_sets_the_pace_and_a_slow_one_does_not() {
    let history = History::new(LIMIT, Pace::Fastest);
    let fast = history.attach(Now, OnLag::Resync).unwrap();
    let _slow = history.attach(Now, OnLag::Resync).unwrap();
    print(&history, WINDOW, 1000);
    assert_eq!(history.room(), 0);
    history.advance(&fast, WINDOW - 10);
    assert_eq!(history.room(), WINDOW - 10);
    history.detach(&fast);
    assert_eq!(history.room(), 0, "now the slow one is the fastest");
}

#[test]
fn the_pump_wakes_once_a_quarter_of_its_window_is_free() {
    let history = History::new(LIMIT, Pace::Slowest);
    let readers = [(); 2].map(|()| history.attach(Now, OnLag::Resync).unwrap());
    print(&history, WINDOW, 1000);
    assert!(!wakes(&history, &readers[0], 1), "nobody waits yet");
    assert_eq!(history.room(), 0);
    assert!(!wakes(&history, &readers[0], WINDOW / 4 - 1));
    assert!(wakes(&history, &readers[0], WINDOW / 4), "it may have been the slowest");
    assert!(!wakes(&history, &readers[0], WINDOW));
    assert_eq!(history.room(), 0, "but it was not");
    assert!(wakes(&history, &readers[1], WINDOW), "however far beyond");
    assert_eq!(history.room(), WINDOW);
}

#[test]
fn the_smallest_windows_have_a_quarter_too() {
    for limit in [0, 1, 4, 16] {
        let history = History::new(limit, Pace::Fastest);
        let reader = history.attach(Now, OnLag::Resync).unwrap();
        print(&history, 100, 10);
        assert_eq!(history.room(), 0);
        assert!(wakes(&history, &reader, 100), "a history of {limit} bytes");
    }
}

#[test]
fn a_lossless_reader_holds_the_program_while_it_is_entitled_to() {
    let history = History::new(LIMIT, Pace::Fastest);
    let fast = history.attach(Now, OnLag::Resync).unwrap();
    let lossless = history.attach(Now, OnLag::Lossless).unwrap();
    print(&history, WINDOW, 1000);
    history.advance(&fast, WINDOW);
    assert_eq!(history.room(), 0);
    is_woken(&history);
    for (holding, wakes, room) in [(false, true, WINDOW), (false, false, WINDOW), (true, true, 0)] {
        history.set_holding(&lossless, holding);
        assert_eq!((is_woken(&history), history.room()), (wakes, room), "{holding}");
    }
}

#[test]
fn what_a_reader_that_holds_the_program_needs_is_not_evicted() {
    let history = History::new(LIMIT, Pace::Fastest);
    print(&history, 2 * LIMIT as u64, 1000);
    // One that starts with the oldest byte, while a turn that was allowed before it came is appended.
    for on_lag in [OnLag::Resync, OnLag::Lossless] {
        let reader = history.attach(Oldest, on_lag).unwrap();
        print(&history, WINDOW, 1000);
        let held = read_all(&history, reader.start(), 5000);
        assert_eq!(held, pattern(reader.start()..history.span().head));
        assert_eq!(history.room(), 0, "and the program waits for it");
        history.detach(&reader);
        print(&history, 1, 1);
        assert!(history.span().held_bytes <= LIMIT, "once it is gone the bound holds again");
    }
}

#[test]
fn whatever_may_give_the_pump_room_wakes_it() {
    let history = History::new(LIMIT, Pace::Fastest);
    let reader = history.attach(Now, OnLag::Resync).unwrap();
    assert!(is_woken(&history), "attaching");
    history.detach(&reader);
    assert!(is_woken(&history), "leaving");
    history.set_floor(0);
    assert!(is_woken(&history), "the model");
    history.set_floor(0);
    assert!(!is_woken(&history), "the model stands where it stood");
    let refused = history.attach(Offset(1), OnLag::Resync);
    assert!(refused.is_err() && !is_woken(&history), "a refusal");
}

#[test]
fn a_lines_beginning_is_looked_for_in_so_much_and_no_more() {
    for (length, starts_at_line) in [(LONGEST_LINE as u64 - 2, true), (LONGEST_LINE as u64 - 1, false)] {
        let history = History::new(1 << 20, Pace::Fastest);
        history.append(&[Bytes::from_static(b"0\n1")]);
        for _ in 0..length {
            history.append(&[Bytes::from_static(b"x")]);
        }
        history.append(&[Bytes::from_static(b"\nlast")]);
        // From the "1" on, whose line begins right there.
        let bytes = length + 6;
        assert_eq!(history.attach(StartAt::Last(bytes), OnLag::Resync).unwrap().start(), 2);
        // From the byte after it on: the next line begins behind the last of the bytes looked at, or just before.
        let start = history.attach(StartAt::Last(bytes - 1), OnLag::Resync).unwrap().start();
        let line = history.head() - 4;
        assert_eq!(start, if starts_at_line { line } else { 3 }, "{length}");
    }
}

#[test]
fn what_the_screens_model_needs_is_not_evicted() {
    let history = History::new(LIMIT, Pace::Fastest);
    history.set_floor(0);
    assert_eq!(history.room(), LIMIT as u64 / 2);
    // More than it had room for: the last words of a program are read whatever the room.
    print(&history, 3 * LIMIT as u64, 1000);
    assert_eq!(history.room(), 0);
    assert_eq!(read_all(&history, 0, 5000), pattern(0..3 * LIMIT as u64));
    history.set_floor(3 * LIMIT as u64);
    print(&history, 1, 1);
    assert!(history.span().held_bytes <= LIMIT, "once the model has it the bound holds again");
    assert_eq!(history.room(), LIMIT as u64 / 2 - 1);
}

#[test]
#[cfg(debug_assertions)]
fn nothing_is_locked_under_the_log() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let registry = crate::ClientRegistry::<()>::new();
    let (history, other) = (History::new(LIMIT, Pace::Fastest), History::new(LIMIT, Pace::Fastest));
    let panics = |section: &dyn Fn()| catch_unwind(AssertUnwindSafe(|| history.with(|_| section()))).is_err();
    assert!(panics(&|| drop(registry.session_clients(1_u64.into()))), "a shard under the log");
    assert!(panics(&|| _ = other.span()), "a log under the log");
}

#[test]
fn a_log_holds_its_bound_and_not_a_byte_more() {
    let history = History::new(LIMIT, Pace::Fastest);
    let half = (LIMIT / 2 - CHUNK_COST) as u64;
    print(&history, 2 * half, half);
    assert_eq!(history.read(0, 1, &mut Vec::new()), Read::Data);
    print(&history, 1, 1);
    assert_eq!(history.read(0, 1, &mut Vec::new()), Read::Evicted { oldest: half });
}

#[test]
fn what_was_skipped_is_no_longer_held_and_the_rest_is_where_it_was() {
    let history = History::new(LIMIT, Pace::Free);
    print(&history, 100, 100);
    history.skip_to(1000);
    assert_eq!((history.head(), history.span().head, history.held_from(50)), (1000, 1000, 50));
    let mut pieces = Vec::new();
    assert_eq!(history.read(100, 10, &mut pieces), Read::Evicted { oldest: 1000 });
    print(&history, 50, 1);
    history.skip_to(1000);
    assert_eq!(history.head(), 1050, "there is nothing to skip");
    assert_eq!(read_all(&history, 20, 4096), pattern(20..100));
    for within in [100, 101, 999] {
        assert_eq!(history.read(within, 10, &mut pieces), Read::Evicted { oldest: 1000 });
    }
    assert_eq!(read_all(&history, 1000, 4096), pattern(1000..1050));
    assert_eq!(history.attach(Offset(500), OnLag::Resync).unwrap().start(), 500);
    // The first line that begins after the gap.
    assert_eq!(history.attach(StartAt::Last(500), OnLag::Resync).unwrap().start(), 1015);
    assert_eq!(history.attach(Oldest, OnLag::Resync).unwrap().start(), 0);
    assert_eq!(history.all(), (1000, pattern(1000..1050).to_vec()));
    history.skip_to(2000);
    assert_eq!(history.all(), (2000, Vec::new()));
}
