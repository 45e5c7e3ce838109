//! Where to start in a session's output, as people say it.

use std::fmt;

use crate::{cli::bytes::ByteCount, message::StartAt};

/// Where a client starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartArg {
    Screen,
    Now,
    Start,
    Last(usize),
}

impl std::str::FromStr for StartArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "screen" => Ok(Self::Screen),
            "now" => Ok(Self::Now),
            "start" => Ok(Self::Start),
            bytes => bytes
                .parse()
                .map(|ByteCount(bytes)| Self::Last(bytes))
                .map_err(|_| "write screen, now, start, or a number of bytes such as 64KiB".to_owned()),
        }
    }
}

impl fmt::Display for StartArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Screen => f.write_str("screen"),
            Self::Now => f.write_str("now"),
            Self::Start => f.write_str("start"),
            Self::Last(bytes) => ByteCount(*bytes).fmt(f),
        }
    }
}

impl From<StartArg> for StartAt {
    fn from(start: StartArg) -> Self {
        match start {
            StartArg::Screen => Self::Screen,
            StartArg::Now => Self::Now,
            StartArg::Start => Self::Oldest,
            StartArg::Last(bytes) => Self::Last(bytes as u64),
        }
    }
}
