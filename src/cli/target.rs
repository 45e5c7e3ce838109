//! Which session a command is about: by what a person types, by where the command runs, or by what is left to choose.

use std::{
    env, fmt,
    io::{self, BufRead, IsTerminal},
    str::FromStr,
};

use anyhow::{Context, bail};
use clap::{ArgMatches, Id};

use super::{Globals, print_note, remote::RemoteName};
use crate::{
    NameError, SessionId, SessionName,
    client::{Client, ClientError},
    message::{RequestError, SessionInfo, Target},
};

/// A session as people type it: its name, or a beginning of it that no other has; after `=` its name and no other.
/// Before all that may be the machine that it is on, and a colon; or after it an `@`, and the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionArg {
    pub(super) target: Target,
    machine: Option<RemoteName>,
    /// The node that it is on, if that is another.
    node: Option<String>,
}

impl FromStr for SessionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Place { machine, node, rest } = Place::split(text)?;
        let target = match rest.strip_prefix('=') {
            Some(name) => Target::Name(parse_name(name)?),
            None => Target::Prefix(parse_name(rest)?),
        };
        Ok(Self { target, machine, node })
    }
}

impl SessionArg {
    /// The node that it is on, if that is another.
    pub(super) fn node(&self, common: &Globals) -> Option<&str> {
        node(self.node.as_deref(), self.machine.as_ref(), common)
    }

    /// Refuses a session of another node: what is asked for is done where it runs.
    pub(super) fn must_be_here(&self, common: &Globals) -> anyhow::Result<()> {
        match self.node(common) {
            Some(node) => bail!("{self} runs on another node: do that on {node}"),
            None => Ok(()),
        }
    }
}

/// The node that is named. What is no machine of the configuration's is a node, or was refused.
fn node<'a>(node: Option<&'a str>, machine: Option<&'a RemoteName>, common: &Globals) -> Option<&'a str> {
    node.or_else(|| machine.filter(|_| common.remote.is_none()).map(RemoteName::as_str))
}

impl Globals {
    /// Which session of the server's is meant. One of another node is watched at the server of this machine, which is
    /// started if there is none: then its mirror is meant.
    pub(super) async fn resolve(&self, session: &SessionArg) -> anyhow::Result<Target> {
        #[cfg(feature = "nodes")]
        if let Some(node) = session.node(self) {
            let watched = super::node::watch(self, node, &session.target, false).await;
            return Ok(watched.with_context(|| session.to_string())?.into());
        }
        Ok(session.target.clone())
    }

    /// Connects to the server that has the session. Returns which one is meant there.
    pub(super) async fn connect_to(&self, session: &SessionArg) -> anyhow::Result<(Client, Target)> {
        let target = self.resolve(session).await?;
        Ok((self.connect().await?, target))
    }
}

/// The name of a session that is to be, after the machine or before the node that it is to be on, if that is said.
#[derive(Clone, Debug)]
pub(super) struct NewSessionArg {
    pub(super) name: SessionName,
    machine: Option<RemoteName>,
    #[cfg(feature = "nodes")]
    node: Option<String>,
}

#[cfg(feature = "nodes")]
impl NewSessionArg {
    /// The node that it is to be on, if that is another.
    pub(super) fn node(&self, common: &Globals) -> Option<&str> {
        node(self.node.as_deref(), self.machine.as_ref(), common)
    }
}

impl FromStr for NewSessionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = Place::split(text)?;
        Ok(Self {
            name: parse_name(place.rest)?,
            machine: place.machine,
            #[cfg(feature = "nodes")]
            node: place.node,
        })
    }
}

fn parse_name(text: &str) -> Result<SessionName, String> {
    text.parse().map_err(|error: NameError| error.to_string())
}

/// Where a session is said to be, and the rest.
struct Place<'a> {
    machine: Option<RemoteName>,
    node: Option<String>,
    rest: &'a str,
}

impl<'a> Place<'a> {
    fn split(text: &'a str) -> Result<Self, String> {
        let (machine, rest) = match text.split_once(':') {
            Some((machine, rest)) => (Some(machine.parse()?), rest),
            None => (None, text),
        };
        #[cfg(feature = "nodes")]
        if let Some((rest, node)) = rest.rsplit_once('@') {
            if machine.is_some() {
                return Err("a session is on another machine or on another node, not on both".to_owned());
            }
            let node = node.parse::<crate::nodes::NodeName>().map_err(str::to_owned)?;
            return Ok(Self { machine, node: Some(node.to_string()), rest });
        }
        Ok(Self { machine, node: None, rest })
    }
}

