//! What the sessions print: lines of 16 bytes, each with its session's tag and its own number. So each byte is known by
//! its session and its offset.

use fugue_server::{
    client::Incoming,
    message::{Event, ExitStatus},
};

/// Bytes of a line.
pub(super) const LINE: u64 = 16;

/// A program that prints a first line, and then as many as each line it reads says; `q7` ends it with status 7.
pub(super) fn program(tag: u64) -> String {
    let print = format!("seq -f {tag:04}-%010.0f");
    format!(
        "stty -opost -echo; {print} 0 0; n=1; while read c; do case $c in q*) exit ${{c#q}};; esac; \
         {print} $n $((n+c-1)); n=$((n+c)); done"
    )
}

fn line(tag: u64, number: u64) -> [u8; LINE as usize] {
    format!("{tag:04}-{number:010}\n").into_bytes().try_into().unwrap()
}

/// Whether these are the bytes that the session of this tag prints at this offset.
fn is_printed(tag: u64, offset: u64, mut data: &[u8]) -> bool {
    let mut expected = line(tag, offset / LINE);
    let mut at = (offset % LINE) as usize;
    while !data.is_empty() {
        let length = data.len().min(expected.len() - at);
        let (now, rest) = data.split_at(length);
        if now != &expected[at..at + length] {
            return false;
        }
        data = rest;
        at = 0;
        // The next number, in place: formatting each would cost more than all else.
        for digit in expected[5..15].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    true
}

/// What one client was sent of one session: every byte must be right, and be there or be told missing.
#[derive(Debug)]
pub(super) struct Seen {
    tag: u64,
    /// The offset of the next byte.
    pub(super) next: u64,
    pub(super) bytes: u64,
    pub(super) gaps: u64,
    pub(super) screens: u64,
    /// Whether it may be sent pictures in the place of output, as a terminal of another size than the session's.
    has_size: bool,
    /// Whether it was told of a gap and has not been shown the screen yet.
    in_gap: bool,
}

impl Seen {
    pub(super) fn from(tag: u64, next: u64, has_size: bool) -> Self {
        Self { tag, next, bytes: 0, gaps: 0, screens: 0, has_size, in_gap: false }
    }

    /// Checks one thing from the server. Returns the status at the session's end.
    pub(super) fn check(&mut self, incoming: Incoming) -> Option<ExitStatus> {
        match incoming {
            Incoming::Output { offset, data } => {
                assert_eq!(offset, self.next, "bytes are lost or come again, and nobody was told: {self:?}");
                assert!(!self.in_gap, "a gap, and no screen to make up for it: {self:?}");
                let shown = String::from_utf8_lossy(&data[..data.len().min(64)]);
                assert!(is_printed(self.tag, offset, &data), "wrong bytes at {offset}: {shown:?}, {self:?}");
                self.next += data.len() as u64;
                self.bytes += data.len() as u64;
            }
            Incoming::Event(Event::Gap { from, to }) => {
                assert!(from == self.next && to > from, "a gap from {from} to {to}: {self:?}");
                self.next = to;
                self.gaps += 1;
                self.in_gap = true;
            }
            Incoming::Screen { offset, .. } => {
                let goes_on = offset == self.next || self.has_size && offset > self.next;
                assert!(goes_on, "a screen of {offset}: {self:?}");
                self.next = offset;
                self.screens += 1;
                self.in_gap = false;
            }
            Incoming::Event(Event::Ended { status, .. }) => return Some(status),
            Incoming::Reply { answer, .. } => drop(answer.unwrap()),
            Incoming::Event(_) => {}
            other => panic!("{other:?}"),
        }
        None
    }
}

/// What a recording holds: lines without offsets, that begin anywhere and must follow one another.
#[derive(Debug)]
pub(super) struct Recorded {
    slot: u64,
    /// The session's tag and the next line's number, once a line began.
    next: Option<(u64, u64)>,
    /// Bytes of a line that is not whole yet.
    rest: Vec<u8>,
    begun: bool,
    pub(super) bytes: u64,
}

impl Recorded {
    pub(super) fn of(slot: u64) -> Self {
        Self { slot, next: None, rest: Vec::new(), begun: false, bytes: 0 }
    }

    pub(super) fn check(&mut self, data: &[u8]) {
        self.rest.extend_from_slice(data);
        self.bytes += data.len() as u64;
        if !self.begun {
            let Some(feed) = self.rest.iter().position(|byte| *byte == b'\n') else { return };
            assert!(feed < LINE as usize, "no line ends where it should: {self:?}");
            // The first may be the end of a line only.
            self.rest.drain(..=feed);
            self.begun = true;
        }
        let whole = self.rest.len() - self.rest.len() % LINE as usize;
        if whole == 0 {
            return;
        }
        let (tag, number) = self.next.unwrap_or_else(|| {
            let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<u64>().unwrap();
            (number(&self.rest[..4]), number(&self.rest[5..15]))
        });
        assert_eq!(tag / 1000, self.slot, "another session's output");
        let right = is_printed(tag, number * LINE, &self.rest[..whole]);
        assert!(right, "wrong bytes in a recording of {tag} from line {number} on");
        self.next = Some((tag, number + whole as u64 / LINE));
        self.rest.drain(..whole);
    }
}
