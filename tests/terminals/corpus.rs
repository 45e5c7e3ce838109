//! The recordings: what programs printed at a terminal of a size, cut to what is of use.

use std::{fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use fugue_server::TerminalSize;

use super::rows::{CANVAS, ROWS, Row};

pub(super) struct Recording {
    pub(super) name: String,
    pub(super) size: TerminalSize,
    pub(super) bytes: Vec<u8>,
    /// Cuts lie after this: what comes before is the same in many recordings.
    pub(super) from: usize,
    /// What a terminal must show in the end where it can't show the recording itself.
    pub(super) means: Option<Vec<u8>>,
}

/// Every recording of the corpus and of the table, in order; those with `FUGUE_RECORDINGS` in their names. Where not
/// `all`, those of the usual size.
pub(super) fn recordings(all: bool) -> Vec<Recording> {
    let wanted = std::env::var("FUGUE_RECORDINGS").unwrap_or_default();
    let mut recordings: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminals/corpus"))
            .unwrap()
            .map(|entry| recording(&entry.unwrap().path()))
            .chain(ROWS.iter().map(from_row))
            .chain([latin_1()])
            .filter(|recording| recording.name.contains(&wanted))
            .filter(|recording| all || recording.size == TerminalSize::DEFAULT)
            .collect();
    recordings.sort_by(|one, other| one.name.cmp(&other.name));
    recordings
}

/// A file is called `program-COLSxROWS.gz`.
fn recording(path: &Path) -> Recording {
    let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".gz").unwrap().to_owned();
    let (cols, rows) = name.rsplit_once('-').unwrap().1.split_once('x').unwrap();
    let size = TerminalSize::new(cols.parse().unwrap(), rows.parse().unwrap()).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    Recording { name, size, bytes, from: 0, means: None }
}

fn from_row(row: &Row) -> Recording {
    Recording {
        name: format!("row {}", row.name),
        size: TerminalSize::DEFAULT,
        bytes: [CANVAS, row.set, row.then].concat().into_bytes(),
        from: CANVAS.len(),
        means: row.means.map(|means| [CANVAS, means].concat().into_bytes()),
    }
}

/// Bytes that are not UTF-8, which no row can hold.
fn latin_1() -> Recording {
    Recording {
        name: "row Latin-1 bytes".to_owned(),
        size: TerminalSize::DEFAULT,
        bytes: [CANVAS.as_bytes(), b"caf\xe9 \xfcber x\xe9"].concat(),
        from: CANVAS.len(),
        means: None,
    }
}

impl Recording {
    /// Whether it uses margins at the sides, which one witness knows.
    pub(super) fn has_margins(&self) -> bool {
        self.bytes.windows(6).any(|bytes| bytes == b"\x1b[?69h")
    }

    /// Where the recording is cut: at its end, and at places that are the same in every run, in the middle of sequences
    /// too.
    pub(super) fn cuts(&self, count: usize) -> Vec<usize> {
        if self.means.is_some() && !self.has_margins() {
            return Vec::new();
        }
        let (mut state, span) = (0x9E37_79B9_7F4A_7C15_u64, self.bytes.len() - self.from);
        let mut cuts: Vec<_> = (1..count)
            .map(|_| {
                // Knuth's MMIX generator; its high bits are the good ones.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                self.from + 1 + usize::try_from(state >> 33).unwrap() % span
            })
            .chain([self.bytes.len()])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }
}

/// Whether output that ends here leaves a sequence or a character unfinished.
pub(super) fn is_within(bytes: &[u8]) -> bool {
    #[derive(PartialEq)]
    enum In {
        Text,
        Escape,
        Sequence,
        String,
        StringEscape,
        Character(u8),
    }
    let mut at = In::Text;
    for byte in bytes {
        at = match (&at, byte) {
            (In::String, 0x1b) => In::StringEscape,
            (In::StringEscape, b'\\') | (In::String, 0x07) | (_, 0x18 | 0x1a) => In::Text,
            (In::String, _) => In::String,
            (_, 0x1b) => In::Escape,
            (In::Escape | In::StringEscape, b'[') => In::Sequence,
            (In::Escape | In::StringEscape, b']' | b'P' | b'_' | b'^' | b'X') => In::String,
            (In::Escape | In::StringEscape, 0x20..0x30) => In::Escape,
            (In::Escape | In::StringEscape, _) | (In::Sequence, 0x40..=0x7e) => In::Text,
            (In::Sequence, _) => In::Sequence,
            (In::Character(2..), 0x80..0xc0) => match at {
                In::Character(left) => In::Character(left - 1),
                _ => In::Text,
            },
            (_, 0xc2..0xe0) => In::Character(1),
            (_, 0xe0..0xf0) => In::Character(2),
            (_, 0xf0..0xf5) => In::Character(3),
            _ => In::Text,
        };
    }
    at != In::Text
}
