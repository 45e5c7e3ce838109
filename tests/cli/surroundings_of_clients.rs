//! Where a session is used from: its path to the agent of whoever attached last, and `env`.

use std::fs;

use super::*;

const DETACH: &str = "\x1c";

/// What a session's program was given as its agent, if anything.
fn given(home: &Home, name: &str) -> Option<PathBuf> {
    let pid = home.session(name)["pid"].as_u64().unwrap();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"SSH_AUTH_SOCK="))?;
    Some(String::from_utf8(value.to_vec()).unwrap().into())
}

/// Waits until a link points at this.
fn points_at(link: &Path, target: &str) {
    eventually(target, || fs::read_link(link).is_ok_and(|found| found == Path::new(target)));
}

/// A terminal that is used from elsewhere: its variables, and what it runs.
fn from(home: &Home, variables: &str, command: &str) -> Terminal {
    home.shell_terminal(&format!("exec env -u SSH_AUTH_SOCK {variables} fugue-server {command}"))
}

fn clients(home: &Home, name: &str) -> u64 {
    home.session(name)["clients"].as_u64().unwrap()
}

#[test]
fn the_path_to_the_agent_stays_and_leads_to_the_newest_one() {
    let home = Home::new();
    let first = from(&home, "SSH_AUTH_SOCK=/tmp/agent.1", "new a");
    first.wait_for("ready>");
    let link = given(&home, "a").unwrap();
    assert_eq!(link.parent(), home.socket().parent(), "{link:?} is not in the server's own directory");
    points_at(&link, "/tmp/agent.1");
    let second = from(&home, "SSH_AUTH_SOCK=/tmp/agent.2", "attach a");
    points_at(&link, "/tmp/agent.2");
    first.type_in("echo typed $((1 + 1))\n");
    first.wait_for("typed 2");
    points_at(&link, "/tmp/agent.1");
    drop(first);
    points_at(&link, "/tmp/agent.2");

    // None of these has an agent that counts: read-only, none, no path, and the link itself.
    let own = format!("SSH_AUTH_SOCK={}", link.display());
    for (variables, command) in [
        ("SSH_AUTH_SOCK=/tmp/agent.3", "attach -r a"),
        ("A=1", "attach a"),
        ("SSH_AUTH_SOCK=agent.4", "attach a"),
        (&own, "attach a"),
    ] {
        let other = from(&home, variables, command);
        eventually("it is attached", || clients(&home, "a") == 2);
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/tmp/agent.2"), "{variables} {command}");
        drop(other);
        eventually("it has left", || clients(&home, "a") == 1);
    }
    // Nor does it go back to one that left before.
    let without = from(&home, "A=1", "attach a");
    eventually("it is attached", || clients(&home, "a") == 2);
    drop(second);
    eventually("one has left", || clients(&home, "a") == 1);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/tmp/agent.2"));
    drop(without);
    eventually("nobody is attached", || clients(&home, "a") == 0);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/tmp/agent.2"));
    home.succeed(&["kill", "a"]);
    eventually("it goes with its session", || fs::symlink_metadata(&link).is_err());
    let left = fs::read_dir(link.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.contains("agent")), "{left:?}");
}

#[test]
fn a_program_whose_starter_has_no_agent_is_given_none() {
    let home = Home::new();
    from(&home, "A=1", "new a -d -- sleep 1000")
        .wait_until("the end", |shown| shown.text().contains('-').then_some(()));
    assert_eq!(given(&home, "a"), None);
    // By `env` it can have the one that came later, on a path that stays as well.
    let client = from(&home, "SSH_AUTH_SOCK=/tmp/agent.1", "attach a");
    eventually("it is attached", || clients(&home, "a") == 1);
    let variables = home.succeed(&["env", "a"]);
    let path = variables.lines().find_map(|line| line.strip_prefix("export SSH_AUTH_SOCK='")).unwrap();
    points_at(Path::new(path.trim_end_matches("';")), "/tmp/agent.1");
    drop(client);
}

#[test]
fn a_link_that_a_killed_server_left_is_its_sessions_or_removed() {
    let home = Home::new();
    from(&home, "SSH_AUTH_SOCK=/tmp/agent.1", "new a").wait_for("ready>");
    let link = given(&home, "a").unwrap();
    home.signal_server(Signal::KILL);
    points_at(&link, "/tmp/agent.1");
    let again = from(&home, "SSH_AUTH_SOCK=/tmp/agent.2", "attach a");
    again.type_in("\n");
    again.wait_for("ready>");
    points_at(&link, "/tmp/agent.2");
    assert_eq!(given(&home, "a").unwrap(), link);

    home.kill_all();
    points_at(&link, "/tmp/agent.2");
    // It has its lock until its last thread has ended.
    eventually("the next one starts", || {
        home.run(&["new", "b", "-d", "--", "sleep", "1000"]).status.success()
    });
    assert!(fs::symlink_metadata(&link).is_err());
}

#[test]
fn env_makes_a_shells_environment_that_of_the_client_used_last() {
    let home = Home::new();
    let variables = "DISPLAY=:1 XAUTHORITY=/tmp/one COLORTERM=truecolor";
    let first = from(&home, variables, "new a");
    first.wait_for("ready>");
    let second = from(&home, "-u XAUTHORITY \"DISPLAY=it's:2 \\$(x)\" TERM_PROGRAM=kitty", "attach a");
    second.wait_for("ready>");
    let show = "echo \"<$DISPLAY|${XAUTHORITY-unset}|${TERM_PROGRAM-unset}>\"";
    // Inside the session its name need not be said.
    second.type_in(&format!("clear; eval \"$({} env)\"; {show}\n", env!("CARGO_BIN_EXE_fugue-server")));
    second.wait_for("<it's:2 $(x)|unset|kitty>");
    first.type_in("clear\n");
    eventually("it was used last", || home.succeed(&["env", "a"]).contains("export DISPLAY=':1';\n"));
    let unknown = home.run(&["env", "b"]);
    assert_eq!(unknown.status.code(), Some(1));
    for mut terminal in [first, second] {
        terminal.type_in(DETACH);
        terminal.ends_with(0);
    }
    // It stays with nobody attached.
    assert!(home.succeed(&["env", "a"]).contains("export DISPLAY="));
}
