//! Servers that start when they are needed and end when they are told, and sessions between.

use super::*;

#[test]
fn new_starts_a_server_and_a_session_that_outlive_it() {
    let home = Home::new();
    let id = home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let session = home.session("a");
    assert_eq!(session["id"], id.trim_end());
    assert_eq!(session["command"], "sleep 1000");
    assert_eq!((&session["clients"], &session["running"]), (&Value::from(0), &Value::from(true)));
    let table = home.succeed(&["list"]);
    assert!(table.contains("NAME") && table.contains("sleep 1000"), "{table}");
    let again = home.run(&["new", "a", "-d"]);
    assert_eq!(again.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
}

#[test]
fn sessions_started_at_once_share_one_server() {
    for _ in 0..5 {
        let home = Home::new();
        let mut starters: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                home.command(&["new", name, "-d", "--", "sleep", "1000"])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .into();
        for starter in &mut starters {
            assert!(wait(starter).success());
        }
        assert_eq!(home.json(&["list", "--json"]).as_array().unwrap().len(), 3);
    }
}

#[test]
fn kill_ends_a_program_and_says_how_it_went() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let pid = home.session("a")["pid"].as_u64().unwrap();
    let killed = home.run(&["kill", "a"]);
    assert!(killed.status.success());
    assert!(String::from_utf8_lossy(&killed.stderr).contains("killed by SIGHUP"), "{killed:?}");
    assert!(!lives(pid));
    assert_eq!(home.session("a")["exit_code"], 129);
    let unknown = home.run(&["kill", "b"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no session b"), "{unknown:?}");
}

#[test]
fn attaching_late_says_how_it_ended_or_that_it_never_was() {
    let home = Home::new();
    let _server = serve(&home, &["--ended", "0"]);
    let ran = home.run(&["new", "over", "--", "sh", "-c", "exit 3"]);
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    for (name, why) in [("over", "has ended: exit status 3"), ("never", "no session never")] {
        let output = home.run(&["attach", name]);
        assert_eq!(output.status.code(), Some(255));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}

#[test]
fn a_program_that_cannot_start_is_explained() {
    let output = Home::new().run(&["new", "a", "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("could not start /no/such/program"),
        "{output:?}"
    );
}

#[test]
fn a_server_that_cannot_start_says_why_to_its_starter() {
    let home = Home::new();
    std::fs::create_dir(home.socket().parent().unwrap()).unwrap();
    let output = home.run(&["new", "a", "-d"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 700"), "{output:?}");
}

#[test]
fn a_server_told_to_stop_takes_its_programs_and_its_socket_with_it() {
    for with in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let mut server =
            home.command(&["serve"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        server.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
        let pid = home.session("a")["pid"].as_u64().unwrap();
        assert_eq!(home.server_pid(), u64::from(server.id()));
        signal(server.id().into(), with);
        assert_eq!(wait(&mut server).code(), Some(0));
        assert!(!home.socket().exists());
        assert!(!lives(pid));
    }
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let second = home.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("already running"), "{second:?}");
    assert_eq!(home.session("a")["running"], true);
}

#[test]
fn after_a_server_was_killed_with_its_keeper_the_next_start_works() {
    let home = Home::new();
    for _ in 0..3 {
        home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
        let (server, program) = (home.server_pid(), home.session("a")["pid"].as_u64().unwrap());
        home.kill_all();
        eventually("the server is gone", || !lives(server));
        assert!(home.socket().exists());
        // The kernel hangs up a program whose terminal's other end is gone.
        eventually("its program is gone", || !lives(program));
    }
}

#[test]
fn a_full_server_serves_its_clients_and_takes_others_later() {
    let home = Home::new();
    let mut server = Command::new("/bin/sh")
        .args(["-c", "ulimit -n 32; exec \"$0\" serve", env!("CARGO_BIN_EXE_fugue-server")])
        .env("FUGUE_SOCKET", home.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    let mut watcher = home.terminal(&["new", "a"]);
    watcher.wait_for("ready>");
    let connect = || std::os::unix::net::UnixStream::connect(home.socket()).unwrap();
    // More than it has descriptors for: the last of them are refused.
    let crowd: Vec<_> = (0..40).map(|_| connect()).collect();
    watcher.type_in("echo still $((40 + 2))\n");
    watcher.wait_for("still 42");
    drop(crowd);
    assert_eq!(home.session("a")["clients"], 1);
    watcher.type_in("exit\n");
    watcher.ends_with(0);
    signal(server.id().into(), Signal::TERM);
    assert_eq!(wait(&mut server).code(), Some(0));
}

#[test]
fn a_program_ignores_no_signal_that_its_server_was_started_to_ignore() {
    let home = Home::new();
    let started =
        script(&home, "trap '' HUP INT QUIT TERM TSTP TTIN TTOU USR1; fugue-server new a -d -- sleep 1000");
    assert!(started.status.success(), "{started:?}");
    let pid = home.session("a")["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    // Those above 31 are the C library's and of real-time programs.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & ((1 << 31) - 1), 0, "{status}");
    // Hung up, not killed after the grace.
    let killed = home.run(&["kill", "a"]);
    assert!(String::from_utf8_lossy(&killed.stderr).contains("killed by SIGHUP"), "{killed:?}");
    // The server itself goes on ignoring them.
    home.signal_server(Signal::USR1);
    home.succeed(&["list"]);
}

#[test]
fn what_a_session_that_ended_printed_is_attached_to_shown_and_waited_for() {
    let home = Home::new();
    home.succeed(&["new", "build", "-d", "--", "sh", "-c", "seq 3000; exit 3"]);
    assert_eq!(home.run(&["wait", "build"]).status.code(), Some(3));
    let read = home.run(&["attach", "build"]);
    let told = String::from_utf8_lossy(&read.stderr);
    assert_eq!(read.status.code(), Some(3), "{told}");
    assert!(told.contains("[session build ended: exit status 3]"), "{told}");
    let lines: Vec<_> = std::str::from_utf8(&read.stdout).unwrap().lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2999]), (3000, "1", "3000"));
    assert!(home.succeed(&["screen", "build"]).contains("3000"));
    home.succeed(&["wait", "build", "--for", "2999"]);
    assert_eq!(home.run(&["wait", "build", "--for", "3001"]).status.code(), Some(1));
    let mut terminal = home.terminal(&["attach", "build"]);
    terminal.wait_for("[session build ended: exit status 3]");
    assert!(terminal.text().contains("3000\n"), "{}", terminal.text());
    terminal.ends_with(3);
    // To create it if it is not there means if it does not run.
    let terminal = home.terminal(&["attach", "-A", "build"]);
    terminal.wait_for("ready>");
    home.succeed(&["kill", "build"]);

    let other = Home::new();
    let _server = serve(&other, &["--ended", "0"]);
    other.succeed(&["new", "build", "-d", "--", "true"]);
    other.run(&["wait", "build"]);
    assert_eq!(other.run(&["attach", "build"]).status.code(), Some(255));
    assert_eq!([&home, &other].map(|home| home.session("build")["output_held"] == true), [true, false]);
    assert!(other.succeed(&["list"]).contains("exit status 0, output gone"));
    assert!(!home.succeed(&["list"]).contains("output gone"));
}

#[test]
fn input_that_nobody_reads_is_told_of_also_if_it_comes_later() {
    let home = Home::new();
    let mut new = home.command(&["new", "a", "--", "cat"]);
    let mut new = new.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it is attached", || home.json(&["list", "--clients", "--json"])[0]["session"] == "a");
    new.stdin.as_mut().unwrap().write_all(b"ls\n").unwrap();
    let mut told = String::new();
    BufReader::new(new.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.contains("standard input is not typed into a session"), "{told}");
    home.succeed(&["kill", "a"]);
    wait(&mut new);
    let nothing = script(&home, ": | fugue-server new b -- true");
    assert!(!String::from_utf8_lossy(&nothing.stderr).contains("standard input"), "{nothing:?}");
}

/// Orphans write down who they are, and this waits until the system knows none of them.
const ORPHANS: &str = r#"
dir=$(mktemp -d)
for i in 1 2 3; do (sh -c "echo \$\$ > $dir/$i; sleep 0.1" &); done
for i in 1 2 3; do
    until [ -s $dir/$i ]; do :; done
    while [ -e /proc/$(cat $dir/$i) ]; do sleep 0.1; done
done
rm -r $dir
echo all gone
exec cat"#;

#[test]
fn as_the_first_process_of_a_container_the_server_leaves_no_zombie() {
    let home = Home::new();
    let container = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let probe = Command::new("unshare").args(container).arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("not shown: only root can make a container");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(container).args([env!("CARGO_BIN_EXE_fugue-server"), "serve"]).envs(home.environment());
    let _server = Served::start(command.stdin(Stdio::null()).stderr(Stdio::null()));
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", ORPHANS]);
    home.succeed(&["wait", "a", "--for", "all gone", "--timeout", "120s"]);
    home.succeed(&["stop"]);
}
