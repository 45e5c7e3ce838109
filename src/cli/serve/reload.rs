//! SIGHUP: the configuration files are read again, and what may change does.
//!
//! It is all or nothing. A file with a mistake changes nothing, and a setting that needs a restart is named each time
//! until there is one. Options and variables that the server was started with still win over files.

use std::{convert::Infallible, env::args_os, future::pending, path::PathBuf};

use tokio::{signal::unix, task::spawn_blocking};
use tracing::{Level, error, info, warn};

use super::{Args, supervisor::Supervisor};
use crate::{
    cli::{
        Command, Globals,
        log::LogLevel,
        parse,
        settings::{GivenSettings, SettingsFile},
    },
    server::{Reloader, default_socket},
};

/// A server's settings, and where new ones come from.
pub(super) struct Reloading {
    files: Vec<SettingsFile>,
    server: Reloader,
    log: LogLevel,
    socket: PathBuf,
    level: Level,
    /// Those that count now.
    args: Args,
}

/// When a setting changes that differs from the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Effect,
    Restart,
}

impl Reloading {
    pub(super) fn new(
        files: Vec<SettingsFile>,
        server: Reloader,
        log: LogLevel,
        common: &Globals,
        args: Args,
    ) -> Self {
        Self { files, server, log, socket: common.socket.clone(), level: common.log, args }
    }

    /// Reloads at each of these signals.
    pub(super) async fn at_each(
        mut self,
        mut hangups: Option<unix::Signal>,
        supervisor: &Supervisor,
    ) -> Infallible {
        loop {
            match &mut hangups {
                Some(hangups) => hangups.recv().await,
                None => pending().await,
            };
            supervisor.reloading().await;
            self.reload().await;
            supervisor.ready().await;
        }
    }

    async fn reload(&mut self) {
        let files = self.files.clone();
        // Elsewhere: a disk that does not answer holds nobody up.
        let read = spawn_blocking(move || GivenSettings::read_again(&files)).await;
        let Ok((settings, errors)) = read else { return };
        for error in &errors {
            error!(%error, "a mistake in the configuration");
        }
        let refusal = if errors.is_empty() { self.take_over(&settings).err() } else { None };
        if let Some(error) = &refusal {
            error!(error, "a mistake in the configuration");
        }
        if refusal.is_some() || !errors.is_empty() {
            error!(
                "the configuration was not reloaded, and nothing changed; correct it, then send SIGHUP again"
            );
        }
    }

    /// Makes these settings count, as far as that goes without a restart.
    fn take_over(&mut self, settings: &GivenSettings) -> Result<(), String> {
        let given = parse(args_os(), settings).map_err(|error| error.to_string())?;
        let Command::Serve(args) = given.command else { return Ok(()) };
        self.server.apply(&args.server(&self.socket)).map_err(|error| error.to_string())?;
        let socket = given
            .socket
            .map_or_else(|| default_socket().0, |path| std::path::absolute(path).unwrap_or_default());

        // What is said of it is logged if it would have been, or would be now.
        self.log.set(self.level.max(given.log));
        let differs = self.compare(given.log, &socket, &args);
        for (setting, before, now, takes) in &differs {
            match takes {
                Takes::Effect => info!(setting, before, now, "a setting changed"),
                Takes::Restart => warn!(setting, before, now, "a setting changes at the next start"),
            }
        }
        let changed = differs.iter().filter(|(.., takes)| *takes == Takes::Effect).count();
        info!(changed, need_restart = differs.len() - changed, "the configuration was reloaded");
        self.log.set(given.log);
        self.level = given.log;
        let Args { shards, log_format, ended, ended_for, .. } = self.args;
        self.args = Args { shards, log_format, ended, ended_for, ..args };
        Ok(())
    }

    /// The settings of the server that differ from those that count: what they were, and what they are to be.
    fn compare(
        &self,
        level: Level,
        socket: &std::path::Path,
        args: &Args,
    ) -> Vec<(&'static str, String, String, Takes)> {
        // All of them by name, so that a new one is not forgotten here.
        let Args {
            shards,
            history,
            ended,
            ended_for,
            scrollback,
            queue,
            max_clients,
            log_format,
            background: _,
            take_over: _,
        } = args;
        let before = &self.args;
        let shown = |shards: Option<usize>| shards.map_or("default".to_owned(), |shards| shards.to_string());
        let form = |format| format!("{format:?}").to_lowercase();
        let rows = [
            ("log", self.level.to_string().to_lowercase(), level.to_string().to_lowercase(), Takes::Effect),
            ("serve.history", before.history.to_string(), history.to_string(), Takes::Effect),
            ("serve.scrollback", before.scrollback.to_string(), scrollback.to_string(), Takes::Effect),
            ("serve.queue", before.queue.to_string(), queue.to_string(), Takes::Effect),
            ("serve.max-clients", before.max_clients.to_string(), max_clients.to_string(), Takes::Effect),
            ("serve.ended", before.ended.to_string(), ended.to_string(), Takes::Restart),
            (
                "serve.ended-for",
                format!("{:?}", before.ended_for.0),
                format!("{:?}", ended_for.0),
                Takes::Restart,
            ),
            ("serve.shards", shown(before.shards), shown(*shards), Takes::Restart),
            ("serve.log-format", form(before.log_format), form(*log_format), Takes::Restart),
            ("socket", self.socket.display().to_string(), socket.display().to_string(), Takes::Restart),
        ];
        rows.into_iter().filter(|(_, before, now, _)| before != now).collect()
    }
}
