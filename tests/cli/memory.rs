//! What a server takes of the machine's memory while many clients take nothing of a flood.

use std::{fs, os::unix::net::UnixStream};

use fugue_server::{
    TerminalSize,
    message::{Access, Attach, ClientMessage, OnLag, StartAt, Target, View},
    wire::{self, Hello},
};

use super::*;

/// A line of a process's status that counts KiB, in bytes.
fn memory(pid: u64, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let count = status.lines().find_map(|found| found.strip_prefix(line)?.strip_suffix("kB")).unwrap();
    count.trim().parse::<u64>().unwrap() << 10
}

/// A client that asks for everything and reads none of it.
fn stalled(home: &Home, view: View) -> UnixStream {
    let attach = Attach { session: Target::Name("flood".parse().unwrap()), view };
    let attach = wire::encode_request(1, &ClientMessage::Attach(attach)).unwrap();
    let mut socket = UnixStream::connect(home.socket()).unwrap();
    socket.write_all(&[Hello::encode(), attach].concat()).unwrap();
    socket
}

#[test]
fn stalled_clients_and_a_flood_take_no_more_memory_than_the_history_a_window_and_a_little_for_each() {
    const CLIENTS: u64 = 60;
    const HISTORY: u64 = 1 << 20;
    const LINE: &str = "sixty-three characters, so that the terminal's model has less to do";
    const FLOOD: u64 = 6 << 20;
    /// Address space for all of it, stacks and the allocator's arenas included: a server that took more would end.
    const LIMIT_KIB: u64 = 1 << 20;
    let home = Home::new();
    let limited = format!("ulimit -v {LIMIT_KIB}; exec \"$0\" serve --history {HISTORY}");
    let mut server = Command::new("/bin/sh");
    server.args(["-c", &limited, env!("CARGO_BIN_EXE_fugue-server")]).env("FUGUE_SOCKET", home.socket());
    let mut server = Served::start(server.stderr(Stdio::null()));
    let program = format!(
        "stty -opost -echo; echo ready; read go; yes \"{LINE}\" | head -c {FLOOD}; echo the end; read end"
    );
    home.succeed(&["new", "flood", "-d", "--pace", "free", "--", "sh", "-c", &program]);
    eventually("it is ready", || home.session("flood")["printed_bytes"] == 6);

    let size = TerminalSize::new(60, 20);
    let views = [
        View::new(StartAt::Oldest, OnLag::Resync),
        View { size, ..View::new(StartAt::Screen, OnLag::Resync) },
        View { size, access: Access::ReadOnly, ..View::new(StartAt::Screen, OnLag::Resync) },
    ];
    let before = memory(server.pid(), "VmRSS:");
    let crowd: Vec<_> = (0..CLIENTS as usize).map(|client| stalled(&home, views[client % 3])).collect();
    eventually("all are attached", || home.session("flood")["clients"] == CLIENTS);
    assert!(script(&home, "echo | fugue-server send flood").status.success());
    eventually("all is printed", || home.session("flood")["printed_bytes"] == FLOOD + 6 + 8);

    // The most it had at any moment.
    let grown = memory(server.pid(), "VmHWM:") - before;
    let (window, each, model) = (HISTORY / 4, 64 << 10, 4 << 20);
    println!("{CLIENTS} stalled clients and {FLOOD} bytes: {grown} bytes more");
    let bound = HISTORY + window + CLIENTS * each + model;
    assert!(grown < bound, "{grown} bytes more, and {bound} are allowed");
    drop(crowd);
    eventually("all are gone", || home.session("flood")["clients"] == 0);
    server.stop();
}
