use std::time::{Duration, Instant};

use crate::ClientId;

#[derive(Debug)]
pub(crate) struct Queries;
impl Queries {
    pub(crate) fn new() -> Self { Self }
    pub(crate) fn printed(&mut self, _output: &[u8], _now: Instant) {}
    pub(crate) fn left(&mut self, _client: ClientId) {}
}
#[derive(Default)]
pub(crate) struct Typed;
impl Typed {
    pub(crate) fn filter(&mut self, _queries: &mut Queries, _client: ClientId, input: &[u8], _now: Instant) -> Vec<u8> { input.to_vec() }
    pub(crate) fn is_holding(&self) -> bool { false }
    pub(crate) fn flush(&mut self) -> Vec<u8> { Vec::new() }
}
pub(crate) const HOLD_TIME: Duration = Duration::from_millis(50);
