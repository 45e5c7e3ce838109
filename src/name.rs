//! Session names: what people type, checked where it enters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What people call a session: 1 to 64 of the letters `a-z A-Z`, digits, and `. _ -`.
///
/// The alphabet is safe in a shell, a path and a terminal, so that a name never needs quoting. Names are unique among
/// live sessions of a server; a session's identity is its [`SessionId`](crate::SessionId).
///
/// ```
/// use fugue_server::SessionName;
///
/// assert!("build.2024-01_x".parse::<SessionName>().is_ok());
/// assert!("two words".parse::<SessionName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionName(String);

/// A session name that breaks the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session name is 1 to 64 letters, digits, dots, underscores or hyphens")]
pub struct NameError;

impl SessionName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SessionName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=Self::MAX_LEN).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name))
        } else {
            Err(NameError)
        }
    }
}

impl FromStr for SessionName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::try_from(name.to_owned())
    }
}

impl From<SessionName> for String {
    fn from(name: SessionName) -> Self {
        name.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_rule_are_refused_with_the_rule() {
        let long = "x".repeat(65);
        for name in ["", "a b", "a/b", "ä", "a\n", "\x1b[2J", long.as_str()] {
            let error = name.parse::<SessionName>().unwrap_err();
            assert!(error.to_string().contains("1 to 64 letters"), "{name:?}");
        }
        assert!("x".repeat(64).parse::<SessionName>().is_ok());
    }
}
