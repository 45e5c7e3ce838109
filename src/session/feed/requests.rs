//! What a feed's session asks of whoever prints to it: what was typed, a size, an end.
//!
//! What was typed stays here until it is answered. So a provider whose connection is lost is told of it again on the
//! next one, and by its place in a stream of input it is typed once.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    message::{InputPosition, ProviderNews, RequestError},
    session::size::Window,
    sync::{Mutex, Rank},
};

/// What becomes of a request; an error says that the session has ended.
pub(crate) type Answered = oneshot::Receiver<Result<(), RequestError>>;

#[derive(Debug)]
pub(in crate::session) struct FeedRequests(Mutex<RequestState>);

#[derive(Debug, Default)]
struct RequestState {
    /// The connection that is told, by its number; 0 for an embedder.
    stay: u64,
    last: u64,
    /// What is not answered, the oldest first: one for each lane that types, and a kill.
    asked: VecDeque<Asked>,
    /// The size that is wanted, and whether that is to be told.
    size: Option<Window>,
    is_size_new: bool,
    /// Clients that want every byte, and whether it was told that there are any.
    lossless: usize,
    is_lossless: bool,
    is_over: bool,
    /// Of whoever tells the provider.
    teller: Option<Waker>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    what: What,
    /// The provider was told of it, on the present connection.
    is_told: bool,
    /// It may have been, on an earlier one.
    was_told: bool,
    answer: oneshot::Sender<Result<(), RequestError>>,
}

#[derive(Debug)]
enum What {
    Typed { position: InputPosition, from_terminal: bool, data: Bytes },
    Kill,
}

impl FeedRequests {
    pub(in crate::session) fn new() -> Self {
        Self(Mutex::new(Rank::Leaf, RequestState::default()))
    }

    /// Has something typed.
    pub(in crate::session) fn type_in(
        &self,
        position: InputPosition,
        from_terminal: bool,
        data: Bytes,
    ) -> Answered {
        self.ask(What::Typed { position, from_terminal, data })
    }

    /// Has the program ended.
    pub(in crate::session) fn kill(&self) -> Answered {
        self.ask(What::Kill)
    }

    fn ask(&self, what: What) -> Answered {
        let (answer, answered) = oneshot::channel();
        let (refused, teller) = self.0.with(|state| {
            if state.is_over {
                return (Some(answer), None);
            }
            state.last += 1;
            let number = state.last;
            state.asked.push_back(Asked { number, what, is_told: false, was_told: false, answer });
            (None, state.teller.take())
        });
        drop(refused);
        teller.into_iter().for_each(Waker::wake);
        answered
    }

    /// Asks for a size, or says that none is wanted, in the place of what was not told yet.
    ///
    /// Returns whom to wake, outside all locks.
    #[must_use = "it is to be woken"]
    pub(in crate::session) fn resize(&self, window: Option<Window>) -> Option<Waker> {
        self.0.with(|state| {
            (state.size, state.is_size_new) = (window, !state.is_over);
            state.teller.take()
        })
    }

    /// A client that wants every byte begins to watch, or ends.
    ///
    /// Returns whom to wake, outside all locks.
    #[must_use = "it is to be woken"]
    pub(in crate::session) fn reads_all(&self, begins: bool) -> Option<Waker> {
        self.0.with(|state| {
            state.lossless = if begins { state.lossless + 1 } else { state.lossless - 1 };
            state.teller.take()
        })
    }

    /// The provider answers a request. Returns whether there was one that it was told of.
    pub(in crate::session) fn answer(&self, number: u64, answer: Result<(), RequestError>) -> bool {
        let asked = self.0.with(|state| {
            let at = state.asked.iter().position(|asked| asked.number == number && asked.is_told)?;
            state.asked.remove(at)
        });
        let Some(asked) = asked else { return false };
        // An error says that nobody waits for it any more.
        let _ = asked.answer.send(answer);
        true
    }

    /// The connection of this number is told everything from now on, and again what was not answered.
    pub(in crate::session) fn begin(&self, stay: u64) {
        self.0.with(|state| {
            state.stay = state.stay.max(stay);
            state.is_size_new = state.size.is_some();
            state.is_lossless = false;
            let last = state.last;
            for (number, asked) in (last + 1..).zip(&mut state.asked) {
                // Another number, so that a late answer to the last connection's is none.
                asked.number = number;
                asked.was_told |= asked.is_told;
                asked.is_told = false;
            }
            state.last += state.asked.len() as u64;
        });
    }

    /// The provider is lost: what it was not told of is refused.
    pub(in crate::session) fn refuse_untold(&self, why: impl Fn() -> RequestError) {
        let untold = self.0.with(|state| {
            let (untold, told) = std::mem::take(&mut state.asked)
                .into_iter()
                .partition::<VecDeque<_>, _>(|asked| !asked.is_told && !asked.was_told);
            state.asked = told;
            untold
        });
        for asked in untold {
            let _ = asked.answer.send(Err(why()));
        }
    }

    /// The session is over: nothing is answered any more.
    pub(in crate::session) fn end(&self) {
        let dropped = self.0.with(|state| {
            state.is_over = true;
            state.is_size_new = false;
            std::mem::take(&mut state.asked)
        });
        drop(dropped);
    }

    /// The next thing to tell the provider. For a connection that has no stay any more, that never comes.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(in crate::session) async fn next(&self, stay: u64) -> ProviderNews {
        poll_fn(|context| {
            let (next, unwanted) = self.0.with(|state| {
                if state.stay != stay {
                    return (None, VecDeque::new());
                }
                let unwanted = state.take_unwanted();
                let next = state.next();
                if next.is_none() {
                    state.teller = Some(context.waker().clone());
                }
                (next, unwanted)
            });
            drop(unwanted);
            next.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl RequestState {
    /// What nobody waits for, and the provider was never told: whoever typed it is gone.
    fn take_unwanted(&mut self) -> VecDeque<Asked> {
        let is_unwanted = |asked: &Asked| asked.answer.is_closed() && !asked.is_told && !asked.was_told;
        if !self.asked.iter().any(is_unwanted) {
            return VecDeque::new();
        }
        let (unwanted, wanted) = std::mem::take(&mut self.asked).into_iter().partition(is_unwanted);
        self.asked = wanted;
        unwanted
    }

    fn next(&mut self) -> Option<ProviderNews> {
        if std::mem::take(&mut self.is_size_new) {
            let (size, pixels) =
                (self.size.map(|window| window.size), self.size.and_then(|window| window.pixels));
            return Some(ProviderNews::Resize { size, pixels });
        }
        let is_wanted = self.lossless > 0;
        if !self.is_over && std::mem::replace(&mut self.is_lossless, is_wanted) != is_wanted {
            return Some(ProviderNews::Lossless { is_wanted });
        }
        let asked = self.asked.iter_mut().find(|asked| !asked.is_told)?;
        asked.is_told = true;
        let number = asked.number;
        Some(match &asked.what {
            What::Kill => ProviderNews::Kill { number },
            What::Typed { position: InputPosition { stream, offset }, from_terminal, data } => {
                ProviderNews::Typed {
                    number,
                    stream: *stream,
                    offset: *offset,
                    from_terminal: *from_terminal,
                    data: data.clone(),
                }
            }
        })
    }
}
