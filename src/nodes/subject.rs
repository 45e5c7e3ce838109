//! Subjects: who a message is for, who sent it, and what kind it is.
//!
//! `fugue.v1.<tenant>.<class>.<to>.<from>[.<number>]`. The sender is in the subject, so that the broker's permissions
//! vouch for it: a node may only publish what has its own name in that place.

use std::{fmt, str::FromStr, sync::Arc};

/// What every subject begins with.
const PREFIX: &str = "fugue.v1";

/// The name of a node: 1 to 32 of the letters `a-z A-Z`, digits, `_` and `-`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeName(Arc<str>);

/// What follows the rule of names of nodes, as tenants do as well.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NodeName::MAX_LEN).contains(&text.len()) && text.bytes().all(allowed)
}

impl NodeName {
    /// The longest name, in bytes.
    pub(crate) const MAX_LEN: usize = 32;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "the name of a node is 1 to 32 letters, digits, underscores or hyphens";
        if is_token(text) { Ok(Self(text.into())) } else { Err(rule) }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The nodes that see each other; nodes of another tenant do not exist for them. Written as a node's name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenant(Arc<str>);

impl FromStr for Tenant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "a tenant is 1 to 32 letters, digits, underscores or hyphens";
        if is_token(text) { Ok(Self(text.into())) } else { Err(rule) }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One of the two connections of a node. Keys do not wait behind output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Streams.
    Bulk,
    /// All else.
    Quick,
}

impl Lane {
    pub(crate) const ALL: [Self; 2] = [Self::Bulk, Self::Quick];
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// What changes nothing: lists, streams and their credit.
    Read,
    /// What does: typing, sizes, kills. A node that may not publish these is read-only.
    Write,
    /// An answer, to the request of this number.
    Reply(u64),
    /// A part of the stream of this number.
    Stream(u64),
    /// To all: how a node is.
    Beat,
    /// To all: a question.
    Ask,
}

impl Class {
    pub(crate) fn lane(self) -> Lane {
        if let Self::Stream(_) = self { Lane::Bulk } else { Lane::Quick }
    }

    /// As it is in subjects.
    fn token(self) -> &'static str {
        match self {
            Self::Read => "rd",
            Self::Write => "wr",
            Self::Reply(_) => "rep",
            Self::Stream(_) => "str",
            Self::Beat => "dir",
            Self::Ask => "ask",
        }
    }
}

/// Where a message goes, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) class: Class,
    /// `None` of what is for all.
    pub(crate) to: Option<NodeName>,
    pub(crate) from: NodeName,
}

impl Subject {
    pub(crate) fn new(class: Class, to: &NodeName, from: &NodeName) -> Self {
        Self { class, to: Some(to.clone()), from: from.clone() }
    }

    /// A beat or a question, which is for all.
    pub(crate) fn to_all(class: Class, from: &NodeName) -> Self {
        Self { class, to: None, from: from.clone() }
    }

    /// The subject as text.
    pub(crate) fn in_tenant(&self, tenant: &Tenant) -> String {
        let Self { class, to, from } = self;
        let to = to.as_ref().map_or_else(String::new, |to| format!("{to}."));
        let number = match class {
            Class::Reply(number) | Class::Stream(number) => format!(".{number:x}"),
            _ => String::new(),
        };
        format!("{PREFIX}.{tenant}.{}.{to}{from}{number}", class.token())
    }

    /// Reads a subject of this tenant; `None` of any other.
    pub(crate) fn parse(text: &str, tenant: &Tenant) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?.strip_prefix('.')?.strip_prefix(&*tenant.0)?;
        let mut tokens = rest.strip_prefix('.')?.split('.');
        let class = tokens.next()?;
        let mut name = || tokens.next()?.parse::<NodeName>().ok();
        let (to, from) = match class {
            "dir" | "ask" => (None, name()?),
            _ => (Some(name()?), name()?),
        };
        let mut number = || {
            let text = tokens.next()?;
            // As it is written, and in no other way.
            u64::from_str_radix(text, 16).ok().filter(|number| format!("{number:x}") == text)
        };
        let class = match class {
            "rd" => Class::Read,
            "wr" => Class::Write,
            "rep" => Class::Reply(number()?),
            "str" => Class::Stream(number()?),
            "dir" => Class::Beat,
            "ask" => Class::Ask,
            _ => return None,
        };
        tokens.next().is_none().then_some(Self { class, to, from })
    }
}

/// What a node subscribes to on one of its connections.
pub(crate) fn subscriptions(lane: Lane, tenant: &Tenant, own: &NodeName) -> Vec<String> {
    let subject = |rest: String| format!("{PREFIX}.{tenant}.{rest}");
    match lane {
        Lane::Bulk => vec![subject(format!("str.{own}.>"))],
        Lane::Quick => [format!("rd.{own}.*"), format!("wr.{own}.*"), format!("rep.{own}.>")]
            .into_iter()
            .chain(["dir.*".to_owned(), "ask.*".to_owned()])
            .map(subject)
            .collect(),
    }
}

