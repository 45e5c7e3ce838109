//! What holds under any plan of faults, and what some plans show.

use std::{collections::HashMap, env, ops::Range, thread, time::Duration};

use super::{
    model::{ModelServer, Typist},
    simulation::{Simulation, name},
};
use crate::{
    SessionId, TerminalSize,
    message::{ExitStatus, Pace},
    nodes::{
        bus::Faults,
        carrier::{CarrierEvent, CarrierMessage},
        core::{LeftMirror, LocalCommand, LocalEvent, Report},
        message::{Beat, Begin, ReadRequest, WriteRequest, encode},
        subject::{Class, Lane, Subject},
    },
    random::Random,
};

/// The seeds of the plans that are run, this many if nothing else is said.
fn seeds(usual: u64) -> Range<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = number("SEED").unwrap_or(1);
    first..first + number("FUGUE_PLANS").unwrap_or(usual)
}

/// Says how to repeat a plan that fails.
struct Repeat {
    test: &'static str,
    seed: u64,
}

impl Drop for Repeat {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { test, seed } = self;
            eprintln!("repeat: SEED={seed} FUGUE_PLANS=1 cargo test --lib nodes::tests::plans::{test}");
        }
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// When nothing goes wrong any more.
const HEALED: Duration = at(20);

/// 10 % loss, 5 % duplicates, partitions, lost connections, stopped and slow nodes.
fn faults(dice: &mut Random, nodes: usize) -> Faults {
    let span = |dice: &mut Random, longest: u64| {
        // Once all have begun: who asks for a node that is not there is told so.
        let from = at(1) + dice.ms(14_000);
        (from, (from + dice.ms(longest)).min(HEALED))
    };
    let node = |dice: &mut Random| usize::try_from(dice.below(nodes as u64)).unwrap();
    let mut faults = Faults::none(nodes);
    faults.lost = dice.below(11);
    faults.twice = dice.below(6);
    faults.delay_ms = [0, 2, 50][node(dice) % 3];
    for _ in 0..dice.below(3) {
        let (from, to) = span(dice, 8000);
        faults.partitions.push((from, to, dice.below(1 << nodes)));
    }
    for _ in 0..dice.below(2) {
        let (from, to) = span(dice, 8000);
        faults.stopped.push((from, to, node(dice)));
    }
    for _ in 0..dice.below(3) {
        let (from, to) = span(dice, 4000);
        faults.disconnected.push((from, to, node(dice)));
    }
    if dice.percent(30) {
        faults.bytes_per_ms[node(dice)] = 500 + dice.below(2000);
    }
    faults.max_payload = [8 * 1024, 64 * 1024, 1024 * 1024][node(dice) % 3];
    faults
}

/// Lets sessions print and typists type, until then.
fn busy_until(simulation: &mut Simulation, until: Duration) {
    while simulation.now < until {
        let next = simulation.now + simulation.dice.ms(200);
        for node in 0..simulation.nodes.len() {
            let ids: Vec<_> =
                simulation.nodes[node].server.sessions.iter().map(|session| session.id).collect();
            for id in ids {
                let most = if simulation.dice.percent(10) { 300_000 } else { 2000 };
                let bytes = simulation.dice.below(most);
                simulation.nodes[node].server.print(id, bytes);
            }
            let (now, parts) = (simulation.now, &mut simulation.nodes[node]);
            if simulation.faults.stopped_until(now, node).is_none() {
                parts.server.type_some(now, &mut parts.core, &mut simulation.dice);
            }
            read(&mut parts.server);
        }
        simulation.run_until(next.max(simulation.now + Duration::from_millis(1)).min(until));
    }
}

/// What a node has reported.
fn reports(simulation: &Simulation, node: usize) -> impl Iterator<Item = &Report> {
    simulation.nodes[node].reports.iter().map(|(_, report)| report)
}

/// Lets the viewers read for a moment. Whether any did.
fn read(server: &mut ModelServer) -> bool {
    server.mirrors.values_mut().filter_map(|mirror| mirror.read().then_some(())).count() > 0
}

