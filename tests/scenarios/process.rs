//! The binary as a server of its own, whose memory, threads and descriptors can be told from those of the clients.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};

/// The servers that run, for who must end without running destructors.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Kills the servers that run.
pub(crate) fn kill_all() {
    for pid in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        signal(pid, Signal::KILL);
    }
}

pub(super) fn signal(pid: u32, with: Signal) {
    // Whoever has ended meanwhile needs none.
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), with);
}

pub(super) struct Process {
    child: Child,
    pub(super) socket: PathBuf,
    _directory: tempfile::TempDir,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) descriptors: usize,
    pub(super) threads: usize,
    pub(super) children: usize,
    pub(super) memory_bytes: u64,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory_bytes as f64 / f64::from(1 << 20);
        write!(f, "{} descriptors, {} threads, {memory:.1} MiB", self.descriptors, self.threads)
    }
}

impl Process {
    pub(super) fn serve(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fugue/server.sock");
        let mut child = binary(&socket, &["serve"])
            .args(settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        RUNNING.lock().unwrap().push(child.id());
        let stdout = child.stdout.take().unwrap();
        // From here on it ends with this.
        let process = Self { child, socket, _directory: directory };
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        process
    }

    /// The most memory it has had, in bytes.
    pub(super) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:") << 10
    }

    pub(super) fn holdings(&self) -> Holdings {
        let own = format!("/proc/{}", self.child.id());
        Holdings {
            descriptors: std::fs::read_dir(format!("{own}/fd")).unwrap().count(),
            threads: self.status("Threads:") as usize,
            children: children(self.child.id()),
            memory_bytes: self.status("VmRSS:") << 10,
        }
    }

    fn status(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Asks it to end, as a supervisor would; returns its exit status, which its socket does not outlive.
    pub(super) fn stop(mut self) -> Option<i32> {
        signal(self.child.id(), Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(!self.socket.exists(), "it left its socket behind");
        status.code()
    }
}

/// How many processes have this one for a parent.
fn children(parent: u32) -> usize {
    let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path().join("stat");
        // A process may end while it is looked at.
        std::fs::read_to_string(path).ok()
    });
    stats
        .filter(|stat| {
            let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            after_name.split(' ').nth(1) == Some(&parent.to_string())
        })
        .count()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let own = self.child.id();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| *pid != own);
    }
}

pub(super) fn binary(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    command.args(arguments).env("FUGUE_SOCKET", socket).env_remove("FUGUE_SESSION").stdin(Stdio::null());
    command
}