/// What a node may publish: all that has its name as the sender's. Without `wr` it is read-only.
pub(crate) fn publications(tenant: &Tenant, own: &NodeName, may_write: bool) -> Vec<String> {
    let mut rest = vec![format!("rd.*.{own}"), format!("rep.*.{own}.*"), format!("str.*.{own}.*")];
    rest.extend([format!("dir.{own}"), format!("ask.{own}")]);
    if may_write {
        rest.insert(1, format!("wr.*.{own}"));
    }
    rest.into_iter().map(|rest| format!("{PREFIX}.{tenant}.{rest}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        "team".parse().unwrap()
    }

    #[test]
    fn subjects_read_back_as_they_were_written() {
        let (a, b): (NodeName, NodeName) = ("a-1".parse().unwrap(), "B_2".parse().unwrap());
        let subjects = [
            (Subject::new(Class::Read, &a, &b), "fugue.v1.team.rd.a-1.B_2"),
            (Subject::new(Class::Write, &a, &b), "fugue.v1.team.wr.a-1.B_2"),
            (Subject::new(Class::Reply(255), &a, &b), "fugue.v1.team.rep.a-1.B_2.ff"),
            (Subject::new(Class::Stream(u64::MAX), &a, &b), "fugue.v1.team.str.a-1.B_2.ffffffffffffffff"),
            (Subject::to_all(Class::Beat, &b), "fugue.v1.team.dir.B_2"),
            (Subject::to_all(Class::Ask, &b), "fugue.v1.team.ask.B_2"),
        ];
        for (subject, text) in subjects {
            assert_eq!(subject.in_tenant(&tenant()), text);
            assert_eq!(Subject::parse(text, &tenant()), Some(subject));
            assert_eq!(Subject::parse(text, &"teams".parse().unwrap()), None);
            assert_eq!(Subject::parse(&format!("{text}.x"), &tenant()), None);
        }
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in [
            "",
            "fugue.v1.team",
            "fugue.v1.team.rd.a",
            "fugue.v1.team.rd..b",
            "fugue.v1.team.rd.a.*",
            "fugue.v1.team.dir.a.b",
            "fugue.v1.team.rep.a.b",
            "fugue.v1.team.rep.a.b.0ff",
            "fugue.v1.team.rep.a.b.FF",
            "fugue.v1.team.rep.a.b.+1",
            "fugue.v1.team.xx.a.b",
            "fugue.v2.team.rd.a.b",
        ] {
            assert_eq!(Subject::parse(text, &tenant()), None, "{text}");
        }
    }

    #[test]
    fn names_of_nodes_are_single_tokens() {
        for name in ["", "a.b", "a b", "*", ">", "ä", &"x".repeat(33)] {
            assert!(name.parse::<NodeName>().is_err(), "{name}");
            assert!(name.parse::<Tenant>().is_err(), "{name}");
        }
        assert!("x".repeat(32).parse::<NodeName>().is_ok());
    }

    /// A subject matches a subscription of the broker's.
    fn matches(pattern: &str, subject: &str) -> bool {
        let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
        loop {
            match (pattern.next(), subject.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(wanted), Some(token)) if wanted == "*" || wanted == token => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn permissions_are_what_a_node_publishes_and_no_more() {
        let (a, b, tenant) = ("a".parse().unwrap(), "b".parse().unwrap(), tenant());
        let classes = [Class::Read, Class::Write, Class::Reply(1), Class::Stream(1)];
        let may = |allowed: &[String], subject: &Subject| {
            allowed.iter().any(|pattern| matches(pattern, &subject.in_tenant(&tenant)))
        };
        for may_write in [true, false] {
            let allowed = publications(&tenant, &a, may_write);
            for class in classes {
                let is_allowed = may_write || class != Class::Write;
                assert_eq!(may(&allowed, &Subject::new(class, &b, &a)), is_allowed);
                assert!(!may(&allowed, &Subject::new(class, &a, &b)), "as somebody else");
            }
            for class in [Class::Beat, Class::Ask] {
                assert!(may(&allowed, &Subject::to_all(class, &a)));
                assert!(!may(&allowed, &Subject::to_all(class, &b)));
            }
        }
        for class in classes {
            let subject = Subject::new(class, &b, &a);
            for lane in Lane::ALL {
                assert_eq!(may(&subscriptions(lane, &tenant, &b), &subject), lane == class.lane());
                assert!(!may(&subscriptions(lane, &tenant, &a), &subject));
            }
        }
    }
}
