//! A configuration file, in TOML: where it is looked for, what is read of it, and what is wrong with it.

use std::{
    borrow::Cow,
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{Given, GivenRemote, LIST_DELIMITER, Origin, SETTINGS, Setting, SettingError, ValueKind};
use crate::cli::remote::{FORM, NamedRemote, RemoteName, program, remote_path};

/// The machine's file, for all its users.
const MACHINE: &str = "/etc/fugue/config.toml";

/// How much is read of a file: a hundred times what all settings take.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The table of tables of other machines, and the keys of each.
const REMOTES: &str = "remotes";
const REMOTE_KEYS: [&str; 4] = ["url", "path", "socket", "ssh"];

/// Tables of commands that are not there without a feature.
const LEFT_OUT: &[&str] = &[
    #[cfg(not(feature = "nodes"))]
    "nodes",
    #[cfg(not(feature = "web"))]
    "web",
];

/// How alike two names are, from 0 to 1, if one may be meant by the other.
const ALIKE: f64 = 0.8;

/// A file that settings may be in.
#[derive(Clone, Debug)]
pub(in crate::cli) struct SettingsFile {
    pub(in crate::cli) path: PathBuf,
    /// Somebody named it, so it has to be there.
    is_named: bool,
}

/// The files that count, the strongest last.
pub(in crate::cli) fn files() -> Vec<SettingsFile> {
    match env::var_os("FUGUE_CONFIG") {
        Some(none) if none.is_empty() => Vec::new(),
        Some(named) => vec![SettingsFile::named(named.into())],
        None => {
            let paths = [Some(MACHINE.into()), user_file()];
            let file = |path: PathBuf| SettingsFile { path, is_named: false };
            paths.into_iter().flatten().map(file).collect()
        }
    }
}

/// The file for one's own settings.
pub(in crate::cli) fn edited_file() -> Option<PathBuf> {
    env::var_os("FUGUE_CONFIG").map_or_else(user_file, |named| Some(named.into()))
}

fn user_file() -> Option<PathBuf> {
    // The XDG specification has relative paths ignored.
    let directory = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("fugue/config.toml"))
}

impl SettingsFile {
    pub(super) fn named(path: PathBuf) -> Self {
        Self { path, is_named: true }
    }

    /// The same file, to be found from any directory.
    pub(in crate::cli) fn absolute(self) -> Self {
        Self { path: std::path::absolute(&self.path).unwrap_or(self.path), ..self }
    }

    /// Its path and text; nothing if it is not there and need not be.
    pub(super) fn read(&self) -> Result<Option<(PathBuf, String)>, SettingError> {
        // To open a pipe would wait for whoever writes to it. One that was named may be meant.
        self.read_if(self.is_named)
    }

    pub(super) fn read_again(&self) -> Result<Option<(PathBuf, String)>, SettingError> {
        self.read_if(false)
    }

