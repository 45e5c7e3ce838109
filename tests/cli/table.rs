//! docs/commands.md: each command of its last column does what its row says.

use super::*;

const COMMANDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");

/// The last column of each row, without its quotes.
fn commands() -> Vec<String> {
    let table = std::fs::read_to_string(COMMANDS).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let last = rows.map(|row| {
        let row = row.replace(r"\|", "\u{0}");
        row.trim_end_matches(" |").rsplit_once("| ").unwrap().1.replace('\u{0}', "|")
    });
    last.map(|command| command.trim_matches('`').to_owned()).collect()
}

/// What is true once a command has run, of the sessions and of what it printed.
fn happened(home: &Home, command: &str, printed: &str) -> bool {
    let sessions = home.json(&["list", "--json"]);
    let find =
        |name: &str| sessions.as_array().unwrap().iter().find(|session| session["name"] == name).cloned();
    let clients = |name: &str| find(name).map_or(u64::MAX, |session| session["clients"].as_u64().unwrap());
    let ended = |name: &str| find(name).is_some_and(|session| session["running"] == false);
    match command {
        "fugue-server new build -d -- make" => ended("build"),
        "fugue-server new tmp -d -C /tmp -e EDITOR=vi" => clients("tmp") == 0,
        "fugue-server detach work" => clients("work") == 0,
        "fugue-server ls" => printed.contains("NAME") && printed.contains("work"),
        "fugue-server ls --clients" => printed.contains("CLIENT") && printed.contains("work"),
        "fugue-server rename work play" => find("play").is_some(),
        "fugue-server resize work 100x30" => find("work").unwrap()["size"] == "100x30",
        "echo make | fugue-server send work" => {
            home.succeed(&["wait", "work", "--for", "make", "--timeout", "120s"]).is_empty()
        }
        "fugue-server send work --keys 'Up Enter'" => {
            home.succeed(&["wait", "work", "--for", "not found", "--timeout", "120s"]).is_empty()
        }
        "fugue-server screen work" => printed.contains("ready>"),
        "fugue-server kill work" => ended("work"),
        _ => panic!("docs/commands.md has `{command}`: say here what is true once it has run"),
    }
}

/// What a person sees in a terminal where a command attaches, detaches or leaves; and whether it is typed in a session.
fn in_terminal(command: &str) -> Option<(bool, &'static str)> {
    Some(match command {
        "fugue-server new work"
        | "fugue-server attach -A work"
        | "fugue-server attach"
        | "fugue-server attach wo"
        | "fugue-server attach -r work"
        | "fugue-server detach work; fugue-server attach work" => (false, "work"),
        r"ctrl-\" => (true, "[detached from work]"),
        "fugue-server detach" => (true, "[detached from work]"),
        "fugue-server attach build" => (true, "build"),
        _ => return None,
    })
}

#[test]
fn each_command_of_the_table_does_what_its_row_says() {
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        let home = Home::new();
        if command != "fugue-server new work" && command != "fugue-server attach -A work" {
            home.succeed(&["new", "work", "-d", "--", "sh"]);
            home.succeed(&["wait", "work", "--for", "ready>", "--timeout", "120s"]);
        }
        match in_terminal(&command) {
            Some((false, session)) => {
                let terminal = home.shell_terminal(&command);
                terminal.wait_for("ready>");
                eventually("it is attached", || home.session(session)["clients"] == 1);
            }
            Some((true, seen)) => {
                if seen == "build" {
                    home.succeed(&["new", "build", "-d", "--", "sh"]);
                }
                let terminal = home.shell_terminal("fugue-server attach work");
                terminal.wait_for("ready>");
                if command == r"ctrl-\" {
                    terminal.type_in("\x1c");
                } else {
                    let binary = env!("CARGO_BIN_EXE_fugue-server");
                    terminal.type_in(&format!("{}\n", command.replace("fugue-server", binary)));
                }
                if seen == "build" {
                    eventually("it is shown", || home.session("build")["clients"] == 1);
                } else {
                    terminal.wait_for(seen);
                }
            }
            None if command == "fugue-server stop" => {
                let server = home.server_pid();
                assert!(script(&home, &command).status.success());
                assert!(!lives(server));
            }
            None => {
                let watcher = home.terminal(&["attach", "work"]);
                watcher.wait_for("ready>");
                // Not every machine has a `make`.
                let make = home.directory.path().join("make");
                std::fs::write(&make, "#!/bin/sh\n").unwrap();
                std::fs::set_permissions(&make, Permissions::from_mode(0o755)).unwrap();
                let path = format!("{}:{}", home.directory.path().display(), path());
                let output = shell(&home, &command).env("PATH", path).output().unwrap();
                assert!(output.status.success(), "{command}: {output:?}");
                let printed = String::from_utf8_lossy(&output.stdout);
                eventually(&command, || happened(&home, &command, &printed));
            }
        }
    }
}