/// Three nodes with a session each, that the other two watch with 20 viewers each.
fn watched(faults: Faults, seed: u64, is_lossless: bool) -> (Simulation, Vec<SessionId>) {
    let mut simulation = Simulation::new(3, faults, seed);
    let sessions: Vec<_> = (0..3).map(|node| simulation.session(node, is_lossless)).collect();
    for (host, session) in sessions.iter().enumerate() {
        for watcher in (0..3).filter(|watcher| *watcher != host) {
            simulation.nodes[watcher].core.watch(at(0), &name(host), *session, Begin::Screen).unwrap();
        }
    }
    (simulation, sessions)
}

/// Ends all sessions, and waits until all viewers have read that.
fn finish(simulation: &mut Simulation, sessions: &[SessionId]) {
    for (host, session) in sessions.iter().enumerate() {
        let status = ExitStatus::Code(i32::try_from(host).unwrap());
        simulation.nodes[host].server.session(*session).unwrap().ended = Some(status);
    }
    let until = simulation.now + at(60);
    simulation.run_until(until);
    simulation.nodes.iter_mut().for_each(|node| while read(&mut node.server) {});
}

/// What each viewer saw, with what it was told that it missed, is all that was printed since its mirror began.
fn check(simulation: &mut Simulation, sessions: &[SessionId], is_lossless: bool) {
    for (host, session) in sessions.iter().enumerate() {
        let printed = simulation.nodes[host].server.session(*session).unwrap().printed;
        for watcher in (0..3).filter(|watcher| *watcher != host) {
            let server = &simulation.nodes[watcher].server;
            assert_eq!(server.refused, []);
            let (_, mirror) = server.mirror_of(*session).expect("a mirror that has begun");
            let status = Some(ExitStatus::Code(i32::try_from(host).unwrap()));
            assert_eq!(mirror.ended, status, "n{watcher} of n{host}");
            assert!(!is_lossless || mirror.gaps.is_empty());
            for viewer in &mirror.viewers {
                assert_eq!(viewer.start + viewer.read + viewer.missed, printed);
                assert_eq!(viewer.ended, status);
            }
        }
    }
}

#[test]
fn every_viewer_sees_all_or_is_told_what_it_missed() {
    for seed in seeds(25) {
        let _repeat = Repeat { test: "every_viewer_sees_all_or_is_told_what_it_missed", seed };
        let mut dice = Random::new(seed ^ 7);
        let is_lossless = dice.percent(30);
        let mut faults = faults(&mut dice, 3);
        if is_lossless {
            // A program waits for who follows it. Who is away does not.
            faults = Faults { twice: faults.twice, delay_ms: faults.delay_ms, ..Faults::none(3) };
        }
        let (mut simulation, sessions) = watched(faults, seed, is_lossless);
        busy_until(&mut simulation, at(22));
        finish(&mut simulation, &sessions);
        check(&mut simulation, &sessions, is_lossless);
    }
}

#[test]
fn typists_on_three_nodes_type_each_byte_once_in_order() {
    for seed in seeds(25) {
        let _repeat = Repeat { test: "typists_on_three_nodes_type_each_byte_once_in_order", seed };
        let mut dice = Random::new(seed ^ 8);
        let (mut simulation, sessions) = watched(faults(&mut dice, 3), seed, false);
        for typist in 0..5 {
            let typist_of = Typist::new(sessions[0], &mut dice);
            simulation.nodes[typist % 3].server.typists.push(typist_of);
        }
        busy_until(&mut simulation, at(60));
        let typed = simulation.nodes[0].server.session(sessions[0]).unwrap().typed.clone();
        for typist in simulation.nodes.iter().flat_map(|node| &node.server.typists) {
            let pieces = typed.iter().filter(|(stream, _)| *stream == typist.stream);
            let bytes: Vec<_> = pieces.flat_map(|(_, data)| data.to_vec()).collect();
            assert!(bytes == typist.all, "{} of {} bytes", bytes.len(), typist.all.len());
            assert_eq!(typist.taken, typist.all.len() as u64, "all is answered");
        }
    }
}

