//! Machines on this one: each a server and a node of the binary's, with a socket of their own, and a nats-server
//! between them. And those who watch there, in a process of their own, which checks every byte.

mod bare;
mod machine;
mod watchers;

pub(crate) use self::{
    bare::{Echo, Publisher},
    machine::{Broker, Machine},
    watchers::{WatchPlan, Watched, run},
};
