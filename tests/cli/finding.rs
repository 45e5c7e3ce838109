//! Finding the server: where it was looked for is said, where it may be is tried, and no command leaves one behind that
//! it had no use for.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A user whom nothing else on this machine has, with runtime directories of its own. `None` where the tests can't
/// become another user, which is said.
struct Somebody {
    uid: u32,
    home: TempDir,
}

impl Somebody {
    fn new() -> Option<Self> {
        // Others may run these tests at the same time, in this process too.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let uid = 1_000_000 + 16 * std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
        let home = tempfile::tempdir().unwrap();
        if chown(home.path(), Some(uid), Some(uid)).is_err() {
            println!("not shown: only root can become another user");
            return None;
        }
        let binary = home.path().join("binary");
        let built = env!("CARGO_BIN_EXE_fugue-server");
        fs::hard_link(built, &binary).or_else(|_| fs::copy(built, &binary).map(drop)).unwrap();
        Some(Self { uid, home })
    }

    fn run(&self, runtime: Option<&Path>, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.home.path().join("binary"));
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command.envs(runtime.map(|directory| ("XDG_RUNTIME_DIR", directory)));
        command.current_dir("/").uid(self.uid).gid(self.uid).output().unwrap()
    }

    fn in_tmp(&self) -> PathBuf {
        format!("/tmp/fugue-{}", self.uid).into()
    }

    /// The server that answers, with or without a runtime directory.
    fn server(&self, runtime: Option<&Path>) -> Option<u64> {
        let stats = self.run(runtime, &["stats", "--json"]);
        serde_json::from_slice::<Value>(&stats.stdout).ok()?["pid"].as_u64()
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        for runtime in [None, Some(self.home.path())] {
            if let Some(pid) = self.server(runtime) {
                signal(pid, Signal::TERM);
                eventually("it ends", || !lives(pid));
            }
        }
        let _ = fs::remove_dir_all(self.in_tmp());
    }
}

#[test]
fn a_server_is_found_where_another_login_started_it_and_that_is_said() {
    let Some(somebody) = Somebody::new() else { return };
    let runtime = Some(somebody.home.path());
    let started = somebody.run(None, &["new", "a", "-d", "--", "sleep", "1000"]);
    assert!(started.status.success(), "{started:?}");
    let listed = somebody.run(runtime, &["list", "--json"]);
    let sessions: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(sessions[0]["name"], "a", "{listed:?}");
    let (first, used) =
        (somebody.home.path().join("fugue/server.sock"), somebody.in_tmp().join("server.sock"));
    let said = format!("no server listens on {}; using the one on {}", first.display(), used.display());
    assert!(told(&listed).contains(&said), "{listed:?}");
    // Nor is there a second server, whose sessions would hide these.
    let started = somebody.run(runtime, &["new", "b", "-d", "--", "sleep", "1000"]);
    assert!(started.status.success() && !first.exists(), "{started:?}");
    assert_eq!(somebody.server(runtime), somebody.server(None));
    assert!(told(&somebody.run(None, &["list"])).is_empty());
}

#[test]
fn without_a_server_each_place_that_was_tried_is_named() {
    let Some(somebody) = Somebody::new() else { return };
    let runtime = Some(somebody.home.path());
    let (first, other) =
        (somebody.home.path().join("fugue/server.sock"), somebody.in_tmp().join("server.sock"));
    for (arguments, code) in [
        (&["list", "--json"][..], 0),
        (&["list"], 0),
        (&["stats"], 1),
        (&["attach", "a"], 255),
        (&["env", "a"], 1),
    ] {
        let output = somebody.run(runtime, arguments);
        let why = format!("no server listens on {}, nor on {}; ", first.display(), other.display());
        assert!(told(&output).contains(&why), "{arguments:?}: {output:?}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert_eq!(arguments == ["list", "--json"], output.stdout == b"[]\n");
    }
    assert!(!first.exists() && !other.exists());
    // A server where nothing leads to is named.
    let elsewhere = somebody.home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    chown(&elsewhere, Some(somebody.uid), Some(somebody.uid)).unwrap();
    assert!(somebody.run(Some(&elsewhere), &["new", "a", "-d", "--", "sleep", "1000"]).status.success());
    let pid = somebody.server(Some(&elsewhere)).unwrap();
    let named = format!("process {pid} is a server on {}", elsewhere.join("fugue/server.sock").display());
    let output = somebody.run(None, &["list"]);
    assert!(told(&output).contains(&named), "{output:?}");
    // Its directory is removed, as at a logout, and the variable still set.
    fs::remove_dir_all(&elsewhere).unwrap();
    let output = somebody.run(Some(&elsewhere), &["list"]);
    assert!(told(&output).contains(&format!("`kill {pid}` ends them")), "{output:?}");
    signal(pid, Signal::TERM);
    eventually("it ends", || !lives(pid));
    // What another user has put there is left alone, and said.
    fs::create_dir(somebody.in_tmp()).unwrap();
    let _theirs = std::os::unix::net::UnixListener::bind(&other).unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o777)).unwrap();
    let output = somebody.run(runtime, &["list"]);
    assert!(told(&output).contains("belongs to user 0"), "{output:?}");
}