#[test]
fn what_was_typed_before_the_end_is_answered_before_it() {
    // The end comes on a connection of its own, mostly before the answer.
    for seed in 1..10 {
        let (mut simulation, sessions) = watched(Faults::none(3), seed, false);
        simulation.run_until(at(2));
        let mut typist = Typist::new(sessions[0], &mut simulation.dice);
        typist.all.truncate(1);
        simulation.nodes[1].server.typists.push(typist);
        let (now, parts) = (simulation.now, &mut simulation.nodes[1]);
        parts.server.type_some(now, &mut parts.core, &mut simulation.dice);
        let moment = Duration::from_micros(100);
        while simulation.nodes[0].server.session(sessions[0]).unwrap().typed.is_empty() {
            simulation.run_until(simulation.now + moment);
        }
        simulation.nodes[0].server.session(sessions[0]).unwrap().ended = Some(ExitStatus::Code(0));
        let is_over = |simulation: &Simulation| {
            simulation.nodes[1].server.mirror_of(sessions[0]).unwrap().1.ended.is_some()
        };
        while !is_over(&simulation) {
            assert!(simulation.now < at(4));
            simulation.run_until(simulation.now + moment);
        }
        assert_eq!(simulation.nodes[1].server.typists[0].taken, 1, "of seed {seed}");
    }
}

/// How much of a session a node has in ten seconds of flood.
fn flooded(faults: Faults) -> u64 {
    let (mut simulation, sessions) = watched(faults, 3, false);
    while simulation.now < at(12) {
        simulation.nodes[0].server.print(sessions[0], 100_000);
        let next = simulation.now + Duration::from_millis(10);
        simulation.run_until(next);
        read(&mut simulation.nodes[1].server);
    }
    let (_, mirror) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    assert_eq!(mirror.gaps, []);
    assert!(simulation.bus.borrow().most_in_flight <= 1024 * 1024 + 64 * 1024);
    mirror.head
}

#[test]
fn a_stopped_node_costs_the_others_nothing() {
    let undisturbed = flooded(Faults::none(3));
    let mut faults = Faults::none(3);
    faults.stopped.push((at(2), at(60), 2));
    assert_eq!(flooded(faults), undisturbed);
    assert!(undisturbed > 100_000_000, "{undisturbed}");
}

#[test]
fn a_slow_node_has_no_more_on_its_way_than_it_asked_for() {
    let mut faults = Faults::none(3);
    faults.bytes_per_ms[2] = 1000;
    let (mut simulation, sessions) = watched(faults, 5, false);
    for _ in 0..600 {
        simulation.nodes[0].server.print(sessions[0], 100_000);
        let next = simulation.now + Duration::from_millis(10);
        simulation.run_until(next);
    }
    // In the end what comes in a tenth of a second, and a message.
    simulation.bus.borrow_mut().most_in_flight = 0;
    for _ in 0..200 {
        simulation.nodes[0].server.print(sessions[0], 100_000);
        let next = simulation.now + Duration::from_millis(10);
        simulation.run_until(next);
        let slow = simulation.bus.borrow().in_flight_to(2);
        assert!(slow <= 128 * 1024, "{slow} bytes");
    }
}

#[test]
fn a_silent_host_is_told_of_and_resumed_at_the_next_byte() {
    let mut faults = Faults::none(3);
    faults.partitions.push((at(5), at(15), 0b001));
    let (mut simulation, sessions) = watched(faults, 9, false);
    simulation.nodes[0].server.print(sessions[0], 1000);
    simulation.run_until(at(14));
    simulation.nodes[0].server.print(sessions[0], 1000);
    let silences =
        |simulation: &Simulation| simulation.nodes[1].server.mirror_of(sessions[0]).unwrap().1.silences;
    assert_eq!(silences(&simulation), 1);
    assert!(reports(&simulation, 1).any(|report| *report == Report::Lost(name(0))));
    simulation.run_until(at(19));
    let (_, mirror) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    assert_eq!((mirror.head, &*mirror.gaps, mirror.is_silent), (2000, &[][..], false));
}

#[test]
fn another_run_of_the_host_goes_on_with_the_session_it_has_still() {
    let (mut simulation, sessions) = watched(Faults::none(3), 10, false);
    simulation.nodes[0].server.print(sessions[0], 1000);
    simulation.run_until(at(3));
    simulation.restart(0);
    simulation.nodes[0].server.print(sessions[0], 1000);
    simulation.run_until(at(6));
    let (_, mirror) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    assert_eq!((mirror.head, &*mirror.gaps), (2000, &[][..]));
    // A session that it no longer has is over.
    simulation.restart(0);
    simulation.nodes[0].server.sessions.clear();
    simulation.run_until(at(9));
    let [(_, why)] = &simulation.nodes[1].server.refused[..] else { panic!("refused once") };
    assert_eq!(why.to_string(), "n0 was restarted, and no longer has this session");
}

