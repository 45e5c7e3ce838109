//! The watched view at a terminal: on its other screen, drawn again every second, until q.
//!
//! The terminal is as it was afterwards, whatever ends this, and while it is stopped. It is written to by a thread, so
//! that one which takes nothing keeps no key or signal waiting.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    pin::pin,
    time::Instant,
};

use anyhow::Context;
use bytes::Bytes;
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    EVERY, stats_of,
    trend::Trend,
    view::{Marks, frame},
};
use crate::{
    cli::{
        Exit, Globals,
        attach::io_threads::{Keys, ScreenThread},
        signals::{DeadlySignals, Job, JobSignals},
        terminal::{self, RawMode},
    },
    client::Client,
    message::ServerStats,
};

/// The other screen, without a cursor, and with lines cut at the right.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Of a terminal that does not say.
const USUAL_SIZE: (u16, u16) = (80, 24);

pub(super) async fn watch(common: &Globals, client: Client) -> anyhow::Result<Exit> {
    let mut deadly = DeadlySignals::new()?;
    let jobs = JobSignals::new()?;
    let has_keys = io::stdin().is_terminal();
    let raw_mode =
        has_keys.then(RawMode::enter_with_signals).transpose().context("setting the terminal failed")?;
    let keys = has_keys.then(|| Keys::start().typed);
    let screen = ScreenThread::start();
    let is_entered = Cell::new(false);
    let view = Watch {
        screen: &screen,
        raw_mode: raw_mode.as_ref(),
        trend: Trend::default(),
        marks: Marks::of_locale(),
        hidden: 0,
        is_entered: &is_entered,
    };
    let outcome = tokio::select! {
        signal = deadly.next() => Ok(Exit(128_u8.saturating_add(signal.to_le_bytes()[0]))),
        outcome = view.run((common, client), keys, jobs) => outcome,
    };
    if is_entered.get() {
        // A terminal that takes nothing is not waited for.
        screen.write_instead(LEAVE.into()).await;
    }
    outcome
}

struct Watch<'a> {
    screen: &'a ScreenThread,
    raw_mode: Option<&'a RawMode>,
    trend: Trend,
    marks: Marks,
    /// Lines of the body that are left out.
    hidden: usize,
    /// The terminal shows its other screen.
    is_entered: &'a Cell<bool>,
}

impl Watch<'_> {
    /// Draws until the person has seen enough, or the connection is lost.
    async fn run(
        mut self,
        (common, mut client): (&Globals, Client),
        mut keys: Option<mpsc::Receiver<Bytes>>,
        mut jobs: JobSignals,
    ) -> anyhow::Result<Exit> {
        let (sender, mut received) = mpsc::channel(1);
        let mut asking = pin!(ask(common, &mut client, sender));
        let mut is_due = false;
        loop {
            tokio::select! {
                lost = &mut asking => return Err(lost),
                Some(stats) = received.recv() => {
                    self.trend.add(stats, Instant::now());
                    is_due = true;
                }
                typed = next_key(&mut keys) => {
                    // Without a terminal there is no person left either.
                    let Some(typed) = typed else { return Ok(Exit::SUCCESS) };
                    if typed.iter().any(|key| matches!(key, b'q' | b'Q')) {
                        return Ok(Exit::SUCCESS);
                    }
                    self.scroll(&typed);
                    is_due = true;
                }
                job = jobs.next() => {
                    self.act_on(job, &mut jobs).await;
                    is_due = true;
                }
                room = self.screen.room(), if is_due => {
                    let Some(room) = room else { return Ok(Exit::SUCCESS) };
                    is_due = false;
                    room.show(self.draw().into());
                }
            }
        }
    }

    fn draw(&mut self) -> String {
        let size = terminal::size().map_or(USUAL_SIZE, |size| (size.cols(), size.rows()));
        let (drawn, most) = frame(&self.trend, self.marks, size, self.hidden);
        self.hidden = self.hidden.min(most);
        if self.is_entered.replace(true) { drawn } else { ENTER.to_owned() + &drawn }
    }

    fn scroll(&mut self, typed: &[u8]) {
        for key in typed {
            match key {
                b'j' => self.hidden += 1,
                b'k' => self.hidden = self.hidden.saturating_sub(1),
                _ => {}
            }
        }
    }

    async fn act_on(&mut self, job: Job, jobs: &mut JobSignals) {
        match job {
            Job::Resized => {}
            Job::Stopped => {
                if self.is_entered.replace(false) {
                    self.screen.write_instead(LEAVE.into()).await;
                }
                // Nothing can be done if the terminal is gone.
                let _ = self.raw_mode.map(RawMode::suspend);
                if !jobs.is_continued().await {
                    // SIGTSTP has a handler here; nothing handles this one. It can always be sent to oneself.
                    let _ = kill_process(getpid(), Signal::STOP);
                }
                let _ = self.raw_mode.map(RawMode::apply);
            }
            Job::Continued => {
                let _ = self.raw_mode.map(RawMode::apply);
            }
        }
    }
}

/// Asks for statistics again and again, on one connection after another. Returns what ended that.
async fn ask(common: &Globals, client: &mut Client, sender: mpsc::Sender<ServerStats>) -> anyhow::Error {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match stats_of(common, client).await {
            // The receiver lives as long as this is awaited.
            Ok(stats) => drop(sender.send(stats).await),
            Err(error) => return error,
        }
    }
}

/// What is typed next; forever nothing without a keyboard.
async fn next_key(keys: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}
