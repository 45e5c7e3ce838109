//! What of a client's environment belongs to the place it is used from, and not to the programs it started once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The variables that are carried, in this order: where displays, agents and buses are, and which terminal it is.
pub const VARIABLES: [&str; 16] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "WINDOWID",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_SESSION_ID",
    "KRB5CCNAME",
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "SSH_ASKPASS",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "COLORTERM",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
];

/// The most bytes that a value may have. A longer one counts as not set, as does what is no text for people.
const MAX_VALUE: usize = 1024;

/// A client's values of [`VARIABLES`]: text of at most 1 KiB each, without control characters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientEnvironment {
    values: [Option<Value>; VARIABLES.len()],
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Value(String);

impl TryFrom<String> for Value {
    type Error = &'static str;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        let fits = value.len() <= MAX_VALUE && !value.chars().any(char::is_control);
        if fits {
            Ok(Self(value))
        } else {
            Err("not a text of at most 1024 bytes without control characters")
        }
    }
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        value.0
    }
}

impl ClientEnvironment {
    /// No variable is set.
    pub const EMPTY: Self = Self { values: [const { None }; VARIABLES.len()] };

    /// What is carried of an environment. The last value of a variable counts, as it does in a shell.
    #[must_use]
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut environment = Self::EMPTY;
        for (name, value) in variables {
            if let Some(at) = VARIABLES.iter().position(|known| known.as_bytes() == name) {
                let text = String::from_utf8(value.to_vec()).ok();
                environment.values[at] = text.and_then(|text| Value::try_from(text).ok());
            }
        }
        environment
    }

    /// This environment, with this value for a variable that is carried.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if let Some(at) = VARIABLES.iter().position(|known| *known == name) {
            self.values[at] = Value::try_from(value.to_owned()).ok();
        }
        self
    }

    /// A variable's value; `None` where it is not set, or not carried.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name)?.1
    }

    /// Every variable that is carried, with its value where it is set.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let values = self.values.iter().map(|value| value.as_ref().map(|Value(text)| &text[..]));
        VARIABLES.into_iter().zip(values)
    }
}

/// The names of what is set: values may be secrets.
impl fmt::Debug for ClientEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().filter_map(|(name, value)| value.map(|_| name))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_carried_is_taken_and_only_if_it_fits() {
        let (long, longest) = ("x".repeat(MAX_VALUE + 1), "x".repeat(MAX_VALUE));
        let variables: [(&[u8], &[u8]); 8] = [
            (b"DISPLAY", b":1"),
            (b"DISPLAY", b":2"),
            (b"PATH", b"/bin"),
            (b"SSH_TTY", long.as_bytes()),
            (b"SSH_CLIENT", longest.as_bytes()),
            (b"WINDOWID", b"1\x002"),
            (b"XAUTHORITY", b"/\xff"),
            (b"COLORTERM", "\u{9b}2J".as_bytes()),
        ];
        let environment = ClientEnvironment::of(variables);
        assert_eq!(environment.get("DISPLAY"), Some(":2"));
        assert_eq!(environment.get("SSH_CLIENT"), Some(&*longest));
        for not_set in ["PATH", "SSH_TTY", "WINDOWID", "XAUTHORITY", "COLORTERM", ""] {
            assert_eq!(environment.get(not_set), None, "{not_set}");
        }
        let bytes = postcard::to_stdvec(&environment).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(environment));
    }

    #[test]
    fn a_value_that_is_too_long_or_has_control_characters_is_not_read() {
        for value in ["x".repeat(MAX_VALUE + 1), "\0".to_owned(), "\x1b[2J".to_owned()] {
            let mut environment = ClientEnvironment::EMPTY;
            environment.values[0] = Some(Value(value));
            let bytes = postcard::to_stdvec(&environment).unwrap();
            assert!(postcard::from_bytes::<ClientEnvironment>(&bytes).is_err());
        }
    }
}
