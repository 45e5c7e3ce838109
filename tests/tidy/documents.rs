//! What documents and help texts say is so: the tests, the versions, the numbers and the files that they name.

use std::collections::BTreeSet;

use super::{
    place, report,
    source::{Source, files, functions, read, root, sources, without_visibility},
};

/// A number that people read: its constant in `src/`; how much one of the unit is, and the unit; where it is
/// quoted, and words that it is near there.
type Quoted = (&'static str, u64, &'static str, &'static str, &'static str);

const BUILDER: &str = "src/server/builder.rs";
const README: &str = "README.md";
const SECURITY: &str = "SECURITY.md";
const SERVE: &str = "src/cli/serve.rs";

const QUOTED: [Quoted; 47] = [
    ("CONNECT_TIMEOUT", 1, " s", SECURITY, "for the server's hello"),
    ("DEFAULT_ENDED_BYTES", 1 << 20, " MiB", BUILDER, "ended sessions may take together"),
    ("DEFAULT_ENDED_BYTES", 1 << 20, " MiB", SECURITY, "screens of ended sessions"),
    ("DEFAULT_ENDED_TIME", 3600, " h", BUILDER, "if there is room for it"),
    ("DEFAULT_ENDED_TIME", 3600, " h", SECURITY, "screens of ended sessions"),
    ("DEFAULT_ENDED_TIME", 3600, "h", SERVE, "How long that is kept"),
    ("DEFAULT_HISTORY_BYTES", 1 << 20, " MiB", BUILDER, "Output each session holds"),
    ("DEFAULT_HISTORY_BYTES", 1 << 20, " MiB", README, "history"),
    ("DEFAULT_HISTORY_BYTES", 1 << 20, " MiB", SECURITY, "its history"),
    ("DEFAULT_MAX_CLIENTS", 1, "", BUILDER, "Connections served at once"),
    ("DEFAULT_MAX_CLIENTS", 1, "", SECURITY, "| clients |"),
    ("DEFAULT_QUEUE_DEPTH", 1, "", BUILDER, "Messages a client's queue holds"),
    ("DEFAULT_QUEUE_DEPTH", 1, " messages", SECURITY, "| a client |"),
    ("DEFAULT_SCROLLBACK", 1, "", BUILDER, "average"),
    ("DEFAULT_SCROLLBACK", 1, " lines", SECURITY, "a session's screen"),
    ("DEFAULT_SCROLLBACK", 1, "", README, "--scrollback"),
    ("DEFAULT_VIEWERS", 1, " (`--max-viewers`)", SECURITY, "| too many pages |"),
    ("DRAIN_TIMEOUT", 1, " s", BUILDER, "before a shutdown. The default"),
    ("HANDSHAKE_TIMEOUT", 1, " s", BUILDER, "has to say hello. The default"),
    ("HANDSHAKE_TIMEOUT", 1, " s", SECURITY, "for a hello"),
    ("HEAD_TIME", 1, " s for a request's head", SECURITY, "connections that dawdle"),
    ("HELLO_TIME", 1, " s", SECURITY, "comes as the first message"),
    ("HANG_UP_GRACE", 1, " s", BUILDER, "before it is killed. The default"),
    ("LOSSLESS_TIMEOUT", 1, " s", BUILDER, "may hold its session's program back"),
    ("MAX_ADDRESSES", 1, " addresses that failed", SECURITY, "says or takes nothing"),
    ("MAX_FAILURES", 1, " failures in a minute", SECURITY, "a link that is guessed"),
    ("MAX_FILE_BYTES", 1 << 10, " KiB", SECURITY, "a configuration file |"),
    ("MAX_OUTPUT", 1 << 10, " KiB", SECURITY, "a write of"),
    ("MAX_QUESTIONS", 1, " questions", SECURITY, "what a program asks"),
    ("MAX_SCROLLBACK", 1, "", BUILDER, "keeps, from 0"),
    ("MAX_SCROLLBACK", 1, "", SECURITY, "lines above it (up to"),
    ("MAX_SCROLLBACK", 1, "", SERVE, "attach, up to"),
    ("MAX_PENDING", 1, " in all", SECURITY, "such connections of one address"),
    ("MAX_WINDOW", 1 << 10, " KiB in flight", SECURITY, "pages that take nothing"),
    ("NOTIFY_TIME", 1, " s", SECURITY, "a message to a service manager |"),
    ("PER_THREAD", 1, " for each hardware thread", "src/registry/builder.rs", "The default is"),
    ("PER_THREAD", 1, " per hardware thread", "src/cli/bench.rs", "Shards of"),
    ("PER_THREAD", 1, " per hardware thread", SERVE, "Shards of"),
    ("REMEMBERED", 1, "", SECURITY, "ended sessions that are remembered"),
    ("REQUEST_TIMEOUT", 1, " s", SECURITY, "for an answer"),
    ("RESYNC_TIMEOUT", 60, " min", BUILDER, "if that says nothing"),
    ("RESYNC_TIMEOUT", 60, " minutes", README, "For `resync` it is"),
    ("RESYNC_TIMEOUT", 60, " min", SECURITY, "takes nothing of what waits"),
    ("SPOOL", 1 << 30, " GiB", README, "slow reader of a pipe"),
    ("SPOOL", 1 << 30, " GiB", SECURITY, "for a slow reader"),
    ("STALL_TIMEOUT", 1, " s", BUILDER, "nothing more of it. The default"),
    ("STALL_TIMEOUT", 1, " s", SECURITY, "takes nothing of what waits"),
];

