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
        // With the keeper of its programs, which would outlive it.
        children(pid).into_iter().chain([pid]).for_each(|pid| signal(pid, Signal::KILL));
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
    /// Its keeper, which has the programs.
    pub(super) children: usize,
    pub(super) kept_descriptors: usize,
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
        let descriptors = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let children = children(self.child.id());
        Holdings {
            descriptors: descriptors(self.child.id()),
            threads: self.status("Threads:") as usize,
            children: children.len(),
            kept_descriptors: children.iter().map(|keeper| descriptors(*keeper)).sum(),
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

/// The processes that have this one for a parent.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        // A process may end while it is looked at.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    numbers.filter(is_child).collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        let own = self.child.id();
        let keepers = children(own);
        let _ = self.child.kill();
        let _ = self.child.wait();
        keepers.into_iter().for_each(|keeper| signal(keeper, Signal::KILL));
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| *pid != own);
    }
}

pub(super) fn binary(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fugue-server"));
    command.args(arguments).env("FUGUE_SOCKET", socket).env_remove("FUGUE_SESSION").stdin(Stdio::null());
    command
}
