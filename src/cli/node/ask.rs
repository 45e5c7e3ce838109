//! What the other commands ask the node of this machine for.

use anyhow::bail;

use super::super::{Globals, start::find_or_start};
use crate::{
    SessionId,
    message::Target,
    nodes::{ControlAnswer, ControlRequest, NodeFigure, NodeLine, ask},
};

/// Has the node of this machine watch a session of another. Returns the id under which the server has it then.
pub(in crate::cli) async fn watch(
    common: &Globals,
    host: &str,
    session: &Target,
) -> anyhow::Result<SessionId> {
    if common.remote.is_some() {
        bail!("it is watched by the node of the machine that this runs on: leave out --remote");
    }
    // So that there is a server to provide it to.
    drop(find_or_start(common).await?);
    let request = ControlRequest::Watch { host: host.to_owned(), session: session.clone() };
    match ask(&common.socket, &request).await? {
        ControlAnswer::Watching { session } => Ok(session),
        ControlAnswer::Refused(why) => bail!(why),
        _ => bail!("the node answers what was not asked"),
    }
}

/// The other nodes, and their sessions.
pub(in crate::cli) async fn nodes(common: &Globals) -> anyhow::Result<Vec<NodeLine>> {
    match ask(&common.socket, &ControlRequest::Nodes).await? {
        ControlAnswer::Nodes(nodes) => Ok(nodes),
        ControlAnswer::Refused(why) => bail!(why),
        _ => bail!("the node answers what was not asked"),
    }
}

/// What the node counts.
pub(in crate::cli) async fn figures(common: &Globals) -> anyhow::Result<Vec<NodeFigure>> {
    match ask(&common.socket, &ControlRequest::Figures).await? {
        ControlAnswer::Figures(figures) => Ok(figures),
        ControlAnswer::Refused(why) => bail!(why),
        _ => bail!("the node answers what was not asked"),
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
