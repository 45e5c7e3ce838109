//! What comes from the server: output, screens, replies and news.

use std::collections::VecDeque;

use super::{
    current::Current, display::Display, notices::Notices, outcome::Outcome, typing::Typing,
    window::TerminalWindow,
};
use crate::{
    client::{ClientError, Incoming, IncomingFrames, Liveness, Reached},
    message::{CloseReason, Event, ExitStatus, Reply, RequestError},
};

/// Receives output and news.
pub(super) struct Receiver<'a> {
    pub(super) frames: IncomingFrames,
    pub(super) early: VecDeque<Incoming>,
    pub(super) shown: (&'a TerminalWindow, &'a Display, &'a Current),
    pub(super) typing: &'a Typing,
    pub(super) liveness: &'a Liveness,
    /// How the session ended that another is to be shown in place of.
    pub(super) ended: Option<ExitStatus>,
    pub(super) notices: &'a mut Notices,
    pub(super) names_titles: bool,
}

impl Receiver<'_> {
    pub(super) async fn run(mut self) -> Outcome {
        let (window, display, current) = self.shown;
        loop {
            // Only what can be shown is received: so a slow terminal is the server's to see, and not held here.
            self.liveness.reads(false);
            let Some(room) = display.room().await else { return Outcome::NobodyReads };
            self.liveness.reads(true);
            let incoming = match self.early.pop_front() {
                Some(early) => Ok(early),
                None => tokio::select! {
                    incoming = self.frames.next() => incoming,
                    () = room.closed() => return Outcome::NobodyReads,
                },
            };
            match incoming {
                Ok(Incoming::Screen { offset, data }) => {
                    current.reached(Reached::Screen(offset));
                    display.show_screen(room, &data);
                }
                Ok(Incoming::Output { offset, mut data }) => {
                    current.reached(Reached::Output(offset + data.len() as u64));
                    let (wanted, is_enough) = display.wanted(offset, data.len());
                    data.truncate(wanted);
                    display.show(room, data);
                    if is_enough {
                        return Outcome::Enough;
                    }
                }
                Ok(Incoming::Reply { request, answer }) if current.is_asked(request) => {
                    if let Some(status) = self.switched(answer) {
                        return Outcome::Ended(status);
                    }
                }
                Ok(Incoming::Reply { answer: Ok(Reply::Sessions(sessions)), .. }) => {
                    if !current.choose_next(&sessions)
                        && let Some(status) = self.ended.take()
                    {
                        return Outcome::Ended(status);
                    }
                }
                Ok(Incoming::Reply { answer: Ok(Reply::Detached), .. }) => return Outcome::Detached,
                Ok(Incoming::Reply { answer: Ok(Reply::Resized | Reply::Pong), .. }) => {}
                Ok(Incoming::Reply { answer: Ok(Reply::Resynced), .. }) => display.screen_comes(),
                Ok(Incoming::Reply { request, answer }) => {
                    window.answered();
                    self.liveness.waits(window.is_waiting());
                    self.typed(request, answer);
                }
                Ok(Incoming::Event(Event::Resized { size, .. })) => display.resized(room, size),
                Ok(Incoming::Event(event)) => {
                    if let Some(outcome) = self.told(event) {
                        return outcome;
                    }
                }
                // It provides nothing.
                Ok(Incoming::Provider { .. }) => {}
                Err(ClientError::Closed(CloseReason::Detached)) if display.is_terminal() => {
                    return Outcome::Detached;
                }
                Err(error) => return Outcome::Lost(error),
            }
        }
    }

    /// Input was typed, or refused; the session's end explains that.
    fn typed(&mut self, request: u64, answer: Result<Reply, RequestError>) {
        // The server has forgotten the stream.
        if let Err(RequestError::InputMissing { .. }) = answer {
            let (bytes, (_, _, current)) = (self.typing.refused(request), self.shown);
            if bytes > 0 {
                self.notices
                    .push(format!("of {bytes} bytes typed into {}, some may be lost", current.name()));
            }
        } else if let Err(why @ RequestError::ProviderLost { .. }) = answer {
            self.typing.refused(request);
            self.notices.push(why.to_string());
        } else {
            self.typing.answered(request);
        }
    }

    /// Takes in news. Returns how watching ends, if it does.
    fn told(&mut self, event: Event) -> Option<Outcome> {
        let (_, display, current) = self.shown;
        match event {
            Event::Ended { status, .. } if current.is_switching() => self.ended = Some(status),
            Event::Ended { status, .. } => return Some(Outcome::Ended(status)),
            Event::Notice(text) => self.notices.push(text),
            Event::Switch { to } => current.want(to),
            // At a terminal, the screen that follows makes up for it.
            Event::Gap { from, to } if !display.is_terminal() => return Some(Outcome::Gap(to - from)),
            Event::Closing(reason) => return Some(Outcome::Lost(ClientError::Closed(reason))),
            _ => {}
        }
        None
    }

    /// The server has answered that another session is shown from now on, or why not. Returns how the one before ended,
    /// if it is still the one that is shown.
    fn switched(&mut self, answer: Result<Reply, RequestError>) -> Option<ExitStatus> {
        let (_, display, current) = self.shown;
        let ended = self.ended.take();
        match answer {
            Ok(Reply::Attached(attached)) => {
                if self.names_titles {
                    display.name_titles(attached.name.as_str());
                }
                current.switched_to(attached);
                return None;
            }
            Ok(_) => {}
            Err(refused) => self.notices.push(refused.to_string()),
        }
        current.stays();
        ended
    }
}
