//! Another machine's server by ssh: a stand-in for ssh that is this machine's shell, and a real sshd on loopback.

use std::{fs, net::TcpListener, time::Instant};

use super::*;

/// Another machine: a home of its own on this one, and the ssh that leads there.
struct Far {
    home: Home,
    url: String,
    ssh: PathBuf,
}

impl Far {
    /// By a program that does what ssh does, without a network. `before` is what the shell's start-up files do.
    fn pretended(before: &str) -> Self {
        let home = Home::new();
        let ssh = home.directory.path().join("ssh");
        let script = format!(
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\ncd {place}\n\
             exec env -i FUGUE_SOCKET={socket} PATH={path} HOME={place} SHELL=/bin/sh FAR=yes /bin/sh -c '{before}\n'\"$*\"\n",
            place = home.directory.path().display(),
            socket = home.socket().display(),
            path = path(),
        );
        write_program(&ssh, &script);
        Self { home, url: "ssh://me@far:22".to_owned(), ssh }
    }

    /// A command here that is to be carried out there.
    fn command(&self, near: &Home, arguments: &[&str]) -> Command {
        let mut command = near.command(&["--remote", &self.url, "--ssh"]);
        command.arg(&self.ssh).args(arguments);
        command
    }

    fn run(&self, near: &Home, arguments: &[&str]) -> Output {
        self.command(near, arguments).output().unwrap()
    }

