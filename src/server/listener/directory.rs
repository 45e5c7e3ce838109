//! The socket's directory: checked with everything above it, then held open, so that no name leads elsewhere later.
//!
//! The way there is walked from the root, one descriptor after the other. Each directory on it belongs to this user or
//! to root, and nobody else may write to it, unless it is sticky as `/tmp` is. So nobody else can put another
//! directory, or a link, in the place of one. It is what sshd asks of the way to its keys.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, readlinkat, renameat, statat,
        unlinkat,
    },
    io::Errno,
    process::geteuid,
};

use super::BindError;

/// Links that are followed on the way, as many as Linux follows.
const MAX_LINKS: u32 = 40;

/// For looking at what has a name: links are not followed, and nothing is opened for use.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory of this user's own that is closed to others.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Walks to a directory. Those that are missing are made, closed to others from the start.
    pub(super) fn open(path: &Path) -> Result<Self, BindError> {
        let mut walk = Walk::from_root(path)?;
        while let Some(name) = walk.left.pop() {
            walk.step(&name)?;
        }
        let found = status(&walk.at, &walk.path)?;
        let directory = path.to_owned();
        if found.st_uid != geteuid().as_raw() {
            return Err(BindError::DirectoryNotOurs { directory, owner: found.st_uid });
        }
        let mode = found.st_mode & 0o777;
        if mode & 0o077 != 0 {
            return Err(BindError::DirectoryOpen { directory, mode });
        }
        Ok(Self(walk.at))
    }

    /// Opens a file of this user's for reading and writing. It is made if it is missing, closed to others.
    pub(super) fn open_file(&self, name: &OsStr, further: OFlags) -> io::Result<OwnedFd> {
        // Without NONBLOCK a pipe in its place would be waited for.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags | further, Mode::RUSR | Mode::WUSR)?;
        let found = fstat(&file)?;
        if kind(&found) != FileType::RegularFile || found.st_uid != geteuid().as_raw() {
            return Err(io::Error::other("it is not a file of this user's; move it away"));
        }
        Ok(file)
    }

    /// What has this name, held for a look at it.
    pub(super) fn find(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        openat(&self.0, name, LOOK, Mode::empty())
    }

    /// The device and inode of what has this name.
    pub(super) fn id(&self, name: &OsStr) -> Result<(u64, u64), Errno> {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).map(|found| id(&found))
    }

    /// Gives a file another name, in place of what had that.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        renameat(&self.0, from, &self.0, to)
    }

    pub(super) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        unlinkat(&self.0, name, AtFlags::empty())
    }

    /// A path to this name that goes through the descriptor, for calls that take paths alone.
    pub(super) fn path_of(&self, name: &OsStr) -> PathBuf {
        through(&self.0).join(name)
    }

    /// A second descriptor of the directory.
    pub(super) fn again(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

/// A path that leads to what a descriptor holds.
pub(super) fn through(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// A file's device and inode.
pub(super) fn id(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

pub(super) fn kind(found: &Stat) -> FileType {
    FileType::from_raw_mode(found.st_mode)
}

/// On the way from the root to a directory.
struct Walk {
    /// Where it is, and the path that led there.
    at: OwnedFd,
    path: PathBuf,
    /// The names that are left, the next one last.
    left: Vec<OsString>,
    links: u32,
}

impl Walk {
    fn from_root(path: &Path) -> Result<Self, BindError> {
        let whole = std::path::absolute(path).map_err(|source| BindError::Io {
            what: "finding",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { at: root()?, path: "/".into(), left: names(&whole), links: 0 })
    }

    /// Goes one name further, after making sure that nobody else decides what has that name.
    fn step(&mut self, name: &OsStr) -> Result<(), BindError> {
        self.check()?;
        let path = self.path.join(name);
        let next = match openat(&self.at, name, LOOK, Mode::empty()) {
            Err(Errno::NOENT) => match mkdirat(&self.at, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => openat(&self.at, name, LOOK, Mode::empty()),
                Err(errno) => return Err(failed("making the directory", &path, errno)),
            },
            opened => opened,
        };
        let next = next.map_err(|errno| failed("looking at the directory", &path, errno))?;
        let found = status(&next, &path)?;
        match kind(&found) {
            FileType::Directory => (self.at, self.path) = (next, path),
            // The last one may be no link, for its owner would choose where it leads.
            FileType::Symlink if !self.left.is_empty() && self.links < MAX_LINKS => {
                owned(&path, &found)?;
                let target = readlinkat(&next, "", Vec::new())
                    .map_err(|errno| failed("reading the link", &path, errno))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    (self.at, self.path) = (root()?, "/".into());
                }
                self.left.extend(names(&target));
                self.links += 1;
            }
            _ => return Err(BindError::NotADirectory(path)),
        }
        Ok(())
    }

    /// Makes sure that nobody else can replace what is in the directory it is at.
    fn check(&self) -> Result<(), BindError> {
        let found = status(&self.at, &self.path)?;
        owned(&self.path, &found)?;
        let (mode, sticky) = (found.st_mode & 0o777, found.st_mode & 0o1000 != 0);
        if mode & 0o022 != 0 && !sticky {
            return Err(BindError::AboveOpen { directory: self.path.clone(), mode });
        }
        Ok(())
    }
}

fn root() -> Result<OwnedFd, BindError> {
    let path = Path::new("/");
    open(path, LOOK, Mode::empty()).map_err(|errno| failed("looking at the directory", path, errno))
}

fn status(of: &OwnedFd, path: &Path) -> Result<Stat, BindError> {
    fstat(of).map_err(|errno| failed("looking at the directory", path, errno))
}

fn failed(what: &'static str, path: &Path, errno: Errno) -> BindError {
    BindError::Io { what, path: path.to_owned(), source: errno.into() }
}

/// Makes sure that something on the way is this user's or root's.
fn owned(path: &Path, found: &Stat) -> Result<(), BindError> {
    if [0, geteuid().as_raw()].contains(&found.st_uid) {
        return Ok(());
    }
    Err(BindError::AboveNotOurs { path: path.to_owned(), owner: found.st_uid })
}

/// A path's names, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let named = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    };
    path.components().rev().filter_map(named).collect()
}
