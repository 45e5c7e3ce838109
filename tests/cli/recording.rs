//! Into files and pipes: every byte, none added, and the program's own exit status.

use super::*;

#[test]
fn a_recording_is_the_programs_bytes_and_its_status() {
    let home = Home::new();
    let output =
        home.run(&["new", "a", "--", "sh", "-c", r"stty -opost; printf '\033[1mbold\n\377'; exit 7"]);
    assert_eq!(output.stdout, b"\x1b[1mbold\n\xff");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_recording_has_what_was_printed_before_it_came() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", "seq 1 20000; read end"]);
    let recorder = home.command(&["attach", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    let numbers: String = (1..=20_000).map(|number| format!("{number}\r\n")).collect();
    // The terminal echoes the newline where the program stands: it must have printed everything.
    eventually("all is printed", || home.session("a")["printed_bytes"] == numbers.len());
    let sent = script(&home, "echo | fugue-server send a");
    assert!(sent.status.success(), "{sent:?}");
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    // The echo of the newline that ended it comes last.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), numbers + "\r\n");
}

#[test]
fn a_recording_whose_beginning_is_gone_is_refused_or_says_so() {
    let home = Home::new();
    let started = script(&home, "fugue-server new a -d -- sh -c 'head -c 9000000 /dev/zero; echo; read end'");
    assert!(started.status.success(), "{started:?}");
    eventually("all is printed", || home.session("a")["printed_bytes"].as_u64() >= Some(9_000_000));
    let output = home.run(&["attach", "a", "--from", "start"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no longer held"), "{output:?}");

    // Nobody asked for the beginning: the rest is recorded, and what is missing is counted.
    let recorder =
        home.command(&["attach", "a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    assert!(script(&home, "echo | fugue-server send a").status.success());
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stderr);
    let gone =
        told.split_once("[the first ").and_then(|(_, rest)| rest.split_once(" bytes of session a are no"));
    let gone: usize = gone.expect("what is missing").0.parse().unwrap();
    // The program's own newline and the echo of the one that ended it come last, each as two bytes.
    assert_eq!(gone + output.stdout.len(), 9_000_004, "{told}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_recording() {
    let home = Home::new();
    let output = script(&home, "fugue-server new a -- sh -c 'while :; do echo y; done' | head -c 10");
    assert_eq!(output.stdout, b"y\r\ny\r\ny\r\ny");
    eventually("nobody watches any more", || home.session("a")["clients"] == 0);
}

#[test]
fn a_flood_into_a_pipe_is_whole() {
    let home = Home::new();
    let output = script(
        &home,
        "fugue-server new a -- sh -c 'stty -opost; seq 1 1000000' | cksum; seq 1 1000000 | cksum",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let (recorded, expected) = text.split_once('\n').unwrap();
    assert_eq!(recorded, expected.trim_end());
}

#[test]
fn what_is_sent_arrives_whole() {
    let home = Home::new();
    let program = "stty raw -echo; printf ready; head -c 2000000 | cksum; printf done";
    home.succeed(&["new", "a", "-d", "--", "sh", "-c", program]);
    eventually("the terminal is raw", || home.session("a")["printed_bytes"] == 5);
    let recorder = home.command(&["attach", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    let sent = script(
        &home,
        "seq 1 400000 | head -c 2000000 | fugue-server send a; seq 1 400000 | head -c 2000000 | cksum",
    );
    let expected = String::from_utf8(sent.stdout).unwrap();
    let recorded = String::from_utf8(recorder.wait_with_output().unwrap().stdout).unwrap();
    assert!(recorded.contains(expected.trim_end()), "{recorded} has not {expected}");
}

#[test]
fn a_recording_is_cut_short_with_a_word_when_the_server_vanishes() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let recorder =
        home.command(&["attach", "a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the recorder is attached", || home.session("a")["clients"] == 1);
    home.signal_server(Signal::KILL);
    let output = recorder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(254));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("connection to the server was lost"),
        "{output:?}"
    );
}
