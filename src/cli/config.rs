//! `config`: what is set, where, and whether it is right.

use std::{fmt::Write, path::PathBuf};

use anyhow::Context;
use clap::CommandFactory;
use serde_json::json;

use super::{
    Exit, print, print_error, print_json, print_note,
    settings::{self, GivenRemote, GivenSettings, LIST_DELIMITER, SETTINGS, Setting, ValueKind},
};
use crate::server::default_socket;

/// Shows or checks the settings that files and the environment give
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
The files are /etc/fugue/config.toml, and $XDG_CONFIG_HOME/fugue/config.toml, else
~/.config/fugue/config.toml, which wins. Variables such as FUGUE_LOG and FUGUE_SERVE_HISTORY win
over files, and options over all. FUGUE_CONFIG names the only file to read; if it is empty, none.")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Prints each setting and where it is from, as a configuration file with the defaults commented out
    Show {
        /// Print a JSON array instead
        #[arg(long)]
        json: bool,
    },
    /// Says what is wrong with the settings, and where
    Check {
        /// This file alone [default: the files and variables that count here]
        file: Option<PathBuf>,
    },
    /// Prints the path of the file for your own settings
    Path,
}

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    match args.action {
        Action::Show { json } => show(json),
        Action::Check { file } => check(file),
        Action::Path => {
            let path =
                settings::edited_file().context("neither XDG_CONFIG_HOME nor HOME says where it is")?;
            print(&format!("{}\n", path.display()))?;
            Ok(Exit::SUCCESS)
        }
    }
}

fn check(file: Option<PathBuf>) -> anyhow::Result<Exit> {
    let errors = match &file {
        Some(file) => settings::check_file(file),
        None => GivenSettings::load().1,
    };
    for error in &errors {
        // As compilers have it, so that editors find the place.
        print_note(format_args!("{error}"));
    }
    if !errors.is_empty() {
        return Ok(Exit::FAILURE);
    }
    let paths =
        file.map_or_else(|| settings::files().into_iter().map(|file| file.path).collect(), |file| vec![file]);
    for path in paths {
        let what = if path.exists() { "nothing is wrong" } else { "not there" };
        print(&format!("{}: {what}\n", path.display()))?;
    }
    Ok(Exit::SUCCESS)
}

/// A setting as it is shown.
struct ShownSetting {
    setting: &'static Setting,
    /// Or, where there is none, what is said of the default.
    value: Result<String, String>,
    kind: ValueKind,
    /// Where it is from, unless that is the default.
    from: Option<String>,
}

fn show(as_json: bool) -> anyhow::Result<Exit> {
    let (settings, errors) = GivenSettings::load();
    let command_line = super::Args::command();
    let shown = SETTINGS.iter().map(|setting| {
        let kind = setting.kind(&command_line);
        let given = settings.find(setting);
        let value = match given {
            Some(given) => Ok(given.value.to_string_lossy().into_owned()),
            None if setting.name() == "socket" => Ok(default_socket().0.display().to_string()),
            None => setting.default(&command_line),
        };
        ShownSetting { setting, value, kind, from: given.map(|given| given.origin.to_string()) }
    });
    let shown: Vec<_> = shown.collect();
    if as_json {
        let of_remotes = settings.remotes().flat_map(remote_as_json);
        print_json(&shown.iter().map(ShownSetting::as_json).chain(of_remotes).collect::<Vec<_>>())?;
    } else {
        let of_remotes: String = settings.remotes().map(remote_as_file).collect();
        print(&(as_file(&shown) + &of_remotes))?;
    }
    for error in &errors {
        print_error(format_args!("{error}"));
    }
    Ok(if errors.is_empty() { Exit::SUCCESS } else { Exit::FAILURE })
}

/// A configuration file. What is the default is a comment in it.
fn as_file(shown: &[ShownSetting]) -> String {
    let mut text = String::new();
    let mut table = None;
    for one in shown {
        if one.setting.table() != table {
            table = one.setting.table();
            let _ = writeln!(text, "\n[{}]", table.unwrap_or_default());
        }
        let name = one.setting.name();
        let _ = match (&one.value, &one.from) {
            (Ok(value), Some(from)) => {
                writeln!(text, "{name} = {}  # {}", in_file(value, one.kind), escaped(from))
            }
            (Ok(value), None) => writeln!(text, "# {name} = {}", in_file(value, one.kind)),
            (Err(words), _) => writeln!(text, "# {name}: {words}"),
        };
    }
    text
}

/// What is said of another machine, by the keys of its table.
fn said_of(GivenRemote { remote, .. }: &GivenRemote) -> Vec<(&'static str, String)> {
    let ssh = remote.ssh.as_ref().map(|ssh| ssh.to_string_lossy().into_owned());
    let socket = remote.socket.as_ref().map(|socket| socket.display().to_string());
    let said = [
        ("url", Some(remote.url.to_string())),
        ("path", remote.path.clone()),
        ("socket", socket),
        ("ssh", ssh),
    ];
    said.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn remote_as_file(given: &GivenRemote) -> String {
    let mut text =
        format!("\n[remotes.{}]  # {}\n", table_key(given.name.as_str()), escaped(&given.origin.to_string()));
    for (key, value) in said_of(given) {
        let _ = writeln!(text, "{key} = {}", in_file(&value, ValueKind::Text));
    }
    text
}

/// A name as a key of TOML: a dot would be another table's.
fn table_key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

fn remote_as_json(given: &GivenRemote) -> Vec<serde_json::Value> {
    let one = |(key, value)| {
        json!({
            "key": format!("remotes.{}.{key}", given.name),
            "value": value,
            "from": given.origin.to_string(),
            "variable": null,
        })
    };
    said_of(given).into_iter().map(one).collect()
}

/// A value as a file has it. What JSON quotes is a string of TOML as well.
fn in_file(value: &str, kind: ValueKind) -> String {
    match kind {
        ValueKind::Flag | ValueKind::Number => value.to_owned(),
        ValueKind::List => {
            let texts: Vec<_> = value.split(LIST_DELIMITER).collect();
            escaped(&json!(texts).to_string())
        }
        ValueKind::Pairs => {
            let pairs = value.split(LIST_DELIMITER).filter_map(|text| text.split_once('='));
            let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name:?} = {value:?}")).collect();
            format!("{{ {} }}", escaped(&pairs.join(", ")))
        }
        ValueKind::Bytes | ValueKind::Text => escaped(&json!(value).to_string()),
    }
}

/// Text without what would steer a terminal or end a line.
fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => format!("\\u{:04x}", u32::from(letter)),
        false => letter.to_string(),
    };
    text.chars().map(escape).collect()
}

impl ShownSetting {
    fn as_json(&self) -> serde_json::Value {
        json!({
            "key": self.setting.key(),
            "value": self.value.as_ref().ok(),
            "from": self.from.as_deref().unwrap_or("default"),
            "variable": self.setting.variable(),
        })
    }
}
