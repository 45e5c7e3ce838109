//! Random operations on a registry and on a plain model of it: each must give back what the model does, and after each
//! step every question must be answered as the model answers it.
//!
//! Operations run one after another here, and each case on registries of 1, 2 and 64 shards; what happens at once is
//! for other tests. 256 cases run, or as many as `PROPTEST_CASES` says. A failure is shrunk and printed as the
//! operations that lead to it. Seeds are not kept: such a case becomes a test of its own, written as those operations.

mod model;
mod operation;
mod tested;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use self::{
    model::Model,
    operation::{Operation, Step},
    tested::Tested,
};

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_registry_does_what_the_model_does(sequential 1..60 => Registries);
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        operation::next(model)
    }

    fn preconditions(model: &Self, operation: &Step) -> bool {
        match operation.0 {
            Operation::DropGuard { client } | Operation::UnregisterGuard { client } => {
                model.guarded().any(|guarded| guarded == client)
            }
            Operation::Publish { publisher, .. }
            | Operation::Refresh { publisher }
            | Operation::DropPublisher { publisher } => model.publishers.contains_key(&publisher),
            _ => true,
        }
    }

    fn apply(mut model: Self, Step(operation): &Step) -> Self {
        model.outcome = Some(model.perform(operation));
        model
    }
}

struct Registries;

impl StateMachineTest for Registries {
    type SystemUnderTest = Vec<Tested>;
    type Reference = Model;

    fn init_test(_: &Model) -> Vec<Tested> {
        [1, 2, 64].map(Tested::new).into()
    }

    fn apply(mut registries: Vec<Tested>, model: &Model, Step(operation): Step) -> Vec<Tested> {
        for tested in &mut registries {
            let outcome = tested.perform(&operation);
            assert_eq!(Some(&outcome), model.outcome.as_ref(), "of {operation:?}, {tested}");
        }
        registries
    }

    fn check_invariants(registries: &Vec<Tested>, model: &Model) {
        registries.iter().for_each(|tested| tested.compare(model));
    }

    fn teardown(registries: Vec<Tested>, model: Model) {
        registries.into_iter().for_each(|tested| tested.end(&model));
    }
}
