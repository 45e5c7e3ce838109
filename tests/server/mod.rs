//! The server from its clients' side: real sockets, real programs on real PTYs.

mod broadcast;
mod connections;
mod embedding;
mod endings;
mod input;
mod requests;
mod shutdown;
mod slow;
mod wire;
