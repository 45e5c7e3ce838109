//! Which options are settings, and which of several values counts.

use std::collections::BTreeSet;

use super::*;

/// Options of these commands that say what one call is to do, so that no file has them: a recording keeps its promise
/// only if `from` and `on-lag` mean what they do by themselves.
const OF_ONE_CALL: &[(&str, &[&str])] = &[
    ("serve", &["background", "take-over"]),
    ("new", &["attach", "detached", "directory", "env", "on-lag", "record", "title"]),
    ("attach", &["create", "from", "link", "on-lag", "read-only"]),
    ("share", &["all", "label", "once", "uses", "write"]),
    #[cfg(feature = "web")]
    ("web", &["background"]),
    #[cfg(feature = "nodes")]
    ("node", &[]),
];

#[test]
fn every_option_is_a_setting_or_is_of_one_call() {
    let command_line = Args::command();
    let mut found = BTreeSet::new();
    for (name, of_one_call) in OF_ONE_CALL.iter().copied() {
        let command = command_line.find_subcommand(name).unwrap();
        let options: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
        for option in &options {
            let is_it = |setting: &&Setting| {
                setting.name == *option && setting.command().is_none_or(|command| command == name)
            };
            match SETTINGS.iter().find(is_it) {
                Some(setting) => assert!(found.insert(setting.key()) || setting.table.is_none()),
                None => assert!(of_one_call.contains(option), "`{name} --{option}` is in neither list"),
            }
        }
        assert!(of_one_call.iter().all(|option| options.contains(option)), "{name}: {options:?}");
    }
    found.extend(["log", "remote", "remote-path", "socket", "ssh"].map(str::to_owned));
    assert_eq!(found, SETTINGS.iter().map(Setting::key).collect());
}

#[test]
fn every_setting_has_a_variable_of_its_own_and_takes_its_default() {
    let command_line = Args::command();
    let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
    assert_eq!(variables.len(), SETTINGS.len());
    assert!(variables.contains("FUGUE_DETACH_KEY") && variables.contains("FUGUE_SERVE_MAX_CLIENTS"));
    for setting in SETTINGS {
        if let Ok(default) = setting.default(&command_line) {
            assert_eq!(setting.check(&command_line, default.as_ref()), Ok(()), "{}", setting.key());
        }
    }
}

/// The sizes that a server gets by settings, and by a word of its command line.
fn history(files: &[&str], variable: Option<&str>, word: Option<&str>) -> usize {
    let files: Vec<_> = files.iter().map(|text| (PathBuf::from("f"), (*text).to_owned())).collect();
    let setting = SETTINGS.iter().find(|setting| setting.key() == "serve.history").unwrap();
    let variables = variable.map(|value| (setting, value.into())).into_iter().collect();
    let (settings, errors) = GivenSettings::of(&files, variables);
    assert!(errors.is_empty(), "{errors:?}");
    let words = ["fugue-server", "serve"].into_iter().chain(word);
    let Command::Serve(args) = parse(words, &settings).unwrap().command else { panic!("another command") };
    let shown = format!("{args:?}");
    let (_, rest) = shown.split_once("history: ByteCount(").unwrap();
    rest.split(')').next().unwrap().parse().unwrap()
}

