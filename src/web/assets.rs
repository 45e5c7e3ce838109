//! The page's files, which `build.rs` puts here: those that `src/web/page/assets.txt` lists.

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    /// Where it is, below the base path.
    pub(super) path: &'static str,
    /// Its content's type.
    pub(super) kind: &'static str,
    /// What tells its content from any other: an `ETag`.
    pub(super) tag: &'static str,
    pub(super) bytes: &'static [u8],
    /// The same, by gzip.
    pub(super) compressed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));
