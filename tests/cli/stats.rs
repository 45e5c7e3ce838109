//! `stats` as tables, as what Prometheus collects, and as a view at a terminal.

use std::collections::BTreeMap;

use super::*;

/// A session whose program printed something, and a recorder of it.
fn watched(home: &Home) -> Served {
    home.succeed(&["new", "work", "-d", "--", "sh", "-c", "seq 1000; echo printed; exec cat"]);
    home.succeed(&["wait", "work", "--for", "printed", "--timeout", "120s"]);
    let mut recorder = home.command(&["attach", "work", "--from", "now"]);
    let recorder = Served(recorder.stdout(Stdio::null()).spawn().unwrap());
    eventually("it is attached", || home.session("work")["clients"] == 1);
    recorder
}

#[test]
fn tables_say_units_and_meanings_and_what_needs_attention() {
    let home = Home::new();
    let _recorder = watched(&home);
    let text = home.succeed(&["stats"]);
    for words in ["NOW", "SINCE IT STARTED", "of output held for clients", "KiB", "Nothing needs attention."]
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    // A viewer that takes nothing, of a program that goes on printing.
    home.succeed(&["new", "flood", "-d", "--", "sh", "-c", "read go; head -c 3000000 /dev/zero; exec cat"]);
    let mut stuck = home.command(&["attach", "flood"]);
    let stuck = Served(stuck.stdout(Stdio::null()).spawn().unwrap());
    eventually("it is attached", || home.session("flood")["clients"] == 1);
    signal(stuck.pid(), Signal::STOP);
    home.succeed(&["send", "flood", "--keys", "Enter"]);
    eventually("it is told of", || {
        let text = home.succeed(&["stats"]);
        text.contains("of flood took nothing for") && text.contains("`fugue-server detach flood")
    });
}

/// A sample's labels and value, by the text format's own rules.
fn sample(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let (name, rest) = line.split_once('{').unwrap();
    let (mut labels, mut rest) = (BTreeMap::new(), rest);
    loop {
        let (label, after) = rest.split_once("=\"").unwrap();
        let is_name = |(at, letter): (usize, char)| {
            letter == '_' || letter.is_ascii_alphabetic() || at > 0 && letter.is_ascii_digit()
        };
        assert!(label.chars().enumerate().all(is_name), "{line}");
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let end = loop {
            let (at, character) = characters.next().unwrap();
            match character {
                '"' => break at,
                '\\' => value.push(match characters.next().unwrap().1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    other => panic!("\\{other} in {line}"),
                }),
                other => value.push(other),
            }
        };
        assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    (name, labels, rest.strip_prefix("} ").unwrap().parse().unwrap())
}

#[test]
fn prometheus_is_given_its_text_format_whatever_the_socket_is_called() {
    let mut home = Home::new();
    home.socket_name = "a \"b\"\\\nü.sock";
    let _recorder = watched(&home);
    let text = home.succeed(&["stats", "--prometheus"]);
    assert!(text.ends_with('\n'));
    let mut lines = text.lines().peekable();
    let mut families = BTreeMap::new();
    while let Some(help) = lines.next() {
        let (name, words) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(words.ends_with('.') && !words.contains('\\'), "{help}");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(kind == "counter" || kind == "gauge", "{kind}");
        let is_name = |letter: char| letter == '_' || letter.is_ascii_lowercase();
        assert!(name.starts_with("fugue_") && name.chars().all(is_name), "{name}");
        assert!(!["_ms", "kib", "_mb", "minutes"].iter().any(|unit| name.contains(unit)), "{name}");
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (of, labels, value) = sample(line);
            assert_eq!(of, name);
            assert_eq!(labels["socket"], home.socket().to_str().unwrap());
            samples.push((labels.get("session").cloned(), value));
        }
        assert!(!samples.is_empty(), "{name}");
        assert!(families.insert(name.to_owned(), samples).is_none(), "{name} twice");
    }
    let only = |name: &str| families[name].clone();
    assert_eq!(only("fugue_sessions"), [(None, 1.0)]);
    assert_eq!(only("fugue_session_clients"), [(Some("work".to_owned()), 1.0)]);
    assert!(only("fugue_session_printed_bytes_total")[0].1 > 3893.0, "{text}");
    assert_eq!(only("fugue_gaps_total"), [(None, 0.0)]);
}

#[test]
fn a_watched_view_draws_what_happens_follows_the_size_and_ends_with_q() {
    let home = Home::new();
    let _recorder = watched(&home);
    let mut view = home.terminal(&["stats", "--watch"]);
    view.wait_until("the view", |shown| {
        let (screen, text) = (shown.screen.screen(), shown.text());
        let has_all = ["SESSION", "work", "client ", "live", "1 viewer", "q quits"];
        (screen.alternate_screen()
            && screen.hide_cursor()
            && has_all.iter().all(|words| text.contains(words)))
        .then_some(())
    });
    for number in 0..9 {
        home.succeed(&["new", &format!("more{number}"), "-d", "--", "cat"]);
    }
    view.wait_for("more8");
    view.resize(10, 40);
    view.wait_for("j and k move: lines 1-");
    assert!(!view.text().contains("more8"));
    view.type_in("jjjjjjjjj");
    view.wait_for("more8");
    view.type_in("q");
    view.ends_with(0);
    is_left(&view);
}

/// Its own screen is shown again, as it was.
fn is_left(view: &Terminal) {
    view.wait_until("its own screen", |shown| {
        let screen = shown.screen.screen();
        (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
    });
    assert!(!view.text().contains("q quits"), "{}", view.text());
}

#[test]
fn a_watched_view_is_left_at_a_signal_a_stop_and_when_its_server_dies() {
    let home = Home::new();
    let _recorder = watched(&home);
    let mut view = home.terminal(&["stats", "--watch"]);
    view.wait_for("q quits");
    view.type_in("\x03");
    view.ends_with(130);
    is_left(&view);

    let view = home.shell_terminal("set -m; fugue-server stats --watch; echo stopped; fg; echo over");
    view.wait_for("q quits");
    view.type_in("\x1a");
    // The shell takes it up again at once.
    view.wait_until("a stop, and the view again", |shown| {
        let left = shown.bytes.windows(8).any(|bytes| bytes == b"\x1b[?1049l");
        (left && shown.text().contains("q quits") && shown.screen.screen().alternate_screen()).then_some(())
    });
    view.type_in("q");
    view.wait_for("over");
    is_left(&view);

    let mut view = home.terminal(&["stats", "--watch"]);
    view.wait_for("q quits");
    home.kill_all();
    view.wait_for("the connection to the server was lost");
    view.ends_with(1);
    is_left(&view);
}

#[test]
fn a_watched_view_into_a_pipe_is_refused_with_what_to_do() {
    let home = Home::new();
    let refused = home.run(&["stats", "--watch"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stats --watch --json"), "{refused:?}");
    home.succeed(&["new", "work", "-d", "--", "cat"]);
    let counted = script(&home, "fugue-server stats --watch --json | head -n 2 | grep -c by_session");
    assert_eq!(String::from_utf8_lossy(&counted.stdout), "2\n", "{counted:?}");
}
