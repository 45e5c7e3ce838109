//! What a logout does to a server that was started over ssh.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::print_error;

/// How long the system has to answer. It is asked once, as a server starts.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Says so if the server will be ended with the last login, and how to keep it.
///
/// Only logind ends what a login leaves, and only if it is told to. Whether the runtime directory goes with the login
/// does not matter: the server binds its socket again when the directory is back.
pub(super) async fn tell_what_a_logout_does() {
    let (manager, user) = ("/org/freedesktop/login1", "/org/freedesktop/login1/user/self");
    if property(manager, "Manager", "KillUserProcesses").await != Some(true) {
        return;
    }
    let enable = match property(user, "User", "Linger").await {
        Some(true) => "",
        _ => "`loginctl enable-linger` and then ",
    };
    print_error(format_args!(
        "the server that was started ends when you log out, because logind is told to kill what a login leaves \
         (KillUserProcesses); {enable}`systemd-run --user fugue-server serve`, with no other server running, starts one \
         that stays"
    ));
}

/// A property of logind's; `None` where there is no logind, or it does not answer.
async fn property(object: &str, interface: &str, name: &str) -> Option<bool> {
    let asked = Command::new("busctl")
        .args(["--system", "get-property", "org.freedesktop.login1", object])
        .arg(format!("org.freedesktop.login1.{interface}"))
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = timeout(ANSWER_TIME, asked).await.ok()?.ok()?;
    match &*answer.stdout {
        b"b true\n" => Some(true),
        b"b false\n" => Some(false),
        _ => None,
    }
}
