//! What a node's user may do at the broker, as nats-server's configuration has it.

use super::subject::{Lane, NodeName, Tenant, publications, subscriptions};

/// The block for a user of nats-server's configuration. The broker sees to it that a node speaks for itself only, and
/// that one without `may_write` changes nothing anywhere.
pub(crate) fn permissions(tenant: &Tenant, name: &NodeName, may_write: bool) -> String {
    let list = |subjects: Vec<String>| {
        subjects.iter().map(|subject| format!("\n      \"{subject}\"")).collect::<String>()
    };
    format!(
        "permissions {{\n  publish {{\n    allow: [{}\n    ]\n  }}\n  subscribe {{\n    allow: [{}\n    ]\n  }}\n}}\n",
        list(publications(tenant, name, may_write)),
        list(subscribed(tenant, name))
    )
}

/// The same as options of `nsc add user`.
pub(crate) fn nsc_options(tenant: &Tenant, name: &NodeName, may_write: bool) -> String {
    let published = publications(tenant, name, may_write);
    format!("--allow-pub={} --allow-sub={}\n", published.join(","), subscribed(tenant, name).join(","))
}

fn subscribed(tenant: &Tenant, name: &NodeName) -> Vec<String> {
    Lane::ALL.into_iter().rev().flat_map(|lane| subscriptions(lane, tenant, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_node_may_not_publish_what_changes_anything() {
        let (tenant, name) = ("main".parse().unwrap(), "ci".parse().unwrap());
        let all = permissions(&tenant, &name, true);
        let read_only = permissions(&tenant, &name, false);
        let writes = |block: &str| block.contains("\"fugue.v1.main.wr.*.ci\"");
        assert!(writes(&all) && !writes(&read_only));
        let line = "      \"fugue.v1.main.wr.*.ci\"\n";
        assert_eq!(all.replace(line, ""), read_only);
    }
}
