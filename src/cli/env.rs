//! `env`: the environment of the client that a session was used from last.

use super::{
    Exit, Globals, block_on, print,
    target::{SessionArg, this_session},
};
use crate::message::ClientEnvironment;

/// Prints where a session is used from, as commands of the shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  eval \"$(fugue-server env work)\"    in a shell of that session\n\n\
It sets DISPLAY, SSH_AUTH_SOCK and their like as the client has them that attached or typed last, and unsets those \
that it does not have.")]
pub(super) struct Args {
    /// The session's name, or its beginning [default: the session that this runs in]
    name: Option<SessionArg>,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        let session = match args.name {
            Some(session) => {
                session.must_be_here(common)?;
                session.target
            }
            None => this_session(&mut client).await?,
        };
        let environment = client.environment(session).await?;
        print(&commands(&environment))?;
        Ok(Exit::SUCCESS)
    })
}

/// Commands that make a shell's environment this one. Each ends with a semicolon, for an `eval` without quotes.
fn commands(environment: &ClientEnvironment) -> String {
    let command = |(name, value): (&str, Option<&str>)| match value {
        Some(value) => format!("export {name}='{}';\n", value.replace('\'', r"'\''")),
        None => format!("unset {name};\n"),
    };
    environment.iter().map(command).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_any_value_as_it_is_and_unsets_the_others() {
        let hostile = "'; exit 1; $(exit 2) \"`exit 3`\\ * ~ !!";
        let variables: [(&[u8], &[u8]); 2] = [(b"DISPLAY", hostile.as_bytes()), (b"SSH_TTY", b"")];
        let commands = commands(&ClientEnvironment::of(variables));
        let script = format!("{commands} printf %s \"$DISPLAY:${{SSH_TTY-unset}}:${{XAUTHORITY-unset}}\"");
        let shell = Command::new("/bin/sh").args(["-c", &script]).env("XAUTHORITY", "old").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shell.stdout), format!("{hostile}::unset"));
    }
}
