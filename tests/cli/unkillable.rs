//! Programs that their server may not signal, because they became another user's, as under `sudo`; and a server that is
//! told to stop while it sees programs out. Runs as root, or says what it does not show.

use std::fs;

use super::*;

/// A server of another user's, and what makes a program of its the superuser's.
struct Unkillable {
    other: Other,
    server: Served,
    become_root: PathBuf,
    /// The superuser's programs, whom nobody else ends.
    programs: Vec<u64>,
}

impl Unkillable {
    fn new() -> Option<Self> {
        let other = Other::new()?;
        let become_root = other.home.directory.path().join("become-root");
        let made = fs::copy("/usr/bin/setpriv", &become_root)
            .and_then(|_| fs::set_permissions(&become_root, Permissions::from_mode(0o4755)));
        if let Err(error) = made {
            println!("not shown: there is no setpriv to make a program the superuser's: {error}");
            return None;
        }
        let server = other.serve();
        Some(Self { other, server, become_root, programs: Vec::new() })
    }

    /// Starts a session whose program is the superuser's; `None` where files can't make it so. Returns its process.
    fn start(&mut self, name: &str, script: &str) -> Option<u64> {
        let mut new = self.other.command(&["new", name, "-d", "--"]);
        new.arg(&self.become_root).args(["--reuid", "0", "--clear-groups", "/bin/sh", "-c", script]);
        let started = new.output().unwrap();
        assert!(started.status.success(), "{started:?}");
        let pid = self.session(name)["pid"].as_u64().unwrap();
        let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // The shell is waiting for its script's `sleep`.
        eventually("the program runs, or is gone", || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            !lives(pid) || children.is_ok_and(|children| !children.is_empty())
        });
        if !status().contains("Uid:\t0\t0\t0\t0") {
            println!("not shown: a program can't become the superuser's from {}", self.become_root.display());
            return None;
        }
        self.programs.push(pid);
        Some(pid)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.other.command(arguments).output().unwrap()
    }

    fn session(&self, name: &str) -> Value {
        let list: Value = serde_json::from_slice(&self.run(&["list", "--json"]).stdout).unwrap();
        list.as_array().unwrap().iter().find(|session| session["name"] == name).unwrap().clone()
    }
}

impl Drop for Unkillable {
    fn drop(&mut self) {
        for program in self.programs.iter().filter(|program| lives(**program)) {
            let group = Pid::from_raw((*program).try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

const IGNORES_HANGUPS: &str = "trap '' HUP; while :; do sleep 1000; done";

#[test]
fn a_program_that_may_not_be_signalled_is_ended_by_closing_its_terminal() {
    let Some(mut unkillable) = Unkillable::new() else { return };
    let Some(pid) = unkillable.start("root", "sleep 1000; sleep 1000") else { return };
    let killed = unkillable.run(&["kill", "root"]);
    assert!(killed.status.success(), "{killed:?}");
    assert!(String::from_utf8_lossy(&killed.stderr).contains("killed by SIGHUP"), "{killed:?}");
    assert!(!lives(pid));
}

#[test]
fn a_kill_that_fails_says_so_and_what_to_do() {
    let Some(mut unkillable) = Unkillable::new() else { return };
    let Some(pid) = unkillable.start("root", IGNORES_HANGUPS) else { return };
    let killed = unkillable.run(&["kill", "root"]);
    assert_eq!(killed.status.code(), Some(1), "{killed:?}");
    let why = String::from_utf8_lossy(&killed.stderr);
    assert!(why.contains("can't be killed") && why.contains(&format!("sudo kill -9 {pid}")), "{why}");
    assert!(lives(pid));

    // The session is over all the same: its name is free, and its terminal closed.
    assert_eq!(unkillable.session("root")["running"], false);
    let again = unkillable.run(&["new", "root", "-d", "--", "sleep", "1000"]);
    assert!(again.status.success(), "{again:?}");
    // Once it does end, nothing of it is left.
    let group = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    eventually("it is waited for", || !Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_program_that_may_not_be_signalled_does_not_hold_up_a_shutdown() {
    let Some(mut unkillable) = Unkillable::new() else { return };
    let Some(pid) = unkillable.start("root", IGNORES_HANGUPS) else { return };
    signal(unkillable.server.pid(), Signal::TERM);
    let socket = unkillable.other.home.socket();
    eventually("the socket is removed", || !socket.exists());
    assert_eq!(wait(&mut unkillable.server.0).code(), Some(0));
    assert!(lives(pid));
}

#[test]
fn a_server_told_twice_to_stop_waits_for_no_program() {
    let home = Home::new();
    let mut server = serve(&home, &[]);
    home.succeed(&["new", "stubborn", "-d", "--", "sh", "-c", IGNORES_HANGUPS]);
    let pid = home.session("stubborn")["pid"].as_u64().unwrap();
    eventually("it ignores hangups", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        u64::from_str_radix(ignored, 16).unwrap() & 1 == 1
    });
    signal(server.pid(), Signal::TERM);
    eventually("it is told", || !home.socket().exists());
    signal(server.pid(), Signal::TERM);
    assert_eq!(wait(&mut server.0).code(), Some(0));
    // It would have been killed before.
    assert!(lives(pid));
    let group = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
}