#[test]
fn a_socket_that_was_named_is_the_only_one_that_is_tried() {
    let home = Home::new();
    let output = home.run(&["list"]);
    let named = format!("no server listens on {}; ", home.socket().display());
    assert!(told(&output).contains(&named), "{output:?}");
}

#[test]
fn an_attach_starts_no_server() {
    let home = Home::new();
    let output = home.run(&["attach", "a"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(told(&output).contains("`fugue-server new` starts one"), "{output:?}");
    assert!(!home.socket().parent().unwrap().exists());
}

#[test]
fn a_session_that_cannot_start_leaves_no_server_behind() {
    let home = Home::new();
    for arguments in [&["new", "a", "--", "/no/such/program"][..], &["new", "a", "-d", "--", "/etc"]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(told(&output).contains("could not start"), "{output:?}");
        assert!(!home.socket().exists(), "{arguments:?}");
    }
    // One that was there before, or has sessions, stays.
    let mut server = serve(&home, &[]);
    home.run(&["new", "a", "--", "/no/such/program"]);
    assert_eq!(home.server_pid(), server.pid());
    server.stop();
}

#[test]
fn a_server_whose_socket_was_removed_is_found_again() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let pid = home.server_pid();
    let directory = home.socket().parent().unwrap().to_owned();
    for removed in [&home.socket(), &directory.join("server.sock.lock"), &directory] {
        if removed.is_dir() {
            fs::remove_dir_all(removed).unwrap();
        } else {
            fs::remove_file(removed).unwrap();
        }
        // There is one server, whichever command looks first.
        home.succeed(&["new", "b", "-d", "--", "sleep", "1000"]);
        assert_eq!(home.server_pid(), pid, "after {}", removed.display());
        home.succeed(&["kill", "b"]);
        home.session("a");
    }
    // It is closed to others again.
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(home.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_server_whose_place_was_removed_is_named_and_comes_back_later() {
    let home = Home::new();
    let place = home.directory.path().join("run");
    let socket = place.join("fugue/server.sock");
    let run = |arguments: &[&str]| home.command(arguments).env("FUGUE_SOCKET", &socket).output().unwrap();
    let server_pid =
        || serde_json::from_slice::<Value>(&run(&["stats", "--json"]).stdout).unwrap()["pid"].as_u64();
    assert!(run(&["new", "a", "-d", "--", "sleep", "1000"]).status.success());
    let pid = server_pid().unwrap();
    fs::remove_dir_all(&place).unwrap();
    let told_of = |output: Output| {
        assert!(told(&output).contains(&format!("`kill {pid}` ends them")), "{output:?}");
    };
    told_of(run(&["list"]));
    told_of(run(&["attach", "a"]));
    assert!(!place.exists(), "what went as a whole stays gone");
    // With a new server there are sessions again, and the old one leaves it alone.
    told_of(run(&["new", "a", "-d", "--", "sleep", "1000"]));
    let next = server_pid().unwrap();
    assert_ne!(next, pid);
    signal(next, Signal::TERM);
    eventually("it ends", || !lives(next));
    // Then the place is the old one's, with its session.
    eventually("the old one is back", || run(&["list", "--json"]).stdout.starts_with(b"[{"));
    assert_eq!(server_pid(), Some(pid));
    signal(pid, Signal::TERM);
    eventually("it ends", || !lives(pid));
    assert!(!socket.exists());
}
