//! docs/nodes.md: each block of each section is written or run as it stands there, with addresses and places of a
//! test's own in place of those of the page.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine::{Broker, Machine, Process, eventually, nats_server};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/nodes.md");

/// The sections that have blocks; each has a test below.
const SECTIONS: [&str; 7] = [
    "Two laptops",
    "A node that only watches",
    "Keys in place of passwords",
    "Credentials",
    "Teams that see nothing of each other",
    "Several nats-servers",
    "Sites with a server of their own",
];

/// A block of the page: its kind, and its lines.
type Block = (String, Vec<String>);

/// The sections of the page with their blocks.
fn sections() -> Vec<(String, Vec<Block>)> {
    let mut found: Vec<(String, Vec<Block>)> = Vec::new();
    let mut block: Option<Block> = None;
    for line in fs::read_to_string(PAGE).unwrap().lines() {
        match (&mut block, line.strip_prefix("```")) {
            (Some(_), Some(_)) => found.last_mut().unwrap().1.extend(block.take()),
            (Some((_, lines)), None) => lines.push(line.to_owned()),
            (None, Some(kind)) => block = Some((kind.to_owned(), Vec::new())),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    found.push((title.to_owned(), Vec::new()));
                }
            }
        }
    }
    found
}

/// What a block of expected text is looked for in.
enum Shown {
    Nothing,
    /// What a command printed.
    Output(String),
    /// What it prints whenever it is run again.
    Command(String, String),
    /// What a client that runs writes.
    Viewer(PathBuf),
}

/// A section that is tried.
struct Walk {
    /// What runs, by its host and its command.
    running: Vec<(String, Process)>,
    machines: BTreeMap<String, Machine>,
    /// What stands on the page, and what does here.
    here: Vec<(String, String)>,
    shown: Shown,
    viewers: Vec<(PathBuf, Process)>,
    directory: TempDir,
}

impl Walk {
    /// Tries a section. `None` where there is no nats-server.
    fn through(title: &str) -> Option<Self> {
        drop(Broker::start("")?);
        let sections = sections();
        let (_, blocks) = sections.iter().find(|(of, _)| of == title).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let text: String =
            blocks.iter().flat_map(|(_, lines)| lines).map(|line| format!("{line}\n")).collect();
        let mut walk = Self {
            running: Vec::new(),
            machines: BTreeMap::new(),
            here: here(&text, directory.path().to_str().unwrap()),
            shown: Shown::Nothing,
            viewers: Vec::new(),
            directory,
        };
        for (kind, lines) in blocks {
            match kind.as_str() {
                "sh" => walk.commands(lines),
                "text" => walk.expect(lines),
                "conf" | "toml" => walk.file(lines),
                other => panic!("a block of {other}"),
            }
        }
        Some(walk)
    }

