//! The scenarios of long runs. Each checks everything it sees, and panics on the first thing that is not as it should
//! be.

mod bytes;
mod flood;
mod joins;
mod memory;
pub(crate) mod process;
mod registry;
mod sessions;
mod sizes;
mod soak;
mod turns;

use std::{future::Future, time::Duration};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it can be done in seconds. The others have so much to do, and take what that takes.
    pub(crate) is_brief: bool,
    pub(crate) run: fn(Duration),
}

const fn brief(name: &'static str, about: &'static str, run: fn(Duration)) -> Scenario {
    Scenario { name, about, is_brief: true, run }
}

const fn long(name: &'static str, about: &'static str, run: fn(Duration)) -> Scenario {
    Scenario { name, about, is_brief: false, run }
}

pub(crate) const ALL: &[Scenario] = &[
    brief("registry", "threads and tasks on few ids leave nothing behind", |time| {
        registry::threads_and_tasks_on_few_ids_leave_nothing_behind(time);
    }),
    brief(
        "soak",
        "clients join, leave, stall and are killed, sessions come and go: no byte is lost",
        |time| {
            wait(soak::whatever_clients_and_sessions_do_no_byte_is_lost(time));
        },
    ),
    long("turns", "clients that take turns at stalling never stall each other", |time| {
        wait(turns::clients_that_take_turns_at_stalling_never_stall_each_other(time));
    }),
    long("memory", "a gibibyte passes a stopped client in bounded memory", |_| {
        wait(memory::a_gibibyte_passes_a_stopped_client_in_bounded_memory());
    }),
    long("joins", "thousands join and leave a flood and none is sent a wrong byte", |_| {
        wait(joins::thousands_join_and_leave_a_flood_and_none_is_sent_a_wrong_byte());
    }),
    long("bytes", "a client that reads one byte at a time gets them all", |_| {
        bytes::a_client_that_reads_one_byte_at_a_time_gets_them_all();
    }),
    long("sessions", "five hundred sessions on a busy machine each have their own output to its end", |_| {
        wait(sessions::five_hundred_sessions_each_have_their_own_output_to_its_end());
    }),
    long("sizes", "resizes during a flood leave every terminal with the true screen", |_| {
        wait(sizes::resizes_during_a_flood_leave_every_terminal_with_the_true_screen());
    }),
];

fn wait(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(scenario);
}
