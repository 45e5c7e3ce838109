//! A session as its provider has it: what may be said of it, by whom, and what becomes of it without one.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tracing::info;

use super::{
    Mark, PrintQueue,
    queue::NotQueued,
    requests::{Answered, FeedRequests},
};
use crate::{
    ClientId, ServerMessage,
    message::{
        ExitStatus, InputPosition, MAX_NOTICE, Provide, Provided, ProviderId, ProviderNews,
        ProviderStatement, RequestError, Takes, WhenLost,
    },
    session::{Claim, Session, pace},
    sync::{self, Mutex, Rank},
    terminal::ReplyFilter,
};

/// How long a session stays without its provider: longer than a connection takes to be made again, or a server to
/// restart.
pub(crate) const LOST_TIME: Duration = Duration::from_secs(30);

/// How long a provider that was told of a kill has to end its session.
const KILL_TIME: Duration = Duration::from_secs(10);

/// No offset is beyond this, so that sums of offsets don't overflow.
pub(in crate::session) const MAX_OFFSET: u64 = 1 << 62;

/// How far a provider may be ahead of its session's pump, in bytes: enough for a connection on the same machine, and as
/// much again as the pump may be ahead of readers where a history is small.
const CREDIT: u64 = 256 * 1024;

/// What whoever prints to a session has of it, and the session of them.
#[derive(Debug)]
pub(in crate::session) struct FeedSide {
    pub(in crate::session) prints: sync::Arc<PrintQueue>,
    pub(in crate::session) requests: FeedRequests,
    takes: Takes,
    when_lost: WhenLost,
    /// As it was provided first.
    provide: Provide,
    /// A leaf lock.
    place: Mutex<ProviderPlace>,
}

/// Who provides it.
#[derive(Debug)]
struct ProviderPlace {
    /// `None` of an embedder, who is never lost.
    provider: Option<ProviderId>,
    /// Counts connections that provided it. Only the last one may say anything.
    stay: u64,
    /// Since when there is no connection.
    lost: Option<Instant>,
    /// Since when the program is out of the provider's reach, as that says.
    silent: Option<Instant>,
}

/// A statement is against the rules, in these words.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl FeedSide {
    /// Of a session that is provided so, in a log of this bound, by an embedder or by a connection.
    pub(in crate::session) fn new(provide: &Provide, history_bytes: usize, is_embedded: bool) -> Self {
        let window = CREDIT.min(pace::window(history_bytes));
        let provider = (!is_embedded).then_some(provide.provider);
        Self {
            prints: sync::Arc::new(PrintQueue::begin_at(provide.start, provide.size, window)),
            requests: FeedRequests::new(),
            takes: provide.takes,
            when_lost: provide.when_lost,
            provide: provide.clone(),
            place: Mutex::new(Rank::Leaf, ProviderPlace { provider, stay: 0, lost: None, silent: None }),
        }
    }

    pub(in crate::session) fn takes_requests(&self) -> bool {
        self.takes == Takes::Requests
    }

    /// Whether a connection provides it, and since when that is lost.
    pub(in crate::session) fn lost(&self) -> Option<Option<Duration>> {
        self.place.with(|place| place.provider.map(|_| place.lost.map(|since| since.elapsed())))
    }

    /// How long its program is out of its provider's reach.
    pub(in crate::session) fn silent(&self) -> Option<Duration> {
        self.place.with(|place| place.silent.map(|since| since.elapsed()))
    }

    /// Its provider says so, or that it is not.
    fn is_silent_for(&self, seconds: Option<u64>) {
        let now = Instant::now();
        // Of longer than the system runs, that it is so.
        let since = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now);
        self.place.with(|place| place.silent = seconds.map(since));
    }

    /// How long its provider is lost, where nothing may be typed meanwhile.
    pub(in crate::session) fn refuses_for(&self) -> Option<u64> {
        let lost = self.lost().flatten().filter(|_| self.when_lost == WhenLost::Refused);
        lost.map(|lost| lost.as_secs())
    }

    /// A connection takes its place. Returns its stay, unless there is another provider.
    fn enter(&self, by: ProviderId) -> Result<u64, &'static str> {
        self.place.with(|place| {
            let Some(provider) = place.provider else { return Err("the server's own program prints to it") };
            if place.lost.is_none() && place.stay > 0 && provider != by {
                return Err("another connection provides it");
            }
            place.provider = Some(by);
            (place.lost, place.silent) = (None, None);
            place.stay += 1;
            Ok(place.stay)
        })
    }

    /// Nobody provides it from now on, if this stay was the last.
    fn leave(&self, stay: u64) -> bool {
        self.place.with(|place| {
            let is_last = place.stay == stay;
            if is_last {
                (place.lost, place.silent) = (Some(Instant::now()), None);
            }
            is_last
        })
    }

    /// Nobody provides it yet: it is known from an earlier server.
    pub(in crate::session) fn begins_lost(self: &Arc<Self>, session: &Arc<Session>, lost_time: Duration) {
        self.place.with(|place| place.lost = Some(Instant::now()));
        session.has_lost_provider(self, 0, lost_time);
    }

    /// Whether nobody has come since this stay ended.
    fn is_lost_since(&self, stay: u64) -> bool {
        self.place.with(|place| place.stay == stay && place.lost.is_some())
    }
}

