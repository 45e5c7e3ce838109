//! SIGHUP: configuration files that are read again.

use std::fs::{self, File};

use fugue_server::Client;

use super::*;

/// A server that a hangup has reload, its configuration file and its log.
struct Reloaded {
    home: Home,
    server: Served,
}

impl Reloaded {
    fn start(options: &str, configuration: &str) -> Self {
        let home = Home::new();
        write(&home, configuration);
        // What ignores hangups does not end with a terminal, so it reloads wherever the tests run.
        let script = format!("trap '' HUP; exec \"$0\" serve --log-format json {options}");
        let mut server = Command::new("/bin/sh");
        server.args(["-c", &script, env!("CARGO_BIN_EXE_fugue-server")]).envs(home.environment());
        let server = Served::start(server.stderr(File::create(log(&home)).unwrap()));
        Self { home, server }
    }

    /// What has been logged with this message.
    fn logged(&self, message: &str) -> Vec<Value> {
        let text = fs::read_to_string(log(&self.home)).unwrap();
        // The last line may not be whole yet.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["message"] == message).collect()
    }

    /// Changes the file, and waits until this is logged once more. Returns what was logged.
    fn change(&self, configuration: &str, until: &str) -> Value {
        write(&self.home, configuration);
        let before = self.logged(until).len();
        signal(self.server.pid(), Signal::HUP);
        eventually(until, || self.logged(until).len() > before);
        self.logged(until).pop().unwrap()
    }

    /// How many bytes of output of a session are held that printed 1 MiB.
    fn held(&self, name: &str) -> u64 {
        let print = "head -c 1048576 /dev/zero | tr '\\0' x; echo done; exec sleep 1000";
        self.home.succeed(&["new", name, "-d", "--", "/bin/sh", "-c", print]);
        self.home.succeed(&["wait", name, "--for", "done", "--timeout", "120s"]);
        let id = self.home.session(name)["id"].clone();
        let stats = self.home.json(&["stats", "--json"]);
        let session = stats["by_session"].as_array().unwrap().iter().find(|session| session["id"] == id);
        session.unwrap()["history_bytes"].as_u64().unwrap()
    }
}

fn log(home: &Home) -> PathBuf {
    home.directory.path().join("log")
}

fn write(home: &Home, configuration: &str) {
    let directory = home.directory.path().join("config/fugue");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.toml"), configuration).unwrap();
}

const RELOADED: &str = "the configuration was reloaded";

#[test]
fn a_hangup_reloads_what_may_change_and_names_what_needs_a_restart() {
    let server = Reloaded::start("", "log = 'info'\nserve.history = '64KiB'\nserve.shards = 2\n");
    assert!(server.held("small") < 512 << 10);
    let text = "[serve]\nhistory = '8MiB'\nshards = 4\nqueue = 32\nscrollback = 7\n";
    let reloaded = server.change(&format!("log = 'debug'\n{text}"), RELOADED);
    assert_eq!((&reloaded["changed"], &reloaded["need_restart"]), (&4.into(), &1.into()));
    let history = &server.logged("a setting changed")[1];
    assert_eq!((&history["setting"], &history["before"]), (&"serve.history".into(), &"64KiB".into()));
    let restart = server.logged("a setting changes at the next start");
    assert_eq!(restart.len(), 1, "{restart:?}");
    assert_eq!((&restart[0]["setting"], &restart[0]["now"]), (&"serve.shards".into(), &"4".into()));
    assert!(server.held("large") >= 1 << 20);
    assert_eq!(server.home.json(&["stats", "--json"])["shards"], 2);
    assert!(!server.logged("registered").is_empty(), "debug is not logged");

    // What needs a restart is named again, and only that.
    let reloaded = server.change(&format!("log = 'info'\n{text}"), RELOADED);
    assert_eq!((&reloaded["changed"], &reloaded["need_restart"]), (&1.into(), &1.into()));
}

#[test]
fn a_configuration_with_a_mistake_changes_nothing_and_is_logged() {
    let server = Reloaded::start("", "[serve]\nhistory = '64KiB'\n");
    let refused =
        "the configuration was not reloaded, and nothing changed; correct it, then send SIGHUP again";
    for (text, place) in [
        ("log = 'trace'\n[serve]\nhistory = '8MiB'\nquue = 4\n", ":4:1: unknown key"),
        ("log = 'trace'\nserve.history = '1KiB'\n", ":2:17: serve.history can't be"),
    ] {
        server.change(text, refused);
        let mistake = server.logged("a mistake in the configuration").pop().unwrap();
        assert_eq!(mistake["level"], "ERROR");
        assert!(mistake["error"].as_str().unwrap().contains(place), "{mistake}");
    }
    // For the commands.
    write(&server.home, "");
    assert!(server.held("small") < 512 << 10);
    assert!(server.logged("started").is_empty(), "it logs more than before");
}

#[test]
fn options_win_over_a_file_that_is_read_again() {
    let server = Reloaded::start("--history 64KiB --log info", "");
    let reloaded = server.change("log = 'trace'\nserve.history = '8MiB'\n", RELOADED);
    assert_eq!((&reloaded["changed"], &reloaded["need_restart"]), (&0.into(), &0.into()));
    assert!(server.held("small") < 512 << 10);
}

#[tokio::test]
async fn more_clients_are_served_after_a_reload() {
    let server = Reloaded::start("--log info", "serve.max-clients = 1\n");
    let _only = Client::connect(&server.home.socket()).await.unwrap();
    let refused = server.home.run(&["list"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which is its limit"), "{refused:?}");
    server.change("serve.max-clients = 5\n", RELOADED);
    server.home.succeed(&["list"]);
}

#[test]
fn a_server_in_the_background_reloads_and_has_the_level_of_the_file() {
    let home = Home::new();
    write(&home, "log = 'info'\n");
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let log = || fs::read_to_string(home.socket().with_extension("sock.log")).unwrap();
    assert!(log().contains("listening"));
    write(&home, "log = 'debug'\nserve.log-format = 'json'\n");
    home.signal_server(Signal::HUP);
    eventually("it reloads", || log().contains(RELOADED));
    assert!(log().contains("a setting changes at the next start setting=\"serve.log-format\""), "{}", log());
    home.succeed(&["list"]);
    eventually("it logs more", || log().contains("DEBUG"));
    assert_eq!(home.session("a")["running"], true);
}

#[test]
fn a_pipe_in_place_of_the_file_holds_nothing_up() {
    let server = Reloaded::start("", "");
    let file = server.home.directory.path().join("config/fugue/config.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    signal(server.server.pid(), Signal::HUP);
    eventually("it is refused", || !server.logged("a mistake in the configuration").is_empty());
    let mistake = server.logged("a mistake in the configuration").pop().unwrap();
    assert!(mistake["error"].as_str().unwrap().contains("not a regular file"), "{mistake}");
    // Commands would refuse it too.
    fs::remove_file(&file).unwrap();
}
