//! Changes that other nodes ask for once: each is answered, whatever becomes of it.

use std::{env, os::unix::ffi::OsStringExt, path::Path};

use crate::{
    Client, SessionId,
    client::ClientError,
    message::{Create, Relay, RequestError, SessionChange},
    nodes::{message::Refusal, subject::NodeName},
};

/// Variables of this process that are not for programs: of its own terminal, directory and service.
const OWN: &[&[u8]] = &[
    b"COLUMNS",
    b"LINES",
    b"OLDPWD",
    b"PWD",
    b"INVOCATION_ID",
    b"JOURNAL_STREAM",
    b"MANAGERPID",
    b"NOTIFY_SOCKET",
    b"SYSTEMD_EXEC_PID",
    b"WATCHDOG_PID",
    b"WATCHDOG_USEC",
];

/// Starts a session in this user's home directory, with the variables of this process below those that are given.
pub(super) async fn create(socket: &Path, node: &NodeName, create: Create) -> Result<SessionId, Refusal> {
    let mut client = connect(socket).await?;
    match client.create(place().complete(create)).await {
        Ok(info) => {
            tracing::info!(session = %info.id, name = %info.name, %node, "another node created a session");
            Ok(info.id)
        }
        Err(ClientError::Refused(RequestError::NameTaken(_))) => Err(Refusal::NameTaken),
        Err(error) => Err(failed(&error)),
    }
}

/// Changes a session.
pub(super) async fn change(socket: &Path, session: SessionId, change: SessionChange) -> Result<(), Refusal> {
    let mut client = connect(socket).await?;
    client.change(session, change).await.map(drop).map_err(|error| failed(&error))
}

async fn connect(socket: &Path) -> Result<Client, Refusal> {
    Client::connect(socket).await.map_err(|error| Refusal::failed(&error.to_string()))
}

fn failed(error: &ClientError) -> Refusal {
    match error {
        ClientError::Refused(why) => Refusal::failed(&why.to_string()),
        lost => Refusal::failed(&format!("{lost}; `list --nodes` shows whether it was done")),
    }
}

/// Where programs begin that other nodes start.
fn place() -> Relay {
    let home = env::home_dir().unwrap_or_else(|| "/".into()).into_os_string().into_vec();
    let variables = env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let mut variables: Vec<_> = variables.filter(|(name, _)| !OWN.contains(&&name[..])).collect();
    variables.push((b"PWD".to_vec(), home.clone()));
    Relay::new().with_place(variables, Some(home))
}
