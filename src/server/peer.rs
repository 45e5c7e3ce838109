//! Which terminals a client's process shows things in, as Linux tells of it in `/proc`.
//!
//! A process is in the terminals that it or a process above it has open, and in those that control them: `script` and
//! `sudo` give what they run a terminal of its own, and show it in theirs, and the servers of tmux and screen have the
//! terminals open that they show their panes in. Nothing of that can be unset, as a variable can. What `/proc` does not
//! tell is not known: of a process in another container, or of another machine's.

use std::{fs, path::Path};

use rustix::fs::makedev;

use crate::session::TerminalId;

/// Processes that are looked at, a client and those above it; and open files of each.
const MAX_PROCESSES: usize = 64;
const MAX_OPEN: usize = 256;

/// A client's process, and the terminal that it has open, for people.
pub(super) fn described(process: i32) -> String {
    let opened = (0..3).find_map(|descriptor| {
        let name =
            link(Path::new(&format!("/proc/{process}/fd/{descriptor}")))?.strip_prefix("/dev/")?.to_owned();
        (name.starts_with("pts/") || name.starts_with("tty")).then_some(name)
    });
    opened.map_or_else(|| format!("process {process}"), |terminal| format!("process {process} on {terminal}"))
}

/// Terminals that a process is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Terminals {
    /// Those that it has open.
    open: Vec<TerminalId>,
    /// Those that control it or a process above it, by their numbers: of which file system is not known.
    controlling: Vec<u64>,
}

impl Terminals {
    /// Those of a process that shows a session as a terminal does.
    pub(super) fn of(process: i32) -> Self {
        let server = i32::try_from(std::process::id()).ok();
        let mut terminals = Self::default();
        let mut next = process;
        for _ in 0..MAX_PROCESSES {
            if next <= 1 || Some(next) == server {
                break;
            }
            terminals.add_open(next);
            let Some((parent, controlling)) = parent_and_terminal(next) else { break };
            if let Some(terminal) = controlling
                && !terminals.controlling.contains(&terminal)
            {
                terminals.controlling.push(terminal);
            }
            next = parent;
        }
        terminals
    }

    /// Those that a process may print a session's output to, without being a terminal: none where it writes a file.
    /// Where a pipe leads to can't be told, so that counts as the terminals that the process is in.
    pub(super) fn printed_to(process: i32) -> Self {
        let Some(output) = link(Path::new(&format!("/proc/{process}/fd/1"))) else { return Self::default() };
        let leads_to_terminals = ["pipe:", "socket:", "/dev/pts/", "/dev/tty"];
        if leads_to_terminals.iter().any(|kind| output.starts_with(kind)) {
            return Self::of(process);
        }
        Self::default()
    }

    /// Adds those that a process has open.
    fn add_open(&mut self, process: i32) {
        // Another user's may not be looked into.
        let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return };
        for descriptor in open.flatten().take(MAX_OPEN) {
            if let Some(terminal) = open_terminal(&descriptor.path())
                && !self.open.contains(&terminal)
            {
                self.open.push(terminal);
            }
        }
    }

    /// Only the one that controls a process itself.
    pub(super) fn controlling(process: i32) -> Self {
        let controlling = parent_and_terminal(process).and_then(|(_, terminal)| terminal);
        Self { open: Vec::new(), controlling: controlling.into_iter().collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.controlling.is_empty()
    }

    pub(super) fn contain(&self, terminal: TerminalId) -> bool {
        self.open.contains(&terminal) || self.controlling.contains(&terminal.device)
    }
}

/// What a descriptor is, as text.
fn link(descriptor: &Path) -> Option<String> {
    fs::read_link(descriptor).ok()?.into_os_string().into_string().ok()
}

/// The terminal that a descriptor is, if it is one.
fn open_terminal(descriptor: &Path) -> Option<TerminalId> {
    // First by name: to look at any other file may take as long as a file server likes.
    if !link(descriptor)?.starts_with("/dev/pts/") {
        return None;
    }
    Some(TerminalId::of(&rustix::fs::stat(descriptor).ok()?))
}

fn parent_and_terminal(process: i32) -> Option<(i32, Option<u64>)> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Reads `/proc/PID/stat` (proc(5)): the parent's id, and the device number of the controlling terminal.
fn parse(stat: &str) -> Option<(i32, Option<u64>)> {
    // The second field is the program's name in parentheses, and may have any in it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1);
    let parent = fields.next()?.parse().ok()?;
    let number: i32 = fields.nth(2)?.parse().ok()?;
    // Bits 31 to 20 and 7 to 0 are the minor number, 15 to 8 the major one.
    let number = u32::from_ne_bytes(number.to_ne_bytes());
    let device = makedev(number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    Some((parent, (number != 0).then_some(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_and_the_terminal_are_found_behind_any_name() {
        let stat = |terminal| format!("12 (a) b (c) S 7 12 12 {terminal} 12 4194304 1 2");
        assert_eq!(parse(&stat("34821")), Some((7, Some(makedev(136, 5)))));
        // The terminal 300.
        assert_eq!(parse(&stat("1083436")), Some((7, Some(makedev(136, 300)))));
        assert_eq!(parse(&stat("0")), Some((7, None)));
        for wrong in ["", "12 (a", "12 (a) S", "12 (a) S 7 12 12", "12 (a) S x 12 12 0 1"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_nowhere() {
        assert!(Terminals::of(i32::MAX).is_empty());
        assert!(Terminals::printed_to(i32::MAX).is_empty());
    }
}
