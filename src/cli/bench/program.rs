//! The program that runs on the PTY, and the session that it runs in.

use std::{
    env,
    ffi::OsString,
    io::{self, Read, StdoutLock, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use anyhow::Context;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::{
    super::Exit,
    stream::{READY, each_piece},
};
use crate::{
    SessionId,
    client::Client,
    message::{AttachOptions, Create, OnLag, SizePolicy, StartAt},
};

/// Prints a known stream; started by `bench` on a PTY
#[derive(Debug, clap::Args)]
pub(in super::super) struct ChildArgs {
    /// Bytes to print, or `echo` to write what is read
    what: String,
}

/// The program: makes its terminal raw, says so, and writes what it reads; or waits for a byte, and prints.
pub(in super::super) fn run_child(args: ChildArgs) -> anyhow::Result<Exit> {
    if args.what == "echo" {
        return echo();
    }
    let bytes = args.what.parse().context("neither a number of bytes nor echo")?;
    let mut stdout = say_ready()?;
    io::stdin().lock().read_exact(&mut [0])?;
    each_piece(bytes, |piece| stdout.write_all(piece))?;
    stdout.flush()?;
    Ok(Exit::SUCCESS)
}

fn echo() -> anyhow::Result<Exit> {
    let mut stdout = say_ready()?;
    let mut buffer = [0; 64];
    loop {
        match io::stdin().lock().read(&mut buffer)? {
            0 => return Ok(Exit::SUCCESS),
            read => stdout.write_all(&buffer[..read]).and_then(|()| stdout.flush())?,
        }
    }
}

/// Makes the terminal raw, and says so.
fn say_ready() -> anyhow::Result<StdoutLock<'static>> {
    let mut raw = tcgetattr(io::stdin()).context("standard input is no terminal")?;
    raw.make_raw();
    tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(READY)?;
    stdout.flush()?;
    Ok(stdout)
}

/// The program, and what it is given: bytes to print, or `echo`.
pub(super) fn child_command(what: &str) -> anyhow::Result<(OsString, [OsString; 2])> {
    let program = env::current_exe().context("finding this program's own file failed")?;
    Ok((program.into(), ["bench-child".into(), what.into()]))
}

pub(super) async fn start(control: &mut Client, name: &str, what: &str) -> anyhow::Result<SessionId> {
    let (program, arguments) = child_command(what)?;
    let command = [program].into_iter().chain(arguments).map(|word| word.as_bytes().to_vec());
    let mut create = Create::new(name.parse()?, command.collect());
    create.env = env::vars_os().map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
    create.size_policy = SizePolicy::Fixed;
    Ok(control.create(create).await?.id)
}

/// How a reader watches.
pub(super) fn options(on_lag: OnLag) -> AttachOptions {
    AttachOptions::new(StartAt::Oldest, on_lag)
}
