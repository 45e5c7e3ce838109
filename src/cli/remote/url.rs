//! Where another machine's server is: a user, a host and a port.

use std::{ffi::OsString, fmt, str::FromStr};

/// A machine that ssh reaches, by its name or by one of the person's own configuration of ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct RemoteUrl {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

/// What people are told to write.
pub(in crate::cli) const FORM: &str = "write ssh://[user@]host[:port], such as ssh://me@dev.example.org";

/// Whether ssh, and every program and shell that it hands a name to, takes the name for what it is.
fn is_name(name: &str, allowed: &str) -> bool {
    let is_allowed = |letter: char| letter.is_alphanumeric() || allowed.contains(letter);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_allowed)
}

impl FromStr for RemoteUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("ssh://").ok_or(FORM)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let (host, port) = match place.strip_prefix('[') {
            // An address with colons of its own.
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(FORM)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(FORM)?) })
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port.map(|port| port.parse().map_err(|_| format!("{port:?} is not a port; {FORM}")));
        if user.is_some_and(|user| !is_name(user, "._-+@")) {
            return Err(format!("that is not a user's name; {FORM}"));
        }
        if !is_name(host, "._-%:+") {
            return Err(format!("that is not a host's name; {FORM}"));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port: port.transpose()? })
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl RemoteUrl {
    /// What ssh is called with, up to the command. Without `asks`, it fails where it would have to ask something.
    pub(super) fn arguments(&self, asks: bool) -> impl Iterator<Item = OsString> {
        let mut arguments = vec!["-T".to_owned()];
        if !asks {
            arguments.extend(["-o".to_owned(), "BatchMode=yes".to_owned()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments.into_iter().map(OsString::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_what_ssh_is_called_with() {
        for (url, words) in [
            ("ssh://dev", "-T -- dev"),
            ("ssh://me@dev.example.org:2222/", "-T -p 2222 -l me -- dev.example.org"),
            ("ssh://me@corp.org@dev", "-T -l me@corp.org -- dev"),
            ("ssh://[fe80::1%eth0]:22", "-T -p 22 -- fe80::1%eth0"),
        ] {
            let parsed: RemoteUrl = url.parse().unwrap();
            let arguments: Vec<_> = parsed.arguments(true).map(|word| word.into_string().unwrap()).collect();
            assert_eq!(arguments.join(" "), words);
            assert_eq!(parsed.to_string(), url.trim_end_matches('/'));
        }
        let parsed: RemoteUrl = "ssh://dev".parse().unwrap();
        assert!(parsed.arguments(false).any(|word| word == "BatchMode=yes"));
    }

    #[test]
    fn what_ssh_or_a_shell_could_take_for_something_else_is_refused() {
        for wrong in [
            "dev",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://me@-oProxyCommand=x",
            "ssh://-l@dev",
            "ssh://@dev",
            "ssh://dev:",
            "ssh://dev:x",
            "ssh://dev:65536",
            "ssh://a b",
            "ssh://$(x)",
            "ssh://dev/path",
            "ssh://dev;x",
            "ssh://[::1",
            "ssh://[::1]x",
            "http://dev",
            "ssh://a\nb",
        ] {
            assert!(wrong.parse::<RemoteUrl>().is_err(), "{wrong:?}");
        }
    }
}