    fn read_if(&self, may_be_pipe: bool) -> Result<Option<(PathBuf, String)>, SettingError> {
        match self.text(may_be_pipe) {
            Ok(text) => Ok(Some((self.path.clone(), text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_named => Ok(None),
            Err(error) => {
                let what = format!("it can't be read: {error}");
                Err(SettingError { origin: Origin::File(self.path.clone(), None), what })
            }
        }
    }

    fn text(&self, may_be_pipe: bool) -> io::Result<String> {
        if !may_be_pipe && !fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut text = String::new();
        fs::File::open(&self.path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        Ok(text)
    }
}

/// What a file says.
pub(super) struct FileContent {
    pub(super) given: Vec<Given>,
    pub(super) remotes: Vec<GivenRemote>,
    /// All that is wrong with it, in its order.
    pub(super) wrong: Vec<SettingError>,
}

/// Reads a file's text.
pub(super) fn parse(path: &Path, text: &str, command_line: &clap::Command) -> FileContent {
    let (document, broken) = DeTable::parse_recoverable(text);
    let (given, remotes, wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = SettingsReader { path, text, command_line, given, remotes, wrong };
    reader.table(None, document.get_ref());
    // What a line that could not be read seems to say is not to be trusted.
    let broken: Vec<_> = broken
        .iter()
        .map(|error| {
            let message = error.message().split('\n').collect::<Vec<_>>().join(", ");
            (error.span().map_or(0, |span| span.start), message)
        })
        .collect();
    let lines: Vec<_> = broken.iter().map(|(at, _)| place(text, *at).0).collect();
    reader.wrong.retain(|(at, _)| !lines.contains(&place(text, *at).0));
    reader.wrong.extend(broken);
    reader.wrong.sort_by_key(|(at, _)| *at);
    let error = |(at, what)| SettingError { origin: origin(path, text, at), what };
    let wrong = reader.wrong.into_iter().map(error).collect();
    FileContent { given: reader.given, remotes: reader.remotes, wrong }
}

fn origin(path: &Path, text: &str, at: usize) -> Origin {
    Origin::File(path.to_owned(), Some(place(text, at)))
}

/// The line and the column, in characters, of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(index, _)| *index < at);
    before.fold((1, 1), |(line, column), (_, letter)| match letter {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

/// Reads what a parser found.
struct SettingsReader<'a> {
    path: &'a Path,
    text: &'a str,
    command_line: &'a clap::Command,
    given: Vec<Given>,
    remotes: Vec<GivenRemote>,
    /// With the byte where it is.
    wrong: Vec<(usize, String)>,
}

impl SettingsReader<'_> {
    fn table(&mut self, table: Option<&'static str>, entries: &DeTable<'_>) {
        for (key, value) in entries {
            let name: &str = key.get_ref();
            let setting = SETTINGS.iter().find(|setting| setting.table == table && setting.name == name);
            let inner = SETTINGS.iter().filter_map(|setting| setting.table).find(|table| *table == name);
            match (setting, inner.filter(|_| table.is_none()), value.get_ref()) {
                (Some(setting), _, _) => self.value(setting, value),
                (None, Some(inner), DeValue::Table(entries)) => self.table(Some(inner), entries),
                (None, Some(inner), other) => {
                    self.wrong.push((value.span().start, no_table(inner, other)));
                }
                (None, None, DeValue::Table(machines)) if table.is_none() && name == REMOTES => {
                    machines.iter().for_each(|(name, machine)| self.remote(name, machine));
                }
                (None, None, other) if table.is_none() && name == REMOTES => {
                    self.wrong.push((value.span().start, no_table(name, other)));
                }
                // That of a command which this program is built without: another one may read the same file.
                (None, None, DeValue::Table(_)) if table.is_none() && LEFT_OUT.contains(&name) => {}
                (None, None, other) => {
                    let is_table = table.is_none() && matches!(other, DeValue::Table(_));
                    let what = if is_table { unknown_table(name) } else { unknown_key(table, name) };
                    self.wrong.push((key.span().start, what));
                }
            }
        }
    }

    /// Reads a table such as `[remotes.dev]`.
    fn remote(&mut self, name: &Spanned<Cow<'_, str>>, machine: &Spanned<DeValue<'_>>) {
        let at = name.span().start;
        let (called, errors) = (name.get_ref(), self.wrong.len());
        let name = match called.parse::<RemoteName>() {
            Ok(name) => name,
            Err(error) => return self.wrong.push((at, format!("[{REMOTES}.{called:?}]: {error}"))),
        };
        let DeValue::Table(entries) = machine.get_ref() else {
            let what = format!("{REMOTES}.{name} is not {}, but a table", a_kind(machine.get_ref()));
            return self.wrong.push((machine.span().start, what));
        };
        let (mut url, mut path, mut socket, mut ssh) = (None, None, None, None);
        for (key, value) in entries {
            let key_name: &str = key.get_ref();
            if !REMOTE_KEYS.contains(&key_name) {
                let what = format!(
                    "unknown key {key_name:?} in [{REMOTES}.{name}]; the keys there are {}",
                    REMOTE_KEYS.join(", ")
                );
                self.wrong.push((key.span().start, what));
                continue;
            }
            let DeValue::String(text) = value.get_ref() else {
                let kind = a_kind(value.get_ref());
                let what = format!("{REMOTES}.{name}.{key_name} is a string, in quotes, not {kind}");
                self.wrong.push((value.span().start, what));
                continue;
            };
            let taken = match key_name {
                "url" => text.parse().map(|parsed| url = Some(parsed)),
                "path" => remote_path(text).map(|parsed| path = Some(parsed)),
                "ssh" => program(text).map(|parsed| ssh = Some(parsed)),
                _ if text.is_empty() => Err("give a path on that machine".to_owned()),
                _ => {
                    socket = Some(PathBuf::from(&**text));
                    Ok(())
                }
            };
            if let Err(reason) = taken {
                let what = format!("{REMOTES}.{name}.{key_name} can't be {text:?}: {reason}");
                self.wrong.push((value.span().start, what));
            }
        }
        match url {
            Some(url) => {
                let origin = origin(self.path, self.text, at);
                let remote = NamedRemote { url, path, socket, ssh };
                self.remotes.push(GivenRemote { name, remote, origin });
            }
            None if self.wrong.len() == errors => {
                self.wrong.push((at, format!("[{REMOTES}.{name}] has no url: {FORM}")));
            }
            None => {}
        }
    }

    fn value(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>) {
        let kind = setting.kind(self.command_line);
        let at = value.span().start;
        let text = match (kind, value.get_ref()) {
            (ValueKind::Flag, DeValue::Boolean(value)) => value.to_string(),
            (ValueKind::Number | ValueKind::Bytes, DeValue::Integer(number)) => decimal(number),
            (ValueKind::Bytes | ValueKind::Text | ValueKind::List, DeValue::String(text)) => text.to_string(),
            (ValueKind::List, DeValue::Array(items)) if items.iter().all(|item| item.get_ref().is_str()) => {
                let texts = items.iter().filter_map(|item| item.get_ref().as_str());
                texts.collect::<Vec<_>>().join(&LIST_DELIMITER.to_string())
            }
            (ValueKind::Pairs, DeValue::Table(pairs)) => match self.pairs(setting, pairs) {
                Some(text) => text,
                None => return,
            },
            (_, other) => {
                let wanted = self.wanted(setting, kind);
                self.wrong.push((at, format!("{} is {wanted}, not {}", setting.key(), a_kind(other))));
                return;
            }
        };
        match setting.check(self.command_line, text.as_ref()) {
            Ok(()) => {
                let origin = origin(self.path, self.text, at);
                self.given.push(Given { setting, value: text.into(), origin });
            }
            Err(reason) => self.wrong.push((at, format!("{} can't be {text:?}: {reason}", setting.key()))),
        }
    }

    /// A table as the command line takes it, in the order in which it is written. `None` if any of it is wrong.
    fn pairs(&mut self, setting: &Setting, pairs: &DeTable<'_>) -> Option<String> {
        let mut pairs: Vec<_> = pairs.iter().collect();
        pairs.sort_by_key(|(name, _)| name.span().start);
        let (mut texts, errors) = (Vec::new(), self.wrong.len());
        for (name, value) in pairs {
            let (name, at) = (name.get_ref(), name.span().start);
            let checked = match value.get_ref().as_str() {
                Some(text) => {
                    texts.push(format!("{name}={text}"));
                    setting.check(self.command_line, texts[texts.len() - 1].as_ref())
                }
                None => Err(format!("its value is a string, in quotes, not {}", a_kind(value.get_ref()))),
            };
            if let Err(reason) = checked {
                self.wrong.push((at, format!("{} can't have {name:?}: {reason}", setting.key())));
            }
        }
        (self.wrong.len() == errors).then(|| texts.join(&LIST_DELIMITER.to_string()))
    }

    /// What a setting takes, with its default as an example.
    fn wanted(&self, setting: &Setting, kind: ValueKind) -> String {
        let example = setting.default(self.command_line).unwrap_or_default();
        match kind {
            ValueKind::Flag => "true or false".to_owned(),
            ValueKind::Number => "a whole number, without quotes".to_owned(),
            ValueKind::Bytes => format!("a number of bytes, such as 65536 or {example:?}"),
            ValueKind::List => "a list of strings, in brackets, or a string".to_owned(),
            ValueKind::Pairs => "a table of strings".to_owned(),
            ValueKind::Text if example.is_empty() => "a string, in quotes".to_owned(),
            ValueKind::Text => format!("a string, such as {example:?}"),
        }
    }
}

/// A number as the command line takes it.
fn decimal(number: &DeInteger<'_>) -> String {
    let decimal = i128::from_str_radix(number.as_str(), number.radix());
    decimal.map_or_else(|_| number.to_string(), |number| number.to_string())
}

/// The kind of a value in words.
fn a_kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The nearest of some names, and how alike it is.
fn nearest<T>(name: &str, of: impl Iterator<Item = T>, called: impl Fn(&T) -> &str) -> Option<(T, f64)> {
    let rated = of.map(|one| {
        let alike = strsim::jaro_winkler(name, called(&one));
        (one, alike)
    });
    rated.max_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn unknown_key(table: Option<&str>, name: &str) -> String {
    let there =
        |table: Option<&str>| table.map_or("above all tables".into(), |table| format!("in [{table}]"));
    let here = || SETTINGS.iter().filter(|setting| setting.table == table);
    let what = match table {
        Some(table) => format!("unknown key {name:?} in [{table}]"),
        None => format!("unknown key {name:?}"),
    };
    if let Some(elsewhere) = SETTINGS.iter().find(|setting| setting.name == name) {
        return format!("{what}; it belongs {}", there(elsewhere.table));
    }
    let is_near = |found: &(&Setting, f64)| found.1 >= ALIKE;
    if let Some((near, _)) = nearest(name, here(), |setting| setting.name).filter(is_near) {
        return format!("{what}; did you mean {:?}?", near.name);
    }
    if let Some((near, _)) = nearest(name, SETTINGS.iter(), |setting| setting.name).filter(is_near) {
        return format!("{what}; did you mean {:?} {}?", near.name, there(near.table));
    }
    let known: Vec<_> = here().map(|setting| setting.name).collect();
    format!("{what}; the keys {} are {}", there(table), known.join(", "))
}

fn no_table(name: &str, value: &DeValue<'_>) -> String {
    format!("{name} is not {}, but a table: write its keys below a line [{name}]", a_kind(value))
}

fn unknown_table(name: &str) -> String {
    let mut known: Vec<_> = SETTINGS.iter().filter_map(|setting| setting.table).collect();
    known.dedup();
    known.push(REMOTES);
    match nearest(name, known.iter(), |table| **table) {
        Some((near, alike)) if alike >= ALIKE => format!("unknown table [{name}]; did you mean [{near}]?"),
        _ => format!("unknown table [{name}]; the tables are {}", known.join(", ")),
    }
}
