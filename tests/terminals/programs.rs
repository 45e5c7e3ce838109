//! Witnesses that are programs of their own: xterm.js, run by node, and libvterm, which alone knows margins at the
//! sides.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::{Case, Step};

pub(super) struct Program {
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Program {
    /// xterm.js; `None` where node or its package is missing, which is said.
    pub(super) fn xterm_js() -> Option<Self> {
        let package = package();
        if !package.join("node_modules/@xterm/headless").is_dir() {
            println!("not shown: xterm.js is not installed; `bash .ci/terminals.sh` does that");
            return None;
        }
        Self::start("node", &[beside_this("witness.mjs"), package])
    }

    /// libvterm; `None` where it or Python is missing, which is said.
    pub(super) fn libvterm() -> Option<Self> {
        let mut started = Self::start("python3", &["-B".into(), beside_this("libvterm.py")])?;
        let mut ready = String::new();
        started.answers.read_line(&mut ready).unwrap();
        if ready != "ready\n" {
            println!("not shown: libvterm is not installed");
            return None;
        }
        Some(started)
    }

    fn start(program: &str, arguments: &[PathBuf]) -> Option<Self> {
        let spawned =
            Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = spawned else {
            println!("not shown: {program} is not installed");
            return None;
        };
        let asks = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, asks, answers })
    }

    /// What the two ways of a case differ in, the first few of it. So many lines above the screen count.
    pub(super) fn judge(&mut self, case: &Case, scrollback: usize) -> Vec<String> {
        self.ask(case, scrollback, false)
    }

    /// As [`judge`](Self::judge), but for what is on the screen and where the cursor is.
    #[cfg(feature = "cli")]
    pub(super) fn judge_modes(&mut self, case: &Case) -> Vec<String> {
        self.ask(case, 0, true)
    }

    fn ask(&mut self, case: &Case, scrollback: usize, modes_only: bool) -> Vec<String> {
        let ask = json!({
            "name": case.name, "cols": case.size.cols(), "rows": case.size.rows(), "scrollback": scrollback,
            "modesOnly": modes_only, "expected": steps(&case.expected), "actual": steps(&case.actual),
        });
        writeln!(self.asks.as_mut().unwrap(), "{ask}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let differences = answer["differences"].as_array().unwrap().iter();
        differences.map(|text| text.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // At the end of what is asked, it ends.
        self.asks = None;
        let _ = self.child.wait();
    }
}

pub(super) fn beside_this(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminals").join(name)
}

pub(super) fn package() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("terminals")
}

/// As the witness reads them: bytes as characters.
fn steps(steps: &[Step]) -> Vec<Value> {
    let step = |step: &Step| match step {
        Step::Bytes(bytes) => json!(bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
        Step::Size(size) => json!([size.cols(), size.rows()]),
    };
    steps.iter().map(step).collect()
}