/// A name in backticks with `::` whose first part is a module of the crate or of the tests is a function or a module.
#[test]
fn tests_that_documents_name_exist() {
    let mut roots = BTreeSet::new();
    let mut known = BTreeSet::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (name, line, _) in functions(&source) {
            known.insert([source.path_of(line), vec![name.to_owned()]].concat().join("::"));
        }
        for length in 1..=source.module.len() {
            known.insert(source.module[..length].join("::"));
        }
        roots.extend(source.module.first().cloned());
    }
    let (mut problems, mut found) = (Vec::new(), 0);
    let is_ours = |path: &&String| !path.contains('/') || path.starts_with("docs/");
    for document in files("", ".md").iter().filter(is_ours) {
        for (number, line) in read(document).lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
                let is_ours = name.split_once("::").is_some_and(|(root, _)| roots.contains(root));
                let is_path = name
                    .chars()
                    .all(|letter| letter == ':' || letter == '_' || letter.is_ascii_alphanumeric());
                if is_ours && is_path && name.to_lowercase() == name {
                    found += 1;
                    if !known.contains(name) {
                        problems.push(format!("{document}:{}: `{name}`", number + 1));
                    }
                }
            }
        }
    }
    assert!(
        found > 60,
        "only {found} names: how documents name tests has changed, so look for them in that way"
    );
    report(problems, "Name the test as it is called now, or put back what kept the promise.");
}

#[test]
fn one_rust_version_is_asked_for() {
    let manifest = read("Cargo.toml");
    let version =
        manifest.split_once("rust-version = \"").expect("a rust-version").1.split('"').next().unwrap();
    let mut problems = Vec::new();
    for path in files("", "Cargo.toml") {
        let text = read(&path);
        let mut lines = text.lines().filter(|line| line.starts_with("rust-version"));
        if lines
            .any(|line| line != "rust-version.workspace = true" && !line.ends_with(&format!("\"{version}\"")))
        {
            problems.push(format!("{path}: another rust-version than {version}"));
        }
    }
    if !read("README.md").contains(&format!("Rust {version} or later")) {
        problems.push(format!("README.md: does not say \"Rust {version} or later\""));
    }
    let pinned = |line: &&str| line.contains("toolchain") && line.contains(" 1.") && !line.contains(version);
    for path in files(".ci", "").into_iter().chain(workflows()) {
        problems.extend(read(&path).lines().filter(pinned).map(|line| format!("{path}: {}", line.trim())));
    }
    report(problems, "Cargo.toml has the version; change what differs.");
}

fn workflows() -> Vec<String> {
    if root().join(".github").is_dir() { files(".github", ".yml") } else { Vec::new() }
}

/// The value of a constant in `src/`: a product or shift of numbers, or a time in seconds.
fn constant(sources: &[Source], name: &str) -> u64 {
    let mut found = sources.iter().flat_map(|source| &source.lines).filter_map(|line| {
        let rest = without_visibility(line.code().trim()).strip_prefix("const ")?.strip_prefix(name)?;
        Some(rest.strip_prefix(": ")?.split_once(" = ")?.1.trim_end_matches(';').to_owned())
    });
    let value = found
        .next()
        .unwrap_or_else(|| panic!("no constant {name} in src/; change QUOTED in tests/tidy/documents.rs"));
    assert!(found.next().is_none(), "several constants {name} in src/; give this one a name of its own");
    let value = value.replace("Duration::from_secs", "").replace(['(', ')', '_'], "");
    value.split(" * ").map(|factor| factor.parse::<u64>().expect("a number")).product()
}

