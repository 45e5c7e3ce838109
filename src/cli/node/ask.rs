//! What the other commands ask the node of this machine for.

use std::{path::Path, time::Duration};

use anyhow::{anyhow, bail};
use tokio::time::timeout;

use super::super::{Globals, start::find_or_start};
use crate::{
    SessionId,
    client::ClientError,
    message::{Create, RequestError, SessionChange, Target},
    nodes::{ControlAnswer, ControlRequest, NodeFigure, NodeLine, ask},
};

/// How long a node is asked for what only makes a message better, or a command shorter.
const HINT_TIME: Duration = Duration::from_secs(1);

/// Why a node does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum NodeRefused {
    #[error("{0}")]
    NoSession(String),
    #[error("{0}")]
    NameTaken(String),
    #[error("{0}")]
    Other(String),
}

/// Has the node of this machine watch a session of another: from its first byte on, or from its screen. Returns the id
/// under which the server has it then.
pub(in crate::cli) async fn watch(
    common: &Globals,
    host: &str,
    session: &Target,
    from_start: bool,
) -> anyhow::Result<SessionId> {
    // So that there is a server to provide it to.
    if common.remote.is_none() {
        drop(find_or_start(common).await?);
    }
    let request = ControlRequest::Watch { host: host.to_owned(), session: session.clone(), from_start };
    match ask_own(common, &request).await? {
        ControlAnswer::Watching { session } => Ok(session),
        _ => bail!(UNASKED),
    }
}

/// Starts a session on another node.
pub(in crate::cli) async fn create(
    common: &Globals,
    host: &str,
    create: Create,
) -> anyhow::Result<SessionId> {
    let request = ControlRequest::Create { host: host.to_owned(), create: Box::new(create) };
    match ask_own(common, &request).await? {
        ControlAnswer::Created { session } => Ok(session),
        _ => bail!(UNASKED),
    }
}

/// Changes a session where it runs.
pub(in crate::cli) async fn change(
    common: &Globals,
    host: &str,
    session: Target,
    change: SessionChange,
) -> anyhow::Result<()> {
    match ask_own(common, &ControlRequest::Change { host: host.to_owned(), session, change }).await? {
        ControlAnswer::Changed => Ok(()),
        _ => bail!(UNASKED),
    }
}

/// The other nodes, and their sessions.
pub(in crate::cli) async fn nodes(common: &Globals) -> anyhow::Result<Vec<NodeLine>> {
    match ask_own(common, &ControlRequest::Nodes { with_sessions: true }).await? {
        ControlAnswer::Nodes(nodes) => Ok(nodes),
        _ => bail!(UNASKED),
    }
}

/// What the node counts.
pub(in crate::cli) async fn figures(common: &Globals) -> anyhow::Result<Vec<NodeFigure>> {
    match ask_own(common, &ControlRequest::Figures).await? {
        ControlAnswer::Figures(figures) => Ok(figures),
        _ => bail!(UNASKED),
    }
}

const UNASKED: &str = "the node answers what was not asked: it is of another version, so start it again";

async fn ask_own(common: &Globals, request: &ControlRequest) -> anyhow::Result<ControlAnswer> {
    if common.remote.is_some() {
        bail!("that is done by the node of the machine that this runs on: leave out --remote");
    }
    Err(match ask(&common.socket, request).await? {
        ControlAnswer::NoSession(why) => NodeRefused::NoSession(why),
        ControlAnswer::NameTaken(why) => NodeRefused::NameTaken(why),
        ControlAnswer::Refused(why) => NodeRefused::Other(why),
        answer => return Ok(answer),
    }
    .into())
}

/// Whether a node runs whose server is at `socket`, and knows one of this name.
pub(in crate::cli) async fn knows(socket: &Path, name: &str) -> bool {
    known(socket, false).await.iter().any(|node| node.name == name)
}

/// An error, to be printed. Where it is that there is no such session here, it tells of the only one of that name on
/// another node, if the node of this machine knows it soon.
pub(in crate::cli) async fn with_hint(common: &Globals, error: anyhow::Error) -> anyhow::Error {
    let Some(ClientError::Refused(RequestError::UnknownSession(name))) = error.downcast_ref() else {
        return error;
    };
    if common.remote.is_some() {
        return error;
    }
    match only_one(&known(&common.socket, true).await, name) {
        Some(only) => anyhow!("{error:#}; {only} is one, on another node"),
        None => error,
    }
}

/// The only running session of this name, or else the only one whose name begins so, as it is written.
fn only_one(nodes: &[NodeLine], name: &str) -> Option<String> {
    let running = nodes.iter().flat_map(|node| {
        let running = node.sessions.iter().filter(|session| session.is_running);
        running.map(|session| (session.name.as_str(), node.name.as_str()))
    });
    let (exact, begun): (Vec<_>, Vec<_>) =
        running.filter(|(other, _)| other.starts_with(name)).partition(|(other, _)| *other == name);
    match (&exact[..], &begun[..]) {
        ([(name, node)], _) | ([], [(name, node)]) => Some(format!("{name}@{node}")),
        _ => None,
    }
}

async fn known(socket: &Path, with_sessions: bool) -> Vec<NodeLine> {
    match timeout(HINT_TIME, ask(socket, &ControlRequest::Nodes { with_sessions })).await {
        Ok(Ok(ControlAnswer::Nodes(nodes))) => nodes,
        _ => Vec::new(),
    }
}

/// A row for each session of each node, and one for a node that has none or is lost.
pub(in crate::cli) fn table(nodes: &[NodeLine]) -> String {
    let mut table = super::super::table(["NODE", "SESSION", "STATE", "SIZE", "PRINTED"]);
    for node in nodes {
        if node.is_lost || node.sessions.is_empty() {
            let state = match node.is_lost {
                true => format!("lost {} ago", super::super::time::age(node.heard_seconds)),
                false => "no sessions".to_owned(),
            };
            table.add_row([&node.name, "-", &state, "-", "-"]);
            continue;
        }
        for session in &node.sessions {
            let state = if session.is_running { "running" } else { "ended" };
            let printed = super::super::bytes::about(session.printed);
            table.add_row([&node.name, &session.name, state, &session.size, &printed]);
        }
    }
    format!("{table}\n")
}

/// The nodes as docs/json.md has them.
pub(in crate::cli) fn as_json(nodes: &[NodeLine]) -> String {
    serde_json::to_string(nodes).unwrap_or_default() + "\n"
}
