//! Nodes on a bus with faults: what the viewers, the typists and the programs of all of them see.
//!
//! `FUGUE_PLANS` says how many plans are run, and `SEED` with which one they begin.

mod changes;
mod crowd;
mod model;
mod plans;
mod simulation;
