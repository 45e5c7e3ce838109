//! What a client can do to a server by sheer number, measured at the server's own process: what it holds before and
//! after, and whether it goes on serving others meanwhile.

use std::os::unix::net::UnixStream;

use fugue_server::{
    message::ClientMessage,
    wire::{self, HEADER_LEN, Hello},
};

use super::*;

/// Growth that a million frames may cause: buffers and the allocator's habits, but nothing per frame, of which each
/// would leave at least its 16 bytes.
const GROWTH: u64 = 8 * 1024 * 1024;

fn descriptors(pid: u64) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The most memory a process has ever had, in bytes.
fn peak_memory(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn greet(home: &Home) -> UnixStream {
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream.write_all(&Hello::encode()).unwrap();
    stream.read_exact(&mut [0; HEADER_LEN + 25]).unwrap();
    stream
}

fn is_answered(stream: &mut UnixStream) {
    stream.write_all(&wire::encode_request(1, &ClientMessage::Ping).unwrap()).unwrap();
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).unwrap();
    let mut reply = vec![0; header[0].into()];
    stream.read_exact(&mut reply).unwrap();
    wire::decode_reply(&reply).unwrap().unwrap();
}

#[test]
fn a_million_tiny_frames_cost_no_memory_and_nobody_their_turn() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let pid = home.server_pid();
    let mut bystander = greet(&home);
    is_answered(&mut bystander);
    let before = peak_memory(pid);

    let mut flood = greet(&home);
    // Nine of ten are to be skipped, and one is to be answered.
    let mut skipped = [0; HEADER_LEN];
    (skipped[4], skipped[5]) = (77, 1);
    let ping = wire::encode_request(1, &ClientMessage::Ping).unwrap();
    let frames = [&skipped.repeat(9)[..], &ping].concat().repeat(1000);
    let mut answers = flood.try_clone().unwrap();
    let writer = thread::spawn(move || {
        for _ in 0..100 {
            flood.write_all(&frames).unwrap();
        }
        flood
    });
    let mut read = 0;
    let mut buffer = vec![0; 64 * 1024];
    let answer = {
        let mut header = [0; HEADER_LEN];
        answers.read_exact(&mut header).unwrap();
        answers.read_exact(&mut buffer[..header[0].into()]).unwrap();
        HEADER_LEN + usize::from(header[0])
    };
    while read < 99_999 * answer {
        read += answers.read(&mut buffer).unwrap();
        is_answered(&mut bystander);
    }
    assert_eq!(read, 99_999 * answer);
    drop(writer.join().unwrap());
    let grown = peak_memory(pid) - before;
    assert!(grown < GROWTH, "{grown} bytes more");
}

#[test]
fn ten_thousand_connections_that_vanish_at_once_leave_nothing() {
    let home = Home::new();
    home.succeed(&["new", "a", "-d", "--", "sleep", "1000"]);
    let pid = home.server_pid();
    let before = descriptors(pid);
    let hello = Hello::encode();
    let attach = b"\x07\0\0\0\x04\0\0\0\x01\0\0\0\0\0\0\0\0\x01a\x01\0\0\0";
    for round in 0..10_000 {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        match round % 4 {
            0 => {}
            1 => stream.write_all(&hello[..9]).unwrap(),
            2 => stream.write_all(&hello).unwrap(),
            _ => stream.write_all(&[&hello[..], attach].concat()).unwrap(),
        }
    }
    eventually("the server has closed them all", || descriptors(pid) <= before);
    // It forgets each just after.
    eventually("nobody is left but who asks", || {
        let stats = home.json(&["stats", "--json"]);
        stats["by_client"].as_array().unwrap().len() == 1
    });
    eventually("nobody watches", || home.session("a")["clients"] == 0);
}
