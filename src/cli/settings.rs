//! Settings: options of the command line that files and the environment can give a value as well.
//!
//! [`SETTINGS`] says which, and no other list does. The kind, the default and the bounds of each are those of its
//! option, so a value is refused here exactly if it would be on the command line. The first that gives a value wins:
//! the command line, the environment, the user's file, the machine's file; else the option's default holds.

mod file;

use std::{
    any::TypeId,
    env,
    error::Error,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, CommandFactory,
    builder::OsStr as ClapStr,
    error::{ContextKind, ContextValue},
};

pub(super) use self::file::{SettingsFile, edited_file, files};
use super::{
    Args, Command,
    bytes::ByteCount,
    parse, print_error,
    remote::{FORM, NamedRemote, RemoteName},
};

/// An option that can be set beforehand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its table in a file: that of the command whose option it is. Without one, it is every command's that has the
    /// option.
    table: Option<&'static str>,
    /// The option's name, and its key in a file.
    name: &'static str,
}

pub(super) static SETTINGS: &[Setting] = &[
    Setting { table: None, name: "socket" },
    Setting { table: None, name: "log" },
    Setting { table: None, name: "remote" },
    Setting { table: None, name: "remote-path" },
    Setting { table: None, name: "ssh" },
    Setting { table: None, name: "detach-key" },
    Setting { table: None, name: "next-key" },
    Setting { table: None, name: "name-in-title" },
    Setting { table: None, name: "spool" },
    Setting { table: Some("serve"), name: "history" },
    Setting { table: Some("serve"), name: "ended" },
    Setting { table: Some("serve"), name: "ended-for" },
    Setting { table: Some("serve"), name: "scrollback" },
    Setting { table: Some("serve"), name: "queue" },
    Setting { table: Some("serve"), name: "max-clients" },
    Setting { table: Some("serve"), name: "shards" },
    Setting { table: Some("serve"), name: "log-format" },
    Setting { table: Some("new"), name: "size" },
    Setting { table: Some("new"), name: "pace" },
    Setting { table: Some("new"), name: "login" },
    Setting { table: Some("new"), name: "no-start" },
    Setting { table: Some("attach"), name: "scrollback" },
    Setting { table: Some("share"), name: "url" },
    Setting { table: Some("share"), name: "for" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "listen" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "host" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "base" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "cert" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "key" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "plain" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "metrics" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "session-metrics" },
    #[cfg(feature = "web")]
    Setting { table: Some("web"), name: "max-viewers" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "name" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "nats" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "creds" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "nkey" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "ca" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "cert" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "key" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "plain" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "tenant" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "typing" },
    #[cfg(feature = "nodes")]
    Setting { table: Some("nodes"), name: "allow" },
];

/// What is between the values of a list, where that is one text.
pub(super) const LIST_DELIMITER: char = ',';

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Flag,
    Number,
    Bytes,
    Text,
    /// Several texts; in a variable, with commas between them.
    List,
    /// Several texts of the form NAME=VALUE, in their order; in a file, a table.
    Pairs,
}

impl Setting {
    pub(super) fn table(&self) -> Option<&'static str> {
        self.table
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Its name with its table's.
    pub(super) fn key(&self) -> String {
        self.table.map_or_else(|| self.name.to_owned(), |table| format!("{table}.{}", self.name))
    }