    fn succeed(&self, near: &Home, arguments: &[&str]) -> String {
        let output = self.run(near, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn terminal(&self, near: &Home, arguments: &[&str]) -> Terminal {
        let ssh = self.ssh.to_str().unwrap();
        near.terminal(&[&["--remote", &self.url, "--ssh", ssh], arguments].concat())
    }
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sessions_of_another_machine_are_started_there_as_there() {
    let (near, far) = (Home::new(), Far::pretended(""));
    // Here, in a session of the same name.
    near.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    assert_eq!(far.succeed(&near, &["list", "--json"]), "[]\n");
    let refused = far.run(&near, &["attach", "a"]);
    assert_eq!(refused.status.code(), Some(255));
    assert!(said(&refused).contains("no server runs on ssh://me@far:22; "), "{refused:?}");
    assert!(!far.home.socket().exists(), "only `new` starts one");

    let script = "echo \"$FAR $HOME $TERM $SHELL ${KEPT-gone} $PWD\"; pwd; exec sleep 1000";
    let mut new = far.command(&near, &["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    assert!(new.env("KEPT", "here").env("TERM", "xterm-direct").status().unwrap().success());
    let place = far.home.directory.path().canonicalize().unwrap();
    let shown = far.succeed(&near, &["wait", "a", "--for", "/^\\//"]) + &far.succeed(&near, &["screen", "a"]);
    let shown: String = shown.lines().collect();
    let there = place.display();
    assert!(shown.contains(&format!("yes {there} xterm-direct /bin/sh gone {there}")), "{shown}");
    assert_eq!(far.home.session("a")["name"], "a");
    assert_ne!(far.home.server_pid(), near.server_pid());

    // The shell there, with a directory there.
    fs::create_dir(place.join("sub")).unwrap();
    let mut shell = far.terminal(&near, &["new", "b", "-C", "sub", "--login"]);
    shell.type_in("echo \"$0 $PWD\"\r");
    shell.wait_until("where it is", |shown| {
        shown.text().replace('\n', "").contains(&format!("-sh {there}/sub")).then_some(())
    });
    shell.type_in("exit 5\r");
    shell.ends_with(5);

    // A session here means nothing there.
    let inside = far.command(&near, &["env"]).env("FUGUE_SESSION", "a").output().unwrap();
    assert!(said(&inside).contains("not the terminal of a session"), "{inside:?}");
    far.succeed(&near, &["kill", "a"]);
    near.session("a");
}

#[test]
fn machines_that_the_configuration_names_are_found_by_their_names() {
    let (near, far) = (Home::new(), Far::pretended(""));
    let settings = near.directory.path().join("config.toml");
    let text = format!(
        "[remotes.far]\nurl = \"{}\"\nssh = \"{}\"\n[remotes.\"a.b\"]\nurl = 'ssh://no.where'\nssh = '/no/such/ssh'\n",
        far.url,
        far.ssh.display()
    );
    fs::write(&settings, text).unwrap();
    let run = |arguments: &[&str]| near.command(arguments).env("FUGUE_CONFIG", &settings).output().unwrap();
    let succeed = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    succeed(&["new", "far:build", "-d", "--", "sh", "-c", "echo \"there $FAR\"; exec sleep 1000"]);
    assert!(succeed(&["wait", "far:build", "--for", "there yes", "--print"]).contains("there yes"));
    assert!(succeed(&["screen", "far:=build"]).contains("there yes"));
    assert!(succeed(&["--remote", "far", "list"]).contains("build"));
    assert_eq!(far.home.session("build")["name"], "build");
    succeed(&["rename", "far:bu", "built"]);
    succeed(&["kill", "far:built"]);

    // Each way that it can't be says what to do.
    for (arguments, code, hint) in [
        (&["attach", "dev:build"][..], 2, "no machine dev (it has a.b, far)"),
        (&["--remote", "dev", "list"], 2, "[remotes.dev]"),
        (&["--remote", "far", "attach", "far:build"], 2, "named twice"),
        (&["kill", "far:a", "a.b:a"], 2, "several machines"),
        (&["kill", "far:a", "a"], 2, "several machines"),
        (&["attach", ":build"], 2, "a machine's name"),
        (&["attach", "far:"], 2, "1 to 64 letters"),
        (&["attach", "far:a b"], 2, "1 to 64 letters"),
        (&["attach", "a.b:build"], 255, "/no/such/ssh"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(said(&output).contains(hint), "{output:?}");
    }
    // What is typed counts more than what the file says of one machine.
    let other = run(&["--ssh", "/no/other/ssh", "attach", "far:build"]);
    assert!(said(&other).contains("/no/other/ssh"), "{other:?}");
    let shown = succeed(&["config", "show"]);
    assert!(shown.contains("[remotes.\"a.b\"]  # ") && shown.contains("url = \"ssh://no.where\""), "{shown}");
    let again = near.directory.path().join("again.toml");
    fs::write(&again, shown).unwrap();
    succeed(&["config", "check", again.to_str().unwrap()]);
    assert!(succeed(&["config", "show", "--json"]).contains("\"remotes.far.ssh\""));
}

/// The process that relays to this socket.
fn relay_to(socket: &Path) -> u64 {
    relays_to(socket).pop().expect("a relay runs")
}

fn relays_to(socket: &Path) -> Vec<u64> {
    let is_it = |pid: &u64| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let socket = format!("FUGUE_SOCKET={}", socket.display());
        arguments.split(|byte| *byte == 0).any(|word| word == b"relay")
            && environment.split(|byte| *byte == 0).any(|word| word == socket.as_bytes())
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(is_it).collect()
}

#[test]
fn a_line_that_goes_silent_is_made_again_and_what_was_typed_arrives() {
    let (near, far) = (Home::new(), Far::pretended(""));
    far.succeed(&near, &["new", "a", "-d", "--", "sh", "-c", "stty raw -echo; printf ready; exec cat"]);
    let terminal = far.terminal(&near, &["attach", "a"]);
    terminal.wait_for("ready");
    // As a network that drops every packet: nothing ends, and nothing comes.
    let relay = Stopped::process(relay_to(&far.home.socket()));
    terminal.type_in("typed");
    terminal.wait_for("readytyped");
    drop(relay);
}

/// A process that is stopped, and killed in the end.
struct Stopped(u64);

impl Stopped {
    fn process(process: u64) -> Self {
        let stopped = Self(process);
        assert!(stopped.signal("-STOP").success());
        stopped
    }

    fn signal(&self, signal: &str) -> ExitStatus {
        Command::new("kill").args([signal, &self.0.to_string()]).stderr(Stdio::null()).status().unwrap()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Its client may have ended it already.
        self.signal("-KILL");
    }
}

#[test]
fn a_link_of_another_machine_is_made_and_watched_by_and_taken_back() {
    let (near, far) = (Home::new(), Far::pretended(""));
    let script = "stty -echo; echo ready; read go; seq 1 100000; read end";
    far.succeed(&near, &["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    // No gateway there is known here, and none is started here.
    let link = far.succeed(&near, &["share", "a"]);
    assert!(link.starts_with("http://127.0.0.1:7681/s/#") && !near.socket().exists(), "{link}");
    let attach = ["attach", "--link", link.trim_end()];
    let mut terminal = far.terminal(&near, &attach);
    terminal.wait_for("ready");
    let mut recorder = far.command(&near, &attach);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(recorder.stdout.take().unwrap());
    let mut recorded = String::new();
    output.read_line(&mut recorded).unwrap();

    // A line that is lost is made again, and the link redeemed again on it.
    let relay = |before: u64| {
        let mut found = 0;
        eventually("both are there", || {
            let clients = far.home.json(&["stats", "--json"]);
            let watching =
                |client: &&Value| client["session"].is_string() && client["id"].as_u64() > Some(before);
            let ids = clients["by_client"].as_array().unwrap().iter().filter(watching);
            let ids: Vec<_> = ids.map(|client| client["id"].as_u64().unwrap()).collect();
            found = ids.iter().max().copied().unwrap_or(0);
            ids.len() == 2
        });
        found
    };
    let last = relay(0);
    let relays = relays_to(&far.home.socket());
    assert_eq!(relays.len(), 2);
    relays.into_iter().for_each(|process| signal(process, Signal::KILL));
    relay(last);
    far.succeed(&near, &["send", "a", "--keys", "Enter"]);
    let expected: String = (1..=100_000).map(|number| format!("{number}\r\n")).collect();
    while !recorded.ends_with("\n100000\r\n") {
        assert!(output.read_line(&mut recorded).unwrap() > 0, "it ended after {} bytes", recorded.len());
    }
    assert!(recorded == format!("ready\r\n{expected}"), "{} bytes", recorded.len());
    terminal.wait_for("100000");

    let shares = far.succeed(&near, &["shares"]);
    assert!(shares.contains("read-only"), "{shares}");
    assert!(near.succeed(&["shares", "--json"]).starts_with("[]"));
    far.succeed(&near, &["unshare", "--all"]);
    assert_eq!(wait(&mut recorder).code(), Some(254));
    terminal.ends_with(254);
}

#[test]
fn a_flood_over_a_remote_line_arrives_exactly() {
    let (near, far) = (Home::new(), Far::pretended("echo welcome"));
    let output = far.run(&near, &["new", "a", "--", "/bin/sh", "-c", "seq 1 100000; exit 3"]);
    let all: String = (1..=100_000).map(|number| format!("{number}\r\n")).collect();
    assert!(output.stdout == all.as_bytes(), "{} of {} bytes", output.stdout.len(), all.len());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn what_start_up_files_print_is_looked_past_or_shown() {
    let near = Home::new();
    // Up to the very byte before the server's first.
    for noise in ["echo hello", "printf \"fugue\\0 fugue\"", "head -c 60000 /dev/zero | tr \"\\0\" x"] {
        assert_eq!(Far::pretended(noise).succeed(&near, &["list", "--json"]), "[]\n", "{noise}");
    }
    for (before, shown) in [
        ("head -c 70000 /dev/zero | tr \"\\0\" x; cat", "xxxx"),
        ("echo Account is closed.; exit 0", "Account is closed."),
        ("echo \"\u{1b}[2J\"; exit 1", "(status 1)"),
    ] {
        let output = Far::pretended(before).run(&near, &["list"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = said(&output);
        assert!(said.contains(shown) && said.contains("start-up files"), "{said}");
        assert!(!said.contains('\u{1b}') && said.len() < 8192, "{said:?}");
    }
}

#[test]
fn what_fails_on_the_way_is_named_with_what_to_do() {
    let (near, far) = (Home::new(), Far::pretended(""));
    let output = far.run(&near, &["attach", "a", "--remote-path", "/no/such/fugue server"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(said(&output).contains("`--remote-path`"), "{output:?}");
    let failing = Far::pretended("");
    write_program(
        &failing.ssh,
        "#!/bin/sh\necho 'ssh: connect to host far: \u{1b}[2Jrefused' >&2; exit 255\n",
    );
    let output = failing.run(&near, &["attach", "a"]);
    assert_eq!(output.status.code(), Some(255));
    let told = said(&output);
    assert!(told.contains("refused") && told.contains("could not reach ssh://me@far:22"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let output = near.run(&["--remote", "ssh://far", "--ssh", "/no/such/ssh", "list"]);
    assert!(said(&output).contains("install OpenSSH"), "{output:?}");
    for (arguments, hint) in [
        (&["--remote", "ssh://-oProxyCommand=touch", "list"][..], "not a host's name"),
        (&["--remote", "far", "list"], "ssh://[user@]host[:port]"),
        (&["--remote", "ssh://far", "serve"], "its own machine"),
        (&["--remote", "ssh://far", "stop"], "its own machine"),
        (&["--remote", "ssh://far", "relay"], "its own machine"),
    ] {
        let output = near.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains(hint), "{output:?}");
    }
    let set = near.command(&["stop"]).env("FUGUE_REMOTE", "ssh://far").output().unwrap();
    assert_eq!(set.status.code(), Some(2), "not this machine's server: {set:?}");
    let output = near.run(&["--remote", "ssh://far", "new"]);
    assert!(said(&output).contains("name the session"), "{output:?}");
}

/// Processes below this one.
fn children(of: u32) -> Vec<u64> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let parent = |pid: &u64| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    numbers.filter(|pid| parent(pid) == Some(of)).collect()
}

/// A network of its own, with a loopback that can be cut.
struct Network(Child);

impl Network {
    /// `None` where that is not allowed, which is said.
    fn new() -> Option<Self> {
        let mut held = Command::new("unshare");
        held.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 1000"]);
        let mut held = held.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut up = [0; 3];
        if held.stdout.take().unwrap().read_exact(&mut up).is_err() {
            println!("not shown: there can't be another network (root, util-linux and iproute2)");
            let _ = held.wait();
            return None;
        }
        Some(Self(held))
    }

    /// What a command begins with that is to run in it.
    fn words(&self) -> [String; 4] {
        ["nsenter", "-t", &self.0.id().to_string(), "-n"].map(str::to_owned)
    }

    /// From now on every packet is lost, or none.
    fn loses_all(&self, loses: bool) {
        let words = self.words();
        let lo = if loses { "down" } else { "up" };
        let set = Command::new(&words[0]).args(&words[1..]).args(["ip", "link", "set", "lo", lo]).status();
        assert!(set.unwrap().success());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real sshd on loopback, with keys of its own.
struct Sshd {
    far: Far,
    process: Child,
    key: String,
}

const SSHD: &str = "/usr/sbin/sshd";

impl Sshd {
    /// `None` where there is none, which is said.
    fn start() -> Option<Self> {
        Self::start_in(None)
    }

    fn start_in(network: Option<&Network>) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            println!("not shown: openssh-server is not installed");
            return None;
        }
        // For its privilege separation; what is missing otherwise, it says.
        let _ = fs::create_dir("/run/sshd");
        let home = Home::new();
        let place = home.directory.path().to_owned();
        let at = |name: &str| place.join(name).display().to_string();
        for key in ["host", "key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
                .status()
                .unwrap();
            assert!(made.success());
        }
        // Another process may take it meanwhile, which then is an error of sshd's.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        // A shell of the second level reads no file of the person's: what stands there may take its time.
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             SetEnv SHLVL=1 FUGUE_SOCKET={} PATH={}\n",
            at("host"),
            at("authorized_keys"),
            home.socket().display(),
            path(),
        );
        fs::write(place.join("sshd_config"), config).unwrap();
        let client = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nStrictHostKeyChecking accept-new\n\
             LogLevel ERROR\n",
            at("key"),
            at("known_hosts")
        );
        fs::write(place.join("ssh_config"), client).unwrap();
        let ssh = place.join("ssh");
        let within = network.map(|network| network.words().join(" ")).unwrap_or_default();
        write_program(&ssh, &format!("#!/bin/sh\nexec {within} ssh -F {} \"$@\"\n", at("ssh_config")));
        let log = fs::File::create(place.join("sshd.log")).unwrap();
        let daemon = [SSHD, "-D", "-e", "-f", &at("sshd_config")].map(str::to_owned);
        let words =
            [network.map_or_else(Vec::new, |network| network.words().to_vec()), daemon.to_vec()].concat();
        let process =
            Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let key = fs::read_to_string(place.join("key.pub")).unwrap();
        let far = Far { home, url: format!("ssh://127.0.0.1:{port}"), ssh };
        let sshd = Self { far, process, key };
        sshd.let_in("");
        let log = || fs::read_to_string(place.join("sshd.log")).unwrap_or_default();
        eventually("sshd listens", || log().contains("Server listening"));
        Some(sshd)
    }

    /// Lets the key in, with these options.
    fn let_in(&self, options: &str) {
        let line = format!("{options} {}", self.key);
        fs::write(self.far.home.directory.path().join("authorized_keys"), line.trim_start()).unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let connections = children(self.process.id());
        let _ = self.process.kill();
        let _ = self.process.wait();
        for connection in connections {
            let _ = kill_process(Pid::from_raw(connection.try_into().unwrap()).unwrap(), Signal::TERM);
        }
    }
}

#[test]
fn a_real_ssh_carries_sessions_exactly() {
    let Some(sshd) = Sshd::start() else { return };
    let (near, far) = (Home::new(), &sshd.far);
    let output = far.run(&near, &["new", "a", "--", "/bin/sh", "-c", "seq 1 200000; exit 3"]);
    let all: String = (1..=200_000).map(|number| format!("{number}\r\n")).collect();
    assert!(
        output.stdout == all.as_bytes(),
        "{} of {} bytes; {}",
        output.stdout.len(),
        all.len(),
        said(&output)
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(far.home.session("a")["exit_code"], 3);

    let mut terminal = far.terminal(&near, &["new", "b", "--", "/bin/sh"]);
    terminal.wait_until("a prompt", |shown| shown.text().contains(['$', '#']).then_some(()));
    terminal.type_in("echo $((6 * 7)) \"$SSH_CONNECTION\"\r");
    terminal.wait_for("42 127.0.0.1");
    terminal.type_in("\x1c");
    terminal.ends_with(0);
    eventually("the server is told", || far.home.session("b")["clients"] == 0);

    // Of a key that is not let in, ssh itself says so.
    sshd.let_in("from=\"192.0.2.1\"");
    let output = far.run(&near, &["attach", "b"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(said(&output).contains("Permission denied"), "{output:?}");
}

#[test]
fn a_real_ssh_with_noisy_start_up_files_connects_or_says_why_not() {
    let Some(sshd) = Sshd::start() else { return };
    let (near, far) = (Home::new(), &sshd.far);
    sshd.let_in("command=\"echo 'Welcome!'; fortune; eval \\\"$SSH_ORIGINAL_COMMAND\\\"\"");
    assert_eq!(far.succeed(&near, &["list", "--json"]), "[]\n");
    sshd.let_in("command=\"echo 'This account is not available.'\"");
    let output = far.run(&near, &["list"]);
    assert!(said(&output).contains("This account is not available."), "{output:?}");
    sshd.let_in("");
    let output = far.run(&near, &["list", "--remote-path", "/no/such/fugue-server"]);
    assert!(said(&output).contains("`--remote-path`"), "{output:?}");
}

#[test]
fn a_key_that_may_watch_one_session_does_nothing_else() {
    let Some(sshd) = Sshd::start() else { return };
    let (near, far) = (Home::new(), &sshd.far);
    far.home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", "echo shown; exec cat"]);
    far.home.succeed(&["new", "b", "-d", "--", "/bin/sh", "-c", "echo secret; exec cat"]);
    sshd.let_in("restrict,command=\"fugue-server relay --read-only --session a\"");
    let mut terminal = far.terminal(&near, &["attach", "a", "-r"]);
    terminal.wait_for("shown");
    terminal.type_in("typed\x1c");
    terminal.ends_with(0);
    assert!(far.succeed(&near, &["screen", "a"]).contains("shown"));
    for arguments in [
        &["attach", "a"][..],
        &["attach", "b", "-r"],
        &["screen", "b"],
        &["send", "a", "--keys", "x"],
        &["list"],
        &["kill", "a"],
        &["kill", "b"],
        &["new", "c", "-d"],
        &["rename", "a", "c"],
        &["env", "a"],
        &["stats"],
        &["detach", "a"],
    ] {
        let output = far.run(&near, arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("secret"), "{arguments:?}");
        let told = said(&output);
        assert!(told.contains("only watch session a") || told.contains("read-only"), "{arguments:?}: {told}");
    }
    assert!(!far.home.succeed(&["screen", "a"]).contains("typed"));
    assert_eq!(far.home.json(&["list", "--json"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_line_that_is_cut_leaves_the_session_and_gives_its_place_back() {
    let Some(sshd) = Sshd::start() else { return };
    let (near, far) = (Home::new(), &sshd.far);
    far.home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let mut waiting = far.command(&near, &["wait", "a"]).stderr(Stdio::piped()).spawn().unwrap();
    far.home.has_connections(1);
    let first = far.home.json(&["stats", "--json"])["by_client"][0]["id"].as_u64().unwrap();
    for connection in children(sshd.process.id()) {
        signal(connection, Signal::KILL);
    }
    // Who waited is back, by another line, and has one place.
    let clients = || -> Vec<u64> {
        let stats = far.home.json(&["stats", "--json"]);
        stats["by_client"].as_array().unwrap().iter().map(|client| client["id"].as_u64().unwrap()).collect()
    };
    eventually("it is back", || clients().iter().filter(|client| **client > first).count() == 2);
    far.home.has_connections(1);
    assert_eq!(far.home.session("a")["running"], true);
    far.home.succeed(&["kill", "a"]);
    assert_eq!(wait(&mut waiting).code(), Some(129));
}

#[test]
fn a_recording_over_ssh_goes_on_where_it_was_whenever_its_line_is_cut() {
    let Some(sshd) = Sshd::start() else { return };
    let (near, far) = (Home::new(), &sshd.far);
    let script = "stty -echo; echo ready; for part in 1 2 3; do read go; seq 1 100000; done; read go; exit 4";
    far.home.succeed(&["new", "a", "-d", "--", "/bin/sh", "-c", script]);
    far.home.succeed(&["wait", "a", "--for", "ready"]);
    let mut recorder = far.command(&near, &["attach", "a"]);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = recorder.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).unwrap();
        all
    });
    // The server's number of who watches, which is another for each connection.
    let watcher = || far.home.json(&["list", "--clients", "--json"])[0]["client"].as_u64();
    let go = || far.home.succeed(&["send", "a", "--keys", "Enter"]);
    let mut before = None;
    for _ in 0..3 {
        eventually("it is watched again", || watcher() > before);
        before = watcher();
        go();
        // In the middle of what is printed, or before it, or at its end.
        for connection in children(sshd.process.id()) {
            signal(connection, Signal::KILL);
        }
    }
    eventually("it is watched again", || watcher() > before);
    go();
    let status = wait(&mut recorder);
    let mut told = String::new();
    recorder.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(status.code(), Some(4), "{told}");
    let part: String = (1..=100_000).map(|number| format!("{number}\r\n")).collect();
    let all = format!("ready\r\n{part}{part}{part}");
    let recorded = reading.join().unwrap();
    assert!(recorded == all.as_bytes(), "{} of {} bytes; {told}", recorded.len(), all.len());
}

#[test]
fn a_network_that_loses_every_packet_costs_a_recording_no_byte_and_no_key() {
    let Some(network) = Network::new() else { return };
    let Some(sshd) = Sshd::start_in(Some(&network)) else { return };
    let (near, far) = (Home::new(), &sshd.far);
    let flood = "stty -echo -opost; printf ready; read go; seq 1 400000; read end";
    far.home.succeed(&["new", "flood", "-d", "--pace", "free", "--", "sh", "-c", flood]);
    far.home.succeed(&["new", "typed", "-d", "--", "sh", "-c", "stty raw -echo; printf ready; exec cat"]);
    let mut recorder = far.command(&near, &["attach", "flood", "--from", "start"]);
    let mut recorder = recorder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = recorder.stdout.take().unwrap();
    let mut first = [0; 5];
    output.read_exact(&mut first).unwrap();
    let terminal = far.terminal(&near, &["attach", "typed"]);
    terminal.wait_for("ready");
    terminal.type_in("before ");
    terminal.wait_for("readybefore");

    network.loses_all(true);
    let begun = Instant::now();
    terminal.type_in("meanwhile ");
    far.home.succeed(&["send", "flood", "--keys", "Enter"]);
    terminal.wait_for("connection");
    let noticed = begun.elapsed();
    network.loses_all(false);
    let mended = Instant::now();
    terminal.wait_for("readybefore meanwhile");
    println!("noticed after {noticed:?}, typed {:?} after the network was back", mended.elapsed());
    terminal.type_in("after");
    terminal.wait_for("readybefore meanwhile after");

    let reading = thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).unwrap();
        all
    });
    far.home.succeed(&["wait", "flood", "--for", "400000"]);
    far.home.succeed(&["send", "flood", "--keys", "Enter"]);
    let ended = recorder.wait_with_output().unwrap();
    let all: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    let recorded = reading.join().unwrap();
    assert!(recorded == all.as_bytes(), "{} of {} bytes; {}", recorded.len(), all.len(), said(&ended));
}
