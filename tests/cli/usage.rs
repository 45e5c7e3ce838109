//! Help that fits and suffices; wrong usage that says what would be right.

use super::*;

fn commands() -> impl Iterator<Item = &'static str> {
    let commands = [
        "serve", "new", "attach", "detach", "list", "events", "record", "play", "export", "send", "screen",
        "wait", "rename", "resize", "kill", "share", "shares", "unshare", "env", "stats", "stop", "config",
        "relay",
    ];
    let more = [cfg!(feature = "bench").then_some("bench"), cfg!(feature = "web").then_some("web")];
    commands.into_iter().chain(more.into_iter().flatten())
}

#[test]
fn every_help_fits_a_screen() {
    let home = Home::new();
    let mut helps = vec![home.succeed(&["--help"])];
    helps.extend(commands().map(|command| home.succeed(&[command, "--help"])));
    helps.extend(["show", "check", "path"].map(|action| home.succeed(&["config", action, "--help"])));
    for help in helps {
        assert!(help.lines().count() <= 24, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(help.contains("Usage: fugue-server"), "{help}");
    }
}

#[test]
fn help_names_every_command_and_how_to_begin() {
    let help = Home::new().succeed(&["--help"]);
    for command in commands() {
        let is_named = [format!("  {command} "), format!(" {command},"), format!("\n{command},")]
            .iter()
            .any(|name| help.contains(name));
        assert!(is_named, "{command}:\n{help}");
    }
    assert!(help.contains("fugue-server new work"), "{help}");
    assert!(!help.contains("bench-child"), "{help}");
}

#[test]
fn wrong_usage_exits_2_with_a_hint() {
    let home = Home::new();
    for (arguments, hint) in [
        (&["atach", "x"][..], "attach"),
        (&[], "Usage"),
        (&["rename", "a"], "<NEW>"),
        (&["kill"], "<NAME>"),
        (&["kill", "a", "--all"], "cannot be used with"),
        (&["kill", "a", "-s", "SIGFOO"], "kill -l"),
        (&["kill", "a", "-s", "0"], "from 1 to 31"),
        (&["resize", "a", "80"], "WIDTHxHEIGHT"),
        (&["new", "-e", "A"], "KEY=VALUE"),
        (&["attach", "-A"], "<NAME>"),
        (&["attach", "--link", "http://127.0.0.1:7681/s/#short"], "22 letters"),
        (&["attach", "-A", "x", "--link", "-"], "cannot be used with"),
        (&["share", "x", "--all"], "cannot be used with"),
        (&["share", "x", "--for", "soon"], "500ms"),
        (&["share", "x", "--url", "example.org"], "such as https://"),
        (&["unshare"], "<LINK>"),
        (&["unshare", "x"], "8 hexadecimal digits"),
        (&["unshare", "00000000", "--all"], "cannot be used with"),
        (&["detach", "a", "1", "--others"], "cannot be used with"),
        (&["detach", "a", "b"], "invalid digit"),
        (&["attach", "two words"], "1 to 64 letters"),
        (&["new", "two words"], "1 to 64 letters"),
        (&["new", "x", "--size", "80"], "WIDTHxHEIGHT"),
        (&["attach", "x", "--detach-key", "q"], "ctrl-"),
        (&["attach", "x", "--on-lag", "panic"], "lossless"),
        (&["serve", "--history", "many"], "KiB, MiB or GiB"),
        (&["list", "--log", "loud"], "debug"),
        (&["attach", "x", "--spool", "much"], "use KiB, MiB or GiB"),
        (&["record", "x"], "<FILE>"),
        (&["record", "x", "y", "--rotate", "1KiB"], "use 64KiB or more"),
        (&["export", "x", "--from", "there"], "screen, now, start"),
        (&["new", "x", "-A", "--record", "y"], "cannot be used with"),
        (&["play", "x", "--speed", "0"], "from 0.001 to 1000"),
        (&["play", "x", "--idle-limit", "soon"], "500ms"),
        (&["screen", "x", "--json", "--svg"], "cannot be used with"),
        (&["send", "x", "--keys", "Enter Hello"], "PageUp"),
        (&["send", "x", "--keys", ""], "Enter"),
        (&["send", "x", "--keys", "a", "--paste"], "cannot be used with"),
        (&["wait", "x", "--for", "/(/"], "unclosed group"),
        (&["wait", "x", "--idle", "soon"], "500ms"),
        (&["wait", "x", "--timeout", "9y"], "ms, s, m, h, d or w"),
        (&["wait", "x", "--since", "5"], "--for"),
        (&["wait", "x", "--for", "a", "--idle", "1s"], "cannot be used with"),
    ] {
        let output = home.run(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(hint), "{arguments:?}: {complaint}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_their_bounds() {
    let home = Home::new();
    let long = format!("/tmp/{}", "x".repeat(120));
    for (arguments, hint) in [
        (&["serve", "--shards", "3"][..], "power of two from 1 to 4096"),
        (&["serve", "--queue", "0"], "from 1 to 4096"),
        (&["serve", "--history", "1KiB"], "from 65536"),
        (&["serve", "--scrollback", "100001"], "from 0 to 100000"),
        (&["serve", "--socket", &long], "107 are allowed"),
        (&["serve", "--socket", "/tmp/fugue-test.sock"], "choose"),
    ] {
        let output = home.run(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {complaint}");
        assert!(complaint.contains(hint), "{arguments:?}: {complaint}");
    }
}

#[test]
fn without_a_server_commands_say_so_and_list_is_empty() {
    let home = Home::new();
    for arguments in [&["kill", "x"][..], &["send", "x"], &["screen", "x"], &["env", "x"], &["stats"]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no server listens"), "{output:?}");
    }
    assert_eq!(home.succeed(&["list", "--json"]), "[]\n");
    assert!(!home.socket().exists());
}
