//! Requests that are said again until they are answered.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::subject::{Class, NodeName};

/// How long an answer is waited for before the request is said again: at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Requests that are waited for at once.
const MAX_REQUESTS: usize = 4096;

/// The requests of a node that are not answered, each with what it is for.
#[derive(Debug)]
pub(crate) struct Requests<T> {
    table: BTreeMap<u64, Request<T>>,
}

#[derive(Debug)]
struct Request<T> {
    to: NodeName,
    class: Class,
    payload: Bytes,
    due: Duration,
    wait: Duration,
    /// When it is given up.
    until: Option<Duration>,
    purpose: T,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { table: BTreeMap::new() }
    }
}

impl<T> Requests<T> {
    /// Asks, as long as it takes or until then. Gives back what it is for if too many are asked already.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        number: u64,
        (to, class, payload): (NodeName, Class, Bytes),
        until: Option<Duration>,
        purpose: T,
    ) -> Result<(), T> {
        if self.table.len() >= MAX_REQUESTS {
            return Err(purpose);
        }
        let request = Request { to, class, payload, due: now, wait: FIRST_WAIT, until, purpose };
        self.table.insert(number, request);
        Ok(())
    }

    /// The next request that is to be said, if there is one.
    pub(crate) fn say(&mut self, now: Duration) -> Option<(u64, NodeName, Class, Bytes)> {
        let (number, request) = self.table.iter_mut().find(|(_, request)| now >= request.due)?;
        request.due = now + request.wait;
        request.wait = (request.wait * 2).min(LAST_WAIT);
        Some((*number, request.to.clone(), request.class, request.payload.clone()))
    }

    /// The request that this node has answered.
    pub(crate) fn answered(&mut self, number: u64, from: &NodeName) -> Option<T> {
        self.table.get(&number).filter(|request| request.to == *from)?;
        self.table.remove(&number).map(|request| request.purpose)
    }

    /// The next request of this class to this node, which can't be said.
    pub(crate) fn denied(&mut self, to: &NodeName, class: Class) -> Option<T> {
        let is_it = |request: &Request<T>| request.to == *to && request.class == class;
        let number = *self.table.iter().find(|(_, request)| is_it(request))?.0;
        self.table.remove(&number).map(|request| request.purpose)
    }

    /// Nobody takes requests to this node. What is given up in time is given up now; the rest is said again later.
    pub(crate) fn nobody_there(&mut self, now: Duration, number: u64) -> Option<T> {
        let request = self.table.get_mut(&number)?;
        if request.until.is_none() {
            request.due = now + LAST_WAIT;
            return None;
        }
        self.table.remove(&number).map(|request| request.purpose)
    }

    /// The next request that is given up.
    pub(crate) fn give_up(&mut self, now: Duration) -> Option<T> {
        let is_late = |request: &Request<T>| request.until.is_some_and(|until| now >= until);
        let number = *self.table.iter().find(|(_, request)| is_late(request))?.0;
        self.table.remove(&number).map(|request| request.purpose)
    }

    /// Says all again at once that go to this node, which came back.
    pub(crate) fn hurry(&mut self, now: Duration, to: &NodeName) {
        for request in self.table.values_mut().filter(|request| request.to == *to) {
            (request.due, request.wait) = (now, FIRST_WAIT);
        }
    }

    /// Forgets those that are for this.
    pub(crate) fn cancel(&mut self, is_it: impl Fn(&T) -> bool) {
        self.table.retain(|_, request| !is_it(&request.purpose));
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        let due = |request: &Request<T>| request.until.map_or(request.due, |until| until.min(request.due));
        self.table.values().map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_said_again_until_its_node_answers() {
        let (a, b): (NodeName, NodeName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut requests = Requests::default();
        let message = (a.clone(), Class::Read, Bytes::new());
        requests.ask(Duration::ZERO, 7, message, None, "x").unwrap();
        let mut said = Vec::new();
        for ms in 0..6000 {
            while requests.say(Duration::from_millis(ms)).is_some() {
                said.push(ms);
            }
        }
        assert_eq!(said, [0, 250, 750, 1750, 3750, 5750]);
        assert_eq!(requests.nobody_there(Duration::from_secs(6), 7), None);
        assert_eq!(requests.answered(7, &b), None, "somebody else");
        assert_eq!(requests.answered(7, &a), Some("x"));
        assert_eq!(requests.answered(7, &a), None, "twice");
    }

    #[test]
    fn a_request_with_an_end_is_given_up_then_or_when_nobody_is_there() {
        let a: NodeName = "a".parse().unwrap();
        let mut requests = Requests::default();
        let until = Some(Duration::from_secs(1));
        for number in [1, 2] {
            let message = (a.clone(), Class::Read, Bytes::new());
            requests.ask(Duration::ZERO, number, message, until, number).unwrap();
        }
        assert_eq!(requests.nobody_there(Duration::ZERO, 1), Some(1));
        assert_eq!(requests.give_up(Duration::from_millis(999)), None);
        assert_eq!(requests.give_up(Duration::from_secs(1)), Some(2));
        assert_eq!(requests.due(), None);
    }

    #[test]
    fn requests_are_bounded() {
        let a: NodeName = "a".parse().unwrap();
        let mut requests = Requests::default();
        let mut ask = |number| {
            requests.ask(Duration::ZERO, number, (a.clone(), Class::Read, Bytes::new()), None, number)
        };
        assert!((0..MAX_REQUESTS as u64).all(|number| ask(number).is_ok()));
        assert_eq!(ask(u64::MAX), Err(u64::MAX));
    }
}