#[test]
fn another_run_of_a_watching_node_goes_on_with_its_mirrors() {
    let (mut simulation, sessions) = watched(Faults::none(3), 18, false);
    simulation.nodes[0].server.print(sessions[0], 1000);
    simulation.run_until(at(3));
    simulation.restart(1);
    // Its server has what came until then. More is printed before the next run asks for it.
    simulation.nodes[0].server.print(sessions[0], 1000);
    let (session, size) = (sessions[0], TerminalSize::DEFAULT);
    let left = LeftMirror { host: name(0), session, name: "left".parse().unwrap(), size, head: 1000 };
    simulation.nodes[1].core.resume(at(3), left).unwrap();
    simulation.touch(1);
    simulation.run_until(at(8));
    let (_, mirror) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    assert_eq!((mirror.head, &*mirror.gaps), (2000, &[][..]));
}

#[test]
fn a_node_or_a_session_that_is_not_there_is_refused_in_words() {
    let mut simulation = Simulation::new(2, Faults::none(2), 11);
    simulation.run_until(at(1));
    let session = SessionId::from(7_u64);
    for host in [name(0), name(7)] {
        simulation.nodes[1].core.watch(at(1), &host, session, Begin::Screen).unwrap();
        simulation.run_until(simulation.now + at(1));
        simulation.nodes[1].core.list(simulation.now, &host);
        simulation.run_until(simulation.now + at(1));
    }
    let why: Vec<_> = simulation.nodes[1].server.refused.iter().map(|(_, why)| why.to_string()).collect();
    let listed = reports(&simulation, 1).filter(|report| matches!(report, Report::Listed { .. }));
    assert!(why[0].starts_with("it has no such session") && why[1].starts_with("there is no node n7"));
    assert_eq!(listed.count(), 2);
    assert!(simulation.nodes[1].core.watch(at(5), &name(1), session, Begin::Screen).is_err(), "its own");
}

#[test]
fn a_host_that_never_answers_is_given_up() {
    let mut faults = Faults::none(2);
    faults.partitions.push((at(2), at(100), 0b01));
    let mut simulation = Simulation::new(2, faults, 19);
    let session = simulation.session(0, false);
    simulation.run_until(at(3));
    let left = simulation.nodes[1].core.pool_left();
    simulation.nodes[1].core.watch(at(3), &name(0), session, Begin::Screen).unwrap();
    simulation.touch(1);
    simulation.run_until(at(19));
    let [(_, why)] = &simulation.nodes[1].server.refused[..] else { panic!("refused once") };
    assert!(why.to_string().contains("does not answer"), "{why}");
    assert_eq!(simulation.nodes[1].core.pool_left(), left);
}

#[test]
fn lists_of_any_length_come_whole() {
    let mut faults = Faults::none(2);
    faults.lost = 20;
    let mut simulation = Simulation::new(2, faults, 12);
    let mut sessions: Vec<_> = (0..7).map(|_| simulation.session(0, false)).collect();
    sessions.sort();
    simulation.run_until(at(5));
    let list = simulation.nodes[1].core.list(simulation.now, &name(0));
    simulation.run_until(at(30));
    let listed = reports(&simulation, 1).find_map(|report| match report {
        Report::Listed { list: of, result: Ok(found) } if *of == list => Some(found),
        _ => None,
    });
    assert_eq!(listed.unwrap().iter().map(|found| found.id).collect::<Vec<_>>(), sessions);
}