    fn as_here(&self, text: &str) -> String {
        self.here.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    fn machine(&mut self, host: &str) -> &Machine {
        self.machines.entry(host.to_owned()).or_insert_with(|| {
            let machine = Machine::new();
            let bin = machine.directory.path().join("bin");
            fs::create_dir(&bin).unwrap();
            let socket = machine.directory.path().join("server.sock");
            let ours = format!("{} --socket {}", env!("CARGO_BIN_EXE_fugue-server"), socket.display());
            let mut commands = vec![("fugue-server", ours)];
            // Otherwise it is found as it is.
            if nats_server().is_absolute() {
                commands.push(("nats-server", nats_server().display().to_string()));
            }
            for (name, runs) in commands {
                let path = bin.join(name);
                fs::write(&path, format!("#!/bin/sh\nexec {runs} \"$@\"\n")).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            machine
        })
    }

    /// A line of the shell's, on this host.
    fn shell(&mut self, host: &str, line: &str) -> Command {
        let line = self.as_here(line);
        let place = self.directory.path().to_owned();
        let machine = self.machine(host);
        let here = machine.directory.path();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command.args(["-ec", &line]).current_dir(place).stdin(Stdio::null());
        command.env("PATH", format!("{}:{path}", here.join("bin").display()));
        command.env("FUGUE_CONFIG", here.join("config.toml"));
        if !here.join("config.toml").exists() {
            command.env("FUGUE_CONFIG", "");
        }
        command.env_remove("FUGUE_SESSION").env_remove("FUGUE_SESSION_ID");
        command
    }

    /// Writes a file, whose first line says where it is.
    fn file(&mut self, lines: &[String]) {
        let (host, path) = lines[0].strip_prefix("# on ").unwrap().split_once(": ").unwrap();
        let text = self.as_here(&lines.join("\n"));
        let path = match path {
            "~/.config/fugue/config.toml" => self.machine(host).directory.path().join("config.toml"),
            path => self.directory.path().join(path),
        };
        fs::write(path, text + "\n").unwrap();
    }

    fn commands(&mut self, lines: &[String]) {
        let mut host = String::new();
        for line in lines {
            match line.strip_prefix("# on ") {
                Some(named) => host = named.to_owned(),
                None => self.command(&host, line),
            }
        }
    }

    fn command(&mut self, host: &str, line: &str) {
        let is_node = line == "fugue-server node" || line.starts_with("fugue-server node --");
        if line.starts_with("nsc ") {
            if line.starts_with("nsc generate creds") {
                self.make_credentials();
            }
        } else if is_node || line.starts_with("nats-server ") {
            self.start(host, line);
        } else if line.starts_with("fugue-server attach ") {
            let path = self.directory.path().join(format!("viewer-{}", self.viewers.len()));
            let output = File::create(&path).unwrap();
            let mut command = self.shell(host, &format!("exec {line}"));
            // The node may not have heard of the other one yet.
            eventually(line, || self.list_has_a_session(host).then_some(()));
            let child = command.stdout(output).stderr(Stdio::null()).spawn().unwrap();
            self.viewers.push((path.clone(), Process(child)));
            self.shown = Shown::Viewer(path);
        } else {
            let output = self.shell(host, line).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.success(), !line.ends_with("# refused"), "{line}: {said}");
            let is_look =
                ["list", "screen", "stats"].iter().any(|of| line.starts_with(&format!("fugue-server {of} ")));
            if is_look {
                self.shown = Shown::Command(host.to_owned(), line.to_owned());
            } else if !output.stdout.is_empty() && !line.contains("send") {
                self.shown = Shown::Output(String::from_utf8(output.stdout).unwrap());
            }
        }
    }

    fn list_has_a_session(&mut self, host: &str) -> bool {
        let listed = self.shell(host, "fugue-server list --nodes --json").output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        listed.as_array().is_some_and(|nodes| nodes.iter().any(|node| node["sessions"][0].is_object()))
    }

    /// Starts what runs for long, and waits until it serves.
    fn start(&mut self, host: &str, line: &str) {
        let mut command = self.shell(host, &format!("exec {line}"));
        let log = self.directory.path().join(format!("log-{}", self.running.len()));
        let mut child =
            Process(command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap());
        match line.strip_prefix("nats-server -c ") {
            Some(file) => {
                let text = fs::read_to_string(self.directory.path().join(file)).unwrap();
                let address = text.split("listen: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
                eventually("nats-server", || {
                    assert!(child.0.try_wait().unwrap().is_none(), "{line} ended");
                    TcpStream::connect(&address).ok()
                });
            }
            None => {
                let mut said = String::new();
                BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
                assert!(!said.is_empty(), "{host}: {line}: {}", fs::read_to_string(&log).unwrap());
            }
        }
        self.running.push((format!("{host}: {line}"), child));
    }

    /// Ends what runs as this.
    fn kill(&mut self, what: &str) {
        let count = self.running.len();
        self.running.retain(|(name, _)| name != what);
        assert_eq!(self.running.len() + 1, count, "{what}");
    }

    /// Waits until each line is shown: its words, in their order. A key is another one here.
    fn expect(&mut self, lines: &[String]) {
        if let ([key], Shown::Output(output)) = (lines, &self.shown)
            && key.len() == 56
        {
            assert_eq!(output.trim().len(), key.len(), "{output}");
            self.here.push((key.clone(), output.trim().to_owned()));
            return;
        }
        let shown = std::mem::replace(&mut self.shown, Shown::Nothing);
        for line in lines {
            let mut last = String::new();
            eventually(&format!("`{line}`"), || {
                last = match &shown {
                    Shown::Nothing => panic!("`{line}` follows nothing"),
                    Shown::Output(output) => output.clone(),
                    Shown::Command(host, command) => {
                        String::from_utf8(self.shell(host, command).output().unwrap().stdout).unwrap()
                    }
                    Shown::Viewer(path) => fs::read_to_string(path).unwrap(),
                };
                last.lines().any(|shown| has_words(shown, line)).then_some(())
            });
        }
        self.shown = shown;
    }

    /// What `nsc` makes: `resolver.conf` with an operator and an account, and `dev.creds` of a user.
    fn make_credentials(&mut self) {
        let line = "fugue-server node permissions dev --nsc";
        let options =
            String::from_utf8(self.shell("nats.example.org", line).output().unwrap().stdout).unwrap();
        let list = |option: &str| -> Vec<String> {
            let given = options.split_whitespace().find_map(|word| word.strip_prefix(option)).unwrap();
            given.split(',').map(str::to_owned).collect()
        };
        let (operator, account, user) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
        let of_operator = json!({ "type": "operator", "version": 2 });
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1
        });
        let of_account = json!({ "type": "account", "version": 2, "limits": limits });
        let of_user = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            "pub": { "allow": list("--allow-pub=") }, "sub": { "allow": list("--allow-sub=") }
        });
        let resolver = format!(
            "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}\n",
            token(&operator, &operator, &of_operator),
            account.public_key(),
            token(&operator, &account, &of_account)
        );
        let creds = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&account, &user, &of_user),
            user.seed().unwrap()
        );
        for (name, text) in [("resolver.conf", resolver), ("dev.creds", creds)] {
            fs::write(self.directory.path().join(name), text).unwrap();
        }
    }
}