#[test]
fn a_flag_wins_over_a_variable_over_the_users_file_over_the_machines() {
    let machine = "[serve]\nhistory = \"1MiB\"\n";
    let user = "serve.history = 131072";
    assert_eq!(history(&[], None, None), 4 << 20);
    assert_eq!(history(&[machine], None, None), 1 << 20);
    assert_eq!(history(&[machine, "log = \"info\""], None, None), 1 << 20);
    assert_eq!(history(&[machine, user], None, None), 128 << 10);
    assert_eq!(history(&[machine, user], Some("2MiB"), None), 2 << 20);
    assert_eq!(history(&[machine, user], Some("2MiB"), Some("--history=3MiB")), 3 << 20);
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_is_right() {
    for (text, told) in [
        ("histroy = 1", "f:1:1: unknown key \"histroy\"; did you mean \"history\" in [serve]?"),
        ("[serve]\n  quue = 1", "f:2:3: unknown key \"quue\" in [serve]; did you mean \"queue\"?"),
        ("[new]\nlog = 'info'", "f:2:1: unknown key \"log\" in [new]; it belongs above all tables"),
        ("shards = 2", "f:1:1: unknown key \"shards\"; it belongs in [serve]"),
        ("[atach]\nx = 1", "f:1:2: unknown table [atach]; did you mean [attach]?"),
        #[cfg(not(any(feature = "web", feature = "nodes")))]
        ("[zoo]", "f:1:2: unknown table [zoo]; the tables are serve, new, attach, share, remotes"),
        #[cfg(all(feature = "web", feature = "nodes"))]
        (
            "[zoo]",
            "f:1:2: unknown table [zoo]; the tables are serve, new, attach, share, web, nodes, remotes",
        ),
        #[cfg(feature = "nodes")]
        (
            "[nodes]\nallow = { a = 'write', 'ci-*' = 'reed' }",
            "f:2:24: nodes.allow can't have \"ci-*\": write NODE=read or NODE=write, such as ci-*=read",
        ),
        #[cfg(feature = "nodes")]
        (
            "[nodes.allow]\na = 'write'\nb = 1",
            "f:3:1: nodes.allow can't have \"b\": its value is a string, in quotes, not a number",
        ),
        #[cfg(feature = "nodes")]
        ("[nodes]\nallow = ['a=read']", "f:2:9: nodes.allow is a table of strings, not a list"),
        #[cfg(feature = "nodes")]
        (
            "[nodes]\nnats = ['a.example', '']",
            "f:2:8: nodes.nats can't be \"a.example,\": write the address of a nats-server, such as nats://127.0.0.1:4222",
        ),
        #[cfg(feature = "web")]
        ("[web]\nhost = [1]", "f:2:8: web.host is a list of strings, in brackets, or a string, not a list"),
        #[cfg(feature = "web")]
        (
            "[web]\nhost = ['a', 'b/']",
            "f:2:8: web.host can't be \"a,b/\": write a name, as in the address that people open: term.example.com",
        ),
        (
            "[share]\nfor = '2y'",
            "f:2:7: share.for can't be \"2y\": unknown unit \"y\"; use ms, s, m, h, d or w, or forever",
        ),
        (
            "[new]\nzoo = 1",
            "f:2:1: unknown key \"zoo\" in [new]; the keys in [new] are size, pace, login, no-start",
        ),
        ("new = 5", "f:1:7: new is not a number, but a table: write its keys below a line [new]"),
        ("[serve]\nqueue = '1'", "f:2:9: serve.queue is a whole number, without quotes, not a string"),
        ("[new]\nlogin = 1", "f:2:9: new.login is true or false, not a number"),
        ("log = true", "f:1:7: log is a string, such as \"warn\", not true or false"),
        (
            "[serve]\nhistory = 4.5",
            "f:2:11: serve.history is a number of bytes, such as 65536 or \"4MiB\", not a number with a fraction",
        ),
        ("[new]\npace = 'fast'", "f:2:8: new.pace can't be \"fast\": use fastest, slowest, free"),
        (
            "[serve]\nqueue = 0",
            "f:2:9: serve.queue can't be \"0\": the queue depth is 0, but must be from 1 to 4096",
        ),
        (
            "remotes = 1",
            "f:1:11: remotes is not a number, but a table: write its keys below a line [remotes]",
        ),
        ("[remotes]\ndev = 'x'", "f:2:7: remotes.dev is not a string, but a table"),
        (
            "[remotes.'a:b']",
            "f:1:10: [remotes.\"a:b\"]: a machine's name has letters, digits, dots, underscores or hyphens",
        ),
        (
            "[remotes.dev]",
            "f:1:10: [remotes.dev] has no url: write ssh://[user@]host[:port], such as ssh://me@dev.example.org",
        ),
        ("[remotes.dev]\nurl = 5", "f:2:7: remotes.dev.url is a string, in quotes, not a number"),
        (
            "[remotes.dev]\nurl = 'dev'",
            "f:2:7: remotes.dev.url can't be \"dev\": write ssh://[user@]host[:port], such as ssh://me@dev.example.org",
        ),
        (
            "[remotes.dev]\nurl = 'ssh://a'\nport = 2",
            "f:3:1: unknown key \"port\" in [remotes.dev]; the keys there are url, path, socket, ssh",
        ),
        (
            "[remotes.dev]\nurl = 'ssh://a'\npath = ''",
            "f:3:8: remotes.dev.path can't be \"\": give the path of fugue-server on the other machine; without backslashes",
        ),
        (
            "'é' = 1 # é\nsocket = ''",
            "f:1:1: unknown key \"é\"; the keys above all tables are socket, log, remote, remote-path, ssh, detach-key, next-key, name-in-title, spool",
        ),
    ] {
        assert_eq!(check_text(text).first().map(String::as_str), Some(told), "{text}");
    }
}

#[cfg(feature = "nodes")]
#[test]
fn a_table_of_what_nodes_may_do_keeps_the_order_of_its_lines() {
    let text = "[nodes.allow]\nz = 'write'\n'ci-*' = 'read'\na = 'write'\n";
    let (settings, errors) = GivenSettings::of(&[(PathBuf::from("f"), text.to_owned())], Vec::new());
    assert!(errors.is_empty(), "{errors:?}");
    let setting = SETTINGS.iter().find(|setting| setting.key() == "nodes.allow").unwrap();
    assert_eq!(settings.find(setting).unwrap().value, "z=write,ci-*=read,a=write");
}

#[test]
fn a_table_of_a_command_that_is_not_built_is_passed_over() {
    assert_eq!(check_text("[nodes]\nname = 'dev'\nallow = { a = 'read' }"), [""; 0]);
    let wrong = check_text("[nodes]\nname = 'a.b'");
    assert_eq!(wrong.len(), usize::from(cfg!(feature = "nodes")), "{wrong:?}");
    assert_eq!(check_text("[web]\nlisten = '0.0.0.0:8443'\nhost = ['a.example', 'b.example']"), [""; 0]);
    let wrong = check_text("[web]\nlisten = 'x'");
    assert_eq!(wrong.len(), usize::from(cfg!(feature = "web")), "{wrong:?}");
}

#[test]
fn a_file_that_is_broken_is_told_of_once_a_line() {
    let told = check_text("[serve]\nqueue = \nshards = 3\nqueue = 4\n[new\n");
    let lines: Vec<_> = told.iter().map(|told| told.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["2", "3", "4", "5"], "{told:#?}");
}
