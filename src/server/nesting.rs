//! Which sessions are shown in the terminals of others, so that none is ever shown in itself.
//!
//! A client of session X that runs in the terminal of session Y makes Y print what X prints. Where Y, on whatever way,
//! is shown in X too, the two would print for each other forever, with nobody typing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    SessionId,
    sync::{Mutex, Rank},
};

/// Which sessions are shown where. A leaf lock, taken only for clients that run in a session's terminal.
#[derive(Clone, Debug)]
pub(super) struct Nesting(Arc<Mutex<NestingTable>>);

#[derive(Debug, Default)]
struct NestingTable {
    clients: HashMap<u64, Shown>,
    last: u64,
}

/// What one client shows, and in which sessions' terminals.
#[derive(Debug)]
struct Shown {
    session: SessionId,
    within: Vec<SessionId>,
}

/// A client's entry; it leaves when this drops.
#[derive(Debug)]
pub(super) struct Nested {
    nesting: Nesting,
    entry: u64,
}

impl Nesting {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Rank::Leaf, NestingTable::default())))
    }

    /// Enters a client that is going to show `session` in the terminals of `within`, in place of what it shows now.
    ///
    /// # Errors
    /// It would close a circle: the way from the client's terminal, each session shown in the next one's, to `session`.
    pub(super) fn enter(
        &self,
        session: SessionId,
        within: Vec<SessionId>,
        now: Option<&Nested>,
    ) -> Result<Nested, Vec<SessionId>> {
        let entry = self.0.with(|table| {
            if let Some(way) = table.way(&within, session, now.map(|now| now.entry)) {
                return Err(way);
            }
            table.last += 1;
            table.clients.insert(table.last, Shown { session, within });
            Ok(table.last)
        })?;
        Ok(Nested { nesting: self.clone(), entry })
    }
}

impl Nesting {
    /// The way from one of `within` to `session`, each shown in the next one's terminal, if there is one: a client that
    /// runs in the terminals of `within` can't show `session`.
    pub(super) fn way(&self, within: &[SessionId], session: SessionId) -> Option<Vec<SessionId>> {
        self.0.with(|table| table.way(within, session, None))
    }
}

impl NestingTable {
    /// The shortest way from one of `from` to `to`, both of them included. One client does not count.
    fn way(&self, from: &[SessionId], to: SessionId, except: Option<u64>) -> Option<Vec<SessionId>> {
        // Each session that was reached, and the one before it on the way.
        let mut reached: HashMap<SessionId, Option<SessionId>> = from.iter().map(|id| (*id, None)).collect();
        let mut next: VecDeque<_> = from.iter().copied().collect();
        while let Some(at) = next.pop_front() {
            if at == to {
                let mut way: Vec<_> = std::iter::successors(Some(at), |id| reached[id]).collect();
                way.reverse();
                return Some(way);
            }
            let shown =
                self.clients.iter().filter(|(entry, shown)| Some(**entry) != except && shown.session == at);
            for within in shown.flat_map(|(_, shown)| &shown.within) {
                if !reached.contains_key(within) {
                    reached.insert(*within, Some(at));
                    next.push_back(*within);
                }
            }
        }
        None
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let removed = self.nesting.0.with(|table| table.clients.remove(&self.entry));
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_any_length_is_refused_until_a_client_leaves() {
        let nesting = Nesting::new();
        let [a, b, c, d] = std::array::from_fn(|_| SessionId::random());
        assert_eq!(nesting.enter(a, vec![a], None).unwrap_err(), [a]);
        assert_eq!(nesting.enter(a, vec![b, a], None).unwrap_err(), [a]);
        let _b_in_a = nesting.enter(b, vec![a], None).unwrap();
        assert_eq!(nesting.enter(a, vec![b], None).unwrap_err(), [b, a]);
        let c_in_b = nesting.enter(c, vec![b], None).unwrap();
        let _d_in_c = nesting.enter(d, vec![c], None).unwrap();
        assert_eq!(nesting.enter(a, vec![d], None).unwrap_err(), [d, c, b, a]);
        // More of the same make no circle, nor do two ways to one place.
        let _again = nesting.enter(b, vec![a], None).unwrap();
        let _other_way = nesting.enter(d, vec![a, b], None).unwrap();
        assert_eq!(nesting.enter(b, vec![d], None).unwrap_err(), [d, b]);
        drop(c_in_b);
        assert_eq!(nesting.enter(a, vec![c], None).unwrap().nesting.0.with(|table| table.clients.len()), 5);
    }

    #[test]
    fn what_a_client_is_about_to_leave_is_not_part_of_a_circle() {
        let nesting = Nesting::new();
        let [a, b] = std::array::from_fn(|_| SessionId::random());
        let first = nesting.enter(b, vec![a], None).unwrap();
        assert!(nesting.enter(a, vec![b], None).is_err());
        let second = nesting.enter(a, vec![b], Some(&first)).unwrap();
        drop(first);
        assert!(nesting.enter(b, vec![a], None).is_err());
        drop(second);
        assert!(nesting.enter(b, vec![a], None).is_ok());
    }
}
