//! Links as people use them: made, listed, watched by, and taken back; over servers that are killed and restarted.

use std::fs;

use serde_json::json;

use super::*;

/// Prints what it is told, a line each.
const ECHO: &str = "echo ready; while read -r line; do echo \"got $line\"; done";

fn start(home: &Home, name: &str) {
    home.succeed(&["new", name, "-d", "--", "sh", "-c", ECHO]);
}

/// A link, as `share` prints it.
fn share(home: &Home, arguments: &[&str]) -> String {
    // Where it begins is said, so that no gateway is started.
    home.succeed(&[&["share", "--url", "http://127.0.0.1:7681"], arguments].concat()).trim_end().to_owned()
}

fn links(home: &Home) -> Vec<Value> {
    home.json(&["shares", "--json"]).as_array().unwrap().clone()
}

fn id(link: &Value) -> &str {
    link["id"].as_str().unwrap()
}

/// Why a link is not redeemed.
fn refused(home: &Home, link: &str) -> String {
    let output = home.run(&["attach", "--link", link]);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_link_is_made_listed_and_taken_back() {
    let home = Home::new();
    assert_eq!(home.succeed(&["shares", "--json"]), "[]\n");
    start(&home, "work");
    let link = share(&home, &["work", "--for", "7h60m", "--once", "--label", "Ann\x1b[31m"]);
    let (before, token) = link.split_once('#').unwrap();
    assert_eq!((before, token.len()), ("http://127.0.0.1:7681/s/", 22));
    let all =
        home.command(&["share", "--all", "--write"]).env("FUGUE_SHARE_URL", "https://example.org/t").output();
    let all = String::from_utf8(all.unwrap().stdout).unwrap().trim_end().to_owned();
    assert!(all.starts_with("https://example.org/t/s/#"), "{all}");
    let mut listed = links(&home);
    assert!(listed[0]["expires_seconds"].as_u64().is_some_and(|left| (28_000..=28_800).contains(&left)));
    let (first, second) = (id(&listed[0]).to_owned(), id(&listed[1]).to_owned());
    for link in &mut listed {
        link.as_object_mut().unwrap().retain(|key, _| key != "expires_seconds" && key != "id");
    }
    let session = home.session("work")["id"].clone();
    let expected = json!([
        {"session": "work", "session_id": session, "access": "read-only", "label": "Ann[31m", "uses": 1, "used": 0,
         "viewers": 0},
        {"session": null, "session_id": null, "access": "read-write", "label": null, "uses": null, "used": null,
         "viewers": 0},
    ]);
    assert_eq!(Value::from(listed), expected);
    let table = home.succeed(&["shares"]);
    assert!(table.contains("(all)") && table.contains("0 of 1") && !table.contains(token), "{table}");
    // A Tab waits for a tenth of a second only.
    eventually("it is offered", || {
        let offered = home.succeed(&["complete", "2", "--", "fugue-server", "unshare", &first[..4]]);
        offered == format!("{first}\twork, Ann[31m\n")
    });

    let told = home.run(&["share", "work", "--write", "--url", "http://x"]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("session work, read-write, any number of viewers"), "{told}");
    home.succeed(&["unshare", &first, &second]);
    assert_eq!(links(&home).len(), 1);
    home.succeed(&["unshare", "--all"]);
    assert!(links(&home).is_empty() && home.succeed(&["shares"]).is_empty());
    let again = home.run(&["unshare", &first]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is no link"), "{again:?}");
    for link in [&link, &all] {
        assert!(refused(&home, link).contains("ask who shared it for another"));
    }
}

#[test]
fn a_terminal_watches_by_a_link_until_that_is_taken_back() {
    let home = Home::new();
    start(&home, "work");
    let mut watching = home.terminal(&["attach", "--link", &share(&home, &["work"])]);
    watching.wait_for("ready");
    let typing = home.terminal(&["attach", "--link", &share(&home, &["work", "--write"])]);
    typing.wait_for("ready");
    watching.type_in("not for it\r");
    typing.type_in("hello\r");
    watching.wait_for("got hello");
    assert!(!watching.text().contains("not for it"));
    eventually("both are counted", || links(&home).iter().all(|link| link["viewers"] == 1));
    home.succeed(&["unshare", id(&links(&home)[0])]);
    watching.wait_for("the link was revoked");
    watching.ends_with(254);
    typing.type_in("still\r");
    typing.wait_for("got still");
    home.succeed(&["kill", "work"]);
    typing.wait_for("session work ended");
}

#[test]
fn a_link_for_two_viewers_admits_no_third() {
    let home = Home::new();
    start(&home, "work");
    let link = share(&home, &["work", "--uses", "2", "--for", "1w"]);
    let watch = || {
        let terminal = home.terminal(&["attach", "--link", &link]);
        terminal.wait_for("ready");
        terminal
    };
    let _viewers = [watch(), watch()];
    let said = refused(&home, &link);
    assert!(said.contains("link"), "{said}");
    let left = links(&home)[0]["expires_seconds"].as_u64();
    assert!((600_000..=604_800).contains(&left.unwrap()), "{left:?}");
    for (arguments, hint) in [
        (&["--uses", "0"][..], "from 1 to"),
        (&["--uses", "2", "--once"], "cannot be used with"),
        (&["--for", "0"], "a second at least"),
        (&["--for", "soon"], "or forever"),
    ] {
        let output = home.run(&[&["share", "work"], arguments].concat());
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
}

#[test]
fn a_link_to_all_lets_one_choose_and_a_link_can_be_typed() {
    let home = Home::new();
    start(&home, "work");
    start(&home, "web");
    let all = share(&home, &["--all"]);
    let several = home.run(&["attach", "--link", &all]);
    assert!(String::from_utf8_lossy(&several.stderr).contains("several sessions"), "{several:?}");
    let mut named = home.terminal(&["attach", "we", "--link", "-"]);
    named.wait_for("Type or paste the link");
    named.type_in(&format!("{all}\r"));
    named.wait_for("ready");
    home.succeed(&["kill", "web"]);
    named.wait_for("session web ended");
    wait(&mut named.child);
    let other = home.run(&["attach", "web", "--link", &share(&home, &["work"])]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("does not allow"), "{other:?}");
}

#[test]
fn a_file_gets_every_byte_by_a_link_and_the_programs_exit_status() {
    let home = Home::new();
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", "seq 1 20000; read -r line; exit 7"]);
    eventually("it has printed", || home.session("work")["printed_bytes"].as_u64() > Some(120_000));
    let link = share(&home, &["work"]);
    let recorder = home.command(&["attach", "--link", &link]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("it watches", || links(&home)[0]["viewers"] == 1);
    let mut sending = home.command(&["send", "work"]).stdin(Stdio::piped()).spawn().unwrap();
    sending.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(wait(&mut sending).success());
    let recorded = recorder.wait_with_output().unwrap();
    assert_eq!(recorded.status.code(), Some(7), "{recorded:?}");
    let lines: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    assert!(recorded.stdout.starts_with(lines.as_bytes()));
    // Nobody is held up by a link.
    let lossless = home.run(&["attach", "--link", &link, "--on-lag", "lossless"]);
    assert!(String::from_utf8_lossy(&lossless.stderr).contains("holds nobody up"), "{lossless:?}");
}

#[test]
fn links_and_their_viewers_outlast_a_killed_and_a_restarted_server() {
    let home = Home::new();
    start(&home, "work");
    let once = share(&home, &["work", "--write", "--once", "--for", "1h"]);
    share(&home, &["--all", "--label", "mine"]);
    let taken_back = share(&home, &["work"]);
    home.succeed(&["unshare", id(&links(&home)[2])]);
    let viewer = home.terminal(&["attach", "--link", &once]);
    viewer.wait_for("ready");
    eventually("it is counted", || links(&home)[0]["viewers"] == 1);
    let known = |home: &Home| {
        let mut known = links(home);
        for link in &mut known {
            assert!(link["expires_seconds"].as_u64().is_none_or(|left| left > 0 && left <= 3600));
            link.as_object_mut().unwrap().retain(|key, _| key != "expires_seconds" && key != "viewers");
        }
        known
    };
    let before = known(&home);
    assert_eq!(before.len(), 2);
    for round in 0..3 {
        if round == 1 {
            home.succeed(&["restart"]);
        } else {
            home.signal_server(Signal::KILL);
        }
        assert_eq!(known(&home), before, "round {round}");
        eventually("it is back", || links(&home)[0]["viewers"] == 1);
        viewer.type_in(&format!("{round}\r"));
        viewer.wait_for(&format!("got {round}"));
        // Its one use is used, and what was taken back stays so.
        for link in [&once, &taken_back] {
            assert!(refused(&home, link).contains("this link is not valid"));
        }
    }
    // No secret is written anywhere.
    let directory = home.socket().parent().unwrap().to_owned();
    let token = once.split_once('#').unwrap().1;
    for entry in fs::read_dir(&directory).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(token));
    }
    let kept = directory.join("server.sock.links");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    home.succeed(&["stop"]);
    assert!(!kept.exists(), "links end with a server that is told to stop");
}

#[test]
fn links_that_cannot_be_read_are_gone_and_the_sessions_are_not() {
    let home = Home::new();
    start(&home, "work");
    let kept = home.socket().with_file_name("server.sock.links");
    for wrong in [&b"garbage"[..], b"", &[0xff; 5 * 1024 * 1024]] {
        let link = share(&home, &["work"]);
        fs::write(&kept, wrong).unwrap();
        home.signal_server(Signal::KILL);
        assert!(links(&home).is_empty());
        assert!(refused(&home, &link).contains("this link is not valid"));
        assert_eq!(home.session("work")["running"], true);
    }
    // Those of an earlier start of the machine have no times any more.
    let link = share(&home, &["work"]);
    let mut written = fs::read(&kept).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let at = written.windows(boot.len()).position(|window| window == boot.as_bytes()).unwrap();
    written[at] = if written[at] == b'0' { b'1' } else { b'0' };
    fs::write(&kept, written).unwrap();
    home.signal_server(Signal::KILL);
    assert!(links(&home).is_empty());
    assert!(refused(&home, &link).contains("this link is not valid"));
}

#[test]
fn links_that_cannot_be_kept_are_not_made_and_none_that_was_taken_back_is() {
    let home = Home::new();
    start(&home, "work");
    share(&home, &["work"]);
    let kept = home.socket().with_file_name("server.sock.links");
    // No file can be renamed over a directory, whoever asks; nor can it be unlinked.
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    let made = home.run(&["share", "work", "--url", "http://x"]);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.stdout.is_empty() && told.contains("keeping the links"), "{made:?}");
    assert_eq!(links(&home).len(), 1);
    fs::remove_dir(&kept).unwrap();
    home.succeed(&["unshare", "--all"]);
    assert!(!kept.exists());
}
