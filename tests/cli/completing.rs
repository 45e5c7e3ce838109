//! Completion in shells and manual pages: both have what `--help` has, and completion the names of sessions.

use std::{collections::BTreeSet, fs};

use super::*;

/// The words that a Tab offers after these.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let index = words.len().to_string();
    let arguments = [&["complete", &index, "--", "fugue-server"][..], words].concat();
    let lines = home.succeed(&arguments);
    lines.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// Every command and its `--help`; those of `config` as well.
fn helps(home: &Home) -> Vec<(Vec<String>, String)> {
    // Commands are listed two columns in; what else there is begins with a sign, or elsewhere. Some are only named.
    let listed = |help: &str| {
        let named = help.split_once("Also: ").and_then(|(_, rest)| rest.split_once('.'));
        let named =
            named.into_iter().flat_map(|(names, _)| names.split(',')).map(|name| name.trim().to_owned());
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        let names = lines.filter(|line| line.starts_with(|letter: char| letter.is_ascii_lowercase()));
        let names = names.map(|line| line.split(' ').next().unwrap().to_owned());
        names.chain(named).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    let mut left = vec![Vec::new()];
    while let Some(command) = left.pop() {
        let words: Vec<_> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = home.succeed(&words);
        left.extend(listed(&help).into_iter().map(|name| [command.clone(), vec![name]].concat()));
        found.push((command, help));
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// The options that a help has in its list.
fn options(help: &str) -> BTreeSet<&str> {
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let names = lines.filter_map(|line| line.split([' ', ',', '=']).find(|word| word.starts_with("--")));
    names.collect()
}

#[test]
fn a_tab_offers_every_command_and_option_of_help() {
    let home = Home::new();
    for (command, help) in helps(&home) {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        let offered: BTreeSet<_> = offered(&home, &[&words[..], &["--"]].concat()).into_iter().collect();
        for option in options(&help) {
            assert!(offered.contains(option), "{command:?} {option}: {offered:?}");
        }
        if let Some((name, before)) = words.split_last() {
            assert!(
                self::offered(&home, &[before, &[name]].concat()).contains(&(*name).to_owned()),
                "{name}"
            );
        }
    }
    assert_eq!(offered(&home, &["new", "--pace", "f"]), ["fastest", "free"]);
}

#[test]
fn a_tab_offers_the_names_of_live_sessions() {
    let home = Home::new();
    assert_eq!(offered(&home, &["attach", "w"]), [""; 0]);
    assert!(!home.socket().exists(), "a Tab started a server");
    home.succeed(&["new", "work", "-d", "--", "sleep", "1000"]);
    home.succeed(&["new", "web", "-d", "--", "sleep", "1000"]);
    home.succeed(&["new", "wrong", "-d", "--", "true"]);
    eventually("it ended", || home.session("wrong")["running"] == false);
    for command in ["attach", "kill", "send", "screen", "wait", "rename"] {
        // A server that is slow to answer is not waited for, as on a machine that does much else.
        eventually(command, || {
            let mut names = offered(&home, &[command, "w"]);
            names.sort();
            names == ["web", "work"]
        });
    }
    assert_eq!(offered(&home, &["new", "w"]), [""; 0]);
    let elsewhere = home.directory.path().join("none");
    assert_eq!(offered(&home, &["--socket", elsewhere.to_str().unwrap(), "attach", "w"]), [""; 0]);
    // A server that does not answer is not waited for. Other commands give it 5 s.
    let pid = home.server_pid();
    signal(pid, Signal::STOP);
    eventually("nothing is offered soon", || {
        let start = Instant::now();
        assert_eq!(offered(&home, &["kill", "w"]), [""; 0]);
        start.elapsed() < Duration::from_secs(5)
    });
    signal(pid, Signal::CONT);
}

/// A page, without the backslashes that its hyphens have.
fn page(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .replace('\\', "")
}

#[test]
fn every_command_has_a_manual_page_with_its_options() {
    let home = Home::new();
    let directory = home.directory.path().join("man/man1");
    home.succeed(&["man", directory.to_str().unwrap()]);
    let mut expected = BTreeSet::new();
    for (command, help) in helps(&home) {
        let name = [&["fugue-server".to_owned()][..], &command].concat().join("-") + ".1";
        let page = page(&directory, &name);
        for option in options(&help).into_iter().chain(["--socket", "--log"]) {
            assert!(page.contains(option), "{name} lacks {option}");
        }
        expected.insert(name);
    }
    let written =
        fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(written.collect::<BTreeSet<_>>(), expected);
}

/// Runs a script of a shell that completes; nothing where there is no such shell, which is said.
fn completed(home: &Home, shell: &str, script: &str) -> Option<String> {
    // In a file: nushell sources only what is there before it begins.
    let file = home.directory.path().join("script");
    fs::write(&file, script).unwrap();
    let mut command = Command::new(shell);
    command.arg(&file).envs(home.environment()).env("PATH", path()).stdin(Stdio::null());
    match command.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            println!("not shown: {shell}: {error}");
            None
        }
    }
}

#[test]
fn shells_complete_the_name_of_a_session() {
    let home = Home::new();
    home.succeed(&["new", "work", "-d", "--", "sleep", "1000"]);
    let bash = "source <(fugue-server completions bash); COMP_WORDS=(fugue-server attach wo); COMP_CWORD=2
        _fugue_server fugue-server wo attach; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let fish = "fugue-server completions fish | source; complete --do-complete 'fugue-server attach wo'";
    let zsh = "compdef() { }; _describe() { print -l $found }; words=(fugue-server attach wo); CURRENT=3
        source <(fugue-server completions zsh); _fugue_server";
    let sourced = home.directory.path().join("fugue-server.nu");
    fs::write(&sourced, home.succeed(&["completions", "nushell"])).unwrap();
    let nu = format!(
        "source {}
        print (do $env.config.completions.external.completer [fugue-server attach wo] | get value | str join ' ')",
        sourced.display()
    );
    for (shell, script) in [("bash", bash), ("fish", fish), ("zsh", zsh), ("nu", &nu)] {
        if let Some(found) = completed(&home, shell, script) {
            assert_eq!(found.trim_end(), "work", "{shell}");
        }
    }
}
