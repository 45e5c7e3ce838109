//! What a server takes of the machine's memory while many clients take nothing of a flood.

use std::{fs, os::unix::net::UnixStream};

use fugue_server::{
    TerminalSize,
    message::{Access, Attach, AttachOptions, ClientMessage, OnLag, StartAt, Target},
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
fn stalled(home: &Home, view: AttachOptions) -> UnixStream {
    let attach = Attach::new(Target::Name("flood".parse().unwrap()), view);
    let attach = wire::encode_request(1, &ClientMessage::Attach(attach)).unwrap();
    let mut socket = UnixStream::connect(home.socket()).unwrap();
    socket.write_all(&[Hello::encode(), attach].concat()).unwrap();
    socket
}

const HISTORY: u64 = 1 << 20;

/// What a history holds beyond its bound while somebody is waited for.
const WINDOW: u64 = HISTORY / 4;

/// What the screen's model and the server's own working take.
const REST: u64 = 2 << 20;

/// Address space for all of it, stacks and the allocator's arenas included: a server that takes more ends.
const LIMIT_KIB: u64 = 1 << 20;

/// Easier for the model than the shortest lines.
const LINE: &str = "sixty-odd characters, so that the terminal's model has less to do";

/// A server with a session that prints so many bytes for every line it reads.
fn limited(home: &Home, piece: u64) -> Served {
    let script = format!("ulimit -v {LIMIT_KIB}; exec \"$0\" serve --history {HISTORY}");
    let mut server = Command::new("/bin/sh");
    server.args(["-c", &script, env!("CARGO_BIN_EXE_fugue-server")]).env("FUGUE_SOCKET", home.socket());
    let server = Served::start(server.stderr(Stdio::null()));
    let program =
        format!("stty -opost -echo; echo ready; while read go; do yes \"{LINE}\" | head -c {piece}; done");
    home.succeed(&["new", "flood", "-d", "--pace", "free", "--", "sh", "-c", &program]);
    eventually("it is ready", || printed(home) == 6);
    server
}

fn printed(home: &Home) -> u64 {
    home.session("flood")["printed_bytes"].as_u64().unwrap()
}

/// Has a piece printed.
fn print(home: &Home, piece: u64) {
    let enough = printed(home) + piece;
    assert!(script(home, "echo | fugue-server send flood").status.success());
    let mut so_far = printed(home);
    while so_far < enough {
        // However slowly: the model of the screen has to keep up.
        eventually("more is printed", || printed(home) > so_far);
        so_far = printed(home);
    }
    assert_eq!(so_far, enough);
}

/// Attaches one that stalls at once, as the `clients`th.
fn add(home: &Home, view: AttachOptions, clients: usize) -> UnixStream {
    let client = stalled(home, view);
    eventually("it is attached", || home.session("flood")["clients"] == clients);
    client
}

#[test]
fn clients_that_stall_together_take_a_history_and_a_little_each() {
    const CLIENTS: usize = 60;
    const FLOOD: u64 = 10 << 20;
    let home = Home::new();
    let mut server = limited(&home, FLOOD);
    let size = TerminalSize::new(60, 20);
    let views = [
        AttachOptions::new(StartAt::Oldest, OnLag::Resync),
        AttachOptions::new(StartAt::Screen, OnLag::Resync).with_size(size),
        AttachOptions::new(StartAt::Screen, OnLag::Resync).with_size(size).with_access(Access::ReadOnly),
    ];
    let before = memory(server.pid(), "VmRSS:");
    let crowd: Vec<_> = (0..CLIENTS).map(|client| stalled(&home, views[client % 3])).collect();
    eventually("all are attached", || home.session("flood")["clients"] == CLIENTS);
    print(&home, FLOOD);
    // The most it had at any moment.
    let grown = memory(server.pid(), "VmHWM:") - before;
    println!("{CLIENTS} clients that stalled together, and {FLOOD} bytes: {grown} bytes");
    let bound = HISTORY + WINDOW + CLIENTS as u64 * (48 << 10) + REST;
    assert!(grown < bound, "{grown} bytes more, and {bound} are allowed");
    drop(crowd);
    eventually("all are gone", || home.session("flood")["clients"] == 0);
    server.stop();
}

#[test]
fn clients_that_stall_one_by_one_take_a_queue_and_a_write_each() {
    const CLIENTS: usize = 4;
    const PIECE: u64 = 1 << 20;
    let home = Home::new();
    let mut server = limited(&home, PIECE);
    let before = memory(server.pid(), "VmRSS:");
    let mut crowd = Vec::new();
    for client in 1..=CLIENTS {
        crowd.push(add(&home, AttachOptions::new(StartAt::Now, OnLag::Resync), client));
        print(&home, PIECE);
    }
    // And much more, that would all be there if anything held it for them.
    for _ in 0..2 * CLIENTS {
        print(&home, PIECE);
    }
    let grown = memory(server.pid(), "VmHWM:") - before;
    println!(
        "{CLIENTS} clients that stalled at moments of their own, and {} bytes: {grown} bytes",
        printed(&home)
    );
    // Sixteen messages and a write, none of which the history still holds.
    let each = 16 * (64 << 10) + (256 << 10);
    let bound = HISTORY + WINDOW + CLIENTS as u64 * each + REST;
    assert!(grown < bound, "{grown} bytes more, and {bound} are allowed");
    server.stop();
}

#[test]
fn no_sequence_however_long_or_often_fills_the_memory() {
    const EACH: u64 = 6 << 20;
    let home = Home::new();
    let server = serve(&home, &["--history", "64KiB"]);
    let endless = |start: &str, part: &str| {
        let part = format!("yes \"$(printf '{part}')\" | tr -d '\\n'");
        format!("stty -opost -echo; read go; printf '{start}'; {part} | head -c {EACH}; read end")
    };
    let programs = [
        ("title", endless(r"\033]0;", "a title without an end ")),
        ("device", endless(r"\033P", "a string without an end ")),
        ("parameters", endless(r"\033[", "1;")),
        ("stack", endless("", r"\033]0;one title of very many\007\033[22t")),
        ("modes", endless("", r"\033[>1u")),
    ];
    for (name, program) in &programs {
        home.succeed(&["new", name, "-d", "--pace", "free", "--", "sh", "-c", program]);
    }
    let before = memory(server.pid(), "VmRSS:");
    for (name, _) in &programs {
        assert!(script(&home, &format!("echo | fugue-server send {name}")).status.success());
    }
    for (name, _) in &programs {
        eventually("all is printed", || home.session(name)["printed_bytes"].as_u64().unwrap() >= EACH);
    }
    eventually("the models have seen it", || {
        let stats = home.json(&["stats", "--json"]);
        stats["by_session"].as_array().unwrap().iter().all(|session| session["screen_lag_bytes"] == 0)
    });
    let grown = memory(server.pid(), "VmHWM:") - before;
    println!(
        "{} programs that print one sequence after the other, or one without an end: {grown} bytes",
        programs.len()
    );
    // Less than what any one of them printed.
    assert!(grown < EACH - (1 << 20), "{grown} bytes more");
}
