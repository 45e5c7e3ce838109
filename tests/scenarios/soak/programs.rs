//! Sessions that start, print a little or a flood, and end: by themselves, by a request, or by a signal.

use fugue_server::{
    Client,
    message::{ClientMessage, ExitStatus, Pace, SessionState, Target},
};
use rustix::process::Signal;

use super::{
    super::process::signal,
    round::{Live, Stage, Tally, patiently},
    stream::{LINE, Seen, program},
};
use crate::{
    random::Random,
    support::{LOSSLESS, attached, input, sessions, shell},
};

/// Keeps one slot busy with one session after another, each watched by a client that must be sent all of it.
pub(super) async fn drive(stage: Stage, slot: u64, mut random: Random) -> Tally {
    let mut tally = Tally::default();
    let first = random.below(1000);
    for number in first.. {
        if stage.is_over() {
            break;
        }
        let tag = slot * 1000 + number % 1000;
        let mut client = stage.connect().await;
        let started = attached(&mut client, &request(slot, tag, &mut random)).await;
        let live = Live { slot, session: started.session, tag };
        let mut seen = Seen::from(tag, started.start, false);
        read_to(&mut client, &mut seen, LINE).await;
        *stage.slots[slot as usize].lock().unwrap() = Some(live);
        run(&stage, live, &mut client, &mut seen, &mut random, &mut tally).await;
        *stage.slots[slot as usize].lock().unwrap() = None;
        assert_eq!((seen.gaps, seen.screens), (0, 0), "a lossless client that kept up: {seen:?}");
        tally.sessions += 1;
        tally.clients += 1;
        tally.stays += 1;
        tally.verified += seen.bytes;
    }
    tally
}

fn request(slot: u64, tag: u64, random: &mut Random) -> ClientMessage {
    match shell(&name(slot), &program(tag), Some(LOSSLESS)) {
        ClientMessage::Create(mut create) => {
            create.pace = random.of(&[Pace::Fastest, Pace::Slowest, Pace::Free]);
            ClientMessage::Create(create)
        }
        other => other,
    }
}

pub(super) fn name(slot: u64) -> String {
    format!("slot{slot}")
}

/// Has the session print, and ends it.
async fn run(
    stage: &Stage,
    live: Live,
    client: &mut Client,
    seen: &mut Seen,
    random: &mut Random,
    tally: &mut Tally,
) {
    let mut lines = 1;
    let tell = async |client: &mut Client, line: String| {
        patiently(client.send(&input(live.session, line))).await.unwrap();
    };
    for _ in 0..=random.below(8) {
        // One, as many as fill a screen, as many as fill a queue, or a flood of up to 16 MiB.
        let count = random.of(&[1, 1, 40, 4096, 65_536, 262_144, 1 << 20]);
        tell(client, format!("{count}\n")).await;
        lines += count;
        if random.one_in(16) {
            // In the middle of it.
            break;
        }
        let all = lines * LINE;
        if random.one_in(4) {
            let part = seen.next + random.below(all - seen.next);
            read_to(client, seen, part).await;
            stage.stall(random, 300).await;
            tally.stalls += 1;
        }
        while seen.next < all && !stage.is_over() {
            let next = (seen.next + (64 << 10)).min(all);
            read_to(client, seen, next).await;
        }
        if stage.is_over() {
            break;
        }
    }
    // When the round is over, nobody waits for the rest of a flood.
    match random.below(if stage.is_over() { 2 } else { 4 }) {
        0 => {
            let session = Target::Id(live.session);
            patiently(client.send(&ClientMessage::Kill { session })).await.unwrap();
            read_to_end(client, seen).await;
        }
        1 => {
            // Asked by another, for an answer would wait behind all the output.
            let mut other = stage.connect().await;
            let all = patiently(sessions(&mut other)).await;
            let pid =
                all.into_iter().find(|session| session.id == live.session).and_then(|session| match session
                    .state
                {
                    SessionState::Running { pid } => pid,
                    _ => None,
                });
            signal(pid.expect("the session runs, and has a program"), Signal::KILL);
            assert_eq!(read_to_end(client, seen).await, ExitStatus::Signal(9));
            tally.clients += 1;
        }
        _ => {
            let status = random.below(200);
            tell(client, format!("q{status}\n")).await;
            assert_eq!(read_to_end(client, seen).await, ExitStatus::Code(status as i32));
            assert_eq!(seen.next, lines * LINE, "not all that was printed: {seen:?}");
        }
    }
}

async fn read_to(client: &mut Client, seen: &mut Seen, offset: u64) {
    while seen.next < offset {
        let ended = seen.check(patiently(client.next()).await.unwrap());
        assert_eq!(ended, None, "it ended too early: {seen:?}");
    }
}

async fn read_to_end(client: &mut Client, seen: &mut Seen) -> ExitStatus {
    loop {
        if let Some(status) = seen.check(patiently(client.next()).await.unwrap()) {
            return status;
        }
    }
}