/// A session that a connection provides, until this is dropped. Then it is kept for a while without a provider.
#[derive(Debug)]
pub(crate) struct ProvidedSession {
    /// Nothing is held of one that is over.
    session: Weak<Session>,
    side: Arc<FeedSide>,
    stay: u64,
    lost_time: Duration,
}

impl ProvidedSession {
    /// Begins to provide `session` on this connection.
    ///
    /// # Errors
    /// [`RequestError::NotProvided`]: it has a program, or another provider.
    pub(in crate::session) fn begin(
        session: &Arc<Session>,
        provide: &Provide,
        lost_time: Duration,
    ) -> Result<(Self, Provided, ProvidedNews), RequestError> {
        let not_provided =
            |why: &str| RequestError::NotProvided { name: session.name(), why: why.to_owned() };
        let side =
            session.feed.clone().ok_or_else(|| not_provided("a program of the server's runs in it"))?;
        let stay = side.enter(provide.provider).map_err(not_provided)?;
        side.requests.begin(stay);
        let begun = side.prints.begin_credit(stay, provide.start, provide.size);
        let Some((head, credit, granted)) = begun else {
            side.leave(stay);
            return Err(not_provided("those who watch it take nothing"));
        };
        let provided = Provided::new(session.id(), session.name(), head, credit);
        let news = ProvidedNews {
            session: Arc::clone(session),
            side: Arc::clone(&side),
            stay,
            granted_before: granted - credit,
            granted,
        };
        Ok((Self { session: Arc::downgrade(session), side, stay, lost_time }, provided, news))
    }

    /// Whether nothing is to be said of it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.session.upgrade().is_none_or(|session| session.is_over())
    }

    /// Takes in what its provider says; `drawing` is what was drawn for a skip.
    ///
    /// # Errors
    /// [`Broken`]: this is against the rules.
    pub(crate) fn take(&self, statement: ProviderStatement, drawing: Bytes) -> Result<(), Broken> {
        let (prints, stay) = (&self.side.prints, self.stay);
        let queued = match statement {
            ProviderStatement::Print { offset, data } if !data.is_empty() => {
                prints.print_at(stay, offset, data)
            }
            ProviderStatement::Print { .. } => return Err(Broken("an empty print".to_owned())),
            ProviderStatement::Skip { to } if to <= MAX_OFFSET => {
                prints.mark_here(stay, Mark::Skip { to, screen: drawing })
            }
            ProviderStatement::Skip { to } => {
                return Err(Broken(format!("a skip to offset {to}, which is none")));
            }
            ProviderStatement::Resized { size } => prints.mark_here(stay, Mark::Resized(size)),
            ProviderStatement::EndWith { status } => {
                prints.end_at(stay, status);
                Ok(())
            }
            ProviderStatement::Notice { text } if text.len() > MAX_NOTICE => {
                return Err(Broken(format!("a notice of {} bytes, of at most {MAX_NOTICE}", text.len())));
            }
            ProviderStatement::Notice { text } => {
                if let Some(session) = self.session.upgrade() {
                    session.notify(text.chars().filter(|char| !char.is_control()).collect());
                }
                Ok(())
            }
            ProviderStatement::Silent { seconds } => {
                self.side.is_silent_for(seconds);
                Ok(())
            }
            ProviderStatement::Answer { number, answer } => {
                // One that nobody waits for any more may be answered all the same.
                self.side.requests.answer(number, answer);
                Ok(())
            }
            ProviderStatement::Drawing { .. } => Ok(()),
        };
        match queued {
            // It ended here, or has another connection, which this one does not know yet.
            Ok(()) | Err(NotQueued::Closed) => Ok(()),
            Err(NotQueued::Broken(why)) => Err(Broken(why)),
        }
    }
}

impl Drop for ProvidedSession {
    fn drop(&mut self) {
        if let Some(session) = self.session.upgrade().filter(|session| !session.is_over())
            && self.side.leave(self.stay)
        {
            session.has_lost_provider(&self.side, self.stay, self.lost_time);
        }
    }
}

/// What a provider is told.
#[derive(Debug)]
pub(crate) struct ProvidedNews {
    session: Arc<Session>,
    side: Arc<FeedSide>,
    stay: u64,
    /// What was granted to earlier stays, and to all.
    granted_before: u64,
    granted: u64,
}

impl ProvidedNews {
    /// The next thing that the provider is to be told.
    ///
    /// # Cancel safety
    /// Not cancel safe: what was returned by then counts as told.
    pub(crate) async fn next(&mut self) -> ProviderNews {
        tokio::select! {
            biased;
            status = self.session.gone() => ProviderNews::Ended { status },
            news = self.side.requests.next(self.stay) => news,
            granted = self.side.prints.granted(self.stay, self.granted) => {
                self.granted = granted;
                ProviderNews::Credit { granted: granted - self.granted_before }
            }
        }
    }
}

