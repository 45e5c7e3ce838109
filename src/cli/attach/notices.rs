//! Notices that came while the terminal showed a session, to be told once it is left: the newest of them.

use std::collections::VecDeque;

/// Notices that are kept, of at most 64 KiB each.
const MAX_KEPT: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Notices {
    kept: VecDeque<String>,
    dropped: usize,
}

impl Notices {
    pub(super) fn push(&mut self, notice: String) {
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(notice);
    }

    /// What to tell, line by line.
    pub(super) fn lines(self) -> impl Iterator<Item = String> {
        let dropped = (self.dropped > 0).then(|| format!("[{} earlier notices were dropped]", self.dropped));
        dropped.into_iter().chain(self.kept.into_iter().map(|notice| format!("[notice: {notice}]")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_notices_are_kept_and_the_others_counted() {
        let mut notices = Notices::default();
        for number in 0..MAX_KEPT {
            notices.push(number.to_string());
        }
        notices.push("last".to_owned());
        let lines: Vec<_> = notices.lines().collect();
        assert_eq!(lines.len(), MAX_KEPT + 1);
        assert_eq!(lines[..2], ["[1 earlier notices were dropped]", "[notice: 1]"]);
        assert_eq!(lines[MAX_KEPT], "[notice: last]");
    }
}
