//! The order in which locks are taken, and what must not happen under any: checked in debug builds, free in others.
//!
//! A thread that takes locks in one order only can't deadlock with another that does. Since critical sections are
//! closures, they nest, so the last rank taken is all there is to know of a thread.

/// A lock's place in the order: under a client's shard the shards of sessions, in ascending index; a leaf under any of
/// these, and nothing under a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// A shard of the client map. One at a time, and the first.
    Clients,
    /// A shard of the session map, by its index.
    Sessions(usize),
    /// Who decides a session's size. Apart from the registry; leaves may be taken under it.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the registry alone has no use for it"))]
    Size,
    /// What a session is called. Apart from the registry; the manager's book is taken under it.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the registry alone has no use for it"))]
    Name,
    /// Which streams of input there are. Apart from the registry; each stream is looked at under it.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the registry alone has no use for it"))]
    InputStreams,
    /// A lock under which no other is taken: a session's log, its queries, where it is used from, the
    /// manager's book, the lists of clients and of nested ones, the departures that are still to be told of.
    Leaf,
}

#[cfg(all(debug_assertions, not(fugue_model)))]
mod check {
    use std::cell::Cell;

    use super::Rank;

    thread_local! {
        /// The rank of the lock that this thread took last of those it holds.
        static LAST: Cell<Option<Rank>> = const { Cell::new(None) };
    }

    #[derive(Debug)]
    pub(in crate::sync) struct Order(Rank);

    /// Until this drops, the lock counts as held.
    pub(in crate::sync) struct Held {
        before: Option<Rank>,
    }

    impl Order {
        pub(in crate::sync) fn new(rank: Rank) -> Self {
            Self(rank)
        }

        #[track_caller]
        pub(in crate::sync) fn take(&self) -> Held {
            let before = LAST.get();
            if let Some(held) = before {
                assert!(
                    self.0.may_be_taken_under(held),
                    "lock order: {:?} taken while {held:?} is held by the same thread",
                    self.0
                );
            }
            LAST.set(Some(self.0));
            Held { before }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            LAST.set(self.before);
        }
    }

    /// Panics when this thread holds a lock.
    #[track_caller]
    pub(crate) fn assert_no_lock_is_held(what: &str) {
        let held = LAST.get();
        assert!(held.is_none() || std::thread::panicking(), "{what} while {held:?} is held");
    }

    impl Rank {
        fn may_be_taken_under(self, held: Self) -> bool {
            match (held, self) {
                (Self::Clients, Self::Sessions(_)) => true,
                (Self::Sessions(held), Self::Sessions(next)) => held < next,
                (
                    Self::Clients | Self::Sessions(_) | Self::Size | Self::Name | Self::InputStreams,
                    Self::Leaf,
                ) => true,
                _ => false,
            }
        }
    }
}

/// Nothing: other builds trust what debug builds have checked. (A model's threads share one of the system's, and would
/// share its thread-local; a wrong order is a deadlock there, which the checker finds by itself.)
#[cfg(not(all(debug_assertions, not(fugue_model))))]
mod check {
    use super::Rank;

    #[derive(Debug)]
    pub(in crate::sync) struct Order;

    pub(in crate::sync) struct Held;

    impl Order {
        pub(in crate::sync) fn new(_: Rank) -> Self {
            Self
        }

        #[inline]
        pub(in crate::sync) fn take(&self) -> Held {
            Held
        }
    }

    #[inline]
    pub(crate) fn assert_no_lock_is_held(_: &str) {}
}

pub(super) use check::Order;
pub(crate) use check::assert_no_lock_is_held;

#[cfg(test)]
#[cfg(all(debug_assertions, not(fugue_model)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::sync::Mutex;

    /// What taking a lock of rank `next` under one of rank `held` panics with.
    fn nested(held: Rank, next: Rank) -> Result<(), String> {
        let (outer, inner) = (Mutex::new(held, ()), Mutex::new(next, ()));
        catch_unwind(AssertUnwindSafe(|| outer.with(|()| inner.with(|()| {}))))
            .map_err(|panic| *panic.downcast::<String>().expect("a panic with a message"))
    }

    #[test]
    fn every_pair_of_locks_is_taken_in_one_order_only() {
        use Rank::{Clients, InputStreams, Leaf, Sessions, Size};

        let right = [
            (Clients, Sessions(0)),
            (Clients, Leaf),
            (Sessions(0), Sessions(1)),
            (Sessions(3), Sessions(64)),
            (Sessions(0), Leaf),
            (Size, Leaf),
            (InputStreams, Leaf),
        ];
        let all = [Clients, Sessions(0), Sessions(1), Sessions(3), Sessions(64), Size, InputStreams, Leaf];
        for (held, next) in right {
            assert_eq!(nested(held, next), Ok(()), "{next:?} under {held:?}");
        }
        for held in all {
            for next in all {
                let ascending = matches!((held, next), (Sessions(held), Sessions(next)) if held < next);
                let is_right = ascending
                    || matches!((held, next), (Clients, Sessions(_)))
                    || right.contains(&(held, next))
                    || matches!((held, next), (Sessions(_), Leaf));
                match nested(held, next) {
                    Ok(()) => assert!(is_right, "{next:?} under {held:?} was let pass"),
                    Err(panic) => {
                        assert!(!is_right, "{panic}");
                        assert!(panic.starts_with("lock order: "), "{panic}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_lock_is_no_longer_held_once_its_section_has_panicked() {
        let (leaf, clients) = (Mutex::new(Rank::Leaf, 0), Mutex::new(Rank::Clients, ()));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            leaf.with(|count| {
                *count += 1;
                panic!("in the section")
            })
        }));
        assert!(panicked.is_err());
        clients.with(|()| leaf.with(|count| assert_eq!(*count, 1)));
    }

    #[test]
    fn what_must_not_happen_under_a_lock_panics_there_and_nowhere_else() {
        let leaf = Mutex::new(Rank::Leaf, ());
        let freed = || catch_unwind(|| assert_no_lock_is_held("freed"));
        assert!(freed().is_ok());
        let panic = leaf.with(|()| freed()).unwrap_err();
        assert_eq!(*panic.downcast::<String>().unwrap(), "freed while Some(Leaf) is held");
        assert!(freed().is_ok());
    }

    #[test]
    fn another_threads_locks_are_its_own() {
        let (leaf, clients) = (Mutex::new(Rank::Leaf, ()), Mutex::new(Rank::Clients, ()));
        leaf.with(|()| {
            std::thread::scope(|scope| {
                scope.spawn(|| clients.with(|()| {}));
            });
        });
    }
}
