//! A page that watches a session: where it begins, what it is sent, and whose size the session has.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::{
    super::{
        flow::MAX_PIECE,
        protocol::{PageError, Piece, ToPage, binary},
    },
    Asked, ENDED, Farewell, Viewer,
};
use crate::{
    SessionId, TerminalSize,
    client::{Incoming, Reached},
    message::{
        Attach, AttachOptions, AttachedTo, ClientMessage, Event, ExitStatus, OnLag, Reply, RequestError,
        StartAt,
    },
};

/// Bytes that a page is behind without being told so: what is on its way anyhow.
const NO_LAG: u64 = 64 * 1024;

/// How often another size than the claimed one is seen until it counts: the first may be of before the claim.
const LOST_CLAIM: u32 = 2;

/// The session that a page watches.
#[derive(Debug)]
pub(super) struct WatchedByPage {
    pub(super) session: SessionId,
    /// What was read of the server and has no room yet.
    pub(super) held: Option<HeldPiece>,
    /// How far what was read goes.
    reached: Reached,
    /// The size that the page has given the session.
    claimed: Option<TerminalSize>,
    /// How often since then another one was seen.
    other_size: u32,
    /// An attach is under way: what comes before its answer is of the one before, and comes again.
    is_attaching: bool,
    told: Told,
}

/// What the page was last told.
#[derive(Debug, Default)]
struct Told {
    lag: u64,
    clients: Option<usize>,
    title: Option<Option<String>>,
}

/// A piece of output, or of a screen.
#[derive(Debug)]
pub(super) struct HeldPiece {
    piece: Piece,
    offset: u64,
    data: Bytes,
}

/// An attach that is not answered.
#[derive(Debug)]
pub(super) struct Attaching {
    session: SessionId,
    /// How far the page is, if it was there before.
    from: Option<Reached>,
    /// The output from there on is no longer held, and the screen stands for it.
    is_gap: bool,
    /// A size of the page's own.
    claims: Option<TerminalSize>,
}

impl WatchedByPage {
    /// The screen is about to come, and stands for what is held. While it is attached again that screen is not for it.
    pub(super) fn drop_held_output(&mut self) {
        if !self.is_attaching {
            self.held = self.held.take().filter(|held| held.piece == Piece::Screen);
        }
    }
}

impl Viewer {
    /// Watches a session, from the screen on or from where the page was.
    pub(super) async fn watch(&mut self, session: SessionId, from: Option<Reached>) -> Result<(), Farewell> {
        self.typing.forget();
        self.attach(Attaching { session, from, is_gap: false, claims: None }).await
    }

    async fn attach(&mut self, attaching: Attaching) -> Result<(), Farewell> {
        let start = match attaching.from {
            Some(reached) if !attaching.is_gap => StartAt::Offset(reached.offset()),
            _ => StartAt::Screen,
        };
        let options = AttachOptions::new(start, OnLag::Resync)
            .with_access(self.link.access)
            .with_scrollback(self.scrollback);
        let options = match attaching.claims {
            Some(size) => options.with_size(Some(size)),
            None => options.following(),
        };
        if let Some(watched) = &mut self.watched {
            watched.is_attaching = true;
        }
        let request = ClientMessage::Attach(Attach::new(attaching.session.into(), options));
        self.ask(&request, Asked::Attach(attaching)).await
    }

    pub(super) async fn attached(
        &mut self,
        attaching: Attaching,
        answer: Result<Reply, RequestError>,
    ) -> Result<(), Farewell> {
        match answer {
            // It went back to the index meanwhile.
            _ if self.index.is_some() => Ok(()),
            Ok(Reply::Attached(to)) => self.begin_watching(&attaching, &to).await,
            Ok(_) => Ok(()),
            Err(RequestError::OffsetNotHeld { .. }) if attaching.from.is_some() && !attaching.is_gap => {
                self.attach(Attaching { is_gap: true, ..attaching }).await
            }
            Err(RequestError::SessionEnded { status, .. }) => self.session_ended(status).await,
            Err(refused) if self.link.session.is_some() => {
                Err(Farewell::told(PageError::Server, &refused.to_string()))
            }
            Err(refused) => {
                self.refused(&refused);
                self.back_to_index().await
            }
        }
    }

    async fn begin_watching(&mut self, attaching: &Attaching, to: &AttachedTo) -> Result<(), Farewell> {
        // What was read already of this session is on its way to the page.
        let held = self.watched.take().and_then(|watched| watched.held);
        let attached = ToPage::Attached {
            session: to.session,
            name: to.name.as_str(),
            columns: to.size.cols(),
            rows: to.size.rows(),
            offset: to.start,
            resumed: attaching.from.is_some(),
        };
        self.outbox.push(attached.message());
        if let Some(from) = attaching.from.filter(|_| attaching.is_gap) {
            self.outbox.push(ToPage::Gap { from: from.offset(), to: to.start }.message());
        }
        let is_drawn = attaching.from.is_none() || attaching.is_gap;
        self.watched = Some(WatchedByPage {
            session: to.session,
            held: held.filter(|_| attaching.from.is_some()),
            reached: if is_drawn { Reached::Screen(to.start) } else { Reached::Output(to.start) },
            claimed: attaching.claims,
            other_size: 0,
            is_attaching: false,
            told: Told::default(),
        });
        if matches!(attaching.from, Some(Reached::Screen(_))) && !attaching.is_gap {
            return self.ask(&ClientMessage::Resync, Asked::Other).await;
        }
        Ok(())
    }

