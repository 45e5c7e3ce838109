//! What other nodes may do here: a list of the host's own, beside the permissions of the broker.

use std::str::FromStr;

use super::subject::NodeName;
use crate::message::Access;

/// Which nodes may do what. The first pattern that fits a node's name holds; a node that none fits may do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowList(Vec<AllowRule>);

/// What the nodes of a pattern may do: `NODE=read` or `NODE=write`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowRule {
    pattern: NodePattern,
    access: Access,
}

impl AllowList {
    pub(crate) fn new(rules: Vec<AllowRule>) -> Self {
        Self(rules)
    }

    /// All that the broker lets through.
    pub(crate) fn everything() -> Self {
        Self(vec![AllowRule { pattern: NodePattern("*".into()), access: Access::ReadWrite }])
    }

    /// What this node may do, if anything.
    pub(crate) fn access(&self, node: &NodeName) -> Option<Access> {
        self.0.iter().find(|rule| rule.pattern.fits(node)).map(|rule| rule.access)
    }
}

impl FromStr for AllowRule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pattern, access) = match text.split_once('=') {
            Some((pattern, "read")) => (pattern, Access::ReadOnly),
            Some((pattern, "write")) => (pattern, Access::ReadWrite),
            _ => return Err("write NODE=read or NODE=write, such as ci-*=read"),
        };
        Ok(Self { pattern: pattern.parse()?, access })
    }
}

/// The name of a node, or the beginning of one and a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NodePattern(String);

impl NodePattern {
    fn fits(&self, node: &NodeName) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => node.as_str().starts_with(beginning),
            None => node.as_str() == self.0,
        }
    }
}

impl FromStr for NodePattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('*').unwrap_or(text);
        match text == "*" || name.parse::<NodeName>().is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err("write the name of a node, or its beginning and a `*`, such as ci-*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_holds() {
        let list = AllowList::new(["ci-1=write", "ci-*=read"].map(|rule| rule.parse().unwrap()).into());
        let access = |list: &AllowList, name: &str| list.access(&name.parse().unwrap());
        assert_eq!(access(&list, "ci-1"), Some(Access::ReadWrite));
        assert_eq!(access(&list, "ci-2"), Some(Access::ReadOnly));
        assert_eq!(access(&list, "xci-1"), None);
        assert_eq!(access(&AllowList::everything(), "x"), Some(Access::ReadWrite));
        for wrong in ["", "a", "a=", "a=rw", "=read", "a*b=read", "**=read", "a.b=read"] {
            assert!(wrong.parse::<AllowRule>().is_err(), "{wrong}");
        }
    }
}
