//! What is created on another node is created once, and who asked is told what is true.

use std::{collections::HashMap, time::Duration};

use super::simulation::{Simulation, name};
use crate::{
    SessionName,
    message::Create,
    nodes::{
        bus::Faults,
        core::Report,
        message::{HostChange, Refusal},
    },
    random::Random,
};

fn create(name: &SessionName) -> HostChange {
    HostChange::Create(Box::new(Create::new(name.clone(), vec![b"sh".to_vec()])))
}

/// Two nodes have sessions created on a third one, whose node is started again in between. Returns how many were, and
/// how many are known not to be.
fn plan(seed: u64) -> (usize, usize) {
    let mut faults = Faults::none(3);
    let mut dice = Random::new(seed);
    (faults.lost, faults.twice, faults.delay_ms) = (dice.below(30), dice.below(30), dice.below(50));
    let from = dice.ms(8000);
    faults.partitions.push((from, from + dice.ms(8000), dice.below(8)));
    let mut simulation = Simulation::new(3, faults, seed);
    simulation.run_until(Duration::from_secs(2));
    let mut asked = HashMap::new();
    for count in 0..40 {
        let (node, pause) = (1 + count % 2, simulation.dice.ms(300));
        let created: SessionName = format!("s{count}").parse().unwrap();
        let now = simulation.now;
        if let Ok(number) = simulation.nodes[node].core.change(now, &name(0), create(&created)) {
            asked.insert((node, number), created);
        }
        if count == 20 && seed.is_multiple_of(2) {
            simulation.restart(0);
        }
        simulation.run_until(now + pause);
    }
    let until = simulation.now + Duration::from_secs(20);
    simulation.run_until(until);
    let mut times: HashMap<_, usize> = HashMap::new();
    simulation.nodes[0].server.created.iter().for_each(|name| *times.entry(name.clone()).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "seed {seed}: {times:?}");
    let (mut created, mut refused) = (0, 0);
    for node in 1..3 {
        for (_, report) in &simulation.nodes[node].reports {
            let Report::Changed { change, result } = report else { continue };
            let name = asked.remove(&(node, *change)).expect("an answer to what was asked, and one");
            match result {
                Ok(session) => {
                    assert!(session.is_some() && times.contains_key(&name), "seed {seed}");
                    created += 1;
                }
                Err(Refusal::NotAllowed | Refusal::NameTaken | Refusal::TooMany) => {
                    assert!(!times.contains_key(&name), "seed {seed}");
                    refused += 1;
                }
                // It may be done or not.
                Err(_) => {}
            }
        }
    }
    assert!(asked.is_empty(), "seed {seed}: each is answered");
    (created, refused)
}

#[test]
fn a_session_is_created_once_whatever_becomes_of_messages_and_nodes() {
    let created: usize = (0..100).map(|seed| plan(seed).0).sum();
    assert!(created > 2000, "{created}");
}

#[test]
fn what_is_too_long_or_for_nobody_is_refused_at_once() {
    let mut simulation = Simulation::new(2, Faults::none(2), 1);
    simulation.run_until(Duration::from_secs(2));
    let (now, core) = (simulation.now, &mut simulation.nodes[1].core);
    let mut long = Create::new("x".parse().unwrap(), vec![vec![b'x'; 40_000]]);
    assert!(core.change(now, &name(0), HostChange::Create(Box::new(long.clone()))).is_err());
    long.command = vec![vec![b'x'; 20_000]];
    assert!(core.change(now, &name(0), HostChange::Create(Box::new(long))).is_ok());
    for nobody in [1, 7] {
        assert!(core.change(now, &name(nobody), create(&"x".parse().unwrap())).is_err());
    }
}
