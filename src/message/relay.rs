//! What a relay says of a client before the client speaks.

use serde::{Deserialize, Serialize};

use super::{Create, request::bounded_vec};
use crate::SessionName;

/// The most variables of an environment that a relay hands on.
const MAX_VARIABLES: usize = 1024;

/// What a relay says of the client that it copies bytes for: once, before the client's hello. It holds for the
/// connection, and nothing takes it back.
///
/// The client is somewhere else, so its own environment and directory mean nothing here. The relay's do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Relay {
    /// The client may watch the live session of this name, and do nothing else.
    pub only: Option<SessionName>,
    /// The environment of programs that the client starts, below what the client itself sets.
    #[serde(deserialize_with = "bounded_vec")]
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where such programs start, if the client does not say.
    pub cwd: Option<Vec<u8>>,
}

impl Relay {
    /// For a client that may do what any client may.
    #[must_use]
    pub const fn new() -> Self {
        Self { only: None, env: Vec::new(), cwd: None }
    }

    /// For a client that may watch this session, and do nothing else.
    #[must_use]
    pub const fn of_watcher(session: SessionName) -> Self {
        Self { only: Some(session), env: Vec::new(), cwd: None }
    }

    /// This relay, with an environment and a directory.
    #[must_use]
    pub fn with_place(self, env: Vec<(Vec<u8>, Vec<u8>)>, cwd: Option<Vec<u8>>) -> Self {
        Self { env, cwd, ..self }
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.env.len() <= MAX_VARIABLES
    }

    /// What is asked for, with what it leaves to this place: variables, the directory, and the shell.
    pub(crate) fn complete(&self, mut create: Create) -> Create {
        if let (Some(cwd), Some(chosen)) = (&self.cwd, &create.cwd)
            && !chosen.starts_with(b"/")
        {
            create.cwd = Some([cwd, &b"/"[..], chosen].concat());
        }
        if let Some(chosen) = &create.cwd {
            create.env.push((b"PWD".to_vec(), chosen.clone()));
        } else {
            create.cwd.clone_from(&self.cwd);
        }
        let lacks = |(name, _): &&(Vec<u8>, Vec<u8>)| !create.env.iter().any(|(other, _)| other == name);
        let env: Vec<_> = self.env.iter().filter(lacks).cloned().collect();
        create.env.extend(env);
        if create.command.is_empty() {
            let shell = create.env.iter().find(|(name, value)| name == b"SHELL" && !value.is_empty());
            let shell = shell.map_or_else(|| b"/bin/sh".to_vec(), |(_, shell)| shell.clone());
            if create.program_name.is_some() {
                let name = shell.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                create.program_name = Some([b"-", name].concat());
            }
            create.command = vec![shell];
        }
        create
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    fn value(create: &Create, name: &str) -> Vec<String> {
        let of_name = create.env.iter().filter(|(other, _)| *other == bytes(name));
        of_name.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn a_relay_completes_what_a_client_leaves_to_it_and_nothing_else() {
        let env = [("HOME", "/home/a"), ("PWD", "/home/a"), ("SHELL", "/bin/zsh"), ("TERM", "dumb")];
        let env = env.map(|(name, value)| (bytes(name), bytes(value))).to_vec();
        let relay = Relay::new().with_place(env, Some(bytes("/home/a")));
        let mut create = Create::new("a".parse().unwrap(), Vec::new());
        create.env = vec![(bytes("TERM"), bytes("xterm"))];
        create.program_name = Some(bytes("-"));
        let whole = relay.complete(create.clone());
        assert_eq!(whole.command, [bytes("/bin/zsh")]);
        assert_eq!(whole.program_name, Some(bytes("-zsh")));
        assert_eq!(
            (value(&whole, "TERM"), value(&whole, "HOME")),
            (vec!["xterm".into()], vec!["/home/a".into()])
        );
        assert_eq!(
            (whole.cwd.clone(), value(&whole, "PWD")),
            (Some(bytes("/home/a")), vec!["/home/a".into()])
        );

        create.cwd = Some(bytes("src"));
        create.command = vec![bytes("make")];
        create.program_name = None;
        let whole = relay.complete(create);
        assert_eq!((whole.command.clone(), whole.program_name.clone()), (vec![bytes("make")], None));
        assert_eq!(
            (whole.cwd.clone(), value(&whole, "PWD")),
            (Some(bytes("/home/a/src")), vec!["/home/a/src".into()])
        );
    }
}
