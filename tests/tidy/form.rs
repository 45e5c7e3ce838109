//! How long things are and what they are called, and that nothing is left over.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    place, report,
    source::{all_sources, files, functions, read, sources, without_visibility},
};

/// The columns that a comment may take, and the lines that a function and a file may. Code is rustfmt's to break.
const COLUMNS: usize = 120;
const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 700;

/// How long a test's name may be.
const NAME_LENGTH: usize = 70;

/// Functions that read better whole.
const LONG_FUNCTIONS: [(&str, &str); 3] = [
    ("src/cli/bench/viewers.rs", "run"), // one measurement, from its first step to its last
    ("src/terminal/resize.rs", "wrap_anew"), // one walk over all lines, with what is carried along
    ("src/terminal/sgr.rs", "apply"),    // a table of attributes
];

/// Types that may be defined again elsewhere: each command of the command line has its own.
const DEFINED_ANYWHERE: [&str; 1] = ["Args"];

#[test]
fn comments_functions_and_files_are_short() {
    let mut problems = Vec::new();
    for source in all_sources() {
        for (number, line) in source.lines.iter().enumerate() {
            let (text, columns) = (line.text.trim_start(), line.text.chars().count());
            // The row of a table can't be wrapped.
            if text.starts_with("//") && !text.contains("/ |") && !text.contains("! |") && columns > COLUMNS {
                problems.push(format!(
                    "{}: a comment of {columns} columns, not {COLUMNS}",
                    place(&source, number)
                ));
            }
        }
        let is_product = |line: usize| !source.lines[line].is_test && !source.path.starts_with("tests/");
        for (name, first, last) in functions(&source) {
            let lines = last - first + 1;
            if lines > FUNCTION_LINES && is_product(first) && !LONG_FUNCTIONS.contains(&(&source.path, name))
            {
                problems.push(format!(
                    "{}: {name} has {lines} lines, not {FUNCTION_LINES}",
                    place(&source, first)
                ));
            }
        }
        if source.lines.len() > FILE_LINES && is_product(0) {
            problems.push(format!("{}: {} lines, not {FILE_LINES}", source.path, source.lines.len()));
        }
    }
    report(problems, "Wrap it, or split it where a second idea begins.");
}

#[test]
fn nothing_is_left_over() {
    let mut problems: Vec<_> =
        files("", "").into_iter().filter(|path| path.contains("proptest-regressions")).collect();
    let marks =
        ["TO", "FIX", "to", "db"].into_iter().zip(["DO", "ME", "do!", "g!"]).map(|(a, b)| a.to_owned() + b);
    let marks: Vec<_> = marks.collect();
    for source in all_sources() {
        for (number, line) in source.lines.iter().enumerate() {
            if marks.iter().any(|mark| line.text.contains(mark)) {
                problems.push(format!("{}: {}", place(&source, number), line.text.trim()));
            }
        }
    }
    report(problems, "Do it, or write an issue; write the failing case out as a test, and delete the seeds.");
}

/// The lines of a list of what is not yet as it should be.
fn leftovers(list: &str) -> BTreeSet<String> {
    read(list).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// What is found must be what is listed: neither more, nor less once it is mended.
fn compare(found: BTreeMap<String, String>, list: &str, remedy: &str) {
    let listed = leftovers(list);
    let more =
        found.iter().filter(|(name, _)| !listed.contains(*name)).map(|(name, at)| format!("{at}: {name}"));
    let less = listed.iter().filter(|name| !found.contains_key(*name));
    let less = less.map(|name| format!("{list}: {name} is mended; remove the line"));
    report(more.chain(less).collect(), remedy);
}

#[test]
fn type_names_are_used_once() {
    let mut places: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for source in sources("src") {
        for (number, line) in source.lines.iter().enumerate().filter(|(_, line)| !line.is_test) {
            let item = without_visibility(line.code().trim());
            let name =
                ["struct ", "enum ", "trait ", "union "].iter().find_map(|kind| item.strip_prefix(kind));
            let name = name.filter(|_| item.len() < line.code().trim().len());
            let name = name.and_then(|name| name.split(|letter: char| !letter.is_alphanumeric()).next());
            if let Some(name) = name.filter(|name| !DEFINED_ANYWHERE.contains(name)) {
                places
                    .entry(name.to_owned())
                    .or_default()
                    .insert(source.path.clone(), place(&source, number));
            }
        }
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    let twice =
        twice.map(|(name, places)| (name, places.into_values().collect::<Vec<_>>().join(" and "))).collect();
    compare(twice, "tests/tidy/twice.txt", "Give each type a name of its own.");
}

#[test]
fn test_names_are_not_long() {
    let mut long = BTreeMap::new();
    for source in all_sources() {
        for (name, line, _) in functions(&source).into_iter().filter(|(name, ..)| name.len() > NAME_LENGTH) {
            long.insert(name.to_owned(), place(&source, line));
        }
    }
    compare(long, "tests/tidy/long_names.txt", "Say the behaviour in fewer words.");
}
