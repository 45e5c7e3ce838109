//! Which file may import which.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    place, report,
    source::{Graph, read},
};

/// What each module of `src/` may import. Tests may import more.
const ARROWS: [(&str, &[&str]); 15] = [
    ("cli", &["client", "id", "keeper", "message", "name", "nodes", "server", "terminal", "web", "wire"]),
    ("client", &["id", "message", "terminal", "wire"]),
    ("fuzz", &["cli", "id", "name", "nodes", "server", "terminal", "web", "wire"]),
    ("id", &[]),
    ("keeper", &["id", "message"]),
    ("message", &["id", "name", "terminal"]),
    ("name", &[]),
    ("nodes", &["client", "id", "message", "name", "terminal", "wire"]),
    ("registry", &["id", "message", "sync"]),
    ("server", &["id", "message", "name", "registry", "session", "sync", "terminal", "wire"]),
    ("session", &["id", "keeper", "message", "name", "registry", "sync", "terminal", "wire"]),
    ("sync", &[]),
    ("terminal", &["id"]),
    ("web", &["client", "id", "message", "name", "nodes", "terminal"]),
    ("wire", &["id", "message"]),
];

#[test]
fn modules_import_what_the_architecture_allows() {
    let graph = Graph::of("src");
    let mut problems = BTreeSet::new();
    for (source, imports) in graph.sources.iter().zip(&graph.imports) {
        let Some(from) = source.module.first() else { continue };
        let (_, allowed) = ARROWS.iter().find(|(module, _)| module == from).expect("a row for every module");
        for import in imports.iter().filter(|import| !source.lines[import.line].is_test) {
            // The crate's root only passes on.
            let Some(file) = graph.file_of(&import.path, |through| through.module.is_empty()) else {
                continue;
            };
            let Some(to) = graph.sources[file].module.first() else { continue };
            if to != from && !allowed.contains(&&**to) {
                problems.insert(format!("{}: `{from}` imports `{to}`", place(source, import.line)));
            }
        }
    }
    report(problems.into_iter().collect(), "Move the item to a module that both may import.");
}

/// A file and those of its submodules are one another's by nature, and do not count. An item that a third file only
/// passes on counts as imported from where it is defined.
#[test]
fn no_two_files_import_each_other() {
    let mut problems = Vec::new();
    for directory in ["src", "perf/src"] {
        let graph = Graph::of(directory);
        let mut edges = BTreeMap::new();
        for (from, imports) in graph.imports.iter().enumerate() {
            // A file of tests counts, but not the module of tests in another.
            let has_product =
                graph.sources[from].lines.iter().any(|line| !line.is_test && !line.code().is_empty());
            for import in imports {
                if has_product && graph.sources[from].lines[import.line].is_test {
                    continue;
                }
                let Some(to) = graph.file_of(&import.path, |_| true) else { continue };
                let (a, b) = (&graph.sources[from].module, &graph.sources[to].module);
                if !a.starts_with(b) && !b.starts_with(a) {
                    edges.entry((from, to)).or_insert(import.line);
                }
            }
        }
        for ((from, to), line) in &edges {
            if let Some(back) = edges.get(&(*to, *from)).filter(|_| from < to) {
                let (from, to) = (&graph.sources[*from], &graph.sources[*to]);
                problems.push(format!("{} and {} import each other", place(from, *line), place(to, *back)));
            }
        }
    }
    report(problems, "Move what one of them needs to a file of its own, which imports neither.");
}

/// The block under "Modules and allowed dependencies" has the arrows of [`ARROWS`], a module to a line.
#[test]
fn the_architecture_shows_the_arrows() {
    let text = read("ARCHITECTURE.md");
    let shown = text.lines().filter_map(|line| line.split_once(" -> "));
    let shown: BTreeMap<_, Vec<_>> = shown
        .filter(|(from, _)| ARROWS.iter().any(|(module, _)| *module == from.trim()))
        .map(|(from, to)| (from.trim(), to.split(',').map(str::trim).collect()))
        .collect();
    let differs = |(from, to): &&(&str, &[&str])| shown.get(from).map_or(&[][..], |shown| shown) != *to;
    let problems = ARROWS
        .iter()
        .filter(differs)
        .map(|(from, to)| format!("ARCHITECTURE.md lacks: {from} -> {}", to.join(", ")));
    report(
        problems.collect(),
        "Put these lines there in place of what differs, or change ARROWS in tests/tidy/imports.rs.",
    );
}
