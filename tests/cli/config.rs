//! Settings from files and the environment: what counts, what is refused, and what works all the same.

use std::fs;

use super::*;

impl Home {
    fn config(&self) -> PathBuf {
        self.directory.path().join("config/fugue/config.toml")
    }

    /// Writes the user's configuration file.
    fn configure(&self, text: &str) {
        fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        fs::write(self.config(), text).unwrap();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_check_tells_five_kinds_of_mistakes_with_their_places() {
    let home = Home::new();
    let text = "\
log = \"loud\"
[serve]
histroy = \"4MiB\"
queue = \"16\"
max-clients =
[sessions]
";
    home.configure(text);
    let path = home.config();
    let path = path.display();
    for arguments in [&["config", "check"][..], &["config", "check", &path.to_string()]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = said(&output);
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 5, "{told}");
        for (line, (place, what)) in lines.iter().zip([
            ("1:7", "log can't be \"loud\""),
            ("3:1", "did you mean \"history\"?"),
            ("4:9", "serve.queue is a whole number, without quotes, not a string"),
            ("5:", ""),
            ("6:2", "the tables are serve, new, attach"),
        ]) {
            assert!(line.starts_with(&format!("{path}:{place}")) && line.contains(what), "{line}");
        }
    }
}

#[test]
fn with_a_broken_file_commands_refuse_and_help_and_check_still_work() {
    let home = Home::new();
    home.configure("[serve]\nhistroy = 1\n");
    for arguments in [&["serve"][..], &["new", "a", "-d"], &["attach", "a"], &["list"]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let told = said(&output);
        assert!(told.contains("config.toml:2:1: unknown key") && told.contains("config check"), "{told}");
        assert!(output.stdout.is_empty());
    }
    assert!(!home.socket().exists());
    for arguments in [&["--help"][..], &["--version"], &["new", "--help"], &["config", "path"]] {
        home.succeed(arguments);
    }
    let shown = home.run(&["config", "show"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("# history = \"4MiB\""), "{shown:?}");
    // A way round it.
    let output = home.command(&["list"]).env("FUGUE_CONFIG", "").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_wrong_variable_is_named() {
    let output = Home::new().command(&["serve"]).env("FUGUE_SERVE_QUEUE", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("FUGUE_SERVE_QUEUE: \"many\" can't be used"), "{output:?}");
}

#[test]
fn a_named_file_must_be_there_and_any_file_is_read_within_bounds() {
    let home = Home::new();
    let read = |path: &Path| {
        let output = home.command(&["list"]).env("FUGUE_CONFIG", path).output().unwrap();
        (output.status.code(), said(&output))
    };
    let path = home.directory.path().join("named");
    assert_eq!(read(&path).0, Some(2));
    fs::write(&path, "# ".repeat(40_000)).unwrap();
    let (status, told) = read(&path);
    assert!(status == Some(2) && told.contains("more than 65536 bytes"), "{told}");
    fs::write(&path, b"log = \"\xff\"").unwrap();
    assert_eq!(read(&path).0, Some(2));
    assert_eq!(read(Path::new("/dev/null")).0, Some(0));
    // Nobody writes to this pipe, so opening it would last forever.
    fs::create_dir_all(home.config().parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(home.config()).status().unwrap().success());
    let output = home.run(&["list"]);
    assert!(output.status.code() == Some(2) && said(&output).contains("not a regular file"), "{output:?}");
}

#[test]
fn settings_reach_the_server_that_new_starts_and_its_sessions() {
    let home = Home::new();
    home.configure("[serve]\nshards = 2\n[new]\nsize = \"90x20\"\nlogin = true\n");
    let size = |name: &str| home.session(name)["size"].as_str().unwrap().to_owned();
    home.succeed(&["new", "file", "-d", "--", "/bin/sh", "-c", "echo $0; exec sleep 1000"]);
    assert_eq!(size("file"), "90x20");
    home.succeed(&["wait", "file", "--for", "-sh", "--timeout", "120s"]);
    assert_eq!(home.json(&["stats", "--json"])["shards"], 2);

    let output = home.command(&["new", "variable", "-d"]).env("FUGUE_NEW_SIZE", "91x20").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(size("variable"), "91x20");
    let mut flag = home.command(&["new", "flag", "-d", "--size", "92x20"]);
    assert!(flag.env("FUGUE_NEW_SIZE", "91x20").status().unwrap().success());
    assert_eq!(size("flag"), "92x20");

    let mut terminal = home.terminal(&["attach", "-A", "attached"]);
    // A login shell has the prompt of the machine's profile.
    terminal.wait_until("a prompt", |shown| shown.text().contains(['#', '$', '>']).then_some(()));
    assert_eq!(size("attached"), "90x20");
    terminal.type_in("\x1c");
    terminal.ends_with(0);
}

#[test]
fn no_server_is_started_where_a_file_forbids_it() {
    let home = Home::new();
    home.configure("new.no-start = true\n");
    for arguments in [&["new", "a", "-d"][..], &["attach", "-A", "a"]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(255));
        assert!(said(&output).contains("no server listens"), "{output:?}");
    }
    let allowed = home.command(&["new", "a", "-d"]).env("FUGUE_NEW_NO_START", "false").status().unwrap();
    assert!(allowed.success());
}

#[test]
fn the_detach_key_of_a_file_detaches() {
    let home = Home::new();
    home.configure("detach-key = \"ctrl-a\"\n");
    let mut terminal = home.terminal(&["new", "a"]);
    terminal.wait_for("ready>");
    terminal.type_in("\x01");
    terminal.ends_with(0);
}

#[test]
fn show_says_where_each_value_is_from_and_reads_back() {
    let home = Home::new();
    home.configure("[serve]\nqueue = 32\nhistory = \"8MiB\"\n");
    let shown = home.command(&["config", "show"]).env("FUGUE_DETACH_KEY", r"ctrl-\").output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let path = home.config();
    for line in [
        "# log = \"warn\"",
        "detach-key = \"ctrl-\\\\\"  # FUGUE_DETACH_KEY",
        &format!("history = \"8MiB\"  # {}:3:11", path.display()),
        &format!("queue = 32  # {}:2:9", path.display()),
        "# shards: 128 per hardware thread",
        "# login = false",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }
    // Each line is a setting of a file, the defaults as well.
    let file =
        shown.lines().map(|line| line.strip_prefix("# ").filter(|_| line.contains(" = ")).unwrap_or(line));
    home.configure(&file.collect::<Vec<_>>().join("\n"));
    home.succeed(&["config", "check"]);
    let json = home.json(&["config", "show", "--json"]);
    let queue = json.as_array().unwrap().iter().find(|setting| setting["key"] == "serve.queue").unwrap();
    assert_eq!((&queue["value"], &queue["variable"]), (&"32".into(), &"FUGUE_SERVE_QUEUE".into()));
    assert!(queue["from"].as_str().unwrap().starts_with(path.to_str().unwrap()), "{queue}");
}
