//! What this binary is besides the harness: the processes that the harness starts of it.

use std::{
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, anyhow};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::{
    nodes,
    payload::{lines, numbered_lines},
    receiver, served, web,
};

/// Plays the part that the first argument names, if it names one.
pub(crate) fn play() -> Option<anyhow::Result<()>> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next()?;
    let argument = arguments.next();
    let played = match role.as_str() {
        "role-receive" => argument.context("what to receive").and_then(|plan| receiver::run(&plan)),
        "role-print" => match (argument, arguments.next()) {
            (Some(bytes), Some(ready)) => print(&bytes, ready.as_ref()),
            _ => Err(anyhow!("how much to print, and a file to make before")),
        },
        "role-number" => match (argument, arguments.next()) {
            (Some(bytes), Some(ready)) => number(&bytes, ready.as_ref()),
            _ => Err(anyhow!("how much to print, and a file to make before")),
        },
        "role-view" => argument.context("what to view").and_then(|plan| web::run(&plan)),
        "role-watch" => argument.context("what to watch").and_then(|plan| nodes::run(&plan)),
        "role-echo" => argument.context("a file to make before").and_then(|ready| echo(ready.as_ref())),
        "role-serve" => match (argument, arguments.next()) {
            (Some(socket), Some(history)) => served::run(socket.as_ref(), &history),
            _ => Err(anyhow!("where to listen, and how much to hold")),
        },
        _ => return None,
    };
    Some(played)
}

/// Makes a file to say that it is ready, waits for a line, and prints that many bytes of lines.
fn print(bytes: &str, ready: &Path) -> anyhow::Result<()> {
    let mut left: usize = bytes.parse()?;
    make_raw()?;
    std::fs::write(ready, "")?;
    let mut out = std::io::stdout().lock();
    while std::io::stdin().read(&mut [0])? == 0 {}
    let block = lines(64 * 1024);
    while left > 0 {
        let piece = left.min(block.len());
        out.write_all(&block[..piece])?;
        left -= piece;
    }
    Ok(out.flush()?)
}

/// As `print`, with lines that differ.
fn number(bytes: &str, ready: &Path) -> anyhow::Result<()> {
    let all: u64 = bytes.parse()?;
    make_raw()?;
    std::fs::write(ready, "")?;
    let mut out = std::io::stdout().lock();
    while std::io::stdin().read(&mut [0])? == 0 {}
    let mut at = 0;
    while at < all {
        let piece = numbered_lines(at, all - at);
        out.write_all(&piece)?;
        at += piece.len() as u64;
    }
    out.flush()?;
    // What is shown of a program ends with it, in some systems before its last bytes.
    while std::io::stdin().read(&mut [0])? > 0 {}
    Ok(())
}

/// Makes a file to say that it is ready, and prints what is typed.
fn echo(ready: &Path) -> anyhow::Result<()> {
    make_raw()?;
    std::fs::write(ready, "")?;
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut keys = [0; 64];
    loop {
        match input.read(&mut keys)? {
            0 => return Ok(()),
            read => output.write_all(&keys[..read]).and_then(|()| output.flush())?,
        }
    }
}

/// What is printed on a terminal is what is sent, and what is typed is not printed.
fn make_raw() -> anyhow::Result<()> {
    let terminal = std::io::stdout();
    if let Ok(mut settings) = tcgetattr(&terminal) {
        settings.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &settings)?;
    }
    Ok(())
}