impl Session {
    /// Its provider is lost: what waits to be typed may be refused, and without another one it ends.
    pub(in crate::session) fn has_lost_provider(
        self: &Arc<Self>,
        side: &Arc<FeedSide>,
        stay: u64,
        lost_time: Duration,
    ) {
        info!(session = %self.id, name = %self.name(), "its provider is lost");
        if let Some(seconds) = side.refuses_for() {
            side.requests.refuse_untold(|| RequestError::ProviderLost { name: self.name(), seconds });
        }
        let (session, side) = (Arc::clone(self), Arc::clone(side));
        // Not among the sessions' tasks: a shutdown does not wait for it.
        tokio::spawn(async move {
            let ended = tokio::time::timeout(lost_time, session.gone.cancelled()).await;
            if ended.is_ok() || !side.is_lost_since(stay) {
                return;
            }
            let text = format!("what provides this session is lost for {} s: it ends", lost_time.as_secs());
            session.notify(text);
            info!(session = %session.id, name = %session.name(), "its provider did not come back");
            side.prints.end(ExitStatus::Unknown);
        });
    }

    /// Tells those who watch a line, beside the output.
    fn notify(&self, text: String) {
        // Who is behind may not hear of it.
        let _ = self.registry.broadcast_to_session(self.id, Arc::new(ServerMessage::Notice { text }));
    }

    /// Whether a client provides it.
    pub(in crate::session) fn is_provided(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.lost().is_some())
    }

    /// How a client would provide it as it is now; `None` if none does.
    pub(in crate::session) fn provided_as(&self) -> Option<Provide> {
        let feed = self.feed.as_ref().filter(|_| self.is_provided())?;
        let (size, size_policy) = (self.size(), self.sizing.with(|sizing| sizing.policy()));
        Some(Provide { name: self.name(), start: self.head(), size, size_policy, ..feed.provide.clone() })
    }

    /// Whether whatever is typed into it goes to its provider.
    pub(crate) fn is_typed_elsewhere(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.takes_requests())
    }

    /// Refuses what would be typed while nobody could take it.
    pub(crate) fn may_be_typed_into(&self) -> Result<(), RequestError> {
        match self.feed.as_ref().and_then(|feed| feed.refuses_for()) {
            Some(seconds) => Err(RequestError::ProviderLost { name: self.name(), seconds }),
            None => Ok(()),
        }
    }

    /// What lies before offset `to` is missing; `drawing`, if it is not empty, is what the screen shows there. For the
    /// session's pump.
    ///
    /// # Cancel safety
    /// Cancel safe: it is done, or nothing is.
    pub(in crate::session) async fn skip_to(&self, to: u64, drawing: &Bytes) {
        let is_gap = to > self.head();
        self.screen.skip(&self.history, to, drawing).await;
        // Those in the gap find it in the log.
        if !is_gap && !drawing.is_empty() {
            // Relaxed: whoever misses it is told of later output.
            self.drawn.fetch_add(1, Ordering::Relaxed);
        }
        self.ring_all();
    }

    /// How often its screen was given anew, for those who show it.
    pub(in crate::session) fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// Has its provider type `input`, which is at this place in a stream. `terminal` is the one that it comes from, if
    /// there is one: what that answers to the program's questions, the provider's side drops.
    pub(crate) fn type_elsewhere(
        &self,
        terminal: Option<(ClientId, Option<Claim>)>,
        typed: &mut ReplyFilter,
        (position, input): (InputPosition, Bytes),
    ) -> Option<Answered> {
        let feed = self.feed.as_ref().filter(|feed| feed.takes_requests())?;
        if let Some((client, claim)) = terminal
            // Only to see whether a person did anything.
            && self.answers.filter(typed, client, &input).is_use
        {
            self.is_used(claim);
        }
        Some(feed.requests.type_in(position, terminal.is_some(), input))
    }

    /// Begins to end it. Its provider is asked, if that takes requests: [`seen_out`](Self::seen_out) waits for it.
    pub(crate) fn ask_to_end(&self) -> Option<Answered> {
        let taking = self.feed.as_ref().filter(|feed| feed.takes_requests());
        let there = taking.filter(|feed| !matches!(feed.lost(), Some(Some(_))));
        if there.is_none() {
            self.hang_up();
        }
        there.map(|feed| feed.requests.kill())
    }

    /// Waits until one that was [asked to end](Self::ask_to_end) has ended. A provider that was asked may refuse; if it
    /// does not end its session in time, that ends here.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it to the provider.
    pub(crate) async fn seen_out(
        self: Arc<Self>,
        asked: Option<Answered>,
    ) -> Result<ExitStatus, RequestError> {
        let Some(asked) = asked else { return self.killed().await };
        let by_provider = async {
            // An error says that the session has ended.
            asked.await.unwrap_or(Ok(()))?;
            self.gone.cancelled().await;
            Ok(())
        };
        match tokio::time::timeout(KILL_TIME, by_provider).await {
            Ok(ended) => ended?,
            Err(_) => self.hang_up(),
        }
        self.killed().await
    }
}
