//! What a session has for the server that comes after this one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::debug;

use super::{
    Session,
    history::Reader,
    kept::{Kept, KeptLog, KeptState},
    marks::InputMark,
    screen::Scrollback,
};
use crate::{
    TerminalSize,
    message::{InputStreamId, OnLag, StartAt},
    terminal::reset,
};

/// How long clients of an earlier server are waited for that want every byte, and the pause between looks.
const COME_BACK_TIME: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long a program has another size that is made to draw again. Some look at the size only, and not at the signal.
const OTHER_SIZE: Duration = Duration::from_millis(50);

impl Session {
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.with(|kept| kept.clone())
    }

    /// Its program is gone, and no other server is to hear of it.
    pub(super) fn forget_kept(&self) {
        if let Some(kept) = self.kept.with(Option::take) {
            kept.keeper.forget(self.id);
        }
    }

    /// Clients that want every byte are going to lose this server, and to come back.
    pub(super) fn awaits_its_readers(&self) {
        // Of those that an earlier server had, some may not be back yet.
        if self.awaited.load(Ordering::Relaxed) == 0 {
            self.awaited.store(self.history.lossless_readers(), Ordering::Relaxed);
        }
    }

    /// Keeps room for so many clients that want every byte and are to come back: until they are there, what an earlier
    /// server handed over is not pushed out of the history. Called before anything else is printed.
    pub(super) fn hold_for_readers(self: &Arc<Self>, awaited: usize) {
        if awaited > 0
            && let Ok(place) = self.history.attach(StartAt::Now, OnLag::Lossless)
        {
            // Not among the sessions' tasks: a shutdown does not wait for it.
            tokio::spawn(Arc::clone(self).hold(place, awaited));
        }
    }

    async fn hold(self: Arc<Self>, place: Reader, awaited: usize) {
        self.awaited.store(awaited, Ordering::Relaxed);
        // The place counts as well, until it is given back.
        let back = async {
            while self.history.lossless_readers() <= awaited {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // An error says that not all came.
        let _ = tokio::time::timeout(COME_BACK_TIME, back).await;
        self.awaited.store(0, Ordering::Relaxed);
        self.history.detach(&place);
    }

    /// Has the next server know what is known of it now.
    pub(super) fn keep_state(&self) {
        if let (Some(kept), Some(state)) = (self.kept(), self.state())
            && let Err(error) = kept.keeper.set_state(self.id, &state)
        {
            debug!(session = %self.id, %error, "a session's state could not be kept");
        }
    }

    /// The same, with all that was printed: nothing more is.
    pub(super) async fn whole_state(&self) -> Option<KeptState> {
        let mut state = self.state()?;
        let untyped = self.pty.as_ref()?.stand().await;
        let KeptState::First { log, .. } = &mut state;
        *log = Some(KeptLog { untyped, ..self.whole_log().await });
        Some(state)
    }

    /// All that was printed, of what is held, and what it makes a terminal show.
    pub(super) async fn whole_log(&self) -> KeptLog {
        let drawn = self.screen.redraw(&self.history, Scrollback { lines: usize::MAX, since: None }).await;
        let (start, bytes) = self.history.all();
        KeptLog {
            start,
            bytes,
            picture: drawn.map_or_else(reset, |drawn| drawn.bytes.into()),
            sizes: self.sizing.with(|sizing| sizing.log().clone()),
            seen: self.seen.load(Ordering::Relaxed),
            awaited: self.awaited.load(Ordering::Relaxed),
            untyped: Vec::new(),
        }
    }

    /// What the next server has to know.
    pub(super) fn state(&self) -> Option<KeptState> {
        let started = self.kept()?.started;
        Some(KeptState::First {
            name: self.name(),
            command: self.command.clone(),
            title: self.title.clone(),
            size_policy: self.sizing.with(|sizing| sizing.policy()),
            pace: self.history.pace(),
            started,
            log: None,
        })
    }

    /// Where a stream of input is kept for the next server, and how far it is; of a program that ends with this server,
    /// nowhere.
    pub(crate) fn input_mark(&self, stream: InputStreamId) -> (Option<InputMark>, u64) {
        let found = self.kept().map(|kept| kept.marks.stream(stream));
        found.map_or((None, 0), |(mark, typed)| (Some(mark), typed))
    }

    /// So many bytes of a stream are going to be typed now, or were. None of it is typed again after this server was
    /// killed.
    pub(super) fn mark_typed(&self, mark: Option<(InputMark, u64)>) {
        if let (Some((mark, bytes)), Some(kept)) = (mark, self.kept()) {
            kept.marks.set_typed(mark, bytes);
        }
    }

    /// Makes a program draw again that an earlier server had: it has another size for a moment.
    pub(super) async fn redraw_program(&self) {
        let resize = |change: fn(TerminalSize) -> Option<TerminalSize>| {
            let Some(pty) = &self.pty else { return };
            self.sizing.with(|sizing| {
                let window = sizing.window();
                if let Some(size) = change(window.size) {
                    // A program that has no terminal any more is not made to draw.
                    let _ = pty.resize(window.with_size(size));
                }
            });
        };
        resize(|size| TerminalSize::new(size.cols(), size.rows() - 1).or(TerminalSize::new(size.cols(), 2)));
        tokio::time::sleep(OTHER_SIZE).await;
        resize(Some);
    }

    /// Keeps a picture of the screen for the next server, unless that has the newest one.
    pub(super) async fn keep_picture(&self) {
        let Some(kept) = self.kept() else { return };
        if kept.marks.is_pictured(self.head()) {
            return;
        }
        if let Some(drawn) = self.screen.redraw(&self.history, Scrollback::default()).await {
            kept.marks.set_picture(drawn.at, &drawn.bytes);
        }
    }
}

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests {
    use std::io;

    use bytes::Bytes;

    use super::{super::models, *};
    use crate::{
        message::Pace,
        session::{
            TerminalId,
            kept::{Keeper, KeeperPlace},
            marks::SessionMarks,
            pump::{Pump, Source, Taken},
            size::Window,
        },
    };

    /// Output of three bytes, which looks at the marks at each step.
    struct Watchful {
        kept: Arc<Kept>,
        taken: u64,
    }

    impl Source for Watchful {
        type End = ();

        fn take(&mut self, _: u64, chunks: &mut Vec<Bytes>) -> io::Result<Taken<()>> {
            assert!(!self.kept.marks.is_exact(), "bytes are read that nothing says of");
            if self.taken == 3 {
                return Ok(Taken::Ended(()));
            }
            chunks.push(Bytes::from_static(b"x"));
            self.taken += 1;
            Ok(Taken::Full)
        }

        fn printed(&mut self) {
            assert_eq!((self.kept.marks.head(), self.kept.marks.is_exact()), (self.taken, true));
        }

        async fn ready(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_read_is_marked_before_and_until_it_is_in_the_log() {
        let session = models::session(&models::registry(), models::SMALL, Pace::Free);
        let directory = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap().into();
        let window = Window { size: TerminalSize::DEFAULT, pixels: None };
        let kept = Arc::new(Kept {
            keeper: Keeper::new(KeeperPlace::new(opened, &directory.path().join("socket"))),
            marks: SessionMarks::new(TerminalId { file_system: 0, device: 0 }, window).unwrap(),
            started: 0,
        });
        session.kept.with(|place| *place = Some(Arc::clone(&kept)));
        let source = Watchful { kept: Arc::clone(&kept), taken: 0 };
        let mut pump = Pump::new(Arc::clone(&session), source, models::output(&session));
        pump.pump().await.unwrap();
        assert_eq!((session.head(), kept.marks.head(), kept.marks.is_exact()), (3, 3, true));
    }
}
