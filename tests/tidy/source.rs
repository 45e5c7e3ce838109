//! The sources as text: which files there are, which of their lines are tests, and which files each imports.
//!
//! It relies on the form that rustfmt gives them: an item ends on a line that is indented as its first is.

use std::{fs, path::Path};

/// A line of a source file.
pub(crate) struct Line {
    pub(crate) text: String,
    /// It is built for tests or fuzzing alone.
    pub(crate) is_test: bool,
    /// The inline modules that it is in, outermost first.
    inside: Vec<String>,
}

impl Line {
    /// The line without comments; empty if it is one.
    pub(crate) fn code(&self) -> &str {
        let code = self.text.split_once(" // ").map_or(&*self.text, |(code, _)| code);
        if code.trim_start().starts_with("//") { "" } else { code }
    }
}

/// A source file, and the module that it is.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) module: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

/// A path of another item, from the root of the crate.
pub(crate) struct Import {
    /// Where it is named: an index of `lines`.
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    /// What the file calls it.
    name: String,
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a directory whose names end so, by their paths from the root. Not what is built or ignored.
pub(crate) fn files(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            let is_ours = name == ".ci" || name == ".github" || !name.starts_with('.');
            if is_ours && name != "target" && name != "node_modules" {
                found.extend(files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The Rust files below a directory. A file of tests, and all below it, is one that is declared so.
pub(crate) fn sources(directory: &str) -> Vec<Source> {
    let mut sources: Vec<_> =
        files(directory, ".rs").into_iter().map(|path| Source::read(path, directory)).collect();
    let declared: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        if declared.iter().any(|module| source.module.starts_with(module)) {
            source.lines.iter_mut().for_each(|line| line.is_test = true);
        }
    }
    sources
}

/// All Rust files of the repository, with the tests' own.
pub(crate) fn all_sources() -> Vec<Source> {
    ["src", "perf/src", "tests", "benches", "examples"].into_iter().flat_map(sources).collect()
}

/// The functions of a file: name, first line, last line.
pub(crate) fn functions(source: &Source) -> Vec<(&str, usize, usize)> {
    let begun = source.lines.iter().enumerate().filter_map(|(line, text)| {
        let code = text.code();
        let words = without_visibility(code.trim())
            .split_once("fn ")
            .filter(|(before, _)| before.split_whitespace().all(|word| ["const", "async"].contains(&word)));
        let name = words?.1.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
        let indent = code.len() - code.trim_start().len();
        let is_last = |line: &Line| {
            let code = line.code();
            code.len() - code.trim_start().len() == indent && code.ends_with(['}', ';'])
        };
        let length = source.lines[line..].iter().position(is_last)?;
        Some((name, line, line + length))
    });
    begun.collect()
}

impl Source {
    fn read(path: String, directory: &str) -> Self {
        let module = path[directory.len() + 1..path.len() - ".rs".len()].split('/').map(str::to_owned);
        let module = module.filter(|part| !["lib", "main", "mod"].contains(&&**part)).collect();
        let text = read(&path);
        let mut lines: Vec<Line> = Vec::new();
        // The indentation of the inline modules and of the test item that the line is in.
        let mut modules: Vec<(usize, String)> = Vec::new();
        let (mut test, mut test_begins) = (None, false);
        for text in text.lines().map(str::to_owned) {
            let code = text.trim_start();
            let indent = text.len() - code.len();
            let is_attribute = code.starts_with("#[") || code.starts_with("//") || code.is_empty();
            test_begins |= code.starts_with("#[cfg(") && is_for_tests(code);
            if test_begins && !is_attribute {
                (test, test_begins) = (Some(indent), false);
            }
            let inside = modules.iter().map(|(_, name)| name.clone()).collect();
            let line = Line { is_test: test.is_some() || test_begins, inside, text };
            let (code, indented) = (line.code().trim(), Some(indent));
            if test == indented && code.ends_with([';', '}', ',']) {
                test = None;
            }
            if modules.last().is_some_and(|(at, _)| *at == indent) && code == "}" {
                modules.pop();
            }
            let begun =
                without_visibility(code).strip_prefix("mod ").and_then(|name| name.strip_suffix(" {"));
            modules.extend(begun.map(|name| (indent, name.to_owned())));
            lines.push(line);
        }
        Self { path, module, lines }
    }

    /// The module that a line is in.
    pub(crate) fn path_of(&self, line: usize) -> Vec<String> {
        [&self.module[..], &self.lines[line].inside].concat()
    }

    /// The modules in other files that this one declares for tests.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let tests = self.lines.iter().filter(|line| line.is_test);
        let declared = tests.filter_map(|line| {
            let name = without_visibility(line.code().trim()).strip_prefix("mod ")?.strip_suffix(';')?;
            Some([&self.module, &line.inside[..], &[name.to_owned()]].concat())
        });
        declared.collect()
    }

    /// What it names of the crate: in `use` items, and by paths that begin with `crate`, `self` or `super`.
    fn imports(&self, sources: &[Self]) -> Vec<Import> {
        let mut imports = Vec::new();
        let mut lines = self.lines.iter().enumerate();
        while let Some((number, line)) = lines.next() {
            let base = [&self.module[..], &line.inside].concat();
            let code = line.code().trim();
            let mut paths = Vec::new();
            if let Some(tree) = without_visibility(code).strip_prefix("use ") {
                let mut tree = tree.to_owned();
                while !tree.ends_with(';') {
                    tree += lines.next().expect("the end of a use").1.code().trim();
                }
                expand(tree.trim_end_matches(';'), "", &mut paths);
            } else {
                paths.extend(inline_paths(code));
            }
            for path in paths {
                let (path, renamed) = path.split_once(" as ").unwrap_or((&path, ""));
                let Some(path) = absolute(path, &base, sources) else { continue };
                let name = if renamed.is_empty() { path.last().cloned() } else { Some(renamed.to_owned()) };
                imports.push(Import { line: number, path, name: name.unwrap_or_default() });
            }
        }
        imports
    }
}

/// A crate's files, and what each names of the others.
pub(crate) struct Graph {
    pub(crate) sources: Vec<Source>,
    pub(crate) imports: Vec<Vec<Import>>,
}

impl Graph {
    pub(crate) fn of(directory: &str) -> Self {
        let sources = sources(directory);
        let imports = sources.iter().map(|source| source.imports(&sources)).collect();
        Self { sources, imports }
    }

    /// The file that defines what a path names: the one that it leads to or, if that is among `through` and only
    /// imports the item, the one from which it does.
    pub(crate) fn file_of(&self, path: &[String], through: impl Fn(&Source) -> bool) -> Option<usize> {
        let mut path = path.to_vec();
        // More steps than any item is passed on in.
        for _ in 0..8 {
            let length =
                (0..=path.len()).rev().find(|length| module(&self.sources, &path[..*length]).is_some())?;
            let file = module(&self.sources, &path[..length])?;
            let passed_on = path.get(length).filter(|_| through(&self.sources[file])).and_then(|name| {
                self.imports[file].iter().find(|import| import.name == *name && import.path != path)
            });
            let Some(passed_on) = passed_on else { return Some(file) };
            path = [&passed_on.path[..], &path[length + 1..]].concat();
        }
        None
    }
}

/// The file of a module.
fn module(sources: &[Source], path: &[String]) -> Option<usize> {
    sources
        .iter()
        .position(|source| source.module == path && !source.path.ends_with("src/main.rs"))
        .or_else(|| sources.iter().position(|source| source.module == path))
}

/// A path from the crate's root; `None` if it leads to another crate.
fn absolute(path: &str, base: &[String], sources: &[Source]) -> Option<Vec<String>> {
    let parts: Vec<_> = path.split("::").map(str::to_owned).collect();
    let ups = parts.iter().take_while(|part| *part == "super").count();
    let begin = match &*parts[0] {
        "crate" => &[],
        "super" => &base[..base.len().checked_sub(ups)?],
        "self" => base,
        first => {
            let child = [base, &[first.to_owned()]].concat();
            module(sources, &child)?;
            return Some([base, &parts].concat());
        }
    };
    let skipped = ups.max(1);
    let rest = parts[skipped..].iter().filter(|part| *part != "self").cloned();
    Some(begin.iter().cloned().chain(rest).collect())
}

/// The paths of a `use`: `a::{b, c::{d}}` is `a::b` and `a::c::d`.
fn expand(tree: &str, before: &str, paths: &mut Vec<String>) {
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    for letter in tree.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    for part in parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((prefix, rest)) => expand(rest.trim_end_matches('}'), &format!("{before}{prefix}"), paths),
            None => paths.push(format!("{before}{part}")),
        }
    }
}

/// The paths in a line of code that begin at the crate, the module or its parent.
fn inline_paths(code: &str) -> impl Iterator<Item = String> {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':' || letter == '$';
    let words = code.split(move |letter| !is_path(letter));
    let begins = |word: &&str| ["crate::", "super::", "self::"].iter().any(|first| word.starts_with(first));
    words.filter(begins).map(|word| word.trim_end_matches(':').to_owned())
}

/// Whether an attribute keeps its item to builds for tests.
fn is_for_tests(attribute: &str) -> bool {
    let attribute = attribute.replace("not(test)", "");
    attribute.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "test")
}

/// An item without `pub`, `pub(crate)` and the like.
pub(crate) fn without_visibility(code: &str) -> &str {
    let Some(rest) = code.strip_prefix("pub") else { return code };
    let rest = rest.split_once(") ").filter(|_| rest.starts_with('(')).map_or(rest, |(_, rest)| rest);
    rest.trim_start()
}