#[test]
fn sizes_and_kills_reach_the_host() {
    let mut faults = Faults::none(3);
    faults.lost = 10;
    let (mut simulation, sessions) = watched(faults, 13, false);
    simulation.run_until(at(5));
    let (mirror, _) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    for cols in 10..30 {
        let size = TerminalSize::new(cols, 10).unwrap();
        let now = simulation.now;
        simulation.nodes[1]
            .core
            .handle_local(now, LocalEvent::MirrorResize { mirror, window: Some((size, None)) });
        simulation.run_until(now + Duration::from_millis(7));
    }
    simulation.run_until(at(20));
    let size = TerminalSize::new(29, 10).unwrap();
    assert_eq!(simulation.nodes[0].server.session(sessions[0]).unwrap().size, size);
    assert_eq!(simulation.nodes[2].server.mirror_of(sessions[0]).unwrap().1.size, size);
    let now = simulation.now;
    simulation.nodes[1].core.handle_local(now, LocalEvent::MirrorKill { mirror });
    simulation.run_until(at(30));
    let ended = Some(ExitStatus::Signal(9));
    assert_eq!(simulation.nodes[2].server.mirror_of(sessions[0]).unwrap().1.ended, ended);
}

#[test]
fn what_the_broker_does_not_allow_is_refused_at_once() {
    let (mut simulation, sessions) = watched(Faults::none(3), 17, false);
    simulation.run_until(at(2));
    let (mirror, _) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    let core = &mut simulation.nodes[1].core;
    core.handle_carrier(at(2), CarrierEvent::Disconnected { lane: Lane::Quick });
    core.handle_local(at(2), LocalEvent::MirrorKill { mirror });
    core.handle_carrier(at(2), CarrierEvent::Denied(Subject::new(Class::Write, &name(0), &name(1))));
    let told: Vec<_> = std::iter::from_fn(|| core.next_local()).collect();
    let [LocalCommand::MirrorKilled { result: Err(why), .. }] = &told[..] else { panic!("{told:?}") };
    assert!(why.to_string().contains("permissions"), "{why}");
}

#[test]
fn of_two_nodes_of_one_name_one_is_told_to_end() {
    let mut simulation = Simulation::of(&[name(0), name(0)], Faults::none(2), 14);
    simulation.run_until(at(3));
    let taken = |node: usize| reports(&simulation, node).any(|report| *report == Report::NameTaken);
    assert!(taken(0) != taken(1));
}

#[test]
fn nodes_know_of_each_other_what_they_have() {
    let (mut simulation, _) = watched(Faults::none(3), 16, false);
    for node in &mut simulation.nodes {
        node.core.handle_local(at(0), LocalEvent::Sessions(1));
    }
    simulation.run_until(at(5));
    for node in &simulation.nodes {
        let known: Vec<_> =
            node.core.nodes().map(|(_, known)| (known.beat.sessions, known.beat.streams)).collect();
        assert_eq!(known, [(1, 2), (1, 2)]);
    }
}

#[test]
fn a_stream_of_which_nothing_comes_is_opened_again() {
    let (mut simulation, sessions) = watched(Faults::none(3), 18, false);
    simulation.run_until(at(2));
    // Its host has forgotten it, and all else goes on.
    let core = &mut simulation.nodes[0].core;
    let stream = core.hosted_streams().find(|stream| stream.watcher == name(1)).unwrap().number;
    let subject = Subject::new(Class::Read, &name(0), &name(1));
    let payload = encode(&ReadRequest::Close { stream });
    core.handle_carrier(at(2), CarrierEvent::Message(CarrierMessage { subject, reply: None, payload }));
    simulation.nodes[0].server.print(sessions[0], 1000);
    simulation.run_until(at(8));
    let (_, mirror) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    assert_eq!((mirror.head, &*mirror.gaps), (1000, &[][..]));
}

#[test]
fn a_line_lost_before_the_first_byte_costs_none() {
    let mut faults = Faults::none(3);
    faults.disconnected.push((at(1), at(2), 1));
    let (mut simulation, sessions) = watched(faults, 20, false);
    simulation.run_until(Duration::from_millis(1500));
    simulation.nodes[0].server.print(sessions[0], 1000);
    simulation.run_until(at(5));
    let (_, mirror) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    assert_eq!((mirror.head, &*mirror.gaps), (1000, &[][..]));
}

#[test]
fn another_connection_opens_all_streams_again() {
    let (mut simulation, _) = watched(Faults::none(3), 21, false);
    simulation.run_until(at(2));
    let numbers = |simulation: &Simulation| {
        let streams = simulation.nodes[0].core.hosted_streams();
        streams.map(|stream| (stream.watcher.clone(), stream.number)).collect::<HashMap<_, _>>()
    };
    let before = numbers(&simulation);
    // Nothing is missing, and so nothing else tells that something may be.
    simulation.bus.borrow_mut().lose_connection(1);
    simulation.run_until(at(3));
    let after = numbers(&simulation);
    assert!(after[&name(1)] > before[&name(1)]);
    assert_eq!(after[&name(2)], before[&name(2)]);
}