/// Text as words of ASCII, without the marks of comments and the separators within numbers.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| *word != "///").collect::<Vec<_>>().join(" ");
    let letters: Vec<_> = words.chars().collect();
    let is_digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    let separates = |at: usize| {
        at > 0 && is_digit(at - 1) && (1..4).all(|digit| is_digit(at + digit)) && !is_digit(at + 4)
    };
    let kept = letters
        .iter()
        .enumerate()
        .filter(|(at, letter)| !([',', ' ', '_'].contains(letter) && separates(*at)));
    kept.map(|(_, letter)| if letter.is_ascii() { *letter } else { '?' }).collect()
}

#[test]
fn documents_and_help_quote_the_constants() {
    let sources = sources("src");
    let mut problems = Vec::new();
    for (name, one, unit, file, words) in QUOTED {
        let shown = format!("{}{unit}", constant(&sources, name) / one);
        let text = plain(&read(file));
        let is_near = |(at, _): (usize, &str)| {
            let near = &text[at.saturating_sub(100)..text.len().min(at + 200)];
            // The end of a longer number is another.
            let is_whole = |at: usize| !near[..at].ends_with(|letter: char| letter.is_ascii_digit());
            near.match_indices(&shown).any(|(at, _)| is_whole(at))
        };
        if !text.match_indices(words).any(is_near) {
            problems.push(format!("{file}: {name} is {shown}, which is not near \"{words}\""));
        }
    }
    for source in sources.iter().filter(|source| source.path.starts_with("src/cli")) {
        for (number, line) in source.lines.iter().enumerate() {
            let value = line.code().split_once("default_value_t = ").map(|(_, value)| value);
            if value.is_some_and(|value| value.starts_with(|letter: char| letter.is_ascii_digit())) {
                problems.push(format!("{}: a default that is no constant", place(source, number)));
            }
        }
    }
    report(
        problems,
        "Quote the constant's value; and if the words have changed, change those in QUOTED in tests/tidy/documents.rs.",
    );
}

/// Links to other places of the repository lead to something.
#[test]
fn links_in_documents_lead_somewhere() {
    let mut problems = Vec::new();
    for document in files("", ".md") {
        let directory = document.rsplit_once('/').map_or("", |(directory, _)| directory);
        for (number, line) in read(&document).lines().enumerate() {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
                let is_elsewhere = link.is_empty() || link.contains("://") || link.starts_with("mailto:");
                if !is_elsewhere && !root().join(directory).join(link).exists() {
                    problems.push(format!("{document}:{}: {link}", number + 1));
                }
            }
        }
    }
    report(problems, "Link to what is there now.");
}

/// What the server logs at `info` and above, in a macro's last literal.
#[test]
fn what_is_logged_is_in_its_document() {
    let document = read("docs/log.md");
    let (mut problems, mut found) = (Vec::new(), 0);
    for source in
        sources("src").iter().filter(|source| source.module.first().is_some_and(|module| module != "fuzz"))
    {
        for (number, line) in source.lines.iter().enumerate().filter(|(_, line)| !line.is_test) {
            let code = line.code().trim();
            let Some(start) = ["error!(", "warn!(", "info!("]
                .iter()
                .find_map(|begins| code.find(begins))
                .filter(|start| !code[..*start].ends_with('_'))
            else {
                continue;
            };
            let mut whole = code[start..].to_owned();
            for more in &source.lines[number + 1..] {
                if [");", "),", ")", "}"].iter().any(|end| whole.ends_with(end)) {
                    break;
                }
                whole.push_str(more.code().trim());
            }
            let Some(message) = whole.rsplit('"').nth(1).filter(|message| !message.contains('{')) else {
                continue;
            };
            found += 1;
            if !document.contains(&format!("`{message}`")) {
                problems.push(format!("{}: `{message}`", place(source, number)));
            }
        }
    }
    assert!(
        found > 25,
        "only {found} messages: how they are logged has changed, so look for them in that way"
    );
    report(problems, "Add it to docs/log.md, or correct it there.");
}
