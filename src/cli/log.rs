//! The log: where it is written, in which form, and how much of it.
//!
//! A journal notes times by itself, and takes a priority at the beginning of each line, as sd-daemon(3) has it.

use std::{
    env,
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, IsTerminal},
};

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer, writer::BoxMakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Where the log is written.
#[derive(Debug)]
pub(super) enum LogSink {
    Stderr,
    File(File),
}

/// How much is logged: a handle that changes it.
#[derive(Debug)]
pub(super) struct LogLevel(reload::Handle<LevelFilter, Registry>);

impl LogLevel {
    pub(super) fn set(&self, level: Level) {
        // An error says that nothing logs any more.
        let _ = self.0.reload(LevelFilter::from_level(level));
    }
}

/// Starts logging, for as long as the process lives.
pub(super) fn start(level: Level, format: LogFormat, sink: LogSink) -> LogLevel {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let (in_journal, colours, writer) = match sink {
        LogSink::Stderr => (stderr_is_journal(), io::stderr().is_terminal(), BoxMakeWriter::new(io::stderr)),
        LogSink::File(file) => (false, false, BoxMakeWriter::new(std::sync::Mutex::new(file))),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        // A log that can't be written is gone without: complaining of it on the same stderr would fail too, and panic.
        .log_internal_errors(false);
    let lines = match (format, in_journal) {
        (LogFormat::Text, false) => lines.boxed(),
        (LogFormat::Text, true) => {
            lines.without_time().with_level(false).map_event_format(WithPriority).boxed()
        }
        (LogFormat::Json, false) => lines.json().flatten_event(true).boxed(),
        (LogFormat::Json, true) => lines.json().flatten_event(true).map_event_format(WithPriority).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    LogLevel(handle)
}

/// Whether stderr goes to the journal. What started this process says which file does, and a redirection since then
/// makes it another.
pub(super) fn stderr_is_journal() -> bool {
    let Some(journal) = env::var_os("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stderr| names(&journal, stderr.st_dev, stderr.st_ino))
}

/// Whether a text names a file by its device and inode.
fn names(text: &OsStr, device: u64, inode: u64) -> bool {
    let parts = text.to_str().and_then(|text| text.split_once(':'));
    parts.is_some_and(|(of, number)| of.parse() == Ok(device) && number.parse() == Ok(inode))
}

/// Lines that begin with a priority.
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The priority of syslog that a level has.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_known_by_the_device_and_inode_of_stderr() {
        assert!(names("25:4711".as_ref(), 25, 4711));
        for other in ["25:4712", "24:4711", "25", "25:", ":4711", "25:4711:", "a:b", ""] {
            assert!(!names(other.as_ref(), 25, 4711), "{other}");
        }
    }
}