#[test]
fn the_first_beat_of_a_host_cuts_no_stream_of_it() {
    let (mut simulation, _) = watched(Faults::none(3), 22, false);
    simulation.run_until(at(1));
    let numbers = |simulation: &Simulation| {
        simulation.nodes[0].core.hosted_streams().map(|stream| stream.number).collect::<Vec<_>>()
    };
    let before = numbers(&simulation);
    // The host is there, in the run that the streams are of, though it was said to be gone.
    let core = &mut simulation.nodes[1].core;
    let mut say = |is_last| {
        let (_, known) = core.nodes().find(|(host, _)| **host == name(0)).unwrap();
        let (subject, beat) =
            (Subject::to_all(Class::Beat, &name(0)), Beat { is_last, ..known.beat.clone() });
        let message = CarrierMessage { subject, reply: None, payload: encode(&beat) };
        core.handle_carrier(at(1), CarrierEvent::Message(message));
    };
    say(true);
    say(false);
    simulation.run_until(at(2));
    assert_eq!(
        reports(&simulation, 1)
            .filter(|report| matches!(report, Report::Came(host, _) if *host == name(0)))
            .count(),
        2
    );
    assert_eq!(numbers(&simulation), before);
}

#[test]
fn what_comes_late_undoes_nothing_that_came_after_it() {
    let mut simulation = Simulation::new(1, Faults::none(1), 19);
    let (core, session) = (&mut simulation.nodes[0].core, SessionId::from(7_u64));
    let mut say = |class, payload| {
        let subject = Subject::new(class, &name(0), &name(1));
        let message = CarrierMessage { subject, reply: Some(1), payload };
        core.handle_carrier(at(0), CarrierEvent::Message(message));
        std::iter::from_fn(|| core.next_local()).count()
    };
    let open = |stream| {
        encode(&ReadRequest::Open { stream, session, begin: Begin::Screen, limit: 0, is_lossless: false })
    };
    // One after the other; then the second takes the place of the first.
    assert_eq!([5, 3, 5, 6].map(|stream| say(Class::Read, open(stream))), [1, 0, 0, 2]);
    let window = Some((TerminalSize::DEFAULT, None));
    let resize = |order| encode(&WriteRequest::Resize { session, window, order });
    assert_eq!([5, 3, 6].map(|order| say(Class::Write, resize(order))), [1, 0, 1]);
    // Another run of the node counts from elsewhere.
    assert_eq!((say(Class::Read, open(1 << 32)), say(Class::Write, resize(1 << 32))), (2, 1));
}

/// A flood of a session that one who reads slowly watches at another node. How far the program and the mirror are.
fn flooded_beside_a_slow_reader(simulation: &mut Simulation, session: SessionId) -> (u64, u64) {
    for _ in 0..500 {
        simulation.nodes[0].server.print(session, 100_000);
        let next = simulation.now + Duration::from_millis(10);
        simulation.run_until(next);
        read(&mut simulation.nodes[1].server);
    }
    let (_, mirror) = simulation.nodes[1].server.mirror_of(session).unwrap();
    assert!(mirror.gaps.is_empty() && mirror.viewers.iter().all(|viewer| viewer.missed == 0));
    let head = mirror.head;
    (simulation.nodes[0].server.session(session).unwrap().printed, head)
}

#[test]
fn a_program_waits_for_the_slowest_who_watches_at_another_node() {
    let mut simulation = Simulation::new(2, Faults::none(2), 21);
    let session = simulation.session(0, false);
    simulation.nodes[0].server.session(session).unwrap().pace = Pace::Slowest;
    simulation.nodes[1].core.watch(at(0), &name(0), session, Begin::Screen).unwrap();
    simulation.run_until(at(1));
    let (printed, _) = flooded_beside_a_slow_reader(&mut simulation, session);
    assert!((500_000..40_000_000).contains(&printed), "{printed} bytes of 50,000,000");
}