    /// The command whose option it is, if it is of one.
    fn command(&self) -> Option<&'static str> {
        self.table.map(|table| if table == "nodes" { "node" } else { table })
    }

    /// The environment's name for it.
    pub(super) fn variable(&self) -> String {
        format!("FUGUE_{}", self.key()).to_uppercase().replace(['.', '-'], "_")
    }

    /// The option of a command that this is, if it has it.
    fn option_of<'a>(&self, command: &'a clap::Command) -> Option<&'a Arg> {
        command.get_arguments().find(|arg| arg.get_long() == Some(self.name))
    }

    /// Its option, in the command line as a whole.
    fn option<'a>(&self, command_line: &'a clap::Command) -> &'a Arg {
        let mut commands = command_line
            .get_subcommands()
            .filter(|command| self.command().is_none_or(|name| name == command.get_name()));
        let shared = self.table.is_none().then(|| self.option_of(command_line)).flatten();
        shared
            .or_else(|| commands.find_map(|command| self.option_of(command)))
            .expect("an option of that name; a test looks for each")
    }

    pub(super) fn kind(&self, command_line: &clap::Command) -> ValueKind {
        let option = self.option(command_line);
        let kind = option.get_value_parser().type_id();
        let is_any = |kinds: &[TypeId]| kinds.iter().any(|of| kind == *of);
        if matches!(option.get_action(), ArgAction::SetTrue) {
            ValueKind::Flag
        } else if is_any(&[TypeId::of::<usize>(), TypeId::of::<u32>()]) {
            ValueKind::Number
        } else if is_any(&[TypeId::of::<ByteCount>()]) {
            ValueKind::Bytes
        } else if option.get_value_delimiter().is_some() {
            let names = option.get_value_names().unwrap_or_default();
            if names.iter().any(|name| name.contains('=')) { ValueKind::Pairs } else { ValueKind::List }
        } else {
            ValueKind::Text
        }
    }

    /// Its default: a value, or else what the option's help says of it.
    pub(super) fn default(&self, command_line: &clap::Command) -> Result<String, String> {
        let option = self.option(command_line);
        if let Some(value) = option.get_default_values().first() {
            return Ok(value.to_string_lossy().into_owned());
        }
        if self.kind(command_line) == ValueKind::Flag {
            return Ok("false".to_owned());
        }
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        let words = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        Err(words.map_or_else(|| "not set".to_owned(), |(words, _)| words.to_owned()))
    }

    /// Refuses a value that the option would refuse, with what it takes.
    fn check(&self, command_line: &clap::Command, value: &OsStr) -> Result<(), String> {
        if self.kind(command_line) == ValueKind::Flag {
            return if value == "true" || value == "false" {
                Ok(())
            } else {
                Err("use true or false".into())
            };
        }
        let parser = self.option(command_line).get_value_parser().clone();
        let is_list = matches!(self.kind(command_line), ValueKind::List | ValueKind::Pairs);
        let option = Arg::new(self.name).long(self.name).value_parser(parser);
        let option = if is_list { option.value_delimiter(LIST_DELIMITER) } else { option };
        let mut word = OsString::from(format!("--{}=", self.name));
        word.push(value);
        let alone = clap::Command::new("").no_binary_name(true).arg(option);
        alone.try_get_matches_from([&word]).map_err(|error| reason(&error))?;
        if self.table != Some("serve") {
            return Ok(());
        }
        // Only the server itself knows its bounds.
        let whole = ["fugue-server".into(), "serve".into(), word];
        match parse(whole, &GivenSettings::default()) {
            Ok(Args { command: Command::Serve(args), .. }) => args.check().map_err(|error| error.to_string()),
            _ => Ok(()),
        }
    }
}

/// Why a value was refused.
fn reason(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(allowed)) if !allowed.is_empty() => format!("use {}", allowed.join(", ")),
        _ => error.source().map_or_else(|| "a value is needed".to_owned(), ToString::to_string),
    }
}

/// What was set where.
#[derive(Debug, Default)]
pub(super) struct GivenSettings {
    /// Of two for one setting, the later counts.
    given: Vec<Given>,
    /// Other machines, by the name of each. Of two of one name, the later counts.
    remotes: Vec<GivenRemote>,
}

/// Another machine, and where it is said.
#[derive(Debug)]
pub(super) struct GivenRemote {
    pub(super) name: RemoteName,
    pub(super) remote: NamedRemote,
    pub(super) origin: Origin,
}

/// A value, and where it is from.
#[derive(Debug)]
pub(super) struct Given {
    setting: &'static Setting,
    pub(super) value: OsString,
    pub(super) origin: Origin,
}

/// Where a value is from, or what is wrong.
#[derive(Debug)]
pub(super) enum Origin {
    /// A file, and the line and column in it, both from 1.
    File(PathBuf, Option<(usize, usize)>),
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some((line, column))) => write!(f, "{}:{line}:{column}", path.display()),
            Self::File(path, None) => path.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// What is wrong with a setting, and where.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {what}")]
pub(super) struct SettingError {
    origin: Origin,
    what: String,
}

impl GivenSettings {
    /// Reads the files and the environment. What is wrong is left out, and told.
    pub(super) fn load() -> (Self, Vec<SettingError>) {
        Self::read(&files(), SettingsFile::read)
    }

    /// As [`load`](Self::load), of files that were read before. What is not a regular file is refused: a pipe has been
    /// read to its end.
    pub(super) fn read_again(files: &[SettingsFile]) -> (Self, Vec<SettingError>) {
        Self::read(files, SettingsFile::read_again)
    }

