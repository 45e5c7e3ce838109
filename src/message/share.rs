//! Links, as their maker and those who redeem them are told of them: what lets somebody see a session, or all of them,
//! and do what it says and nothing else.

use serde::{Deserialize, Serialize};

use super::{Access, LinkId, LinkToken};
use crate::{SessionId, SessionName};

/// Characters of a label that are kept: more than a column of a list shows.
const MAX_LABEL: usize = 80;

/// A label as it is kept: short, and harmless to a terminal.
pub(crate) fn kept_label(label: &str) -> Option<String> {
    let kept: String =
        label.trim().chars().filter(|character| !character.is_control()).take(MAX_LABEL).collect();
    (!kept.is_empty()).then_some(kept)
}

/// A link that was just made, with its secret, which the server does not know from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SharedLink {
    /// The link as lists show it.
    pub link: LinkInfo,
    /// Its secret.
    pub token: LinkToken,
}

impl SharedLink {
    pub(crate) const fn new(link: LinkInfo, token: LinkToken) -> Self {
        Self { link, token }
    }
}

/// The session that a link shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkedSession {
    /// Its id.
    pub id: SessionId,
    /// Its name now.
    pub name: SessionName,
}

impl LinkedSession {
    pub(crate) const fn new(id: SessionId, name: SessionName) -> Self {
        Self { id, name }
    }
}

/// One link, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkInfo {
    /// What it is called by who made it.
    pub id: LinkId,
    /// The session that it shows; `None` if that is all.
    pub session: Option<LinkedSession>,
    /// What may be done by it.
    pub access: Access,
    /// What it is for.
    pub label: Option<String>,
    /// How many different viewers it admits in all; `None` for any number.
    pub uses: Option<u32>,
    /// How many of those it has admitted. Not counted of a link that admits any number.
    pub used: u32,
    /// Connections that redeemed it and stand.
    pub viewers: usize,
    /// In how many seconds it expires; `None` of one that does not.
    pub expires_seconds: Option<u64>,
}

/// What a connection may do from now on: what its link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Redeemed {
    /// The link.
    pub link: LinkId,
    /// The session that it shows; `None` if that is all.
    pub session: Option<LinkedSession>,
    /// What may be done by it.
    pub access: Access,
    /// What it is for.
    pub label: Option<String>,
}

/// What was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unshared {
    /// How many links.
    pub links: usize,
    /// How many viewers' connections are closed.
    pub viewers: usize,
}

impl Unshared {
    pub(crate) const fn new(links: usize, viewers: usize) -> Self {
        Self { links, viewers }
    }
}

#[cfg(test)]
#[cfg(not(fugue_model))]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_steers_no_terminal() {
        assert_eq!(kept_label(" for \x1b[31mAnn\n "), Some("for [31mAnn".to_owned()));
        assert_eq!(kept_label("\x07 \n"), None);
        assert_eq!(kept_label(&"ü".repeat(200)).unwrap().chars().count(), MAX_LABEL);
    }
}
