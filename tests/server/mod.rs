//! The server from its clients' side: real sockets, real programs on real PTYs.

mod answers;
mod asleep;
mod attaching;
mod broadcast;
mod client;
mod connections;
mod embedding;
mod endings;
mod faults;
mod feeds;
mod hostile;
mod input;
mod interrupt;
mod limits;
mod new_terminals;
mod pace;
mod programs;
mod refusals;
mod requests;
mod resync;
mod screens;
mod security;
mod shutdown;
mod slow;
mod terminals;
mod wire;