#[test]
fn a_program_waits_for_who_wants_every_byte_at_another_node_until_then() {
    let mut simulation = Simulation::new(2, Faults::none(2), 22);
    let session = simulation.session(0, false);
    simulation.nodes[1].core.watch(at(0), &name(0), session, Begin::Screen).unwrap();
    simulation.run_until(at(1));
    let (mirror, _) = simulation.nodes[1].server.mirror_of(session).unwrap();
    let lossless = |simulation: &mut Simulation, is_lossless| {
        simulation.nodes[1].server.mirrors.get_mut(&mirror).unwrap().is_held = is_lossless;
        let now = simulation.now;
        simulation.nodes[1].core.handle_local(now, LocalEvent::MirrorLossless { mirror, is_lossless });
        simulation.run_until(now + at(1));
    };
    lossless(&mut simulation, true);
    let (printed, _) = flooded_beside_a_slow_reader(&mut simulation, session);
    assert!((500_000..40_000_000).contains(&printed), "{printed} bytes of 50,000,000");
    // Another run of the host knows it from the stream.
    simulation.restart(0);
    simulation.run_until(simulation.now + at(3));
    let (again, _) = flooded_beside_a_slow_reader(&mut simulation, session);
    assert!(again - printed < 40_000_000, "{again} bytes");
    let is_lossless =
        |simulation: &Simulation| simulation.nodes[0].core.hosted_streams().all(|stream| stream.is_lossless);
    assert!(is_lossless(&simulation));
    lossless(&mut simulation, false);
    assert!(!is_lossless(&simulation));
}

#[test]
fn a_node_counts_for_a_size_as_long_as_it_watches() {
    let (mut simulation, sessions) = watched(Faults::none(3), 23, false);
    simulation.run_until(at(2));
    let (mirror, _) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    let window = Some((TerminalSize::new(90, 30).unwrap(), None));
    let want = |simulation: &mut Simulation, window| {
        let now = simulation.now;
        simulation.nodes[1].core.handle_local(now, LocalEvent::MirrorResize { mirror, window });
        simulation.run_until(now + at(1));
    };
    let sized =
        |simulation: &Simulation| simulation.nodes[0].server.sized.get(&(name(1), sessions[0])).copied();
    want(&mut simulation, window);
    assert_eq!(sized(&simulation), Some(window));
    want(&mut simulation, None);
    assert_eq!(sized(&simulation), Some(None));
    want(&mut simulation, window);
    // A host that was restarted is told again.
    simulation.restart(0);
    simulation.nodes[0].server.sized.clear();
    simulation.run_until(simulation.now + at(3));
    assert_eq!(sized(&simulation), Some(window));
    // It counts no longer once it watches no longer.
    let now = simulation.now;
    simulation.nodes[1].core.handle_local(now, LocalEvent::MirrorGone { mirror });
    simulation.run_until(now + at(12));
    assert_eq!(sized(&simulation), None);
}

#[test]
fn a_broker_that_is_lost_makes_every_host_silent() {
    let mut faults = Faults::none(3);
    faults.disconnected.extend((0..3).map(|node| (at(3), at(20), node)));
    let (mut simulation, sessions) = watched(faults, 24, false);
    simulation.run_until(at(9));
    let is_silent =
        |simulation: &Simulation| simulation.nodes[1].server.mirror_of(sessions[0]).unwrap().1.is_silent;
    assert!(is_silent(&simulation));
    simulation.run_until(at(25));
    assert!(!is_silent(&simulation));
}

#[test]
fn a_stream_that_nobody_watches_ends() {
    let (mut simulation, sessions) = watched(Faults::none(3), 15, false);
    simulation.run_until(at(2));
    assert_eq!(simulation.nodes[0].core.hosted_streams().count(), 2);
    let (mirror, _) = simulation.nodes[1].server.mirror_of(sessions[0]).unwrap();
    simulation.nodes[1].core.handle_local(at(2), LocalEvent::MirrorGone { mirror });
    simulation.run_until(at(3));
    assert_eq!(simulation.nodes[0].core.hosted_streams().count(), 1);
    // One whose watcher vanished.
    simulation.faults.stopped.push((at(3), at(100), 2));
    simulation.run_until(at(10));
    assert_eq!(simulation.nodes[0].core.hosted_streams().count(), 0);
}
