//! Machines that a configuration file has a short name for.

use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr};

use super::RemoteUrl;

/// What the configuration calls a machine: `[remotes.dev]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct RemoteName(String);

impl RemoteName {
    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RemoteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if text.is_empty() || text.starts_with('-') || !text.chars().all(is_allowed) {
            return Err("a machine's name has letters, digits, dots, underscores or hyphens".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A machine: where it is, and what is not the same there as on others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct NamedRemote {
    pub(in crate::cli) url: RemoteUrl,
    pub(in crate::cli) path: Option<String>,
    pub(in crate::cli) socket: Option<PathBuf>,
    pub(in crate::cli) ssh: Option<OsString>,
}

/// Which machine is meant: where it is, or what the configuration calls it.
#[derive(Clone, Debug)]
pub(in crate::cli) enum RemoteArg {
    Url(RemoteUrl),
    Name(RemoteName),
}

impl FromStr for RemoteArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(name) = text.parse() {
            return Ok(Self::Name(name));
        }
        text.parse().map(Self::Url)
    }
}
