//! `man`: manual pages, made of what `--help` says.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::CommandFactory;

use super::{Exit, print};

/// Writes the manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  fugue-server man ~/.local/share/man/man1")]
pub(super) struct Args {
    /// Where to; it is made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    let directory = &args.directory;
    let failed = || format!("writing manual pages to {} failed", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    // What all commands take is on each page, where `--help` has it in one place.
    let command_line =
        super::Args::command().mut_arg("socket", |arg| arg.hide(false)).mut_arg("log", |arg| arg.hide(false));
    clap_mangen::generate_to(command_line, directory).with_context(failed)?;
    print(&format!("{}\n", directory.join("fugue-server.1").display()))?;
    Ok(Exit::SUCCESS)
}
