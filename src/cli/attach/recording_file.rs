//! The file of a recording: a new one, for its user alone, and others beside it where it is cut into parts.
//!
//! What a full disk leaves of an asciicast ends with a whole line, so that it can be played.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, bail};

/// How many names are tried for a part.
const MAX_PARTS: usize = 1_000_000;

#[derive(Debug)]
pub(super) struct RecordingFile {
    /// The first part's.
    path: PathBuf,
    file: File,
    contents: Contents,
    /// The part's number, from 1.
    part: usize,
    /// Bytes in this part, and those of its whole lines.
    length: u64,
    whole: u64,
}

/// What is written, and so where another part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Bytes,
    /// The same, in parts of so many.
    BytesIn(u64),
    /// Those of an asciicast. Where one of them begins with a brace, a part does.
    Lines,
}

impl RecordingFile {
    /// Makes the file; or opens what is there and is none, such as a pipe, which has no parts.
    pub(super) fn create(path: &Path, contents: Contents) -> anyhow::Result<Self> {
        let file = match create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if path.metadata()?.is_file() {
                    bail!("{} exists already; remove it, or give another name", path.display());
                }
                OpenOptions::new().write(true).open(path)
            }
            created => created,
        };
        Ok(Self::of(file.with_context(|| path.display().to_string())?, path, contents))
    }

    /// A file that was made for this.
    pub(super) fn of(file: File, path: &Path, contents: Contents) -> Self {
        Self { path: path.to_owned(), file, contents, part: 1, length: 0, whole: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is one, and no pipe or device.
    pub(super) fn is_file(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// Removes it, as there is nothing in it. That it stays would be no more than untidy.
    pub(super) fn remove(self) {
        if self.is_file() {
            let _ = std::fs::remove_file(self.path);
        }
    }

    /// When it was made, in seconds since 1970.
    pub(super) fn timestamp(&self) -> Option<u64> {
        let metadata = self.file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    /// How much of this the part takes, at most; 0 if another one begins here.
    fn room(&self, bytes: &[u8]) -> usize {
        let is_whole = self.length == self.whole;
        match self.contents {
            Contents::Bytes => bytes.len(),
            Contents::BytesIn(limit) => {
                usize::try_from(limit - self.length).unwrap_or(usize::MAX).min(bytes.len())
            }
            Contents::Lines if self.length > 0 && is_whole && bytes.starts_with(b"{") => 0,
            Contents::Lines => memchr::memmem::find(bytes, b"\n{").map_or(bytes.len(), |at| at + 1),
        }
    }

    /// Goes on in another part. A file that is there already is left alone.
    fn begin_part(&mut self) -> io::Result<()> {
        while self.part < MAX_PARTS {
            self.part += 1;
            match create(&part_path(&self.path, self.part)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => {
                    (self.file, self.length, self.whole) = (created?, 0, 0);
                    return Ok(());
                }
            }
        }
        Err(io::Error::other("there are too many parts"))
    }
}

impl Write for RecordingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut room = self.room(bytes);
        if room == 0 {
            self.begin_part()?;
            room = self.room(bytes);
        }
        match self.file.write(&bytes[..room]) {
            Ok(written) => {
                let line = memchr::memrchr(b'\n', &bytes[..written]);
                self.whole = line.map_or(self.whole, |line| self.length + line as u64 + 1);
                self.length += written as u64;
                Ok(written)
            }
            Err(error) => {
                if self.contents == Contents::Lines
                    && self.is_file()
                    && error.kind() != io::ErrorKind::Interrupted
                {
                    // The error that is told is the first.
                    let _ = self.file.set_len(self.whole);
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// `build.cast`, `build.2.cast`, `build.3.cast`.
fn part_path(path: &Path, part: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{part}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &Path, name: &str) -> String {
        std::fs::read_to_string(directory.join(name)).unwrap()
    }

    #[test]
    fn parts_begin_at_braces_however_it_is_written() {
        let text = "{\"a\"}\n[\"{\"]\n{\"b\"}\n[2]\n";
        for size in 1..=text.len() {
            let directory = tempfile::tempdir().unwrap();
            let mut file = RecordingFile::create(&directory.path().join("x.cast"), Contents::Lines).unwrap();
            text.as_bytes().chunks(size).for_each(|chunk| file.write_all(chunk).unwrap());
            let parts = [read(directory.path(), "x.cast"), read(directory.path(), "x.2.cast")];
            assert_eq!(parts, ["{\"a\"}\n[\"{\"]\n", "{\"b\"}\n[2]\n"], "{size}");
        }
    }

    #[test]
    fn parts_of_bytes_have_the_size_and_leave_other_files_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x.2"), "mine").unwrap();
        let mut file = RecordingFile::create(&directory.path().join("x"), Contents::BytesIn(4)).unwrap();
        file.write_all(b"12345678{\n9").unwrap();
        let parts = ["x", "x.2", "x.3", "x.4"].map(|name| read(directory.path(), name));
        assert_eq!(parts, ["1234", "mine", "5678", "{\n9"]);
    }

    #[test]
    fn parts_are_named_before_the_last_dot() {
        for (path, second) in
            [("a/b.cast", "a/b.2.cast"), ("b", "b.2"), ("b.c.cast", "b.c.2.cast"), (".b", ".b.2")]
        {
            assert_eq!(part_path(Path::new(path), 2), Path::new(second));
        }
    }
}
