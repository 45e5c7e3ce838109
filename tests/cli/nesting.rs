//! Sessions in sessions: any that make no circle, and none that do, whatever a client forgets of where it runs.

use super::*;

const FUGUE: &str = env!("CARGO_BIN_EXE_fugue-server");

/// A session without clients whose program is a shell.
fn session(home: &Home, name: &str) {
    home.succeed(&["new", name, "-d", "--", "sh"]);
}

/// Attaches to a session in a terminal of its own, and waits for its shell.
fn attach(home: &Home, name: &str) -> Terminal {
    let terminal = home.terminal(&["attach", name]);
    terminal.wait_for("ready>");
    terminal
}

fn clients(home: &Home, name: &str) -> u64 {
    let sessions = home.json(&["list", "--json"]);
    let found = sessions.as_array().unwrap().iter().find(|session| session["name"] == name).cloned();
    found.map_or(0, |session| session["clients"].as_u64().unwrap())
}

/// That what is typed in session `a` is refused as its own client.
fn is_refused_in_itself(command: &str) {
    let home = Home::new();
    session(&home, "a");
    let terminal = attach(&home, "a");
    terminal.type_in(&format!("{command}; echo refused $((40 + 2))\n"));
    terminal.wait_for("is session a itself");
    terminal.wait_for("refused 42");
    assert_eq!(clients(&home, "a"), 1);
}

#[test]
fn a_session_is_not_attached_to_itself_whatever_its_environment_says() {
    is_refused_in_itself(&format!("{FUGUE} attach a"));
    is_refused_in_itself(&format!("unset FUGUE_SESSION; {FUGUE} attach a"));
    is_refused_in_itself(&format!("FUGUE_SESSION=b {FUGUE} attach -r a"));
}

#[test]
fn a_terminal_within_a_sessions_terminal_is_in_the_session_too() {
    // It has no terminal that controls it, and prints to this one all the same.
    is_refused_in_itself(&format!("setsid -w {FUGUE} attach a"));
    // It has a terminal of its own, which `script` shows in this one.
    is_refused_in_itself(&format!("script -qec '{FUGUE} attach a' /dev/null"));
}

/// A server of tmux's on a socket. It ends with the test.
struct Tmux(PathBuf);

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.0).arg("kill-server").output();
    }
}

#[test]
fn a_pane_of_another_multiplexer_in_a_session_is_in_the_session() {
    if !Command::new("tmux").arg("-V").output().is_ok_and(|version| version.status.success()) {
        println!("not shown: there is no tmux");
        return;
    }
    let home = Home::new();
    session(&home, "a");
    let terminal = attach(&home, "a");
    let tmux = Tmux(home.socket().with_file_name("tmux"));
    // Its server is nobody's child, and has no terminal that controls it.
    terminal.type_in(&format!(
        "env -u TMUX tmux -S {} -f /dev/null new-session '{FUGUE} attach a; exec cat'\n",
        tmux.0.display()
    ));
    terminal.wait_for("is session a itself");
    assert_eq!(clients(&home, "a"), 1);
}

#[test]
fn a_recorder_is_refused_if_it_prints_to_its_own_session() {
    is_refused_in_itself(&format!("{FUGUE} attach a </dev/null"));
    is_refused_in_itself(&format!("{FUGUE} attach a | cat"));
    let home = Home::new();
    session(&home, "a");
    let terminal = attach(&home, "a");
    terminal.type_in(&format!("{FUGUE} attach a >/dev/null &\n"));
    eventually("both are attached", || clients(&home, "a") == 2);
}

#[test]
fn a_circle_over_several_sessions_is_refused_with_the_way_around_it() {
    let home = Home::new();
    for name in ["a", "b", "c"] {
        session(&home, name);
    }
    // A shows B, which shows C.
    let terminal = attach(&home, "a");
    for next in ["b", "c"] {
        terminal.type_in(&format!("clear; unset FUGUE_SESSION; {FUGUE} attach {next}\n"));
        eventually("the next is attached", || clients(&home, next) == 1);
    }
    terminal.type_in(&format!(
        "clear; echo in-c-$((1 + 1)); unset FUGUE_SESSION; {FUGUE} attach a; echo refused $((40 + 2))\n"
    ));
    terminal.wait_for("refused 42");
    let told = terminal.wait_until("the way", |shown| {
        let text = shown.text().replace('\n', "");
        text.contains("outside of these").then_some(text)
    });
    let way = "this terminal is session c, which is shown in session b, which is shown in session a: attaching to a";
    assert!(told.contains(way), "{told}");
    assert_eq!([clients(&home, "a"), clients(&home, "b"), clients(&home, "c")], [1, 1, 1]);
    // Another may watch all of them, and what is no circle may be nested.
    let _outside = attach(&home, "b");
    terminal.type_in(&format!("clear; {FUGUE} new d\n"));
    eventually("a new one is attached", || clients(&home, "d") == 1);
}

#[test]
fn where_a_client_has_left_there_is_no_circle() {
    let home = Home::new();
    session(&home, "a");
    session(&home, "b");
    let (in_a, in_b) = (attach(&home, "a"), attach(&home, "b"));
    in_a.type_in(&format!("clear; unset FUGUE_SESSION; {FUGUE} attach b\n"));
    eventually("b is shown in a", || clients(&home, "b") == 2);
    in_b.type_in(&format!("clear; unset FUGUE_SESSION; {FUGUE} attach a\n"));
    in_b.wait_for("which is shown in session a");
    // The inner client ends, as its outer one's detach key is also its own.
    let inner = home.session("a")["pid"].as_u64().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{inner}/task/{inner}/children")).unwrap();
    signal(children.trim().parse().unwrap(), Signal::TERM);
    eventually("it has left", || clients(&home, "b") == 1);
    in_b.type_in(&format!("clear; {FUGUE} attach a\n"));
    eventually("a is shown in b", || clients(&home, "a") == 2);
}

#[test]
fn a_terminal_within_a_session_is_not_switched_to_that_session() {
    let home = Home::new();
    session(&home, "a");
    session(&home, "b");
    let terminal = attach(&home, "a");
    terminal.type_in(&format!("clear; env -u FUGUE_SESSION {FUGUE} attach b\n"));
    eventually("b is shown in a", || clients(&home, "b") == 1);
    terminal.type_in(&format!("clear; {FUGUE} attach a; echo refused $((40 + 2))\n"));
    terminal.wait_for("refused 42");
    terminal.wait_for("is session a itself");
    assert_eq!([clients(&home, "a"), clients(&home, "b")], [1, 1]);
}