    fn read(
        files: &[SettingsFile],
        read: impl Fn(&SettingsFile) -> Result<Option<(PathBuf, String)>, SettingError>,
    ) -> (Self, Vec<SettingError>) {
        let mut unreadable = Vec::new();
        let read = |file| read(file).map_err(|error| unreadable.push(error)).ok().flatten();
        let texts: Vec<_> = files.iter().filter_map(read).collect();
        let variables = SETTINGS.iter();
        let variables = variables.filter_map(|setting| Some((setting, env::var_os(setting.variable())?)));
        let (settings, mut errors) = Self::of(&texts, variables.collect());
        errors.splice(0..0, unreadable);
        (settings, errors)
    }

    /// The settings of files, the strongest last, and of the environment.
    fn of(
        texts: &[(PathBuf, String)],
        variables: Vec<(&'static Setting, OsString)>,
    ) -> (Self, Vec<SettingError>) {
        let (mut settings, mut errors) = (Self::default(), Vec::new());
        if texts.is_empty() && variables.is_empty() {
            return (settings, errors);
        }
        let command_line = Args::command();
        for (path, text) in texts {
            let read = file::parse(path, text, &command_line);
            settings.given.extend(read.given);
            settings.remotes.extend(read.remotes);
            errors.extend(read.wrong);
        }
        for (setting, value) in variables {
            let origin = Origin::Variable(setting.variable());
            match setting.check(&command_line, &value) {
                Ok(()) => settings.given.push(Given { setting, value, origin }),
                Err(reason) => {
                    let what = format!("{:?} can't be used: {reason}", value.to_string_lossy());
                    errors.push(SettingError { origin, what });
                }
            }
        }
        (settings, errors)
    }

    /// As [`load`](Self::load). If anything is wrong, says what, and ends the process as wrong usage does.
    pub(super) fn load_or_exit() -> Self {
        let (settings, errors) = Self::load();
        if errors.is_empty() {
            return settings;
        }
        for error in errors {
            print_error(format_args!("{error}"));
        }
        print_error(format_args!(
            "nothing was done; correct that, then see `fugue-server config check`. \
             FUGUE_CONFIG=FILE uses another file, and FUGUE_CONFIG= none"
        ));
        std::process::exit(2);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.remotes.is_empty()
    }

    /// The machine that is called this.
    ///
    /// # Errors
    /// None is; with what to do.
    pub(super) fn remote(&self, name: &RemoteName) -> Result<&NamedRemote, String> {
        let found = self.remotes.iter().rev().find(|given| given.name == *name);
        found.map(|given| &given.remote).ok_or_else(|| {
            let known: Vec<_> = self.remotes().map(|given| given.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!(
                "the configuration has no machine {name} (it has {known}): set `url` below a line [remotes.{name}] in \
                 it; or, of --remote, {FORM}"
            )
        })
    }

    /// All that count.
    pub(super) fn remotes(&self) -> impl Iterator<Item = &GivenRemote> {
        let is_last = |index: usize, name: &RemoteName| {
            self.remotes[index + 1..].iter().all(|later| later.name != *name)
        };
        let counting = self.remotes.iter().enumerate();
        counting.filter(move |(index, given)| is_last(*index, &given.name)).map(|(_, given)| given)
    }

    /// What was given for a setting, by what counts most.
    pub(super) fn find(&self, setting: &Setting) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.setting == setting)
    }

    /// Makes what was given the defaults of the options.
    pub(super) fn apply(&self, mut command_line: clap::Command) -> clap::Command {
        for setting in SETTINGS {
            let Some(given) = self.find(setting) else { continue };
            let set = |command: clap::Command| {
                let Some(id) = setting.option_of(&command).map(|option| option.get_id().clone()) else {
                    return command;
                };
                command.mut_arg(id, |option| option.default_value(ClapStr::from(given.value.clone())))
            };
            command_line = match setting.command() {
                Some(command) => command_line.mut_subcommand(command, set),
                None => set(command_line).mut_subcommands(set),
            };
        }
        command_line
    }
}

/// Reads one file, whatever it is called. What is wrong is told.
pub(super) fn check_file(path: &Path) -> Vec<SettingError> {
    match SettingsFile::named(path.to_owned()).read() {
        Ok(text) => GivenSettings::of(&text.into_iter().collect::<Vec<_>>(), Vec::new()).1,
        Err(error) => vec![error],
    }
}

/// Reads text as a configuration file.
#[cfg(any(test, fuzzing))]
pub(super) fn check_text(text: &str) -> Vec<String> {
    let files = [(PathBuf::from("f"), text.to_owned())];
    GivenSettings::of(&files, Vec::new()).1.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
