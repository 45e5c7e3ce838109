//! Offering messages to a roster's clients, and counting what became of each.
//!
//! Nothing here waits and nothing here holds a lock. A client without room costs one atomic load (is there room?), one
//! more (is it still there?) and one addition on a line of its own; a message is cloned only for a client that has
//! room for it.

use std::{
    iter::Sum,
    ops::{Add, AddAssign},
    ptr,
};

use smallvec::SmallVec;

use super::{member::Member, roster::Roster};
use crate::{
    ClientId,
    sync::{Sender, TrySendError},
};

/// What became of a message, or of a burst, counted in deliveries: one for each message and each client it was for.
///
/// For a broadcast of `m` messages to `n` members, `sent + full + closed == m * n`. Deliveries add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[must_use = "a broadcast never waits: `full` and `closed` say who missed it"]
pub struct Delivery {
    /// Placed in a client's queue.
    pub sent: u64,
    /// Skipped, because the client's queue had no room. The client stays registered.
    pub full: u64,
    /// Skipped, because the client's receiving end was gone. The client has been unregistered, which is told to
    /// [`on_departure`](crate::RegistryBuilder::on_departure).
    pub closed: u64,
}

impl Delivery {
    /// Whether every client got everything. True as well when there was nobody to send to.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.full == 0 && self.closed == 0
    }

    /// All deliveries that were asked for, whatever became of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sent + self.full + self.closed
    }
}

impl AddAssign for Delivery {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.full += other.full;
        self.closed += other.closed;
    }
}

impl Add for Delivery {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Delivery {
    fn sum<I: Iterator<Item = Self>>(deliveries: I) -> Self {
        deliveries.fold(Self::default(), Self::add)
    }
}

/// The clients a broadcast found closed; more than four at once are rare enough for the heap.
pub(super) type Closed<'a, M> = SmallVec<[&'a Member<M>; 4]>;

/// What goes to each client: one message, or as much of a burst as fits.
pub(super) trait Payload<M> {
    /// Offers it to one client. `is_last` says that nobody comes after this one, so that nothing need be kept.
    fn offer_to(&mut self, sender: &Sender<M>, is_last: bool) -> Delivery;
}

/// One message. The last client gets the original, so that a broadcast to one client clones nothing.
pub(super) struct One<M>(Option<M>);

impl<M> One<M> {
    pub(super) fn new(message: M) -> Self {
        Self(Some(message))
    }
}

pub(super) struct Burst<'a, M>(pub(super) &'a [M]);

impl<M: Clone> Payload<M> for One<M> {
    #[inline]
    fn offer_to(&mut self, sender: &Sender<M>, is_last: bool) -> Delivery {
        if sender.capacity() == 0 {
            return refused(sender, 1);
        }
        let message = if is_last { self.0.take() } else { self.0.clone() };
        // There is one until the last has come.
        let Some(message) = message else { return Delivery::default() };
        match sender.try_send(message) {
            Ok(()) => Delivery { sent: 1, ..Delivery::default() },
            Err(TrySendError::Full(_)) => Delivery { full: 1, ..Delivery::default() },
            Err(TrySendError::Closed(_)) => Delivery { closed: 1, ..Delivery::default() },
        }
    }
}

impl<M: Clone> Payload<M> for Burst<'_, M> {
    /// Gives the longest prefix that fits, with one reservation.
    #[inline]
    fn offer_to(&mut self, sender: &Sender<M>, _: bool) -> Delivery {
        let messages = self.0.len() as u64;
        loop {
            let room = sender.capacity().min(self.0.len());
            if room == 0 {
                return refused(sender, messages);
            }
            match sender.try_reserve_many(room) {
                Ok(permits) => {
                    for (permit, message) in permits.zip(self.0) {
                        permit.send(message.clone());
                    }
                    let sent = room as u64;
                    return Delivery { sent, full: messages - sent, closed: 0 };
                }
                // Somebody else took of the room in between: they made progress, and there is less to reserve now.
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Closed(())) => {
                    return Delivery { closed: messages, ..Delivery::default() };
                }
            }
        }
    }
}

/// A queue without room: a full one whose receiver is gone would else look full forever.
fn refused<M>(sender: &Sender<M>, messages: u64) -> Delivery {
    if sender.is_closed() {
        Delivery { closed: messages, ..Delivery::default() }
    } else {
        Delivery { full: messages, ..Delivery::default() }
    }
}

/// Offers `payload` to one client and counts what it was skipped.
#[inline]
pub(super) fn offer<M>(member: &Member<M>, payload: &mut impl Payload<M>, is_last: bool) -> Delivery {
    let delivery = payload.offer_to(&member.sender, is_last);
    if delivery.full != 0 {
        member.shared.add_skipped(delivery.full);
    }
    delivery
}

impl<M> Roster<M> {
    /// Offers `payload` to every member but `except`, tells `observe` about each, and names those found closed.
    #[inline]
    pub(super) fn deliver(
        &self,
        mut payload: impl Payload<M>,
        except: Option<ClientId>,
        mut observe: impl FnMut(ClientId, Delivery),
    ) -> (Delivery, Closed<'_, M>) {
        let mut total = Delivery::default();
        let mut closed = Closed::new();
        let last = self.last();
        // Two loops: one over both levels at once is not compiled as well.
        for chunk in self.chunks() {
            for member in chunk {
                if except == Some(member.id) {
                    continue;
                }
                let is_last = last.is_some_and(|last| ptr::eq(last, member));
                let delivery = offer(member, &mut payload, is_last);
                if delivery.closed != 0 {
                    closed.push(member);
                }
                total += delivery;
                observe(member.id, delivery);
            }
        }
        (total, closed)
    }
}