    /// Gives the session the size of the page.
    pub(super) async fn claim(&mut self, columns: u16, rows: u16) -> Result<(), Farewell> {
        let Some(size) = TerminalSize::new(columns, rows) else {
            self.tell(PageError::Malformed, "a terminal has from 1 to 1000 columns and lines");
            return Ok(());
        };
        if !self.may_type() {
            self.tell(PageError::ReadOnly, "this link is for watching only; ask who shared it for another");
            return Ok(());
        }
        self.attach_again(Some(size)).await
    }

    /// Has the page follow the session's size again.
    pub(super) async fn follow(&mut self) -> Result<(), Farewell> {
        match &self.watched {
            Some(WatchedByPage { claimed: Some(_), .. }) => self.attach_again(None).await,
            _ => Ok(()),
        }
    }

    async fn attach_again(&mut self, claims: Option<TerminalSize>) -> Result<(), Farewell> {
        let Some(watched) = self.watched.as_ref().filter(|watched| !watched.is_attaching) else {
            return Ok(());
        };
        let (session, from) = (watched.session, Some(watched.reached));
        self.attach(Attaching { session, from, is_gap: false, claims }).await
    }

    /// Takes in what comes of the session that is watched.
    pub(super) async fn session_says(&mut self, incoming: Incoming) -> Result<(), Farewell> {
        let Some(watched) = self.watched.as_mut().filter(|watched| !watched.is_attaching) else {
            return Ok(());
        };
        match incoming {
            Incoming::Output { offset, data } => {
                watched.reached = Reached::Output(offset + data.len() as u64);
                watched.held = Some(HeldPiece { piece: Piece::Output, offset, data });
            }
            Incoming::Screen { offset, data } => {
                watched.reached = Reached::Screen(offset);
                watched.held = Some(HeldPiece { piece: Piece::Screen, offset, data });
            }
            Incoming::Event(Event::Gap { from, to }) => {
                self.outbox.push(ToPage::Gap { from, to }.message());
            }
            Incoming::Event(Event::Resized { size, .. }) => {
                let resized = ToPage::Resized { columns: size.cols(), rows: size.rows() };
                self.outbox.push(resized.message());
            }
            Incoming::Event(Event::Ended { session, status }) if session == watched.session => {
                return self.session_ended(status).await;
            }
            _ => {}
        }
        Ok(())
    }

    async fn session_ended(&mut self, status: ExitStatus) -> Result<(), Farewell> {
        self.watched = None;
        self.typing.forget();
        self.outbox.push(ToPage::ended(status).message());
        if self.link.session.is_some() { Err(Farewell::with(ENDED)) } else { Ok(()) }
    }

    /// Moves what was read on to the page, as far as its window allows.
    pub(super) fn send_held(&mut self) {
        let Some(watched) = &mut self.watched else { return };
        while let Some(held) = &mut watched.held {
            if !self.outbox.is_empty() {
                return;
            }
            let room = usize::try_from(self.window.room()).unwrap_or(usize::MAX);
            let length = held.data.len().min(room).min(MAX_PIECE);
            if length > 0 {
                self.outbox.push(binary(held.piece, held.offset, &held.data[..length]));
                self.window.sent(length as u64, Instant::now());
                held.data.advance(length);
                if held.piece == Piece::Output {
                    held.offset += length as u64;
                }
            }
            if held.data.is_empty() {
                watched.held = None;
            } else if length == 0 {
                return;
            }
        }
    }

    /// Tells a page that watches what has changed about its session in the last second.
    pub(super) async fn look_at_session(&mut self) -> Result<(), Farewell> {
        let (Some(watched), Some(seen)) = (&mut self.watched, &self.seen) else { return Ok(()) };
        let Some(info) = seen.iter().find(|info| info.id == watched.session) else { return Ok(()) };
        let behind = info.printed.saturating_sub(watched.reached.offset());
        let held = watched.held.as_ref().map_or(0, |held| held.data.len() as u64);
        let lag = Some(behind + held + self.window.in_flight()).filter(|lag| *lag > NO_LAG).unwrap_or(0);
        if lag > 0 || watched.told.lag > 0 {
            watched.told.lag = lag;
            self.outbox.push(ToPage::Lag { bytes: lag }.message());
        }
        if watched.told.clients.replace(info.clients) != Some(info.clients) {
            self.outbox.push(ToPage::Viewers { count: info.clients }.message());
        }
        if watched.told.title.as_ref() != Some(&info.title) {
            watched.told.title = Some(info.title.clone());
            self.outbox.push(ToPage::Title { title: info.title.as_deref() }.message());
        }
        // Somebody else has sized it since: pictures of another size are not what a page is for.
        let is_other = watched.claimed.is_some_and(|claimed| claimed != info.size);
        watched.other_size = if is_other { watched.other_size + 1 } else { 0 };
        if watched.other_size >= LOST_CLAIM { self.follow().await } else { Ok(()) }
    }
}