/// The machine that the sessions of a command line are on, where it says so.
///
/// # Errors
/// They are on several.
pub(super) fn machine_named(command: &ArgMatches) -> Result<Option<RemoteName>, &'static str> {
    fn of<T: Clone + Send + Sync + 'static>(
        command: &ArgMatches,
        machine: impl Fn(&T) -> Option<RemoteName>,
    ) -> Vec<Option<RemoteName>> {
        // An error says that an argument is of another kind.
        let values = |id: &Id| command.try_get_many::<T>(id.as_str()).ok().flatten();
        command.ids().filter_map(values).flatten().map(machine).collect()
    }
    let mut machines = of(command, |session: &SessionArg| session.machine.clone());
    machines.extend(of(command, |session: &NewSessionArg| session.machine.clone()));
    let first = machines.first().cloned().flatten();
    if machines.iter().all(|machine| *machine == first) {
        Ok(first)
    } else {
        Err("these sessions are on several machines: one command is for the sessions of one")
    }
}

impl fmt::Display for SessionArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Name(name) | Target::Prefix(name) => name.fmt(f)?,
            Target::Id(id) => id.fmt(f)?,
            Target::Here => f.write_str("the session here")?,
        }
        self.node.iter().try_for_each(|node| write!(f, "@{node}"))
    }
}

/// The variable that a session's program is told its name by.
const SESSION: &str = "FUGUE_SESSION";

/// The same for its id, which it has under every name.
const SESSION_ID: &str = "FUGUE_SESSION_ID";

/// Whether this runs in a session of the server's, as far as the environment says. `env -u FUGUE_SESSION` makes it run
/// as if not. A session here is none of another machine's server.
pub(super) fn is_inside(is_local: bool) -> bool {
    is_local && env::var_os(SESSION).is_some()
}

/// The session that this runs in: by its terminal, which knows it under every name; else by the environment.
pub(super) async fn this_session(client: &mut Client) -> Result<Target, ClientError> {
    match client.find(Target::Here).await {
        Ok(info) => Ok(info.id.into()),
        Err(ClientError::Refused(RequestError::NotInside)) if client.is_local() => {
            if let Some(id) = env::var(SESSION_ID).ok().and_then(|id| id.parse::<SessionId>().ok()) {
                return Ok(id.into());
            }
            let name = env::var(SESSION).ok().and_then(|name| name.parse().ok());
            name.map(Target::Name).ok_or(RequestError::NotInside.into())
        }
        Err(error) => Err(error),
    }
}

/// Connects to the server that has the session, or to that of the session that this runs in.
pub(super) async fn connect_to_this_or(
    common: &Globals,
    session: Option<&SessionArg>,
) -> anyhow::Result<(Client, Target)> {
    if let Some(session) = session {
        return common.connect_to(session).await;
    }
    let mut client = common.connect().await?;
    let this = this_session(&mut client).await?;
    Ok((client, this))
}

/// The session to attach to where none is named: the only one, or the one used last; else what the person chooses. The
/// one that this runs in does not count.
pub(super) async fn choose(client: &mut Client) -> anyhow::Result<Target> {
    let here = if is_inside(client.is_local()) {
        client.find(Target::Here).await.ok().map(|info| info.id)
    } else {
        None
    };
    let runs = |info: &SessionInfo| info.state.is_live();
    let mut sessions = client.list().await?;
    sessions.retain(|info| runs(info) && Some(info.id) != here);
    match choose_alone(&sessions) {
        Some(only) => Ok(only.into()),
        None if sessions.is_empty() => {
            bail!("there is no session to attach to; `fugue-server new` starts one")
        }
        None if io::stdin().is_terminal() && io::stderr().is_terminal() => ask(&sessions),
        None => {
            let names: Vec<_> = sessions.iter().map(|info| info.name.as_str()).collect();
            bail!("there are several sessions: {}; say which", names.join(", "))
        }
    }
}

/// What needs no choice.
fn choose_alone(sessions: &[SessionInfo]) -> Option<SessionId> {
    let used = sessions.iter().filter(|info| info.used_ms.is_some()).min_by_key(|info| info.used_ms);
    let only = if let [only] = sessions { Some(only) } else { None };
    only.or(used).map(|info| info.id)
}

/// Has the person choose by number, or by a name or its beginning.
fn ask(sessions: &[SessionInfo]) -> anyhow::Result<Target> {
    for (number, info) in (1..).zip(sessions) {
        print_note(format_args!("{number:>3}  {}  {}", info.name, info.command));
    }
    print_note(format_args!("Which one? Type its number or name, and Return:"));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading the choice failed")?;
    chosen(line.trim(), sessions)
}

fn chosen(text: &str, sessions: &[SessionInfo]) -> anyhow::Result<Target> {
    if text.is_empty() {
        bail!("no session was chosen");
    }
    // A name wins: one may be a number.
    if let Some(info) = sessions.iter().find(|info| info.name.as_str() == text) {
        return Ok(info.id.into());
    }
    if let Some(number) = text.parse().ok().and_then(|number: usize| number.checked_sub(1)) {
        let count = sessions.len();
        let info =
            sessions.get(number).with_context(|| format!("there are {count} sessions to choose from"))?;
        return Ok(info.id.into());
    }
    let session: SessionArg = text.parse().map_err(anyhow::Error::msg)?;
    Ok(session.target)
}