/// What `signer` says of `subject`.
fn token(signer: &KeyPair, subject: &KeyPair, what: &Value) -> String {
    let (signer_key, subject_key) = (signer.public_key(), subject.public_key());
    let claims = json!({ "iss": signer_key, "sub": subject_key, "name": "example", "iat": 1, "nats": what });
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{head}.{claims}");
    let signature = signer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Each host of the page is an address of this machine's that no other test has.
fn here(text: &str, directory: &str) -> Vec<(String, String)> {
    let bits = *uuid::Uuid::new_v4().as_bytes();
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
    let mut hosts: Vec<_> =
        text.split(|letter| !is_name(letter)).filter(|word| word.ends_with(".example.org")).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut here = vec![("/etc/fugue".to_owned(), directory.to_owned())];
    for (number, host) in hosts.into_iter().enumerate() {
        let address = format!("127.{}.{}.{}", bits[0] | 1, bits[1], number + 1);
        here.push((format!("DNS:{host}"), format!("IP:{address}")));
        here.push((host.to_owned(), address));
    }
    here
}

/// Whether a line has these words, in their order.
fn has_words(line: &str, words: &str) -> bool {
    let mut rest = line;
    words.split_whitespace().all(|word| match rest.split_once(word) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn each_section_with_blocks_has_its_test() {
    let found: Vec<_> =
        sections().into_iter().filter(|(_, blocks)| !blocks.is_empty()).map(|(title, _)| title).collect();
    assert_eq!(found, SECTIONS);
}

#[test]
fn two_laptops_share_a_session_over_tls() {
    Walk::through(SECTIONS[0]);
}

#[test]
fn a_node_that_only_watches_is_refused() {
    Walk::through(SECTIONS[1]);
}

#[test]
fn a_node_is_let_in_by_its_key() {
    Walk::through(SECTIONS[2]);
}

#[test]
fn a_node_is_let_in_by_its_credentials() {
    Walk::through(SECTIONS[3]);
}

#[test]
fn teams_see_nothing_of_each_other() {
    Walk::through(SECTIONS[4]);
}

#[test]
fn sites_see_each_others_sessions() {
    Walk::through(SECTIONS[6]);
}

#[test]
fn a_cluster_goes_on_without_one_of_its_servers() {
    let Some(mut walk) = Walk::through(SECTIONS[5]) else { return };
    let [first, second] =
        ["nats1", "nats2"].map(|name| (format!("{name}.example.org"), format!("nats-server -c {name}.conf")));
    let path = walk.viewers[0].0.clone();
    eventually("its client", || {
        let listed = walk.shell("laptop", "fugue-server list --json").output().unwrap();
        (serde_json::from_slice::<Value>(&listed.stdout).unwrap()[0]["clients"] == 1).then_some(())
    });
    let has_line = |line: &str| fs::read_to_string(&path).unwrap().lines().any(|shown| shown == line);
    walk.command("dev", "echo go | fugue-server send build");
    eventually("a part of the flood", || has_line("1").then_some(()));
    walk.kill(&format!("{}: {}", first.0, first.1));
    eventually("all of it", || has_line("100000").then_some(()));
    // Whichever they are at, each moves once.
    walk.start(&first.0, &first.1);
    walk.kill(&format!("{}: {}", second.0, second.1));
    walk.command("dev", "echo go | fugue-server send build");
    let (_, mut viewer) = walk.viewers.remove(0);
    let status = eventually("its end", || viewer.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let lines: String = (1..=200_000).map(|line| format!("{line}\r\n")).collect();
    let shown = fs::read_to_string(&path).unwrap();
    assert!(shown.ends_with(&lines), "{} bytes, not {}", shown.len(), lines.len());
}
